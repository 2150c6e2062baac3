//! Holes through NATs that give each destination a port of its own (symmetric ones), where ordinary probes find nobody.
//!
//! Two sides each have an [`Aim`]: where the other has to expect their datagrams from. A NAT that keeps its mapping
//! comes from one port. A symmetric one comes from anywhere, or from the ports after the last one it dealt. Linux-like
//! ones map source ports 512–1023 to 600–1023 only ([`LOW`]), so that sockets bound there narrow "anywhere" down to 424
//! ports. What follows from the two aims is in [`script`]: how many sockets, which ports, when.
//!
//! - *One port and anywhere*: 256 sockets send to the one port, 1,200 probes go from it to the low ports and to random
//!   ones. By the birthday law, 1 − exp(−256 · 1200 / 64512), 98.7 % meet; with low ports most do within a second.
//! - *Anywhere and anywhere*: three low sockets on each side send to all low ports, in both directions 300 a second.
//! - *After a port*: its successors are tried first. How fresh that port has to be is why a symmetric side asks a STUN
//!   server right before, by two fresh sockets, whether it deals its ports in a row ([`scout`]).
//!
//! What counts of a NAT is what its mappings depend on. Where that is not known yet and somebody is not reached without a
//! relay, or proposes a try, it is asked at once ([`survey`]); that nobody knows what the filter looks at holds nothing
//! up.
//!
//! A try is agreed on by sealed signals through the home, so that both sides begin together and in the right order: the
//! side with one port first, the other [`LEAD`] later. Else a router that takes unasked datagrams for itself has seen the
//! pair of addresses before its own side used it, and gives that one another port. So after a try that failed the side with
//! one port takes a fresh socket, whose port it asks a STUN server for, and the other begins when all guesses are out;
//! every second time, as another router there may want it the other way round. `Ask` comes from the symmetric side
//! (between two of them from the smaller identity), which is the one to choose among several hits; `Ready` says that the
//! other has begun, which who does not know yet where it comes from says as soon as it does; `Busy` that it is engaged
//! elsewhere, or can't find that out: a member makes one try at a time.
//!
//! What is sent are ordinary probes. One that arrives becomes a path to be confirmed like any other; from then on the
//! rest is silent, and with the first answer the other sockets close. The socket that is left is a transport as long as
//! its path carries. A try that fails is repeated after pauses that double, and costs nothing else: the pair stays on
//! its relay. Behind another mapping, here or there, what failed before counts no more.

mod aim;
mod attempt;
mod scout;
mod script;
mod survey;

pub use aim::Aim;
pub(crate) use attempt::Attempt;

use crate::io::Network;
use crate::nat::{FamilyReport, NatType};
use crate::path::{Path, TransportId};
use crate::stun::TransactionId;
use attempt::Turn;
use lanrage_proto::server_url::{is_near, is_reachable_unicast};
use lanrage_proto::{MemberId, PartyRange};
use rand_chacha::ChaCha20Rng;
use rand_core::RngCore;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};
use survey::{Survey, Surveyed};

/// Where Linux maps source ports 512–1023.
pub const LOW: RangeInclusive<u16> = 600..=1023;
/// Sockets of one try at most.
pub const SOCKETS: usize = 256;
/// Datagrams of one try, and side, at most.
pub const DATAGRAMS: usize = 1200;
/// A try is over after this.
pub const LASTS: Duration = Duration::from_secs(10);
/// So much earlier than the side that comes from anywhere does the one with one port begin: its guesses at the likely
/// ports are all out by then.
pub const LEAD: Duration = Duration::from_millis(400);

/// So much earlier after a try that failed, if the other side comes from just anywhere: all guesses are out by then. What
/// comes in before its guess is lost on a router that takes it for itself, and a fresh port is open to no guess of the
/// try before.
const LONG_LEAD: Duration = Duration::from_millis(7800);

/// Ordinary probes get this long once both mappings are known; those to the same local network went out long before.
/// That one gets through while a try is being agreed on ends it before a socket was opened.
const FIRST_WAIT: Duration = Duration::from_millis(300);
/// Between two tries with one peer, doubled each time …
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// … up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(10 * 60);
/// That a try failed is remembered for this long by who did not propose it: the next one has begun by then.
const SPOILT: Duration = LONGEST_PAUSE.saturating_mul(2);
/// A peer that is engaged elsewhere is asked again after this, and as much again at random.
const BUSY_PAUSE: Duration = Duration::from_secs(1);
/// One that is still engaged after so many questions is asked more and more seldom.
const PATIENT: u32 = 8;
/// Sockets kept at once, so that waiting for them all stays cheap. No further tries are made beyond.
const KEPT: usize = 32;
/// A hole that closed sooner than this is not made anew at once, unless that happened because this computer is mapped
/// otherwise; which counts once within this, as some NATs do that all the time. What failed with a peer counts no more
/// once within this where the peer says that it is elsewhere: one that lies must not have tries follow each other.
const LASTING: Duration = Duration::from_secs(30);
/// What a mapping depends on is not asked again for this long where that could not be told.
const SURVEY_AGAIN: Duration = Duration::from_secs(60);
/// A socket whose path carries but is not the chosen one is kept this long.
const UNUSED: Duration = Duration::from_secs(30);

