//! Routers that translate addresses (RFC 4787), between a switch with private addresses and what lies outside.
//!
//! A datagram goes from hop to hop: over the switch to the router, through its table, on to wherever the translated
//! address leads. What comes from outside is held against the table when it arrives, not when it was sent, so that
//! who is first matters as it does in the world. Streams pass; routers that keep those out are not played.

use super::{Kind, Node, Place, Sim};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Which part of the other end's address a router looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Looks {
    /// None of it.
    Nothing,
    /// The address.
    Address,
    /// The address and the port.
    AddressAndPort,
}

/// Which port a new mapping gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ports {
    /// The sender's own, where it is free.
    Kept,
    /// The next one after the last.
    Sequential,
    /// Any.
    Random,
    /// Any, but one of 600 to 1023 where the sender's own is one of 512 to 1023, as Linux deals them.
    RandomLowForLow,
}

/// How a router treats UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nat {
    /// What makes for another mapping.
    pub mapping: Looks,
    /// What of those outside is looked at before they are let in.
    pub filtering: Looks,
    /// Which ports mappings get.
    pub ports: Ports,
    /// Whether those inside reach each other by their outside addresses.
    pub hairpin: bool,
    /// How long a mapping, and leave to come in by it, lasts after something was last sent by it.
    pub lasts: Duration,
    /// Whether UDP passes at all.
    pub udp: bool,
    /// Takes what came in unasked as for itself, and gives what is later sent back there from that port another port
    /// (seen on Linux).
    pub takes_strays: bool,
    /// What counts as back there: the very address and port, or all ports of the address.
    pub strays_by: Looks,
}

impl Nat {
    /// Mappings that depend on nothing.
    pub const fn cone(filtering: Looks) -> Self {
        Self {
            mapping: Looks::Nothing,
            filtering,
            ports: Ports::Random,
            hairpin: false,
            lasts: Duration::from_secs(120),
            udp: true,
            takes_strays: false,
            strays_by: Looks::AddressAndPort,
        }
    }

    /// Another mapping for each destination, open to it alone.
    pub const SYMMETRIC: Nat = Nat {
        mapping: Looks::AddressAndPort,
        ..Nat::cone(Looks::AddressAndPort)
    };

    /// Nothing but streams.
    pub const NO_UDP: Nat = Nat {
        udp: false,
        ..Nat::cone(Looks::Nothing)
    };
}

/// How often a router looks for mappings that are too old.
const EXPIRES: Duration = Duration::from_millis(200);

/// One mapping.
#[derive(Debug)]
struct Mapped {
    inside: SocketAddr,
    used: Duration,
    /// To whom something was sent, and when last.
    sent: BTreeMap<SocketAddr, Duration>,
}

/// What a mapping is found by from outside: the port and, where a port serves several at once as on Linux, for whom.
type Outside = (u16, Option<SocketAddr>);

/// What a mapping is found by: who sends, and what is looked at of where to.
type Key = (SocketAddr, Option<IpAddr>, u16);

/// A router's side of a machine.
#[derive(Debug)]
pub(super) struct Router {
    pub(super) inside: Place,
    nat: Nat,
    by_key: BTreeMap<Key, Outside>,
    by_port: BTreeMap<Outside, Mapped>,
    /// What was taken as for itself: to which outside port, from where, and when.
    strays: BTreeMap<(u16, SocketAddr), Duration>,
    last: u16,
    /// When it last looked for what is too old.
    expired: Duration,
    rng: ChaCha8Rng,
}

impl Router {
    fn new(inside: Place, nat: Nat, seed: [u8; 32]) -> Self {
        let mut rng = ChaCha8Rng::from_seed(seed);
        Self {
            inside,
            nat,
            by_key: BTreeMap::new(),
            by_port: BTreeMap::new(),
            strays: BTreeMap::new(),
            last: 1024 + (rng.next_u32() % 60_000) as u16,
            expired: Duration::ZERO,
            rng,
        }
    }

    fn forget(&mut self) {
        self.by_key.clear();
        self.by_port.clear();
        self.strays.clear();
    }

