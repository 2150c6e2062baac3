//! Addresses that showed themselves here lately: the only strangers that are relayed to.

use crate::pace::network;
use std::collections::HashSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// An address is remembered for at least this long, and at most twice as long.
const MEMORY: Duration = Duration::from_secs(10 * 60);
/// Addresses in one generation.
const MOST: usize = 100_000;

/// Two kinds, so that a flood of forged Binding requests can't push out those who proved to be where they say.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Came by a connection, or signed something with a nonce that was sent to it.
    proven: Generations,
    /// Sent a datagram, or somebody in its name did.
    claimed: Generations,
}

#[derive(Debug)]
struct Generations {
    current: HashSet<IpAddr>,
    previous: HashSet<IpAddr>,
    turned: Instant,
}

impl Seen {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            proven: Generations::new(now),
            claimed: Generations::new(now),
        }
    }

    /// It is there for certain.
    pub(crate) fn proven(&mut self, now: Instant, address: IpAddr) {
        self.proven.insert(now, address);
    }

    /// It may be there.
    pub(crate) fn claimed(&mut self, now: Instant, address: IpAddr) {
        self.claimed.insert(now, address);
    }

    /// Whether it was there for certain lately.
    pub(crate) fn is_proven(&mut self, now: Instant, address: IpAddr) -> bool {
        self.proven.contains(now, address)
    }

    /// Whether it showed itself lately.
    pub(crate) fn lately(&mut self, now: Instant, address: IpAddr) -> bool {
        self.proven.contains(now, address) || self.claimed.contains(now, address)
    }
}

impl Generations {
    fn new(now: Instant) -> Self {
        Self {
            current: HashSet::new(),
            previous: HashSet::new(),
            turned: now,
        }
    }

    fn turn(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.turned);
        if age < MEMORY {
            return;
        }
        self.previous = std::mem::take(&mut self.current);
        if age >= MEMORY * 2 {
            self.previous.clear();
        }
        self.turned = now;
    }

    fn insert(&mut self, now: Instant, address: IpAddr) {
        self.turn(now);
        if self.current.len() < MOST {
            self.current.insert(place(address));
        }
    }

    fn contains(&mut self, now: Instant, address: IpAddr) -> bool {
        self.turn(now);
        let place = place(address);
        self.current.contains(&place) || self.previous.contains(&place)
    }
}

/// IPv6 hosts change their addresses within their network.
fn place(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(_) => network(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_remembered_for_ten_minutes_and_forgotten_after_twenty() {
        let start = Instant::now();
        let mut seen = Seen::new(start);
        let address = IpAddr::from([198, 51, 100, 1]);
        let at = start + Duration::from_secs(9 * 60);
        assert!(!seen.lately(at, address));
        seen.claimed(at, address);
        assert!(seen.lately(at + MEMORY, address));
        assert!(!seen.lately(at + MEMORY * 2, address));
        assert!(!seen.lately(at, IpAddr::from([198, 51, 100, 2])));
    }

    #[test]
    fn forged_datagrams_do_not_push_out_who_is_proven() {
        let now = Instant::now();
        let mut seen = Seen::new(now);
        for number in 0..MOST as u32 + 10 {
            seen.claimed(now, IpAddr::from((0x0100_0000 + number).to_be_bytes()));
        }
        assert!(!seen.lately(now, IpAddr::from((0x0100_0000 + MOST as u32 + 5).to_be_bytes())));
        let address = IpAddr::from([198, 51, 100, 1]);
        seen.proven(now, address);
        assert!(seen.lately(now, address));
    }

    #[test]
    fn an_ipv6_host_is_known_by_its_network() {
        let now = Instant::now();
        let mut seen = Seen::new(now);
        seen.proven(now, "2a00::1".parse().unwrap());
        assert!(seen.lately(now, "2a00::ffff".parse().unwrap()));
        assert!(!seen.lately(now, "2a00:0:0:1::1".parse().unwrap()));
    }
}
