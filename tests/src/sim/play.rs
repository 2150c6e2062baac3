//! What a scenario does and asks, in a player's words: sit down at a computer, create, join, leave, pull a plug.

use super::machine::Machine;
use super::net::Link;
use super::{Kind, Node, Place, Sim};
use lanrage_core::io::{Event, Intent, IntentId, Outcome};
use lanrage_core::keys::{MemberKeys, PartyKeys};
use lanrage_core::member::MemberView;
use lanrage_proto::invite::InviteError;
use lanrage_proto::ipc::{Created, Joined, MemberStatus, PartyState, PartyStatus, PeerState};
use lanrage_proto::{Fault, FaultCode, Invite, MemberId, PartyId, PartyName, PlayerName, ServerUrl};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// How long a create, join or leave may take before a scenario that waits for it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// Places and things.
impl Sim {
    /// Somebody sits down at a computer and starts the engine; new parties live on that computer.
    pub fn player(&mut self, name: &str, place: Place) -> Node {
        let node = self.computer(name, place);
        self.start_engine(node);
        node
    }

    /// The same with a set server.
    pub fn player_on(&mut self, name: &str, place: Place, server: ServerUrl) -> Node {
        let node = self.computer(name, place);
        self.machine_mut(node).server = Some(server);
        self.start_engine(node);
        node
    }

    /// A computer where no engine runs yet.
    pub fn computer(&mut self, name: &str, place: Place) -> Node {
        let seed = self.derived(&format!("device of {name}"));
        self.computer_with(name, place, seed)
    }

    /// A computer restored from the backup of another: the same device seed twice.
    pub fn clone_of(&mut self, original: Node, name: &str, place: Place) -> Node {
        let seed = *self.machine(original).device_seed().to_bytes();
        self.computer_with(name, place, seed)
    }

    fn computer_with(&mut self, name: &str, place: Place, seed: [u8; 32]) -> Node {
        let node = Node(self.machines.len());
        // 1 is the router's by custom.
        let number = u8::try_from(self.machines.len() + 2).unwrap_or(u8::MAX);
        self.machines.push(Machine::new(name, place, number, seed));
        node
    }

    /// A server in operation.
    pub fn server(&mut self, name: &str, place: Place) -> Node {
        let node = self.computer(name, place);
        self.machine_mut(node).is_server = true;
        self.start_plane(node, None);
        node
    }

    /// Where a server's control plane is reached: by its private address, or by a name of its own.
    pub fn url(&mut self, server: Node) -> ServerUrl {
        let address = self
            .machine(server)
            .addresses
            .first()
            .map(|(address, _)| *address);
        let text = match (self.machine(server).place, address) {
            (Place::Lan(_), Some(address)) => {
                format!(
                    "ws://{}",
                    SocketAddr::new(address, lanrage_proto::limits::DEFAULT_PORT)
                )
            }
            _ => {
                let host = format!("{}.example.org", self.name(server));
                self.hosts.insert(host.clone(), server);
                format!("wss://{host}")
            }
        };
        match ServerUrl::parse(&text) {
            Ok(url) => url,
            Err(error) => panic!("{text}: {error}"),
        }
    }

    /// Members that control planes started from now on allow in a party.
    pub fn limit_members(&mut self, members: u8) {
        self.party_limit = Some(members);
    }

    /// What every way is like, unless set otherwise.
    pub fn all_links(&mut self, link: Link) {
        self.links.default = link;
    }

    /// What the ways between two machines are like, in both directions.
    pub fn link(&mut self, a: Node, b: Node, link: Link) {
        self.links.set(a, b, link);
        self.links.set(b, a, link);
        if !link.cut {
            self.unstall(a, b);
        }
    }

    /// Nothing passes between two machines any more.
    pub fn cut(&mut self, a: Node, b: Node) {
        self.note(
            Kind::Scene,
            a,
            format_args!("cut off from {}", self.machines[b.0].name.clone()),
        );
        for (from, to) in [(a, b), (b, a)] {
            let link = Link {
                cut: true,
                ..self.links.awake(from, to)
            };
            self.links.set(from, to, link);
        }
    }

    /// Everything passes between them again.
    pub fn mend(&mut self, a: Node, b: Node) {
        self.note(
            Kind::Scene,
            a,
            format_args!("way to {} mended", self.machines[b.0].name.clone()),
        );
        for (from, to) in [(a, b), (b, a)] {
            let link = Link {
                cut: false,
                ..self.links.awake(from, to)
            };
            self.links.set(from, to, link);
        }
        self.unstall(a, b);
    }

    /// Steps a machine's clock by so many seconds.
    pub fn step_clock(&mut self, node: Node, seconds: i64) {
        self.note(Kind::Scene, node, format_args!("clock stepped by {seconds} s"));
        self.machine_mut(node).clock_off += seconds;
    }

    /// From now on no adapter can be made there.
    pub fn refuse_adapter(&mut self, node: Node, fault: Option<Fault>) {
        self.machine_mut(node).adapter_fault = fault;
    }

