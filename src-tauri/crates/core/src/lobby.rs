//! The proof of the lobby: of each announce, who got it and whether a program there listens.
//!
//! Three things are put together. The data plane says what programs here announced and to whom that was sent
//! ([`Announced`]), and which announces of peers arrived ([`Arrived`]). The system says which UDP ports have a program
//! ([`Ports`]). And the members tell each other, in probes sealed for the pair, what of the other's announces arrived
//! and whether a program listens for it ([`Receipt`]): all of it each time, so that a lost word does no harm; at once
//! when something changed, then again a second later, and every [`TELL_AGAIN`] while there is anything to tell.
//!
//! When a program at a peer's begins to listen for an announce that came before, the announce is replayed to it. When
//! a program here that announced is gone, its announces are forgotten: nobody is shown a lobby that is closed.

use crate::lan::Announce;
use crate::lan::heard::{self, Arrived};
use crate::lan::memory::{Announced, LASTING};
use lanrage_proto::Slot;
use lanrage_proto::lobby::Listens;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Announces in one word to a peer; it hears of no more of its own.
pub const RECEIPTS: usize = heard::EACH;
/// Words to one peer follow each other no faster than this, and an announce is replayed to it no more often.
const TELL: Duration = Duration::from_millis(250);
/// What is new is said twice.
const TELL_TWICE: Duration = Duration::from_secs(1);
/// So long as there is something to tell it is told again and again.
const TELL_AGAIN: Duration = Duration::from_secs(5);
/// A replay to the same peer of the same announce is asked for no more often than this.
const REPLAY_AGAIN: Duration = Duration::from_secs(2);
/// Announces of one's own that are kept; the data plane keeps fewer.
const OWN: usize = 32;

/// UDP ports in use on this computer, as far as they were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ports {
    /// The ports that this is about.
    pub asked: BTreeSet<u16>,
    /// Some program has them.
    pub open: BTreeSet<u16>,
    /// Some program hears there what is sent to all.
    pub hearing: BTreeSet<u16>,
}

/// An announce that arrived, as its receiver's engine confirms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Which one.
    pub announce: Announce,
    /// Whether a program waits for it there.
    pub listens: Listens,
}

/// An announce of a program here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) known: Announced,
    at: Instant,
}

/// What is told to one peer.
#[derive(Debug)]
struct Telling {
    said: Vec<Receipt>,
    at: Instant,
    /// How often it was said.
    times: u32,
}

/// All that is known of announces in a party.
#[derive(Debug, Default)]
pub(crate) struct Lobby {
    own: BTreeMap<Announce, Own>,
    arrived: BTreeMap<(Slot, Announce), (Arrived, Instant)>,
    receipts: BTreeMap<Slot, BTreeMap<Announce, Listens>>,
    telling: BTreeMap<Slot, Telling>,
    replayed: BTreeMap<(Slot, Announce), Instant>,
    /// Whose engine it was that all this is about, by the number of its run.
    runs: BTreeMap<Slot, u64>,
    /// None while the system does not tell.
    ports: Option<Ports>,
    /// Ports of announcing programs that were seen to be open.
    seen_open: BTreeSet<u16>,
}

/// What follows from something that happened.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Follows {
    /// What a window shows changed.
    pub(crate) view: bool,
    /// To be replayed to the peer.
    pub(crate) replay: Vec<Announce>,
    /// Programs of these ports are gone.
    pub(crate) forget: Vec<u16>,
}

impl Lobby {
    /// The data plane tells of an announce of a program here.
    pub(crate) fn announced(&mut self, now: Instant, known: Announced) -> Follows {
        let announce = known.announce;
        let before = self.own.insert(announce, Own { known, at: now });
        if self.own.len() > OWN
            && let Some(oldest) = self.own.iter().min_by_key(|(_, own)| own.at).map(|(of, _)| *of)
        {
            self.own.remove(&oldest);
        }
        let same = before.is_some_and(|before| {
            self.own
                .get(&announce)
                .is_some_and(|own| own.known == before.known)
        });
        Follows {
            view: !same,
            ..Follows::default()
        }
    }

