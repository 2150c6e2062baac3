//! Whole parties in virtual time: members, control planes, links and applications in one process, on one thread.
//!
//! [`Sim`] owns a clock that jumps from one event to the next, so an hour of party life takes a fraction of a
//! second. Everything random follows from one seed: the same seed gives the same [`Transcript`], line by line.
//! Inside run the very `Member`, `Dataplane` and `Registry` that the programs run; only what an edge does
//! (sockets, adapter, disk, multicast DNS) is played here.
//!
//! - [`net`]: links, addresses, who reaches whom.
//! - [`nat`]: routers that translate addresses.
//! - [`holes`]: sockets for one peer alone.
//! - [`stun`]: servers that tell where one comes from.
//! - [`turn`]: relays; [`relays`]: what members hold on them.
//! - [`machine`]: a computer with an engine, its disk, its adapter; crash and restart.
//! - [`line`]: the WebSockets' stand-in: ordered, reliable, late; and the hooks of a control plane that lies.
//! - [`plane`]: control planes, on a server or inside a founder's engine.
//! - [`app`]: application packets, each accounted for.
//! - `games`: programs with UDP ports, and the announces they send.
//! - `moves`: sleep, other networks, cables pulled.
//! - [`play`]: what a scenario does and asks, in a player's words.
//!
//! Three things stop any scenario at once: an application packet in a wrong place, a machine that wants to be
//! woken again and again without time passing, and a control frame longer than the protocol allows.

#![allow(
    clippy::panic,
    reason = "a simulation is a test: what must not happen stops it"
)]

pub mod app;
mod describe;
mod edge;
mod games;
pub mod holes;
pub mod line;
pub mod machine;
mod moves;
pub mod nat;
mod net;
pub mod plane;
pub mod play;
pub mod relays;
pub mod stun;
mod transcript;
pub mod turn;
mod turn_client;
mod wire;

pub use app::{PacketId, Sent};
pub use line::{Fate, LineId};
pub use nat::{Looks, Nat, Ports};
pub use net::{Link, Place};
pub use transcript::{Kind, Transcript};

use lanrage_core::dataplane::{Inbox, Outbox};
use lanrage_proto::MemberId;
use line::{Line, Tamper};
use machine::Machine;
use net::{Chance, Links};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A machine of the simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(usize);

/// A simulated world.
pub struct Sim {
    seed: u64,
    base: Instant,
    now: Duration,
    chance: Chance,
    queue: BTreeMap<(Duration, u64), Happening>,
    scheduled: u64,
    machines: Vec<Machine>,
    links: Links,
    lines: BTreeMap<LineId, Line>,
    names: BTreeMap<MemberId, String>,
    hosts: BTreeMap<String, Node>,
    apps: app::Apps,
    tamper: Tamper,
    /// Kept for the next use: they are large.
    inbox: Option<Inbox>,
    outbox: Option<Outbox>,
    party_limit: Option<u8>,
    /// STUN servers that there are to ask.
    stun: Vec<SocketAddr>,
    /// Relays that control planes offer.
    relays: turn::Offered,
    streams: BTreeMap<turn::StreamId, turn::Stream>,
    next_stream: turn::StreamId,
    /// The time of day that servers see, seconds since 1970.
    clock: Arc<AtomicU64>,
    /// Something that a condition may ask for has changed.
    news: bool,
    /// The transcript, for choosing what it keeps and for reading.
    pub transcript: Transcript,
}

