//! When to discover: on entering a party, when this computer's addresses or the servers change, when the mapping
//! turns out to be another or no longer answers. In between, one request to one server per family and interval keeps
//! the mapping alive and sees it change.

use super::fresh::Fresh;
use super::request::{Pending, Turn};
use super::surroundings::{REMEMBERED, Surroundings};
use super::{Contacted, Discovery, Evidence, FamilyReport, NatReport, NatType, Reason};
use crate::path::TransportId;
use crate::punch::HolePlan;
use crate::stun::{self, TransactionId};
use lanrage_proto::PartyRange;
use lanrage_proto::server_url::is_reachable_unicast;
use rand_chacha::ChaCha20Rng;
use rand_core::RngCore;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Mappings live for 30 s at least where nothing is sent (in practice; RFC 4787 REQ-5 wants two minutes).
const KEEP: Duration = Duration::from_secs(25);
/// What is unknown is tried again after this, doubled each time …
const FIRST_RETRY: Duration = Duration::from_secs(30);
/// … up to this.
const SLOWEST_RETRY: Duration = REMEMBERED;
/// The mapping changed while it was looked at: looks again after this, once. Players may wait for their next hole.
const CHANGED_RETRY: Duration = Duration::from_millis(200);
/// Servers of one family at most.
const SERVERS: usize = 8;
/// A DNS name has 253 characters at most (RFC 1035 §2.3.4), a port five.
const LONGEST_NAME: usize = 260;

/// Where the member is, as far as it matters here.
pub(crate) struct Place<'a> {
    /// The addresses of the party it is in, with sockets open; none without one.
    pub(crate) party: Option<PartyRange>,
    /// This computer's addresses with the port of its primary sockets.
    pub(crate) own: Vec<SocketAddr>,
    /// What peers are reached at.
    pub(crate) others: &'a BTreeSet<IpAddr>,
    pub(crate) rng: &'a mut ChaCha20Rng,
    /// Requests to send.
    pub(crate) out: &'a mut VecDeque<(SocketAddr, Vec<u8>)>,
}

/// What is known of the NAT, kept current.
pub(crate) struct Watch {
    /// As the control plane names them; none until one did.
    names: Option<Vec<String>>,
    servers: Vec<SocketAddr>,
    v4: Side,
    v6: Side,
    report: NatReport,
    changed: bool,
}

impl Watch {
    /// From now on; `first` is the first run of this engine ever, so that nothing was sent before from its port.
    pub(crate) fn new(now: Instant, first: bool) -> Self {
        let side = || Side {
            contacted: if first {
                Contacted::default()
            } else {
                Contacted::since(now)
            },
            ..Side::default()
        };
        Self {
            names: None,
            servers: Vec::new(),
            v4: side(),
            v6: side(),
            report: NatReport::unknown(Reason::Untried),
            changed: false,
        }
    }

    /// The control plane names these servers, or none.
    pub(crate) fn named(&mut self, names: &[String]) {
        let names = names.iter().filter(|name| name.len() <= LONGEST_NAME);
        self.names = Some(names.take(SERVERS).cloned().collect());
    }

    /// The names to be resolved, once that is known.
    pub(crate) fn names(&self) -> Option<&[String]> {
        self.names.as_deref()
    }

    /// The servers to ask, in this order.
    pub(crate) fn servers(&mut self, servers: impl IntoIterator<Item = SocketAddr>) {
        self.servers.clear();
        for at in servers {
            let at = SocketAddr::new(at.ip().to_canonical(), at.port());
            let same_family = self
                .servers
                .iter()
                .filter(|known| known.is_ipv4() == at.is_ipv4());
            if same_family.count() < SERVERS && !self.servers.contains(&at) {
                self.servers.push(at);
            }
        }
    }

    /// The servers for IPv4 that can be asked.
    pub(crate) fn servers_v4(&self) -> &[SocketAddr] {
        self.v4.basis.as_ref().map_or(&[], |basis| &basis.servers)
    }

    /// What is known.
    pub(crate) fn report(&self) -> &NatReport {
        &self.report
    }

    /// Whether what is shown of it changed since this was last asked.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Whether this computer was found mapped to another address or port than before, since this was last asked; to
    /// another address, if the word is `true`.
    pub(crate) fn take_moved(&mut self) -> Option<bool> {
        let moved = [self.v4.moved.take(), self.v6.moved.take()];
        moved.into_iter().flatten().max()
    }

    /// Whether a discovery runs, which has to know what else is sent to.
    pub(crate) fn is_discovering(&self) -> bool {
        let discovers = |side: &Side| matches!(side.stage, Stage::Discovering(_));
        discovers(&self.v4) || discovers(&self.v6)
    }

