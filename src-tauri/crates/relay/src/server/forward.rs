//! Data: from clients to peers and back. Nothing here decodes, allocates (but for `out`) or answers.

use super::{LONGEST_PAYLOAD, Server};
use crate::allocation::Entry;
use crate::client::{Client, Link, RelayId, Target};
use crate::wire::{self, Message, attribute};
use rand_core::RngCore;
use std::net::SocketAddr;
use std::time::Instant;

impl Server {
    /// ChannelData from a client (RFC 8656 §12.6).
    pub(super) fn channel_data(
        &mut self,
        now: Instant,
        client: &Client,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<Target> {
        let Some((number, payload)) = wire::channel_data(bytes) else {
            self.counters.malformed += 1;
            return None;
        };
        let relay = self.by_client.get(client).copied();
        let allocation = relay.and_then(|relay| Some((relay, self.allocations.get(&relay)?)));
        let bound = allocation.and_then(|(relay, known)| Some((relay, known.peer_of(now, number)?)));
        let Some((relay, peer)) = bound else {
            self.counters.unpermitted_packets += 1;
            return None;
        };
        self.relay_out(now, relay, peer, payload, out)
    }

    /// A Send indication (RFC 8656 §11.3). What is wrong with it is not told.
    pub(super) fn send(
        &mut self,
        now: Instant,
        client: &Client,
        message: &Message<'_>,
        out: &mut Vec<u8>,
    ) -> Option<Target> {
        let understood = message
            .unknown(&[attribute::XOR_PEER_ADDRESS, attribute::DATA])
            .is_empty();
        let (Some(peer), Some(payload), true) =
            (message.peer(), message.attribute(attribute::DATA), understood)
        else {
            self.counters.malformed += 1;
            return None;
        };
        let relay = self.by_client.get(client).copied();
        let permitted = relay.filter(|relay| {
            self.allocations
                .get(relay)
                .is_some_and(|known| known.is_open() && known.permits(now, peer.ip()))
        });
        let Some(relay) = permitted else {
            self.counters.unpermitted_packets += 1;
            return None;
        };
        self.relay_out(now, relay, peer, payload, out)
    }

    /// A datagram that a relay socket received.
    pub fn from_peer(
        &mut self,
        now: Instant,
        relay: RelayId,
        peer: SocketAddr,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<Client> {
        // Nobody who relays here is also outside: what pretends to be is forged.
        if self.is_relayed(peer.ip()) && !self.is_allowed(peer.ip()) {
            self.counters.unpermitted_packets += 1;
            return None;
        }
        self.relay_in(now, relay, peer, payload, out)
    }

    fn relay_out(
        &mut self,
        now: Instant,
        relay: RelayId,
        peer: SocketAddr,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<Target> {
        let allocation = self.allocations.get(&relay)?;
        let (charge, relayed) = (allocation.charge, allocation.relayed);
        if !self.ledger.pay(now, &self.config.limits, charge, payload.len()) {
            self.counters.packets_over_rate += 1;
            return None;
        }
        let inside = self.by_relayed.get(&peer).copied();
        if inside.is_none() && peer.port() == 0
            || inside.is_none() && self.is_relayed(peer.ip()) && !self.is_allowed(peer.ip())
        {
            self.counters.unpermitted_packets += 1;
            return None;
        }
        self.counters.packets_to_peers += 1;
        self.counters.bytes_to_peers += payload.len() as u64;
        if let Some(other) = inside {
            return self
                .relay_in(now, other, relayed, payload, out)
                .map(Target::Client);
        }
        out.extend_from_slice(payload);
        Some(Target::Peer(relay, peer))
    }

    fn relay_in(
        &mut self,
        now: Instant,
        relay: RelayId,
        peer: SocketAddr,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<Client> {
        let allocation = self.allocations.get_mut(&relay)?;
        let Entry::Permitted { channel, note } = allocation.entry(now, peer) else {
            self.counters.unpermitted_packets += 1;
            return None;
        };
        let (client, charge) = (allocation.client, allocation.charge);
        if note {
            self.seen.claimed(now, peer.ip());
        }
        if payload.len() > LONGEST_PAYLOAD
            || !self.ledger.pay(now, &self.config.limits, charge, payload.len())
        {
            self.counters.packets_over_rate += 1;
            return None;
        }
        self.counters.packets_to_clients += 1;
        self.counters.bytes_to_clients += payload.len() as u64;
        match channel {
            Some(number) => {
                wire::put_channel_data(out, number, payload, client.link != Link::Datagram);
            }
            None => {
                let mut transaction = [0; 12];
                self.random.fill_bytes(&mut transaction);
                wire::put_data_indication(out, transaction, peer, payload);
            }
        }
        Some(client)
    }
}
