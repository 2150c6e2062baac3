//! A computer: addresses, a disk, a clock of its own, and perhaps an engine (member, data plane, adapter) and a
//! control plane. What the real engine's edges do with sockets and files is played here.

use super::holes::Holes;
use super::line::LineId;
use super::nat::Router;
use super::plane::{Disk, Plane};
use super::relays::Held;
use super::turn::Relay;
use super::{Kind, Node, Place, Sim};
use lanrage_core::dataplane::Dataplane;
use lanrage_core::doctor::Diagnosis;
use lanrage_core::io::{
    AdapterPlan, Config, ConnId as DialId, Event, HostPlan, Input, Intent, IntentId, Network, Outcome,
    Output, Saved,
};
use lanrage_core::keys::DeviceSeed;
use lanrage_core::lobby::Ports;
use lanrage_core::member::{Member, MemberView};
use lanrage_core::path::TransportId;
use lanrage_proto::limits::DEFAULT_PORT;
use lanrage_proto::lobby::Rules;
use lanrage_proto::{Fault, PartyRange, PlayerName, ServerUrl};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// A computer of the simulation.
pub(super) struct Machine {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) addresses: Vec<(IpAddr, u8)>,
    pub(super) server: Option<ServerUrl>,
    /// It is no player's.
    pub(super) is_server: bool,
    /// It translates addresses.
    pub(super) router: Option<Router>,
    /// It answers STUN requests.
    pub(super) stun: bool,
    /// Its engine makes holes through NATs.
    pub(super) punching: bool,
    /// What peers may reach on it.
    pub(super) rules: Rules,
    /// UDP ports that its programs have; none where the system does not tell.
    pub(super) programs: Option<BTreeSet<u16>>,
    /// It is a relay.
    pub(super) relay: Option<Box<Relay>>,
    /// How far its clock is off, seconds.
    pub(super) clock_off: i64,
    pub(super) player: Option<Player>,
    pub(super) plane: Option<Plane>,
    pub(super) disk: Disk,
    /// What making an adapter ends in.
    pub(super) adapter_fault: Option<Fault>,
    /// While it sleeps: what its system will tell the engine afterwards.
    pub(super) asleep: Option<Vec<Input>>,
    /// Since when.
    pub(super) slept_at: Duration,
    /// Its addresses, while its interface is down.
    pub(super) unplugged: Option<Vec<(IpAddr, u8)>>,
    seed: [u8; 32],
    boots: u32,
    /// When it wants to be woken, as far as that was asked since anything happened to it.
    due: Cell<Option<Due>>,
}

/// When a machine wants to be woken, if at all, and why.
type Due = Option<(Instant, &'static str)>;

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
    pub(super) wished_adapter: Option<AdapterPlan>,
    pub(super) hosting: Option<HostPlan>,
    pub(super) browsing: Option<[u8; 32]>,
    pub(super) found: Vec<SocketAddr>,
    /// When multicast DNS looks again.
    pub(super) looks_at: Duration,
    pub(super) holes: Holes,
    /// Relays that are wished for.
    pub(super) relays: BTreeMap<TransportId, Held>,
    /// Ports of sockets to relays so far.
    pub(super) ports: u16,
    /// UDP ports that it looks at, and what it saw last.
    pub(super) listening: BTreeSet<u16>,
    pub(super) ports_seen: Option<Option<Ports>>,
    intents: u64,
}

impl Machine {
    pub(super) fn new(name: &str, place: Place, number: u8, seed: [u8; 32]) -> Self {
        Self {
            name: name.to_owned(),
            place,
            addresses: place.addresses(number),
            server: None,
            is_server: false,
            router: None,
            stun: false,
            punching: true,
            rules: Rules::default(),
            programs: None,
            relay: None,
            clock_off: 0,
            player: None,
            plane: None,
            disk: Disk::default(),
            adapter_fault: None,
            asleep: None,
            slept_at: Duration::ZERO,
            unplugged: None,
            seed,
            boots: 0,
            due: Cell::new(None),
        }
    }

    /// Which run of the engine this is.
    pub(super) fn life(&self) -> u32 {
        self.boots
    }

