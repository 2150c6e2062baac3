//! Who talks to the server, and what it wants done.

use std::net::SocketAddr;

/// A client as RFC 8656 §3 identifies it: the 5-tuple. Addresses are canonical: an IPv4 address is never written
/// as an IPv6 one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client {
    /// How it comes.
    pub link: Link,
    /// What is offered where it came to.
    pub service: Service,
    /// Our address that it reached. With a wildcard socket this is what the datagram was sent to.
    pub local: SocketAddr,
    /// Its address.
    pub remote: SocketAddr,
}

/// How a client comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Link {
    /// UDP.
    Datagram,
    /// TCP or TLS; the number tells connections apart and is never used twice.
    Stream(u64),
}

/// What a listener offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// STUN Binding.
    Stun,
    /// STUN Binding and TURN.
    Turn,
}

/// An allocation, and with it a relay socket. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayId(pub u64);

/// Where the bytes belong that a call appended to its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// To a client: by its listener, or as a whole frame on its stream.
    Client(Client),
    /// Out of a relay socket.
    Peer(RelayId, SocketAddr),
}

/// Something to be done that is not forwarding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Answer a client.
    Answer {
        /// Whom.
        client: Client,
        /// From which of our addresses; another than the client reached only for UDP (RFC 5780 §7.2).
        from: SocketAddr,
        /// A whole message.
        bytes: Vec<u8>,
    },
    /// Open a UDP socket and say how it went to [`Server::relay_opened`](crate::Server::relay_opened).
    Open {
        /// What it is for.
        relay: RelayId,
        /// Where to bind it, this port and no other.
        at: SocketAddr,
    },
    /// Close a relay socket.
    Close {
        /// Which.
        relay: RelayId,
    },
}
