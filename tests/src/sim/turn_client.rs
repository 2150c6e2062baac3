//! A TURN client (RFC 8656) for one allocation: asks, keeps alive, binds a channel to each peer, and notices a relay
//! that is silent or forgot it.

use lanrage_core::relays::{RelayServer, RelayUp};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;
use stun_rs::attributes::StunAttribute;
use stun_rs::attributes::stun::{ErrorCode, MessageIntegrity, Nonce, Realm, UserName};
use stun_rs::attributes::turn::{
    ChannelNumber, Data, LifeTime, RequestedTrasport, XorPeerAddress, XorRelayedAddress,
};
use stun_rs::{
    Algorithm, AlgorithmId, HMACKey, MessageClass, MessageDecoderBuilder, MessageEncoderBuilder,
    MessageMethod, StunMessage, StunMessageBuilder, TransactionId, methods,
};

/// When an unanswered request is sent again.
const REPEAT: Duration = Duration::from_millis(500);
/// Without an answer for so long, an allocation will not come, and one that was there is lost.
const GIVEN_UP: Duration = Duration::from_millis(7500);
/// How often the relay is asked where nothing calls for it: often enough for any NAT.
const IDLE: Duration = Duration::from_secs(10);
/// A relay that was sent to and says nothing is asked after the first, then again after the second.
const QUIET: Duration = Duration::from_millis(500);
const AGAIN: Duration = Duration::from_millis(250);
/// Asked in vain for so long it is silent; on a stream, which sends again by itself, later.
const SILENT: Duration = Duration::from_millis(1250);
const SILENT_STREAM: Duration = Duration::from_secs(5);
/// A channel is bound anew before the permission that it brings ends, five minutes after (RFC 8656 §9).
const BIND_AGAIN: Duration = Duration::from_secs(4 * 60);
/// A peer that the relay refused is asked for again after this long.
const REFUSED: Duration = Duration::from_secs(60);
/// What an allocation is asked to last, seconds.
const LIFETIME: u32 = 600;

/// What became of the allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// It is there, or answers again.
    Up(RelayUp),
    /// The relay says nothing.
    Silent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    Allocate,
    Refresh,
    Bind(SocketAddr),
    End,
}

struct Pending {
    ask: Ask,
    began: Duration,
    again: Duration,
    bytes: Vec<u8>,
}

struct Channel {
    number: u16,
    wanted: bool,
    bound: bool,
    next: Option<Duration>,
}

/// What the relay wants to be told, once it asked: name and realm, its nonce, and the key that follows.
struct Login {
    who: [StunAttribute; 2],
    nonce: String,
    key: HMACKey,
}

/// One allocation.
pub(super) struct TurnClient {
    username: String,
    password: String,
    login: Option<Login>,
    began: Duration,
    asked: u32,
    pending: BTreeMap<u32, Pending>,
    up: Option<RelayUp>,
    channels: BTreeMap<SocketAddr, Channel>,
    /// When anything came from the relay last, and since when it is sent to without a word from it.
    heard: Duration,
    waiting: Option<Duration>,
    silent: bool,
    patience: Duration,
    refreshed: Duration,
    out: Vec<Vec<u8>>,
    told: Vec<Told>,
}

impl TurnClient {
    pub(super) fn new(now: Duration, server: &RelayServer, stream: bool) -> Self {
        let mut client = Self {
            username: server.username.clone(),
            password: server.password.to_string(),
            login: None,
            began: now,
            asked: 0,
            pending: BTreeMap::new(),
            up: None,
            channels: BTreeMap::new(),
            heard: now,
            waiting: None,
            silent: false,
            patience: if stream { SILENT_STREAM } else { SILENT },
            refreshed: now,
            out: Vec::new(),
            told: Vec::new(),
        };
        client.ask(now, Ask::Allocate);
        client
    }

