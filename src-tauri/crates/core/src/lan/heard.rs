//! What came from peers lately, so that they can be told how far their announces came.

use super::Announce;
use super::igmp::Groups;
use super::memory::LASTING;
use lanrage_proto::Slot;
use std::time::{Duration, Instant};

/// Announces of one peer that are told apart; one more takes the place of the one that was silent longest.
pub(crate) const EACH: usize = 16;
/// How often it is told that an announce goes on.
const TELL_AGAIN: Duration = Duration::from_secs(5);

/// An announce of a peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// Whose.
    pub from: Slot,
    /// Which one.
    pub announce: Announce,
    /// Whether it was delivered: nobody here joined its group, otherwise.
    pub joined: bool,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    arrived: Arrived,
    at: Instant,
    told: Instant,
}

/// What came lately.
#[derive(Default)]
pub(crate) struct Heard {
    entries: Vec<Entry>,
}

impl Heard {
    /// An announce arrived. Whether the member is to be told.
    pub(crate) fn note(&mut self, now: Instant, arrived: Arrived) -> bool {
        let is_same = |entry: &&mut Entry| {
            entry.arrived.from == arrived.from && entry.arrived.announce == arrived.announce
        };
        if let Some(entry) = self.entries.iter_mut().find(is_same) {
            entry.at = now;
            let tell = entry.arrived.joined != arrived.joined
                || now.saturating_duration_since(entry.told) >= TELL_AGAIN;
            entry.arrived = arrived;
            if tell {
                entry.told = now;
            }
            return tell;
        }
        self.entries
            .retain(|entry| now.saturating_duration_since(entry.at) < LASTING);
        let of_peer = |entry: &&Entry| entry.arrived.from == arrived.from;
        let entry = Entry {
            arrived,
            at: now,
            told: now,
        };
        if self.entries.iter().filter(of_peer).count() < EACH {
            self.entries.push(entry);
        } else if let Some(oldest) = self
            .entries
            .iter_mut()
            .filter(|entry| entry.arrived.from == arrived.from)
            .min_by_key(|entry| entry.at)
        {
            *oldest = entry;
        }
        true
    }

    /// Programs joined groups or left them: tells which announces are wanted otherwise than before.
    pub(crate) fn regroup(&mut self, groups: &Groups, mut tell: impl FnMut(Arrived)) {
        for entry in &mut self.entries {
            let destination = entry.arrived.announce.destination;
            let joined = !destination.is_multicast() || groups.wants(destination);
            if entry.arrived.joined != joined {
                entry.arrived.joined = joined;
                tell(entry.arrived);
            }
        }
    }

    /// Another member is in the slot, or none, or the same one's engine started anew.
    pub(crate) fn forget_member(&mut self, slot: Slot) {
        self.entries.retain(|entry| entry.arrived.from != slot);
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn arrived(from: u8, port: u16) -> Arrived {
        Arrived {
            from: Slot::try_from(from).unwrap(),
            announce: Announce {
                port,
                to_port: 4555,
                destination: Ipv4Addr::new(225, 1, 1, 1),
            },
            joined: true,
        }
    }

    #[test]
    fn each_is_told_once_and_again_as_it_goes_on() {
        let (mut heard, start) = (Heard::default(), Instant::now());
        let told: Vec<u64> = (0..120)
            .filter(|tenths| heard.note(start + Duration::from_millis(tenths * 100), arrived(2, 1)))
            .collect();
        assert_eq!(told, [0, 50, 100]);
        let unwanted = Arrived {
            joined: false,
            ..arrived(2, 1)
        };
        assert!(heard.note(start + Duration::from_secs(12), unwanted));
    }

    #[test]
    fn one_peer_cannot_use_up_the_others_room() {
        let (mut heard, now) = (Heard::default(), Instant::now());
        assert!(heard.note(now, arrived(3, 1)));
        for port in 1..1000 {
            assert!(heard.note(now + Duration::from_millis(port.into()), arrived(2, port)));
        }
        assert_eq!(heard.entries.len(), EACH + 1);
        assert!(
            !heard.note(now + Duration::from_secs(1), arrived(3, 1)),
            "still known"
        );
    }
}
