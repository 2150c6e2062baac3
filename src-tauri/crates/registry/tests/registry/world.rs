//! A registry, its clients and a clock of their own.

use ed25519_dalek::SigningKey;
use lanrage_proto::admission::{self, Proof};
use lanrage_proto::control::{
    ClientFrame, MemberEntry, Request, Sealed, ServerFrame, ServerMessage, Versions,
};
use lanrage_proto::ids::{Challenge, Epoch};
use lanrage_proto::party_id::FoundingNonce;
use lanrage_proto::{Bytes, FaultCode, MemberId, PartyId, Seq, Slot, Tag};
use lanrage_registry::{Config, ConnId, Mirror, Output, Registry, Source};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

pub(crate) const AUTHORITY: &str = "party.example.org:443";

pub(crate) fn source() -> Source {
    Source {
        address: Some([203, 0, 113, 7].into()),
        authorities: vec!["192.0.2.1:443".to_owned(), AUTHORITY.to_owned()],
    }
}

/// Somebody with a device.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) key: SigningKey,
}

impl Person {
    pub(crate) fn new(number: u16) -> Self {
        let mut seed = [7; 32];
        seed[..2].copy_from_slice(&number.to_be_bytes());
        Self {
            key: SigningKey::from_bytes(&seed),
        }
    }

    pub(crate) fn identity(&self) -> MemberId {
        MemberId(self.key.verifying_key().to_bytes())
    }

    pub(crate) fn party_id(&self) -> PartyId {
        PartyId::of_founding(&self.identity(), &FoundingNonce([1; 32]))
    }

