//! What a peer works with: keys, counters, randomness, the network, and where outputs go.

use crate::coordinator::Tier;
use crate::io::Output;
use crate::keys::{MemberKeys, PartyKeys};
use crate::path::Path;
use crate::punch::{LOW, Punch};
use crate::records::{Candidate, CandidateKind};
use crate::relays::{RelayUp, Relays};
use lanrage_proto::Seq;
use lanrage_proto::doctor::PairReason;
use lanrage_proto::server_url::{is_near, is_reachable_unicast};
use rand_chacha::ChaCha20Rng;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What a peer needs of its member to act: keys, counters, randomness and a place for outputs.
pub(crate) struct Context<'a> {
    pub(crate) party: &'a PartyKeys,
    pub(crate) me: &'a MemberKeys,
    /// The number of this engine's run.
    pub(crate) session: u64,
    /// Hash of the signed records this member holds; 0 when it can't tell.
    pub(crate) view: u64,
    /// There is an adapter.
    pub(crate) ready: bool,
    pub(crate) seq: &'a mut Seq,
    pub(crate) rng: &'a mut ChaCha20Rng,
    pub(crate) network: &'a crate::io::Network,
    pub(crate) relays: &'a Relays,
    pub(crate) punch: &'a Punch,
    pub(crate) range: lanrage_proto::PartyRange,
    pub(crate) out: &'a mut VecDeque<Output>,
}

impl Context<'_> {
    /// The ways to where a peer says it can be reached, without what can't be or must not be dialled: by the primary
    /// sockets, and by our relays to what a relay can reach.
    pub(crate) fn usable(&self, candidates: &[Candidate]) -> Vec<(Path, Tier)> {
        let relays = self.relays.up();
        let mut ways = Vec::new();
        for candidate in candidates {
            let at = candidate.at;
            if self.may_send_to(at) && !self.relays.is_relayed(at) {
                ways.push((Path::primary(at), self.tier_of_candidate(candidate)));
            }
            let same_family = |up: &RelayUp| up.relayed.is_ipv4() == at.is_ipv4();
            for (transport, up) in relays.iter().filter(|(_, up)| same_family(up)) {
                if self.relays.is_relayed(at) || !relays_to(*up, candidate) {
                    continue;
                }
                let tier = match candidate.kind {
                    CandidateKind::Relayed => Tier::TwoRelays,
                    CandidateKind::Host
                    | CandidateKind::Guess
                    | CandidateKind::Reflexive
                    | CandidateKind::Mapped => Tier::Relay,
                };
                ways.push((
                    Path {
                        transport: *transport,
                        remote: at,
                    },
                    tier,
                ));
            }
        }
        ways
    }

    fn tier_of_candidate(&self, candidate: &Candidate) -> Tier {
        match candidate.kind {
            CandidateKind::Relayed => Tier::Relay,
            CandidateKind::Host | CandidateKind::Guess | CandidateKind::Reflexive | CandidateKind::Mapped => {
                self.tier_of(candidate.at.ip())
            }
        }
    }

    pub(crate) fn may_send_to(&self, at: SocketAddr) -> bool {
        self.refusal(at).is_none()
    }

    /// Why the primary sockets do not send there.
    fn refusal(&self, at: SocketAddr) -> Option<PairReason> {
        let ip = at.ip().to_canonical();
        let own = || self.network.addresses.iter().map(|(own, _)| *own);
        if !is_reachable_unicast(ip, self.range) {
            Some(PairReason::Unroutable)
        } else if at.port() < 1024 {
            Some(PairReason::ServicePort)
        } else if at.port() == self.network.port && own().any(|own| own == ip) {
            Some(PairReason::Ourselves)
        } else if !own().any(|own| own.is_ipv4() == ip.is_ipv4()) {
            Some(PairReason::NoFamily)
        } else {
            None
        }
    }

    /// The ways that [`Context::usable`] leaves out, each with the rule.
    pub(crate) fn refused(&self, candidates: &[Candidate]) -> Vec<(Path, PairReason)> {
        let relays = self.relays.up();
        let mut refused = Vec::new();
        for candidate in candidates {
            let at = candidate.at;
            if self.relays.is_relayed(at) {
                refused.push((Path::primary(at), PairReason::OwnRelay));
                continue;
            }
            refused.extend(self.refusal(at).map(|reason| (Path::primary(at), reason)));
            for (transport, up) in &relays {
                let reason = if up.relayed.is_ipv4() != at.is_ipv4() {
                    PairReason::RelayFamily
                } else if !relays_to(*up, candidate) {
                    PairReason::RelayIntoHome
                } else {
                    continue;
                };
                let path = Path {
                    transport: *transport,
                    remote: at,
                };
                refused.push((path, reason));
            }
        }
        refused
    }

    /// Whether a path to where a peer was heard from may be tried. Of ports below 1024 those are that holes lead to, at
    /// the address where the peer signed that its NAT shows it (`public`): a router that forgot a hole may have given it
    /// another such port, and an engine that began anew knows of none.
    pub(crate) fn may_answer(&self, public: Option<Ipv4Addr>, at: SocketAddr) -> bool {
        let by_hole = || {
            let signed = public.is_some_and(|public| IpAddr::V4(public) == at.ip() && !is_near(at.ip()));
            self.punch.is_enabled() && signed && LOW.contains(&at.port())
        };
        match self.refusal(at) {
            None => true,
            Some(PairReason::ServicePort) => by_hole(),
            Some(_) => false,
        }
    }

    /// Within one of this computer's networks, or across a router.
    pub(crate) fn tier_of(&self, ip: IpAddr) -> Tier {
        let near = self
            .network
            .addresses
            .iter()
            .any(|(own, prefix)| same_network(*own, ip, *prefix));
        if near { Tier::Lan } else { Tier::Direct }
    }
}

/// Whether a relay can be expected to reach a candidate: addresses of somebody's home are refused by any public one.
fn relays_to(relay: RelayUp, candidate: &Candidate) -> bool {
    match candidate.kind {
        CandidateKind::Relayed | CandidateKind::Guess | CandidateKind::Reflexive | CandidateKind::Mapped => {
            true
        }
        CandidateKind::Host => !is_near(candidate.at.ip()) || is_near(relay.relayed.ip()),
    }
}

pub(crate) fn same_network(a: IpAddr, b: IpAddr, prefix: u8) -> bool {
    let differ = |a: u128, b: u128, width: u32| {
        let host = width.saturating_sub(u32::from(prefix));
        // A prefix of zero would make everything near.
        prefix == 0 || (a ^ b) >> host != 0
    };
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => !differ(u32::from(a).into(), u32::from(b).into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => !differ(a.into(), b.into(), 128),
        _ => false,
    }
}
