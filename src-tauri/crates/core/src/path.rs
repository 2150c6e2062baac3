//! Paths: which way a datagram goes.

use std::net::SocketAddr;

/// What a datagram leaves and arrives by. The primary UDP sockets are fixed; relays and short-lived sockets get
/// further numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransportId(pub u16);

impl TransportId {
    /// The primary IPv4 UDP socket.
    pub const UDP4: TransportId = TransportId(0);
    /// The primary IPv6 UDP socket.
    pub const UDP6: TransportId = TransportId(1);

    /// Whether it is one of the primary sockets.
    pub fn is_primary(self) -> bool {
        self == Self::UDP4 || self == Self::UDP6
    }

    /// The primary socket of the address's family.
    pub fn primary(remote: SocketAddr) -> Self {
        if remote.is_ipv4() { Self::UDP4 } else { Self::UDP6 }
    }
}

/// A way to a peer: by which transport, to which address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// By which.
    pub transport: TransportId,
    /// The peer's end of it.
    pub remote: SocketAddr,
}

impl Path {
    /// The way by the primary socket.
    pub fn primary(remote: SocketAddr) -> Self {
        Self {
            transport: TransportId::primary(remote),
            remote,
        }
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.transport {
            TransportId::UDP4 | TransportId::UDP6 => write!(f, "udp {}", self.remote),
            TransportId(relay) => write!(f, "relay {relay} {}", self.remote),
        }
    }
}
