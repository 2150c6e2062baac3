//! The network between machines: who reaches whom, and what the way does to datagrams and streams.
//!
//! Public addresses are reached from everywhere that has one of the same family, private ones from the same
//! switch only. A switch is an island unless a router stands on it.

use super::Node;
use rand_chacha::ChaCha8Rng;
use rand_core::RngCore;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Where a machine is plugged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On the switch of this number, with a private IPv4 address of 192.168.`number`.0/24.
    Lan(u8),
    /// On the open internet, with public addresses of both families.
    Internet,
    /// On the open internet, IPv6 alone.
    Internet6,
}

impl Place {
    /// The addresses of the machine of this number there, with their prefix lengths.
    pub(super) fn addresses(self, number: u8) -> Vec<(IpAddr, u8)> {
        let v6 = || {
            let segments = [0x2001, 0xdb8, 0, u16::from(number), 0, 0, 0, 1];
            (IpAddr::from(segments), 64)
        };
        // Neighbours in documentation networks (RFC 5737) would be on one link; each machine gets its own.
        let v4 = || (IpAddr::V4(Ipv4Addr::new(203, 0, 113, number)), 32);
        match self {
            Place::Lan(lan) => vec![(IpAddr::V4(Ipv4Addr::new(192, 168, lan, number)), 24)],
            Place::Internet => vec![v4(), v6()],
            Place::Internet6 => vec![v6()],
        }
    }
}

/// What the way from one machine to another is like. Each direction has its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// One way.
    pub latency: Duration,
    /// Added at random, from none to this.
    pub jitter: Duration,
    /// Share of datagrams that vanish, 0 to 1. Streams lose time instead.
    pub loss: f64,
    /// Share of datagrams that later ones may overtake, by up to three latencies.
    pub reordering: f64,
    /// Nothing passes.
    pub cut: bool,
}

impl Link {
    /// A good wire: 5 ms each way.
    pub const GOOD: Link = Link {
        latency: Duration::from_millis(5),
        jitter: Duration::ZERO,
        loss: 0.0,
        reordering: 0.0,
        cut: false,
    };

    /// Within one machine.
    const LOOPBACK: Link = Link {
        latency: Duration::from_micros(50),
        ..Link::GOOD
    };
}

/// All ways, and the last arrival on each, by which order is kept.
pub(super) struct Links {
    pub(super) default: Link,
    between: BTreeMap<(Node, Node), Link>,
    last: BTreeMap<(Node, Node), Duration>,
    /// Machines that sleep: no way leads there.
    pub(super) asleep: BTreeSet<Node>,
}

/// How long TCP waits before it sends again, at first; doubled each time.
const RETRANSMIT: Duration = Duration::from_millis(200);

impl Links {
    pub(super) fn new() -> Self {
        Self {
            default: Link::GOOD,
            between: BTreeMap::new(),
            last: BTreeMap::new(),
            asleep: BTreeSet::new(),
        }
    }

    pub(super) fn get(&self, from: Node, to: Node) -> Link {
        if from == to {
            return Link::LOOPBACK;
        }
        let link = self.awake(from, to);
        let asleep = self.asleep.contains(&from) || self.asleep.contains(&to);
        Link {
            cut: link.cut || asleep,
            ..link
        }
    }

    /// As it is when both ends are awake.
    pub(super) fn awake(&self, from: Node, to: Node) -> Link {
        self.between.get(&(from, to)).copied().unwrap_or(self.default)
    }

    pub(super) fn set(&mut self, from: Node, to: Node, link: Link) {
        self.between.insert((from, to), link);
    }

    /// When a datagram sent now arrives; `None` when it does not.
    pub(super) fn datagram(
        &mut self,
        rng: &mut Chance,
        now: Duration,
        from: Node,
        to: Node,
    ) -> Option<Duration> {
        let link = self.get(from, to);
        if link.cut || rng.happens(link.loss) {
            return None;
        }
        let arrival = now + link.latency + rng.up_to(link.jitter);
        if rng.happens(link.reordering) {
            return Some(arrival + rng.up_to(link.latency * 3));
        }
        let last = self.last.entry((from, to)).or_default();
        *last = arrival.max(*last);
        Some(*last)
    }

    /// When a piece of a stream sent now arrives: what is lost is sent again. `None` on a cut way.
    pub(super) fn stream(
        &mut self,
        rng: &mut Chance,
        now: Duration,
        from: Node,
        to: Node,
    ) -> Option<Duration> {
        let link = self.get(from, to);
        if link.cut {
            return None;
        }
        let mut arrival = now + link.latency + rng.up_to(link.jitter);
        let mut wait = RETRANSMIT + link.latency * 2;
        while rng.happens(link.loss) && wait < Duration::from_secs(10) {
            arrival += wait;
            wait *= 2;
        }
        Some(arrival)
    }
}

/// Seeded chance.
pub(super) struct Chance(pub(super) ChaCha8Rng);

impl Chance {
    /// True in this share of cases. Draws nothing for what never happens, so that good links change no seed's course.
    pub(super) fn happens(&mut self, share: f64) -> bool {
        share > 0.0 && f64::from(self.0.next_u32()) < share * (f64::from(u32::MAX) + 1.0)
    }

    /// Evenly from none to `most`.
    pub(super) fn up_to(&mut self, most: Duration) -> Duration {
        if most.is_zero() {
            return most;
        }
        most.mul_f64(f64::from(self.0.next_u32()) / f64::from(u32::MAX))
    }
}

/// The own address from which a machine speaks to `remote`; `None` when it has no way there.
pub(super) fn source_for(own: &[(IpAddr, u8)], remote: IpAddr) -> Option<IpAddr> {
    let same_family = own
        .iter()
        .filter(|(address, _)| address.is_ipv4() == remote.is_ipv4());
    let mut candidates = same_family.clone();
    if is_private(remote) {
        return candidates
            .find(|(address, prefix)| shares_prefix(*address, remote, *prefix))
            .map(|(a, _)| *a);
    }
    candidates
        .find(|(address, _)| !is_private(*address))
        .map(|(address, _)| *address)
}

fn is_private(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.is_private())
}

pub(super) fn shares_prefix(a: IpAddr, b: IpAddr, prefix: u8) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    };
    a.is_ipv4() == b.is_ipv4() && (bits(a) ^ bits(b)).leading_zeros() >= u32::from(prefix)
}

/// What a datagram is, by its first bytes and its length, as a reader of a capture would say; of what goes to or comes
/// from a relay, what is in it.
pub(super) fn kind_of(datagram: &[u8]) -> (super::Kind, &'static str) {
    use super::Kind;
    if let Some(([0x40..=0x4f, _, high, low], inside)) = datagram.split_first_chunk::<4>()
        && inside.len() == usize::from(u16::from_be_bytes([*high, *low]))
    {
        return kind_of(inside);
    }
    match (datagram.first_chunk::<4>(), datagram.len()) {
        (Some([1, 0, 0, 0]), 148) => (Kind::Handshake, "initiation"),
        (Some([2, 0, 0, 0]), 92) => (Kind::Handshake, "response"),
        (Some([3, 0, 0, 0]), 64) => (Kind::Handshake, "cookie"),
        (Some([4, 0, 0, 0]), 32) => (Kind::Data, "keepalive"),
        (Some([4, 0, 0, 0]), 33..) => (Kind::Data, "data"),
        _ if datagram.get(4..8) == Some(&[0x21, 0x12, 0xA4, 0x42]) => (Kind::Probe, "stun"),
        _ => (Kind::Probe, "probe"),
    }
}