/// A UDP socket for IPv4 that should be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HolePlan {
    /// The transport it is.
    pub id: TransportId,
    /// The port to bind it to, one of [`LOW`]; another one where it can't be had, low if possible. None is any.
    pub port: Option<u16>,
    /// It proved to be a path: WireGuard goes by it. The others are for a few seconds.
    pub kept: bool,
}

/// What this side does in a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// It proposes, and chooses among several hits.
    Leads,
    /// It waits to be asked.
    Follows,
}

/// Whether a pair of NATs lets nobody through to whom ordinary probes could get, and who of them leads.
pub(crate) fn part(own: NatType, peer: NatType, own_is_smaller: bool) -> Option<Part> {
    use NatType::{PortRestrictedCone, Symmetric};
    match (own, peer) {
        (Symmetric, PortRestrictedCone) => Some(Part::Leads),
        (PortRestrictedCone, Symmetric) => Some(Part::Follows),
        (Symmetric, Symmetric) if own_is_smaller => Some(Part::Leads),
        (Symmetric, Symmetric) => Some(Part::Follows),
        _ => None,
    }
}

/// Whether datagrams may be sent to ports of this address that nobody named: it is public, none of this computer's,
/// and not where this side itself is seen.
pub(crate) fn may_aim_at(at: Ipv4Addr, own: &FamilyReport, network: &Network, range: PartyRange) -> bool {
    let at = IpAddr::V4(at);
    is_reachable_unicast(at, range)
        && !is_near(at)
        && own.mapped.is_some_and(|mapped| mapped.ip() != at)
        && network.addresses.iter().all(|(own, _)| *own != at)
}

/// When a peer is tried next.
#[derive(Debug, Clone, Copy)]
struct Pause {
    until: Instant,
    failures: u32,
    /// How often it said that it is engaged elsewhere.
    busy: u32,
    /// Where it was seen.
    at: SocketAddrV4,
    /// There was a hole, which did not last.
    brief: bool,
    /// When it last began anew because the peer was seen elsewhere.
    renewed: Option<Instant>,
}

/// A peer that this side would lead a try with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Worth {
    pub(crate) peer: MemberId,
    /// Where it is seen by a STUN server.
    pub(crate) at: SocketAddrV4,
    /// Whether others see it there too.
    pub(crate) one_port: bool,
}

impl Pause {
    /// Whether that is behind another mapping. A NAT that deals many of them may do so all the time, which is no
    /// reason to try again what failed, but shows how a hole was lost.
    fn is_of_another(&self, worth: &Worth) -> bool {
        let port = worth.one_port || self.brief;
        self.at.ip() != worth.at.ip() || port && self.at.port() != worth.at.port()
    }
}

/// A hole that carries.
#[derive(Debug, Clone, Copy)]
struct Hole {
    peer: MemberId,
    /// Where the peer was seen.
    at: SocketAddrV4,
    since: Instant,
    /// When the pause before it last began anew because the peer was seen elsewhere.
    renewed: Option<Instant>,
    /// Since when another path is used instead.
    unused: Option<Instant>,
}

/// What a member knows of its holes, and the try that is under way.
pub(crate) struct Punch {
    enabled: bool,
    next: TransportId,
    attempt: Option<Attempt>,
    holes: BTreeMap<Path, Hole>,
    pauses: BTreeMap<MemberId, Pause>,
    /// Peers with whom this side, which has one port, found no hole, and when: that port may be spoilt for them.
    spoilt: BTreeMap<MemberId, Instant>,
    /// When a peer is due that this side would lead.
    begins: Option<Instant>,
    /// What the own mappings depend on: being asked, found out, and not to be asked before.
    survey: Option<Survey>,
    surveyed: Option<Surveyed>,
    survey_rests: Option<Instant>,
    /// When this computer was last found mapped otherwise.
    moved: Option<Instant>,
}

