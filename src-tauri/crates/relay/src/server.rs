//! The server: what comes in goes to the part that decides, what comes out is collected here.

mod allocate;
mod forward;
mod requests;

use crate::allocation::Allocation;
use crate::answer;
use crate::binding;
use crate::client::{Action, Client, Link, RelayId, Service, Target};
use crate::config::Config;
use crate::counters::Counters;
use crate::nonce::Nonces;
use crate::pace::{Bucket, BySource};
use crate::quota::Ledger;
use crate::rules;
use crate::seen::Seen;
use crate::wire::{self, Form, Message, kind};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// The longest request that is looked at. With names and nonces as short as ours they are under 400 bytes, unless
/// they name many peers.
pub(crate) const LONGEST_REQUEST: usize = 4096;
/// A relayed port rests so long before somebody else gets it, so that nobody receives what was meant for another
/// (RFC 8656 §7.2).
const REST: Duration = Duration::from_secs(2 * 60);

/// A STUN and TURN server.
///
/// Nothing fails here: what is wrong is answered, or counted and dropped. Calls that come too often, too late, or
/// for what is gone are harmless.
#[derive(Debug)]
pub struct Server {
    config: Config,
    clock: Clock,
    random: ChaCha20Rng,
    nonces: Nonces,
    strangers: BySource,
    unproven: Bucket,
    seen: Seen,
    ledger: Ledger,
    allocations: HashMap<RelayId, Allocation>,
    by_client: HashMap<Client, RelayId>,
    by_relayed: HashMap<SocketAddr, RelayId>,
    deadlines: BTreeSet<(Instant, RelayId)>,
    /// Relayed addresses that nobody gets yet.
    resting: HashSet<SocketAddr>,
    /// And until when, in order.
    rests: VecDeque<(Instant, SocketAddr)>,
    next: u64,
    actions: VecDeque<Action>,
    counters: Counters,
}

/// What time it is for people, as told last.
#[derive(Debug, Clone, Copy)]
struct Clock {
    at: Instant,
    unix: u64,
}

impl Clock {
    fn unix(&self, now: Instant) -> u64 {
        self.unix
            .saturating_add(now.saturating_duration_since(self.at).as_secs())
    }
}