/// Something that will happen.
enum Happening {
    /// A datagram reaches a machine.
    Datagram {
        to: Node,
        at: SocketAddr,
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    /// Something reaches an end of a control connection.
    Line(LineId, line::Arrival),
    /// The adapter of the engine's `life` is as wished.
    Adapter(Node, u32),
    /// The embedded control plane of the engine's `life` is as wished.
    Hosting(Node, u32),
    /// A browsing engine hears who hosts nearby.
    Found(Node, u32),
    /// Something reaches an end of a stream to a relay.
    Stream(turn::StreamId, turn::Arrival),
    /// The engine's `life` knows the addresses of STUN servers.
    Resolved(Node, u32, Vec<SocketAddr>),
    /// The engine's `life` notices that its computer slept for so long.
    Woken(Node, u32, Duration),
    /// The engine's `life` looks which UDP ports programs have.
    Ports(Node, u32),
    /// An application's next packet is due.
    Chat(usize),
}

/// The simulated world's clocks at its beginning, seconds since 1970.
const BEGINNING: u64 = 1_800_000_000;
/// Steps for each machine without time passing after which something turns in a circle.
const CIRCLE: usize = 5_000;

impl Sim {
    /// An empty world.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            base: Instant::now(),
            now: Duration::ZERO,
            chance: Chance(ChaCha8Rng::seed_from_u64(seed)),
            queue: BTreeMap::new(),
            scheduled: 0,
            machines: Vec::new(),
            links: Links::new(),
            lines: BTreeMap::new(),
            names: BTreeMap::new(),
            hosts: BTreeMap::new(),
            apps: app::Apps::default(),
            tamper: Tamper::default(),
            inbox: None,
            outbox: None,
            party_limit: None,
            stun: Vec::new(),
            relays: turn::Offered::default(),
            streams: BTreeMap::new(),
            next_stream: 0,
            clock: Arc::new(AtomicU64::new(BEGINNING)),
            news: false,
            transcript: Transcript::default(),
        }
    }

    /// Virtual time since the world began.
    pub fn elapsed(&self) -> Duration {
        self.now
    }

    /// The instant that machines are told.
    fn instant(&self) -> Instant {
        self.base + self.now
    }

    /// The time of day that servers see, seconds since 1970.
    fn unix(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    fn since_base(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.base)
    }

    /// Lets `time` pass.
    #[track_caller]
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.run(end, |_| false);
        self.advance(end);
    }

    /// Lets time pass until `condition` holds and tells how long it took. It is looked at whenever a member said that
    /// something shown changed, or something happened to an adapter or an application: so a change that a member does
    /// not tell fails a scenario, as does a condition that does not come to hold within `limit`.
    #[track_caller]
    pub fn run_until(&mut self, what: &str, limit: Duration, condition: impl Fn(&Sim) -> bool) -> Duration {
        let start = self.now;
        if !self.run(start + limit, &condition) {
            panic!("not within {limit:?}: {what}\n{}", self.table());
        }
        self.now - start
    }

    /// Whether the condition came to hold.
    fn run(&mut self, end: Duration, condition: impl Fn(&Sim) -> bool) -> bool {
        let mut standstill = 0;
        self.news = true;
        loop {
            if std::mem::take(&mut self.news) && condition(self) {
                return true;
            }
            let before = self.now;
            if !self.step(end) {
                return false;
            }
            standstill = if self.now == before { standstill + 1 } else { 0 };
            if standstill > CIRCLE * self.machines.len() {
                let due =
                    |machine: &&Machine| machine.next_wake().is_some_and(|(at, _)| at <= self.instant());
                let due = self.machines.iter().filter(due);
                let due: Vec<_> = due.map(|machine| (&machine.name, machine.next_wake())).collect();
                panic!("time stands still, as these want to be woken again and again: {due:?}");
            }
        }
    }

    /// The next thing that happens, unless it lies behind `end`.
    fn step(&mut self, end: Duration) -> bool {
        let queued = self.queue.first_key_value().map(|((at, _), _)| *at);
        let waking = self
            .machines
            .iter()
            .filter_map(Machine::next_wake)
            .map(|(at, _)| at)
            .min();
        let waking = waking.map(|at| self.since_base(at));
        let Some(next) = queued.into_iter().chain(waking).min().filter(|next| *next <= end) else {
            return false;
        };
        self.advance(next.max(self.now));
        if queued.is_some_and(|at| at <= self.now) {
            if let Some((_, happening)) = self.queue.pop_first() {
                self.happen(happening);
            }
        } else {
            self.wake_due();
        }
        true
    }

    fn advance(&mut self, to: Duration) {
        if let Some(step) = to.checked_sub(self.now).filter(|step| !step.is_zero()) {
            lanrage_core::wg::virtual_time::advance(step);
            self.now = to;
            self.clock.store(BEGINNING + to.as_secs(), Ordering::Relaxed);
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Datagram { to, at, from, bytes } => self.datagram_arrives(to, at, from, bytes),
            Happening::Line(line, arrival) => self.line_arrival(line, arrival),
            Happening::Stream(stream, arrival) => self.stream_arrival(stream, arrival),
            Happening::Adapter(node, life) => self.adapter_is_as_wished(node, life),
            Happening::Hosting(node, life) => self.hosting_is_as_wished(node, life),
            Happening::Found(node, life) => self.browse_answers(node, life),
            Happening::Resolved(node, life, servers) => self.resolved(node, life, servers),
            Happening::Woken(node, life, slept) => self.woken(node, life, slept),
            Happening::Ports(node, life) => self.looks_at_ports(node, life),
            Happening::Chat(chat) => self.chat_on(chat),
        }
    }

    fn later(&mut self, delay: Duration, happening: Happening) {
        self.at(self.now + delay, happening);
    }

    fn at(&mut self, at: Duration, happening: Happening) {
        self.scheduled += 1;
        self.queue.insert((at, self.scheduled), happening);
    }

    fn machine(&self, node: Node) -> &Machine {
        &self.machines[node.0]
    }

    fn machine_mut(&mut self, node: Node) -> &mut Machine {
        self.machines[node.0].stirred()
    }

    /// A machine's name.
    pub fn name(&self, node: Node) -> &str {
        &self.machine(node).name
    }

    fn note(&mut self, kind: Kind, who: Node, what: std::fmt::Arguments<'_>) {
        self.transcript
            .line(kind, self.now, &self.machines[who.0].name, what);
    }

    /// 32 bytes that follow from the simulation's seed and a purpose.
    fn derived(&self, purpose: &str) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("LANrage tests: a simulation's randomness");
        hasher.update(&self.seed.to_be_bytes());
        hasher.update(purpose.as_bytes());
        *hasher.finalize().as_bytes()
    }
}

impl Drop for Sim {
    /// A scenario that fails shows how it came to that; `LANRAGE_TRANSCRIPT` asks for more lines of it.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let asked = std::env::var("LANRAGE_TRANSCRIPT").ok();
            let lines = asked.and_then(|lines| lines.parse().ok()).unwrap_or(80);
            let end = self.transcript.tail(lines);
            eprintln!("seed {}; the transcript's end:\n{end}", self.seed);
        }
    }
}
