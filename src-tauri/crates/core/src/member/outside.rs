//! Whether friends outside the local network reach the party's home, where that is this engine.

use super::Member;
use crate::io::{Home, Network};
use crate::mapping::Mapped;
use crate::nat::{FamilyReport, NatReport, NatType, Reason};
use crate::party::{Active, Party};
use lanrage_proto::server_url::is_near;
use lanrage_proto::{Fault, FaultCode};
use std::net::SocketAddr;
use std::time::Instant;

/// How the party's home is reached from outside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outside {
    /// Whether it is; none until that is known.
    pub(crate) reachable: Option<bool>,
    /// Where.
    pub(crate) via: Vec<SocketAddr>,
}

impl Outside {
    /// What follows for a control plane on TCP port `port`.
    ///
    /// Only what lets everybody in counts: a port that the router opened, or no NAT and no filter. That UDP's filter
    /// stands for TCP's as well is a conclusion from how routers are made (RFC 5382 REQ-1, REQ-3 mirror RFC 4787).
    fn judge(port: u16, nat: &NatReport, mapped: &Mapped, network: &Network) -> Self {
        let open = |family: &FamilyReport| {
            let seen = family.mapped.filter(|_| family.kind == NatType::Open)?;
            Some(SocketAddr::new(seen.ip(), port))
        };
        let granted = mapped.tcp;
        let via: Vec<SocketAddr> = [granted, open(&nat.v4), open(&nat.v6)]
            .into_iter()
            .flatten()
            // Behind a second router nothing is gained.
            .filter(|at| !is_near(at.ip()))
            .collect();
        let finding = |family: &FamilyReport| family.reason == Some(Reason::InProgress);
        let shut = |family: &FamilyReport| {
            (family.kind != NatType::Unknown && family.kind != NatType::Open)
                || family.translated == Some(true)
        };
        let has_v4 = network.addresses.iter().any(|(own, _)| own.is_ipv4());
        let reachable = if !via.is_empty() {
            Some(true)
        } else if !mapped.settled || finding(&nat.v4) || finding(&nat.v6) {
            None
        } else if shut(&nat.v4) || (!has_v4 && shut(&nat.v6)) {
            Some(false)
        } else {
            None
        };
        Self { reachable, via }
    }
}

impl Member {
    /// How the home is reached; nothing is known of another's.
    pub(super) fn outside(&self, active: &Active) -> Outside {
        match (&active.home, &self.hosting) {
            (Home::Here, Some(hosting)) => Outside::judge(
                hosting.port,
                self.desk.nat.report(),
                &self.desk.mapped,
                &self.desk.network,
            ),
            (Home::Here | Home::Founder(_) | Home::Server(_), _) => Outside::default(),
        }
    }

    /// The router granted something, or nothing. Peers not reached yet are called at once.
    pub(super) fn mapped(&mut self, now: Instant, mapped: Mapped) {
        let before = std::mem::replace(&mut self.desk.mapped, mapped);
        if before == mapped {
            return;
        }
        self.changed = true;
        if let Party::Active(active) = &mut self.party
            && before.udp != mapped.udp
        {
            for peer in active.roster.peers_mut() {
                peer.seen_elsewhere(now, before.udp.is_some());
            }
        }
        self.publish(now);
    }

    /// Before the invite is shared the host should see whether it works from outside.
    pub(super) fn judge_outside(&mut self) {
        let reachable = match &self.party {
            Party::Active(active) => self.outside(active).reachable,
            Party::Idle | Party::Creating(_) | Party::Joining(_) | Party::Leaving(_) => None,
        };
        let shown = self.conditions.has(FaultCode::HostUnreachable);
        match reachable {
            Some(false) if !shown => self.conditions.raise(Fault::new(FaultCode::HostUnreachable)),
            Some(true) | None if shown => self.conditions.clear(FaultCode::HostUnreachable),
            Some(_) | None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nat::{Filtering, Mapping};

    const PORT: u16 = 51820;

    fn family(kind: NatType, mapped: &str, translated: bool) -> FamilyReport {
        FamilyReport {
            kind,
            reason: None,
            mapped: mapped.parse().ok(),
            translated: Some(translated),
            mapping: Some(Mapping::EndpointIndependent),
            filtering: Some(Filtering::AddressAndPortDependent),
            evidence: Vec::new(),
        }
    }

    fn cone() -> FamilyReport {
        family(NatType::PortRestrictedCone, "198.51.100.7:51820", true)
    }

    fn judged(v4: FamilyReport, v6: FamilyReport, mapped: Mapped) -> (Option<bool>, Vec<String>) {
        let network = Network {
            addresses: vec![("192.168.1.10".parse().unwrap(), 24)],
            port: PORT,
            ..Network::default()
        };
        let outside = Outside::judge(PORT, &NatReport { v4, v6 }, &mapped, &network);
        let via = outside.via.iter().map(ToString::to_string).collect();
        (outside.reachable, via)
    }

    const SETTLED: Mapped = Mapped {
        udp: None,
        tcp: None,
        settled: true,
    };

    fn untried() -> FamilyReport {
        FamilyReport::unknown(Reason::Untried)
    }

    #[test]
    fn a_cone_lets_nobody_in_and_that_is_said_only_when_all_was_tried() {
        assert_eq!(judged(cone(), untried(), SETTLED), (Some(false), vec![]));
        assert_eq!(judged(cone(), untried(), Mapped::default()), (None, vec![]));
        let finding = FamilyReport::unknown(Reason::InProgress);
        assert_eq!(judged(cone(), finding.clone(), SETTLED), (None, vec![]));
        assert_eq!(judged(finding, untried(), SETTLED), (None, vec![]));
        // Whatever the filter is: where addresses are translated nobody comes in by himself.
        let unsure = FamilyReport {
            kind: NatType::Unknown,
            reason: Some(Reason::NoSecondAddress),
            ..cone()
        };
        assert_eq!(judged(unsure, untried(), SETTLED), (Some(false), vec![]));
    }

    #[test]
    fn what_nobody_could_find_out_is_not_claimed() {
        for reason in [Reason::Untried, Reason::NoServers, Reason::NoAnswer] {
            let unknown = FamilyReport::unknown(reason);
            assert_eq!(judged(unknown, untried(), SETTLED).0, None, "{reason:?}");
        }
    }

    #[test]
    fn a_port_that_the_router_opened_an_open_address_and_an_open_ipv6_are_ways_in() {
        let granted = |at: &str| Mapped {
            tcp: at.parse().ok(),
            ..SETTLED
        };
        let ways = |at: &str| (Some(true), vec![at.to_owned()]);
        assert_eq!(
            judged(cone(), untried(), granted("198.51.100.7:4000")),
            ways("198.51.100.7:4000")
        );
        let open = family(NatType::Open, "198.51.100.9:51820", false);
        assert_eq!(
            judged(open, untried(), Mapped::default()),
            ways("198.51.100.9:51820")
        );
        let open = family(NatType::Open, "[2001:db8::1]:51820", false);
        assert_eq!(judged(cone(), open, SETTLED), ways("[2001:db8::1]:51820"));
    }

    #[test]
    fn a_port_of_a_router_behind_another_router_is_no_way_in() {
        let inner = Mapped {
            tcp: "100.64.0.9:4000".parse().ok(),
            ..SETTLED
        };
        assert_eq!(judged(cone(), untried(), inner), (Some(false), vec![]));
    }
}