    /// The engine dies without a word.
    pub fn crash(&mut self, node: Node) {
        self.note(Kind::Scene, node, format_args!("engine killed"));
        self.stop_engine(node);
    }

    /// The engine starts again, with what is on its disk.
    pub fn restart(&mut self, node: Node) {
        self.start_engine(node);
    }

    /// The server dies without a word.
    pub fn kill_server(&mut self, server: Node) {
        self.note(Kind::Scene, server, format_args!("server killed"));
        self.close_lines_of(server, false, true);
        self.machine_mut(server).plane = None;
    }

    /// The server starts again, with what is on its disk.
    pub fn restart_server(&mut self, server: Node) {
        self.start_plane(server, None);
    }
}

/// What players do.
impl Sim {
    /// Begins to create a party.
    #[track_caller]
    pub fn start_create(&mut self, node: Node, party: &str) -> IntentId {
        let Ok(party) = PartyName::parse(party) else {
            panic!("{party} is no name")
        };
        self.note(Kind::Scene, node, format_args!("creates {party}"));
        let created = self.unix().saturating_add_signed(self.machine(node).clock_off);
        let player = self.player_name(node);
        self.intend(
            node,
            Intent::Create {
                party,
                player,
                created,
            },
        )
    }

    /// Begins to join by whatever was typed or pasted.
    #[track_caller]
    pub fn start_join(&mut self, node: Node, text: &str) -> Result<IntentId, InviteError> {
        let invite = Invite::find_in(text)?;
        self.note(Kind::Scene, node, format_args!("joins"));
        let player = self.player_name(node);
        Ok(self.intend(node, Intent::Join { invite, player }))
    }

    /// Begins to leave.
    #[track_caller]
    pub fn start_leave(&mut self, node: Node) -> IntentId {
        self.note(Kind::Scene, node, format_args!("leaves"));
        self.intend(node, Intent::Leave)
    }

    fn player_name(&self, node: Node) -> PlayerName {
        match PlayerName::parse(self.name(node)) {
            Ok(player) => player,
            Err(error) => panic!("{}: {error}", self.name(node)),
        }
    }

    /// What became of an intent, if anything yet.
    pub fn answer(&self, node: Node, intent: IntentId) -> Option<&Result<Outcome, Fault>> {
        self.machine(node).player.as_ref()?.answers.get(&intent)
    }

    /// Waits for what becomes of an intent.
    #[track_caller]
    pub fn wait_answer(&mut self, node: Node, intent: IntentId) -> Result<Outcome, Fault> {
        self.run_until("an answer to the player", PATIENCE, |sim| {
            sim.answer(node, intent).is_some()
        });
        match self.answer(node, intent) {
            Some(answer) => answer.clone(),
            None => panic!("no answer"),
        }
    }

    /// Creates a party and waits until it is there.
    #[track_caller]
    pub fn create(&mut self, node: Node, party: &str) -> Created {
        let intent = self.start_create(node, party);
        match self.wait_answer(node, intent) {
            Ok(Outcome::Created(created)) => created,
            other => panic!("{} could not create: {other:?}", self.name(node)),
        }
    }

    /// Joins and waits for the lease.
    #[track_caller]
    pub fn join(&mut self, node: Node, text: &str) -> Joined {
        match self.try_join(node, text) {
            Ok(joined) => joined,
            Err(fault) => panic!("{} could not join: {fault:?}", self.name(node)),
        }
    }

    /// Joins and waits for the lease or the refusal.
    #[track_caller]
    pub fn try_join(&mut self, node: Node, text: &str) -> Result<Joined, Fault> {
        let intent = match self.start_join(node, text) {
            Ok(intent) => intent,
            Err(error) => panic!("{text}: {error}"),
        };
        match self.wait_answer(node, intent)? {
            Outcome::Joined(joined) => Ok(joined),
            other => panic!("{} joined by {other:?}", self.name(node)),
        }
    }

    /// Leaves and waits until everything is taken down.
    #[track_caller]
    pub fn leave(&mut self, node: Node) {
        let intent = self.start_leave(node);
        let outcome = self.wait_answer(node, intent);
        assert_eq!(outcome, Ok(Outcome::Left), "{}", self.name(node));
    }
}

/// What players see.
impl Sim {
    /// The party as a member sees it.
    pub fn party(&self, node: Node) -> Option<PartyStatus> {
        self.machine(node)
            .player
            .as_ref()?
            .member
            .status(self.instant())
            .party
    }

    /// How far a member's party is.
    pub fn state(&self, node: Node) -> Option<PartyState> {
        self.party(node).map(|party| party.state)
    }

    /// The row of `other` as `node` sees it.
    pub fn row(&self, node: Node, other: Node) -> Option<MemberStatus> {
        let name = self.name(other);
        self.party(node)?.members.into_iter().find(|row| row.name == name)
    }

    /// How the connection from `node` to `other` is.
    pub fn peer(&self, node: Node, other: Node) -> Option<PeerState> {
        self.row(node, other).map(|row| row.state)
    }

