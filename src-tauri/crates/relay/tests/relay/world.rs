//! A server with sockets made of maps, and clients that speak stun-rs.

use hmac::{Hmac, Mac};
use lanrage_relay::config::Pace;
use lanrage_relay::credentials::{Credentials, Secret};
use lanrage_relay::wire::{self, Message};
use lanrage_relay::{Action, Client, Config, Limits, Link, RelayAddress, RelayId, Server, Service, Target};
use sha1::Sha1;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use stun_rs::attributes::StunAttribute;
use stun_rs::attributes::stun::{MessageIntegrity, Nonce, Realm, UserName};
use stun_rs::attributes::turn::{
    ChannelNumber, Data, LifeTime, RequestedTrasport, XorPeerAddress, XorRelayedAddress,
};
use stun_rs::{
    Algorithm, AlgorithmId, HMACKey, MessageClass, MessageDecoderBuilder, MessageEncoderBuilder,
    MessageMethod, StunMessage, StunMessageBuilder, TransactionId, methods,
};

pub(crate) const UNIX: u64 = 1_800_000_000;
pub(crate) const REALM: &str = "lanrage";
pub(crate) const PUBLIC: &str = "9.9.9.9";

pub(crate) fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn config() -> Config {
    Config {
        realm: REALM.to_owned(),
        secret: Secret::new("north"),
        relays: vec![RelayAddress {
            bind: ip("10.0.0.9"),
            announced: ip(PUBLIC),
        }],
        ports: 50_000..=50_099,
        allow_peers: Vec::new(),
        own: vec![ip("9.9.9.8")],
        behaviour: None,
        limits: Limits {
            member_bytes: Pace::UNLIMITED,
            source_bytes: Pace::UNLIMITED,
            bytes: Pace::UNLIMITED,
            ..Limits::default()
        },
    }
}

/// Names and passwords as the control plane hands them out.
pub(crate) fn credentials(id: &str) -> Credentials {
    Secret::new("north").credentials(UNIX + 3600, id)
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) server: Server,
    /// Relay sockets that are open, and where.
    pub(crate) sockets: BTreeMap<RelayId, SocketAddr>,
    /// Addresses that another program has.
    pub(crate) taken: BTreeSet<SocketAddr>,
    pub(crate) answers: Vec<(Client, SocketAddr, Vec<u8>)>,
}

/// What came out of a packet that went in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Out {
    Nothing,
    Client(Client, Vec<u8>),
    /// From a relay's address to a peer's.
    Peer(SocketAddr, SocketAddr, Vec<u8>),
}

impl World {
    pub(crate) fn new(config: Config) -> Self {
        let now = Instant::now();
        Self {
            now,
            server: Server::new(config, [3; 32], now, UNIX),
            sockets: BTreeMap::new(),
            taken: BTreeSet::new(),
            answers: Vec::new(),
        }
    }

    /// Time goes on, and the server does what is due.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(wake) = self.server.next_wake()
            && wake <= end
        {
            self.now = self.now.max(wake);
            self.server.wake(self.now);
            self.act();
        }
        self.now = end;
    }

    pub(crate) fn act(&mut self) {
        while let Some(action) = self.server.poll() {
            match action {
                Action::Answer { client, from, bytes } => self.answers.push((client, from, bytes)),
                Action::Open { relay, at } => {
                    let free = !self.taken.contains(&at) && !self.sockets.values().any(|open| *open == at);
                    if free {
                        self.sockets.insert(relay, at);
                    }
                    self.server.relay_opened(self.now, relay, free);
                }
                Action::Close { relay } => {
                    assert!(self.sockets.remove(&relay).is_some(), "closed what was not open");
                }
            }
        }
    }

    /// Something from a client; what is forwarded comes back.
    pub(crate) fn client(&mut self, client: &Client, bytes: &[u8]) -> Out {
        let mut out = Vec::new();
        let target = self.server.from_client(self.now, client, bytes, &mut out);
        self.act();
        match target {
            None => {
                assert!(out.is_empty(), "bytes without a target");
                Out::Nothing
            }
            Some(Target::Client(client)) => Out::Client(client, out),
            Some(Target::Peer(relay, peer)) => Out::Peer(self.sockets[&relay], peer, out),
        }
    }

    /// A datagram that arrives at a relayed address.
    pub(crate) fn peer(&mut self, peer: SocketAddr, relayed: SocketAddr, payload: &[u8]) -> Out {
        let found = self.sockets.iter().find(|(_, at)| at.port() == relayed.port());
        let Some((relay, _)) = found else {
            return Out::Nothing;
        };
        let mut out = Vec::new();
        match self.server.from_peer(self.now, *relay, peer, payload, &mut out) {
            Some(client) => Out::Client(client, out),
            None => Out::Nothing,
        }
    }

    /// The answer to a request, when there is one.
    pub(crate) fn ask(&mut self, client: &Client, request: &[u8]) -> Option<Vec<u8>> {
        self.answers.clear();
        assert_eq!(self.client(client, request), Out::Nothing);
        let (to, from, bytes) = self.answers.pop()?;
        assert!(self.answers.is_empty(), "two answers");
        assert_eq!((to, from), (*client, client.local));
        Some(bytes)
    }
}

