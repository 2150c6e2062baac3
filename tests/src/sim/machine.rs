//! A computer: addresses, a disk, a clock of its own, and perhaps an engine (member, data plane, adapter) and a
//! control plane. What the real engine's edges do with sockets and files is played here.

use super::line::LineId;
use super::net::{kind_of, source_for};
use super::plane::{Disk, Plane};
use super::{Happening, Kind, Node, Place, Sim};
use lanrage_core::dataplane::{Dataplane, Handled, Outbox};
use lanrage_core::io::{
    AdapterPlan, Config, ConnId as DialId, Event, HostPlan, Hosting, Input, Intent, IntentId, Network,
    Outcome, Output, Saved,
};
use lanrage_core::keys::DeviceSeed;
use lanrage_core::member::{Member, MemberView};
use lanrage_core::path::Path;
use lanrage_proto::limits::DEFAULT_PORT;
use lanrage_proto::{Fault, PartyRange, PlayerName, ServerUrl};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// How long a system takes to make or change an adapter, or to open a listening socket.
const SYSTEM_CALL: Duration = Duration::from_millis(10);
/// How long multicast DNS takes to find somebody on the same switch.
const BROWSE: Duration = Duration::from_millis(100);
/// How often it looks again.
const BROWSE_AGAIN: Duration = Duration::from_secs(1);

/// A computer of the simulation.
pub(super) struct Machine {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) addresses: Vec<(IpAddr, u8)>,
    pub(super) server: Option<ServerUrl>,
    /// How far its clock is off, seconds.
    pub(super) clock_off: i64,
    pub(super) player: Option<Player>,
    pub(super) plane: Option<Plane>,
    pub(super) disk: Disk,
    /// What making an adapter ends in.
    pub(super) adapter_fault: Option<Fault>,
    seed: [u8; 32],
    boots: u32,
}

/// A running engine.
pub(super) struct Player {
    pub(super) member: Member,
    pub(super) dataplane: Dataplane,
    pub(super) adapter: Option<AdapterPlan>,
    pub(super) lines: BTreeMap<DialId, LineId>,
    pub(super) answers: BTreeMap<IntentId, Result<Outcome, Fault>>,
    pub(super) conditions: Vec<Fault>,
    /// Everything it told of itself.
    pub(super) events: Vec<(Duration, Event)>,
    /// WireGuard initiations that it sent.
    pub(super) initiations: u32,
    wished_adapter: Option<AdapterPlan>,
    hosting: Option<HostPlan>,
    browsing: Option<[u8; 32]>,
    found: Vec<SocketAddr>,
    /// When multicast DNS looks again.
    looks_at: Duration,
    intents: u64,
}

impl Machine {
    pub(super) fn new(name: &str, place: Place, number: u8, seed: [u8; 32]) -> Self {
        Self {
            name: name.to_owned(),
            place,
            addresses: place.addresses(number),
            server: None,
            clock_off: 0,
            player: None,
            plane: None,
            disk: Disk::default(),
            adapter_fault: None,
            seed,
            boots: 0,
        }
    }

    /// Which run of the engine this is.
    pub(super) fn life(&self) -> u32 {
        self.boots
    }

    /// The device seed, for scenarios that play a member who misuses her own keys.
    pub(super) fn device_seed(&self) -> DeviceSeed {
        DeviceSeed::from_bytes(self.seed)
    }

    pub(super) fn next_wake(&self) -> Option<(Instant, &'static str)> {
        let player = self.player.as_ref();
        let member = player.and_then(|player| player.member.next_wake());
        let data = player
            .and_then(|player| player.dataplane.next_wake())
            .map(|at| (at, "data plane"));
        let plane = self
            .plane
            .as_ref()
            .and_then(Plane::next_wake)
            .map(|at| (at, "control plane"));
        member
            .into_iter()
            .chain(data)
            .chain(plane)
            .min_by_key(|(at, _)| *at)
    }
}

impl Sim {
    /// Starts the engine of a machine; with what it saved, if it saved anything.
    pub(super) fn start_engine(&mut self, node: Node) {
        let now = self.instant();
        let boot = self.machine(node).boots + 1;
        let name = self.name(node).to_owned();
        let randomness = self.derived(&format!("run {boot} of {name}"));
        let machine = self.machine_mut(node);
        machine.boots = boot;
        let config = Config {
            seed: machine.device_seed(),
            boot,
            randomness,
            player: match PlayerName::parse(&name) {
                Ok(player) => player,
                Err(error) => panic!("{name}: {error}"),
            },
            server: machine.server.clone(),
            range: PartyRange::DEFAULT,
        };
        machine.player = Some(Player {
            member: Member::new(config, now),
            dataplane: Dataplane::new(),
            adapter: None,
            lines: BTreeMap::new(),
            answers: BTreeMap::new(),
            conditions: Vec::new(),
            events: Vec::new(),
            initiations: 0,
            wished_adapter: None,
            hosting: None,
            browsing: None,
            found: Vec::new(),
            looks_at: Duration::ZERO,
            intents: 0,
        });
        let network = Network {
            addresses: machine.addresses.clone(),
            port: DEFAULT_PORT,
        };
        let saved = machine.disk.saved.clone();
        self.note(Kind::Scene, node, format_args!("engine starts, boot {boot}"));
        self.input(node, Input::Network(network));
        if let Some(saved) = saved {
            self.intend(node, Intent::Resume(saved));
        }
    }

