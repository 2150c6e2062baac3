//! Discovery within one address family: facts, and the next step that follows from them.

use super::filter::{Filter, Test};
use super::request::{Pending, Turn};
use super::surroundings::Surroundings;
use super::{Evidence, FamilyReport, Filtering, Mapping, NatType, Reason};
use crate::stun::{self, Answer, TransactionId};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A server that did not answer within this no longer holds up the next.
const STAGGER: Duration = Duration::from_millis(250);
/// After the first answer, the others get this long before filtering is tested without them.
const SETTLING: Duration = Duration::from_secs(1);

/// What a destination said of us.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) mapped: SocketAddr,
    pub(super) rtt: Duration,
    /// Its other address, as far as it can be of use.
    pub(super) other: Option<SocketAddr>,
    at: Instant,
}

#[derive(Debug)]
enum State {
    Asking(Pending),
    Answered(Seen),
    Silent,
}

/// An address that was asked where we come from.
#[derive(Debug)]
struct Destination {
    at: SocketAddr,
    /// What it saw may be compared: nothing unasked can have come from there before.
    comparable: bool,
    state: State,
}

impl Destination {
    fn seen(&self) -> Option<&Seen> {
        match &self.state {
            State::Answered(seen) => Some(seen),
            State::Asking(_) | State::Silent => None,
        }
    }

    fn is_asking(&self) -> bool {
        matches!(self.state, State::Asking(_))
    }
}

/// Finding out what stands between this computer and the internet, in one address family.
pub struct Discovery {
    own: Vec<SocketAddr>,
    earlier: Option<SocketAddr>,
    began: Instant,
    /// Servers not asked yet.
    queue: VecDeque<SocketAddr>,
    /// Those that wait because a test of filtering is to be answered from there.
    held: Vec<SocketAddr>,
    newest: Option<(SocketAddr, Instant)>,
    destinations: Vec<Destination>,
    filter: Filter,
    tests: Vec<Evidence>,
    /// Servers whose other address was tested.
    tested: Vec<SocketAddr>,
    /// The mapping was seen to change.
    changed: bool,
    /// When the facts were looked at last.
    looked: Instant,
}

impl Discovery {
    /// Asks these servers, in this order, as far as they are needed. `own` are this computer's addresses with the port
    /// of the primary socket; all are of one family. `earlier` is where this computer was mapped to before: another
    /// mapping now lets in nobody whom the one before had been used for.
    pub fn new(
        now: Instant,
        servers: &[SocketAddr],
        own: &[SocketAddr],
        earlier: Option<SocketAddr>,
    ) -> Self {
        Self {
            own: own.to_vec(),
            earlier,
            began: now,
            queue: servers.iter().copied().collect(),
            held: Vec::new(),
            newest: None,
            destinations: Vec::new(),
            filter: Filter::Waiting,
            tests: Vec::new(),
            tested: Vec::new(),
            changed: false,
            looked: now,
        }
    }

    /// Whether a transaction is one of these.
    fn owns(&self, id: &TransactionId) -> bool {
        let of_destination = |destination: &Destination| match &destination.state {
            State::Asking(pending) => pending.id == *id,
            State::Answered(_) | State::Silent => false,
        };
        self.destinations.iter().any(of_destination)
            || matches!(&self.filter, Filter::Testing(test) if test.owns(id))
    }

