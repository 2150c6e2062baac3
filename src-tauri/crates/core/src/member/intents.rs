//! What the player wants: create, join, resume, leave, other rules.

use super::Member;
use crate::io::{Home, Intent, IntentId, Outcome, Output, Saved};
use crate::keys::{MemberKeys, PartyKeys};
use crate::lobby::Lobby;
use crate::party::{Active, Adapter, Creating, Entry, Ident, Joining, Leaving, Party, Phase, Reach};
use crate::records::{self, Founding, Word};
use crate::roster::Roster;
use crate::seek::{Goal, Patience, Seek};
use lanrage_proto::control::Request;
use lanrage_proto::ids::{Epoch, Version};
use lanrage_proto::ipc::{Created, Joined};
use lanrage_proto::party_id::FoundingNonce;
use lanrage_proto::{Fault, FaultCode, Invite, PartyId, PartyName, PlayerName, ServerUrl};
use std::time::{Duration, Instant};

use crate::control::Asked;

/// How long the home may take to confirm the word.
const SAYING: Duration = Duration::from_secs(2);
/// The word goes out on the paths at these times.
const REPEATS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(300),
];
/// How long the adapter may take to go.
const CLOSING: Duration = Duration::from_secs(3);

impl Member {
    pub(super) fn intent(&mut self, now: Instant, id: IntentId, intent: Intent) {
        let result = match intent {
            Intent::Create {
                party,
                player,
                created,
            } => self.create(now, id, party, player, created),
            Intent::Join { invite, player } => self.join(now, id, invite, player),
            Intent::Resume(saved) => self.resume(now, id, *saved),
            Intent::Leave => self.leave(now, id),
            Intent::Rules(change) => {
                self.change_rules(id, change);
                Ok(())
            }
        };
        if let Err(fault) = result {
            self.answers.push(Output::Answer(id, Err(fault)));
        }
    }

    fn idle(&self) -> Result<(), Fault> {
        match &self.party {
            Party::Idle => Ok(()),
            Party::Active(active) if active.entry.is_none() => Err(FaultCode::AlreadyInParty.into()),
            Party::Creating(_) | Party::Joining(_) | Party::Active(_) | Party::Leaving(_) => {
                Err(FaultCode::Busy.into())
            }
        }
    }

    fn create(
        &mut self,
        now: Instant,
        answer: IntentId,
        party: PartyName,
        player: PlayerName,
        created: u64,
    ) -> Result<(), Fault> {
        self.idle()?;
        self.conditions.clear_all();
        let nonce = FoundingNonce::draw(&mut self.desk.rng);
        let me = MemberKeys::founder(&self.config.seed, &nonce);
        let keys = PartyKeys::of(&PartyId::of_founding(&me.id(), &nonce));
        let opened = Founding {
            nonce: nonce.clone(),
            name: party,
            range: self.config.range,
            created,
        };
        let seq = self.desk.next_seq();
        let founding = records::seal_founding(&keys, &me, seq, &opened, &mut self.desk.rng)
            .map_err(|error| Fault::new(FaultCode::Internal).with("reason", error))?;
        let (home, seek) = match self.config.server.clone() {
            Some(server) => {
                let goal = Goal::Register(founding.clone());
                (
                    Home::Server(server.clone()),
                    Some(Seek::new(now, goal, Patience::CREATE, [server])),
                )
            }
            None => (Home::Here, None),
        };
        let ident = Ident { keys, me, player };
        let creating = Creating {
            ident,
            answer,
            nonce,
            founding,
            opened,
            home,
            seek,
        };
        self.transition(Party::Creating(Box::new(creating)), "create");
        Ok(())
    }

    fn join(
        &mut self,
        now: Instant,
        answer: IntentId,
        invite: Invite,
        player: PlayerName,
    ) -> Result<(), Fault> {
        if let Party::Active(active) = &self.party
            && active.entry.is_none()
            && active.ident.keys.id == invite.id
        {
            let joined = self.joined(active);
            self.answers
                .push(Output::Answer(answer, Ok(Outcome::Joined(joined))));
            return Ok(());
        }
        self.idle()?;
        self.conditions.clear_all();
        let keys = PartyKeys::of(&invite.id);
        let me = MemberKeys::joiner(&self.config.seed, &keys.tag);
        let places = self
            .config
            .server
            .iter()
            .chain(&invite.server)
            .cloned()
            .chain(invite.via.iter().map(|at| ServerUrl::plain(*at)));
        let goal = Goal::Join {
            resume: None,
            founder: None,
        };
        let seek = Seek::new(now, goal, Patience::JOIN, places);
        let ident = Ident { keys, me, player };
        self.transition(Party::Joining(Box::new(Joining { ident, answer, seek })), "join");
        Ok(())
    }

