//! Announces on their way out, where they go to everybody, and what is kept of them.

use super::arena::Outbox;
use super::counters::Reason;
use super::header::Header;
use super::{Dataplane, Step};
use crate::io::Report;
use crate::lan::igmp;
use crate::lan::memory::Receivers;
use crate::lan::rewrite::readdress;
use crate::lan::{Announce, Interface, Via};
use crate::table::Table;
use lanrage_proto::Slot;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

impl Dataplane {
    /// Takes an IPv4 packet that a program sent on another network interface than the adapter, as games do that are
    /// bound to one. If it is an announce it goes to the peers under this member's address, as if it had come by the
    /// adapter, but for those who are on that interface's network and get it there. `packet` has no link header; its
    /// checksums may be unfinished.
    ///
    /// Nothing goes round: only what has one of the interface's own addresses as its source counts, and no copy of what
    /// the adapter saw or a peer sent just before.
    pub fn captured(&mut self, now: Instant, interface: &Arc<Interface>, packet: &[u8], out: &mut Outbox) {
        if let Err(reason) = self.adopt(now, interface, packet, out) {
            self.counters.drop(reason);
        }
    }

    fn adopt(
        &mut self,
        now: Instant,
        interface: &Arc<Interface>,
        packet: &[u8],
        out: &mut Outbox,
    ) -> Result<(), Reason> {
        let own = self.own.as_ref().ok_or(Reason::NoParty)?;
        let mut header = Header::read(packet)?;
        if !interface.has(header.source) {
            return Err(Reason::WrongSource);
        }
        let destination = header.destination;
        let destination = if destination.is_broadcast() || destination.is_multicast() {
            destination
        } else if interface.is_broadcast(destination) {
            own.end.range.broadcast()
        } else {
            return Err(Reason::WrongDestination);
        };
        (header.source, header.destination) = (own.address, destination);
        let source = own.address;
        self.announce(
            now,
            &Via::Interface(Arc::clone(interface)),
            header,
            packet,
            |packet| {
                readdress(packet, source, destination);
            },
            out,
        )
    }

    /// Sends an announce of this computer's to everybody, once. `finish` makes the packet what the header says.
    pub(super) fn announce(
        &mut self,
        now: Instant,
        via: &Via,
        mut header: Header,
        packet: &[u8],
        finish: impl FnOnce(&mut [u8]),
        out: &mut Outbox,
    ) -> Result<(), Reason> {
        let announce = self.gate.carries(&header, packet)?;
        let content = header.udp_content(packet);
        if !self.ways.counts(now, via, &announce, content) {
            return Err(Reason::Duplicate);
        }
        self.gate.leave(now, header.length)?;
        let mut copy = std::mem::take(&mut self.scratch);
        copy.clear();
        copy.extend_from_slice(packet.get(..header.length).unwrap_or(packet));
        finish(&mut copy);
        self.memory.stamp(&mut header, &mut copy);
        let mut step = Step {
            now,
            out,
            reports: &mut self.reports,
            counters: &mut self.counters,
        };
        let mut to = Receivers::default();
        for peer in self.peers.iter_mut().flatten() {
            if peer.is_near(via) {
                to.nearby.insert(peer.slot);
            } else if peer.announce(&mut step, &copy) {
                to.sent.insert(peer.slot);
                if peer.is_ready() {
                    to.had.insert(peer.slot);
                }
            }
        }
        self.memory
            .note(now, announce, via, &copy, header.udp_content(&copy), to);
        self.scratch = copy;
        self.tell_announces(now);
        Ok(())
    }

    /// A system's report of the groups that programs joined.
    pub(super) fn heed_groups(&mut self, packet: &[u8]) {
        if igmp::is_igmp(packet) && self.groups.heed(packet) {
            let reports = &mut self.reports;
            self.heard.regroup(&self.groups, |arrived| {
                if reports.len() < super::REPORTS {
                    reports.push_back(Report::Arrived(arrived));
                }
            });
        }
    }

    /// Gives peers what was announced before they could take it in.
    pub(super) fn replay_owed(&mut self, now: Instant, out: &mut Outbox) {
        for peer in self.peers.iter_mut().flatten() {
            if !peer.takes_owed() {
                continue;
            }
            let mut step = Step {
                now,
                out,
                reports: &mut self.reports,
                counters: &mut self.counters,
            };
            self.memory.replay(now, peer.slot, |via, packet| {
                (!peer.is_near(via)).then(|| peer.announce(&mut step, packet))
            });
        }
        self.tell_announces(now);
    }

    fn tell_announces(&mut self, now: Instant) {
        let reports = &mut self.reports;
        self.memory.tell(now, |known| {
            if reports.len() < super::REPORTS {
                reports.push_back(Report::Announced(Box::new(known)));
            }
        });
    }

    /// A peer's program listens for this announce only now: the peer gets it again, at the next [`Self::wake`], which
    /// is due at once.
    pub fn replay(&mut self, now: Instant, to: Slot, announce: &Announce) {
        self.memory.renew(announce, to);
        if let Some(peer) = &mut self.peers[usize::from(to.get())] {
            peer.owe(now);
        }
    }

    /// Caps nothing that goes out any more, as a changed program would: for scenarios that ask what others notice.
    #[cfg(feature = "virtual-time")]
    pub fn lift_caps(&mut self) {
        self.gate.lift_caps();
    }

    /// The program that announced from this UDP port is gone: its announces are not replayed.
    pub fn forget_program(&mut self, port: u16) {
        self.memory.forget_program(port);
    }

    /// What a new table means for what is kept of announces.
    pub(super) fn adopt_rules(&mut self, table: &Table) {
        self.gate.rules = table.rules;
        self.ready = table.ready;
        let same_run = |slot: &Slot| {
            let before = self.peers[usize::from(slot.get())].as_ref();
            before.is_none_or(|peer| table.peers.get(slot).is_some_and(|row| peer.is_same_run(row)))
        };
        let slots = (1..=Slot::MAX.get()).filter_map(|number| Slot::try_from(number).ok());
        let gone: Vec<Slot> = slots.filter(|slot| !same_run(slot)).collect();
        for slot in gone {
            self.memory.forget_member(slot);
            self.heard.forget_member(slot);
        }
        let same_member = match (&self.own, &table.end) {
            (Some(own), Some(end)) => own.end.wg_secret == end.wg_secret,
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !same_member {
            self.memory.clear();
            self.heard.clear();
        }
    }
}

impl super::peer::Peer {
    /// Whether this peer is on the network that an announce was seen on, and gets it there.
    fn is_near(&self, via: &Via) -> bool {
        match (via, self.path()) {
            (Via::Interface(interface), Some(path)) => {
                let ip: IpAddr = path.remote.ip();
                path.transport.is_primary() && interface.reaches(ip.to_canonical())
            }
            (Via::Adapter | Via::Interface(_), _) => false,
        }
    }
}
