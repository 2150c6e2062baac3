//! One allocation: a relayed address, whom it may talk to, and by which channels.

use crate::client::Client;
use crate::config::Pace;
use crate::credentials::Key;
use crate::pace::Bucket;
use crate::quota::Charge;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// How long a permission holds (RFC 8656 §9).
const PERMISSION: Duration = Duration::from_secs(5 * 60);
/// How long a channel holds (RFC 8656 §12).
const CHANNEL: Duration = Duration::from_secs(10 * 60);
/// A peer that is heard is noted so often as somebody who showed itself.
const NOTE: Duration = Duration::from_secs(60);

/// One allocation.
#[derive(Debug)]
pub(crate) struct Allocation {
    pub(crate) client: Client,
    pub(crate) name: String,
    pub(crate) key: Key,
    pub(crate) charge: Charge,
    /// As peers see it.
    pub(crate) relayed: SocketAddr,
    /// The transaction of the request that made it.
    pub(crate) transaction: [u8; 12],
    pub(crate) state: State,
    pub(crate) until: Instant,
    /// It can't be refreshed beyond this.
    pub(crate) longest: Instant,
    requests: Bucket,
    permissions: HashMap<IpAddr, Permission>,
    by_number: HashMap<u16, Channel>,
    by_peer: HashMap<SocketAddr, u16>,
}

/// How far it has come.
#[derive(Debug)]
pub(crate) enum State {
    /// Its socket is being opened.
    Opening {
        /// Where the next attempts go.
        bind: IpAddr,
        even: bool,
        /// Attempts so far.
        tried: u8,
        fingerprint: bool,
    },
    /// It relays.
    Open {
        /// The answer, for a client that did not get it.
        answer: Vec<u8>,
    },
}

#[derive(Debug)]
struct Permission {
    until: Instant,
    noted: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Channel {
    peer: SocketAddr,
    until: Instant,
}

/// There are as many as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany;

/// Why a channel is not bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotBound {
    /// The number is another peer's, or the peer has another number (RFC 8656 §12.2).
    Conflict,
    /// There are as many as there may be.
    TooMany,
}

/// What a packet from a peer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Nothing.
    Refused,
    /// Come in. `note` says that it is time to remember that the peer was heard.
    Permitted { channel: Option<u16>, note: bool },
}

impl Allocation {
    #[allow(clippy::too_many_arguments, reason = "each is a field")]
    pub(crate) fn new(
        now: Instant,
        client: Client,
        (name, key): (String, Key),
        charge: Charge,
        relayed: SocketAddr,
        transaction: [u8; 12],
        state: State,
        (until, longest): (Instant, Instant),
    ) -> Self {
        Self {
            client,
            name,
            key,
            charge,
            relayed,
            transaction,
            state,
            until,
            longest,
            requests: Bucket::full(now),
            permissions: HashMap::new(),
            by_number: HashMap::new(),
            by_peer: HashMap::new(),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Whether one more request is looked at.
    pub(crate) fn may_ask(&mut self, pace: Pace, now: Instant) -> bool {
        self.requests.take(pace, now, 1)
    }

    /// Whether packets may go to and come from an address.
    pub(crate) fn permits(&self, now: Instant, peer: IpAddr) -> bool {
        self.permissions.get(&peer).is_some_and(|known| now < known.until)
    }

    /// Lets all of these in, or none.
    pub(crate) fn permit(&mut self, now: Instant, peers: &[IpAddr], most: usize) -> Result<(), TooMany> {
        let fresh = peers
            .iter()
            .filter(|peer| !self.permissions.contains_key(peer))
            .count();
        if self.permissions.len() + fresh > most {
            self.permissions.retain(|_, known| now < known.until);
            let fresh = peers
                .iter()
                .filter(|peer| !self.permissions.contains_key(peer))
                .count();
            if self.permissions.len() + fresh > most {
                return Err(TooMany);
            }
        }
        for peer in peers {
            let until = now + PERMISSION;
            self.permissions
                .entry(*peer)
                .and_modify(|known| known.until = until)
                .or_insert(Permission { until, noted: now });
        }
        Ok(())
    }

    /// Binds a channel, or goes on with it; and lets its peer in.
    pub(crate) fn bind(
        &mut self,
        now: Instant,
        number: u16,
        peer: SocketAddr,
        most: usize,
    ) -> Result<(), NotBound> {
        let bound = |channel: Option<&Channel>| channel.filter(|channel| now < channel.until).copied();
        if let Some(channel) = bound(self.by_number.get(&number))
            && channel.peer != peer
        {
            return Err(NotBound::Conflict);
        }
        if let Some(other) = self.by_peer.get(&peer)
            && *other != number
            && bound(self.by_number.get(other)).is_some_and(|channel| channel.peer == peer)
        {
            return Err(NotBound::Conflict);
        }
        if !self.by_number.contains_key(&number) && self.by_number.len() >= most {
            self.by_number.retain(|_, channel| now < channel.until);
            if self.by_number.len() >= most {
                return Err(NotBound::TooMany);
            }
            let by_number = &self.by_number;
            self.by_peer.retain(|_, number| by_number.contains_key(number));
        }
        self.permit(now, &[peer.ip()], most)
            .map_err(|TooMany| NotBound::TooMany)?;
        let until = now + CHANNEL;
        if let Some(old) = self.by_number.insert(number, Channel { peer, until })
            && old.peer != peer
        {
            self.by_peer.remove(&old.peer);
        }
        self.by_peer.insert(peer, number);
        Ok(())
    }

    /// The peer that a channel leads to.
    pub(crate) fn peer_of(&self, now: Instant, number: u16) -> Option<SocketAddr> {
        let channel = self.by_number.get(&number)?;
        (now < channel.until).then_some(channel.peer)
    }

    /// What a packet from a peer may do.
    pub(crate) fn entry(&mut self, now: Instant, peer: SocketAddr) -> Entry {
        let Some(permission) = self.permissions.get_mut(&peer.ip()) else {
            return Entry::Refused;
        };
        if now >= permission.until {
            return Entry::Refused;
        }
        let note = now.saturating_duration_since(permission.noted) >= NOTE;
        if note {
            permission.noted = now;
        }
        let channel = self.by_peer.get(&peer).copied();
        let channel = channel.filter(|number| self.peer_of(now, *number) == Some(peer));
        Entry::Permitted { channel, note }
    }
}
