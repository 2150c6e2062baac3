//! Relays: the very TURN server that `lanrage-server` runs, with its sockets played.
//!
//! A relay listens on one port for datagrams and streams, and opens a port of its own for each allocation. What
//! reaches it by a link goes in, what it decides leaves by a link. Streams keep order and lose time instead of
//! pieces; the frames in them are carried whole.

use super::relays::Served;
use super::{Happening, Kind, Node, Place, Sim};
use lanrage_core::path::TransportId;
use lanrage_proto::control::RelayOffer;
use lanrage_relay::credentials::Secret;
use lanrage_relay::{Action, Client, Config, Limits, Link, RelayAddress, RelayId, Server, Service, Target};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Where relays listen.
pub(super) const PORT: u16 = 3478;
/// What control planes and relays share.
const SECRET: &str = "a simulation's";
/// The addresses of this internet are set aside for documentation (RFC 5737), which no relay of the world reaches.
const INTERNET: [&str; 2] = ["203.0.113.0/24", "198.51.100.0/24"];
/// How long a stream is tried to be opened, as the engine has it.
const REACHING: Duration = Duration::from_secs(5);
/// How long TCP keeps trying before it gives a connection up.
const GIVES_UP: Duration = Duration::from_secs(20);

/// A running relay.
pub(super) struct Relay {
    server: Server,
    sockets: BTreeMap<SocketAddr, RelayId>,
}

impl Relay {
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.server.next_wake()
    }
}

/// A stream's number, for the whole simulation.
pub(super) type StreamId = u64;

/// A stream from a member to a relay.
pub(super) struct Stream {
    /// Whose, in which run of the engine, and which relay it is to it.
    pub(super) member: (Node, u32, TransportId),
    relay: Node,
    client: Client,
    /// Nothing arrives before what went before it.
    last_up: Duration,
    last_down: Duration,
    /// An end of it has another address now: nothing arrives any more.
    dead: bool,
}

/// Something at an end of a stream.
#[derive(Debug, Clone)]
pub(super) enum Arrival {
    /// At the member: it is open, or can't be.
    Opened(bool),
    /// At the relay: a frame.
    Up(Vec<u8>),
    /// At the member: a frame.
    Down(Vec<u8>),
    /// At the relay: the member is gone.
    UpEnd,
    /// At the member: the relay is gone.
    DownEnd,
}

/// What scenarios do with relays.
impl Sim {
    /// A relay on the internet, in operation.
    pub fn relay(&mut self, name: &str) -> Node {
        let node = self.computer(name, Place::Internet);
        self.restart_relay(node);
        node
    }

    /// From now on control planes that are started offer these relays to members, with credentials that are good for
    /// so long.
    pub fn offer_relays(&mut self, relays: &[Node], lasting: Duration) {
        let places = relays.iter().filter_map(|relay| self.relay_address(*relay));
        self.relays.places = places.collect();
        self.relays.ttl = u32::try_from(lasting.as_secs()).unwrap_or(u32::MAX);
    }

    /// The relay dies without a word, and with it what it held.
    pub fn kill_relay(&mut self, node: Node) {
        self.note(Kind::Scene, node, format_args!("relay killed"));
        self.machine_mut(node).relay = None;
        let ours = |stream: &Stream| stream.relay == node;
        let streams: Vec<_> = self.streams.iter().filter(|(_, stream)| ours(stream)).collect();
        let streams: Vec<StreamId> = streams.into_iter().map(|(id, _)| *id).collect();
        for id in streams {
            self.stream_sends(id, Arrival::DownEnd);
        }
    }

    /// It runs again, with an empty table.
    pub fn restart_relay(&mut self, node: Node) {
        let Some(address) = self.relay_address(node) else {
            panic!("{} has no address", self.name(node));
        };
        let starts = self.scheduled;
        let randomness = self.derived(&format!("relay {} from {starts}", self.name(node)));
        let (now, unix) = (self.instant(), self.unix());
        let config = Config {
            realm: "lanrage".to_owned(),
            secret: Secret::new(SECRET),
            relays: vec![RelayAddress {
                bind: address.ip(),
                announced: address.ip(),
            }],
            ports: 50_000..=50_999,
            allow_peers: INTERNET.iter().filter_map(|text| text.parse().ok()).collect(),
            own: Vec::new(),
            behaviour: None,
            limits: Limits::default(),
        };
        self.machine_mut(node).relay = Some(Box::new(Relay {
            server: Server::new(config, randomness, now, unix),
            sockets: BTreeMap::new(),
        }));
        self.note(Kind::Scene, node, format_args!("relay starts"));
    }

