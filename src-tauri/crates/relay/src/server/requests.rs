//! TURN requests: who asks, and what an allocation that exists may be asked.

use super::Server;
use crate::allocation::{NotBound, TooMany};
use crate::answer::{Answer, Refusal};
use crate::client::{Client, RelayId};
use crate::credentials::{Key, Name};
use crate::wire::{self, Message, attribute, kind};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};
use stun_rs::attributes::turn::LifeTime;
use stun_rs::{MessageDecoder, StunMessage};

/// A lifetime when none is asked for, and the shortest there is (RFC 8656 §7.2).
pub(super) const SHORTEST: Duration = Duration::from_secs(600);
/// The longest between two refreshes.
const LONGEST: Duration = Duration::from_secs(3600);
/// Channels. RFC 8656 §12 leaves 0x4000–0x4FFF of them; clients of RFC 5766 take any up to here.
const CHANNELS: RangeInclusive<u16> = 0x4000..=0x7ffe;

/// A client that knows the password of the name it gave.
pub(super) struct Who {
    pub(super) name: String,
    pub(super) key: Key,
}

/// What becomes of a request.
pub(super) enum Outcome {
    /// It is answered.
    Answer(Answer),
    /// With these bytes, written before.
    Again(Vec<u8>),
    /// It is answered later, or was before.
    Later,
}

impl Server {
    /// A request that asks for something to be done.
    pub(super) fn request(&mut self, now: Instant, client: &Client, message: &Message<'_>) {
        let (outcome, key) = match self.authenticate(now, client, message) {
            Ok(who) => {
                self.seen.proven(now, client.remote.ip());
                let key = who.key.clone();
                (self.carry_out(now, client, message, who), Some(key))
            }
            Err(refusal) => (Err(refusal), None),
        };
        let answer = match outcome {
            Ok(Outcome::Later) => return,
            Ok(Outcome::Again(bytes)) => return self.answer_from(client, client.local, bytes),
            Ok(Outcome::Answer(answer)) => answer,
            Err(refusal) => self.refuse(now, client, message, &refusal),
        };
        if let Some(bytes) = answer.finish(key.as_ref(), message.has_fingerprint()) {
            self.answer_from(client, client.local, bytes);
        }
    }

    /// RFC 8489 §9.2.4, in its order.
    fn authenticate(&mut self, now: Instant, client: &Client, message: &Message<'_>) -> Result<Who, Refusal> {
        if !message.has_integrity() {
            return Err(Refusal::Unauthorized);
        }
        let (Some(name), Some(_), Some(nonce)) = (
            message.attribute(attribute::USERNAME),
            message.attribute(attribute::REALM),
            message.attribute(attribute::NONCE),
        ) else {
            return Err(Refusal::BadRequest);
        };
        if !self.nonces.holds(now, client, nonce) {
            return Err(Refusal::StaleNonce);
        }
        let who = self.known(now, client, message, name);
        if who.is_none() {
            self.counters.bad_credentials += 1;
        }
        who.ok_or(Refusal::Unauthorized)
    }

    fn known(&self, now: Instant, client: &Client, message: &Message<'_>, name: &[u8]) -> Option<Who> {
        let text = std::str::from_utf8(name).ok()?;
        let name = Name::parse(text)?;
        let allocation = self
            .by_client
            .get(client)
            .and_then(|relay| self.allocations.get(relay));
        let key = match allocation {
            // Its own key, for as long as it lives.
            Some(allocation) if allocation.name == text => allocation.key.clone(),
            _ if message.kind() == kind::ALLOCATE && name.expiry <= self.clock.unix(now) => return None,
            _ => self.config.secret.key(text, &self.config.realm)?,
        };
        message.was_signed_with(&key).then(|| Who {
            name: text.to_owned(),
            key,
        })
    }

