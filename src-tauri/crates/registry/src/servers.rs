//! What a control plane hands out beside parties: where members find STUN servers and relays.

use lanrage_proto::control::RelayOffer;
use lanrage_proto::{MemberId, Tag};
use std::fmt::Debug;

/// The host's knowledge of servers. Credentials run out at a time of day, which only the host knows; the registry
/// says for whom they are.
pub trait Servers: Debug + Send {
    /// STUN servers as `host:port`, for a client that dialled `authority`.
    fn stun(&self, authority: &str) -> Vec<String>;

    /// Relays with credentials that are good from now, for a member that dialled `authority`. Asked for after
    /// it has joined, and when it wants fresh ones.
    fn relays(&self, authority: &str, tag: &Tag, member: &MemberId) -> Vec<RelayOffer>;
}

/// No servers, as in local mode.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoServers;

impl Servers for NoServers {
    fn stun(&self, _authority: &str) -> Vec<String> {
        Vec::new()
    }

    fn relays(&self, _authority: &str, _tag: &Tag, _member: &MemberId) -> Vec<RelayOffer> {
        Vec::new()
    }
}