/// A client, with what it has learned from the server.
#[derive(Clone)]
pub(crate) struct Player {
    pub(crate) client: Client,
    pub(crate) credentials: Credentials,
    pub(crate) nonce: String,
    pub(crate) transaction: u32,
}

impl Player {
    pub(crate) fn new(id: &str, remote: &str) -> Self {
        Self {
            client: udp(remote),
            credentials: credentials(id),
            nonce: "none yet".to_owned(),
            transaction: 0,
        }
    }

    pub(crate) fn by_stream(mut self, connection: u64) -> Self {
        self.client.link = Link::Stream(connection);
        self
    }

    pub(crate) fn key(&self) -> HMACKey {
        let Credentials { username, password } = &self.credentials;
        HMACKey::new_long_term(username, REALM, password, Algorithm::from(AlgorithmId::MD5)).unwrap()
    }

    /// A signed request.
    pub(crate) fn request(&mut self, method: MessageMethod, attributes: &[StunAttribute]) -> Vec<u8> {
        self.transaction += 1;
        let mut builder = StunMessageBuilder::new(method, MessageClass::Request)
            .with_transaction_id(transaction(self.transaction));
        for attribute in attributes {
            builder = builder.with_attribute(attribute.clone());
        }
        builder = builder
            .with_attribute(UserName::new(&self.credentials.username).unwrap())
            .with_attribute(Realm::new(REALM).unwrap())
            .with_attribute(Nonce::new(&self.nonce).unwrap())
            .with_attribute(MessageIntegrity::new(self.key()));
        encode(&builder.build())
    }

    /// A signed request with any attributes, in bytes.
    pub(crate) fn signed(&mut self, kind: u16, attributes: &[u8]) -> Vec<u8> {
        let plain = self.request(stun_rs::MessageType::from(kind).method(), &[]);
        let body = [&plain[20..plain.len() - 24], attributes].concat();
        let length = ((body.len() + 24) as u16).to_be_bytes();
        let mut message = [&kind.to_be_bytes()[..], &length, &plain[4..20], &body].concat();
        let mut mac = Hmac::<Sha1>::new_from_slice(self.key().as_bytes()).unwrap();
        mac.update(&message);
        message.extend([0, 8, 0, 20]);
        message.extend(mac.finalize().into_bytes());
        message
    }

    /// The checked answer to a signed request. A stale nonce is replaced, as clients do.
    pub(crate) fn ask(
        &mut self,
        world: &mut World,
        method: MessageMethod,
        attributes: &[StunAttribute],
    ) -> Result<StunMessage, u16> {
        for _ in 0..2 {
            let request = self.request(method, attributes);
            let bytes = world.ask(&self.client, &request).expect("an answer");
            let answer = self.read(&bytes);
            if answer.class() == MessageClass::SuccessResponse {
                return Ok(answer);
            }
            match error_of(&answer) {
                438 => self.nonce = nonce_of(&answer),
                code => return Err(code),
            }
        }
        Err(438)
    }

    /// Decodes an answer and checks its integrity, unless it is one that nobody can sign.
    pub(crate) fn read(&self, bytes: &[u8]) -> StunMessage {
        let plain = decode(bytes);
        let unsigned =
            plain.class() == MessageClass::ErrorResponse && matches!(error_of(&plain), 400 | 401 | 438);
        if unsigned {
            return plain;
        }
        assert!(plain.get::<MessageIntegrity>().is_some(), "not signed: {plain:?}");
        let context = stun_rs::DecoderContextBuilder::default()
            .with_key(self.key())
            .with_validation()
            .build();
        let decoder = MessageDecoderBuilder::default().with_context(context).build();
        decoder.decode(bytes).expect("a valid signature").0
    }