    /// What is to be sent to the relay.
    pub(super) fn outgoing(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.out)
    }

    pub(super) fn news(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    pub(super) fn is_up(&self) -> bool {
        self.up.is_some()
    }

    /// Who is to be reached.
    pub(super) fn want(&mut self, now: Duration, peers: &BTreeSet<SocketAddr>) {
        for (peer, channel) in &mut self.channels {
            channel.wanted = peers.contains(peer);
        }
        for peer in peers {
            // A number stays its peer's.
            let number = 0x4000 + u16::try_from(self.channels.len()).unwrap_or(0);
            let channel = self.channels.entry(*peer).or_insert(Channel {
                number,
                wanted: true,
                bound: false,
                next: None,
            });
            let asking = self
                .pending
                .values()
                .any(|pending| pending.ask == Ask::Bind(*peer));
            if !channel.bound && channel.next.is_none() && !asking {
                channel.next = Some(now);
            }
        }
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// Why the allocation can't be had, or is lost.
    pub(super) fn wake(&mut self, now: Duration) -> Result<(), String> {
        for pending in self.pending.values_mut() {
            if now >= pending.began + GIVEN_UP {
                return Err("no answer".to_owned());
            }
            if now >= pending.again {
                let asks_for_life = pending.ask == Ask::Refresh;
                pending.again = now + if asks_for_life { AGAIN } else { REPEAT };
                self.out.push(pending.bytes.clone());
            }
        }
        if self.up.is_none() {
            return Ok(());
        }
        let refreshing = self.pending.values().find(|pending| pending.ask == Ask::Refresh);
        match refreshing.map(|pending| pending.began) {
            Some(began) if now >= began + self.patience && self.heard <= began && !self.silent => {
                self.silent = true;
                self.told.push(Told::Silent);
            }
            Some(_) => {}
            None if now >= self.next_refresh() => self.ask(now, Ask::Refresh),
            None => {}
        }
        let due = |channel: &Channel| channel.next.is_some_and(|at| now >= at);
        let due: Vec<SocketAddr> = self
            .channels
            .iter()
            .filter(|(_, channel)| due(channel))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in due {
            let Some(channel) = self.channels.get_mut(&peer) else {
                continue;
            };
            channel.next = None;
            channel.bound &= channel.wanted;
            if channel.wanted {
                self.ask(now, Ask::Bind(peer));
            }
        }
        Ok(())
    }

    fn next_refresh(&self) -> Duration {
        let idle = self.refreshed + IDLE;
        self.waiting.map_or(idle, |since| idle.min(since + QUIET))
    }

    pub(super) fn next_wake(&self) -> Option<Duration> {
        let repeats = self.pending.values().map(|pending| pending.again);
        let silence = self
            .pending
            .values()
            .filter(|pending| pending.ask == Ask::Refresh && !self.silent);
        let silence = silence.map(|pending| pending.began + self.patience);
        let up = self.up.is_some();
        let refreshing = self.pending.values().any(|pending| pending.ask == Ask::Refresh);
        let refresh = (up && !refreshing).then(|| self.next_refresh());
        let channels = self
            .channels
            .values()
            .filter_map(|channel| channel.next.filter(|_| up));
        repeats.chain(silence).chain(refresh).chain(channels).min()
    }

    /// The allocation is not needed any more.
    pub(super) fn end(&mut self, now: Duration) {
        if self.up.is_some() {
            self.ask(now, Ask::End);
        }
    }

    /// A datagram for a peer as the relay wants it; none where there is no permission for the peer yet.
    pub(super) fn frame(&mut self, now: Duration, peer: SocketAddr, datagram: &[u8]) -> Option<Vec<u8>> {
        let channel = self.channels.get(&peer).filter(|channel| channel.bound);
        let framed = match channel {
            Some(channel) => {
                let length = u16::try_from(datagram.len()).ok()?;
                [&channel.number.to_be_bytes()[..], &length.to_be_bytes(), datagram].concat()
            }
            // A permission is for all ports of an address (RFC 8656 §9).
            None if self
                .channels
                .iter()
                .any(|(other, c)| c.bound && other.ip() == peer.ip()) =>
            {
                self.asked += 1;
                let message = StunMessageBuilder::new(methods::SEND, MessageClass::Indication)
                    .with_transaction_id(transaction(self.asked))
                    .with_attribute(XorPeerAddress::from(peer))
                    .with_attribute(Data::new(datagram));
                encode(&message.build())
            }
            None => return None,
        };
        self.waiting.get_or_insert(now);
        Some(framed)
    }

    /// Something came from the relay: what a peer sent, or an answer.
    ///
    /// # Errors
    /// Why the allocation can't be had, or is lost.
    pub(super) fn receive(
        &mut self,
        now: Duration,
        bytes: &[u8],
    ) -> Result<Option<(SocketAddr, Vec<u8>)>, String> {
        self.heard = now;
        self.waiting = None;
        if let Some(([high @ 0x40..=0x7f, low, ..], datagram)) = bytes.split_first_chunk::<4>() {
            let number = u16::from_be_bytes([*high, *low]);
            let peer = self.channels.iter().find(|(_, channel)| channel.number == number);
            return Ok(peer.map(|(peer, _)| (*peer, datagram.to_vec())));
        }
        let Ok((message, _)) = MessageDecoderBuilder::default().build().decode(bytes) else {
            return Ok(None);
        };
        if message.class() == MessageClass::Indication {
            let peer = message
                .get::<XorPeerAddress>()
                .and_then(|peer| peer.as_xor_peer_address().ok());
            let data = message.get::<Data>().and_then(|data| data.as_data().ok());
            return Ok(peer
                .zip(data)
                .map(|(peer, data)| (*peer.socket_address(), data.as_bytes().to_vec())));
        }
        let Some(pending) = number_of(&message).and_then(|number| self.pending.remove(&number)) else {
            return Ok(None);
        };
        match message.class() {
            MessageClass::SuccessResponse => self.granted(now, &pending, &message),
            _ => self.refused(now, &pending, &message)?,
        }
        Ok(None)
    }

    fn granted(&mut self, now: Duration, pending: &Pending, message: &StunMessage) {
        match pending.ask {
            Ask::Allocate => {
                let relayed = message.get::<XorRelayedAddress>();
                let relayed = relayed.and_then(|relayed| relayed.as_xor_relayed_address().ok());
                self.refreshed = now;
                self.up = relayed.map(|relayed| RelayUp {
                    relayed: *relayed.socket_address(),
                    // Challenge and allocation: two round trips.
                    rtt: (now - self.began) / 2,
                });
                self.told.extend(self.up.map(Told::Up));
            }
            Ask::Refresh => {
                self.refreshed = now;
                if std::mem::take(&mut self.silent) {
                    self.told.extend(self.up.map(Told::Up));
                }
            }
            Ask::Bind(peer) => {
                if let Some(channel) = self.channels.get_mut(&peer) {
                    channel.bound = true;
                    channel.next = Some(now + BIND_AGAIN);
                }
            }
            Ask::End => {}
        }
    }

    fn refused(&mut self, now: Duration, pending: &Pending, message: &StunMessage) -> Result<(), String> {
        let code = message
            .get::<ErrorCode>()
            .and_then(|code| code.as_error_code().ok());
        let code = code.map_or(0, |code| code.error_code().error_code());
        let nonce = message.get::<Nonce>().and_then(|nonce| nonce.as_nonce().ok());
        let nonce = nonce.map(|nonce| nonce.as_str().to_owned());
        match (code, nonce, &mut self.login) {
            (401, Some(nonce), None) => {
                let realm = message.get::<Realm>().and_then(|realm| realm.as_realm().ok());
                let realm = realm.map(|realm| realm.as_str().to_owned()).unwrap_or_default();
                let md5 = Algorithm::from(AlgorithmId::MD5);
                let key = HMACKey::new_long_term(&self.username, &realm, &self.password, md5);
                let name = UserName::new(&self.username).map_err(|error| error.to_string())?;
                let named = Realm::new(&realm).map_err(|error| error.to_string())?;
                self.login = Some(Login {
                    who: [name.into(), named.into()],
                    nonce,
                    key: key.map_err(|error| error.to_string())?,
                });
                self.ask(now, pending.ask);
            }
            (438, Some(nonce), Some(login)) => {
                login.nonce = nonce;
                self.ask(now, pending.ask);
            }
            _ => match pending.ask {
                Ask::Bind(peer) if code != 437 => {
                    if let Some(channel) = self.channels.get_mut(&peer) {
                        channel.bound = false;
                        channel.next = Some(now + REFUSED);
                    }
                }
                Ask::Allocate | Ask::Refresh | Ask::Bind(_) => return Err(format!("refused with {code}")),
                Ask::End => {}
            },
        }
        Ok(())
    }

    fn ask(&mut self, now: Duration, ask: Ask) {
        self.asked += 1;
        let (method, attributes) = self.words(ask);
        let mut builder = StunMessageBuilder::new(method, MessageClass::Request)
            .with_transaction_id(transaction(self.asked));
        for attribute in attributes {
            builder = builder.with_attribute(attribute);
        }
        if let Some(Login { who, nonce, key }) = &self.login
            && let Ok(nonce) = Nonce::new(nonce)
        {
            for attribute in who {
                builder = builder.with_attribute(attribute.clone());
            }
            builder = builder
                .with_attribute(nonce)
                .with_attribute(MessageIntegrity::new(key.clone()));
        }
        let bytes = encode(&builder.build());
        self.out.push(bytes.clone());
        let again = now + if ask == Ask::Refresh { AGAIN } else { REPEAT };
        let pending = Pending {
            ask,
            began: now,
            again,
            bytes,
        };
        self.pending.insert(self.asked, pending);
    }

    fn words(&self, ask: Ask) -> (MessageMethod, Vec<StunAttribute>) {
        match ask {
            Ask::Allocate => (
                methods::ALLOCATE,
                vec![
                    RequestedTrasport::default().into(),
                    LifeTime::new(LIFETIME).into(),
                ],
            ),
            Ask::Refresh => (methods::REFRESH, vec![LifeTime::new(LIFETIME).into()]),
            Ask::End => (methods::REFRESH, vec![LifeTime::new(0).into()]),
            Ask::Bind(peer) => {
                let number = self.channels.get(&peer).map_or(0, |channel| channel.number);
                let attributes = vec![
                    ChannelNumber::new(number).into(),
                    XorPeerAddress::from(peer).into(),
                ];
                (methods::CHANNEL_BIND, attributes)
            }
        }
    }
}

fn transaction(number: u32) -> TransactionId {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    TransactionId::from(bytes)
}

fn number_of(message: &StunMessage) -> Option<u32> {
    let bytes = message.transaction_id().as_bytes().first_chunk::<4>()?;
    Some(u32::from_be_bytes(*bytes))
}

fn encode(message: &StunMessage) -> Vec<u8> {
    let mut bytes = vec![0; 2048];
    let length = MessageEncoderBuilder::default()
        .build()
        .encode(&mut bytes, message);
    match length {
        Ok(length) => bytes.truncate(length),
        Err(error) => panic!("a message that can't be written: {error}"),
    }
    bytes
}