    /// The data plane tells of a peer's announce.
    pub(crate) fn arrived(&mut self, now: Instant, arrived: Arrived) -> Follows {
        let before = self
            .arrived
            .insert((arrived.from, arrived.announce), (arrived, now));
        if self.of_peer(arrived.from).count() > RECEIPTS {
            let oldest = self.of_peer(arrived.from).min_by_key(|(_, at)| *at);
            if let Some(oldest) = oldest.map(|(oldest, _)| oldest.announce) {
                self.arrived.remove(&(arrived.from, oldest));
            }
        }
        Follows {
            view: before.is_none_or(|(before, _)| before != arrived),
            ..Follows::default()
        }
    }

    /// A peer tells what of our announces arrived there.
    pub(crate) fn told(&mut self, now: Instant, from: Slot, said: &[Receipt]) -> Follows {
        let said: BTreeMap<Announce, Listens> = said
            .iter()
            .filter(|receipt| self.own.contains_key(&receipt.announce))
            .map(|receipt| (receipt.announce, receipt.listens))
            .collect();
        let before = self.receipts.insert(from, said.clone()).unwrap_or_default();
        let mut replay = Vec::new();
        for (announce, listens) in &said {
            let began = *listens == Listens::Yes && before.get(announce) == Some(&Listens::No);
            let again = self
                .replayed
                .get(&(from, *announce))
                .is_none_or(|at| now.saturating_duration_since(*at) >= REPLAY_AGAIN);
            if began && again {
                self.replayed.insert((from, *announce), now);
                replay.push(*announce);
            }
        }
        Follows {
            view: before != said,
            replay,
            ..Follows::default()
        }
    }

    /// The system tells which ports are in use; none where it can't.
    pub(crate) fn ports(&mut self, ports: Option<Ports>) -> Follows {
        let mut forget = BTreeSet::new();
        if let Some(ports) = &ports {
            let announcing = self.own.keys().map(|announce| announce.port);
            forget = announcing
                .filter(|port| self.seen_open.contains(port))
                .filter(|port| ports.asked.contains(port) && !ports.open.contains(port))
                .collect();
            self.seen_open.retain(|port| !forget.contains(port));
            let open = self.own.keys().map(|announce| announce.port);
            self.seen_open
                .extend(open.filter(|port| ports.open.contains(port)));
        }
        self.own.retain(|announce, _| !forget.contains(&announce.port));
        let view = self.ports != ports || !forget.is_empty();
        self.ports = ports;
        Follows {
            view,
            forget: forget.into_iter().collect(),
            ..Follows::default()
        }
    }

    /// Ports that the system is to be asked about.
    pub(crate) fn wanted_ports(&self) -> BTreeSet<u16> {
        let announcing = self.own.keys().map(|announce| announce.port);
        let heard = self.arrived.keys().map(|(_, announce)| announce.to_port);
        announcing.chain(heard).collect()
    }

    /// These members are there, and these are the runs of their engines: what concerned others is forgotten.
    pub(crate) fn meet(&mut self, runs: BTreeMap<Slot, u64>) {
        if self.runs == runs {
            return;
        }
        let before = std::mem::replace(&mut self.runs, runs);
        for (slot, run) in before {
            if self.runs.get(&slot) != Some(&run) {
                self.forget(slot);
            }
        }
    }

    fn forget(&mut self, slot: Slot) {
        self.arrived.retain(|(from, _), _| *from != slot);
        self.replayed.retain(|(to, _), _| *to != slot);
        self.receipts.remove(&slot);
        self.telling.remove(&slot);
    }

    /// Lets time pass: what was not repeated is history. Whether that changed anything.
    pub(crate) fn wake(&mut self, now: Instant) -> bool {
        let lasts = |at: Instant| now.saturating_duration_since(at) < LASTING;
        let before = self.own.len() + self.arrived.len();
        self.own.retain(|_, own| lasts(own.at));
        self.arrived.retain(|_, (_, at)| lasts(*at));
        self.replayed
            .retain(|_, at| now.saturating_duration_since(*at) < REPLAY_AGAIN);
        for receipts in self.receipts.values_mut() {
            receipts.retain(|announce, _| self.own.contains_key(announce));
        }
        self.seen_open
            .retain(|port| self.own.keys().any(|announce| announce.port == *port));
        before != self.own.len() + self.arrived.len()
    }