    fn resume(&mut self, now: Instant, answer: IntentId, saved: Saved) -> Result<(), Fault> {
        self.idle()?;
        let keys = PartyKeys::of(&saved.id);
        let me = match &saved.nonce {
            Some(nonce) => MemberKeys::founder(&self.config.seed, nonce),
            None => MemberKeys::joiner(&self.config.seed, &keys.tag),
        };
        let opened = records::open_founding(&keys, &saved.founding)
            .map_err(|_| Fault::new(FaultCode::FoundingRefused))?;
        let chain = records::founding_hash(&saved.founding);
        let ident = Ident {
            keys,
            me,
            player: saved.player,
        };
        let mut active = Active {
            ident,
            entry: None,
            nonce: saved.nonce,
            founding: saved.founding,
            opened,
            chain,
            home: saved.home,
            slot: saved.slot,
            reach: Reach::Starting,
            adapter: Adapter::Waiting,
            version: Version::default(),
            roster: Roster::default(),
            own: None,
            published: None,
            paging: None,
            last_snapshot: None,
            listed: None,
            seen_as: None,
            rules: saved.rules,
            lobby: Lobby::default(),
        };
        if active.home != Home::Here {
            active.reach = self.seeking(now, &active);
        }
        let mut cx = self.desk.context(&active.ident, active.opened.range, 0);
        for record in saved.records {
            active.roster.remember(now, record, active.slot, &mut cx);
        }
        for member in &saved.heard {
            active.roster.remember_heard(member);
        }
        self.transition(Party::Active(Box::new(active)), "resume");
        self.answers.push(Output::Answer(answer, Ok(Outcome::Resuming)));
        Ok(())
    }

    fn leave(&mut self, now: Instant, id: IntentId) -> Result<(), Fault> {
        match &mut self.party {
            Party::Idle => Err(FaultCode::NotInParty.into()),
            Party::Creating(_) | Party::Joining(_) => {
                let before = self.transition(Party::Idle, "cancelled");
                let (answer, seek) = match before {
                    Party::Creating(creating) => (creating.answer, creating.seek),
                    Party::Joining(joining) => (joining.answer, Some(joining.seek)),
                    Party::Idle | Party::Active(_) | Party::Leaving(_) => return Ok(()),
                };
                if let Some(mut seek) = seek {
                    seek.hang_up(&mut self.desk.out);
                }
                self.answers
                    .push(Output::Answer(answer, Err(FaultCode::Cancelled.into())));
                self.answers.push(Output::Answer(id, Ok(Outcome::Left)));
                Ok(())
            }
            Party::Active(active) => {
                let cancelled = active
                    .entry
                    .take()
                    .map(|(intent, _)| (intent, FaultCode::Cancelled.into()));
                self.conditions.clear_all();
                self.leave_party(now, vec![id], cancelled);
                Ok(())
            }
            Party::Leaving(leaving) => {
                leaving.answers.push(id);
                Ok(())
            }
        }
    }

    /// Says the word that ends the membership, or, from the host, the party; then takes everything down.
    pub(super) fn leave_party(
        &mut self,
        now: Instant,
        answers: Vec<IntentId>,
        refusal: Option<(IntentId, Fault)>,
    ) {
        let from = self.party.name();
        let Some(mut active) = self.take_active() else {
            return;
        };
        let word = if active.is_host() {
            Word::Dissolve
        } else {
            Word::Leave
        };
        let seq = self.desk.next_seq();
        let sealed = records::seal_word(
            &active.ident.keys,
            &active.ident.me,
            Epoch::default(),
            seq,
            word,
            &active.chain,
            &mut self.desk.rng,
        );
        let Ok(word_sealed) = sealed else {
            return self.close(now, *active, answers, refusal);
        };
        if let Reach::Home(link) = &mut active.reach {
            let statement = word_sealed.clone();
            let (asked, request) = match word {
                Word::Dissolve => (Asked::Dissolve, Request::DissolveParty { statement }),
                Word::Leave => (Asked::Leave, Request::LeaveParty { statement }),
            };
            link.ask(now, asked, request, &mut self.desk.out);
        }
        // Without a home to wait for, the repeats on the paths are all there is to wait for.
        let said = REPEATS[REPEATS.len() - 1] + Duration::from_millis(50);
        let until = now
            + if matches!(active.reach, Reach::Home(_)) {
                SAYING
            } else {
                said
            };
        let repeats = REPEATS.iter().map(|after| now + *after).collect();
        let phase = Phase::Saying {
            active,
            word: word_sealed,
            repeats,
            until,
        };
        self.party = Party::Leaving(Box::new(Leaving {
            phase,
            answers,
            refusal,
        }));
        self.told_party(from, self.party.name(), "leave".to_owned());
    }