    fn carry_out(
        &mut self,
        now: Instant,
        client: &Client,
        message: &Message<'_>,
        who: Who,
    ) -> Result<Outcome, Refusal> {
        let known: &[u16] = match message.kind() {
            kind::ALLOCATE => &[
                attribute::LIFETIME,
                attribute::REQUESTED_ADDRESS_FAMILY,
                attribute::EVEN_PORT,
                attribute::REQUESTED_TRANSPORT,
                attribute::RESERVATION_TOKEN,
            ],
            kind::REFRESH => &[attribute::LIFETIME, attribute::REQUESTED_ADDRESS_FAMILY],
            kind::CREATE_PERMISSION => &[attribute::XOR_PEER_ADDRESS],
            _ => &[attribute::XOR_PEER_ADDRESS, attribute::CHANNEL_NUMBER],
        };
        let relay = self.by_client.get(client).copied();
        if let Some(allocation) = relay.and_then(|relay| self.allocations.get(&relay))
            && allocation.name != who.name
        {
            return Err(Refusal::WrongCredentials);
        }
        let unknown = message.unknown(known);
        if !unknown.is_empty() {
            return Err(Refusal::UnknownAttributes(unknown));
        }
        if message.kind() == kind::ALLOCATE {
            return self.allocate(now, client, message, who);
        }
        let open = relay.filter(|relay| self.allocations.get(relay).is_some_and(|known| known.is_open()));
        let relay = open.ok_or(Refusal::AllocationMismatch)?;
        let request = decoded(message)?;
        let answer = Answer::success(message.kind(), message.transaction());
        match message.kind() {
            kind::REFRESH => {
                let family = message.attribute(attribute::REQUESTED_ADDRESS_FAMILY);
                let left = self.refresh(now, relay, lifetime(&request), family)?;
                Ok(Outcome::Answer(answer.with(LifeTime::new(wire::seconds(left)))))
            }
            kind::CREATE_PERMISSION => {
                self.create_permission(now, relay, &request)?;
                Ok(Outcome::Answer(answer))
            }
            _ => {
                self.channel_bind(now, relay, &request)?;
                Ok(Outcome::Answer(answer))
            }
        }
    }

    /// RFC 8656 §8.2. Returns the lifetime granted.
    fn refresh(
        &mut self,
        now: Instant,
        relay: RelayId,
        lifetime: Option<Duration>,
        family: Option<&[u8]>,
    ) -> Result<Duration, Refusal> {
        let allocation = self
            .allocations
            .get_mut(&relay)
            .ok_or(Refusal::AllocationMismatch)?;
        let ours = if allocation.relayed.is_ipv4() { 1 } else { 2 };
        if family.is_some_and(|family| family.first() != Some(&ours)) {
            return Err(Refusal::FamilyMismatch);
        }
        if lifetime == Some(Duration::ZERO) {
            self.end(now, relay);
            return Ok(Duration::ZERO);
        }
        let granted = granted(lifetime).min(allocation.longest.saturating_duration_since(now));
        let until = now + granted;
        self.deadlines.remove(&(allocation.until, relay));
        self.deadlines.insert((until, relay));
        allocation.until = until;
        Ok(granted)
    }

    /// RFC 8656 §10.2.
    fn create_permission(
        &mut self,
        now: Instant,
        relay: RelayId,
        request: &StunMessage,
    ) -> Result<(), Refusal> {
        let peers: Vec<SocketAddr> = peers(request).collect();
        let ips = self.permitted(now, relay, &peers)?;
        let most = self.config.limits.permissions;
        let allocation = self
            .allocations
            .get_mut(&relay)
            .ok_or(Refusal::AllocationMismatch)?;
        let permitted = allocation.permit(now, &ips, most);
        permitted.map_err(|TooMany| Refusal::InsufficientCapacity)
    }

    /// RFC 8656 §12.2.
    fn channel_bind(&mut self, now: Instant, relay: RelayId, request: &StunMessage) -> Result<(), Refusal> {
        let number = request
            .attributes()
            .iter()
            .find_map(|found| found.as_channel_number().ok());
        let number = number
            .map(|number| number.number())
            .filter(|number| CHANNELS.contains(number));
        let (Some(number), Some(peer)) = (number, peers(request).next()) else {
            return Err(Refusal::BadRequest);
        };
        self.permitted(now, relay, &[peer])?;
        let most = self.config.limits.permissions;
        let allocation = self
            .allocations
            .get_mut(&relay)
            .ok_or(Refusal::AllocationMismatch)?;
        allocation.bind(now, number, peer, most).map_err(|why| match why {
            NotBound::Conflict => Refusal::BadRequest,
            NotBound::TooMany => Refusal::InsufficientCapacity,
        })
    }