    /// When there is something to do.
    pub(crate) fn next_wake(&self, peers: impl Iterator<Item = Slot>) -> Option<Instant> {
        let own = self.own.values().map(|own| own.at + LASTING);
        let arrived = self.arrived.values().map(|(_, at)| *at + LASTING);
        let telling = peers.filter_map(|peer| self.due(peer));
        own.chain(arrived).chain(telling).min()
    }

    /// When the peer is to be told something; none while there is nothing to tell.
    fn due(&self, to: Slot) -> Option<Instant> {
        let Some(telling) = self.telling.get(&to) else {
            // In the past: at once.
            return self.of_peer(to).map(|(_, at)| *at).min();
        };
        if !self.says(&telling.said, to) {
            return Some(telling.at + TELL);
        }
        match telling.times {
            0 | 1 => Some(telling.at + TELL_TWICE),
            _ if telling.said.is_empty() => None,
            _ => Some(telling.at + TELL_AGAIN),
        }
    }

    /// What a reachable peer is to be told now, if anything.
    pub(crate) fn tells(&mut self, now: Instant, to: Slot) -> Option<Vec<Receipt>> {
        if self.due(to).is_none_or(|due| due > now) {
            return None;
        }
        let said = self.receipts_for(to);
        let times = match self.telling.get(&to) {
            Some(telling) if telling.said == said => telling.times.saturating_add(1),
            _ => 1,
        };
        let telling = Telling {
            said: said.clone(),
            at: now,
            times,
        };
        self.telling.insert(to, telling);
        Some(said)
    }

    fn of_peer(&self, peer: Slot) -> impl Iterator<Item = &(Arrived, Instant)> {
        let of = |announce| (peer, announce);
        let range = of(Announce::FIRST)..=of(Announce::LAST);
        self.arrived.range(range).map(|(_, known)| known)
    }

    fn receipts_for(&self, to: Slot) -> Vec<Receipt> {
        let mut newest: Vec<_> = self.of_peer(to).collect();
        newest.sort_by_key(|(arrived, at)| (std::cmp::Reverse(*at), arrived.announce));
        newest.truncate(RECEIPTS);
        let receipt = |(arrived, _): &(Arrived, Instant)| Receipt {
            announce: arrived.announce,
            listens: self.listens(arrived),
        };
        let mut receipts: Vec<Receipt> = newest.into_iter().map(receipt).collect();
        receipts.sort_by_key(|receipt| receipt.announce);
        receipts
    }

    fn says(&self, said: &[Receipt], to: Slot) -> bool {
        said == self.receipts_for(to)
    }

    /// Whether a program here waits for a peer's announce.
    pub(crate) fn listens(&self, arrived: &Arrived) -> Listens {
        match &self.ports {
            _ if !arrived.joined => Listens::No,
            None => Listens::Unknown,
            Some(ports) if ports.hearing.contains(&arrived.announce.to_port) => Listens::Yes,
            Some(ports) if ports.asked.contains(&arrived.announce.to_port) => Listens::No,
            // The system has yet to be asked: a "no" would have the announce replayed to a program that has it.
            Some(_) => Listens::Unknown,
        }
    }

    /// What programs here announced lately.
    pub(crate) fn own(&self) -> impl Iterator<Item = &Announced> {
        self.own.values().map(|own| &own.known)
    }

    /// What a peer's engine says of an announce; none where it says nothing of it.
    pub(crate) fn receipt(&self, of: Slot, announce: &Announce) -> Option<Listens> {
        self.receipts.get(&of)?.get(announce).copied()
    }

    /// What came from peers lately.
    pub(crate) fn heard(&self) -> impl Iterator<Item = &Arrived> {
        self.arrived.values().map(|(arrived, _)| arrived)
    }
}

#[cfg(test)]
mod tests;
