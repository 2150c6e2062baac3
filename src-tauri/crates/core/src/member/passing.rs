//! Records: the own one is published at the home, and told by living paths while the home is away; what peers tell of
//! others by paths is passed on, so that friends follow each other without a control plane.

use super::Member;
use crate::control::Asked;
use crate::party::{OwnRecord, Party, Reach};
use crate::records::{self, Record};
use lanrage_proto::control::{Request, Sealed};
use lanrage_proto::ids::Epoch;
use std::time::{Duration, Instant};

/// A record that came by a path is passed on after this, unless the home shows it meanwhile: it takes 100 ms at most to
/// tell everybody, so with a home nothing is said twice.
const HOME_FIRST: Duration = Duration::from_millis(500);

impl Member {
    /// Makes the own record anew if it has something new to say, and publishes it if the home does not have it yet.
    pub(super) fn publish(&mut self, now: Instant) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let candidates = self.desk.candidates(active.opened.range, active.seen_as);
        let nat = self.desk.nat.report().leading().kind;
        let says = |(said, was): &(_, _)| (said, *was) == (&candidates, nat);
        let is_new = !active.own.as_ref().is_some_and(|own| says(&own.content));
        let at_home = matches!(active.reach, Reach::Home(_));
        let unpublished = at_home && !active.published.as_ref().is_some_and(says);
        if !is_new && !unpublished {
            return;
        }
        let record = Record {
            name: active.ident.player.clone(),
            seal: active.ident.me.seal_public(),
            wg: active.ident.me.wg_public(),
            slot: active.slot,
            session: self.desk.session,
            candidates: candidates.clone(),
            nat,
            // The same for as long as a party lasts.
            holes: self.desk.punch.is_enabled(),
        };
        let seq = self.desk.next_seq();
        let (keys, me) = (&active.ident.keys, &active.ident.me);
        match records::seal_record(keys, me, Epoch::default(), seq, &record, &mut self.desk.rng) {
            Ok(sealed) => {
                active.roster.set_own(&sealed);
                let content = (candidates, nat);
                active.own = Some(OwnRecord {
                    sealed: sealed.clone(),
                    content: content.clone(),
                });
                if let Some(link) = active.link() {
                    link.ask(
                        now,
                        Asked::Update,
                        Request::UpdatePeer { record: sealed },
                        &mut self.desk.out,
                    );
                    active.published = Some(content);
                }
            }
            Err(error) => tracing::error!(%error, "the own record can't be sealed"),
        }
    }

    /// A record that came by a path. It counts for a member that the home once showed, with the keys known by then.
    pub(super) fn record_by_path(&mut self, now: Instant, sealed: Sealed) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let at_home = matches!(active.reach, Reach::Home(_));
        let pass_on = now + if at_home { HOME_FIRST } else { Duration::ZERO };
        let view = active.view();
        let mut cx = self.desk.context(&active.ident, active.opened.range, view);
        match active.roster.hear(now, sealed, pass_on, &mut cx) {
            Ok(is_new) => self.changed |= is_new,
            // Whoever passed it on need not have made it.
            Err(fault) => tracing::debug!(%fault, "a record by a path does not hold"),
        }
    }

    /// Says by paths what the home can't say: the own record while it is away, others' that it did not show.
    pub(super) fn pass_records(&mut self, now: Instant) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let view = active.view();
        let due = active.roster.take_passed(now);
        let own = match active.reach {
            Reach::Seeking(_) | Reach::Starting => active.own.as_ref().map(|own| &own.sealed),
            Reach::Home(_) | Reach::Superseded => None,
        };
        if due.is_empty() && own.is_none() {
            return;
        }
        let mut cx = self.desk.context(&active.ident, active.opened.range, view);
        for peer in active.roster.peers_mut().filter(|peer| !peer.is_silent()) {
            if let Some(own) = own
                && peer.wants_record(now, own.seq)
            {
                peer.say(own, &mut cx);
            }
            let author = peer.member;
            for record in due.iter().filter(|record| record.author != author) {
                peer.say(record, &mut cx);
            }
        }
    }
}
