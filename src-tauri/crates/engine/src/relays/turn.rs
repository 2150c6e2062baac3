//! A TURN client (RFC 8656) without socket and clock: one allocation, and a channel to each peer.
//!
//! Refresh is three things here. It keeps the allocation; its round trip is how far away the relay is; and it is asked
//! for as soon as a relay that is sent to says nothing, so that one that died, or was restarted and knows nothing of
//! the allocation, is noticed within about a second.

mod channels;
mod message;
mod pulse;
#[cfg(test)]
mod tests;

use channels::Channels;
use message::{Answer, Ask, Granted, Id, Login, Refused};
use pulse::Pulse;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// When a request over UDP is repeated, counted from its first: a relay on the other side of the world answers within
/// 500 ms (RFC 8489 §6.2.1).
const REPEATS: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_millis(1500),
    Duration::from_millis(3500),
];
/// A request without an answer is given up after this long.
const GIVEN_UP: Duration = Duration::from_millis(7500);
/// A relay that changes its nonce more often in a row than this is not to be pleased.
const CHALLENGES: u32 = 4;
/// A relay that grants less than this share of what it granted first is about to end the allocation.
const ENDING: f64 = 0.75;

/// What happens to an allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// It is there, at this distance; said again when the distance was measured, and when a silent relay is back.
    Up { relayed: SocketAddr, rtt: Duration },
    /// The relay says nothing. It may come back.
    Silent,
    /// The relay will soon end it, or does not prolong it.
    Ending { reason: String },
}

/// An allocation, from the first request to its end.
pub(super) struct Turn {
    login: Login,
    stream: bool,
    pending: BTreeMap<Id, Pending>,
    transmits: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
    allocation: Option<Allocation>,
    channels: Channels,
    failed: Option<String>,
}

struct Pending {
    ask: Ask,
    began: Instant,
    bytes: Vec<u8>,
    repeats: usize,
    challenges: u32,
}

struct Allocation {
    relayed: SocketAddr,
    rtt: Duration,
    /// What was granted first.
    granted: Duration,
    until: Instant,
    ending: bool,
    pulse: Pulse,
}

impl Turn {
    /// Begins to allocate; `stream` where the relay is reached by TCP or TLS.
    pub(super) fn new(now: Instant, username: &str, password: &str, stream: bool) -> Self {
        let mut turn = Self {
            login: Login::new(username, password),
            stream,
            pending: BTreeMap::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            allocation: None,
            channels: Channels::default(),
            failed: None,
        };
        turn.ask(now, Ask::Allocate, 0);
        turn
    }

    /// Why there is no allocation and will be none.
    pub(super) fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// Whether it ever came to an allocation.
    pub(super) fn is_allocated(&self) -> bool {
        self.allocation.is_some()
    }

