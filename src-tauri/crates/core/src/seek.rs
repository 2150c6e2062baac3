//! Finding the party's home: all places where it might be are asked side by side, what each says of the party is
//! checked against the party ID, and the first valid one is registered with or joined.

use crate::control::{Asked, Link, News, Speaker, refusal};
use crate::io::{ConnId, ControlEvent, Output};
use crate::records::{self, Founding};
use lanrage_proto::control::{RelayOffer, Request, Sealed, ServerMessage};
use lanrage_proto::ids::Version;
use lanrage_proto::{Fault, FaultCode, ServerUrl, Slot};
use rand_core::RngCore;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// After the first valid answer others get this long to show a higher epoch.
const GRACE: Duration = Duration::from_millis(300);
/// A new round of dialling after this long, doubled each time.
const FIRST_ROUND: Duration = Duration::from_millis(500);
/// Rounds are never further apart than this.
const SLOWEST_ROUND: Duration = Duration::from_secs(10);
/// Places dialled at once at the most: set server, invite, and what answers on the local network.
const PLACES: usize = 24;

/// What is wanted of the home.
#[derive(Clone)]
pub(crate) enum Goal {
    /// Found the party there.
    Register(Sealed),
    /// Take a lease, or resume one. A founder whose party was forgotten founds it again with the same record.
    Join {
        resume: Option<Slot>,
        founder: Option<Sealed>,
    },
}

/// How long it may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Refusals before this are not final: another place may still answer.
    pub(crate) listen: Duration,
    /// When to give up; never when absent.
    pub(crate) give_up: Option<Duration>,
}

impl Patience {
    pub(crate) const CREATE: Patience = Patience {
        listen: Duration::ZERO,
        give_up: Some(Duration::from_secs(5)),
    };
    pub(crate) const JOIN: Patience = Patience {
        listen: Duration::from_secs(3),
        give_up: Some(Duration::from_secs(10)),
    };
    pub(crate) const REJOIN: Patience = Patience {
        listen: Duration::MAX,
        give_up: None,
    };
}

/// What came of it.
pub(crate) enum Found {
    /// Registered or joined.
    Home(Box<NewHome>),
    /// The home says the party has ended; the word has to be checked.
    Ended(Option<Sealed>),
    /// The home knows nothing of the party; still being tried.
    Forgotten,
    /// Given up.
    Failed(Fault),
}

/// A home with a lease on it.
pub(crate) struct NewHome {
    pub(crate) link: Link,
    pub(crate) slot: Slot,
    pub(crate) founding: Sealed,
    pub(crate) opened: Founding,
    pub(crate) version: Version,
    pub(crate) relays: Vec<RelayOffer>,
}

enum Stage {
    Opening,
    Asking,
    Offered,
    Entering,
}

struct Attempt {
    link: Link,
    stage: Stage,
}

pub(crate) struct Seek {
    goal: Goal,
    patience: Patience,
    started: Instant,
    places: BTreeSet<ServerUrl>,
    attempts: BTreeMap<ConnId, Attempt>,
    refusals: Vec<Fault>,
    first_offer: Option<Instant>,
    next_round: Instant,
    round: u32,
}

impl Seek {
    pub(crate) fn new(
        now: Instant,
        goal: Goal,
        patience: Patience,
        places: impl IntoIterator<Item = ServerUrl>,
    ) -> Self {
        Self {
            goal,
            patience,
            started: now,
            places: places.into_iter().take(PLACES).collect(),
            attempts: BTreeMap::new(),
            refusals: Vec::new(),
            first_offer: None,
            next_round: now,
            round: 0,
        }
    }

    /// Further places to ask.
    pub(crate) fn add(&mut self, now: Instant, places: impl IntoIterator<Item = ServerUrl>) {
        for place in places {
            if self.places.len() < PLACES && self.places.insert(place) {
                self.next_round = now;
            }
        }
    }