    /// The mapping may be another: looks now rather than at the next turn.
    pub(crate) fn hurry(&mut self, now: Instant) {
        for side in [&mut self.v4, &mut self.v6] {
            if let Stage::Keeping { keep: Some(keep), .. } = &mut side.stage {
                keep.hurry(now);
            }
        }
    }

    /// The internet is there again: what nobody answered is asked anew.
    pub(crate) fn look_again(&mut self, now: Instant) {
        for side in [&mut self.v4, &mut self.v6] {
            let unanswered = !matches!(side.report.reason, None | Some(Reason::AlternateContacted));
            if unanswered && matches!(side.stage, Stage::Keeping { retry: Some(_), .. }) {
                side.pause = FIRST_RETRY;
                side.discover(now);
            }
        }
    }

    /// This computer is elsewhere: what was found out is of the past, unless it is seen where it was.
    pub(crate) fn anew(&mut self, now: Instant) {
        for side in [&mut self.v4, &mut self.v6] {
            side.pause = FIRST_RETRY;
            if !matches!(side.stage, Stage::Off) {
                side.discover(now);
            }
        }
    }

    /// The socket by which is asked afresh, while it is needed.
    pub(crate) fn fresh_socket(&self) -> Option<HolePlan> {
        let fresh = self.v4.fresh.as_ref();
        fresh.filter(|fresh| fresh.is_asking()).map(|_| HolePlan {
            id: TransportId::FRESH,
            port: None,
            kept: false,
        })
    }

    /// What it is to send now.
    pub(crate) fn ask_afresh(&mut self, now: Instant) -> Option<(SocketAddr, Vec<u8>)> {
        self.v4.fresh.as_mut().and_then(|fresh| fresh.due(now))
    }

    /// A STUN message came to it.
    pub(crate) fn answered_afresh(&mut self, from: SocketAddr, bytes: &[u8]) {
        let side = &mut self.v4;
        let proven = side.fresh.as_ref();
        if let Some(proven) = proven.and_then(|fresh| fresh.answered(&side.report, from, bytes)) {
            side.fresh = None;
            side.report = proven;
            side.known = Some((side.place.0.clone(), side.report.clone()));
            if let Stage::Keeping { retry, .. } = &mut side.stage {
                *retry = None;
            }
        }
    }

    /// A STUN message came from this address.
    pub(crate) fn datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8], place: Place<'_>) {
        let Some(range) = place.party else { return };
        let side = if from.is_ipv4() {
            &mut self.v4
        } else {
            &mut self.v6
        };
        let (contacted, stage) = (&mut side.contacted, &mut side.stage);
        match stage {
            Stage::Off => {}
            Stage::Discovering(discovery) => {
                let mut cx = Surroundings {
                    rng: place.rng,
                    contacted,
                    others: place.others,
                    range,
                    out: place.out,
                };
                discovery.datagram(now, from, bytes, &mut cx);
            }
            Stage::Keeping { keep, .. } => {
                if let Some(mapped) = keep.as_mut().and_then(|keep| keep.moved(now, from, bytes)) {
                    // Another mapping, into which nobody was let yet. Peers wait to be told of it.
                    contacted.clear();
                    side.note_move(mapped);
                    side.report.mapped = Some(mapped);
                    side.place.1 = Some(mapped);
                    side.discover(now);
                }
            }
        }
    }

    /// Lets time pass, and begins anew where what it rests on changed.
    pub(crate) fn wake(&mut self, now: Instant, place: Place<'_>) {
        if place.party.is_none() {
            self.names = None;
            self.servers.clear();
        }
        for (side, is_v4) in [(&mut self.v4, true), (&mut self.v6, false)] {
            let wanted = place.party.map(|range| {
                let usable = |at: &SocketAddr| {
                    at.is_ipv4() == is_v4 && at.port() != 0 && is_reachable_unicast(at.ip(), range)
                };
                let of = |list: &[SocketAddr]| list.iter().copied().filter(usable).collect();
                Basis {
                    servers: of(&self.servers),
                    own: of(&place.own),
                }
            });
            side.rest_on(now, wanted);
            let Some(range) = place.party else { continue };
            side.wake(now, range, place.others, &mut *place.rng, &mut *place.out);
        }
        // Only IPv4 has such a socket.
        if self.v4.fresh.is_none() && matches!(self.v4.stage, Stage::Keeping { .. }) {
            self.v4.fresh = Fresh::new(now, &self.v4.report, || {
                let mut id = TransactionId::default();
                place.rng.fill_bytes(&mut id);
                id
            });
        }
        let report = NatReport {
            v4: self.v4.report.clone(),
            v6: self.v6.report.clone(),
        };
        self.changed |= report.summary() != self.report.summary();
        self.report = report;
    }

    /// When to call [`Watch::wake`] next.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        let fresh = self.v4.fresh.as_ref().and_then(Fresh::next_wake);
        let sides = [&self.v4, &self.v6].into_iter().filter_map(Side::next_wake);
        sides.chain(fresh).min()
    }
}