    /// Ends the engine at once, as `kill -9` does.
    pub(super) fn stop_engine(&mut self, node: Node) {
        self.close_lines_of(node, true, true);
        let machine = self.machine_mut(node);
        machine.player = None;
        machine.plane = None;
    }

    /// States an intent; its answer is found under the number.
    pub(super) fn intend(&mut self, node: Node, intent: Intent) -> IntentId {
        let Some(player) = self.machine_mut(node).player.as_mut() else {
            panic!("no engine runs on {}", self.name(node));
        };
        player.intents += 1;
        let id = IntentId(player.intents);
        self.input(node, Input::Intent(id, intent));
        id
    }

    /// Gives the member something and carries out all that follows at once.
    pub(super) fn input(&mut self, node: Node, input: Input) {
        let now = self.instant();
        if let Some(player) = self.machine_mut(node).player.as_mut() {
            player.member.handle(now, input);
            self.pump(node);
        }
    }

    /// Wakes everybody whose time has come.
    pub(super) fn wake_due(&mut self) {
        let now = self.instant();
        for node in (0..self.machines.len()).map(Node) {
            if !self.machine(node).next_wake().is_some_and(|(at, _)| at <= now) {
                continue;
            }
            let mut outbox = self.outbox.take().unwrap_or_default();
            if let Some(player) = self.machine_mut(node).player.as_mut() {
                player.member.wake(now);
                player.dataplane.wake(now, &mut outbox);
            }
            self.transmit(node, outbox);
            self.pump(node);
            self.wake_plane(node);
        }
    }

    /// Carries out what the member wants and tells it what the data plane saw, until both are quiet.
    fn pump(&mut self, node: Node) {
        loop {
            let now = self.instant();
            let Some(player) = self.machine_mut(node).player.as_mut() else {
                return;
            };
            if let Some(output) = player.member.poll() {
                self.carry_out(node, output);
            } else if let Some(report) = player.dataplane.poll_report() {
                player.member.handle(now, Input::Report(report));
            } else {
                return;
            }
        }
    }

    fn carry_out(&mut self, node: Node, output: Output) {
        let now = self.instant();
        match output {
            Output::Transmit(path, bytes) => self.datagram_leaves(node, path, bytes),
            Output::Dial(dial, url) => self.dial(node, dial, &url),
            Output::Say(dial, frame) => self.member_says(node, dial, *frame),
            Output::Hangup(dial) => self.member_hangs_up(node, dial),
            Output::Browse(wish) => self.browse(node, wish),
            Output::Host(wish) => self.host(node, wish),
            Output::Configure(wish) => self.configure(node, wish),
            Output::Table(table) => {
                if let Some(player) = self.machine_mut(node).player.as_mut() {
                    player.dataplane.apply(now, table);
                }
            }
            Output::Persist(saved) => self.persist(node, saved),
            Output::Answer(intent, outcome) => {
                match &outcome {
                    Ok(outcome) => self.note(Kind::Member, node, format_args!("answers {}", answer(outcome))),
                    Err(fault) => self.note(Kind::Member, node, format_args!("answers fault {fault}")),
                }
                if let Some(player) = self.machine_mut(node).player.as_mut() {
                    player.answers.insert(intent, outcome);
                }
            }
            Output::View => self.compare_conditions(node),
            Output::Event(event) => {
                self.note(Kind::Member, node, format_args!("{event}"));
                let at = self.now;
                if let Some(player) = self.machine_mut(node).player.as_mut() {
                    player.events.push((at, event));
                }
            }
        }
    }

    fn persist(&mut self, node: Node, saved: Option<Box<Saved>>) {
        self.machine_mut(node).disk.saved = saved;
    }

    fn compare_conditions(&mut self, node: Node) {
        let view = self.view(node);
        let Some(player) = self.machine_mut(node).player.as_mut() else {
            return;
        };
        let before = std::mem::replace(&mut player.conditions, view.conditions.clone());
        for fault in view.conditions.iter().filter(|fault| !before.contains(fault)) {
            self.note(
                Kind::Condition,
                node,
                format_args!("condition {}", with_details(fault)),
            );
        }
        for fault in before.iter().filter(|fault| !view.conditions.contains(fault)) {
            self.note(
                Kind::Condition,
                node,
                format_args!("condition over: {}", with_details(fault)),
            );
        }
    }