    pub(crate) fn owns(&self, conn: ConnId) -> bool {
        self.attempts.contains_key(&conn)
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Tries again now, as after a change of network.
    pub(crate) fn hurry(&mut self, now: Instant) {
        self.round = 0;
        self.next_round = now;
    }

    /// Tries again now, also where nobody has answered yet: TCP repeats less and less often what found nobody.
    pub(crate) fn knock_again(&mut self, now: Instant, out: &mut VecDeque<Output>) {
        self.attempts.retain(|conn, attempt| {
            let answered = !matches!(attempt.stage, Stage::Opening);
            if !answered {
                out.push_back(Output::Hangup(*conn));
            }
            answered
        });
        self.hurry(now);
    }

    pub(crate) fn hang_up(&mut self, out: &mut VecDeque<Output>) {
        for conn in std::mem::take(&mut self.attempts).into_keys() {
            out.push_back(Output::Hangup(conn));
        }
    }

    pub(crate) fn event(
        &mut self,
        now: Instant,
        conn: ConnId,
        event: ControlEvent,
        speaker: Speaker<'_>,
        out: &mut VecDeque<Output>,
    ) -> Option<Found> {
        let attempt = self.attempts.get_mut(&conn)?;
        let news = attempt.link.event(now, event, speaker, out)?;
        self.news(now, conn, news, speaker, out)
    }

    fn news(
        &mut self,
        now: Instant,
        conn: ConnId,
        news: News,
        speaker: Speaker<'_>,
        out: &mut VecDeque<Output>,
    ) -> Option<Found> {
        match news {
            News::Welcome => {
                let attempt = self.attempts.get_mut(&conn)?;
                match &self.goal {
                    Goal::Register(founding) => {
                        let request = Request::RegisterParty {
                            founding: founding.clone(),
                        };
                        attempt.stage = Stage::Entering;
                        attempt.link.ask(now, Asked::Register, request, out);
                    }
                    Goal::Join { .. } => {
                        attempt.stage = Stage::Asking;
                        attempt.link.ask(now, Asked::Discover, Request::Discover {}, out);
                    }
                }
                None
            }
            News::Answer(Asked::Discover, ServerMessage::Party { founding, .. }) => {
                match records::open_founding(speaker.party, &founding) {
                    Ok(_) => {
                        self.attempts.get_mut(&conn)?.stage = Stage::Offered;
                        self.first_offer.get_or_insert(now);
                        self.choose(now, out);
                        None
                    }
                    Err(_) => self.refused(now, conn, FaultCode::FoundingRefused.into(), out),
                }
            }
            News::Answer(
                Asked::Join | Asked::Register,
                ServerMessage::Party {
                    version,
                    founding,
                    slot,
                    relays,
                },
            ) => {
                let opened = records::open_founding(speaker.party, &founding).ok();
                match (opened, slot) {
                    (Some(opened), Some(slot)) => {
                        let link = self.attempts.remove(&conn)?.link;
                        self.hang_up(out);
                        Some(Found::Home(Box::new(NewHome {
                            link,
                            slot,
                            founding,
                            opened,
                            version,
                            relays,
                        })))
                    }
                    _ => self.refused(now, conn, FaultCode::FoundingRefused.into(), out),
                }
            }
            News::Answer(_, ServerMessage::PartyDissolved { statement }) => {
                self.drop_attempt(conn, out);
                Some(Found::Ended(statement))
            }
            News::Answer(
                Asked::Discover,
                ServerMessage::Fault {
                    code: FaultCode::PartyEnded,
                },
            ) if self.is_member() => {
                // Who was a member is owed the host's word, which only a join brings.
                self.enter(now, conn, out);
                None
            }
            News::Answer(
                Asked::Join,
                ServerMessage::Fault {
                    code: FaultCode::PartyEnded,
                },
            ) if self.is_member() => {
                self.drop_attempt(conn, out);
                Some(Found::Ended(None))
            }
            News::Answer(
                asked,
                ServerMessage::Fault {
                    code: FaultCode::PartyUnknown,
                },
            ) if asked != Asked::Register => {
                if let Goal::Join {
                    founder: Some(founding),
                    ..
                } = &self.goal
                {
                    let request = Request::RegisterParty {
                        founding: founding.clone(),
                    };
                    let attempt = self.attempts.get_mut(&conn)?;
                    attempt.stage = Stage::Entering;
                    attempt.link.ask(now, Asked::Register, request, out);
                    return None;
                }
                let found = self.refused(now, conn, FaultCode::PartyUnknown.into(), out);
                if found.is_none() && self.is_member() {
                    Some(Found::Forgotten)
                } else {
                    found
                }
            }
            News::Answer(_, ServerMessage::Fault { code }) => self.refused(now, conn, refusal(code), out),
            News::Answer(..) => self.refused(now, conn, FaultCode::ControlMalformed.into(), out),
            News::Over(fault) => {
                self.attempts.remove(&conn);
                if let Some(fault) = fault {
                    self.refusals.push(fault);
                }
                self.settle(now, out)
            }
            // Nothing can be told before a lease is there.
            News::Told(_) => None,
        }
    }

    /// Whether a lease is being resumed rather than asked for.
    fn is_member(&self) -> bool {
        matches!(self.goal, Goal::Join { resume: Some(_), .. })
    }

    fn drop_attempt(&mut self, conn: ConnId, out: &mut VecDeque<Output>) {
        if self.attempts.remove(&conn).is_some() {
            out.push_back(Output::Hangup(conn));
        }
    }

    fn refused(
        &mut self,
        now: Instant,
        conn: ConnId,
        fault: Fault,
        out: &mut VecDeque<Output>,
    ) -> Option<Found> {
        self.drop_attempt(conn, out);
        self.refusals.push(fault);
        self.settle(now, out)
    }

    /// Joins at the best offer once the others had their chance.
    fn choose(&mut self, now: Instant, out: &mut VecDeque<Output>) {
        let Some(first_offer) = self.first_offer else {
            return;
        };
        if self
            .attempts
            .values()
            .any(|attempt| matches!(attempt.stage, Stage::Entering))
        {
            return;
        }
        let waiting = self
            .attempts
            .values()
            .any(|attempt| matches!(attempt.stage, Stage::Opening | Stage::Asking));
        if waiting && now < first_offer + GRACE {
            return;
        }
        let offered = self
            .attempts
            .iter()
            .find(|(_, attempt)| matches!(attempt.stage, Stage::Offered))
            .map(|(c, _)| *c);
        match offered {
            Some(conn) => self.enter(now, conn, out),
            None => self.first_offer = None,
        }
    }

    fn enter(&mut self, now: Instant, conn: ConnId, out: &mut VecDeque<Output>) {
        let Goal::Join { resume, .. } = self.goal else {
            return;
        };
        if let Some(attempt) = self.attempts.get_mut(&conn) {
            attempt.stage = Stage::Entering;
            attempt
                .link
                .ask(now, Asked::Join, Request::JoinParty { resume }, out);
        }
    }

    /// After an attempt ended: the next offer, or the end.
    fn settle(&mut self, now: Instant, out: &mut VecDeque<Output>) -> Option<Found> {
        self.choose(now, out);
        let elapsed = now.saturating_duration_since(self.started);
        let given_up = self.patience.give_up.is_some_and(|limit| elapsed >= limit);
        let answered =
            self.attempts.is_empty() && !self.refusals.is_empty() && elapsed >= self.patience.listen;
        // Nobody else can found the party here, so a refusal there is the answer; otherwise only time tells.
        if given_up || (answered && self.patience.give_up.is_some()) {
            self.hang_up(out);
            return Some(Found::Failed(self.verdict()));
        }
        None
    }

    /// The refusal that says most.
    fn verdict(&self) -> Fault {
        const TELLING: [FaultCode; 8] = [
            FaultCode::PartyEnded,
            FaultCode::PartyFull,
            FaultCode::PartyExists,
            FaultCode::VersionUnsupported,
            FaultCode::ControlUntrusted,
            FaultCode::FoundingRefused,
            FaultCode::TooMany,
            FaultCode::PartyUnknown,
        ];
        TELLING
            .iter()
            .find_map(|code| self.refusals.iter().find(|fault| fault.code == *code))
            .or(self.refusals.first())
            .cloned()
            .unwrap_or_else(|| FaultCode::ControlUnreachable.into())
    }

    pub(crate) fn wake(
        &mut self,
        now: Instant,
        speaker: Speaker<'_>,
        next_conn: &mut u32,
        rng: &mut impl RngCore,
        out: &mut VecDeque<Output>,
    ) -> Option<Found> {
        let over: Vec<_> = self
            .attempts
            .iter_mut()
            .filter_map(|(conn, attempt)| attempt.link.wake(now, out).map(|news| (*conn, news)))
            .collect();
        for (conn, news) in over {
            if let Some(found) = self.news(now, conn, news, speaker, out) {
                return Some(found);
            }
        }
        self.choose(now, out);
        if now >= self.next_round {
            self.dial(now, next_conn, rng, out);
        }
        self.settle(now, out)
    }

    fn dial(
        &mut self,
        now: Instant,
        next_conn: &mut u32,
        rng: &mut impl RngCore,
        out: &mut VecDeque<Output>,
    ) {
        for place in &self.places {
            if self.attempts.values().any(|attempt| attempt.link.url() == place) {
                continue;
            }
            let conn = ConnId(*next_conn);
            *next_conn += 1;
            let link = Link::dial(now, conn, place.clone(), out);
            self.attempts.insert(
                conn,
                Attempt {
                    link,
                    stage: Stage::Opening,
                },
            );
        }
        let pause = FIRST_ROUND
            .saturating_mul(1 << self.round.min(10))
            .min(SLOWEST_ROUND);
        self.round += 1;
        // Between half and one and a half, so that a server's return is not met by all at once.
        self.next_round = now + pause.mul_f64(0.5 + f64::from(rng.next_u32()) / f64::from(u32::MAX));
    }

    pub(crate) fn next_wake(&self) -> Option<Instant> {
        let links = self
            .attempts
            .values()
            .filter_map(|attempt| attempt.link.next_wake());
        let offered = self.first_offer.map(|at| at + GRACE).filter(|_| {
            !self
                .attempts
                .values()
                .any(|attempt| matches!(attempt.stage, Stage::Entering))
        });
        let limits = self.patience.give_up.map(|limit| self.started + limit);
        let listened = self.started.checked_add(self.patience.listen).filter(|_| {
            self.patience.give_up.is_some() && self.attempts.is_empty() && !self.refusals.is_empty()
        });
        let round = (!self.places.is_empty()).then_some(self.next_round);
        links
            .chain(offered)
            .chain(limits)
            .chain(listened)
            .chain(round)
            .min()
    }
}
