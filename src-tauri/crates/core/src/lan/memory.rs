//! What programs here announced lately: for a peer that joins, or whose game starts, later than the announce, and to
//! know who answered. Nothing here knows any game.
//!
//! Announces are told apart by ports and destination, and within these by the first bytes of their content, which in
//! most games say what kind of message it is: one that shows the lobby must not be forgotten for one that only counts
//! its players. The newest of each kind is kept.

use super::rewrite::identify;
use super::{Announce, SlotSet, Via};
use crate::dataplane::header::Header;
use lanrage_proto::Slot;
use std::time::{Duration, Instant};

/// Announces told apart. One more takes the place of the one that was silent longest.
const ANNOUNCES: usize = 16;
/// Kinds of each.
const KINDS: usize = 4;
/// The bytes by which kinds are told.
const KIND: usize = 4;
/// An announce that was not repeated for so long is history; games repeat theirs every second to every half minute.
pub(crate) const LASTING: Duration = Duration::from_secs(60);
/// The member is told of an announce at once when something about it is new, but no more often than this …
const TELL: Duration = Duration::from_millis(500);
/// … and this often that it goes on.
const TELL_AGAIN: Duration = Duration::from_secs(5);

/// What is known of an announce of a program here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// Which one.
    pub announce: Announce,
    /// Where it was seen.
    pub via: Via,
    /// To whom it was sent.
    pub sent: SlotSet,
    /// Who gets it on the physical network that it was seen on.
    pub nearby: SlotSet,
    /// From whose address something came back to the program's port.
    pub answered: SlotSet,
}

struct Entry {
    known: Announced,
    /// When it was last repeated.
    at: Instant,
    told: Option<Instant>,
    news: bool,
    kinds: Vec<Kind>,
}

struct Kind {
    first: [u8; KIND],
    at: Instant,
    packet: Vec<u8>,
    /// Who has it: it was sent to them when they could take it in.
    had: SlotSet,
}

/// Whom a packet was sent to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Receivers {
    /// All of them.
    pub(crate) sent: SlotSet,
    /// Those who could take it in.
    pub(crate) had: SlotSet,
    /// Those who were left out because they get it otherwise.
    pub(crate) nearby: SlotSet,
}

/// What was announced here lately.
#[derive(Default)]
pub(crate) struct Memory {
    entries: Vec<Entry>,
    /// The last identification that was given.
    id: u16,
}

impl Memory {
    /// Gives a packet without identification its own, so that a repetition can be told from a copy, which is what
    /// receivers drop.
    pub(crate) fn stamp(&mut self, header: &mut Header, packet: &mut [u8]) {
        if header.atomic && header.id == 0 {
            header.id = self.next_id();
            identify(packet, header.id);
        }
    }

    fn next_id(&mut self) -> u16 {
        self.id = self.id.checked_add(1).unwrap_or(1);
        self.id
    }

    /// An announce went out.
    pub(crate) fn note(
        &mut self,
        now: Instant,
        announce: Announce,
        via: &Via,
        packet: &[u8],
        content: &[u8],
        to: Receivers,
    ) {
        let known = self
            .entries
            .iter()
            .position(|entry| entry.known.announce == announce);
        let at = known.unwrap_or_else(|| self.begin(now, announce, via.clone()));
        let entry = &mut self.entries[at];
        entry.news |= entry.known.sent != to.sent || entry.known.nearby != to.nearby;
        (entry.known.sent, entry.known.nearby) = (to.sent, to.nearby);
        if entry.known.via != *via {
            entry.known.via = via.clone();
            entry.news = true;
        }
        entry.at = now;
        let mut first = [0; KIND];
        let length = content.len().min(KIND);
        first[..length].copy_from_slice(&content[..length]);
        let kinds = &mut entry.kinds;
        let place = match kinds.iter().position(|kind| kind.first == first) {
            Some(place) => place,
            None if kinds.len() < KINDS => {
                kinds.push(Kind {
                    first,
                    at: now,
                    packet: Vec::new(),
                    had: SlotSet::default(),
                });
                kinds.len() - 1
            }
            None => (0..KINDS).min_by_key(|place| kinds[*place].at).unwrap_or(0),
        };
        let kind = &mut kinds[place];
        (kind.first, kind.at, kind.had) = (first, now, to.had);
        kind.packet.clear();
        kind.packet.extend_from_slice(packet);
    }

    fn begin(&mut self, now: Instant, announce: Announce, via: Via) -> usize {
        let known = Announced {
            announce,
            via,
            sent: SlotSet::default(),
            nearby: SlotSet::default(),
            answered: SlotSet::default(),
        };
        let entry = Entry {
            known,
            at: now,
            told: None,
            news: true,
            kinds: Vec::new(),
        };
        if self.entries.len() < ANNOUNCES {
            self.entries.push(entry);
            return self.entries.len() - 1;
        }
        let oldest = (0..ANNOUNCES).min_by_key(|at| self.entries[*at].at).unwrap_or(0);
        self.entries[oldest] = entry;
        oldest
    }