    /// Whether each of them sees exactly these members, all of them connected.
    pub fn all_connected(&self, nodes: &[Node]) -> bool {
        nodes.iter().all(|node| {
            let Some(party) = self.party(*node) else {
                return false;
            };
            party.state == PartyState::Active
                && party.members.len() == nodes.len()
                && nodes.iter().all(|other| {
                    let name = self.name(*other);
                    let row = party.members.iter().find(|row| row.name == name);
                    row.is_some_and(|row| row.state == PeerState::Connected)
                })
        })
    }

    /// Waits until they are all connected to each other.
    #[track_caller]
    pub fn wait_connected(&mut self, nodes: &[Node], limit: Duration) -> Duration {
        self.run_until("all connected", limit, |sim| sim.all_connected(nodes))
    }

    /// The virtual address that a member's adapter has.
    #[track_caller]
    pub fn address(&self, node: Node) -> Ipv4Addr {
        match self.adapter_address(node) {
            Some(address) => address,
            None => panic!("{} has no virtual address", self.name(node)),
        }
    }

    /// Whether the machine has an adapter.
    pub fn has_adapter(&self, node: Node) -> bool {
        self.adapter_address(node).is_some()
    }

    /// The real addresses of a machine.
    pub fn real_addresses(&self, node: Node) -> impl Iterator<Item = IpAddr> {
        self.machine(node).addresses.iter().map(|(address, _)| *address)
    }

    /// Whether a condition of this code is shown now.
    pub fn has_condition(&self, node: Node, code: FaultCode) -> bool {
        self.condition(node, code).is_some()
    }

    /// The condition of this code that is shown now.
    pub fn condition(&self, node: Node, code: FaultCode) -> Option<Fault> {
        let player = self.machine(node).player.as_ref()?;
        player
            .member
            .status(self.instant())
            .conditions
            .into_iter()
            .find(|fault| fault.code == code)
    }

    /// Waits for a condition.
    #[track_caller]
    pub fn wait_condition(&mut self, node: Node, code: FaultCode, limit: Duration) -> Fault {
        let what = format!("condition {code} at {}", self.name(node));
        self.run_until(&what, limit, |sim| sim.has_condition(node, code));
        match self.condition(node, code) {
            Some(fault) => fault,
            None => panic!("{what}"),
        }
    }

    /// What a member told of itself so far, in this run of its engine.
    pub fn events(&self, node: Node) -> impl Iterator<Item = &(Duration, Event)> {
        self.machine(node).player.iter().flat_map(|player| &player.events)
    }

    /// WireGuard handshakes that a machine began so far, in this run of its engine.
    pub fn initiations(&self, node: Node) -> u32 {
        self.machine(node)
            .player
            .as_ref()
            .map_or(0, |player| player.initiations)
    }

    /// Who a member is to the others, and with which keys: what a player who misuses her own keys has.
    pub fn keys(&self, node: Node, party: &str) -> (PartyKeys, MemberKeys) {
        let Ok(id) = PartyId::parse(party) else {
            panic!("{party} is no party ID")
        };
        let party = PartyKeys::of(&id);
        let seed = self.machine(node).device_seed();
        let saved = self.machine(node).disk.saved.as_ref();
        let keys = match saved.and_then(|saved| saved.nonce.as_ref()) {
            Some(nonce) => MemberKeys::founder(&seed, nonce),
            None => MemberKeys::joiner(&seed, &party.tag),
        };
        (party, keys)
    }

    /// Who a member is to the others.
    pub fn identity(&self, node: Node, party: &str) -> MemberId {
        self.keys(node, party).1.id()
    }

    /// What everybody sees, as a table.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for (index, machine) in self.machines.iter().enumerate() {
            if machine.player.is_some() {
                text += &table_of(&machine.name, &self.view(Node(index)));
            }
        }
        text
    }
}

fn table_of(name: &str, view: &MemberView) -> String {
    let Some(party) = &view.party else {
        return format!("{name}: no party{}\n", codes(&view.conditions));
    };
    let state = format!("{:?}", party.state).to_lowercase();
    let mut text = format!(
        "{name}: {state} in \"{}\"{}\n",
        party.name,
        codes(&view.conditions)
    );
    for row in &party.members {
        let path = row
            .path
            .map_or_else(String::new, |path| format!("{path:?}").to_lowercase());
        let ms = |value: Option<f64>| value.map_or_else(String::new, |ms| format!("{ms:.1} ms"));
        let state = format!("{:?}", row.state).to_lowercase();
        let marks = [(row.host, "host"), (row.is_self, "self")];
        let marks: Vec<_> = marks
            .into_iter()
            .filter(|(is, _)| *is)
            .map(|(_, mark)| mark)
            .collect();
        text += &format!(
            "  {:<10} {:<12} {:<12} {:<7} {:>9} {}\n",
            row.name,
            row.address,
            state,
            path,
            ms(row.rtt_ms),
            marks.join(" ")
        );
    }
    text
}

fn codes(conditions: &[Fault]) -> String {
    let codes: Vec<_> = conditions.iter().map(|fault| fault.code.as_str()).collect();
    if codes.is_empty() {
        String::new()
    } else {
        format!(", conditions: {}", codes.join(", "))
    }
}