    /// What its system says of its addresses.
    pub(super) fn network(&self) -> Network {
        let first = |v4| {
            self.addresses
                .iter()
                .map(|(ip, _)| *ip)
                .find(move |ip| ip.is_ipv4() == v4)
        };
        Network {
            addresses: self.addresses.clone(),
            outward: [true, false].into_iter().filter_map(first).collect(),
            port: DEFAULT_PORT,
        }
    }

    /// The device seed, for scenarios that play a member who misuses her own keys.
    pub(super) fn device_seed(&self) -> DeviceSeed {
        DeviceSeed::from_bytes(self.seed)
    }

    /// Something happens to the machine: what was known of its next wake no longer holds.
    pub(super) fn stirred(&mut self) -> &mut Self {
        self.due.set(None);
        self
    }

    pub(super) fn next_wake(&self) -> Due {
        if let Some(due) = self.due.get() {
            return due;
        }
        let due = self.asked_next_wake();
        self.due.set(Some(due));
        due
    }

    fn asked_next_wake(&self) -> Due {
        if self.asleep.is_some() {
            return None;
        }
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
        let relay = self.relay.as_ref().and_then(|relay| relay.next_wake());
        let relay = relay.map(|at| (at, "relay"));
        let held = player.and_then(|player| player.relays.values().filter_map(|held| held.wake).min());
        let held = held.map(|at| (at, "relays"));
        member
            .into_iter()
            .chain(data)
            .chain(plane)
            .chain(relay)
            .chain(held)
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
            relays: Vec::new(),
            punching: machine.punching,
            rules: machine.rules,
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
            holes: Holes::default(),
            relays: BTreeMap::new(),
            ports: 0,
            listening: BTreeSet::new(),
            ports_seen: None,
            intents: 0,
        });
        let network = machine.network();
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
        self.drop_relays(node);
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
        if let Some(later) = self.machine_mut(node).asleep.as_mut() {
            later.push(input);
        } else if let Some(player) = self.machine_mut(node).player.as_mut() {
            player.member.handle(now, input);
            self.pump(node);
        }
    }

    /// Wakes everybody whose time has come.
    pub(super) fn wake_due(&mut self) {
        let now = self.instant();
        for node in (0..self.machines.len()).map(Node) {
            if self.machine(node).next_wake().is_none_or(|(at, _)| at > now) {
                continue;
            }
            let mut outbox = self.outbox.take().unwrap_or_default();
            if let Some(player) = self.machine_mut(node).player.as_mut() {
                player.member.wake(now);
                player.dataplane.wake(now, &mut outbox);
            }
            self.transmit(node, outbox);
            self.pump(node);
            self.wake_relays(node);
            self.wake_plane(node);
            self.wake_relay(node);
        }
    }

    /// Carries out what the member wants and tells it what the data plane saw, until both are quiet.
    pub(super) fn pump(&mut self, node: Node) {
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
            Output::Relays(plans) => self.wish_relays(node, plans),
            Output::Holes(plans) => self.wish_holes(node, &plans),
            Output::Resolve(names) => self.look_up(node, names),
            // Its routers open no ports, and nobody says so.
            Output::Map(_) => {}
            Output::Table(table) => {
                if let Some(player) = self.machine_mut(node).player.as_mut() {
                    player.dataplane.apply(now, table);
                }
            }
            Output::Listen(ports) => self.listen(node, ports),
            Output::Replay(to, announce) => {
                if let Some(player) = self.machine_mut(node).player.as_mut() {
                    player.dataplane.replay(now, to, &announce);
                }
            }
            Output::Forget(port) => {
                if let Some(player) = self.machine_mut(node).player.as_mut() {
                    player.dataplane.forget_program(port);
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
                    self.news = true;
                }
            }
            Output::Measures => self.news = true,
            Output::View => {
                self.news = true;
                self.compare_conditions(node);
            }
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

    /// What a machine's member reports of the ways to friends. An engine must be running.
    #[track_caller]
    pub fn doctor(&mut self, node: Node) -> Diagnosis {
        match self.machine_mut(node).player.as_mut() {
            Some(player) => player.member.doctor(),
            None => panic!("no engine runs on {}", self.name(node)),
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
}

fn answer(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Created(created) => format!("created, {}", created.address),
        Outcome::Joined(joined) => format!("joined, {}", joined.address),
        Outcome::Left => "left".to_owned(),
        Outcome::Resuming => "resuming".to_owned(),
        Outcome::Ruled => "ruled".to_owned(),
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
