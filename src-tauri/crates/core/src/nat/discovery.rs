//! One discovery: both address families side by side, and the requests they send.

use super::family::Family;
use super::{NatReport, Reason};
use crate::stun::{self, Change, TransactionId};
use lanrage_proto::PartyRange;
use lanrage_proto::server_url::is_reachable_unicast;
use rand_chacha::ChaCha20Rng;
use rand_core::RngCore;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// NATs let an address in for some minutes after it was sent to (RFC 4787 REQ-5: at least two). Nothing is concluded
/// from its answers before this has passed.
pub(super) const REMEMBERED: Duration = Duration::from_secs(10 * 60);
/// Addresses remembered at most; the oldest goes first.
const MOST_REMEMBERED: usize = 64;

/// Which addresses STUN requests went to lately from this computer's primary sockets.
#[derive(Debug, Default)]
pub struct Contacted(BTreeMap<SocketAddr, Instant>);

impl Contacted {
    pub(super) fn note(&mut self, now: Instant, to: SocketAddr) {
        self.0
            .retain(|_, at| now.saturating_duration_since(*at) < REMEMBERED);
        if self.0.len() >= MOST_REMEMBERED {
            let oldest = self.0.iter().min_by_key(|(_, at)| **at).map(|(to, _)| *to);
            oldest.and_then(|oldest| self.0.remove(&oldest));
        }
        self.0.insert(to, now);
    }

    /// Whether anything was sent to any port of this address.
    pub(super) fn knows_ip(&self, now: Instant, ip: IpAddr) -> bool {
        self.0
            .iter()
            .any(|(to, at)| to.ip() == ip && now.saturating_duration_since(*at) < REMEMBERED)
    }

    pub(super) fn knows(&self, now: Instant, to: SocketAddr) -> bool {
        self.0
            .get(&to)
            .is_some_and(|at| now.saturating_duration_since(*at) < REMEMBERED)
    }

    /// What was sent before this moment belongs to a mapping that is gone.
    pub(super) fn forget_before(&mut self, moment: Instant) {
        self.0.retain(|_, at| *at >= moment);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// What a discovery needs of its surroundings to act.
pub struct Surroundings<'a> {
    /// For transaction numbers.
    pub rng: &'a mut ChaCha20Rng,
    /// What was asked lately.
    pub contacted: &'a mut Contacted,
    /// Addresses that anything else is sent to from the same sockets.
    pub others: &'a BTreeSet<IpAddr>,
    /// The party's addresses, which no server has.
    pub range: PartyRange,
    /// Where requests go: to be sent from the primary socket of the address's family.
    pub out: &'a mut VecDeque<(SocketAddr, Vec<u8>)>,
}

impl Surroundings<'_> {
    pub(super) fn draw(&mut self) -> TransactionId {
        let mut id = TransactionId::default();
        self.rng.fill_bytes(&mut id);
        id
    }

    pub(super) fn ask(&mut self, now: Instant, to: SocketAddr, id: TransactionId, change: Change) {
        self.contacted.note(now, to);
        self.out.push_back((to, stun::request(id, change)));
    }

    /// Whether nothing was sent there, so that what comes from there comes unasked.
    pub(super) fn is_fresh(&self, now: Instant, ip: IpAddr) -> bool {
        !self.contacted.knows_ip(now, ip) && !self.others.contains(&ip)
    }

    /// Whether a server may name this as its other address. Ports of well-known services are none to be asked on
    /// somebody's word.
    pub(super) fn is_askable(&self, at: SocketAddr) -> bool {
        at.port() >= 1024 && is_reachable_unicast(at.ip(), self.range)
    }
}

/// Finding out what stands between this computer and the internet.
pub struct Discovery {
    v4: Option<Family>,
    v6: Option<Family>,
}

impl Discovery {
    /// Asks these servers, in this order, as far as they are needed. `own` are this computer's addresses with the port
    /// of the primary sockets; a family without one is left out. `earlier` is what was known before: a mapping that
    /// is another now forgets who was sent to by the one before.
    pub fn new(
        now: Instant,
        servers: &[SocketAddr],
        own: &[SocketAddr],
        earlier: Option<&NatReport>,
    ) -> Self {
        let family = |is_v4: bool| {
            let of = |list: &[SocketAddr]| -> Vec<SocketAddr> {
                list.iter().copied().filter(|at| at.is_ipv4() == is_v4).collect()
            };
            let (servers, own) = (of(servers), of(own));
            let earlier = earlier.and_then(|report| if is_v4 { report.v4.mapped } else { report.v6.mapped });
            (!servers.is_empty() && !own.is_empty()).then(|| Family::new(now, servers, own, earlier))
        };
        Self {
            v4: family(true),
            v6: family(false),
        }
    }

    fn families(&self) -> impl Iterator<Item = &Family> {
        [&self.v4, &self.v6].into_iter().flatten()
    }

    fn families_mut(&mut self) -> impl Iterator<Item = &mut Family> {
        [&mut self.v4, &mut self.v6].into_iter().flatten()
    }

    /// Lets time pass: what is due goes out.
    pub fn wake(&mut self, now: Instant, cx: &mut Surroundings<'_>) {
        for family in self.families_mut() {
            family.wake(now, cx);
        }
    }

    /// When to call [`Discovery::wake`] next; none when it is done.
    pub fn next_wake(&self) -> Option<Instant> {
        self.families().filter_map(Family::next_wake).min()
    }

    /// A STUN message came from this address. Whether it answered one of the requests.
    pub fn datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: &[u8],
        cx: &mut Surroundings<'_>,
    ) -> bool {
        let Some(id) = stun::transaction_of(bytes) else {
            return false;
        };
        let Some(family) = self.families_mut().find(|family| family.owns(&id)) else {
            return false;
        };
        if let Some(answer) = stun::answer(bytes) {
            family.answered(now, from, id, &answer, cx);
            family.wake(now, cx);
        }
        true
    }

    /// Whether there is nothing more to find out.
    pub fn is_done(&self) -> bool {
        self.families().all(Family::is_done)
    }

    /// What is known so far.
    pub fn report(&self) -> NatReport {
        let of = |family: &Option<Family>| {
            family
                .as_ref()
                .map_or_else(|| super::FamilyReport::unknown(Reason::Untried), Family::report)
        };
        NatReport {
            v4: of(&self.v4),
            v6: of(&self.v6),
        }
    }
}
