//! Announces, and who got them; what peers may reach here.

use super::Member;
use crate::connection::Peer;
use crate::io::{Announced, Arrived, IntentId, Outcome, Output};
use crate::lan::{Announce, Via};
use crate::lobby::{Follows, Ports, Receipt};
use crate::party::{Active, Adapter, Party};
use lanrage_proto::lobby::{
    AnnounceMember, AnnounceReach, AnnounceStatus, HeardStatus, Listens, LobbyStatus, RulesChange,
};
use lanrage_proto::{FaultCode, Slot};
use std::collections::BTreeMap;
use std::time::Instant;

impl Member {
    /// The player lets peers reach something else here, or other announces be carried.
    pub(super) fn change_rules(&mut self, id: IntentId, change: RulesChange) {
        let answer = match &mut self.party {
            Party::Active(active) => {
                active.rules = change.applied_to(active.rules);
                self.changed = true;
                Ok(Outcome::Ruled)
            }
            Party::Idle | Party::Creating(_) | Party::Joining(_) | Party::Leaving(_) => {
                Err(FaultCode::NotInParty.into())
            }
        };
        self.answers.push(Output::Answer(id, answer));
    }

    pub(super) fn announced(&mut self, now: Instant, known: Announced) {
        self.with_lobby(|active| active.lobby.announced(now, known), None);
    }

    /// A peer's announce arrived.
    pub(super) fn announce_arrived(&mut self, now: Instant, arrived: Arrived) {
        self.with_lobby(|active| active.lobby.arrived(now, arrived), None);
    }

    /// The system tells which of the ports asked for are in use.
    pub(super) fn ports(&mut self, ports: Option<Ports>) {
        self.with_lobby(|active| active.lobby.ports(ports), None);
    }

    /// A peer tells what of our announces arrived there.
    pub(super) fn receipts(&mut self, now: Instant, from: Slot, receipts: &[Receipt]) {
        self.with_lobby(|active| active.lobby.told(now, from, receipts), Some(from));
    }

    fn with_lobby(&mut self, step: impl FnOnce(&mut Active) -> Follows, from: Option<Slot>) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let follows = step(active);
        self.changed |= follows.view;
        let out = &mut self.desk.out;
        for announce in follows.replay {
            out.extend(from.map(|slot| Output::Replay(slot, announce)));
        }
        out.extend(follows.forget.into_iter().map(Output::Forget));
    }

    /// Lets time pass for announces, and tells peers what of theirs arrived.
    pub(super) fn tell_receipts(&mut self, now: Instant) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let runs = active.roster.peers().map(|peer| (peer.slot(), peer.session()));
        active.lobby.meet(runs.collect());
        self.changed |= active.lobby.wake(now);
        if !matches!(active.adapter, Adapter::Up) {
            return;
        }
        let view = active.view();
        let mut cx = self.desk.context(&active.ident, active.opened.range, view);
        for peer in active.roster.peers_mut().filter(|peer| peer.is_up()) {
            if let Some(receipts) = active.lobby.tells(now, peer.slot()) {
                peer.tell_receipts(receipts, &mut cx);
            }
        }
    }

    /// The adapter is up: peers learn so at once, as they may have announces for it.
    pub(super) fn tell_ready(&mut self, now: Instant) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let view = active.view();
        let mut cx = self.desk.context(&active.ident, active.opened.range, view);
        for peer in active.roster.peers_mut() {
            peer.hurry(now, &mut cx);
        }
    }

    /// What a window shows of announces.
    pub(super) fn lobby_status(&self, active: &Active) -> LobbyStatus {
        let range = active.opened.range;
        let peers: BTreeMap<Slot, &Peer> = active.roster.peers().map(|peer| (peer.slot(), peer)).collect();
        let name = |peer: &Peer| peer.record.name.to_string();
        let announces = active.lobby.own().map(|known| {
            let members: Vec<AnnounceMember> = peers
                .iter()
                .map(|(slot, peer)| {
                    let receipt = active.lobby.receipt(*slot, &known.announce);
                    AnnounceMember {
                        name: name(peer),
                        address: range.address(*slot).to_string(),
                        reach: reach(known, *slot, receipt),
                        listens: receipt.unwrap_or_default(),
                        answered: known.answered.contains(*slot),
                    }
                })
                .collect();
            let came = |reach: AnnounceReach| move |member: &&AnnounceMember| member.reach == reach;
            let delivered = members.iter().filter(came(AnnounceReach::Delivered)).count();
            let sent = delivered + members.iter().filter(came(AnnounceReach::Sent)).count();
            let Announce {
                port,
                to_port,
                destination,
            } = known.announce;
            AnnounceStatus {
                port,
                destination: destination.to_string(),
                to_port,
                interface: match &known.via {
                    Via::Adapter => None,
                    Via::Interface(interface) => Some(interface.name.clone()),
                },
                sent: u32::try_from(sent).unwrap_or(u32::MAX),
                delivered: u32::try_from(delivered).unwrap_or(u32::MAX),
                members,
            }
        });
        let heard = active.lobby.heard().filter_map(|arrived| {
            let peer = peers.get(&arrived.from)?;
            Some(HeardStatus {
                name: name(peer),
                address: range.address(arrived.from).to_string(),
                port: arrived.announce.port,
                destination: arrived.announce.destination.to_string(),
                to_port: arrived.announce.to_port,
                listens: active.lobby.listens(arrived),
            })
        });
        LobbyStatus {
            announces: announces.collect(),
            heard: heard.collect(),
        }
    }
}

/// How far an announce came. Who answered has it, whatever else is known.
fn reach(known: &Announced, slot: Slot, receipt: Option<Listens>) -> AnnounceReach {
    if receipt.is_some() || known.answered.contains(slot) {
        AnnounceReach::Delivered
    } else if known.nearby.contains(slot) {
        AnnounceReach::Nearby
    } else if known.sent.contains(slot) {
        AnnounceReach::Sent
    } else {
        AnnounceReach::Unsent
    }
}