    /// Hands out what a peer has not, oldest first, and takes for had what `send` says was sent. `send` also gets where
    /// the announce was seen, and tells nothing for those who get it otherwise.
    pub(crate) fn replay(
        &mut self,
        now: Instant,
        to: Slot,
        mut send: impl FnMut(&Via, &[u8]) -> Option<bool>,
    ) {
        let mut missing: Vec<(Instant, usize, usize)> = Vec::new();
        for (at, entry) in self.entries.iter().enumerate() {
            for (number, kind) in entry.kinds.iter().enumerate() {
                let lasts = now.saturating_duration_since(kind.at) < LASTING;
                if lasts && !kind.had.contains(to) {
                    missing.push((kind.at, at, number));
                }
            }
        }
        missing.sort_unstable();
        for (_, at, number) in missing {
            let Entry {
                known, kinds, news, ..
            } = &mut self.entries[at];
            let kind = &mut kinds[number];
            match send(&known.via, &kind.packet) {
                Some(true) => {
                    kind.had.insert(to);
                    *news |= known.sent.insert(to);
                }
                Some(false) => {}
                None => *news |= known.nearby.insert(to),
            }
        }
    }

    /// A peer can use an announce only now: it gets it again as if it never had.
    pub(crate) fn renew(&mut self, announce: &Announce, to: Slot) {
        let mut id = self.id;
        let entries = self.entries.iter_mut();
        for kind in entries
            .filter(|entry| entry.known.announce == *announce)
            .flat_map(|entry| &mut entry.kinds)
        {
            if kind.had.contains(to) {
                kind.had.remove(to);
                // To those who have it already the new one is a repetition; they are not sent it.
                id = id.checked_add(1).unwrap_or(1);
                identify(&mut kind.packet, id);
            }
        }
        self.id = id;
    }

    /// Another member is in the slot, or none, or the same one's engine started anew.
    pub(crate) fn forget_member(&mut self, slot: Slot) {
        for entry in &mut self.entries {
            entry.known.sent.remove(slot);
            entry.known.nearby.remove(slot);
            entry.known.answered.remove(slot);
            entry.kinds.iter_mut().for_each(|kind| kind.had.remove(slot));
        }
    }

    /// The program that announced from this port is gone, and so is its lobby.
    pub(crate) fn forget_program(&mut self, port: u16) {
        self.entries.retain(|entry| entry.known.announce.port != port);
    }

    /// Another party, or none.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Something came from a peer to a port here.
    pub(crate) fn answer(&mut self, from: Slot, port: u16) {
        for entry in self
            .entries
            .iter_mut()
            .filter(|entry| entry.known.announce.port == port)
        {
            entry.news |= entry.known.answered.insert(from);
        }
    }

    /// When there is something to tell.
    pub(crate) fn next_tell(&self) -> Option<Instant> {
        self.entries.iter().filter_map(Entry::due).min()
    }

    /// Tells what is new, when it is time.
    pub(crate) fn tell(&mut self, now: Instant, mut tell: impl FnMut(Announced)) {
        for entry in &mut self.entries {
            if entry.due().is_some_and(|due| due <= now) {
                entry.told = Some(now);
                entry.news = false;
                tell(entry.known.clone());
            }
        }
    }
}

