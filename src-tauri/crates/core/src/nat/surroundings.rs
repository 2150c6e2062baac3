//! What a discovery works with: chance, time's traces, and a way out.

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
pub struct Contacted {
    sent: BTreeMap<SocketAddr, Instant>,
    /// Since when all of them are known: what an earlier run of the engine sent from the same port, the NAT may remember.
    since: Option<Instant>,
}

impl Contacted {
    /// What was sent before this moment is not known.
    pub(super) fn since(moment: Instant) -> Self {
        Self {
            sent: BTreeMap::new(),
            since: Some(moment),
        }
    }

    pub(super) fn note(&mut self, now: Instant, to: SocketAddr) {
        self.sent
            .retain(|_, at| now.saturating_duration_since(*at) < REMEMBERED);
        if self.sent.len() >= MOST_REMEMBERED {
            let oldest = self.sent.iter().min_by_key(|(_, at)| **at).map(|(to, _)| *to);
            oldest.and_then(|oldest| self.sent.remove(&oldest));
        }
        self.sent.insert(to, now);
    }

    /// Whether a NAT may let in what this engine does not know to have been asked.
    pub(super) fn is_partial(&self, now: Instant) -> bool {
        self.since
            .is_some_and(|since| now.saturating_duration_since(since) < REMEMBERED)
    }

    /// Whether anything was sent to any port of this address.
    pub(super) fn knows_ip(&self, now: Instant, ip: IpAddr) -> bool {
        self.sent
            .iter()
            .any(|(to, at)| to.ip() == ip && now.saturating_duration_since(*at) < REMEMBERED)
    }

    pub(super) fn knows(&self, now: Instant, to: SocketAddr) -> bool {
        self.sent
            .get(&to)
            .is_some_and(|at| now.saturating_duration_since(*at) < REMEMBERED)
    }

    /// What was sent before this moment belongs to a mapping that is gone.
    pub(super) fn forget_before(&mut self, moment: Instant) {
        self.sent.retain(|_, at| *at >= moment);
        self.since = None;
    }

    /// When something was sent there last.
    pub(super) fn last(&self, to: SocketAddr) -> Option<Instant> {
        self.sent.get(&to).copied()
    }

    /// Nobody was let in: this is another mapping.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
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
