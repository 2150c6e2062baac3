//! What the home says, and what of it counts: the member list, comings and goings, signals, the end.

use super::Member;
use crate::control::{Asked, News};
use crate::io::{Event, Output};
use crate::party::{Party, Reach};
use crate::records::{self, Signal, Word};
use lanrage_proto::control::{MemberEntry, Request, Sealed, ServerMessage};
use lanrage_proto::{Fault, FaultCode, MemberId};
use std::time::Instant;

impl Member {
    /// News on the connection to the home.
    pub(super) fn home_news(&mut self, now: Instant, news: Option<News>) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let me = active.ident.me.id();
        match news {
            None | Some(News::Welcome) => {}
            Some(News::Over(fault)) => {
                let cause = fault.map_or_else(|| "the home is away".to_owned(), |fault| fault.to_string());
                self.desk
                    .out
                    .push_back(Output::Event(Event::Control("is away".to_owned())));
                self.seek_again(now, &cause);
            }
            Some(News::Answer(Asked::Snapshot, message)) => self.snapshot(now, message),
            Some(News::Answer(Asked::Relays, ServerMessage::Relays { relays })) => self.offered(now, &relays),
            Some(News::Answer(Asked::Update, ServerMessage::Fault { code })) => {
                let fault = Fault::new(code);
                self.desk.out.push_back(Output::Event(Event::Refused(fault)));
            }
            Some(News::Answer(..)) => {}
            Some(News::Told(message)) => match message {
                ServerMessage::PeerJoined { version, member }
                | ServerMessage::PeerUpdated { version, member } => {
                    active.version = version;
                    self.show(now, member);
                }
                ServerMessage::PeerLeft { version, member, .. } if member == me => {
                    active.version = version;
                    self.seek_again(now, "the home removed us");
                }
                ServerMessage::PeerLeft {
                    version,
                    member,
                    statement,
                } => {
                    active.version = version;
                    self.peer_left(now, member, statement);
                }
                ServerMessage::Signal { signal } => self.signal(now, signal),
                ServerMessage::PartyDissolved { statement } => self.ended(now, statement),
                ServerMessage::Superseded {} => {
                    if let Some(link) = active.link() {
                        let conn = link.conn();
                        self.desk.out.push_back(Output::Hangup(conn));
                    }
                    active.reach = Reach::Superseded;
                    self.conditions.raise(FaultCode::Superseded.into());
                }
                // Nothing that comes unasked.
                ServerMessage::Challenge { .. }
                | ServerMessage::Welcome { .. }
                | ServerMessage::Party { .. }
                | ServerMessage::Relays { .. }
                | ServerMessage::Snapshot { .. }
                | ServerMessage::Done {}
                | ServerMessage::VersionUnsupported { .. }
                | ServerMessage::Fault { .. } => {}
            },
        }
    }

    fn snapshot(&mut self, now: Instant, message: ServerMessage) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let Some((version, mut entries)) = active.paging.take() else {
            return;
        };
        let ServerMessage::Snapshot {
            version: current,
            page,
            pages,
            members,
        } = message
        else {
            return;
        };
        let (next, complete) = if page > 0 && current != version {
            // The party changed between two pages: from the start again.
            entries.clear();
            (0, false)
        } else {
            entries.extend(members);
            (page.saturating_add(1), page.saturating_add(1) >= pages)
        };
        if !complete && entries.len() <= usize::from(u8::MAX) {
            active.paging = Some((current, entries));
            if let Some(link) = active.link() {
                link.ask(
                    now,
                    Asked::Snapshot,
                    Request::Snapshot { page: next },
                    &mut self.desk.out,
                );
            }
            return;
        }
        active.version = current;
        active.listed = Some(now);
        let shown: Vec<MemberId> = entries.iter().map(|entry| entry.member).collect();
        let missing: Vec<MemberId> = active
            .roster
            .members()
            .into_iter()
            .filter(|member| !shown.contains(member))
            .collect();
        for entry in entries {
            self.show(now, entry);
        }
        for member in missing {
            self.not_listed(now, member);
        }
    }

    /// A member that is in no list any more. A home that remembers it has removed it; one that lost its memory waits
    /// for it to come back.
    fn not_listed(&mut self, now: Instant, member: MemberId) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let here = active.version.incarnation;
        match active.roster.last_shown_in(&member) {
            Some(shown_in) if shown_in != here => active.roster.awaited(now, &member),
            shown_in => {
                let stays = !active.roster.dropped(now, &member, &mut self.desk.seq);
                if stays && shown_in.is_some() {
                    active.roster.unlisted(now, &member);
                }
            }
        }
        self.changed = true;
    }

    fn show(&mut self, now: Instant, entry: MemberEntry) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let member = entry.member;
        let has_record = entry.record.is_some();
        let view = active.view();
        let mut cx = self.desk.context(&active.ident, active.opened.range, view);
        let before = active.roster.name_of(&member);
        let result = active.roster.show(now, entry, active.slot, &mut cx);
        active.roster.shown_in(&member, active.version.incarnation);
        let name = active.roster.name_of(&member);
        self.changed = true;
        match result {
            Ok(()) if has_record => {
                for code in [
                    FaultCode::PeerVersion,
                    FaultCode::RecordRefused,
                    FaultCode::KeyChanged,
                    FaultCode::LeaseClash,
                ] {
                    // Whoever had no record that could be read had no name either.
                    self.conditions.clear_about(code, &before);
                    self.conditions.clear_about(code, &name);
                }
            }
            Ok(()) => {}
            Err(fault) => self.refuse(now, fault),
        }
    }

    fn peer_left(&mut self, now: Instant, member: MemberId, statement: Option<Sealed>) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        self.changed = true;
        let name = active.roster.name_of(&member);
        let word = statement.filter(|word| word.author == member).and_then(|word| {
            let opened = records::open_word(&active.ident.keys, &word, &active.chain);
            matches!(opened, Ok(Word::Leave)).then_some(word)
        });
        let stays = match word {
            // It was true once, and is shown again now that the member is back.
            Some(word) if active.roster.spoke_since(&member, word.seq) => true,
            Some(word) => {
                active.roster.left(word, &mut self.desk.seq);
                false
            }
            None => !active.roster.dropped(now, &member, &mut self.desk.seq),
        };
        if stays {
            self.refuse(now, Fault::new(FaultCode::LeaveRefused).with("member", name));
        }
    }

    fn signal(&mut self, now: Instant, signal: Sealed) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let view = active.view();
        let name = active.roster.name_of(&signal.author);
        let mut cx = self.desk.context(&active.ident, active.opened.range, view);
        let me = active.ident.me.id();
        if signal.author == me {
            return self.refuse(now, Fault::new(FaultCode::SignalRefused).with("member", name));
        }
        let Some(peer) = active.roster.peer_mut(&signal.author) else {
            return self.look_again(now);
        };
        let opened = records::open_signal(&active.ident.keys, peer.pair(), &signal.author, &me, &signal);
        match opened {
            Ok(opened) if peer.accepts_signal(signal.seq) => match opened {
                Signal::Call { session, candidates } => {
                    peer.call(now, signal.seq, session, &candidates, &mut cx);
                }
                Signal::Punch { number, step } => self.punch_said(now, signal.author, number, step),
            },
            Ok(_) | Err(_) => self.refuse(now, Fault::new(FaultCode::SignalRefused).with("member", name)),
        }
    }

    /// The party is said to have ended: true only with the host's word.
    pub(super) fn ended(&mut self, now: Instant, statement: Option<Sealed>) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let host = active.founding.author;
        let true_word = statement.is_some_and(|word| {
            let opened = records::open_word(&active.ident.keys, &word, &active.chain);
            word.author == host && matches!(opened, Ok(Word::Dissolve))
        });
        if !true_word {
            return self.refuse(now, FaultCode::DissolveRefused.into());
        }
        let from = active.name();
        let by = active.roster.name_of(&host);
        let fault = Fault::new(FaultCode::PartyDissolved)
            .with("by", by)
            .with("party", &active.opened.name);
        let refusal = active
            .entry
            .take()
            .map(|(intent, _)| (intent, FaultCode::PartyEnded.into()));
        self.conditions.clear_all();
        self.conditions.raise(fault);
        if let Some(active) = self.take_active() {
            self.close(now, *active, Vec::new(), refusal);
            self.told_party(from, self.party.name(), "the host ended the party".to_owned());
        }
    }

    /// A word or a record that came by a path rather than by the home.
    pub(super) fn word(&mut self, now: Instant, from: MemberId, word: Sealed) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let author = word.author;
        match records::open_word(&active.ident.keys, &word, &active.chain) {
            Ok(Word::Dissolve) if author == from => self.ended(now, Some(word)),
            Ok(Word::Dissolve) => tracing::debug!("the end of a party is the host's own to say"),
            // Passed on by somebody who may not know yet that its author is back.
            Ok(Word::Leave) if author != from && active.roster.spoke_since(&author, word.seq) => {}
            Ok(Word::Leave) => self.peer_left(now, author, Some(word)),
            Err(_) => self.record_by_path(now, word),
        }
    }
}