    /// Packets that the relay passed on in this run of it, both ways together.
    pub fn relayed_packets(&self, relay: Node) -> u64 {
        let counters = self
            .machine(relay)
            .relay
            .as_ref()
            .map(|relay| *relay.server.counters());
        counters.map_or(0, |counted| counted.packets_to_peers + counted.packets_to_clients)
    }

    /// Allocations on the relay now, and how many there were in this run of it.
    pub fn allocations(&self, relay: Node) -> (u32, u64) {
        let relay = self.machine(relay).relay.as_ref();
        relay.map_or((0, 0), |relay| {
            (relay.server.allocations(), relay.server.counters().allocations)
        })
    }

    /// Requests that the relay refused for their names or passwords, in this run of it.
    pub fn refused_credentials(&self, relay: Node) -> u64 {
        let relay = self.machine(relay).relay.as_ref();
        relay.map_or(0, |relay| relay.server.counters().bad_credentials)
    }

    /// Whether an address is of a relay.
    pub(super) fn is_relays(&self, ip: IpAddr) -> bool {
        let has = |machine: &super::Machine| machine.addresses.iter().any(|(own, _)| *own == ip);
        self.relays.places.iter().any(|place| place.ip() == ip)
            || self
                .machines
                .iter()
                .any(|machine| machine.relay.is_some() && has(machine))
    }

    fn relay_address(&self, node: Node) -> Option<SocketAddr> {
        let mut own = self.machine(node).addresses.iter().map(|(ip, _)| *ip);
        own.find(IpAddr::is_ipv4).map(|ip| SocketAddr::new(ip, PORT))
    }
}

/// What control planes know of relays.
#[derive(Debug, Clone, Default)]
pub(super) struct Offered {
    places: Vec<SocketAddr>,
    ttl: u32,
}

impl Offered {
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The ways to each relay, for a member called so, at a time of day.
    pub(super) fn offers(&self, unix: u64, id: &str) -> Vec<RelayOffer> {
        let credentials = Secret::new(SECRET).credentials(unix + u64::from(self.ttl), id);
        let ways = self.places.iter().flat_map(|at| {
            let ways = [format!("turn:{at}"), format!("turn:{at}?transport=tcp")];
            ways.into_iter()
        });
        ways.map(|uri| RelayOffer {
            uri,
            username: credentials.username.clone(),
            password: credentials.password.clone(),
            ttl_seconds: self.ttl,
        })
        .collect()
    }
}

/// The relay's sockets.
impl Sim {
    /// A datagram reached a relay's machine.
    pub(super) fn relay_gets(&mut self, node: Node, at: SocketAddr, from: SocketAddr, bytes: &[u8]) {
        if at.port() == PORT {
            let client = Client {
                link: Link::Datagram,
                service: Service::Turn,
                local: at,
                remote: from,
            };
            return self.relay_hears(node, &client, bytes);
        }
        let now = self.instant();
        let Some(relay) = self.machine_mut(node).relay.as_mut() else {
            return;
        };
        let Some(id) = relay.sockets.get(&at).copied() else {
            return;
        };
        let mut out = Vec::new();
        if let Some(client) = relay.server.from_peer(now, id, from, bytes, &mut out) {
            self.relay_answers(node, &client, client.local, out);
        }
    }

    /// A client's message.
    fn relay_hears(&mut self, node: Node, client: &Client, bytes: &[u8]) {
        let now = self.instant();
        let Some(relay) = self.machine_mut(node).relay.as_mut() else {
            return;
        };
        let mut out = Vec::new();
        match relay.server.from_client(now, client, bytes, &mut out) {
            None => {}
            Some(Target::Client(client)) => self.relay_answers(node, &client, client.local, out),
            Some(Target::Peer(id, peer)) => {
                let from = relay.sockets.iter().find(|(_, open)| **open == id);
                if let Some(from) = from.map(|(at, _)| *at) {
                    self.hop(node, Place::Internet, peer, from, out);
                }
            }
        }
        self.flush_relay(node);
    }

    pub(super) fn wake_relay(&mut self, node: Node) {
        let now = self.instant();
        if let Some(relay) = self.machine_mut(node).relay.as_mut() {
            relay.server.wake(now);
            self.flush_relay(node);
        }
    }

    fn flush_relay(&mut self, node: Node) {
        let now = self.instant();
        while let Some(relay) = self.machine_mut(node).relay.as_mut() {
            match relay.server.poll() {
                None => return,
                Some(Action::Answer { client, from, bytes }) => {
                    self.relay_answers(node, &client, from, bytes)
                }
                Some(Action::Open { relay: id, at }) => {
                    let free = !relay.sockets.contains_key(&at);
                    if free {
                        relay.sockets.insert(at, id);
                    }
                    relay.server.relay_opened(now, id, free);
                }
                Some(Action::Close { relay: id }) => relay.sockets.retain(|_, open| *open != id),
            }
        }
    }

