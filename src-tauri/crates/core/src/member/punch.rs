//! Holes: which peers are worth a try, and carrying tries out.

use super::Member;
use crate::connection::Peer;
use crate::io::{Event, Output};
use crate::party::{Party, Reach};
use crate::punch::{self, Aim, Attempt, Part, Worth};
use crate::records::{PunchStep, Signal};
use lanrage_proto::ipc::{NatType, PathKind};
use lanrage_proto::{MemberId, Slot};
use std::net::SocketAddrV4;
use std::time::Instant;

impl Member {
    /// Lets time pass for holes: those that carry no more are closed, the try under way goes on, another begins.
    pub(super) fn wake_punch(&mut self, now: Instant) {
        if !self.desk.punch.is_enabled() {
            return;
        }
        self.survey(now);
        self.aim(now);
        self.tidy_holes(now);
        self.end_reached(now);
        self.go_on(now);
        self.begin_another(now);
    }

    /// Asks what the own mappings depend on, where that is not known and somebody is reached by a relay alone, or not at
    /// all though its NAT's address is known, or waits for an answer to a proposal.
    fn survey(&mut self, now: Instant) {
        let Party::Active(active) = &self.party else {
            return;
        };
        let needs_hole = |peer: &Peer| match peer.path_kind() {
            Some(PathKind::Lan | PathKind::Direct) => false,
            Some(PathKind::Relayed) => true,
            None => peer.record.holes && peer.mapped_v4().is_some(),
        };
        let wanted = active.roster.peers().any(needs_hole);
        let (nat, range) = (&self.desk.nat, active.opened.range);
        let (report, servers) = (&nat.report().v4, nat.servers_v4());
        let (punch, rng) = (&mut self.desk.punch, &mut self.desk.rng);
        let questions = punch.survey(now, wanted, report, servers, range, rng);
        let transmit = |(path, question)| Output::Transmit(path, question);
        self.desk.out.extend(questions.into_iter().map(transmit));
    }

    /// A try that was asked for before the own mapping was known goes on as soon as it is; where that can't be found out,
    /// or nothing can come of it, the peer is told so.
    fn aim(&mut self, now: Instant) {
        let Some(attempt) = self.desk.punch.attempt().filter(|attempt| attempt.is_unaimed()) else {
            return;
        };
        let Party::Active(active) = &self.party else {
            return;
        };
        let (peer, number, at) = (attempt.peer, attempt.number, attempt.at);
        let own = self.desk.punch.counts(&self.desk.nat.report().v4).into_owned();
        let may_aim = punch::may_aim_at(at, &own, &self.desk.network, active.opened.range);
        let (punch, rng) = (&mut self.desk.punch, &mut self.desk.rng);
        if !punch.aim(now, &own, may_aim, rng) {
            punch.abandon();
            self.note_to(&peer, "put off");
            let step = PunchStep::Busy;
            self.tell(now, peer, &Signal::Punch { number, step });
        }
    }

    /// This computer is mapped otherwise than before.
    pub(super) fn hole_moved(&mut self, now: Instant, displaced: bool) {
        if self.desk.punch.moved(now, displaced) {
            self.drop_attempt("begun anew");
        }
    }

    /// A try that the peer did not agree to yet ends, to be proposed again when the home is reached.
    pub(super) fn drop_proposal(&mut self) {
        if self.desk.punch.attempt().is_some_and(Attempt::is_proposal) {
            self.drop_attempt("put off");
        }
    }

    /// The try under way ends without a hole, and without a pause.
    fn drop_attempt(&mut self, turn: &'static str) {
        let (Party::Active(active), Some(attempt)) = (&mut self.party, self.desk.punch.attempt()) else {
            return;
        };
        let slot = active.roster.peer_mut(&attempt.peer).map(|peer| {
            peer.forget_heard(|path| attempt.concerns(path));
            peer.slot()
        });
        self.desk.punch.abandon();
        if let Some(slot) = slot {
            self.note(slot, turn);
        }
    }