/// What conclusions rest on.
#[derive(Debug, PartialEq, Eq)]
struct Basis {
    servers: Vec<SocketAddr>,
    own: Vec<SocketAddr>,
}

enum Stage {
    Off,
    Discovering(Box<Discovery>),
    Keeping {
        keep: Option<Keep>,
        /// When to try once more, where something is unknown.
        retry: Option<Instant>,
    },
}

/// One address family.
struct Side {
    basis: Option<Basis>,
    contacted: Contacted,
    stage: Stage,
    report: FamilyReport,
    /// What the report leaves open is asked by a fresh socket, once.
    fresh: Option<Fresh>,
    /// The last one that told the type, and from which addresses.
    known: Option<(Vec<SocketAddr>, FamilyReport)>,
    /// This computer's addresses, and where it was last seen from them.
    place: (Vec<SocketAddr>, Option<SocketAddr>),
    /// Addresses that were this computer's until then.
    left: BTreeMap<SocketAddr, Instant>,
    /// The mapping is another than before; another address, if the word is `true`.
    moved: Option<bool>,
    pause: Duration,
}

impl Default for Side {
    fn default() -> Self {
        Self {
            basis: None,
            contacted: Contacted::default(),
            stage: Stage::Off,
            report: FamilyReport::unknown(Reason::Untried),
            fresh: None,
            known: None,
            place: (Vec::new(), None),
            left: BTreeMap::new(),
            moved: None,
            pause: FIRST_RETRY,
        }
    }
}

impl Side {
    /// This mapping is another than the one before.
    fn note_move(&mut self, mapped: SocketAddr) {
        let displaced = self
            .report
            .mapped
            .is_some_and(|before| before.ip() != mapped.ip());
        self.moved = self.moved.max(Some(displaced));
    }

    /// Begins anew if that is another basis than before.
    fn rest_on(&mut self, now: Instant, wanted: Option<Basis>) {
        if self.basis == wanted {
            return;
        }
        if let Some(own) = wanted.as_ref().map(|basis| &basis.own)
            && *own != self.place.0
        {
            self.settle(now, own.clone());
        }
        self.pause = FIRST_RETRY;
        self.basis = wanted;
        let without = match &self.basis {
            None => Some(Reason::Untried),
            Some(basis) if basis.own.is_empty() => Some(Reason::Untried),
            Some(basis) if basis.servers.is_empty() => Some(Reason::NoServers),
            Some(_) => None,
        };
        match without {
            Some(reason) => {
                self.stage = Stage::Off;
                self.fresh = None;
                self.report = FamilyReport::unknown(reason);
            }
            None => self.discover(now),
        }
    }

    /// From other addresses, nothing of before holds. Of addresses that were this computer's lately the NAT may still
    /// know whom they sent to.
    fn settle(&mut self, now: Instant, own: Vec<SocketAddr>) {
        self.left
            .retain(|_, at| now.saturating_duration_since(*at) < REMEMBERED);
        let before = std::mem::take(&mut self.place.0);
        self.left.extend(before.into_iter().map(|before| (before, now)));
        let known = own.iter().any(|own| self.left.contains_key(own));
        if known || self.contacted.is_partial(now) {
            self.contacted = Contacted::since(now);
        } else {
            self.contacted.clear();
        }
        self.report = FamilyReport::unknown(Reason::Untried);
        self.place = (own, None);
    }

    fn discover(&mut self, now: Instant) {
        self.fresh = None;
        if let Some(Basis { servers, own }) = &self.basis {
            let discovery = Discovery::new(now, servers, own, self.place.1);
            self.stage = Stage::Discovering(Box::new(discovery));
        }
    }

    fn wake(
        &mut self,
        now: Instant,
        range: PartyRange,
        others: &BTreeSet<IpAddr>,
        rng: &mut ChaCha20Rng,
        out: &mut VecDeque<(SocketAddr, Vec<u8>)>,
    ) {
        if let Stage::Keeping { keep, retry } = &mut self.stage {
            let mut cx = Surroundings {
                rng: &mut *rng,
                contacted: &mut self.contacted,
                others,
                range,
                out: &mut *out,
            };
            let lost = keep.as_mut().is_some_and(|keep| !keep.wake(now, &mut cx));
            if lost || retry.is_some_and(|at| now >= at) {
                self.discover(now);
            }
        }
        if let Stage::Discovering(discovery) = &mut self.stage {
            let mut cx = Surroundings {
                rng,
                contacted: &mut self.contacted,
                others,
                range,
                out,
            };
            discovery.wake(now, &mut cx);
            let (new, done) = (discovery.report(), discovery.is_done());
            self.learn(new);
            if done {
                self.finish(now);
            }
        }
    }

