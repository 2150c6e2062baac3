//! A member's part of what `doctor` reports.

use super::Member;
use super::outside::Outside;
use crate::connection::Peer;
use crate::context::Context;
use crate::coordinator::{PathFacts, Tier};
use crate::doctor::{Diagnosis, family_report, udp_state};
use crate::io::Home;
use crate::latency::milliseconds;
use crate::nat::{NatType, predict};
use crate::party::{Active, Party, Reach};
use crate::path::{Path, TransportId};
use crate::records::CandidateKind;
use lanrage_proto::doctor::{
    ControlReport, Expected, HostingReport, PairBy, PairKind, PairReport, PairState, PeerReport, RelayReport,
    UdpState, WayReport, WayState,
};
use lanrage_proto::server_url::is_near;
use lanrage_proto::turn_uri::TurnTransport;
use std::net::IpAddr;

impl Member {
    /// All that is known of the ways to friends. It changes nothing, and asks nobody.
    pub fn doctor(&mut self) -> Diagnosis {
        let control = self.control_report();
        let outside = self.home_report();
        let own: Vec<IpAddr> = self.desk.network.addresses.iter().map(|(own, _)| *own).collect();
        let nat = self.desk.nat.report();
        let ipv4 = family_report(&nat.v4, &own, true);
        let ipv6 = family_report(&nat.v6, &own, false);
        let ours = nat.leading().kind;
        let holes = self.desk.punch.is_enabled() && nat.v4.mapped.is_some();
        let relays = self.desk.relays.reports();
        let mut peers = self.peer_reports(ours, holes);
        let used = |relay: &RelayReport, by: fn(TurnTransport) -> bool, state| {
            let way = |way: &WayReport| way.state == state && by(way.transport);
            relay.ways.iter().any(way)
        };
        let is_udp = |transport: TurnTransport| transport == TurnTransport::Udp;
        let is_stream =
            |transport: TurnTransport| matches!(transport, TurnTransport::Tcp | TurnTransport::Tls);
        let relay_by_udp = relays.iter().any(|relay| used(relay, is_udp, WayState::Used));
        let relay_failed = relays.iter().any(|relay| used(relay, is_udp, WayState::Failed));
        let relay_by_tcp = relays.iter().any(|relay| used(relay, is_stream, WayState::Used));
        let heard = relay_by_udp || self.hears_peers_from_afar();
        let tcp = relay_by_tcp || self.home_answers_from_afar();
        let udp = udp_state(&ipv4, &ipv6, heard, relay_failed, tcp);
        if udp == UdpState::Blocked {
            // Whatever the NATs would let through.
            peers
                .iter_mut()
                .for_each(|peer| peer.expected = Expected::Relayed);
        }
        Diagnosis {
            control,
            udp,
            ipv4,
            ipv6,
            relays,
            hosting: outside,
            peers,
        }
    }

    fn control_report(&self) -> ControlReport {
        let set = || self.config.server.as_ref().map(ToString::to_string);
        match &self.party {
            Party::Active(active) => ControlReport {
                at: match (&active.reach, &active.home) {
                    (Reach::Home(link), Home::Founder(_) | Home::Server(_)) => Some(link.url().to_string()),
                    (_, Home::Server(url)) => Some(url.to_string()),
                    (_, Home::Here | Home::Founder(_)) => None,
                },
                answers: match &active.reach {
                    Reach::Home(_) => Some(true),
                    Reach::Seeking(_) | Reach::Superseded => Some(false),
                    Reach::Starting => None,
                },
            },
            Party::Idle | Party::Creating(_) | Party::Joining(_) | Party::Leaving(_) => ControlReport {
                at: set(),
                answers: None,
            },
        }
    }

    fn home_report(&self) -> Option<HostingReport> {
        let Party::Active(active) = &self.party else {
            return None;
        };
        (active.home == Home::Here).then(|| {
            let Outside { reachable, via } = self.outside(active);
            HostingReport {
                reachable,
                via: via.iter().map(ToString::to_string).collect(),
            }
        })
    }

    /// Whether the home answers on a connection that leaves the local network.
    fn home_answers_from_afar(&self) -> bool {
        let Party::Active(active) = &self.party else {
            return false;
        };
        match (&active.reach, &active.home) {
            (Reach::Home(link), Home::Founder(_) | Home::Server(_)) => {
                link.url().address().is_none_or(|address| !is_near(address))
            }
            _ => false,
        }
    }