    /// The active party, out of the state; the caller puts another state there.
    pub(super) fn take_active(&mut self) -> Option<Box<Active>> {
        match std::mem::replace(&mut self.party, Party::Idle) {
            Party::Active(active) => Some(active),
            other => {
                self.party = other;
                None
            }
        }
    }

    /// The word is said: connections and adapter go.
    pub(super) fn close(
        &mut self,
        now: Instant,
        mut active: Active,
        answers: Vec<IntentId>,
        refusal: Option<(IntentId, Fault)>,
    ) {
        match &mut active.reach {
            Reach::Home(link) => self.desk.out.push_back(Output::Hangup(link.conn())),
            Reach::Seeking(seek) => seek.hang_up(&mut self.desk.out),
            Reach::Starting | Reach::Superseded => {}
        }
        active.roster.retire(&mut self.desk.seq);
        self.desk.relays.clear();
        self.desk.punch.clear();
        let phase = Phase::Closing { until: now + CLOSING };
        self.party = Party::Leaving(Box::new(Leaving {
            phase,
            answers,
            refusal,
        }));
        self.changed = true;
        if !self.wishes.has_adapter() {
            self.left();
        }
    }

    /// Everything is taken down.
    pub(super) fn left(&mut self) {
        let Party::Leaving(leaving) = self.transition(Party::Idle, "left") else {
            return;
        };
        if let Some((intent, fault)) = leaving.refusal {
            self.answers.push(Output::Answer(intent, Err(fault)));
        }
        for id in leaving.answers {
            self.answers.push(Output::Answer(id, Ok(Outcome::Left)));
        }
    }

    /// Lets the word out again, and ends the wait.
    pub(super) fn wake_leaving(&mut self, now: Instant) {
        let Party::Leaving(leaving) = &mut self.party else {
            return;
        };
        match &mut leaving.phase {
            Phase::Saying {
                active,
                word,
                repeats,
                until,
            } => {
                let due = repeats.iter().filter(|at| now >= **at).count();
                if due > 0 {
                    repeats.drain(..due);
                    let view = active.view();
                    let mut cx = self.desk.context(&active.ident, active.opened.range, view);
                    for peer in active.roster.peers_mut() {
                        peer.say(word, &mut cx);
                    }
                }
                if now >= *until {
                    self.said(now);
                }
            }
            Phase::Closing { until } => {
                if now >= *until {
                    self.left();
                }
            }
        }
    }

    /// The word has been passed, or nobody is there to take it.
    pub(super) fn said(&mut self, now: Instant) {
        let Party::Leaving(leaving) = std::mem::replace(&mut self.party, Party::Idle) else {
            return;
        };
        let Leaving {
            phase,
            answers,
            refusal,
        } = *leaving;
        match phase {
            Phase::Saying { active, .. } => self.close(now, *active, answers, refusal),
            phase @ Phase::Closing { .. } => {
                self.party = Party::Leaving(Box::new(Leaving {
                    phase,
                    answers,
                    refusal,
                }));
            }
        }
    }

    /// Answers the create or join that brought us here, once the adapter is up.
    pub(super) fn enter(&mut self) {
        let Party::Active(active) = &self.party else {
            return;
        };
        let (Some((intent, entry)), Adapter::Up) = (active.entry, &active.adapter) else {
            return;
        };
        let outcome = match entry {
            Entry::Create => Outcome::Created(Created {
                party: active.opened.name.to_string(),
                id: active.ident.keys.id.to_string(),
                invite: self.invite(active).to_string(),
                address: active.address().to_string(),
            }),
            Entry::Join => Outcome::Joined(self.joined(active)),
        };
        self.answers.push(Output::Answer(intent, Ok(outcome)));
        if let Party::Active(active) = &mut self.party {
            let from = active.name();
            active.entry = None;
            let to = active.name();
            self.told_party(from, to, "adapter is up".to_owned());
        }
    }

    fn joined(&self, active: &Active) -> Joined {
        Joined {
            party: active.opened.name.to_string(),
            id: active.ident.keys.id.to_string(),
            address: active.address().to_string(),
        }
    }
}