    fn tidy_holes(&mut self, now: Instant) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        for (path, member) in self.desk.punch.holes() {
            let peer = active.roster.peer_mut(&member);
            let carries = peer
                .as_ref()
                .is_some_and(|peer| peer.valid_paths().any(|valid| valid == path));
            let chosen = peer.as_ref().is_some_and(|peer| peer.chosen() == Some(path));
            if self.desk.punch.used(now, &path, carries, chosen)
                && let Some(peer) = peer
            {
                peer.forget_heard(|other| *other == path);
            }
        }
    }

    /// The try ends once a path of it was confirmed, or another one was found.
    fn end_reached(&mut self, now: Instant) {
        let (Party::Active(active), Some(attempt)) = (&mut self.party, self.desk.punch.attempt()) else {
            return;
        };
        let Some(peer) = active.roster.peer_mut(&attempt.peer) else {
            // It left.
            return self.desk.punch.abandon();
        };
        if peer.public_v4() != Some(attempt.at) {
            // It is elsewhere; where is known as soon as it is to be tried again.
            return self.drop_attempt("begun anew");
        }
        let hole = peer
            .proven_since(attempt.began)
            .find(|path| attempt.concerns(path));
        if hole.is_none() && !peer.is_direct() {
            return;
        }
        peer.forget_heard(|path| attempt.concerns(path) && Some(*path) != hole);
        let slot = peer.slot();
        match hole {
            Some(hole) => {
                self.desk.punch.succeed(now, hole);
                self.note(slot, "made");
            }
            None => {
                self.desk.punch.abandon();
                self.note(slot, "not needed");
            }
        }
    }

    fn go_on(&mut self, now: Instant) {
        let Some((member, number)) = self
            .desk
            .punch
            .attempt()
            .map(|attempt| (attempt.peer, attempt.number))
        else {
            return;
        };
        let turn = self.desk.punch.wake(now, &mut self.desk.rng);
        for (path, question) in turn.questions {
            self.desk.out.push_back(Output::Transmit(path, question));
        }
        if let Some(step) = turn.say {
            self.tell(now, member, &Signal::Punch { number, step });
        }
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let view = active.view();
        let mut cx = self.desk.context(&active.ident, active.opened.range, view);
        let Some(peer) = active.roster.peer_mut(&member) else {
            return;
        };
        let slot = peer.slot();
        for path in turn.knocks {
            peer.knock(path, &mut cx);
        }
        if let Some(missed) = turn.missed {
            peer.forget_heard(|path| *path == missed);
        }
        if turn.over {
            if let Some(attempt) = self.desk.punch.attempt() {
                peer.forget_heard(|path| attempt.concerns(path));
            }
            self.desk.punch.fail(now, &mut self.desk.rng);
            self.note(slot, "not made");
        }
    }

    /// Proposes a try to the peer that is due, if any is.
    fn begin_another(&mut self, now: Instant) {
        let Party::Active(active) = &mut self.party else {
            return self.desk.punch.rest();
        };
        if !matches!(active.reach, Reach::Home(_)) {
            return self.desk.punch.rest();
        }
        let (own, me) = (
            self.desk.punch.counts(&self.desk.nat.report().v4),
            active.ident.me.id(),
        );
        let (network, range) = (&self.desk.network, active.opened.range);
        let worth = active.roster.peers().filter_map(|peer| {
            let leads = punch::part(own.kind, strictest(peer), me < peer.member) == Some(Part::Leads);
            let wanted = leads && peer.record.holes && !peer.is_direct();
            let at = peer.mapped_v4().filter(|_| wanted)?;
            punch::may_aim_at(*at.ip(), &own, network, range).then_some(Worth {
                peer: peer.member,
                at,
                one_port: peer.record.nat != NatType::Symmetric,
            })
        });
        let worth: Vec<Worth> = worth.collect();
        let own = own.into_owned();
        let Some(Worth { peer, at, .. }) = self.desk.punch.due(now, &worth) else {
            return;
        };
        let (punch, rng) = (&mut self.desk.punch, &mut self.desk.rng);
        if punch.begin(now, (peer, at), None, &own, rng) {
            self.note_to(&peer, "begins");
            self.go_on(now);
        }
    }

    /// A peer speaks of a try.
    pub(super) fn punch_said(&mut self, now: Instant, from: MemberId, number: u64, step: PunchStep) {
        if !self.desk.punch.is_enabled() {
            return;
        }
        let awaited = self.desk.punch.attempt();
        let awaited = awaited.is_some_and(|attempt| attempt.awaits(&from, number));
        match step {
            PunchStep::Ask(aim) => self.punch_asked(now, from, number, aim),
            PunchStep::Ready(aim) if awaited => self.desk.punch.ready(now, aim),
            PunchStep::Busy if awaited => {
                self.desk.punch.postpone(now, &mut self.desk.rng);
                self.note_to(&from, "put off");
            }
            // To a try that is over.
            PunchStep::Ready(_) | PunchStep::Busy => {}
        }
    }

    fn punch_asked(&mut self, now: Instant, from: MemberId, number: u64, aim: Aim) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let Some(peer) = active.roster.peer_mut(&from) else {
            return;
        };
        let (own, network) = (&self.desk.nat.report().v4, &self.desk.network);
        let may_aim_at = |at: &SocketAddrV4| punch::may_aim_at(*at.ip(), own, network, active.opened.range);
        let Some(at) = peer.mapped_v4().filter(may_aim_at) else {
            return;
        };
        // A way that the other side has lost shows as lost here soon.
        let (slot, direct) = (peer.slot(), peer.is_direct());
        if let Some(attempt) = self.desk.punch.attempt()
            && attempt.peer == from
        {
            if attempt.is_proposal() && active.ident.me.id() < from {
                // Both asked, not knowing yet that the other is symmetric as well: this one's word counts.
                return;
            }
            // It would not ask if it still worked on that one.
            peer.forget_heard(|path| attempt.concerns(path));
            self.desk.punch.abandon();
            self.note(slot, "begun anew");
        }
        let free = self.desk.punch.attempt().is_none() && !direct;
        let own = self.desk.punch.counts(&self.desk.nat.report().v4).into_owned();
        let (punch, rng) = (&mut self.desk.punch, &mut self.desk.rng);
        if free && punch.begin(now, (from, at), Some((number, aim)), &own, rng) {
            self.note(slot, "is asked for");
        } else {
            let step = PunchStep::Busy;
            self.tell(now, from, &Signal::Punch { number, step });
        }
    }

    fn note_to(&mut self, member: &MemberId, turn: &'static str) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        if let Some(slot) = active.roster.peer_mut(member).map(|peer| peer.slot()) {
            self.note(slot, turn);
        }
    }

    fn note(&mut self, slot: Slot, turn: &'static str) {
        self.desk
            .out
            .push_back(Output::Event(Event::Punch { slot, turn }));
    }
}

/// A peer's NAT as it counts for holes: a filter that is not known is the strictest. Where its mappings are not known
/// either it finds out when it is asked.
fn strictest(peer: &Peer) -> NatType {
    match peer.record.nat {
        NatType::Unknown => NatType::PortRestrictedCone,
        known => known,
    }
}