impl Punch {
    pub(crate) fn new(enabled: bool) -> Self {
        Self {
            enabled,
            next: TransportId::FIRST_HOLE,
            attempt: None,
            holes: BTreeMap::new(),
            pauses: BTreeMap::new(),
            spoilt: BTreeMap::new(),
            begins: None,
            survey: None,
            surveyed: None,
            survey_rests: None,
            moved: None,
        }
    }

    /// Whether holes are made at all.
    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// No party, no holes. Numbers of transports are not used again soon.
    pub(crate) fn clear(&mut self) {
        *self = Self {
            next: self.next,
            ..Self::new(self.enabled)
        };
    }

    /// The sockets that should be open.
    pub(crate) fn plans(&self) -> Vec<HolePlan> {
        let sockets = self.holes.keys().map(|path| path.transport);
        let kept = sockets.filter(|id| id.is_hole()).map(|id| HolePlan {
            id,
            port: None,
            kept: true,
        });
        let tried = self.attempt.iter().flat_map(Attempt::sockets).copied();
        let asking = self.survey.iter().map(Survey::socket);
        kept.chain(tried).chain(asking).collect()
    }

    /// When something is due.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        let unused = self.holes.values().filter_map(|hole| hole.unused);
        let unused = unused.map(|since| since + UNUSED).min();
        let turn = match &self.attempt {
            Some(attempt) => Some(attempt.next_wake()),
            None => self.begins,
        };
        let survey = self.survey.as_ref().and_then(Survey::next_wake);
        [turn, unused, survey].into_iter().flatten().min()
    }

    /// The try under way.
    pub(crate) fn attempt(&self) -> Option<&Attempt> {
        self.attempt.as_ref()
    }

    /// Whether a datagram that came by this path counts. Once one socket was hit the others are no longer answered
    /// from, or the two sides would settle on different ones.
    pub(crate) fn takes(&self, path: Path) -> bool {
        !path.transport.is_hole()
            || self.holes.keys().any(|hole| hole.transport == path.transport)
            || self.attempt.as_ref().is_some_and(|attempt| attempt.takes(path))
    }

    /// A STUN message came by a socket of ours.
    pub(crate) fn stun(&mut self, path: Path, bytes: &[u8]) {
        if let Some(survey) = self.survey.as_mut().filter(|survey| survey.is_by(path.transport)) {
            survey.answered(path, bytes);
        } else if let Some(attempt) = &mut self.attempt {
            attempt.stun(path, bytes);
        }
    }

    /// Finds out what the own mappings depend on, where the report does not tell and that is `wanted`: what to ask now.
    pub(crate) fn survey(
        &mut self,
        now: Instant,
        wanted: bool,
        report: &FamilyReport,
        servers: &[SocketAddr],
        range: PartyRange,
        rng: &mut ChaCha20Rng,
    ) -> Vec<(Path, Vec<u8>)> {
        let draw = |rng: &mut ChaCha20Rng| {
            let mut id = TransactionId::default();
            rng.fill_bytes(&mut id);
            id
        };
        let untold = report.kind == NatType::Unknown && report.mapping.is_none();
        let wanted = wanted || self.attempt.as_ref().is_some_and(Attempt::is_unaimed);
        if !wanted || !untold {
            self.survey = None;
            return Vec::new();
        }
        let known = self.surveyed.as_ref().is_some_and(|known| known.is_of(report));
        let rests = self.survey_rests.is_some_and(|until| now < until);
        if self.survey.is_none() && !known && !rests && report.mapped.is_some() && !servers.is_empty() {
            let socket = fresh(&mut self.next, rng, 1, 0);
            let begin = |socket| Survey::new(now, servers, socket, range, || draw(rng));
            self.survey = socket.into_iter().next().map(begin);
        }
        let Some(survey) = &mut self.survey else {
            return Vec::new();
        };
        if let Some(result) = survey.result(now) {
            self.survey = None;
            self.survey_rests = Some(now + SURVEY_AGAIN);
            self.surveyed = result.or(self.surveyed.take());
            return Vec::new();
        }
        survey.due(now, || draw(rng))
    }

    /// The report as it counts for holes.
    pub(crate) fn counts<'a>(&self, report: &'a FamilyReport) -> Cow<'a, FamilyReport> {
        Surveyed::completes(self.surveyed.as_ref(), report)
    }

    /// This computer is mapped otherwise: what failed before counts no more. `displaced` where it is seen at another
    /// address. Whether a try under way has to end, as it tells the peer of a port that is gone.
    pub(crate) fn moved(&mut self, now: Instant, displaced: bool) -> bool {
        let lately = |at: Instant| now.saturating_duration_since(at) < LASTING;
        if !displaced && self.moved.is_some_and(lately) {
            return false;
        }
        self.moved = Some(now);
        self.survey_rests = None;
        self.pauses.clear();
        self.spoilt.clear();
        self.attempt.is_some()
    }

    /// Something authentic came from a peer by a path that is being tried or used.
    pub(crate) fn heard(&mut self, now: Instant, peer: &MemberId, path: Path) {
        if let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.peer == *peer) {
            attempt.heard(now, path);
        }
    }

    /// Whether a try may begin.
    fn has_room(&self) -> bool {
        self.attempt.is_none() && self.holes.len() < KEPT
    }

    /// Which of these peers is due: those that this side would lead.
    pub(crate) fn due(&mut self, now: Instant, all: &[Worth]) -> Option<Worth> {
        self.pauses
            .retain(|peer, pause| all.iter().any(|worth| worth.peer == *peer) || now < pause.until);
        for worth in all {
            let first = Pause {
                until: now + FIRST_WAIT,
                failures: 0,
                busy: 0,
                at: worth.at,
                brief: false,
                renewed: None,
            };
            let pause = self.pauses.entry(worth.peer).or_insert(first);
            if pause.is_of_another(worth) && pause.renewed.is_none_or(|at| now >= at + LASTING) {
                *pause = Pause {
                    renewed: Some(now),
                    failures: pause.failures,
                    ..first
                };
            }
        }
        let of = |worth: &Worth| self.pauses.get(&worth.peer).map(|pause| (pause.until, *worth));
        let waiting = all.iter().filter_map(of);
        let next = waiting.min_by_key(|(until, worth)| (*until, worth.peer));
        let next = next.filter(|_| self.has_room());
        self.begins = next.map(|(until, _)| until);
        next.filter(|(until, _)| *until <= now).map(|(_, worth)| worth)
    }

    /// Nobody can be asked for now.
    pub(crate) fn rest(&mut self) {
        self.begins = None;
    }

    /// Begins a try with a peer that is seen at `at`; one that the peer proposed, with its number and where it comes
    /// from. Whether it began: not where there is one already, or nothing can come of it.
    pub(crate) fn begin(
        &mut self,
        now: Instant,
        (peer, at): (MemberId, SocketAddrV4),
        proposed: Option<(u64, Aim)>,
        own: &FamilyReport,
        rng: &mut ChaCha20Rng,
    ) -> bool {
        if !self.has_room() {
            return false;
        }
        let number = proposed.map_or_else(|| rng.next_u64(), |(number, _)| number);
        let theirs = proposed.map(|(_, aim)| aim);
        let next = &mut self.next;
        let mut open = |rng: &mut ChaCha20Rng, sockets: usize, low: usize| fresh(next, rng, sockets, low);
        let mut attempt = Attempt::new(now, (peer, at), number, theirs);
        let spoilt = self.spoilt.contains_key(&peer);
        // Who proposes knows the own mappings, who is asked may find out.
        let goes_on = attempt.aim(now, own, spoilt, rng, &mut open)
            || proposed.is_some() && own.kind == NatType::Unknown;
        self.begins = None;
        if let Some(pause) = self.pauses.get_mut(&peer) {
            if !goes_on {
                pause.until = now + FIRST_PAUSE;
            }
            // One order after the other: which is the right one depends on both routers.
            attempt.last = pause.failures % 2 == 1;
        }
        self.attempt = Some(attempt).filter(|_| goes_on);
        goes_on
    }

    /// A try that waits for what the own mappings depend on takes up what is known of them, if `may_aim` at the peer.
    /// Whether it goes on; not where nothing more is being found out, or nothing can come of it.
    pub(crate) fn aim(
        &mut self,
        now: Instant,
        own: &FamilyReport,
        may_aim: bool,
        rng: &mut ChaCha20Rng,
    ) -> bool {
        let next = &mut self.next;
        let mut open = |rng: &mut ChaCha20Rng, sockets: usize, low: usize| fresh(next, rng, sockets, low);
        match self.attempt.as_mut().filter(|attempt| attempt.is_unaimed()) {
            None => true,
            Some(_) if own.kind == NatType::Unknown => self.survey.is_some(),
            Some(attempt) => {
                let spoilt = self.spoilt.contains_key(&attempt.peer);
                may_aim && attempt.aim(now, own, spoilt, rng, &mut open)
            }
        }
    }

    /// The peer that was asked has begun.
    pub(crate) fn ready(&mut self, now: Instant, theirs: Aim) {
        if let Some(attempt) = &mut self.attempt {
            attempt.ready(now, theirs);
            if let Some(pause) = self.pauses.get_mut(&attempt.peer) {
                pause.busy = 0;
            }
        }
    }

    /// Does what is due of the try.
    pub(crate) fn wake(&mut self, now: Instant, rng: &mut ChaCha20Rng) -> Turn {
        let next = &mut self.next;
        let mut open = |rng: &mut ChaCha20Rng, sockets: usize, low: usize| fresh(next, rng, sockets, low);
        match &mut self.attempt {
            Some(attempt) => attempt.wake(now, rng, &mut open),
            None => Turn::default(),
        }
    }

    /// The try ends with a hole.
    pub(crate) fn succeed(&mut self, now: Instant, hole: Path) {
        if let Some(attempt) = self.attempt.take() {
            let peer = attempt.peer;
            let pause = self.pauses.remove(&peer);
            let made = Hole {
                peer,
                at: attempt.seen,
                since: now,
                renewed: pause.and_then(|pause| pause.renewed),
                unused: None,
            };
            self.holes.insert(hole, made);
        }
    }

    /// The try ends because the peer is reached or gone.
    pub(crate) fn abandon(&mut self) {
        self.attempt = None;
    }

    /// The peer is engaged elsewhere.
    pub(crate) fn postpone(&mut self, now: Instant, rng: &mut ChaCha20Rng) {
        if let Some(attempt) = self.attempt.take()
            && let Some(pause) = self.pauses.get_mut(&attempt.peer)
        {
            let longer = 1 << pause.busy.saturating_sub(PATIENT).min(8);
            pause.busy += 1;
            pause.until = now + BUSY_PAUSE * longer + up_to(rng, BUSY_PAUSE);
        }
    }

    /// The try ends without a hole.
    pub(crate) fn fail(&mut self, now: Instant, rng: &mut ChaCha20Rng) {
        let Some(attempt) = self.attempt.take() else {
            return;
        };
        if attempt.has_one_port() {
            self.spoilt
                .retain(|_, at| now.saturating_duration_since(*at) < SPOILT);
            self.spoilt.insert(attempt.peer, now);
        }
        if let Some(pause) = self.pauses.get_mut(&attempt.peer) {
            let next = (FIRST_PAUSE * (1 << pause.failures.min(7))).min(LONGEST_PAUSE);
            pause.failures += 1;
            pause.until = now + next + up_to(rng, next / 4);
        }
    }

    /// The holes and whose they are.
    pub(crate) fn holes(&self) -> Vec<(Path, MemberId)> {
        self.holes.iter().map(|(path, hole)| (*path, hole.peer)).collect()
    }

    /// Notes whether a hole is used; closes it where it is no longer of use. Whether it was closed.
    pub(crate) fn used(&mut self, now: Instant, path: &Path, carries: bool, chosen: bool) -> bool {
        let Some(hole) = self.holes.get_mut(path) else {
            return false;
        };
        hole.unused = if chosen {
            None
        } else {
            Some(hole.unused.unwrap_or(now))
        };
        let idle = hole.unused.is_some_and(|since| now >= since + UNUSED);
        let closes = !carries || idle;
        if closes {
            // One that did not last would be made again and again.
            let moved = |at: Instant| at >= hole.since && now.saturating_duration_since(at) < LASTING;
            if now < hole.since + LASTING && !self.moved.is_some_and(moved) {
                let pause = Pause {
                    until: now + FIRST_PAUSE,
                    failures: 1,
                    busy: 0,
                    at: hole.at,
                    brief: true,
                    renewed: hole.renewed,
                };
                self.pauses.insert(hole.peer, pause);
            }
            self.holes.remove(path);
        }
        closes
    }
}

/// Fresh sockets, of which so many have low ports.
fn fresh(next: &mut TransportId, rng: &mut ChaCha20Rng, sockets: usize, low: usize) -> Vec<HolePlan> {
    let ports = script::low_ports(rng).into_iter();
    let ports = ports.filter(|port| !SERVICES.contains(port)).take(low);
    let ports = ports.map(Some).chain(std::iter::repeat(None));
    let plan = |port| {
        let id = *next;
        let after = id.0.checked_add(1).map(TransportId);
        *next = after.unwrap_or(TransportId::FIRST_HOLE);
        HolePlan {
            id,
            port,
            kept: false,
        }
    };
    ports.take(sockets).map(plan).collect()
}

/// Low UDP ports that a service of this computer may want the moment a socket of ours has them: remote control of the
/// machine (623, 664), printing (631), directories (636), Kerberos (749, 750), encrypted DNS (853).
const SERVICES: [u16; 7] = [623, 631, 636, 664, 749, 750, 853];

fn up_to(rng: &mut ChaCha20Rng, most: Duration) -> Duration {
    most.mul_f64(f64::from(rng.next_u32()) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests;
