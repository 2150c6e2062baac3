//! The half of the core that moves packets. It owns the tunnels, does what the [`Table`] says, checks every packet
//! on its way out and in, and decides nothing else.
//!
//! Per call: [`Dataplane::packet_out`] takes a packet from the adapter, [`Dataplane::datagram_in`] a datagram from
//! the network; what is to be sent goes into an [`Outbox`], what is to be delivered into an [`Inbox`], which the
//! caller carries out and clears. [`Dataplane::wake`] is due at [`Dataplane::next_wake`]; waking early is harmless.
//! In the steady state no call allocates.
//!
//! Checks. Out: IPv4, source == the own lease, destination == a peer's lease or an announce's. In: source == the
//! lease of whoever sealed it, destination == the own lease or an announce's; without the latter a peer could reach
//! the home LAN of a computer that forwards. Addresses stand in every fragment, so fragments of ordinary packets
//! pass; those of announces do not ([`crate::lan`]). What this computer serves beside games is closed to peers (`filter`).
//!
//! Handshakes. Of each pair one side initiates: when it has a path and no session, when the table asks for one, and
//! every 120 s while a path lives, used or not; each time again after 250, 500 and 1000 ms and then every 5 s
//! until a session is there. Data is accepted by whatever path it comes, and sent by the table's path alone.

mod announces;
mod arena;
mod counters;
mod filter;
mod guard;
pub(crate) mod header;
mod peer;

pub use arena::{Inbox, Outbox};
pub use counters::{Counters, Reason, Traffic};

use crate::io::Report;
use crate::lan::heard::{Arrived, Heard};
use crate::lan::igmp::{self, Groups};
use crate::lan::memory::Memory;
use crate::lan::ways::Ways;
use crate::lan::{Gate, Via, is_announce};
use crate::pace::{Pace, Used};
use crate::path::Path;
use crate::probe::{self, Kind, demux};
use crate::table::{End, Table};
use crate::wg::{self, Admission, Door, Message, Opened, Shaken};
use guard::Guard;
use header::Header;
use lanrage_proto::Slot;
use peer::Peer;
use std::collections::{BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// How often tunnels look at their clocks.
const TICK: Duration = Duration::from_secs(1);
/// Reports of strangers.
const STRANGERS: Pace = Pace::new(4, 8);
/// Datagrams that may be the probe of a member whose record has not come yet: worth asking the home for a fresh list.
const UNKNOWN: Pace = Pace::new(8, 16);
/// STUN messages: answers to the member's own few questions.
const STUN: Pace = Pace::new(100, 200);
/// Reports that wait to be polled; what comes on top is lost, and comes again.
const REPORTS: usize = 4096;

/// Whether a datagram was the data plane's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handled {
    /// It was WireGuard, good or bad, or nothing that the member expects.
    Done,
    /// It is for [`crate::member::Member`], as [`crate::io::Input::Datagram`].
    ForMember,
}

/// Moves packets between the adapter and the peers.
pub struct Dataplane {
    own: Option<Own>,
    /// By slot.
    peers: Vec<Option<Box<Peer>>>,
    /// Tunnels made so far; part of their numbers, so that what is meant for an earlier one doesn't reach a later.
    made: u16,
    gate: Gate,
    ways: Ways,
    memory: Memory,
    heard: Heard,
    groups: Groups,
    /// Announces can be delivered.
    ready: bool,
    /// Where announces are made ready to be sent.
    scratch: Vec<u8>,
    strangers: Used,
    /// What the peers' probes begin with.
    probes: BTreeSet<[u8; 8]>,
    unknown: Used,
    stun: Used,
    ticked: Option<Instant>,
    /// When the table changed, until the next wake: something may be due at once.
    stirred: Option<Instant>,
    reports: VecDeque<Report>,
    counters: Counters,
}

/// This member's end.
struct Own {
    end: End,
    address: Ipv4Addr,
    door: Door,
    guard: Guard,
}

