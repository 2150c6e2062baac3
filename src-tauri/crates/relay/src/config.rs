//! What a server is told once.

use crate::credentials::Secret;
pub use crate::pace::Pace;
use crate::rules::Network;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

/// What a server is told once.
#[derive(Debug, Clone)]
pub struct Config {
    /// Named to clients that have to authenticate (RFC 8489 §9.2).
    pub realm: String,
    /// Shared with those who hand out credentials.
    pub secret: Secret,
    /// Where relayed addresses are, at most one of each family; none for a server that only speaks STUN.
    pub relays: Vec<RelayAddress>,
    /// Their ports.
    pub ports: RangeInclusive<u16>,
    /// Peers that may be relayed to though they are not public, or never showed themselves here.
    pub allow_peers: Vec<Network>,
    /// Addresses of this machine beside the relayed ones: never relayed to, unless allowed.
    pub own: Vec<IpAddr>,
    /// Present where there are two addresses.
    pub behaviour: Option<Behaviour>,
    /// How much of it.
    pub limits: Limits,
}

/// An address that relay sockets have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayAddress {
    /// Where they are bound, perhaps to all addresses.
    pub bind: IpAddr,
    /// What peers send to; another one where the machine is behind a 1:1 NAT.
    pub announced: IpAddr,
}

/// The two addresses for behaviour discovery (RFC 5780 §4.1): with their IP addresses and ports crossed they make
/// four, and the server is reachable by all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behaviour {
    primary: SocketAddr,
    alternate: SocketAddr,
}

impl Behaviour {
    /// None when the two have address or port in common, are unspecified, or of two families.
    pub fn new(primary: SocketAddr, alternate: SocketAddr) -> Option<Self> {
        let fits = primary.is_ipv4() == alternate.is_ipv4()
            && primary.ip() != alternate.ip()
            && primary.port() != alternate.port()
            && ![primary, alternate].iter().any(|at| at.ip().is_unspecified());
        fits.then_some(Self { primary, alternate })
    }

    /// All four.
    pub fn all(&self) -> [SocketAddr; 4] {
        let (one, two) = (self.primary, self.alternate);
        [
            one,
            two,
            SocketAddr::new(one.ip(), two.port()),
            SocketAddr::new(two.ip(), one.port()),
        ]
    }

    /// The one with the other IP address and the other port as chosen; none when `at` is not one of the four.
    pub(crate) fn from(&self, at: SocketAddr, other_ip: bool, other_port: bool) -> Option<SocketAddr> {
        let one_ip = at.ip() == self.primary.ip();
        let one_port = at.port() == self.primary.port();
        if !self.all().contains(&at) {
            return None;
        }
        let of = |one| if one { self.primary } else { self.alternate };
        Some(SocketAddr::new(
            of(one_ip != other_ip).ip(),
            of(one_port != other_port).port(),
        ))
    }
}

/// How much is given to whom. A party may be any number of people behind one carrier's address, so what counts for
/// a source is generous; what counts for a member is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Allocations of one member. It needs few; but those of an engine that was killed, or that changed networks,
    /// stay for ten minutes.
    pub member_allocations: u32,
    /// Allocations of one party.
    pub party_allocations: u32,
    /// Allocations from one source, a network of 24 bits (IPv4) or 64 bits (IPv6).
    pub source_allocations: u32,
    /// Allocations in all.
    pub allocations: u32,
    /// Bytes a second of one member, both directions together.
    pub member_bytes: Pace,
    /// Bytes a second from and to one source.
    pub source_bytes: Pace,
    /// Bytes a second in all.
    pub bytes: Pace,
    /// Requests of one source that has no allocation, Binding included.
    pub strangers: Pace,
    /// Requests by datagrams of all sources together that have no allocation and that nothing proves to be where they
    /// say: a flood in everybody's name is not answered to everybody, and leaves time for those who play.
    pub unproven: Pace,
    /// Requests in one allocation. The burst has room for a permission and a channel to each of the largest party.
    pub requests: Pace,
    /// Permissions, and as many channels, in one allocation.
    pub permissions: usize,
    /// How long an allocation goes on at most, however often it is refreshed.
    pub longest: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            member_allocations: 32,
            party_allocations: 512,
            source_allocations: 512,
            allocations: 10_000,
            // 100 Mbit/s, 400 Mbit/s, 1 Gbit/s.
            member_bytes: Pace::bytes(12_500_000),
            source_bytes: Pace::bytes(50_000_000),
            bytes: Pace::bytes(125_000_000),
            strangers: Pace {
                each_second: 100,
                burst: 300,
            },
            unproven: Pace {
                each_second: 500,
                burst: 2_000,
            },
            requests: Pace {
                each_second: 50,
                burst: 600,
            },
            permissions: 256,
            longest: Duration::from_secs(24 * 60 * 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_addresses_make_four() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (one, two) = (at("203.0.113.1:3478"), at("203.0.113.2:3479"));
        let behaviour = Behaviour::new(one, two).unwrap();
        assert_eq!(behaviour.from(one, false, false), Some(one));
        assert_eq!(behaviour.from(one, true, true), Some(two));
        assert_eq!(behaviour.from(one, false, true), Some(at("203.0.113.1:3479")));
        assert_eq!(behaviour.from(two, false, true), Some(at("203.0.113.2:3478")));
        assert_eq!(
            behaviour.from(at("203.0.113.2:3478"), true, true),
            Some(at("203.0.113.1:3479"))
        );
        assert_eq!(behaviour.from(at("203.0.113.3:3478"), false, false), None);
        for wrong in [
            "203.0.113.1:3479",
            "203.0.113.2:3478",
            "[2a00::1]:3479",
            "0.0.0.0:3479",
        ] {
            assert_eq!(Behaviour::new(one, at(wrong)), None, "{wrong}");
        }
    }
}