    /// What a machine's member shows. An engine must be running.
    #[track_caller]
    pub fn view(&self, node: Node) -> MemberView {
        match self.machine(node).player.as_ref() {
            Some(player) => player.member.status(self.instant()),
            None => panic!("no engine runs on {}", self.name(node)),
        }
    }

    fn configure(&mut self, node: Node, wish: Option<AdapterPlan>) {
        let life = self.machine(node).life();
        if let Some(player) = self.machine_mut(node).player.as_mut() {
            player.wished_adapter = wish;
            if wish.is_none() {
                player.adapter = None;
            }
            self.later(SYSTEM_CALL, Happening::Adapter(node, life));
        }
    }

    pub(super) fn adapter_is_as_wished(&mut self, node: Node, life: u32) {
        let fault = self.machine(node).adapter_fault.clone();
        if self.machine(node).life() != life {
            return;
        }
        if let Some(player) = self.machine_mut(node).player.as_mut() {
            let result = match (player.wished_adapter, fault) {
                (Some(_), Some(fault)) => Err(fault),
                (wish, _) => {
                    player.adapter = wish;
                    Ok(())
                }
            };
            let address = player.adapter.map(|plan| plan.address);
            match address {
                Some(address) => self.note(Kind::Scene, node, format_args!("adapter {address}")),
                None => self.note(Kind::Scene, node, format_args!("no adapter")),
            }
            self.input(node, Input::Adapter(result));
        }
    }

    /// The virtual address that the machine's adapter has now.
    pub(super) fn adapter_address(&self, node: Node) -> Option<Ipv4Addr> {
        Some(self.machine(node).player.as_ref()?.adapter?.address)
    }

    /// A packet that an application sent enters the data plane.
    pub(super) fn into_adapter(&mut self, node: Node, packet: &[u8]) {
        let now = self.instant();
        let mut outbox = self.outbox.take().unwrap_or_default();
        if let Some(player) = self.machine_mut(node).player.as_mut() {
            player.dataplane.packet_out(now, packet, &mut outbox);
        }
        self.transmit(node, outbox);
        self.pump(node);
    }

    pub(super) fn datagram_arrives(&mut self, node: Node, at: SocketAddr, from: SocketAddr, bytes: Vec<u8>) {
        if at.port() != DEFAULT_PORT {
            return;
        }
        let (now, path) = (self.instant(), Path::primary(from));
        if self.machine(node).player.is_none() {
            return;
        }
        let mut inbox = self.inbox.take().unwrap_or_default();
        let mut outbox = self.outbox.take().unwrap_or_default();
        let Some(player) = self.machine_mut(node).player.as_mut() else {
            return;
        };
        let handled = player
            .dataplane
            .datagram_in(now, path, &bytes, &mut inbox, &mut outbox);
        if handled == Handled::ForMember {
            player.member.handle(now, Input::Datagram(path, bytes));
        }
        for packet in inbox.iter() {
            self.out_of_adapter(node, packet);
        }
        inbox.clear();
        self.inbox = Some(inbox);
        self.transmit(node, outbox);
        self.pump(node);
    }

    /// Sends what the data plane wants sent, and keeps the emptied box for the next time.
    fn transmit(&mut self, node: Node, mut outbox: Outbox) {
        for (path, bytes) in outbox.iter() {
            self.datagram_leaves(node, path, bytes.to_vec());
        }
        outbox.clear();
        self.outbox = Some(outbox);
    }

    fn datagram_leaves(&mut self, node: Node, path: Path, bytes: Vec<u8>) {
        let (kind, what) = kind_of(&bytes);
        if kind == Kind::Handshake
            && what == "initiation"
            && let Some(player) = self.machine_mut(node).player.as_mut()
        {
            player.initiations += 1;
        }
        assert!(
            path == Path::primary(path.remote),
            "{} sends by {path:?}, a transport that no edge has",
            self.name(node)
        );
        let Some((to, source)) = self.way(node, path.remote) else {
            self.note(
                kind,
                node,
                format_args!("{what} {} to {}: no way", bytes.len(), path.remote),
            );
            return;
        };
        let arrival = self.links.datagram(&mut self.chance, self.now, node, to);
        if self.transcript.keeps(kind) {
            let lost = if arrival.is_none() { ", lost" } else { "" };
            let name = self.name(to).to_owned();
            self.note(kind, node, format_args!("{what} {} to {name}{lost}", bytes.len()));
        }
        if let Some(at) = arrival {
            let from = SocketAddr::new(source, DEFAULT_PORT);
            self.at(
                at,
                Happening::Datagram {
                    to,
                    at: path.remote,
                    from,
                    bytes,
                },
            );
        }
    }