    /// A STUN message came from this address. Whether it answered one of the requests.
    pub fn datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: &[u8],
        cx: &mut Surroundings<'_>,
    ) -> bool {
        let Some(id) = stun::transaction_of(bytes).filter(|id| self.owns(id)) else {
            return false;
        };
        if let Some(answer) = stun::answer(bytes) {
            self.answered(now, from, id, &answer, cx);
            self.wake(now, cx);
        }
        true
    }

    /// An answer to one of the requests. `from` is where it came from, which proves more than what it says.
    fn answered(
        &mut self,
        now: Instant,
        from: SocketAddr,
        id: TransactionId,
        answer: &Answer,
        cx: &mut Surroundings<'_>,
    ) {
        if let Filter::Testing(test) = &mut self.filter
            && test.owns(&id)
        {
            let before = self.destinations.iter().find(|known| known.at == test.server);
            let before = before.and_then(Destination::seen).map(|seen| seen.mapped);
            let moved = answer.mapped.is_some() && before.is_some() && answer.mapped != before;
            self.changed |= moved;
            return test.answered(now, from, id, answer, cx);
        }
        let destination = self.destinations.iter_mut().find_map(|destination| {
            let State::Asking(pending) = &destination.state else {
                return None;
            };
            (pending.id == id && destination.at == from).then_some((
                destination.at,
                pending.rtt(now),
                destination,
            ))
        });
        let Some((at, rtt, destination)) = destination else {
            return;
        };
        let Some(mapped) = answer.mapped.filter(|mapped| mapped.is_ipv4() == at.is_ipv4()) else {
            // It speaks, but has nothing to tell.
            destination.state = State::Silent;
            return;
        };
        let other = answer.other.filter(|other| {
            other.is_ipv4() == at.is_ipv4()
                && other.ip() != at.ip()
                && other.port() != at.port()
                && cx.is_askable(*other)
                && self.own.iter().all(|own| own.ip() != other.ip())
        });
        destination.state = State::Answered(Seen {
            mapped,
            rtt,
            other,
            at: now,
        });
        if self.earlier.take().is_some_and(|earlier| earlier != mapped) {
            cx.contacted.forget_before(self.began);
        }
    }

    /// Lets time pass, and takes the steps that the facts allow.
    pub fn wake(&mut self, now: Instant, cx: &mut Surroundings<'_>) {
        for destination in &mut self.destinations {
            if let State::Asking(pending) = &mut destination.state
                && pending.wake(now, destination.at, cx) == Turn::GaveUp
            {
                destination.state = State::Silent;
            }
        }
        self.looked = now;
        // One step may allow another.
        let mut before = None;
        while !self.is_done() && before != Some(self.progress()) {
            before = Some(self.progress());
            self.ask_servers(now, cx);
            self.test_filtering(now, cx);
            self.ask_elsewhere(now, cx);
        }
    }

    /// What changes with each step.
    fn progress(&self) -> (usize, usize, usize, bool) {
        let settled = self.filter.is_settled();
        (
            self.queue.len(),
            self.held.len(),
            self.destinations.len(),
            settled,
        )
    }

    fn ask(&mut self, now: Instant, at: SocketAddr, comparable: bool, cx: &mut Surroundings<'_>) {
        if self.destinations.iter().all(|known| known.at != at) {
            let pending = Pending::ask(now, at, cx);
            self.destinations.push(Destination {
                at,
                comparable,
                state: State::Asking(pending),
            });
        }
    }

    fn is_asking(&self) -> bool {
        self.destinations.iter().any(Destination::is_asking)
    }

    /// Servers that answered, in the order they were given.
    fn servers(&self) -> impl Iterator<Item = (SocketAddr, &Seen)> {
        self.destinations
            .iter()
            .filter(|known| known.comparable)
            .filter_map(|known| Some((known.at, known.seen()?)))
    }

    /// What a mapping depends on, as far as that was seen.
    fn mapping(&self) -> Option<Mapping> {
        let seen: Vec<(SocketAddr, SocketAddr)> =
            self.servers().map(|(at, seen)| (at, seen.mapped)).collect();
        let pairs = || {
            let after = |i: usize| seen.iter().skip(i + 1);
            seen.iter()
                .enumerate()
                .flat_map(move |(i, a)| after(i).map(move |b| (a, b)))
        };
        let same_ip = |(a, b): &(&(SocketAddr, SocketAddr), &(SocketAddr, SocketAddr))| a.0.ip() == b.0.ip();
        let differ = |(a, b): &(&(SocketAddr, SocketAddr), &(SocketAddr, SocketAddr))| a.1 != b.1;
        if !pairs().any(|pair| differ(&pair)) {
            return pairs()
                .any(|pair| !same_ip(&pair))
                .then_some(Mapping::EndpointIndependent);
        }
        Some(if !pairs().any(|pair| same_ip(&pair)) {
            Mapping::EndpointDependent
        } else if pairs().any(|pair| same_ip(&pair) && differ(&pair)) {
            Mapping::AddressAndPortDependent
        } else {
            Mapping::AddressDependent
        })
    }

    /// Whether a test of filtering may yet be answered from there.
    fn is_reserved(&self, at: SocketAddr) -> bool {
        !self.filter.is_settled()
            && self.servers().any(|(server, seen)| {
                seen.other.is_some_and(|other| {
                    at.ip() == other.ip() || at == SocketAddr::new(server.ip(), other.port())
                })
            })
    }

    /// Whether nothing came from there unasked that the NAT may have kept for itself: some then give what is sent
    /// there another port.
    fn is_clean(&self, at: SocketAddr) -> bool {
        let awaited = |test: &Evidence| match *test {
            Evidence::Filter {
                server,
                other,
                both,
                port,
                ..
            } => {
                both.is_none() && at == other
                    || port.is_none() && at == SocketAddr::new(server.ip(), other.port())
            }
            Evidence::Asked { .. } | Evidence::Fresh { .. } | Evidence::Earlier => false,
        };
        matches!(self.filter, Filter::Known(Filtering::EndpointIndependent))
            || !self.tests.iter().any(awaited)
    }

    /// Whether those asked so far are all that is needed.
    fn has_enough(&self) -> bool {
        let testable = match self.filter {
            Filter::Testing(_) | Filter::Checking { .. } | Filter::Known(_) | Filter::Unknown(_) => true,
            Filter::Waiting | Filter::Failed(_) => false,
        };
        let testable = testable
            || self
                .servers()
                .any(|(at, seen)| seen.other.is_some() && !self.tested.contains(&at));
        match self.mapping() {
            None => false,
            Some(Mapping::EndpointIndependent) => testable,
            Some(
                Mapping::AddressDependent | Mapping::AddressAndPortDependent | Mapping::EndpointDependent,
            ) => true,
        }
    }

    fn ask_servers(&mut self, now: Instant, cx: &mut Surroundings<'_>) {
        while !self.has_enough() {
            let waits = self.newest.is_some_and(|(at, since)| {
                let asking = self
                    .destinations
                    .iter()
                    .any(|known| known.at == at && known.is_asking());
                asking && now < since + STAGGER
            });
            if waits {
                return;
            }
            let Some(server) = self.queue.pop_front() else {
                break;
            };
            if self.is_reserved(server) {
                self.held.push(server);
            } else {
                self.newest = Some((server, now));
                self.ask(now, server, true, cx);
            }
        }
        if self.filter.is_settled() && !self.has_enough() {
            for server in std::mem::take(&mut self.held) {
                self.ask(now, server, self.is_clean(server), cx);
            }
        }
    }

    fn test_filtering(&mut self, now: Instant, cx: &mut Surroundings<'_>) {
        loop {
            match &mut self.filter {
                Filter::Waiting => {
                    let Some(filter) = self.next_test(now, cx) else {
                        return;
                    };
                    self.filter = filter;
                }
                Filter::Testing(test) => {
                    let Some(next) = test.wake(now, cx) else { return };
                    self.tests.push(test.evidence());
                    if let Filter::Checking { need, .. } = &next {
                        for at in need.clone() {
                            self.ask(now, at, false, cx);
                        }
                    }
                    self.filter = next;
                }
                Filter::Checking { need, then } => {
                    let of = |at: &SocketAddr| self.destinations.iter().find(|known| known.at == *at);
                    let needed: Vec<&Destination> = need.iter().filter_map(of).collect();
                    if needed.iter().any(|known| known.is_asking()) {
                        return;
                    }
                    let alive = needed.iter().all(|known| known.seen().is_some());
                    self.filter = if alive {
                        Filter::Known(*then)
                    } else {
                        Filter::Failed(Reason::AlternateSilent)
                    };
                }
                Filter::Failed(reason) => {
                    // Another server may be able to tell.
                    let reason = *reason;
                    let Some(filter) = self.next_test(now, cx) else {
                        return;
                    };
                    self.filter = match filter {
                        Filter::Unknown(_) => Filter::Unknown(reason),
                        better => better,
                    };
                }
                Filter::Known(_) | Filter::Unknown(_) => return,
            }
        }
    }

    /// How to go on with filtering, if it is time.
    fn next_test(&mut self, now: Instant, cx: &mut Surroundings<'_>) -> Option<Filter> {
        let mapping = self.mapping();
        let settled = (self.queue.is_empty() || self.has_enough()) && !self.is_asking();
        match mapping {
            None => {
                let first = self.servers().map(|(_, seen)| seen.at).min();
                let waited = first.is_some_and(|at| now >= at + SETTLING);
                if !settled && !waited {
                    return None;
                }
            }
            Some(Mapping::EndpointIndependent) => {}
            Some(
                Mapping::AddressDependent | Mapping::AddressAndPortDependent | Mapping::EndpointDependent,
            ) => return Some(Filter::Unknown(Reason::NoSecondAddress)),
        }
        // One whose other address is fresh tells all; one where only the other port is may still tell something.
        let mut usable: Vec<(bool, SocketAddr, SocketAddr, Duration)> = self
            .servers()
            .filter(|(at, _)| !self.tested.contains(at))
            .filter_map(|(at, seen)| {
                let other = seen.other?;
                let by_port = SocketAddr::new(at.ip(), other.port());
                let fresh = cx.is_fresh(now, other.ip());
                (!cx.contacted.knows(now, by_port)).then_some((!fresh, at, other, seen.rtt))
            })
            .collect();
        usable.sort_by_key(|(stale, ..)| *stale);
        match usable.first() {
            Some((stale, server, other, rtt)) => {
                self.tested.push(*server);
                Some(Filter::Testing(Box::new(Test::new(
                    now, *server, *other, !stale, *rtt, cx,
                ))))
            }
            None if settled => {
                let contacted = self
                    .servers()
                    .any(|(at, seen)| seen.other.is_some() && !self.tested.contains(&at));
                let reason = if contacted {
                    Reason::AlternateContacted
                } else {
                    Reason::NoSecondAddress
                };
                Some(Filter::Unknown(reason))
            }
            None => None,
        }
    }

    /// Where the servers given can't tell the mapping, the other addresses of those that answered may.
    fn ask_elsewhere(&mut self, now: Instant, cx: &mut Surroundings<'_>) {
        if let Some(at) = self.elsewhere() {
            self.ask(now, at, true, cx);
        }
    }

    fn elsewhere(&self) -> Option<SocketAddr> {
        if !self.filter.is_settled() {
            return None;
        }
        let new = |at: SocketAddr| self.destinations.iter().all(|known| known.at != at);
        let mut others = self.servers().filter_map(|(at, seen)| Some((at, seen.other?)));
        match self.mapping() {
            // Not the port that an unanswered test was to come from.
            None if self.is_asking() || !self.queue.is_empty() || !self.held.is_empty() => None,
            None => others
                .map(|(at, other)| SocketAddr::new(other.ip(), at.port()))
                .find(|at| new(*at)),
            Some(Mapping::EndpointDependent) if self.tests.is_empty() => others
                .find(|(at, other)| at.ip() != other.ip())
                .map(|(at, other)| SocketAddr::new(at.ip(), other.port()))
                .filter(|at| new(*at)),
            Some(_) => None,
        }
    }

    /// Whether there is nothing more to find out.
    pub fn is_done(&self) -> bool {
        if self.changed {
            return true;
        }
        if !self.filter.is_settled() {
            return false;
        }
        match self.mapping() {
            None => {
                self.queue.is_empty()
                    && self.held.is_empty()
                    && !self.is_asking()
                    && self.elsewhere().is_none()
            }
            Some(Mapping::EndpointDependent) => {
                // The server's other port would tell more, if it is asked at all.
                let asking = |known: &Destination| {
                    known.is_asking() && self.servers().any(|(at, _)| at.ip() == known.at.ip())
                };
                !self.destinations.iter().any(asking) && self.elsewhere().is_none()
            }
            Some(_) => true,
        }
    }

    /// When to call [`Discovery::wake`] next; none when it is done.
    pub fn next_wake(&self) -> Option<Instant> {
        if self.is_done() {
            return None;
        }
        let asks = self.destinations.iter().filter_map(|known| match &known.state {
            State::Asking(pending) => Some(pending.next_wake()),
            State::Answered(_) | State::Silent => None,
        });
        let stagger = self.newest.map(|(_, since)| since + STAGGER);
        let settling = self.servers().map(|(_, seen)| seen.at + SETTLING).min();
        // A moment that is past has changed what it could.
        let waits = stagger.into_iter().chain(settling).filter(|at| *at > self.looked);
        asks.chain(waits).chain(self.filter.next_wake()).min()
    }

    /// What is known so far.
    pub fn report(&self) -> FamilyReport {
        let mapped = self.servers().map(|(_, seen)| seen.mapped).next();
        let asked = self
            .destinations
            .iter()
            .filter(|known| !known.is_asking())
            .map(|known| {
                let saw = known.seen().map(|seen| (seen.mapped, seen.rtt));
                Evidence::Asked {
                    server: known.at,
                    saw,
                }
            });
        let (filtering, no_filtering) = match self.filter {
            Filter::Known(filtering) => (Some(filtering), Reason::InProgress),
            Filter::Unknown(reason) | Filter::Failed(reason) => (None, reason),
            Filter::Waiting | Filter::Testing(_) | Filter::Checking { .. } => (None, Reason::InProgress),
        };
        let report = FamilyReport {
            kind: NatType::Unknown,
            reason: None,
            mapped,
            translated: mapped.map(|mapped| !self.own.contains(&mapped)),
            mapping: self.mapping(),
            filtering,
            evidence: asked.chain(self.tests.iter().copied()).collect(),
        };
        if self.changed {
            return FamilyReport {
                reason: Some(Reason::Changed),
                ..report
            };
        }
        if !self.is_done() {
            return FamilyReport {
                reason: Some(Reason::InProgress),
                ..report
            };
        }
        report.concluded(no_filtering)
    }
}