    fn expire(&mut self, now: Duration) {
        // As routers do, not at each datagram.
        if now < self.expired + EXPIRES {
            return;
        }
        self.expired = now;
        let lasts = self.nat.lasts;
        let fresh = |at: Duration| now.saturating_sub(at) < lasts;
        self.by_port.retain(|_, mapped| fresh(mapped.used));
        let ports = &self.by_port;
        self.by_key.retain(|_, port| ports.contains_key(port));
        self.strays.retain(|_, at| fresh(*at));
        for mapped in self.by_port.values_mut() {
            mapped.sent.retain(|_, at| fresh(*at));
        }
    }

    /// Something goes out; the outside port that it leaves by.
    fn out(&mut self, now: Duration, from: SocketAddr, to: SocketAddr) -> Option<u16> {
        if !self.nat.udp {
            return None;
        }
        self.expire(now);
        let key = |looks| match looks {
            Looks::Nothing => (from, None, 0),
            Looks::Address => (from, Some(to.ip()), 0),
            Looks::AddressAndPort => (from, Some(to.ip()), to.port()),
        };
        // One such destination has to be told apart from all others.
        let taken = self.nat.takes_strays && self.is_taken(key(self.nat.mapping), from.port(), to);
        let looks = if taken {
            Looks::AddressAndPort
        } else {
            self.nat.mapping
        };
        let key = key(looks);
        let outside = match self.by_key.get(&key) {
            Some(outside) => *outside,
            None => {
                let shared = self.nat.ports == Ports::RandomLowForLow && looks == Looks::AddressAndPort;
                let to = Some(to).filter(|_| shared);
                let outside = (self.free_port(from.port(), to), to);
                self.by_key.insert(key, outside);
                outside
            }
        };
        let mapped = self.by_port.entry(outside).or_insert(Mapped {
            inside: from,
            used: now,
            sent: BTreeMap::new(),
        });
        mapped.used = now;
        mapped.sent.insert(to, now);
        Some(outside.0)
    }

    /// Whether the port by which this would leave is taken towards there, by what came in unasked.
    fn is_taken(&self, key: Key, own: u16, to: SocketAddr) -> bool {
        let known = self.by_key.get(&key);
        let goes_on = known
            .and_then(|outside| self.by_port.get(outside))
            .is_some_and(|mapped| mapped.sent.contains_key(&to));
        let kept = Some(own).filter(|_| self.nat.ports == Ports::Kept);
        let port = known.map(|(port, _)| *port).or(kept);
        let to = self.counted(to);
        !goes_on && port.is_some_and(|port| self.strays.contains_key(&(port, to)))
    }

    /// As much of where a stray came from as counts.
    fn counted(&self, from: SocketAddr) -> SocketAddr {
        match self.nat.strays_by {
            Looks::AddressAndPort => from,
            Looks::Nothing | Looks::Address => SocketAddr::new(from.ip(), 0),
        }
    }

    fn free_port(&mut self, own: u16, to: Option<SocketAddr>) -> u16 {
        if self.nat.ports == Ports::Kept && !self.by_port.contains_key(&(own, to)) {
            return own;
        }
        loop {
            let low = self.nat.ports == Ports::RandomLowForLow && (512..1024).contains(&own);
            let port = match self.nat.ports {
                _ if low => 600 + (self.rng.next_u32() % 424) as u16,
                Ports::Random | Ports::RandomLowForLow => self.rng.next_u32() as u16,
                Ports::Kept | Ports::Sequential => self.last.wrapping_add(1),
            };
            self.last = port;
            if (port >= 1024 || low) && !self.by_port.contains_key(&(port, to)) {
                return port;
            }
        }
    }

