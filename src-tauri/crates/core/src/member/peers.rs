//! The peers: datagrams from them and what time brings about.

use super::{AWAY_SHOWN, Member};
use crate::connection::Said;
use crate::control::Asked;
use crate::io::{Event, Output};
use crate::party::{Active, Adapter, Party, Reach};
use crate::path::{Path, TransportId};
use crate::probe::{self, Kind};
use crate::records::{self, Signal};
use lanrage_proto::control::Request;
use lanrage_proto::ids::Epoch;
use lanrage_proto::{Fault, FaultCode, MemberId, Slot};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Peers that are pinged with others because it is their turn soon, at once: more would delay a game on a slow line.
const PINGED_ALONG: usize = 7;
/// A difference of views that lasts so long is first checked against a fresh list.
const VIEW_CHECKED: Duration = Duration::from_secs(6);

impl Member {
    pub(super) fn datagram(&mut self, now: Instant, path: Path, bytes: &[u8]) {
        if probe::demux(bytes) == Kind::Stun {
            if path.transport.is_primary() {
                self.nat(now, Some((path.remote, bytes)));
            } else if path.transport == TransportId::FRESH {
                self.desk.nat.answered_afresh(path.remote, bytes);
            } else {
                self.desk.punch.stun(path, bytes);
            }
            return;
        }
        if !self.desk.punch.takes(path) {
            return;
        }
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let view = active.view();
        let Some(index) = probe::index_of(bytes) else {
            return;
        };
        let mut cx = self.desk.context(&active.ident, active.opened.range, view);
        let Some(peer) = active.roster.by_index(&index) else {
            // Perhaps a member whose record has not come yet.
            return self.look_again(now);
        };
        let (member, slot) = (peer.member, peer.slot());
        let said = peer.datagram(now, path, bytes, &mut cx);
        if peer.knows(&path) {
            self.desk.punch.heard(now, &member, path);
        }
        match said {
            Some(Said::Word(word)) => self.word(now, member, word),
            Some(Said::Receipts(receipts)) => self.receipts(now, slot, &receipts),
            None => {}
        }
    }

    /// Lets time pass for what is found out about the NAT, or takes in what a STUN server says. What is new is shown
    /// and published.
    pub(super) fn nat(&mut self, now: Instant, arrived: Option<(SocketAddr, &[u8])>) {
        let (range, others) = match &self.party {
            Party::Active(active) => {
                let peers = active.roster.peers().filter(|_| self.desk.nat.is_discovering());
                let others = peers.flat_map(|peer| peer.reached_at()).collect();
                (Some(active.opened.range), others)
            }
            Party::Idle | Party::Creating(_) | Party::Joining(_) | Party::Leaving(_) => {
                (None, BTreeSet::new())
            }
        };
        let before = self.desk.nat.report().mapped_by_family();
        self.desk.nat(now, range, &others, arrived);
        if !self.desk.nat.take_changed() {
            return;
        }
        self.changed = true;
        let after = self.desk.nat.report().mapped_by_family();
        let moved = self.desk.nat.take_moved();
        if let Party::Active(active) = &mut self.party
            && before != after
        {
            for peer in active.roster.peers_mut() {
                peer.seen_elsewhere(now, moved.is_some());
            }
            if let Some(displaced) = moved {
                self.hole_moved(now, displaced);
                self.seen_elsewhere(now, displaced);
            }
        }
        self.publish(now);
    }

    /// Lets time pass for the party.
    pub(super) fn wake_party(&mut self, now: Instant) {
        self.desk.ready =
            matches!(&self.party, Party::Active(active) if matches!(active.adapter, Adapter::Up));
        let desk = &mut self.desk;
        match &mut self.party {
            Party::Idle => {}
            Party::Creating(creating) => {
                let Some(seek) = &mut creating.seek else { return };
                let speaker = creating.ident.speaker();
                let found = seek.wake(now, speaker, &mut desk.next_conn, &mut desk.rng, &mut desk.out);
                self.found_home(now, found);
            }
            Party::Joining(joining) => {
                let speaker = joining.ident.speaker();
                let found =
                    joining
                        .seek
                        .wake(now, speaker, &mut desk.next_conn, &mut desk.rng, &mut desk.out);
                self.found_home(now, found);
            }
            Party::Active(active) => {
                match &mut active.reach {
                    Reach::Home(link) => {
                        let news = link.wake(now, &mut desk.out);
                        self.home_news(now, news);
                        self.renew_relays(now);
                    }
                    Reach::Seeking(seek) => {
                        if now >= seek.started() + AWAY_SHOWN && !self.conditions.has(FaultCode::ControlAway)
                        {
                            self.conditions.raise(FaultCode::ControlAway.into());
                        }
                        let speaker = active.ident.speaker();
                        let found =
                            seek.wake(now, speaker, &mut desk.next_conn, &mut desk.rng, &mut desk.out);
                        self.found_home(now, found);
                    }
                    Reach::Starting | Reach::Superseded => {}
                }
                self.succeed_relays(now);
                self.wake_peers(now);
            }
            Party::Leaving(_) => self.wake_leaving(now),
        }
    }

