//! Where a side's datagrams come from, for the other to aim at.

use crate::nat::{Evidence, FamilyReport, NatType};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Where a side's datagrams come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Aim {
    /// From this port, whoever they go to.
    Port(u16),
    /// From any port; from sockets with low ports perhaps from one of [`super::LOW`].
    Anywhere,
    /// From the ports after this one.
    After(u16),
}

impl Aim {
    /// Whether a peer may say so: what runs below 1024 is nobody's mapping.
    pub(crate) fn is_plausible(self) -> bool {
        match self {
            Aim::Port(port) | Aim::After(port) => port >= 1024,
            Aim::Anywhere => true,
        }
    }

    /// Whether it may be one end of a pair with such another.
    pub(crate) fn meets(self, other: Self) -> bool {
        !matches!((self, other), (Aim::Port(_), Aim::Port(_)))
    }
}

/// What a side's STUN evidence says of where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Its aim.
    Aim(Aim),
    /// From anywhere, or after a port: which ports fresh sockets get is to be asked of this server.
    Asked(SocketAddr),
}

/// What follows from a report; none where it is neither a port-restricted cone nor symmetric.
pub(super) fn seen(report: &FamilyReport) -> Option<Seen> {
    let mapped = report.mapped?;
    match report.kind {
        NatType::PortRestrictedCone => Some(Seen::Aim(Aim::Port(mapped.port()))),
        NatType::Symmetric => Some(server(report).map_or(Seen::Aim(Aim::Anywhere), Seen::Asked)),
        NatType::Open | NatType::FullCone | NatType::RestrictedCone | NatType::Unknown => None,
    }
}

/// The first server that answered.
pub(super) fn server(report: &FamilyReport) -> Option<SocketAddr> {
    report.evidence.iter().find_map(|evidence| match evidence {
        Evidence::Asked { server, saw: Some(_) } => Some(*server),
        Evidence::Asked { .. } | Evidence::Filter { .. } | Evidence::Fresh { .. } | Evidence::Earlier => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nat::{Mapping, Reason};
    use std::time::Duration;

    fn report(kind: NatType, ports: &[u16]) -> FamilyReport {
        let evidence = ports.iter().zip(1u8..).map(|(port, n)| Evidence::Asked {
            server: SocketAddr::from(([192, 0, 2, n], 3478)),
            saw: Some((SocketAddr::from(([198, 51, 100, 1], *port)), Duration::ZERO)),
        });
        FamilyReport {
            kind,
            reason: None,
            mapped: ports
                .first()
                .map(|port| SocketAddr::from(([198, 51, 100, 1], *port))),
            mapping: Some(Mapping::AddressAndPortDependent),
            evidence: evidence.collect(),
            ..FamilyReport::unknown(Reason::Untried)
        }
    }

    #[test]
    fn a_cone_has_one_port_and_what_a_symmetric_nat_deals_is_asked_anew() {
        let server = SocketAddr::from(([192, 0, 2, 1], 3478));
        assert_eq!(
            seen(&report(NatType::Symmetric, &[5000, 40_000])),
            Some(Seen::Asked(server))
        );
        let unasked = FamilyReport {
            evidence: Vec::new(),
            ..report(NatType::Symmetric, &[5000])
        };
        assert_eq!(seen(&unasked), Some(Seen::Aim(Aim::Anywhere)));
        assert_eq!(
            seen(&report(NatType::PortRestrictedCone, &[5000, 5000])),
            Some(Seen::Aim(Aim::Port(5000)))
        );
        for kind in [
            NatType::Open,
            NatType::FullCone,
            NatType::RestrictedCone,
            NatType::Unknown,
        ] {
            assert_eq!(seen(&report(kind, &[5000, 5000])), None);
        }
    }
}
