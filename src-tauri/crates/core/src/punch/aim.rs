//! Where a side's datagrams come from, for the other to aim at.

use crate::nat::{Evidence, FamilyReport, NatType};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// A NAT that deals ports in a row was seen to do so when each port lay at most this far behind the one before: others
/// of this computer, and of its neighbours, may have had some in between. Of random ones every 250th pair looks so;
/// fresh questions then tell.
const ROW: u16 = 256;

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
    /// Perhaps after a port, to be asked anew by this server.
    InARow(SocketAddr),
}

/// What follows from a report; none where it is neither a port-restricted cone nor symmetric.
pub(super) fn seen(report: &FamilyReport) -> Option<Seen> {
    let mapped = report.mapped?;
    match report.kind {
        NatType::PortRestrictedCone => Some(Seen::Aim(Aim::Port(mapped.port()))),
        NatType::Symmetric => Some(row(report).map(Seen::InARow).unwrap_or(Seen::Aim(Aim::Anywhere))),
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

/// The server to ask again, where each destination saw a port a little behind the last one.
fn row(report: &FamilyReport) -> Option<SocketAddr> {
    let asked = report.evidence.iter().filter_map(|evidence| match evidence {
        Evidence::Asked {
            server,
            saw: Some((mapped, _)),
        } => Some((*server, mapped.port())),
        Evidence::Asked { .. } | Evidence::Filter { .. } | Evidence::Fresh { .. } | Evidence::Earlier => None,
    });
    let asked: Vec<(SocketAddr, u16)> = asked.collect();
    let (server, _) = *asked.first()?;
    let steps = asked.windows(2).filter_map(|pair| match pair {
        [(_, one), (_, other)] => Some(other.wrapping_sub(*one)),
        _ => None,
    });
    let steps: Vec<u16> = steps.collect();
    let in_a_row = |step: &u16| (1..=ROW).contains(step);
    (!steps.is_empty() && steps.iter().all(in_a_row)).then_some(server)
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
    fn a_row_is_told_from_chance() {
        let server = SocketAddr::from(([192, 0, 2, 1], 3478));
        let symmetric = |ports: &[u16]| seen(&report(NatType::Symmetric, ports));
        for row in [&[5000, 5001][..], &[5000, 5003, 5100], &[65535, 1]] {
            assert_eq!(symmetric(row), Some(Seen::InARow(server)), "{row:?}");
        }
        for chance in [&[5000, 40_000][..], &[5000, 5001, 4999], &[5000, 5000], &[5000]] {
            assert_eq!(symmetric(chance), Some(Seen::Aim(Aim::Anywhere)), "{chance:?}");
        }
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