    /// Takes over what a discovery knows so far. What was known before stays until it knows better. Two servers may see
    /// two ports, so that only another address is a move.
    fn learn(&mut self, new: FamilyReport) {
        if let (Some(before), Some(mapped)) = (self.report.mapped, new.mapped)
            && before.ip() != mapped.ip()
        {
            self.note_move(mapped);
        }
        self.place.1 = new.mapped.or(self.place.1);
        let old = &self.report;
        let here = self.known.as_ref().filter(|(own, _)| *own == self.place.0);
        let known = here.map(|(_, known)| known);
        let same = |known: &&FamilyReport| known.mapped == new.mapped && known.mapping == new.mapping;
        match (new.reason, known.filter(same)) {
            // It began anew without a sign that anything is different.
            (Some(Reason::InProgress), _)
                if old.mapped.is_some() && (new.mapped.is_none() || new.mapped == old.mapped) => {}
            // Nothing may have been known in between, as while the line was cut.
            (Some(Reason::AlternateContacted), Some(known)) => {
                let mut evidence = new.evidence;
                evidence.push(Evidence::Earlier);
                self.report = FamilyReport {
                    evidence,
                    ..known.clone()
                };
            }
            _ => self.report = new,
        }
        if self.report.kind != NatType::Unknown {
            self.known = Some((self.place.0.clone(), self.report.clone()));
        }
    }

    fn finish(&mut self, now: Instant) {
        let retry = self.report.reason.map(|reason| match reason {
            // Its filter has to close first, for which nothing may be sent there.
            Reason::AlternateContacted => REMEMBERED,
            Reason::Changed if self.pause == FIRST_RETRY => CHANGED_RETRY,
            _ => self.pause,
        });
        self.pause = match retry {
            Some(_) => (self.pause * 2).min(SLOWEST_RETRY),
            None => FIRST_RETRY,
        };
        self.stage = Stage::Keeping {
            keep: self.keep(now),
            retry: retry.map(|pause| now + pause),
        };
    }

    /// By the fastest of the servers given; their other addresses have to stay unasked.
    fn keep(&self, now: Instant) -> Option<Keep> {
        let given = |at: &SocketAddr| {
            self.basis
                .as_ref()
                .is_some_and(|basis| basis.servers.contains(at))
        };
        let answered = self.report.evidence.iter().filter_map(|evidence| match evidence {
            Evidence::Asked {
                server,
                saw: Some((mapped, rtt)),
            } if given(server) => Some((*rtt, *server, *mapped)),
            Evidence::Asked { .. } | Evidence::Filter { .. } | Evidence::Fresh { .. } | Evidence::Earlier => {
                None
            }
        });
        let (_, server, mapped) = answered.min()?;
        Some(Keep {
            server,
            mapped,
            pending: None,
            hurried: false,
            next: self.contacted.last(server).unwrap_or(now) + KEEP,
        })
    }

    fn next_wake(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Off => None,
            Stage::Discovering(discovery) => discovery.next_wake(),
            Stage::Keeping { keep, retry } => keep.iter().map(Keep::next_wake).chain(*retry).min(),
        }
    }
}

/// A mapping that is kept alive.
#[derive(Debug)]
struct Keep {
    server: SocketAddr,
    mapped: SocketAddr,
    /// The request on its way.
    pending: Option<Pending>,
    /// The next request is one that somebody waits for.
    hurried: bool,
    next: Instant,
}

impl Keep {
    /// Takes in what may be the server's answer; the mapping it tells of, if that is another.
    fn moved(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> Option<SocketAddr> {
        let awaited = self.pending.as_ref().map(|pending| pending.id);
        if from != self.server || awaited.is_none() || awaited != stun::transaction_of(bytes) {
            return None;
        }
        let mapped = stun::answer(bytes)?.mapped?;
        self.pending = None;
        self.next = now + KEEP;
        (mapped != self.mapped).then_some(mapped)
    }

    /// Asks at once, unless it just did.
    fn hurry(&mut self, now: Instant) {
        self.hurried = true;
        self.next = now;
    }

    /// Sends what is due; `false` when its server answers no more.
    fn wake(&mut self, now: Instant, cx: &mut Surroundings<'_>) -> bool {
        match &mut self.pending {
            Some(pending) => pending.wake(now, self.server, cx) != Turn::GaveUp,
            None => {
                if now >= self.next {
                    let hurried = std::mem::take(&mut self.hurried);
                    let ask = if hurried { Pending::ask_soon } else { Pending::ask };
                    self.pending = Some(ask(now, self.server, cx));
                }
                true
            }
        }
    }

    fn next_wake(&self) -> Instant {
        self.pending.as_ref().map_or(self.next, Pending::next_wake)
    }
}