    /// The next message to the relay.
    pub(super) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmits.pop_front()
    }

    /// What happened next.
    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whom it is to relay to and from.
    pub(super) fn want(&mut self, now: Instant, peers: &BTreeSet<SocketAddr>) {
        self.channels.want(now, peers);
        self.bind(now);
    }

    /// Writes a datagram for a peer as it goes to the relay. `false` without a channel: one is being bound, and game
    /// packets are worth nothing later.
    pub(super) fn frame(&mut self, now: Instant, to: SocketAddr, datagram: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(allocation) = &mut self.allocation else {
            return false;
        };
        let Some(number) = self.channels.number(now, to) else {
            return false;
        };
        let Ok(length) = u16::try_from(datagram.len()) else {
            return false;
        };
        allocation.pulse.sent(now);
        out.extend(number.to_be_bytes());
        out.extend(length.to_be_bytes());
        out.extend(datagram);
        if self.stream {
            // RFC 8656 §12.5.
            out.resize(out.len() + datagram.len().next_multiple_of(4) - datagram.len(), 0);
        }
        true
    }

    /// A whole message from the relay. Returns what a peer sent, if it is that.
    pub(super) fn received<'a>(
        &mut self,
        now: Instant,
        message: &'a [u8],
    ) -> Option<(SocketAddr, Cow<'a, [u8]>)> {
        match message {
            [high @ 0x40..=0x4F, low, a, b, rest @ ..] => {
                let length = usize::from(u16::from_be_bytes([*a, *b]));
                let peer = self.channels.peer(u16::from_be_bytes([*high, *low]))?;
                let data = rest.get(..length)?;
                self.brought(now);
                Some((peer, Cow::Borrowed(data)))
            }
            // Data, an indication: RFC 8656 §11.4.
            [0x00, 0x17, ..] => {
                let (peer, data) = message::data(message)?;
                self.brought(now);
                Some((peer, Cow::Owned(data)))
            }
            _ => {
                if let Some(answer) = self.login.answer(message) {
                    self.answered(now, answer);
                }
                None
            }
        }
    }

    /// The relay's computer says that nobody listens there (ICMP); anybody could say so, so it only makes one ask.
    pub(super) fn refused(&mut self, now: Instant) {
        match &mut self.allocation {
            Some(allocation) => allocation.pulse.refused(now),
            None => self.fail("nobody listens there"),
        }
    }

    /// Everything that time brings about. Calling it too often is harmless.
    pub(super) fn wake(&mut self, now: Instant) {
        self.repeat(now);
        self.pulse(now);
        self.bind(now);
    }

    /// When to call [`Turn::wake`] next.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        let pending = self.pending.values().map(|pending| pending.next(self.stream));
        let allocation = self.allocation.as_ref();
        let pulse = allocation.map(|allocation| allocation.pulse.next().min(allocation.until));
        let channels = allocation.and_then(|_| self.channels.next_wake());
        pending.chain(pulse).chain(channels).min()
    }

    /// Ends the allocation; what is to be said to the relay comes out of [`Turn::poll_transmit`].
    pub(super) fn give_back(&mut self, now: Instant) {
        if self.login.is_challenged() {
            self.ask(now, Ask::Refresh { end: true }, 0);
        }
    }

    fn fail(&mut self, why: impl Into<String>) {
        self.failed.get_or_insert(why.into());
    }

    fn ask(&mut self, now: Instant, ask: Ask, challenges: u32) {
        let Some((id, bytes)) = self.login.request(ask) else {
            return self.fail("its credentials can't be put into a request");
        };
        self.transmits.push_back(bytes.clone());
        let pending = Pending {
            ask,
            began: now,
            bytes,
            repeats: 0,
            challenges,
        };
        self.pending.insert(id, pending);
    }

    fn bind(&mut self, now: Instant) {
        if self.allocation.is_some() {
            for (number, peer) in self.channels.due(now) {
                self.ask(now, Ask::Bind(number, peer), 0);
            }
        }
    }

    /// Repeats requests, and gives them up.
    fn repeat(&mut self, now: Instant) {
        let mut given_up = Vec::new();
        for (id, pending) in &mut self.pending {
            if now >= pending.began + GIVEN_UP {
                given_up.push(*id);
            } else if now >= pending.next(self.stream) {
                pending.repeats += 1;
                self.transmits.push_back(pending.bytes.clone());
            }
        }
        for id in given_up {
            match self.pending.remove(&id).map(|pending| pending.ask) {
                Some(Ask::Allocate) => self.fail("no answer"),
                Some(Ask::Bind(_, peer)) => self.channels.failed(now, peer, false),
                // The pulse asks anew.
                Some(Ask::Refresh { .. }) | None => {}
            }
        }
    }

    fn pulse(&mut self, now: Instant) {
        let Some(allocation) = &mut self.allocation else {
            return;
        };
        if now >= allocation.until {
            return self.fail("the allocation ran out");
        }
        let pulse = &mut allocation.pulse;
        if pulse.is_lost(now) {
            return self.fail("it says nothing any more");
        }
        if pulse.falls_silent(now) {
            self.events.push_back(Event::Silent);
        }
        if now >= pulse.next() {
            pulse.asked(now);
            self.ask(now, Ask::Refresh { end: false }, 0);
        }
    }

    fn heard(&mut self, now: Instant) {
        if let Some(allocation) = &mut self.allocation {
            allocation.pulse.heard(now);
        }
    }

    fn brought(&mut self, now: Instant) {
        if let Some(allocation) = &mut self.allocation {
            allocation.pulse.brought(now);
        }
    }

    fn answered(&mut self, now: Instant, answer: Answer) {
        let Some(pending) = self.pending.remove(&answer.id) else {
            return;
        };
        match answer.outcome {
            Ok(granted) => self.granted(now, &pending, granted),
            Err(refused) => self.was_refused(now, &pending, &refused),
        }
    }

    fn granted(&mut self, now: Instant, pending: &Pending, granted: Granted) {
        let rtt = now.saturating_duration_since(pending.began);
        match pending.ask {
            Ask::Allocate => {
                let (Some(relayed), Some(lifetime)) = (granted.relayed, granted.lifetime) else {
                    return self.fail("its answer names no address");
                };
                self.allocation = Some(Allocation {
                    relayed,
                    rtt,
                    granted: lifetime,
                    until: now + lifetime,
                    ending: false,
                    pulse: Pulse::new(now, rtt, lifetime),
                });
                self.events.push_back(Event::Up { relayed, rtt });
                self.bind(now);
            }
            Ask::Refresh { end: true } => self.fail("it was given back"),
            Ask::Refresh { end: false } => self.refreshed(now, rtt, granted.lifetime),
            Ask::Bind(_, peer) => {
                self.heard(now);
                self.channels.bound(now, peer);
            }
        }
    }

    fn refreshed(&mut self, now: Instant, rtt: Duration, lifetime: Option<Duration>) {
        let Some(allocation) = &mut self.allocation else {
            return;
        };
        allocation.rtt = (allocation.rtt * 7 + rtt) / 8;
        allocation.pulse.lives(now, allocation.rtt);
        let lifetime = lifetime.unwrap_or(allocation.granted);
        allocation.until = now + lifetime;
        self.events.push_back(Event::Up {
            relayed: allocation.relayed,
            rtt: allocation.rtt,
        });
        if lifetime < allocation.granted.mul_f64(ENDING) && !allocation.ending {
            allocation.ending = true;
            let reason = format!("it goes on for {} s and no longer", lifetime.as_secs());
            self.events.push_back(Event::Ending { reason });
        }
    }

    fn was_refused(&mut self, now: Instant, pending: &Pending, refused: &Refused) {
        self.heard(now);
        // The first challenge, or a nonce that is too old (RFC 8489 §9.2.5).
        let first = refused.code == 401 && !self.login.is_challenged();
        if (first || refused.code == 438) && pending.challenges < CHALLENGES && self.login.challenged(refused)
        {
            return self.ask(now, pending.ask, pending.challenges + 1);
        }
        let Refused { code, reason, .. } = refused;
        match pending.ask {
            Ask::Allocate => self.fail(format!("it refused: {code} {reason}")),
            // Allocation Mismatch: it was restarted, or took the allocation away.
            _ if *code == 437 => self.fail("it knows nothing of the allocation any more"),
            Ask::Bind(_, peer) => {
                tracing::debug!(code, reason, "no channel");
                self.channels.failed(now, peer, true);
            }
            Ask::Refresh { .. } => {
                let Some(allocation) = &mut self.allocation else {
                    return;
                };
                allocation.pulse.lives(now, allocation.rtt);
                if !allocation.ending {
                    allocation.ending = true;
                    let reason = format!("it is not prolonged: {code} {reason}");
                    self.events.push_back(Event::Ending { reason });
                }
            }
        }
    }
}

impl Pending {
    /// When something is to be done about it.
    fn next(&self, stream: bool) -> Instant {
        let repeats = match self.ask {
            Ask::Allocate | Ask::Bind(..) if !stream => REPEATS.get(self.repeats),
            // On a stream nothing is lost, and the pulse asks anew.
            Ask::Allocate | Ask::Bind(..) | Ask::Refresh { .. } => None,
        };
        self.began + repeats.copied().unwrap_or(GIVEN_UP)
    }
}
