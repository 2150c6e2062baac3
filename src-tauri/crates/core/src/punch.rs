//! Holes through NATs that give each destination a port of its own (symmetric ones), where ordinary probes find nobody.
//!
//! Two sides each have an [`Aim`]: where the other has to expect their datagrams from. A NAT that keeps its mapping
//! comes from one port. A symmetric one comes from anywhere, or from the ports after the last one it dealt. Linux-like
//! ones map source ports 512–1023 to 600–1023 only ([`LOW`]), so that sockets bound there narrow "anywhere" down to 424
//! ports. What follows from the two aims is in [`script`]: how many sockets, which ports, when.
//!
//! - *One port and anywhere*: 256 sockets send to the one port, 1,200 probes go from it to the low ports and to random
//!   ones. By the birthday law, 1 − exp(−256 · 1200 / 64512), 98.7 % meet; with low ports most do within a second.
//! - *Anywhere and anywhere*: three low sockets on each side send to all low ports, in both directions 150 a second.
//! - *After a port*: its successors are tried first. How fresh that port has to be is why a side that deals its ports in
//!   a row asks a STUN server right before ([`scout`]).
//!
//! A try is agreed on by sealed signals through the home, so that both sides begin together and in the right order: the
//! side with one port first, the other [`LEAD`] later. Else a router that takes unasked datagrams for itself has seen the
//! pair of addresses before its own side used it, and gives that one another port. `Ask` comes from the symmetric side
//! (between two of them from the smaller identity), which is the one to choose among several hits; `Ready` says that the
//! other has begun; `Busy` that it is engaged elsewhere: a member makes one try at a time.
//!
//! What is sent are ordinary probes. One that arrives becomes a path to be confirmed like any other; from then on the
//! rest is silent, and with the first answer the other sockets close. The socket that is left is a transport as long as
//! its path carries. A try that fails is repeated after pauses that double, and costs nothing else: the pair stays on
//! its relay.

mod aim;
mod attempt;
mod scout;
mod script;

pub use aim::Aim;

use crate::io::Network;
use crate::nat::{FamilyReport, NatType};
use crate::path::{Path, TransportId};
use attempt::{Attempt, Turn};
use lanrage_proto::server_url::{is_near, is_reachable_unicast};
use lanrage_proto::{MemberId, PartyRange};
use rand_chacha::ChaCha20Rng;
use rand_core::RngCore;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// Where Linux maps source ports 512–1023.
pub const LOW: RangeInclusive<u16> = 600..=1023;
/// Sockets of one try at most.
pub const SOCKETS: usize = 256;
/// Datagrams of one try, and side, at most.
pub const DATAGRAMS: usize = 1200;
/// A try is over after this.
pub const LASTS: Duration = Duration::from_secs(10);
/// So much earlier than the side that comes from anywhere does the one with one port begin.
pub const LEAD: Duration = Duration::from_secs(1);

/// Ordinary probes get this long once both NATs are named; those to the same local network went out long before.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Between two tries with one peer, doubled each time …
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// … up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(10 * 60);
/// A peer that is engaged elsewhere is asked again after this, and as much again at random.
const BUSY_PAUSE: Duration = Duration::from_secs(1);
/// Sockets kept at once, so that waiting for them all stays cheap. No further tries are made beyond.
const KEPT: usize = 32;
/// A hole that closed sooner than this is not made anew at once.
const LASTING: Duration = Duration::from_secs(30);
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
}

/// A hole that carries.
#[derive(Debug, Clone, Copy)]
struct Hole {
    peer: MemberId,
    since: Instant,
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
    /// When a peer is due that this side would lead.
    begins: Option<Instant>,
}

impl Punch {
    pub(crate) fn new(enabled: bool) -> Self {
        Self {
            enabled,
            next: TransportId::FIRST_HOLE,
            attempt: None,
            holes: BTreeMap::new(),
            pauses: BTreeMap::new(),
            begins: None,
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
        kept.chain(tried).collect()
    }

    /// When something is due.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        let unused = self.holes.values().filter_map(|hole| hole.unused);
        let unused = unused.map(|since| since + UNUSED).min();
        let turn = match &self.attempt {
            Some(attempt) => Some(attempt.next_wake()),
            None => self.begins,
        };
        [turn, unused].into_iter().flatten().min()
    }

    /// The try under way.
    pub(crate) fn attempt(&self) -> Option<&Attempt> {
        self.attempt.as_ref()
    }

    /// Whether the address is one that the try under way makes a hole to. Only there may datagrams go to low ports.
    pub(crate) fn expects(&self, peer: &MemberId, at: SocketAddr) -> bool {
        let aimed = |attempt: &Attempt| attempt.peer == *peer && IpAddr::V4(attempt.at) == at.ip();
        self.attempt.as_ref().is_some_and(aimed) && (at.port() >= 1024 || LOW.contains(&at.port()))
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
        if let Some(attempt) = &mut self.attempt {
            attempt.stun(path, bytes);
        }
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
    pub(crate) fn due(&mut self, now: Instant, worth: &[MemberId]) -> Option<MemberId> {
        self.pauses
            .retain(|peer, pause| worth.contains(peer) || now < pause.until);
        for peer in worth {
            self.pauses.entry(*peer).or_insert(Pause {
                until: now + FIRST_WAIT,
                failures: 0,
            });
        }
        let waiting = || {
            let of = |peer: &MemberId| self.pauses.get(peer).map(|pause| (pause.until, *peer));
            worth.iter().filter_map(of).min()
        };
        self.begins = waiting().map(|(until, _)| until).filter(|_| self.has_room());
        waiting()
            .filter(|(until, _)| *until <= now && self.has_room())
            .map(|(_, peer)| peer)
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
        (peer, at): (MemberId, Ipv4Addr),
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
        let attempt = Attempt::new(now, (peer, at), number, theirs, own, rng, &mut open);
        self.begins = None;
        if attempt.is_none()
            && let Some(pause) = self.pauses.get_mut(&peer)
        {
            pause.until = now + FIRST_PAUSE;
        }
        self.attempt = attempt;
        self.attempt.is_some()
    }

    /// The peer that was asked has begun.
    pub(crate) fn ready(&mut self, now: Instant, theirs: Aim) {
        if let Some(attempt) = &mut self.attempt {
            attempt.ready(now, theirs);
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
            self.pauses.remove(&peer);
            let made = Hole {
                peer,
                since: now,
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
            pause.until = now + BUSY_PAUSE + up_to(rng, BUSY_PAUSE);
        }
    }

    /// The try ends without a hole.
    pub(crate) fn fail(&mut self, now: Instant, rng: &mut ChaCha20Rng) {
        if let Some(attempt) = self.attempt.take()
            && let Some(pause) = self.pauses.get_mut(&attempt.peer)
        {
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
            if now < hole.since + LASTING {
                let pause = Pause {
                    until: now + FIRST_PAUSE,
                    failures: 1,
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
