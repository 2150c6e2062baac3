//! What happened, in numbers.

macro_rules! counters {
    ($($(#[$meta:meta])* $name:ident),* $(,)?) => {
        /// What happened since the start.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$meta])* pub $name: u64,)*
        }

        impl Counters {
            /// Names and values, in a fixed order.
            pub fn rows(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }
    };
}

counters! {
    /// Binding requests answered.
    bindings,
    /// Allocations made.
    allocations,
    /// Allocations ended: by their client, by time, or with their stream.
    allocations_ended,
    /// Requests answered with 401 or 438: the first of every client is one of these.
    challenges,
    /// Requests with a fresh nonce and a wrong or expired name or password.
    bad_credentials,
    /// Requests refused because a member, party or source has its share (486).
    over_quota,
    /// Requests refused because there is no room or no port (508).
    no_capacity,
    /// Peers refused (403).
    forbidden_peers,
    /// Requests refused for any other reason.
    other_refusals,
    /// Requests not looked at because their source sends too many.
    too_many_requests,
    /// What is no STUN and no ChannelData.
    malformed,
    /// Packets from clients to peers.
    packets_to_peers,
    /// Packets from peers to clients.
    packets_to_clients,
    /// Bytes in them, headers of STUN and TURN left out.
    bytes_to_peers,
    /// Bytes in them, likewise.
    bytes_to_clients,
    /// Packets dropped: no allocation, permission or channel for them.
    unpermitted_packets,
    /// Packets dropped: a member, a source or the server is over its rate.
    packets_over_rate,
}