    fn wake_peers(&mut self, now: Instant) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let view = active.view();
        let mut calls = Vec::new();
        let mut alarm = false;
        let mut founder_back = false;
        let mut pinged = false;
        let mut cx = self.desk.context(&active.ident, active.opened.range, view);
        for peer in active.roster.peers_mut() {
            let wants = peer.wake(now, &mut cx);
            self.changed |= wants.view;
            self.measured |= wants.measures;
            pinged |= wants.pinged;
            alarm |= wants.alarm;
            founder_back |= wants.back && peer.slot() == Slot::FOUNDER;
            if wants.call {
                calls.push(peer.member);
            }
        }
        if pinged {
            let along = active.roster.peers_mut();
            let along = along.filter_map(|peer| peer.ping_along(now, &mut cx));
            along.take(PINGED_ALONG).for_each(drop);
        }
        if alarm {
            self.alarm(now);
        }
        if founder_back {
            self.founder_is_back(now);
        }
        for member in calls {
            self.call(now, member);
        }
        self.pass_records(now);
        self.tell_receipts(now);
        self.compare_views(now);
        let Party::Active(active) = &mut self.party else {
            return;
        };
        self.changed |= !active.roster.take_orphans(now, &mut self.desk.seq).is_empty();
        let speaking = active.roster.take_speaking();
        let names: Vec<String> = speaking
            .iter()
            .map(|member| active.roster.name_of(member))
            .collect();
        for name in names {
            self.refuse(now, Fault::new(FaultCode::LeaveRefused).with("member", name));
        }
    }

    /// Passes our addresses to a peer by the home, so that both sides try at the same time.
    fn call(&mut self, now: Instant, member: MemberId) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let signal = Signal::Call {
            session: self.desk.session,
            candidates: self.desk.candidates(active.opened.range, active.seen_as),
        };
        self.tell(now, member, &signal);
    }

    /// Says something to one peer by the home, if there is one.
    pub(super) fn tell(&mut self, now: Instant, member: MemberId, signal: &Signal) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let seq = self.desk.next_seq();
        let Active {
            ident, roster, reach, ..
        } = &mut **active;
        let (Reach::Home(link), Some(peer)) = (reach, roster.peer_mut(&member)) else {
            return;
        };
        let (keys, me, rng) = (&ident.keys, &ident.me, &mut self.desk.rng);
        match records::seal_signal(keys, peer.pair(), me, &member, Epoch::default(), seq, signal, rng) {
            Ok(signal) => {
                let request = Request::Signal { to: member, signal };
                link.ask(now, Asked::Signal(member), request, &mut self.desk.out);
            }
            Err(error) => tracing::error!(%error, "a signal can't be sealed"),
        }
    }

    /// Names a lasting difference between what the peers and this member were shown.
    ///
    /// News may have been lost on a connection that died without a word, here or there. So both sides first ask for
    /// the whole list; who gets no answer has no view to compare until the home is back. And a word by which somebody
    /// left may have reached one side by a path while the home was away: such words are passed on.
    fn compare_views(&mut self, now: Instant) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let view = active.view();
        let last_words = active.roster.last_words();
        let mut cx = self.desk.context(&active.ident, active.opened.range, view);
        for peer in active.roster.peers_mut() {
            if peer.wants_last_words(now) {
                last_words.iter().for_each(|word| peer.say(word, &mut cx));
            }
        }
        let asked = active.last_snapshot;
        let due = |since: Instant| {
            let due = since + VIEW_CHECKED;
            now >= due && asked.is_none_or(|asked| asked < due)
        };
        let differing = active.roster.peers().filter_map(|peer| peer.differs_since(now));
        if differing.into_iter().any(due) {
            self.look_again(now);
        }
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let listed = active.listed;
        let differing: Vec<String> = active
            .roster
            .peers()
            .filter(|peer| peer.sees_otherwise(now, listed))
            .map(|peer| peer.record.name.to_string())
            .collect();
        let raised = self.conditions.about(FaultCode::ViewsDiffer);
        for name in raised.iter().filter(|name| !differing.contains(name)) {
            self.conditions.clear_about(FaultCode::ViewsDiffer, name);
        }
        for name in differing.into_iter().filter(|name| !raised.contains(name)) {
            let fault = Fault::new(FaultCode::ViewsDiffer).with("member", name);
            self.conditions.raise(fault.clone());
            self.desk.out.push_back(Output::Event(Event::Refused(fault)));
        }
    }
}
