//! What stands between this computer and the internet: behaviour discovery (RFC 5780), and what follows from it.
//!
//! [`Discovery`] asks STUN servers and concludes only from what was proven:
//!
//! - *Mapping* is endpoint-independent when two servers at different addresses saw the same address and port.
//! - *Filtering* is as open as an answer shows that came from where nothing had been sent to. What did not come
//!   proves something only if requests sent beside it were answered (nothing much is being lost), and if the
//!   address it should have come from answers when asked itself (it lives).
//! - A NAT remembers whom an earlier run of the engine sent to from the same port. So until it has forgotten, what comes
//!   from elsewhere proves something only where it comes to a fresh socket as well; silence is proof all the same.
//! - *Open* needs the mapped address to be this computer's own; a NAT that keeps ports looks the same otherwise.
//!
//! Everything else is unknown, with a [`Reason`]. The order matters: an address that a filtering test answers from
//! must not have been sent to before, and must not be compared afterwards, as some routers take the unanswered
//! datagram for a connection of their own and give ours another port. So tests of filtering come first, and servers
//! at such an address wait for them.
//!
//! [`watch::Watch`] decides when to discover, and keeps the mapping alive in between.

mod discovery;
mod filter;
mod fresh;
mod predict;
mod request;
mod surroundings;
pub(crate) mod watch;

pub use discovery::Discovery;
pub use lanrage_proto::doctor::{Filtering, Mapping, Unproven as Reason};
pub use lanrage_proto::ipc::NatType;
pub use predict::{Prediction, predict};
pub use surroundings::{Contacted, Surroundings};

use std::net::SocketAddr;
use std::time::Duration;

/// Something seen, from which the type follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// A server was asked for the mapped address.
    Asked {
        /// Which.
        server: SocketAddr,
        /// The address it saw, and the round-trip time; none where it did not answer.
        saw: Option<(SocketAddr, Duration)>,
    },
    /// A server was asked to answer from elsewhere.
    Filter {
        /// Which.
        server: SocketAddr,
        /// Its other address and port; `both` tells whether it was free for the test.
        other: SocketAddr,
        /// Asked to change address and port, it answered from here.
        both: Option<SocketAddr>,
        /// Asked to change the port, it answered from here.
        port: Option<SocketAddr>,
        /// Of so many plain requests beside …
        asked: u8,
        /// … so many were answered.
        answered: u8,
    },
    /// A server was asked by a fresh socket to answer from elsewhere.
    Fresh {
        /// Which.
        server: SocketAddr,
        /// It answered from here.
        from: SocketAddr,
    },
    /// The type was found earlier and nothing speaks for a change.
    Earlier,
}

impl std::fmt::Display for Evidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let from = |from: Option<SocketAddr>| {
            from.map_or_else(|| "no answer".to_owned(), |from| format!("answer from {from}"))
        };
        match self {
            Evidence::Asked {
                server,
                saw: Some((mapped, rtt)),
            } => write!(f, "{server} saw {mapped}, {:.1} ms", rtt.as_secs_f64() * 1000.0),
            Evidence::Asked { server, saw: None } => write!(f, "{server} did not answer"),
            Evidence::Filter {
                server,
                other,
                both,
                port,
                asked,
                answered,
            } => write!(
                f,
                "{server} with {other}: other address and port: {}; other port: {}; {answered} of {asked} beside",
                from(*both),
                from(*port)
            ),
            Evidence::Fresh { server, from } => write!(f, "{server} with a fresh socket: answer from {from}"),
            Evidence::Earlier => f.write_str("as found earlier"),
        }
    }
}

/// What is known of one address family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FamilyReport {
    /// The type.
    pub kind: NatType,
    /// Why it is unknown; none exactly when it is known.
    pub reason: Option<Reason>,
    /// The address and port that others see: the first server's word where they differ.
    pub mapped: Option<SocketAddr>,
    /// Whether the mapped address is another than this computer's own.
    pub translated: Option<bool>,
    /// What a mapping depends on.
    pub mapping: Option<Mapping>,
    /// Who may send to it.
    pub filtering: Option<Filtering>,
    /// What was seen.
    pub evidence: Vec<Evidence>,
}

impl FamilyReport {
    /// Unknown for a reason, nothing seen.
    pub fn unknown(reason: Reason) -> Self {
        Self {
            kind: NatType::Unknown,
            reason: Some(reason),
            mapped: None,
            translated: None,
            mapping: None,
            filtering: None,
            evidence: Vec::new(),
        }
    }

    /// The type that follows from what was proven, or why none does.
    fn concluded(mut self, no_filtering: Reason) -> Self {
        let known = match (self.mapping, self.filtering) {
            (None, _) if self.mapped.is_none() => Err(Reason::NoAnswer),
            (None, _) => Err(Reason::OneDestination),
            (
                Some(
                    Mapping::AddressDependent | Mapping::AddressAndPortDependent | Mapping::EndpointDependent,
                ),
                _,
            ) => Ok(NatType::Symmetric),
            (Some(Mapping::EndpointIndependent), None) => Err(no_filtering),
            (Some(Mapping::EndpointIndependent), Some(filtering)) => Ok(match filtering {
                Filtering::EndpointIndependent if self.translated == Some(false) => NatType::Open,
                Filtering::EndpointIndependent => NatType::FullCone,
                Filtering::AddressDependent => NatType::RestrictedCone,
                Filtering::AddressAndPortDependent => NatType::PortRestrictedCone,
            }),
        };
        match known {
            Ok(kind) => (self.kind, self.reason) = (kind, None),
            Err(reason) => (self.kind, self.reason) = (NatType::Unknown, Some(reason)),
        }
        self
    }
}

/// What is known of both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatReport {
    /// IPv4.
    pub v4: FamilyReport,
    /// IPv6.
    pub v6: FamilyReport,
}

impl NatReport {
    /// Both unknown for the same reason.
    pub fn unknown(reason: Reason) -> Self {
        Self {
            v4: FamilyReport::unknown(reason),
            v6: FamilyReport::unknown(reason),
        }
    }

    /// The family that one word is to be said about: IPv4, unless only IPv6 leads out.
    pub fn leading(&self) -> &FamilyReport {
        if self.v4.mapped.is_none() && self.v6.mapped.is_some() {
            &self.v6
        } else {
            &self.v4
        }
    }

    /// The addresses that others see.
    pub fn mapped(&self) -> impl Iterator<Item = SocketAddr> {
        [self.v4.mapped, self.v6.mapped].into_iter().flatten()
    }

    /// Likewise, by family.
    pub(crate) fn mapped_by_family(&self) -> [Option<SocketAddr>; 2] {
        [self.v4.mapped, self.v6.mapped]
    }

    /// All that is shown or published of it.
    fn summary(&self) -> [(NatType, Option<Reason>, Option<SocketAddr>); 2] {
        [&self.v4, &self.v6].map(|family| (family.kind, family.reason, family.mapped))
    }
}

#[cfg(test)]
mod tests;