impl Entry {
    fn due(&self) -> Option<Instant> {
        match self.told {
            None => Some(self.at),
            Some(told) if self.news => Some(told + TELL),
            Some(told) => (self.at >= told + TELL_AGAIN).then_some(told + TELL_AGAIN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const LOBBY: Announce = Announce {
        port: 6112,
        to_port: 6112,
        destination: Ipv4Addr::BROADCAST,
    };

    fn slot(number: u8) -> Slot {
        Slot::try_from(number).unwrap()
    }

    fn to(slots: &[u8]) -> Receivers {
        let mut set = SlotSet::default();
        for number in slots {
            set.insert(slot(*number));
        }
        Receivers {
            sent: set,
            had: set,
            nearby: SlotSet::default(),
        }
    }

    /// An IPv4 header and the content.
    fn packet(content: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; 20];
        packet.extend(content);
        packet
    }

    fn note(memory: &mut Memory, now: Instant, port: u16, content: &[u8], to: Receivers) {
        let announce = Announce { port, ..LOBBY };
        memory.note(now, announce, &Via::Adapter, &packet(content), content, to);
    }

    fn replayed(memory: &mut Memory, now: Instant, to: u8) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        memory.replay(now, slot(to), |_, packet| {
            sent.push(packet[20..].to_vec());
            Some(true)
        });
        sent
    }

    #[test]
    fn a_newcomer_gets_the_newest_of_each_kind_in_order_and_once() {
        let (mut memory, start) = (Memory::default(), Instant::now());
        let at = |s| start + Duration::from_secs(s);
        note(&mut memory, at(0), 6112, b"MAKE game", to(&[2]));
        note(&mut memory, at(1), 6112, b"INFO 1 player", to(&[2]));
        note(&mut memory, at(2), 27960, b"quake", to(&[2]));
        note(&mut memory, at(3), 6112, b"INFO 2 players", to(&[2]));
        assert_eq!(
            replayed(&mut memory, at(4), 2),
            Vec::<Vec<u8>>::new(),
            "it has all"
        );
        let wanted = [&b"MAKE game"[..], b"quake", b"INFO 2 players"];
        assert_eq!(replayed(&mut memory, at(4), 3), wanted);
        assert_eq!(
            replayed(&mut memory, at(5), 3),
            Vec::<Vec<u8>>::new(),
            "it has them now"
        );
        assert_eq!(
            replayed(&mut memory, at(61), 4),
            [&b"quake"[..], b"INFO 2 players"]
        );
        memory.forget_member(slot(3));
        memory.forget_program(27960);
        assert_eq!(
            replayed(&mut memory, at(5), 3),
            [&b"MAKE game"[..], b"INFO 2 players"]
        );
    }

    #[test]
    fn what_was_not_sent_is_tried_again() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        note(&mut memory, now, 6112, b"a game", to(&[]));
        memory.replay(now, slot(2), |_, _| Some(false));
        assert_eq!(replayed(&mut memory, now, 2).len(), 1);
        memory.renew(&LOBBY, slot(2));
        assert_eq!(replayed(&mut memory, now, 2).len(), 1, "its game started later");
    }

    #[test]
    fn it_is_bounded_and_the_newest_stay() {
        let (mut memory, start) = (Memory::default(), Instant::now());
        for n in 0..200u16 {
            let at = start + Duration::from_millis(n.into());
            note(&mut memory, at, 1000 + n, b"x", to(&[]));
            note(&mut memory, at, 1000 + n, &n.to_be_bytes(), to(&[]));
        }
        let now = start + Duration::from_secs(1);
        for n in 0..100u32 {
            note(&mut memory, now, 1199, &n.to_be_bytes(), to(&[]));
        }
        let kept = replayed(&mut memory, now, 2);
        assert_eq!(kept.len(), (ANNOUNCES - 1) * 2 + KINDS);
        assert!(kept.contains(&99u32.to_be_bytes().to_vec()));
    }

    #[test]
    fn repetitions_without_identification_are_told_apart() {
        let mut memory = Memory::default();
        let mut packet = vec![
            0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 66, 0, 1, 255, 255, 255, 255, 1, 0, 1, 0, 0, 8,
            0, 0,
        ];
        let mut ids = Vec::new();
        for _ in 0..3 {
            packet[4..6].fill(0);
            let mut header = Header::read(&packet).unwrap();
            memory.stamp(&mut header, &mut packet);
            assert_eq!(Header::read(&packet).unwrap(), header);
            ids.push(header.id);
        }
        assert_eq!(ids, [1, 2, 3]);
        packet[4..8].copy_from_slice(&[0, 0, 0, 0]);
        let mut header = Header::read(&packet).unwrap();
        memory.stamp(&mut header, &mut packet);
        assert_eq!(header.id, 0, "it has one");
    }

    #[test]
    fn the_member_is_told_at_once_and_seldom() {
        let (mut memory, start) = (Memory::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let told = |memory: &mut Memory, now| {
            let mut all = Vec::new();
            memory.tell(now, |known| all.push(known));
            all
        };
        assert_eq!(memory.next_tell(), None);
        note(&mut memory, at(0), 6112, b"a", to(&[2]));
        assert_eq!(memory.next_tell(), Some(at(0)));
        assert_eq!(told(&mut memory, at(0))[0].sent, to(&[2]).sent);
        note(&mut memory, at(100), 6112, b"a", to(&[2]));
        assert_eq!(memory.next_tell(), None, "nothing is new");
        memory.answer(slot(2), 6112);
        memory.answer(slot(2), 9);
        assert_eq!(memory.next_tell(), Some(at(500)));
        assert!(told(&mut memory, at(499)).is_empty());
        assert!(told(&mut memory, at(500))[0].answered.contains(slot(2)));
        note(&mut memory, at(6000), 6112, b"a", to(&[2]));
        assert_eq!(told(&mut memory, at(6000)).len(), 1, "it goes on");
    }
}
