//! When to discover: on entering a party, when this computer's addresses or the servers change, when the mapping
//! turns out to be another or no longer answers. In between, one request to one server per family and interval keeps
//! the mapping alive and sees it change.

use super::discovery::{REMEMBERED, Surroundings};
use super::request::{Pending, Turn};
use super::{Contacted, Discovery, Evidence, FamilyReport, NatReport, NatType, Reason};
use crate::stun;
use lanrage_proto::PartyRange;
use lanrage_proto::server_url::is_reachable_unicast;
use rand_chacha::ChaCha20Rng;
use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Mappings live for 30 s at least where nothing is sent (in practice; RFC 4787 REQ-5 wants two minutes).
const KEEP: Duration = Duration::from_secs(25);
/// What is unknown is tried again after this, doubled each time …
const FIRST_RETRY: Duration = Duration::from_secs(30);
/// … up to this.
const SLOWEST_RETRY: Duration = REMEMBERED;
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

/// A mapping that is kept alive.
#[derive(Debug)]
struct Keep {
    server: SocketAddr,
    mapped: SocketAddr,
    /// The request on its way.
    pending: Option<Pending>,
    next: Instant,
}

enum Stage {
    Off,
    Discovering(Box<Discovery>),
    Keeping {
        keeps: Vec<Keep>,
        retry: Option<Instant>,
    },
}

/// Servers, and own addresses.
type Basis = (Vec<SocketAddr>, Vec<SocketAddr>);

impl Stage {
    fn discover(now: Instant, servers: &[SocketAddr], own: &[SocketAddr], earlier: &NatReport) -> Self {
        Stage::Discovering(Box::new(Discovery::new(now, servers, own, Some(earlier))))
    }
}

/// What is known of the NAT, kept current.
pub(crate) struct Watch {
    /// As the control plane names them; none until one did.
    names: Option<Vec<String>>,
    servers: Vec<SocketAddr>,
    /// The servers and own addresses that the stage rests on.
    basis: Option<Basis>,
    contacted: Contacted,
    stage: Stage,
    report: NatReport,
    pause: Duration,
    changed: bool,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            names: None,
            servers: Vec::new(),
            basis: None,
            contacted: Contacted::default(),
            stage: Stage::Off,
            report: NatReport::unknown(Reason::Untried),
            pause: FIRST_RETRY,
            changed: false,
        }
    }
}