    /// Which machine an address leads to from here, and the own address used on that way.
    pub(super) fn way(&self, from: Node, to: SocketAddr) -> Option<(Node, IpAddr)> {
        let source = self.source(from, to.ip())?;
        let near = self.machine(from).place;
        let has = |machine: &Machine| {
            let private = matches!(machine.place, Place::Lan(_));
            (!private || machine.place == near) && machine.addresses.iter().any(|(ip, _)| *ip == to.ip())
        };
        let index = self.machines.iter().position(has)?;
        Some((Node(index), source))
    }

    pub(super) fn source(&self, from: Node, to: IpAddr) -> Option<IpAddr> {
        source_for(&self.machine(from).addresses, to)
    }

    fn host(&mut self, node: Node, wish: Option<HostPlan>) {
        let life = self.machine(node).life();
        if let Some(player) = self.machine_mut(node).player.as_mut() {
            player.hosting = wish;
            self.later(SYSTEM_CALL, Happening::Hosting(node, life));
        }
    }

    pub(super) fn hosting_is_as_wished(&mut self, node: Node, life: u32) {
        if self.machine(node).life() != life {
            return;
        }
        let Some(player) = self.machine(node).player.as_ref() else {
            return;
        };
        match player.hosting.clone() {
            Some(plan) => {
                if self.machine(node).plane.is_none() {
                    self.start_plane(node, Some(plan.tag));
                }
                self.input(node, Input::Hosting(Ok(Hosting { port: DEFAULT_PORT })));
                self.announce(node);
            }
            None => {
                self.close_lines_of(node, false, true);
                self.machine_mut(node).plane = None;
            }
        }
    }

    /// Those who browse on the switch of `node` hear of it.
    fn announce(&mut self, node: Node) {
        let place = self.machine(node).place;
        for other in (0..self.machines.len()).map(Node) {
            if other != node && self.machine(other).place == place {
                let life = self.machine(other).life();
                self.later(BROWSE, Happening::Found(other, life));
            }
        }
    }

    fn browse(&mut self, node: Node, wish: Option<[u8; 32]>) {
        let looks_at = self.now + BROWSE;
        let life = self.machine(node).life();
        if let Some(player) = self.machine_mut(node).player.as_mut() {
            let fresh = player.browsing.is_none() && wish.is_some();
            player.browsing = wish;
            player.found.clear();
            if fresh {
                player.looks_at = looks_at;
                self.at(looks_at, Happening::Found(node, life));
            }
        }
    }

    pub(super) fn browse_answers(&mut self, node: Node, life: u32) {
        let place = self.machine(node).place;
        let Some(player) = self
            .machine(node)
            .player
            .as_ref()
            .filter(|_| self.machine(node).life() == life)
        else {
            return;
        };
        let Some(key) = player.browsing else { return };
        let mut found = Vec::new();
        for (index, machine) in self.machines.iter().enumerate() {
            let other = Node(index);
            let hosts = machine.player.as_ref().and_then(|player| player.hosting.as_ref());
            let near = machine.place == place && matches!(place, Place::Lan(_)) && other != node;
            let cut = self.links.get(other, node).cut;
            if near && !cut && machine.plane.is_some() && hosts.is_some_and(|plan| plan.discovery == key) {
                found.extend(
                    machine
                        .addresses
                        .iter()
                        .map(|(ip, _)| SocketAddr::new(*ip, DEFAULT_PORT)),
                );
            }
        }
        let now = self.now;
        let Some(player) = self.machine_mut(node).player.as_mut() else {
            return;
        };
        let news = player.found != found;
        player.found.clone_from(&found);
        if now >= player.looks_at {
            player.looks_at = now + BROWSE_AGAIN;
            self.later(BROWSE_AGAIN, Happening::Found(node, life));
        }
        if news && !found.is_empty() {
            self.note(Kind::Control, node, format_args!("finds {found:?} nearby"));
            self.input(node, Input::Found(found));
        }
    }
}

fn answer(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Created(created) => format!("created, {}", created.address),
        Outcome::Joined(joined) => format!("joined, {}", joined.address),
        Outcome::Left => "left".to_owned(),
        Outcome::Resuming => "resuming".to_owned(),
    }
}

fn with_details(fault: &Fault) -> String {
    let details: Vec<_> = fault
        .details
        .iter()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    if details.is_empty() {
        fault.to_string()
    } else {
        format!("{fault} ({})", details.join(", "))
    }
}
