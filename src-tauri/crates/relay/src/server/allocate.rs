//! Allocate (RFC 8656 §7.2), which waits for a socket.

use super::Server;
use super::requests::{Outcome, Who, decoded, granted, lifetime};
use crate::allocation::{Allocation, State};
use crate::answer::{Answer, Refusal};
use crate::client::{Action, Client, RelayId};
use crate::config::RelayAddress;
use crate::credentials::Name;
use crate::quota::Full;
use crate::wire::{self, Message, attribute, kind};
use rand_core::RngCore;
use std::net::SocketAddr;
use std::time::Instant;
use stun_rs::attributes::stun::XorMappedAddress;
use stun_rs::attributes::turn::{LifeTime, XorRelayedAddress};
use stun_rs::protocols;

/// Ports that are tried for one allocation before it is given up: other programs use some.
const TRIES: u8 = 8;

impl Server {
    pub(super) fn allocate(
        &mut self,
        now: Instant,
        client: &Client,
        message: &Message<'_>,
        who: Who,
    ) -> Result<Outcome, Refusal> {
        if let Some(known) = self
            .by_client
            .get(client)
            .and_then(|relay| self.allocations.get(relay))
        {
            return match &known.state {
                _ if known.transaction != message.transaction() => Err(Refusal::AllocationMismatch),
                State::Opening { .. } => Ok(Outcome::Later),
                State::Open { answer } => Ok(Outcome::Again(answer.clone())),
            };
        }
        let address = self.relay_address(message)?;
        let request = decoded(message)?;
        let found = |wanted| message.attribute(wanted).is_some();
        let transport = request
            .attributes()
            .iter()
            .find_map(|found| found.as_requested_trasport().ok());
        match transport.map(|transport| transport.protocol()) {
            None => return Err(Refusal::BadRequest),
            Some(protocol) if protocol != protocols::UDP => return Err(Refusal::TransportNotSupported),
            Some(_) => {}
        }
        let even = request
            .attributes()
            .iter()
            .find_map(|found| found.as_even_port().ok());
        if found(attribute::RESERVATION_TOKEN)
            && (found(attribute::EVEN_PORT) || found(attribute::REQUESTED_ADDRESS_FAMILY))
        {
            return Err(Refusal::BadRequest);
        }
        // Pairs of ports are for RTP beside RTCP; nobody here has use for them.
        if found(attribute::RESERVATION_TOKEN) || even.is_some_and(|even| even.reserve()) {
            return Err(Refusal::InsufficientCapacity);
        }
        let name = Name::parse(&who.name).ok_or(Refusal::Unauthorized)?;
        let even = even.is_some();
        let port = self
            .free_port(address, even)
            .ok_or(Refusal::InsufficientCapacity)?;
        let charge = self
            .ledger
            .open(now, &self.config.limits, &name, client.remote.ip())
            .map_err(|full| match full {
                Full::Quota => Refusal::QuotaReached,
                Full::Server => Refusal::InsufficientCapacity,
            })?;
        let relay = RelayId(self.next);
        self.next += 1;
        let longest = now + self.config.limits.longest;
        let until = (now + granted(lifetime(&request))).min(longest);
        let relayed = SocketAddr::new(address.announced, port);
        let state = State::Opening {
            bind: address.bind,
            even,
            tried: 1,
            fingerprint: message.has_fingerprint(),
        };
        let allocation = Allocation::new(
            now,
            *client,
            (who.name, who.key),
            charge,
            relayed,
            message.transaction(),
            state,
            (until, longest),
        );
        self.allocations.insert(relay, allocation);
        self.by_client.insert(*client, relay);
        self.by_relayed.insert(relayed, relay);
        self.deadlines.insert((until, relay));
        let at = SocketAddr::new(address.bind, port);
        self.actions.push_back(Action::Open { relay, at });
        Ok(Outcome::Later)
    }

