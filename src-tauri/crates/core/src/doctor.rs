//! What `doctor` reports, as far as it follows from what is known: families, and what is wrong.

use crate::latency::milliseconds;
use crate::nat::{self, Evidence, Prediction, Reason};
use lanrage_proto::doctor::{
    ControlReport, Expected, FamilyReport, FilterReport, HostingReport, MappingState, PeerReport,
    RelayReport, Report, StunReport, UdpState, WayReport, WayState,
};
use lanrage_proto::ipc::{NatType, PeerState};
use lanrage_proto::server_url::is_near;
use lanrage_proto::{Fault, FaultCode};
use std::net::IpAddr;

/// A member's part of the report; the engine adds what it alone knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnosis {
    /// Where the control plane is.
    pub control: ControlReport,
    /// Whether UDP gets through.
    pub udp: UdpState,
    /// IPv4.
    pub ipv4: FamilyReport,
    /// IPv6.
    pub ipv6: FamilyReport,
    /// The relays.
    pub relays: Vec<RelayReport>,
    /// The party's home in this engine.
    pub hosting: Option<HostingReport>,
    /// The other members.
    pub peers: Vec<PeerReport>,
}

/// What is known of one address family, for people and scripts. `own` are this computer's addresses.
pub fn family_report(report: &nat::FamilyReport, own: &[IpAddr], v4: bool) -> FamilyReport {
    let own = || own.iter().filter(move |own| own.is_ipv4() == v4);
    let mut servers = Vec::new();
    let mut tests = Vec::new();
    let mut earlier = false;
    for evidence in &report.evidence {
        match evidence {
            Evidence::Asked { server, saw } => servers.push(StunReport {
                server: server.to_string(),
                saw: saw.map(|(saw, _)| saw.to_string()),
                rtt_ms: saw.map(|(_, rtt)| milliseconds(rtt)),
            }),
            Evidence::Filter {
                server,
                other,
                both,
                port,
                asked,
                answered,
            } => tests.push(FilterReport {
                server: server.to_string(),
                other: other.to_string(),
                both: both.map(|from| from.to_string()),
                port: port.map(|from| from.to_string()),
                asked: *asked,
                answered: *answered,
            }),
            Evidence::Fresh { server, from } => tests.push(FilterReport {
                server: server.to_string(),
                other: from.to_string(),
                both: Some(from.to_string()),
                port: None,
                asked: 0,
                answered: 0,
            }),
            Evidence::Earlier => earlier = true,
        }
    }
    FamilyReport {
        public_address: own().any(|own| !is_near(*own)),
        address: own().next().is_some(),
        kind: report.kind,
        reason: report.reason,
        mapped: report.mapped.map(|mapped| mapped.to_string()),
        translated: report.translated,
        mapping: report.mapping,
        filtering: report.filtering,
        servers,
        tests,
        earlier,
    }
}

/// Whether UDP gets through, from what was seen. `heard` is whether something beyond the local network answered by UDP
/// otherwise, `tcp` whether something there did by TCP.
pub fn udp_state(v4: &FamilyReport, v6: &FamilyReport, heard: bool, tried: bool, tcp: bool) -> UdpState {
    let families = || [v4, v6].into_iter();
    let answered = families().any(|family| family.servers.iter().any(|server| server.saw.is_some()));
    let silent = families().any(|family| family.reason == Some(Reason::NoAnswer));
    if answered || heard {
        UdpState::Open
    } else if (silent || tried) && tcp {
        UdpState::Blocked
    } else {
        UdpState::Unknown
    }
}

impl From<Prediction> for Expected {
    fn from(prediction: Prediction) -> Self {
        match prediction {
            Prediction::Direct => Expected::Direct,
            Prediction::Hole => Expected::Hole,
            Prediction::Perhaps => Expected::Perhaps,
            Prediction::Relayed => Expected::Relayed,
        }
    }
}

