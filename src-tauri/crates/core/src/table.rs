//! The peer table: all that the data plane knows of the party. It is a wish, not a list of changes: applying the
//! same table twice does nothing.

use crate::path::Path;
use lanrage_proto::lobby::Rules;
use lanrage_proto::{MemberId, PartyRange, Slot, WgPublic};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use zeroize::Zeroizing;

/// Who is in the party and how each is reached. The default table has no party: every packet is dropped.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// This member's end; none outside a party.
    pub end: Option<End>,
    /// What may come in and which announces are carried.
    pub rules: Rules,
    /// Whether there is an adapter that announces can be delivered to.
    pub ready: bool,
    /// The others, by slot. A peer stands here as soon as its keys are known, with or without a path.
    pub peers: BTreeMap<Slot, TablePeer>,
}

/// This member's end of all tunnels.
#[derive(Clone, PartialEq, Eq)]
pub struct End {
    /// The WireGuard private key (X25519).
    pub wg_secret: Zeroizing<[u8; 32]>,
    /// The own slot.
    pub slot: Slot,
    /// The party's addresses.
    pub range: PartyRange,
}

impl End {
    /// The own virtual address.
    pub fn address(&self) -> Ipv4Addr {
        self.range.address(self.slot)
    }
}

/// One tunnel. Another member, key, PSK or pair of sessions in the same slot makes it another tunnel.
#[derive(Clone, PartialEq, Eq)]
pub struct TablePeer {
    /// Whose it is.
    pub member: MemberId,
    /// Its WireGuard key.
    pub wg: WgPublic,
    /// The pre-shared key of the pair.
    pub psk: Zeroizing<[u8; 32]>,
    /// What its probes to this run begin with ([`crate::keys::PairKeys::probe_index`]).
    pub probes: [u8; 8],
    /// The random numbers of both engines' runs, own first: after a restart of either the tunnel is made anew,
    /// as the old one's timestamps and counters no longer hold.
    pub sessions: (u64, u64),
    /// Whether this side starts handshakes; the other one never does.
    pub initiates: bool,
    /// Where to send; none while no path is confirmed.
    pub path: Option<Path>,
    /// Whether its engine can deliver announces. From then on it gets those that it lacks.
    pub ready: bool,
    /// Grows by one whenever the initiator wants a handshake now.
    pub handshake: u32,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut map = f.debug_map();
        for (slot, peer) in &self.peers {
            map.entry(
                &slot.get(),
                &(peer.member, peer.path, peer.initiates, peer.handshake),
            );
        }
        map.finish()
    }
}