    pub(crate) fn allocate(&mut self, world: &mut World) -> Result<SocketAddr, u16> {
        let answer = self.ask(world, methods::ALLOCATE, &[RequestedTrasport::default().into()])?;
        Ok(relayed_of(&answer))
    }

    pub(crate) fn refresh(&mut self, world: &mut World, seconds: u32) -> Result<u32, u16> {
        let answer = self.ask(world, methods::REFRESH, &[LifeTime::new(seconds).into()])?;
        Ok(lifetime_of(&answer))
    }

    pub(crate) fn permit(&mut self, world: &mut World, peers: &[SocketAddr]) -> Result<(), u16> {
        let peers: Vec<_> = peers
            .iter()
            .map(|peer| XorPeerAddress::from(*peer).into())
            .collect();
        self.ask(world, methods::CREATE_PERMMISSION, &peers).map(drop)
    }

    pub(crate) fn bind(&mut self, world: &mut World, number: u16, peer: SocketAddr) -> Result<(), u16> {
        let attributes = [
            ChannelNumber::new(number).into(),
            XorPeerAddress::from(peer).into(),
        ];
        self.ask(world, methods::CHANNEL_BIND, &attributes).map(drop)
    }

    /// A Send indication.
    pub(crate) fn send(&self, world: &mut World, peer: SocketAddr, payload: &[u8]) -> Out {
        let message = StunMessageBuilder::new(methods::SEND, MessageClass::Indication)
            .with_transaction_id(transaction(9999))
            .with_attribute(XorPeerAddress::from(peer))
            .with_attribute(Data::new(payload))
            .build();
        world.client(&self.client, &encode(&message))
    }

    /// ChannelData.
    pub(crate) fn channel(&self, world: &mut World, number: u16, payload: &[u8]) -> Out {
        let mut bytes = Vec::new();
        wire::put_channel_data(&mut bytes, number, payload, self.client.link != Link::Datagram);
        world.client(&self.client, &bytes)
    }
}

pub(crate) fn udp(remote: &str) -> Client {
    Client {
        link: Link::Datagram,
        service: Service::Turn,
        local: at("9.9.9.9:3478"),
        remote: at(remote),
    }
}

pub(crate) fn transaction(number: u32) -> TransactionId {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    TransactionId::from(bytes)
}

pub(crate) fn encode(message: &StunMessage) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    let length = MessageEncoderBuilder::default()
        .build()
        .encode(&mut bytes, message)
        .unwrap();
    bytes.truncate(length);
    bytes
}

pub(crate) fn decode(bytes: &[u8]) -> StunMessage {
    assert!(Message::parse(bytes).is_some(), "malformed: {bytes:?}");
    MessageDecoderBuilder::default().build().decode(bytes).unwrap().0
}

pub(crate) fn error_of(answer: &StunMessage) -> u16 {
    let code = answer
        .get::<stun_rs::attributes::stun::ErrorCode>()
        .expect("an error");
    code.expect_error_code().error_code().error_code()
}

pub(crate) fn nonce_of(answer: &StunMessage) -> String {
    answer
        .get::<Nonce>()
        .expect("a nonce")
        .expect_nonce()
        .as_str()
        .to_owned()
}

pub(crate) fn relayed_of(answer: &StunMessage) -> SocketAddr {
    let relayed = answer.get::<XorRelayedAddress>().expect("a relayed address");
    *relayed.expect_xor_relayed_address().socket_address()
}

pub(crate) fn lifetime_of(answer: &StunMessage) -> u32 {
    let lifetime = answer.get::<LifeTime>().expect("a lifetime");
    lifetime.expect_life_time().as_u32()
}

/// Peer and payload of a Data indication.
pub(crate) fn data_of(bytes: &[u8]) -> (SocketAddr, Vec<u8>) {
    let message = decode(bytes);
    assert_eq!(
        (message.method(), message.class()),
        (methods::DATA, MessageClass::Indication)
    );
    let peer = message.get::<XorPeerAddress>().unwrap().expect_xor_peer_address();
    let data = message.get::<Data>().unwrap().expect_data();
    (*peer.socket_address(), data.as_bytes().to_vec())
}