    /// The addresses of these peers, where all of them may be relayed to. What is permitted already may go on.
    fn permitted(
        &mut self,
        now: Instant,
        relay: RelayId,
        peers: &[SocketAddr],
    ) -> Result<Vec<IpAddr>, Refusal> {
        let allocation = self.allocations.get(&relay).ok_or(Refusal::AllocationMismatch)?;
        let ipv4 = allocation.relayed.is_ipv4();
        if peers.is_empty() {
            return Err(Refusal::BadRequest);
        }
        if peers.iter().any(|peer| peer.is_ipv4() != ipv4) {
            return Err(Refusal::FamilyMismatch);
        }
        let ips: Vec<IpAddr> = peers.iter().map(|peer| peer.ip()).collect();
        let fresh: Vec<IpAddr> = ips
            .iter()
            .copied()
            .filter(|ip| !allocation.permits(now, *ip))
            .collect();
        if fresh.iter().all(|ip| self.may_relay_to(now, *ip)) {
            Ok(ips)
        } else {
            Err(Refusal::Forbidden)
        }
    }

    fn refuse(&mut self, now: Instant, client: &Client, message: &Message<'_>, refusal: &Refusal) -> Answer {
        use stun_rs::attributes::stun::{Nonce, Realm};
        let answer = Answer::error(message.kind(), message.transaction(), refusal);
        let counter = match refusal {
            Refusal::Unauthorized | Refusal::StaleNonce => &mut self.counters.challenges,
            Refusal::Forbidden => &mut self.counters.forbidden_peers,
            Refusal::QuotaReached => &mut self.counters.over_quota,
            Refusal::InsufficientCapacity => &mut self.counters.no_capacity,
            Refusal::BadRequest
            | Refusal::UnknownAttributes(_)
            | Refusal::AllocationMismatch
            | Refusal::FamilyNotSupported
            | Refusal::WrongCredentials
            | Refusal::TransportNotSupported
            | Refusal::FamilyMismatch => &mut self.counters.other_refusals,
        };
        *counter += 1;
        if !matches!(refusal, Refusal::Unauthorized | Refusal::StaleNonce) {
            return answer;
        }
        let nonce = Nonce::new(self.nonces.make(now, client));
        match (Realm::new(&self.config.realm), nonce) {
            (Ok(realm), Ok(nonce)) => answer.with(realm).with(nonce),
            _ => answer,
        }
    }
}

/// Reads a request that is known to come from who holds credentials.
pub(super) fn decoded(message: &Message<'_>) -> Result<StunMessage, Refusal> {
    match MessageDecoder::default().decode(message.bytes()) {
        Ok((decoded, _)) => Ok(decoded),
        Err(error) => {
            tracing::debug!(%error, "a request can't be read");
            Err(Refusal::BadRequest)
        }
    }
}

/// The lifetime asked for.
pub(super) fn lifetime(request: &StunMessage) -> Option<Duration> {
    let found = request
        .attributes()
        .iter()
        .find_map(|found| found.as_life_time().ok());
    found.map(|lifetime| Duration::from_secs(u64::from(lifetime.as_u32())))
}

/// The lifetime given.
pub(super) fn granted(asked: Option<Duration>) -> Duration {
    asked.unwrap_or(SHORTEST).clamp(SHORTEST, LONGEST)
}

fn peers(request: &StunMessage) -> impl Iterator<Item = SocketAddr> {
    request
        .attributes()
        .iter()
        .filter_map(|found| found.as_xor_peer_address().ok())
        .map(|peer| *peer.socket_address())
        .map(|peer| SocketAddr::new(peer.ip().to_canonical(), peer.port()))
}
