//! Slows down whoever sends too many handshakes, before any of them costs a Diffie-Hellman.

use crate::keys::{Key, derive};
use crate::pace::{Pace, Used};
use crate::path::Path;
use std::net::IpAddr;
use std::time::Instant;

/// Of one sender: an honest one tries four times within a second, perhaps for several paths at once. Peers behind
/// one relay share an address, not a port.
const SOURCE: Pace = Pace::new(4, 16);
/// Of one network (/24, or /48 in IPv6): a full party behind one router.
const NETWORK: Pace = Pace::new(60, 256);
/// Senders told apart; two that fall together share a pace.
const PLACES: usize = 2048;

/// What came from where. Its size is fixed, and where a sender falls can't be foreseen without the key.
pub(super) struct Guard {
    key: Key,
    sources: Vec<Used>,
    networks: Vec<Used>,
}

impl Guard {
    /// One whose secret follows from the member's.
    pub(super) fn new(secret: &[u8; 32]) -> Self {
        Self {
            key: derive("LANrage 2026-11 handshake guard", &[secret]),
            sources: vec![Used::default(); PLACES],
            networks: vec![Used::default(); PLACES],
        }
    }

    /// Whether a handshake message that came by this path may be looked at.
    pub(super) fn admits(&mut self, now: Instant, path: Path) -> bool {
        let mut source = [0; 20];
        let network = match path.remote.ip() {
            IpAddr::V4(ip) => {
                source[..4].copy_from_slice(&ip.octets());
                &source[..3]
            }
            IpAddr::V6(ip) => {
                source[..16].copy_from_slice(&ip.octets());
                &source[..6]
            }
        };
        let network = self.place(network);
        source[16..18].copy_from_slice(&path.remote.port().to_le_bytes());
        source[18..].copy_from_slice(&path.transport.0.to_le_bytes());
        let source = self.place(&source);
        SOURCE.take(&mut self.sources[source], now, 1) && NETWORK.take(&mut self.networks[network], now, 1)
    }

    fn place(&self, of: &[u8]) -> usize {
        let hash = blake3::keyed_hash(&self.key, of);
        let [a, b, ..] = *hash.as_bytes();
        usize::from(u16::from_le_bytes([a, b])) % PLACES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use std::time::Duration;

    fn passed(guard: &mut Guard, now: Instant, from: &str, tries: usize) -> usize {
        let path = Path::primary(from.parse::<SocketAddr>().unwrap());
        (0..tries).filter(|_| guard.admits(now, path)).count()
    }

    #[test]
    fn a_flood_from_one_port_leaves_its_neighbours_room() {
        let (mut guard, now) = (Guard::new(&[1; 32]), Instant::now());
        assert_eq!(passed(&mut guard, now, "192.0.2.1:1000", 500), 16);
        assert_eq!(passed(&mut guard, now, "192.0.2.1:1001", 4), 4);
        assert_eq!(passed(&mut guard, now, "192.0.2.9:1000", 4), 4);
        assert_eq!(
            passed(&mut guard, now + Duration::from_secs(1), "192.0.2.1:1000", 500),
            4
        );
    }

    #[test]
    fn a_flood_from_one_network_leaves_others_room() {
        let (mut guard, now) = (Guard::new(&[1; 32]), Instant::now());
        let from_one: usize = (0..2000)
            .map(|port| passed(&mut guard, now, &format!("192.0.2.1:{port}"), 1))
            .sum();
        assert_eq!(from_one, 256);
        assert_eq!(passed(&mut guard, now, "198.51.100.1:1", 4), 4);
        let from_one: usize = (0..2000)
            .map(|n| passed(&mut guard, now, &format!("[2001:db8::{n:x}]:7"), 1))
            .sum();
        assert_eq!(from_one, 256);
    }
}