    /// Whether a peer answered by UDP from beyond the local network.
    fn hears_peers_from_afar(&self) -> bool {
        let Party::Active(active) = &self.party else {
            return false;
        };
        let afar = |way: &PathFacts| {
            !way.path.transport.is_relay()
                && way.answers > 0
                && way.tier != Tier::Lan
                && !is_near(way.path.remote.ip())
        };
        active.roster.peers().any(|peer| peer.ways().iter().any(afar))
    }

    fn peer_reports(&mut self, ours: NatType, holes: bool) -> Vec<PeerReport> {
        let Party::Active(active) = &self.party else {
            return Vec::new();
        };
        let view = active.view();
        let cx = self.desk.context(&active.ident, active.opened.range, view);
        let mut peers: Vec<&Peer> = active.roster.peers().collect();
        peers.sort_by_key(|peer| peer.slot());
        let of = |peer: &&Peer| peer_report(peer, active, (ours, holes), &cx);
        peers.iter().map(of).collect()
    }
}

/// `ours` is the own NAT, and whether holes are made through it.
fn peer_report(peer: &Peer, active: &Active, ours: (NatType, bool), cx: &Context<'_>) -> PeerReport {
    let (ours, holes) = ours;
    let holes = holes && peer.record.holes && peer.mapped_v4().is_some();
    let tried = peer.ways();
    let refused = cx.refused(&peer.record.candidates);
    let mut pairs: Vec<PairReport> = tried.iter().map(|way| tried_pair(peer, way, cx)).collect();
    let left_out = refused
        .into_iter()
        .filter(|(path, _)| tried.iter().all(|way| way.path != *path));
    pairs.extend(left_out.map(|(path, reason)| PairReport {
        by: by(path.transport),
        relay: relay(path.transport, cx),
        remote: Some(path.remote.to_string()),
        kind: announced(peer, path).unwrap_or(PairKind::Host),
        state: PairState::Refused,
        reason: Some(reason),
        probes: 0,
        answers: 0,
        rtt_ms: None,
    }));
    PeerReport {
        name: peer.record.name.to_string(),
        address: active.opened.range.address(peer.slot()).to_string(),
        state: peer.shown(),
        path: peer.path_kind(),
        rtt_ms: peer.latency().rtt().map(milliseconds),
        nat: peer.record.nat,
        expected: predict(ours, peer.record.nat, holes).into(),
        pairs,
    }
}

fn tried_pair(peer: &Peer, way: &PathFacts, cx: &Context<'_>) -> PairReport {
    let kind = announced(peer, way.path).unwrap_or(match way.tier {
        _ if way.is_unannounced => PairKind::PeerReflexive,
        // Named in a call that is newer than the record.
        Tier::Lan => PairKind::Host,
        Tier::Direct => PairKind::Reflexive,
        Tier::Relay | Tier::TwoRelays => PairKind::Relayed,
    });
    PairReport {
        by: by(way.path.transport),
        relay: relay(way.path.transport, cx),
        remote: Some(way.path.remote.to_string()),
        kind,
        state: way.state,
        reason: way.reason,
        probes: way.probes,
        answers: way.answers,
        rtt_ms: way.rtt.map(milliseconds),
    }
}

/// How the peer says it has that address.
fn announced(peer: &Peer, path: Path) -> Option<PairKind> {
    let candidates = peer.record.candidates.iter();
    let kind = candidates
        .filter(|candidate| candidate.at == path.remote)
        .map(|candidate| candidate.kind)
        .next()?;
    Some(match kind {
        CandidateKind::Host => PairKind::Host,
        CandidateKind::Guess => PairKind::Guess,
        CandidateKind::Relayed => PairKind::Relayed,
        CandidateKind::Reflexive => PairKind::Reflexive,
        CandidateKind::Mapped => PairKind::Mapped,
    })
}

fn by(transport: TransportId) -> PairBy {
    if transport.is_relay() {
        PairBy::Relay
    } else {
        PairBy::Udp
    }
}

fn relay(transport: TransportId, cx: &Context<'_>) -> Option<String> {
    let up = cx.relays.up();
    let (_, up) = up.iter().find(|(id, _)| *id == transport)?;
    Some(up.relayed.to_string())
}