/// What every step works with.
struct Step<'a> {
    now: Instant,
    out: &'a mut Outbox,
    reports: &'a mut VecDeque<Report>,
    counters: &'a mut Counters,
}

impl Step<'_> {
    fn report(&mut self, report: Report) {
        if self.reports.len() < REPORTS {
            self.reports.push_back(report);
        }
    }
}

impl Dataplane {
    /// One without a party.
    pub fn new() -> Self {
        Self {
            own: None,
            peers: (0..=Slot::MAX.get()).map(|_| None).collect(),
            made: 0,
            gate: Gate::new(),
            ways: Ways::new(),
            memory: Memory::default(),
            heard: Heard::default(),
            groups: Groups::default(),
            ready: false,
            scratch: Vec::new(),
            strangers: Used::default(),
            probes: BTreeSet::new(),
            unknown: Used::default(),
            stun: Used::default(),
            ticked: None,
            stirred: None,
            reports: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Makes the table true. Tunnels live on while member, keys, sessions, the initiating side and the own key are
    /// unchanged. A peer's new tunnel leaves the old one open for receiving for 2 s; a peer that is gone, or whose
    /// slot is another member's, is closed at once. What this sends goes out at the next [`Self::wake`], which is
    /// due at once.
    pub fn apply(&mut self, now: Instant, table: Table) {
        self.stirred = Some(now);
        self.ticked.get_or_insert(now);
        self.probes = table.peers.values().map(|row| row.probes).collect();
        self.adopt_rules(&table);
        let Some(end) = table.end else {
            self.own = None;
            self.peers.fill_with(|| None);
            return;
        };
        let own = match self.own.take() {
            Some(own) if own.end.wg_secret == end.wg_secret => Own {
                address: end.address(),
                end,
                ..own
            },
            _ => {
                self.peers.fill_with(|| None);
                Own {
                    address: end.address(),
                    door: Door::new(&end.wg_secret),
                    guard: Guard::new(&end.wg_secret),
                    end,
                }
            }
        };
        let mut rows = table.peers;
        for number in 1..=Slot::MAX.get() {
            let Ok(slot) = Slot::try_from(number) else {
                continue;
            };
            let place = &mut self.peers[usize::from(number)];
            let row = rows.remove(&slot).filter(|_| slot != own.end.slot);
            *place = match (place.take(), row) {
                (_, None) => None,
                (Some(mut peer), Some(row)) if peer.is_same_tunnel(&row) => {
                    peer.adopt(now, row);
                    Some(peer)
                }
                (before, Some(row)) => {
                    self.made = self.made.wrapping_add(1);
                    let number = u32::from(self.made) << 8 | u32::from(number);
                    let address = own.end.range.address(slot);
                    let mut peer = Box::new(Peer::new(now, slot, address, row, &own.door, number));
                    if let Some(before) = before {
                        peer.replaces(now, *before);
                    }
                    Some(peer)
                }
            };
            if let Some(peer) = place {
                peer.address = own.end.range.address(slot);
            }
        }
        self.own = Some(own);
    }

    /// When to call [`Self::wake`]; `None` while there is nothing to wait for.
    pub fn next_wake(&self) -> Option<Instant> {
        let tick = self.ticked.map(|ticked| ticked + TICK);
        self.peers().next()?;
        let first = self.peers().filter_map(Peer::due).min();
        let told = self.memory.next_tell();
        [tick, self.stirred, first, told].into_iter().flatten().min()
    }

    /// Does what is due: handshakes, timers, what waited.
    pub fn wake(&mut self, now: Instant, out: &mut Outbox) {
        self.stirred = None;
        let tick = self
            .ticked
            .is_none_or(|ticked| now.saturating_duration_since(ticked) >= TICK);
        if tick {
            self.ticked = Some(now);
        }
        let mut step = Step {
            now,
            out,
            reports: &mut self.reports,
            counters: &mut self.counters,
        };
        for peer in self.peers.iter_mut().flatten() {
            peer.wake(&mut step, tick);
        }
        self.replay_owed(now, out);
    }

    /// Takes an IPv4 packet from the adapter.
    pub fn packet_out(&mut self, now: Instant, packet: &[u8], out: &mut Outbox) {
        if let Err(reason) = self.route(now, packet, out) {
            self.counters.drop(reason);
        }
    }

    fn route(&mut self, now: Instant, packet: &[u8], out: &mut Outbox) -> Result<(), Reason> {
        if igmp::is_igmp(packet) {
            self.heed_groups(packet);
            return Err(Reason::NotCarried);
        }
        let own = self.own.as_ref().ok_or(Reason::NoParty)?;
        let header = Header::read(packet)?;
        let packet = &packet[..header.length];
        if header.source != own.address {
            return Err(Reason::WrongSource);
        }
        let range = own.end.range;
        if is_announce(range, header.destination) {
            return self.announce(now, &Via::Adapter, header, packet, |_| {}, out);
        }
        let mut step = Step {
            now,
            out,
            reports: &mut self.reports,
            counters: &mut self.counters,
        };
        if !range.contains(header.destination) {
            return Err(Reason::WrongDestination);
        }
        let slot = range.slot(header.destination).ok_or(Reason::NoPeer)?;
        let peer = self.peers[usize::from(slot.get())]
            .as_mut()
            .ok_or(Reason::NoPeer)?;
        peer.send(&mut step, packet);
        Ok(())
    }

    /// Takes a datagram from the network.
    pub fn datagram_in(
        &mut self,
        now: Instant,
        path: Path,
        datagram: &[u8],
        inbox: &mut Inbox,
        out: &mut Outbox,
    ) -> Handled {
        let expected = match demux(datagram) {
            Kind::WireGuard => None,
            Kind::Stun => Some(STUN.take(&mut self.stun, now, 1)),
            Kind::Other => Some(self.is_probe(now, datagram)),
        };
        match expected {
            None => {}
            Some(true) => return Handled::ForMember,
            Some(false) => {
                self.counters.drop(Reason::Unexpected);
                return Handled::Done;
            }
        }
        let taken = match wg::read(datagram) {
            Some(Message::Data(number)) => {
                let taken = self.data(now, path, datagram, number, inbox, out);
                // The first packet of a session proves it.
                let peer = self.peers.get(place(number)).and_then(Option::as_ref);
                if peer.is_some_and(|peer| peer.is_owed()) {
                    self.replay_owed(now, out);
                }
                taken
            }
            Some(message) => {
                let taken = self.handshake(now, path, datagram, message, out);
                self.replay_owed(now, out);
                taken
            }
            None => Err(Reason::Refused),
        };
        if let Err(reason) = taken {
            self.counters.drop(reason);
        }
        Handled::Done
    }

    /// Whether a datagram begins as a peer's probe does, or may be one of a member yet unknown. Everything else stays
    /// here: a flood of garbage must not keep the member from hearing its peers.
    fn is_probe(&mut self, now: Instant, datagram: &[u8]) -> bool {
        let Some(index) = probe::index_of(datagram) else {
            return false;
        };
        self.probes.contains(&index) || UNKNOWN.take(&mut self.unknown, now, 1)
    }

    fn data(
        &mut self,
        now: Instant,
        path: Path,
        datagram: &[u8],
        number: u32,
        inbox: &mut Inbox,
        out: &mut Outbox,
    ) -> Result<(), Reason> {
        let own = self.own.as_ref().ok_or(Reason::NoParty)?;
        let peer = self
            .peers
            .get_mut(place(number))
            .and_then(Option::as_mut)
            .ok_or(Reason::NoSession)?;
        let mut step = Step {
            now,
            out,
            reports: &mut self.reports,
            counters: &mut self.counters,
        };
        let room = inbox.room(datagram.len().max(wg::ROOM)).ok_or(Reason::NoRoom)?;
        let length = match peer.open(&mut step, path, datagram, number, room) {
            Opened::Packet(length) => length,
            Opened::Keepalive => return Ok(()),
            Opened::Foreign => return Err(Reason::NotIpv4),
            Opened::NoSession => return Err(Reason::NoSession),
            Opened::Refused => return Err(Reason::Refused),
        };
        let packet = &room[..length];
        let header = Header::read(packet)?;
        if header.source != peer.address {
            return Err(Reason::WrongSource);
        }
        let to_all = header.destination != own.address;
        if to_all && !is_announce(own.end.range, header.destination) {
            return Err(Reason::WrongDestination);
        }
        filter::admit(&self.gate.rules, &header, packet, to_all)?;
        if to_all {
            if !self.ready {
                return Err(Reason::NoAdapter);
            }
            let announce = self.gate.enter(now, peer.slot, &header, packet)?;
            let joined = !header.destination.is_multicast() || self.groups.wants(header.destination);
            let arrived = Arrived {
                from: peer.slot,
                announce,
                joined,
            };
            if self.heard.note(now, arrived) {
                step.report(Report::Arrived(arrived));
            }
            if !joined {
                // Perhaps the word that a program joined it was lost.
                if let Some(question) = self.groups.ask(now) {
                    room[..question.len()].copy_from_slice(&question);
                    inbox.put(question.len());
                }
                return Err(Reason::NotJoined);
            }
            self.ways.delivered(now, &announce, header.udp_content(packet));
        } else if let Some(port) = header.destination_port(packet) {
            self.memory.answer(peer.slot, port);
        }
        inbox.put(length);
        self.counters.received.add(length);
        Ok(())
    }

    fn handshake(
        &mut self,
        now: Instant,
        path: Path,
        datagram: &[u8],
        message: Message,
        out: &mut Outbox,
    ) -> Result<(), Reason> {
        let own = self.own.as_mut().ok_or(Reason::NoParty)?;
        if !own.guard.admits(now, path) {
            return Err(Reason::Throttled);
        }
        let peer = match message {
            Message::Response(number) | Message::Cookie(number) | Message::Data(number) => self
                .peers
                .get_mut(place(number))
                .and_then(Option::as_mut)
                .filter(|peer| peer.number() == number),
            Message::Initiation => {
                let room = out.room(wg::ROOM).ok_or(Reason::NoRoom)?;
                match own.door.admit(path.remote.ip(), datagram, room) {
                    Admission::Known(key) => {
                        match self.peers.iter_mut().flatten().find(|peer| peer.is_of(&key)) {
                            Some(peer) => Some(peer),
                            None => return Err(self.stranger(now, path)),
                        }
                    }
                    Admission::Cookie(length) => {
                        out.put(path, length);
                        return Err(Reason::Throttled);
                    }
                    Admission::Refused => None,
                }
            }
        };
        let peer = peer.ok_or(Reason::Refused)?;
        let mut step = Step {
            now,
            out,
            reports: &mut self.reports,
            counters: &mut self.counters,
        };
        match peer.shake(&mut step, path, datagram) {
            Shaken::Reply { .. } | Shaken::Taken => Ok(()),
            Shaken::Refused => Err(Reason::Refused),
        }
    }

    fn stranger(&mut self, now: Instant, path: Path) -> Reason {
        if STRANGERS.take(&mut self.strangers, now, 1) && self.reports.len() < REPORTS {
            self.reports.push_back(Report::Stranger(path));
        }
        Reason::Stranger
    }

    /// The next thing worth telling [`crate::member::Member`].
    pub fn poll_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    /// What passed since the start, and what did not.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter().flatten().map(|peer| &**peer)
    }
}

impl Default for Dataplane {
    fn default() -> Self {
        Self::new()
    }
}

/// The place of the peer whose tunnel has this number; there may be nobody.
fn place(number: u32) -> usize {
    (number & 0xFF) as usize
}

#[cfg(test)]
mod tests;