    pub(crate) fn word(&self, seq: u64) -> Sealed {
        Sealed {
            author: self.identity(),
            epoch: Epoch(0),
            seq: Seq(seq),
            body: Bytes(vec![seq as u8; 20]),
        }
    }
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) registry: Registry,
    pub(crate) mirror: Mirror,
    pub(crate) closed: BTreeSet<ConnId>,
    inbox: BTreeMap<ConnId, VecDeque<ServerFrame>>,
    next_connection: u64,
    next_request: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(crate) fn with(config: Config) -> Self {
        let now = Instant::now() + Duration::from_secs(3600);
        Self {
            now,
            registry: Registry::new(config, [3; 32], now, Vec::new()),
            mirror: Mirror::default(),
            closed: BTreeSet::new(),
            inbox: BTreeMap::new(),
            next_connection: 0,
            next_request: 0,
        }
    }

    /// The control plane dies and starts again, `outage` later, with what it had stored.
    pub(crate) fn restart(&mut self, outage: Duration) {
        self.now += outage;
        self.registry = Registry::new(Config::default(), [4; 32], self.now, self.mirror.to_vec());
        self.inbox.clear();
    }

    pub(crate) fn connect_from(&mut self, source: Source) -> ConnId {
        let connection = ConnId(self.next_connection);
        self.next_connection += 1;
        self.registry.connected(self.now, connection, source);
        connection
    }

    pub(crate) fn connect(&mut self) -> ConnId {
        self.connect_from(source())
    }

    pub(crate) fn send(&mut self, connection: ConnId, request: Request) -> u64 {
        let id = self.next_request;
        self.next_request += 1;
        self.registry
            .frame(self.now, connection, ClientFrame { id, request });
        self.drain();
        id
    }

    /// Asks, and returns the answer; news that came before it stay in the inbox.
    pub(crate) fn ask(&mut self, connection: ConnId, request: Request) -> ServerMessage {
        let id = self.send(connection, request);
        let inbox = self.inbox.entry(connection).or_default();
        let at = inbox
            .iter()
            .position(|frame| frame.re == Some(id))
            .expect("an answer");
        inbox.remove(at).unwrap().message
    }

    pub(crate) fn fault(&mut self, connection: ConnId, request: Request) -> FaultCode {
        match self.ask(connection, request) {
            ServerMessage::Fault { code } => code,
            other => panic!("expected a fault, got {other:?}"),
        }
    }

    pub(crate) fn done(&mut self, connection: ConnId, request: Request) {
        assert_eq!(self.ask(connection, request), ServerMessage::Done {});
    }

    /// What else was told on a connection.
    pub(crate) fn news(&mut self, connection: ConnId) -> Vec<ServerMessage> {
        let inbox = self.inbox.remove(&connection).unwrap_or_default();
        inbox.into_iter().map(|frame| frame.message).collect()
    }

    pub(crate) fn challenge(&mut self, connection: ConnId, tag: Tag) -> Challenge {
        match self.ask(connection, hello(tag)) {
            ServerMessage::Challenge { challenge } => challenge,
            other => panic!("expected a challenge, got {other:?}"),
        }
    }

    /// A connection that has proven.
    pub(crate) fn prove(&mut self, person: &Person, id: &PartyId) -> ConnId {
        let connection = self.connect();
        let challenge = self.challenge(connection, admission::tag(id));
        let proof = Proof::make(id, &person.key, &challenge, AUTHORITY);
        let welcome = self.ask(connection, Request::Prove { proof });
        assert!(matches!(welcome, ServerMessage::Welcome { .. }), "{welcome:?}");
        connection
    }

    /// Founds a party on a new connection.
    pub(crate) fn found(&mut self, founder: &Person) -> ConnId {
        let connection = self.prove(founder, &founder.party_id());
        let founding = founder.word(0);
        let answer = self.ask(connection, Request::RegisterParty { founding });
        assert_eq!(slot_of(&answer), Some(1), "{answer:?}");
        connection
    }

    /// Joins on a new connection; panics when refused.
    pub(crate) fn join(&mut self, person: &Person, id: &PartyId) -> (ConnId, u8) {
        let connection = self.prove(person, id);
        let answer = self.ask(connection, Request::JoinParty { resume: None });
        let slot = slot_of(&answer).unwrap_or_else(|| panic!("expected a slot, got {answer:?}"));
        (connection, slot)
    }

    pub(crate) fn disconnect(&mut self, connection: ConnId) {
        self.registry.disconnected(self.now, connection);
        self.drain();
    }

    /// Lets time pass as the registry asks to be woken; `beating` connections send heartbeats meanwhile.
    pub(crate) fn pass(&mut self, span: Duration, beating: &[ConnId]) {
        let end = self.now + span;
        let mut beat = self.now + Duration::from_secs(30);
        loop {
            let wake = self.registry.next_wake().filter(|wake| *wake <= end);
            let due = beat.min(end);
            match wake {
                Some(wake) if wake <= due => {
                    self.now = self.now.max(wake);
                    self.registry.wake(self.now);
                }
                _ if beat <= end => {
                    self.now = beat;
                    beat += Duration::from_secs(30);
                    for connection in beating {
                        self.done(*connection, Request::Heartbeat {});
                    }
                }
                _ => break,
            }
            self.drain();
        }
        self.now = end;
    }

    pub(crate) fn members(&mut self, connection: ConnId) -> Vec<MemberEntry> {
        match self.ask(connection, Request::Snapshot { page: 0 }) {
            ServerMessage::Snapshot { members, .. } => members,
            other => panic!("expected a snapshot, got {other:?}"),
        }
    }

    pub(crate) fn drain(&mut self) {
        while let Some(output) = self.registry.poll() {
            match output {
                Output::Store(change) => self.mirror.apply(&change),
                Output::Send(connection, frame) => self.inbox.entry(connection).or_default().push_back(frame),
                Output::Close(connection) => {
                    assert!(self.closed.insert(connection), "{connection:?} is closed once");
                }
            }
        }
    }
}

pub(crate) fn hello(tag: Tag) -> Request {
    Request::Hello {
        versions: Versions::OURS,
        tag,
        authority: AUTHORITY.to_owned(),
    }
}

pub(crate) fn slot_of(answer: &ServerMessage) -> Option<u8> {
    match answer {
        ServerMessage::Party { slot, .. } => slot.map(Slot::get),
        _ => None,
    }
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
