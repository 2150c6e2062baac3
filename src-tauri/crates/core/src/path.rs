//! Paths: which way a datagram goes.

use std::net::SocketAddr;

/// What a datagram leaves and arrives by. The primary UDP sockets are fixed; relays get further numbers, and the sockets
/// that are opened for a while those from [`TransportId::FRESH`] on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransportId(pub u16);

impl TransportId {
    /// The primary IPv4 UDP socket.
    pub const UDP4: TransportId = TransportId(0);
    /// The primary IPv6 UDP socket.
    pub const UDP6: TransportId = TransportId(1);
    /// The IPv4 socket by which a STUN server is asked afresh; below are relays.
    pub const FRESH: TransportId = TransportId(0x8000);
    /// The first of the sockets opened for one peer alone.
    pub const FIRST_HOLE: TransportId = TransportId(0x8001);

    /// Whether it is one of the primary sockets.
    pub fn is_primary(self) -> bool {
        self == Self::UDP4 || self == Self::UDP6
    }

    /// Whether it is a socket opened for one peer alone, or to ask afresh.
    pub fn is_hole(self) -> bool {
        self >= Self::FRESH
    }

    /// Whether it is a relay.
    pub fn is_relay(self) -> bool {
        !self.is_primary() && !self.is_hole()
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
            transport if transport.is_hole() => write!(f, "hole {} {}", transport.0, self.remote),
            TransportId(relay) => write!(f, "relay {relay} {}", self.remote),
        }
    }
}
