//! The same announce, seen in two places. A game may send each announce on every interface there is, and a program that
//! passes broadcasts on may put what we delivered on another one. Only one copy leaves.
//!
//! Ports and content tell copies. Of the ways by which the same comes again and again, the first one counts for as long
//! as it goes on. What came from a peer just now is an echo where it shows on a physical interface; on the adapter it
//! is a program's own: two friends who look for a game at the same time send the same bytes.

use super::{Announce, Via};
use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};

/// For how long after its last copy a way counts.
const COUNTS: Duration = Duration::from_secs(2);
/// A program that passes on what we delivered does so within this.
const ECHO: Duration = Duration::from_millis(250);
/// Announces remembered; a newer one may take an older one's place.
const REMEMBERED: usize = 1024;

/// Where an announce was seen first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Peer,
    Adapter,
    /// The hash of its name.
    Interface(u64),
}

/// What was seen lately.
pub(crate) struct Ways {
    seen: Vec<Option<(u64, Way, Instant)>>,
}

impl Ways {
    pub(crate) fn new() -> Self {
        Self {
            seen: vec![None; REMEMBERED],
        }
    }

    /// An announce of a peer's is delivered.
    pub(crate) fn delivered(&mut self, now: Instant, announce: &Announce, content: &[u8]) {
        let (hash, place) = self.place(announce, content);
        // What a program here announces itself goes on to count.
        let own = |seen: &mut (u64, Way, Instant)| {
            seen.0 == hash && seen.1 != Way::Peer && now.saturating_duration_since(seen.2) < COUNTS
        };
        if !place.as_mut().is_some_and(own) {
            *place = Some((hash, Way::Peer, now));
        }
    }

    /// Whether an announce of this computer's own counts, or is a copy of one that does.
    pub(crate) fn counts(&mut self, now: Instant, via: &Via, announce: &Announce, content: &[u8]) -> bool {
        let way = match via {
            Via::Adapter => Way::Adapter,
            Via::Interface(interface) => {
                let mut hasher = std::hash::DefaultHasher::new();
                interface.name.hash(&mut hasher);
                Way::Interface(hasher.finish())
            }
        };
        let (hash, place) = self.place(announce, content);
        let copy = place.is_some_and(|(seen, by, at)| {
            let ago = now.saturating_duration_since(at);
            seen == hash
                && match by {
                    Way::Peer => way != Way::Adapter && ago < ECHO,
                    Way::Adapter | Way::Interface(_) => by != way && ago < COUNTS,
                }
        });
        if !copy {
            *place = Some((hash, way, now));
        }
        !copy
    }

    fn place(&mut self, announce: &Announce, content: &[u8]) -> (u64, &mut Option<(u64, Way, Instant)>) {
        let mut hasher = std::hash::DefaultHasher::new();
        hasher.write_u16(announce.port);
        hasher.write_u16(announce.to_port);
        hasher.write(content);
        let hash = hasher.finish();
        (hash, &mut self.seen[hash as usize % REMEMBERED])
    }
}

#[cfg(test)]
mod tests {
    use super::super::Interface;
    use super::*;
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    const ANNOUNCE: Announce = Announce {
        port: 6112,
        to_port: 6112,
        destination: Ipv4Addr::BROADCAST,
    };

    fn on(name: &str) -> Via {
        Via::Interface(Arc::new(Interface {
            name: name.into(),
            addresses: Vec::new(),
        }))
    }

    #[test]
    fn the_first_way_counts_for_as_long_as_it_goes_on() {
        let (mut ways, start) = (Ways::new(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let mut seen = |ms, via: &Via| ways.counts(at(ms), via, &ANNOUNCE, b"a game");
        assert!(seen(0, &on("eth0")));
        assert!(!seen(1, &Via::Adapter) && !seen(2, &on("wlan0")));
        for ms in (1500..9000).step_by(1500) {
            assert!(seen(ms, &on("eth0")), "a game that repeats itself");
            assert!(!seen(ms + 1, &Via::Adapter));
        }
        assert!(seen(9600, &Via::Adapter), "the first way has ended");
        assert!(!seen(9700, &on("eth0")));
        assert!(ways.counts(at(9700), &on("eth0"), &ANNOUNCE, b"another game"));
    }

    #[test]
    fn what_a_peer_sent_is_an_echo_elsewhere_and_a_program_of_ours_on_the_adapter() {
        let (mut ways, start) = (Ways::new(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        ways.delivered(at(0), &ANNOUNCE, b"who hosts?");
        assert!(!ways.counts(at(30), &on("eth0"), &ANNOUNCE, b"who hosts?"));
        assert!(ways.counts(at(300), &on("eth0"), &ANNOUNCE, b"who hosts?"));
        ways.delivered(at(1000), &ANNOUNCE, b"me?");
        assert!(ways.counts(at(1010), &Via::Adapter, &ANNOUNCE, b"me?"));
        ways.delivered(at(1020), &ANNOUNCE, b"me?");
        assert!(
            !ways.counts(at(1030), &on("eth0"), &ANNOUNCE, b"me?"),
            "the adapter's copy"
        );
    }
}