    /// How it went with a socket that was to be opened.
    pub fn relay_opened(&mut self, now: Instant, relay: RelayId, opened: bool) {
        let Some(allocation) = self.allocations.get_mut(&relay) else {
            // Its client went in the meantime.
            if opened {
                self.actions.push_back(Action::Close { relay });
            }
            return;
        };
        let State::Opening { fingerprint, .. } = allocation.state else {
            return;
        };
        if !opened {
            return self.try_another(now, relay);
        }
        let client = allocation.client;
        let lifetime = allocation.until.saturating_duration_since(now);
        let answer = Answer::success(kind::ALLOCATE, allocation.transaction)
            .with(XorRelayedAddress::from(allocation.relayed))
            .with(LifeTime::new(wire::seconds(lifetime)))
            .with(XorMappedAddress::from(client.remote))
            .finish(Some(&allocation.key), fingerprint);
        let Some(answer) = answer else {
            self.actions.push_back(Action::Close { relay });
            return self.end(now, relay);
        };
        allocation.state = State::Open {
            answer: answer.clone(),
        };
        self.counters.allocations += 1;
        self.answer_from(&client, client.local, answer);
    }

    /// The port is somebody else's: takes the next, or gives up.
    fn try_another(&mut self, now: Instant, relay: RelayId) {
        let Some(allocation) = self.allocations.get(&relay) else {
            return;
        };
        let State::Opening {
            bind, even, tried, ..
        } = allocation.state
        else {
            return;
        };
        let old = allocation.relayed;
        let address = RelayAddress {
            bind,
            announced: old.ip(),
        };
        self.by_relayed.remove(&old);
        self.rest(now, old);
        let port = (tried < TRIES).then(|| self.free_port(address, even)).flatten();
        let Some(allocation) = self.allocations.get_mut(&relay) else {
            return;
        };
        let Some(port) = port else {
            return self.give_up(now, relay);
        };
        allocation.relayed.set_port(port);
        if let State::Opening { tried, .. } = &mut allocation.state {
            *tried += 1;
        }
        self.by_relayed.insert(allocation.relayed, relay);
        let at = SocketAddr::new(bind, port);
        self.actions.push_back(Action::Open { relay, at });
    }

    fn give_up(&mut self, now: Instant, relay: RelayId) {
        tracing::warn!("no port for a relay can be had");
        self.counters.no_capacity += 1;
        if let Some(allocation) = self.allocations.get(&relay)
            && let State::Opening { fingerprint, .. } = allocation.state
        {
            let client = allocation.client;
            let refusal = Refusal::InsufficientCapacity;
            let answer = Answer::error(kind::ALLOCATE, allocation.transaction, &refusal)
                .finish(Some(&allocation.key), fingerprint);
            if let Some(answer) = answer {
                self.answer_from(&client, client.local, answer);
            }
        }
        self.end(now, relay);
    }

    /// The address for the family that is asked for; IPv4 where none is (RFC 8656 §7.2).
    fn relay_address(&self, message: &Message<'_>) -> Result<RelayAddress, Refusal> {
        let ipv4 = match message.attribute(attribute::REQUESTED_ADDRESS_FAMILY) {
            None | Some([1, ..]) => true,
            Some([2, ..]) => false,
            Some(_) => return Err(Refusal::FamilyNotSupported),
        };
        let fits = |relay: &&RelayAddress| relay.announced.is_ipv4() == ipv4;
        let found = self.config.relays.iter().find(fits);
        found.copied().ok_or(Refusal::FamilyNotSupported)
    }

    /// A port that nobody has, drawn at random: who could guess it could send there first.
    fn free_port(&mut self, address: RelayAddress, even: bool) -> Option<u16> {
        let (first, last) = (*self.config.ports.start(), *self.config.ports.end());
        let count = u32::from(last.checked_sub(first)?) + 1;
        let begin = self.random.next_u32() % count;
        (0..count)
            .filter_map(|offset| u16::try_from(u32::from(first) + (begin + offset) % count).ok())
            .filter(|port| !even || port.is_multiple_of(2))
            .find(|port| {
                let relayed = SocketAddr::new(address.announced, *port);
                !self.by_relayed.contains_key(&relayed) && !self.resting.contains(&relayed)
            })
    }
}
