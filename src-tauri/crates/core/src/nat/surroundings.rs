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

    /// When something was sent there last.
    pub(super) fn last(&self, to: SocketAddr) -> Option<Instant> {
        self.0.get(&to).copied()
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