/// What is wrong, beyond the conditions that are in the report already: each once, the gravest first.
pub fn findings(report: &Report, in_party: bool) -> Vec<Fault> {
    let mut found = Vec::new();
    let leading = if report.ipv4.mapped.is_none() && report.ipv6.mapped.is_some() {
        &report.ipv6
    } else {
        &report.ipv4
    };
    let blocked = report.udp == UdpState::Blocked;
    let symmetric = leading.kind == NatType::Symmetric;
    let unreached = |peer: &&PeerReport| matches!(peer.state, PeerState::Failed | PeerState::Lost);
    if !report.ipv4.address && !report.ipv6.address {
        found.push(FaultCode::Offline.into());
    } else if blocked {
        found.push(FaultCode::UdpBlocked.into());
    } else if leading.reason == Some(Reason::NoAnswer) {
        found.push(FaultCode::StunSilent.into());
    }
    for peer in report.peers.iter().filter(unreached) {
        found.push(Fault::new(FaultCode::PeerUnreachable).with("member", &peer.name));
    }
    for relay in &report.relays {
        let failed = |way: &WayReport| way.state == WayState::Failed;
        if !relay.up && !relay.ways.is_empty() && relay.ways.iter().all(failed) {
            found.push(Fault::new(FaultCode::RelayAway).with("relay", &relay.server));
        }
    }
    let needed = blocked || symmetric || report.peers.iter().any(|peer| unreached(&peer));
    if in_party && report.relays.is_empty() && needed {
        found.push(FaultCode::NoRelay.into());
    }
    let mapped = report.mapping.state == MappingState::Mapped;
    if symmetric && !mapped {
        found.push(FaultCode::NatSymmetric.into());
    }
    // Where anybody gets in anyway a port more is worth nothing.
    let open = matches!(leading.kind, NatType::Open | NatType::FullCone);
    // And where that is why friends can't join, one action is enough.
    let said = report
        .findings
        .iter()
        .any(|known| known.code == FaultCode::HostUnreachable);
    if report.mapping.state == MappingState::Refused && !open && !said {
        let reason = report.mapping.reason.clone().unwrap_or_default();
        found.push(Fault::new(FaultCode::PortMappingRefused).with("reason", reason));
    }
    found.retain(|new: &Fault| report.findings.iter().all(|known| known.code != new.code));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use lanrage_proto::doctor::{AdapterReport, MappingReport};
    use lanrage_proto::ipc::{ControlMode, ControlState, ControlStatus, EngineState, EngineStatus};
    use lanrage_proto::turn_uri::TurnTransport;
    use std::time::Duration;

    fn family(kind: NatType, reason: Option<Reason>) -> FamilyReport {
        let mut report = nat::FamilyReport::unknown(Reason::Untried);
        (report.kind, report.reason) = (kind, reason);
        family_report(&report, &["192.168.1.2".parse().unwrap()], true)
    }

    fn report() -> Report {
        Report {
            engine: EngineStatus {
                version: "0.1.0".into(),
                state: EngineState::Ready,
                player: "Anna".into(),
                control: ControlStatus {
                    mode: ControlMode::Remote,
                    state: ControlState::Connected,
                },
            },
            control: ControlReport {
                at: None,
                answers: Some(true),
            },
            udp: UdpState::Open,
            ipv4: family(NatType::PortRestrictedCone, None),
            ipv6: family(NatType::Unknown, Some(Reason::Untried)),
            relays: Vec::new(),
            mapping: MappingReport::idle(),
            hosting: None,
            adapter: AdapterReport {
                possible: true,
                name: None,
                address: None,
                mtu: None,
            },
            changes: Vec::new(),
            peers: Vec::new(),
            findings: Vec::new(),
        }
    }

    fn codes(report: &Report) -> Vec<&'static str> {
        findings(report, true)
            .iter()
            .map(|fault| fault.code.as_str())
            .collect()
    }

    fn peer(state: PeerState) -> PeerReport {
        PeerReport {
            name: "Tom".into(),
            address: "10.66.0.2".into(),
            state,
            path: None,
            rtt_ms: None,
            nat: NatType::Unknown,
            expected: Expected::Perhaps,
            pairs: Vec::new(),
        }
    }

    #[test]
    fn where_all_is_well_nothing_is_found() {
        let mut report = report();
        report.peers.push(peer(PeerState::Connected));
        assert_eq!(codes(&report), [""; 0]);
    }

    #[test]
    fn a_computer_without_addresses_is_on_no_network() {
        let mut report = report();
        for family in [&mut report.ipv4, &mut report.ipv6] {
            family.address = false;
        }
        assert_eq!(codes(&report), ["offline"]);
    }

    #[test]
    fn a_symmetric_nat_without_a_relay_is_two_findings_and_a_port_from_the_router_heals_one() {
        let mut report = report();
        report.ipv4 = family(NatType::Symmetric, None);
        assert_eq!(codes(&report), ["no_relay", "nat_symmetric"]);
        report.mapping.state = MappingState::Refused;
        report.mapping.reason = Some("it does not answer".into());
        assert_eq!(
            codes(&report),
            ["no_relay", "nat_symmetric", "port_mapping_refused"]
        );
        report.findings.push(FaultCode::HostUnreachable.into());
        assert_eq!(codes(&report), ["no_relay", "nat_symmetric"]);
        report.mapping.state = MappingState::Mapped;
        assert_eq!(codes(&report), ["no_relay"]);
    }

    #[test]
    fn blocked_udp_is_named_and_silent_servers_alone_are_not_taken_for_it() {
        let mut report = report();
        report.ipv4 = family(NatType::Unknown, Some(Reason::NoAnswer));
        report.udp = UdpState::Unknown;
        assert_eq!(codes(&report), ["stun_silent"]);
        report.udp = UdpState::Blocked;
        assert_eq!(codes(&report), ["udp_blocked", "no_relay"]);
    }

    #[test]
    fn a_relay_is_away_when_every_way_to_it_failed() {
        let mut report = report();
        let way = |state| WayReport {
            uri: "turn:r".into(),
            transport: TurnTransport::Udp,
            state,
            reason: None,
        };
        report.relays.push(RelayReport {
            server: "r".into(),
            up: false,
            relayed: None,
            rtt_ms: None,
            ways: vec![way(WayState::Failed), way(WayState::Untried)],
        });
        assert_eq!(codes(&report), [""; 0]);
        report.relays[0].ways[1] = way(WayState::Failed);
        report.peers.push(peer(PeerState::Failed));
        assert_eq!(codes(&report), ["peer_unreachable", "relay_away"]);
        report.findings.push(FaultCode::RelayAway.into());
        assert_eq!(codes(&report), ["peer_unreachable"]);
    }

    #[test]
    fn udp_is_called_blocked_only_where_tcp_gets_through() {
        let silent = family(NatType::Unknown, Some(Reason::NoAnswer));
        let untried = family(NatType::Unknown, Some(Reason::Untried));
        let state = |v4, heard, tried, tcp| udp_state(v4, &untried, heard, tried, tcp);
        assert_eq!(state(&silent, false, false, true), UdpState::Blocked);
        assert_eq!(state(&silent, false, false, false), UdpState::Unknown);
        assert_eq!(state(&silent, true, false, true), UdpState::Open);
        assert_eq!(state(&untried, false, false, true), UdpState::Unknown);
        assert_eq!(state(&untried, false, true, true), UdpState::Blocked);
        let mut seen = nat::FamilyReport::unknown(Reason::OneDestination);
        seen.evidence.push(Evidence::Asked {
            server: "192.0.2.1:3478".parse().unwrap(),
            saw: Some(("192.0.2.2:1".parse().unwrap(), Duration::from_millis(7))),
        });
        let seen = family_report(&seen, &["192.168.1.2".parse().unwrap()], true);
        assert_eq!(state(&seen, false, false, true), UdpState::Open);
        assert_eq!((seen.address, seen.public_address), (true, false));
        assert_eq!(seen.servers[0].rtt_ms, Some(7.0));
    }
}