impl Watch {
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
            if at.port() != 0 && same_family.count() < SERVERS && !self.servers.contains(&at) {
                self.servers.push(at);
            }
        }
    }

    /// What is known.
    pub(crate) fn report(&self) -> &NatReport {
        &self.report
    }

    /// Whether what is shown of it changed since this was last asked.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Whether a discovery runs, which has to know what else is sent to.
    pub(crate) fn is_discovering(&self) -> bool {
        matches!(self.stage, Stage::Discovering(_))
    }

    /// A STUN message came from this address.
    pub(crate) fn datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8], place: Place<'_>) {
        match (&mut self.stage, place.party) {
            (Stage::Off, _) | (_, None) => {}
            (Stage::Discovering(discovery), Some(range)) => {
                let mut cx = Surroundings {
                    rng: place.rng,
                    contacted: &mut self.contacted,
                    others: place.others,
                    range,
                    out: place.out,
                };
                discovery.datagram(now, from, bytes, &mut cx);
            }
            (Stage::Keeping { keeps, .. }, Some(_)) => {
                let id = stun::transaction_of(bytes);
                let awaited =
                    |keep: &&mut Keep| id.is_some() && id == keep.pending.as_ref().map(|pending| pending.id);
                let Some(keep) = keeps.iter_mut().filter(|keep| keep.server == from).find(awaited) else {
                    return;
                };
                let Some(mapped) = stun::answer(bytes).and_then(|answer| answer.mapped) else {
                    return;
                };
                keep.pending = None;
                keep.next = now + KEEP;
                if keep.mapped != mapped
                    && let Some((servers, own)) = &self.basis
                {
                    // Another mapping, into which nobody was let yet.
                    self.contacted.clear();
                    self.stage = Stage::discover(now, servers, own, &self.report);
                }
            }
        }
    }

    /// Lets time pass, and begins anew where what it rests on changed.
    pub(crate) fn wake(&mut self, now: Instant, place: Place<'_>) {
        let wanted = place.party.map(|range| {
            let usable = |at: &SocketAddr| at.port() != 0 && is_reachable_unicast(at.ip(), range);
            let of = |list: &[SocketAddr]| list.iter().copied().filter(usable).collect();
            (of(&self.servers), of(&place.own))
        });
        if self.basis != wanted {
            self.begin(now, wanted);
        }
        let Some(range) = place.party else { return };
        let mut cx = Surroundings {
            rng: place.rng,
            contacted: &mut self.contacted,
            others: place.others,
            range,
            out: place.out,
        };
        if let Stage::Keeping { keeps, retry } = &mut self.stage {
            let mut anew = retry.is_some_and(|at| now >= at);
            for keep in keeps {
                anew |= !keep.wake(now, &mut cx);
            }
            if anew && let Some((servers, own)) = &self.basis {
                self.stage = Stage::discover(now, servers, own, &self.report);
            }
        }
        if let Stage::Discovering(discovery) = &mut self.stage {
            discovery.wake(now, &mut cx);
            self.look();
            self.finish(now);
        }
    }

    /// When to call [`Watch::wake`] next.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Off => None,
            Stage::Discovering(discovery) => discovery.next_wake(),
            Stage::Keeping { keeps, retry } => keeps.iter().map(Keep::next_wake).chain(*retry).min(),
        }
    }

    fn begin(&mut self, now: Instant, wanted: Option<Basis>) {
        let own = |basis: &Option<Basis>| basis.as_ref().map(|(_, own)| own.clone()).unwrap_or_default();
        if own(&self.basis) != own(&wanted) {
            // From other addresses, nothing of before holds.
            self.contacted.clear();
            self.show(NatReport::unknown(Reason::Untried));
        }
        self.pause = FIRST_RETRY;
        self.stage = Stage::Off;
        self.basis = wanted;
        match &self.basis {
            None => {
                self.show(NatReport::unknown(Reason::Untried));
                self.names = None;
                self.servers.clear();
            }
            Some((servers, _)) if servers.is_empty() => self.show(NatReport::unknown(Reason::NoServers)),
            Some((servers, own)) => self.stage = Stage::discover(now, servers, own, &self.report),
        }
    }

    fn show(&mut self, report: NatReport) {
        self.changed |= report.summary() != self.report.summary();
        self.report = report;
    }

    /// Takes over what a discovery knows so far. What was known before stays until it knows better.
    fn look(&mut self) {
        let Stage::Discovering(discovery) = &self.stage else {
            return;
        };
        let new = discovery.report();
        let of = |new: FamilyReport, old: &FamilyReport| {
            if new.reason == Some(Reason::InProgress) && (new.mapped.is_none() || new.mapped == old.mapped) {
                // It began anew without a sign that anything is different.
                match old.mapped {
                    Some(_) => old.clone(),
                    None => new,
                }
            } else if new.reason == Some(Reason::AlternateContacted) && is_same(&new, old) {
                let mut evidence = new.evidence;
                evidence.push(Evidence::Earlier);
                FamilyReport {
                    evidence,
                    ..old.clone()
                }
            } else {
                new
            }
        };
        let report = NatReport {
            v4: of(new.v4, &self.report.v4),
            v6: of(new.v6, &self.report.v6),
        };
        self.show(report);
    }

    fn finish(&mut self, now: Instant) {
        let Stage::Discovering(discovery) = &self.stage else {
            return;
        };
        if !discovery.is_done() {
            return;
        }
        let keeps: Vec<Keep> = [&self.report.v4, &self.report.v6]
            .into_iter()
            .filter_map(|family| Keep::of(now, family, &self.servers))
            .collect();
        let reasons = [self.report.v4.reason, self.report.v6.reason];
        let retry = reasons
            .into_iter()
            .flatten()
            .filter(|reason| *reason != Reason::Untried)
            .map(|reason| {
                match reason {
                    // Its filter has to close first, for which nothing may be sent there.
                    Reason::AlternateContacted => REMEMBERED,
                    _ => self.pause,
                }
            });
        let retry = retry.min().map(|pause| now + pause);
        if retry.is_some() {
            self.pause = (self.pause * 2).min(SLOWEST_RETRY);
        }
        self.stage = Stage::Keeping { keeps, retry };
    }
}

/// Whether what was found earlier still holds where it can't be tested anew.
fn is_same(new: &FamilyReport, old: &FamilyReport) -> bool {
    old.kind != NatType::Unknown && old.mapped == new.mapped && old.mapping == new.mapping
}

impl Keep {
    /// Of the fastest of the servers given; their other addresses have to stay unasked.
    fn of(now: Instant, family: &FamilyReport, servers: &[SocketAddr]) -> Option<Self> {
        let answered = family.evidence.iter().filter_map(|evidence| match evidence {
            Evidence::Asked {
                server,
                saw: Some((mapped, rtt)),
            } if servers.contains(server) => Some((*rtt, *server, *mapped)),
            Evidence::Asked { .. } | Evidence::Filter { .. } | Evidence::Earlier => None,
        });
        let (_, server, mapped) = answered.min()?;
        Some(Self {
            server,
            mapped,
            pending: None,
            next: now + KEEP,
        })
    }

    /// Sends what is due; `false` when its server answers no more.
    fn wake(&mut self, now: Instant, cx: &mut Surroundings<'_>) -> bool {
        match &mut self.pending {
            Some(pending) => pending.wake(now, self.server, cx) != Turn::GaveUp,
            None => {
                if now >= self.next {
                    self.pending = Some(Pending::ask(now, self.server, cx));
                }
                true
            }
        }
    }

    fn next_wake(&self) -> Instant {
        self.pending.as_ref().map_or(self.next, Pending::next_wake)
    }
}
