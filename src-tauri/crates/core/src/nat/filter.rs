//! The test of filtering (RFC 5780 §4.4): a server is asked to answer from where nothing was sent to.

use super::surroundings::Surroundings;
use super::{Evidence, Filtering, Reason};
use crate::stun::{Answer, Change, TransactionId};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Each request is made so often.
const TRIES: u8 = 7;
/// So many of the plain requests beside have to be answered for silence to mean anything: with a third of all round
/// trips lost, seven of seven go missing once in two thousand times, and then this is rarely met.
const ANSWERED: usize = 5;
/// The pause between two tries is two round trips within these bounds: losses come in bursts, and a player waits.
const SHORTEST_PAUSE: Duration = Duration::from_millis(300);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How long answers to the last try are waited for.
const GRACE: Duration = Duration::from_secs(1);

/// How far filtering is known.
#[derive(Debug)]
pub(super) enum Filter {
    /// Nothing was tested.
    Waiting,
    Testing(Box<Test>),
    /// Silence was the answer. It means `then` if all these addresses live.
    Checking {
        need: Vec<SocketAddr>,
        then: Filtering,
    },
    /// This test told nothing; another server's might.
    Failed(Reason),
    Known(Filtering),
    Unknown(Reason),
}

impl Filter {
    pub(super) fn is_settled(&self) -> bool {
        matches!(self, Filter::Known(_) | Filter::Unknown(_))
    }

    pub(super) fn next_wake(&self) -> Option<Instant> {
        match self {
            Filter::Testing(test) => Some(test.next),
            Filter::Waiting
            | Filter::Checking { .. }
            | Filter::Failed(_)
            | Filter::Known(_)
            | Filter::Unknown(_) => None,
        }
    }
}

/// A server's two ways to answer from elsewhere, and plain requests beside to see whether anything gets through.
#[derive(Debug)]
pub(super) struct Test {
    pub(super) server: SocketAddr,
    other: SocketAddr,
    /// None where its other address was sent to before.
    both: Option<TransactionId>,
    port: TransactionId,
    /// From where the answers came.
    both_from: Option<SocketAddr>,
    port_from: Option<SocketAddr>,
    beside: BTreeMap<TransactionId, bool>,
    /// The server does not do as asked.
    refuses: bool,
    /// What came from elsewhere may have been let in because an earlier run of the engine sent there.
    let_in: bool,
    found: Option<Filtering>,
    tries: u8,
    pause: Duration,
    next: Instant,
}

impl Test {
    /// `rtt` is the server's.
    pub(super) fn new(
        now: Instant,
        server: SocketAddr,
        other: SocketAddr,
        fresh: bool,
        rtt: Duration,
        cx: &mut Surroundings<'_>,
    ) -> Self {
        Self {
            server,
            other,
            both: fresh.then(|| cx.draw()),
            port: cx.draw(),
            both_from: None,
            port_from: None,
            beside: BTreeMap::new(),
            refuses: false,
            let_in: false,
            found: None,
            tries: 0,
            pause: (rtt * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE),
            next: now,
        }
    }

    pub(super) fn owns(&self, id: &TransactionId) -> bool {
        self.both.as_ref() == Some(id) || self.port == *id || self.beside.contains_key(id)
    }

    /// What an answer proves lies in where it came from.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        from: SocketAddr,
        id: TransactionId,
        answer: &Answer,
        cx: &Surroundings<'_>,
    ) {
        if let Some(answered) = self.beside.get_mut(&id) {
            *answered |= from == self.server && answer.error.is_none();
            return;
        }
        let both = self.both == Some(id);
        let elsewhere = answer.error.is_none() && from != self.server;
        if elsewhere && cx.contacted.is_partial(now) {
            self.let_in = true;
        } else if cx.is_fresh(now, from.ip()) {
            self.found = Some(Filtering::EndpointIndependent);
        } else if answer.error.is_some() || from == self.server {
            self.refuses = true;
        } else if from.ip() == self.server.ip() && !cx.contacted.knows(now, from) {
            // Asked for both it should have changed the address too.
            self.refuses |= both;
        } else {
            self.refuses = true;
        }
        let place = if both {
            &mut self.both_from
        } else {
            &mut self.port_from
        };
        place.get_or_insert(from);
    }

    /// Sends what is due; how it goes on once the test is over.
    pub(super) fn wake(&mut self, now: Instant, cx: &mut Surroundings<'_>) -> Option<Filter> {
        if let Some(found) = self.found {
            return Some(Filter::Known(found));
        }
        if self.let_in {
            return Some(Filter::Failed(Reason::AlternateContacted));
        }
        if self.refuses {
            return Some(Filter::Failed(Reason::NoSecondAddress));
        }
        if self.both.is_none() && self.port_from.is_some() {
            return Some(Filter::Failed(Reason::AlternateContacted));
        }
        if now < self.next {
            return None;
        }
        if self.tries < TRIES {
            self.tries += 1;
            self.next = now + if self.tries < TRIES { self.pause } else { GRACE };
            let beside = cx.draw();
            self.beside.insert(beside, false);
            if let Some(both) = self.both {
                cx.ask(now, self.server, both, Change::Both);
            }
            if self.port_from.is_none() {
                cx.ask(now, self.server, self.port, Change::Port);
            }
            cx.ask(now, self.server, beside, Change::Nothing);
            return None;
        }
        Some(self.silence())
    }

    /// What it means that no more came.
    fn silence(&self) -> Filter {
        if self.answered_beside() < ANSWERED {
            return Filter::Failed(Reason::Lossy);
        }
        let by_port = SocketAddr::new(self.server.ip(), self.other.port());
        let (need, then) = match (self.both, self.port_from) {
            (_, Some(_)) => (vec![self.other], Filtering::AddressDependent),
            (Some(_), None) => (vec![self.other, by_port], Filtering::AddressAndPortDependent),
            (None, None) => (vec![by_port], Filtering::AddressAndPortDependent),
        };
        Filter::Checking { need, then }
    }

    fn answered_beside(&self) -> usize {
        self.beside.values().filter(|answered| **answered).count()
    }

    pub(super) fn evidence(&self) -> Evidence {
        Evidence::Filter {
            server: self.server,
            other: self.other,
            both: self.both_from,
            port: self.port_from,
            asked: self.tries,
            answered: u8::try_from(self.answered_beside()).unwrap_or(u8::MAX),
        }
    }
}