    fn relay_answers(&mut self, node: Node, client: &Client, from: SocketAddr, bytes: Vec<u8>) {
        match client.link {
            Link::Datagram => self.hop(node, Place::Internet, client.remote, from, bytes),
            Link::Stream(id) => self.stream_sends(id, Arrival::Down(bytes)),
        }
    }
}

/// Streams to relays.
impl Sim {
    /// A member opens a stream to a relay; it hears whether that worked.
    pub(super) fn open_stream(&mut self, member: (Node, u32, TransportId), to: SocketAddr) -> StreamId {
        self.next_stream += 1;
        let id = self.next_stream;
        let node = member.0;
        let refused = self.now + REACHING;
        let Some((relay, source)) = self.way(node, to) else {
            self.at(refused, Happening::Stream(id, Arrival::Opened(false)));
            return id;
        };
        // Ports of streams are nobody's business; they only have to differ.
        let port = 20_000 + u16::try_from(id % 20_000).unwrap_or(0);
        let client = Client {
            link: Link::Stream(id),
            service: Service::Turn,
            local: to,
            remote: SocketAddr::new(source, port),
        };
        let listens = self.machine(relay).relay.is_some();
        let now = self.now;
        let there = self.links.stream(&mut self.chance, now, node, relay);
        let back = there.and_then(|at| self.links.stream(&mut self.chance, at, relay, node));
        let (at, open) = match back {
            Some(at) if listens => (at, true),
            Some(at) => (at, false),
            None => (refused, false),
        };
        if open {
            let stream = Stream {
                member,
                relay,
                client,
                last_up: at,
                last_down: at,
                dead: false,
            };
            self.streams.insert(id, stream);
        }
        self.at(at, Happening::Stream(id, Arrival::Opened(open)));
        id
    }

    /// Puts something on its way, in order behind what went before.
    pub(super) fn stream_sends(&mut self, id: StreamId, arrival: Arrival) {
        let now = self.now;
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let up = matches!(arrival, Arrival::Up(_) | Arrival::UpEnd);
        let (from, to, last) = if up {
            (stream.member.0, stream.relay, &mut stream.last_up)
        } else {
            (stream.relay, stream.member.0, &mut stream.last_down)
        };
        let at = self.links.stream(&mut self.chance, now, from, to);
        match at.filter(|_| !stream.dead) {
            Some(at) => {
                *last = at.max(*last);
                let at = *last;
                self.at(at, Happening::Stream(id, arrival));
            }
            // What can't arrive is tried for a while; then both ends know.
            None if !stream.dead => {
                stream.dead = true;
                for end in [Arrival::UpEnd, Arrival::DownEnd] {
                    self.at(now + GIVES_UP, Happening::Stream(id, end));
                }
            }
            None => {}
        }
    }

    pub(super) fn stream_arrival(&mut self, id: StreamId, arrival: Arrival) {
        let member = match self.streams.get(&id) {
            Some(stream) => stream.member,
            // One that never opened is known to its member alone.
            None => return self.stream_served(id, Served::Failed),
        };
        match arrival {
            Arrival::Opened(open) => {
                let served = if open { Served::Open } else { Served::Failed };
                self.stream_served(id, served);
            }
            Arrival::Up(bytes) => {
                if let Some((relay, client)) = self.streams.get(&id).map(|s| (s.relay, s.client)) {
                    self.relay_hears(relay, &client, &bytes);
                }
            }
            Arrival::Down(bytes) if self.machine(member.0).life() == member.1 => {
                self.stream_served(id, Served::Message(unpadded(bytes)));
            }
            Arrival::Down(_) => {}
            Arrival::UpEnd => {
                let now = self.instant();
                if let Some(stream) = self.streams.remove(&id)
                    && let Some(relay) = self.machine_mut(stream.relay).relay.as_mut()
                {
                    relay.server.client_gone(now, &stream.client);
                    self.flush_relay(stream.relay);
                }
            }
            Arrival::DownEnd => {
                self.streams.remove(&id);
                self.stream_served(id, Served::Failed);
            }
        }
    }

    /// A machine has other addresses: its streams carry nothing any more, and nobody is told.
    pub(super) fn streams_die_of(&mut self, node: Node) {
        for stream in self.streams.values_mut().filter(|stream| stream.member.0 == node) {
            stream.dead = true;
        }
    }
}

/// A stream's channel data comes padded to four bytes (RFC 8656 §12.5).
fn unpadded(mut frame: Vec<u8>) -> Vec<u8> {
    if let Some([0x40..=0x7f, _, high, low]) = frame.first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        frame.truncate(4 + length);
    }
    frame
}
