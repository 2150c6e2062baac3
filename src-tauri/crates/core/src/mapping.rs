//! Ports that the router in front of this computer leads here on request: what is wanted, and what was granted.
//!
//! Asking (UPnP, NAT-PMP, PCP), renewing and giving back are the engine's; what follows from a grant is decided here:
//! a candidate for peers, an address for the invite.

use std::net::SocketAddr;

/// Ports of this computer that should be reachable from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapPlan {
    /// Of the primary UDP sockets.
    pub udp: u16,
    /// Of the embedded control plane, while it runs.
    pub tcp: Option<u16>,
}

/// What the router made of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mapped {
    /// What leads to the UDP port.
    pub udp: Option<SocketAddr>,
    /// What leads to the control plane's.
    pub tcp: Option<SocketAddr>,
    /// Whether the router has been asked for all of it, whatever it said.
    pub settled: bool,
}