    /// Something comes to an outside port; for whom inside, if it is let in.
    fn into(&mut self, now: Duration, from: SocketAddr, port: u16) -> Option<SocketAddr> {
        self.expire(now);
        let meant = [(port, None), (port, Some(from))];
        let mut mapped = meant.iter().filter_map(|outside| self.by_port.get(outside));
        let mapped = mapped.next().filter(|_| self.nat.udp)?;
        let passes = match self.nat.filtering {
            Looks::Nothing => true,
            Looks::Address => mapped.sent.keys().any(|to| to.ip() == from.ip()),
            Looks::AddressAndPort => mapped.sent.contains_key(&from),
        };
        let (inside, asked) = (mapped.inside, mapped.sent.contains_key(&from));
        if !passes && !asked {
            self.strays.insert((port, self.counted(from)), now);
        }
        passes.then_some(inside)
    }
}

impl Sim {
    /// A router between the switch `inside` and what lies `outside`: the internet, or another router's switch.
    pub fn router(&mut self, name: &str, inside: Place, outside: Place, nat: Nat) -> Node {
        let seed = self.derived(&format!("ports of {name}"));
        let node = self.computer(name, outside);
        let machine = self.machine_mut(node);
        machine.addresses.retain(|(address, _)| address.is_ipv4());
        machine.router = Some(Router::new(inside, nat, seed));
        node
    }

    /// Its table is gone, as after a restart.
    pub fn router_forgets(&mut self, router: Node) {
        self.note(Kind::Scene, router, format_args!("forgets its mappings"));
        if let Some(router) = self.machine_mut(router).router.as_mut() {
            router.forget();
        }
    }

    /// From now on it treats UDP so.
    pub fn set_nat(&mut self, router: Node, nat: Nat) {
        if let Some(router) = self.machine_mut(router).router.as_mut() {
            router.nat = nat;
            router.forget();
        }
    }

    /// The router by which what is plugged in there reaches the world.
    pub(super) fn uplink(&self, place: Place) -> Option<Node> {
        let leads = |machine: &super::Machine| {
            machine
                .router
                .as_ref()
                .is_some_and(|router| router.inside == place)
        };
        self.machines.iter().position(leads).map(Node)
    }

    /// Where a datagram goes next on its way from a machine plugged in at `near`.
    pub(super) fn next_hop(&self, near: Place, to: IpAddr) -> Option<Node> {
        let is_lan = |place: Place| matches!(place, Place::Lan(_));
        let has = |machine: &super::Machine| {
            let reached = if is_lan(machine.place) {
                machine.place == near
            } else {
                !is_lan(near)
            };
            reached && machine.addresses.iter().any(|(ip, _)| *ip == to)
        };
        match self.machines.iter().position(has) {
            Some(index) => Some(Node(index)),
            None => self.uplink(near),
        }
    }

    /// A datagram is at a router: translates it and sends it on.
    pub(super) fn route(&mut self, node: Node, at: SocketAddr, from: SocketAddr, bytes: Vec<u8>) {
        let now = self.now;
        let place = self.machine(node).place;
        let Some(outside) = self.machine(node).addresses.first().map(|(ip, _)| *ip) else {
            return;
        };
        let Some(router) = self.machine_mut(node).router.as_mut() else {
            return;
        };
        let comes_out = router
            .inside
            .addresses(0)
            .iter()
            .any(|(subnet, prefix)| super::net::shares_prefix(*subnet, from.ip(), *prefix));
        let (inside, hairpin) = (router.inside, router.nat.hairpin);
        if !comes_out {
            let meant = router.into(now, from, at.port());
            return match meant {
                Some(to) => self.hop(node, inside, to, from, bytes),
                None => self.stopped(node, &bytes),
            };
        }
        let Some(port) = router.out(now, from, at) else {
            return self.stopped(node, &bytes);
        };
        let from = SocketAddr::new(outside, port);
        if at.ip() != outside {
            return self.hop(node, place, at, from, bytes);
        }
        let meant = router.into(now, from, at.port()).filter(|_| hairpin);
        match meant {
            Some(to) => self.hop(node, inside, to, from, bytes),
            None => self.stopped(node, &bytes),
        }
    }

    fn stopped(&mut self, node: Node, bytes: &[u8]) {
        let (kind, what) = super::net::kind_of(bytes);
        self.note(kind, node, format_args!("{what} {} stopped", bytes.len()));
    }
}