impl Server {
    /// A server without allocations. `randomness` has to be unpredictable and never the same twice: nonces and
    /// ports come from it. `unix` is the time in seconds since 1970.
    pub fn new(config: Config, randomness: [u8; 32], now: Instant, unix: u64) -> Self {
        let mut random = ChaCha20Rng::from_seed(randomness);
        let mut nonces = [0; 32];
        random.fill_bytes(&mut nonces);
        let mut strangers = [0; 16];
        random.fill_bytes(&mut strangers);
        Self {
            config,
            clock: Clock { at: now, unix },
            random,
            nonces: Nonces::new(nonces, now),
            strangers: BySource::new(strangers, now),
            unproven: Bucket::full(now),
            seen: Seen::new(now),
            ledger: Ledger::new(now),
            allocations: HashMap::new(),
            by_client: HashMap::new(),
            by_relayed: HashMap::new(),
            deadlines: BTreeSet::new(),
            resting: HashSet::new(),
            rests: VecDeque::new(),
            next: 0,
            actions: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Says what time it is for people. Needed when the system's clock was set; between that the server counts.
    pub fn set_clock(&mut self, now: Instant, unix: u64) {
        self.clock = Clock { at: now, unix };
    }

    /// A datagram or a stream's frame from a client. What is to be forwarded is appended to `out`, and the result
    /// says where it goes; answers come out of [`Self::poll`].
    pub fn from_client(
        &mut self,
        now: Instant,
        client: &Client,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<Target> {
        let form = bytes.first().map_or(Form::Other, |first| Form::of(*first));
        match (form, client.service) {
            (Form::Channel, Service::Turn) => self.channel_data(now, client, bytes, out),
            (Form::Message, _) => {
                let Some(message) = Message::parse(bytes) else {
                    self.counters.malformed += 1;
                    return None;
                };
                self.message(now, client, &message, out)
            }
            (Form::Channel, Service::Stun) | (Form::Other, _) => {
                self.counters.malformed += 1;
                None
            }
        }
    }

    /// Somebody was here by other means, as on the control plane's connection, and may be relayed to.
    pub fn seen(&mut self, now: Instant, address: IpAddr) {
        self.seen.proven(now, address.to_canonical());
    }

    /// A client's stream has ended, and with it what it allocated.
    pub fn client_gone(&mut self, now: Instant, client: &Client) {
        if let Some(relay) = self.by_client.get(client) {
            self.end(now, *relay);
        }
    }

    /// Whether a client has an allocation.
    pub fn serves(&self, client: &Client) -> bool {
        self.by_client.contains_key(client)
    }

    /// Does what is due by `now`.
    pub fn wake(&mut self, now: Instant) {
        while let Some((until, relay)) = self.deadlines.first().copied()
            && until <= now
        {
            self.end(now, relay);
        }
        while let Some((until, address)) = self.rests.front().copied()
            && until <= now
        {
            self.rests.pop_front();
            self.resting.remove(&address);
        }
    }

    /// When [`Self::wake`] has something to do; later is late, earlier is harmless.
    pub fn next_wake(&self) -> Option<Instant> {
        let allocation = self.deadlines.first().map(|(until, _)| *until);
        let rest = self.rests.front().map(|(until, _)| *until);
        allocation.into_iter().chain(rest).min()
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What happened since the start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Allocations there are.
    pub fn allocations(&self) -> u32 {
        self.ledger.allocations()
    }

    fn message(
        &mut self,
        now: Instant,
        client: &Client,
        message: &Message<'_>,
        out: &mut Vec<u8>,
    ) -> Option<Target> {
        match (message.kind(), client.service) {
            (kind::SEND, Service::Turn) => return self.send(now, client, message, out),
            (kind::BINDING, _) => {
                if self.may_ask(now, client, message) {
                    self.binding(now, client, message);
                }
            }
            (
                kind::ALLOCATE | kind::REFRESH | kind::CREATE_PERMISSION | kind::CHANNEL_BIND,
                Service::Turn,
            ) => {
                if self.may_ask(now, client, message) {
                    self.request(now, client, message);
                }
            }
            // Other methods, answers and indications: nothing that we have to do with (RFC 8489 §6.3). RFC 6062's
            // Connect and ConnectionBind are among them; who asks for a TCP relay is refused at Allocate.
            _ => self.counters.malformed += 1,
        }
        None
    }

    /// Whether a request is looked at: of a length that fits, undamaged, and not one of too many.
    fn may_ask(&mut self, now: Instant, client: &Client, message: &Message<'_>) -> bool {
        if message.bytes().len() > LONGEST_REQUEST {
            self.counters.malformed += 1;
            return false;
        }
        let known = self.by_client.get(client);
        let in_time = match known.and_then(|relay| self.allocations.get_mut(relay)) {
            Some(allocation) => allocation.may_ask(self.config.limits.requests, now),
            None => self.may_stranger_ask(now, client),
        };
        if !in_time {
            self.counters.too_many_requests += 1;
            return false;
        }
        let undamaged = answer::fingerprint_holds(message);
        if !undamaged {
            self.counters.malformed += 1;
        }
        undamaged
    }

    fn may_stranger_ask(&mut self, now: Instant, client: &Client) -> bool {
        let (source, limits) = (client.remote.ip(), &self.config.limits);
        if !self.strangers.take(limits.strangers, now, source) {
            return false;
        }
        match client.link {
            // It answered our part of the handshake.
            Link::Stream(_) => true,
            Link::Datagram => self.seen.is_proven(now, source) || self.unproven.take(limits.unproven, now, 1),
        }
    }

    fn binding(&mut self, now: Instant, client: &Client, message: &Message<'_>) {
        match client.link {
            Link::Datagram => self.seen.claimed(now, client.remote.ip()),
            Link::Stream(_) => self.seen.proven(now, client.remote.ip()),
        }
        if let Some(answer) = binding::answer(self.config.behaviour.as_ref(), client, message) {
            self.counters.bindings += 1;
            let client = Client {
                remote: answer.to,
                ..*client
            };
            self.answer_from(&client, answer.from, answer.bytes);
        }
    }

    fn answer_from(&mut self, client: &Client, from: SocketAddr, bytes: Vec<u8>) {
        self.actions.push_back(Action::Answer {
            client: *client,
            from,
            bytes,
        });
    }

    /// Whether a peer may be relayed to. Ports don't count: what goes to our own relayed addresses is looked at
    /// again when it is sent.
    fn may_relay_to(&mut self, now: Instant, peer: IpAddr) -> bool {
        if !rules::is_unicast(peer) {
            return false;
        }
        if self.is_allowed(peer) || self.is_relayed(peer) {
            return true;
        }
        rules::is_public(peer) && !self.config.own.contains(&peer) && self.seen.lately(now, peer)
    }

    fn is_allowed(&self, peer: IpAddr) -> bool {
        self.config
            .allow_peers
            .iter()
            .any(|network| network.contains(peer))
    }

    fn is_relayed(&self, peer: IpAddr) -> bool {
        self.config.relays.iter().any(|relay| relay.announced == peer)
    }

    /// Ends an allocation.
    fn end(&mut self, now: Instant, relay: RelayId) {
        let Some(allocation) = self.allocations.remove(&relay) else {
            return;
        };
        self.deadlines.remove(&(allocation.until, relay));
        self.by_client.remove(&allocation.client);
        self.by_relayed.remove(&allocation.relayed);
        self.ledger.close(allocation.charge);
        if allocation.is_open() {
            self.counters.allocations_ended += 1;
            self.rest(now, allocation.relayed);
            self.actions.push_back(Action::Close { relay });
        }
    }

    /// Keeps a relayed address for nobody.
    fn rest(&mut self, now: Instant, address: SocketAddr) {
        if self.resting.insert(address) {
            self.rests.push_back((now + REST, address));
        }
    }
}

/// Payloads above this don't fit a Data indication.
const LONGEST_PAYLOAD: usize = u16::MAX as usize - wire::DATA_OVERHEAD;
