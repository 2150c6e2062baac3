//! The registry behind text frames and a store.

use crate::world::{Person, hello, source};
use lanrage_proto::admission::{self, Proof};
use lanrage_proto::control::{ClientFrame, Request, ServerFrame, ServerMessage};
use lanrage_proto::{FaultCode, limits};
use lanrage_registry::{
    Change, Config, ConnId, Delivery, MemoryStore, Service, Store, StoreError, StoredParty,
};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A store that fails when told to, and counts its commits.
#[derive(Clone, Default)]
struct Disk(Rc<RefCell<DiskState>>);

#[derive(Default)]
struct DiskState {
    inner: MemoryStore,
    full: bool,
    commits: usize,
    changes: usize,
}

impl Store for Disk {
    fn load(&mut self) -> Result<Vec<StoredParty>, StoreError> {
        self.0.borrow_mut().inner.load()
    }
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let mut disk = self.0.borrow_mut();
        if disk.full {
            return Err(StoreError::new("disk full"));
        }
        disk.commits += 1;
        disk.changes += changes.len();
        disk.inner.commit(changes)
    }
}

struct Host {
    service: Service<Disk>,
    disk: Disk,
    now: Instant,
    connections: u64,
}

impl Host {
    fn new() -> Self {
        let disk = Disk::default();
        let now = Instant::now();
        Self {
            service: Service::new(Config::default(), [5; 32], now, disk.clone()).unwrap(),
            disk,
            now,
            connections: 0,
        }
    }

    fn connect(&mut self) -> ConnId {
        self.connections += 1;
        self.service
            .connected(self.now, ConnId(self.connections), source());
        ConnId(self.connections)
    }

    fn say(&mut self, connection: ConnId, request: Request) {
        let text = serde_json::to_string(&ClientFrame { id: 1, request }).unwrap();
        self.service.text(self.now, connection, &text);
    }

    fn flush(&mut self) -> Vec<(ConnId, Option<ServerMessage>)> {
        let message = |text: &str| serde_json::from_str::<ServerFrame>(text).unwrap().message;
        self.service
            .flush(self.now)
            .into_iter()
            .map(|delivery| match delivery {
                Delivery::Text(to, text) => (to, Some(message(&text))),
                Delivery::Close(to) => (to, None),
            })
            .collect()
    }

    fn ask(&mut self, connection: ConnId, request: Request) -> ServerMessage {
        self.say(connection, request);
        match self.flush().pop() {
            Some((to, Some(message))) if to == connection => message,
            other => panic!("expected an answer, got {other:?}"),
        }
    }

    fn prove(&mut self, person: &Person) -> ConnId {
        let connection = self.connect();
        let id = person.party_id();
        let ServerMessage::Challenge { challenge } = self.ask(connection, hello(admission::tag(&id))) else {
            panic!("expected a challenge");
        };
        let proof = Proof::make(&id, &person.key, &challenge, crate::world::AUTHORITY);
        self.ask(connection, Request::Prove { proof });
        connection
    }
}

fn fault(code: FaultCode) -> ServerMessage {
    ServerMessage::Fault { code }
}

#[test]
fn what_happened_together_is_committed_together() {
    let mut host = Host::new();
    let founders: Vec<_> = (0..5).map(Person::new).collect();
    let connections: Vec<_> = founders.iter().map(|founder| host.prove(founder)).collect();
    assert_eq!(
        host.disk.0.borrow().commits,
        0,
        "nothing is stored of who merely proves"
    );
    for (founder, connection) in founders.iter().zip(&connections) {
        let founding = founder.word(0);
        host.say(*connection, Request::RegisterParty { founding });
    }
    assert_eq!(host.flush().len(), 5);
    assert_eq!(host.disk.0.borrow().commits, 1);
    assert_eq!(host.disk.0.borrow().changes, 10, "a party and its founder each");
    let record = founders[0].word(1);
    host.ask(connections[0], Request::UpdatePeer { record });
    assert_eq!(host.disk.0.borrow().changes, 11);
    assert_eq!(host.disk.0.borrow().inner.mirror().parties().count(), 5);
}

#[test]
fn nothing_is_acknowledged_that_is_not_stored() {
    let mut host = Host::new();
    let founder = Person::new(0);
    let connection = host.prove(&founder);
    let register = || Request::RegisterParty {
        founding: founder.word(0),
    };
    host.disk.0.borrow_mut().full = true;
    assert!(!host.service.check(host.now));
    host.now += Duration::from_secs(2);
    assert!(host.flush().is_empty());
    assert_eq!(host.ask(connection, register()), fault(FaultCode::Internal));
    assert_eq!(
        host.service.registry().live_parties(),
        0,
        "not even tried while the store fails"
    );

    host.disk.0.borrow_mut().full = false;
    host.now = host.service.next_wake().unwrap();
    host.flush();
    assert!(host.service.check(host.now));
    host.disk.0.borrow_mut().full = true;
    assert_eq!(host.ask(connection, register()), fault(FaultCode::Internal));

    host.disk.0.borrow_mut().full = false;
    host.now += Duration::from_secs(1);
    host.flush();
    assert_eq!(
        host.disk.0.borrow().inner.mirror().parties().count(),
        1,
        "kept for the next commit"
    );
    let answer = host.ask(connection, register());
    assert!(
        matches!(answer, ServerMessage::Party { slot: Some(_), .. }),
        "{answer:?}"
    );
}

#[test]
fn garbage_is_named_and_its_sender_dropped() {
    let long = format!("\"{}\"", "x".repeat(limits::CONTROL_FRAME));
    let deep = "[".repeat(60_000);
    for garbage in [
        "",
        "{}",
        "hello",
        "{\"id\":1,\"type\":\"nonsense\"}",
        "\u{0}",
        &long,
        &deep,
    ] {
        let mut host = Host::new();
        let connection = host.connect();
        host.service.text(host.now, connection, garbage);
        let expected = [
            (connection, Some(fault(FaultCode::ControlMalformed))),
            (connection, None),
        ];
        assert_eq!(host.flush(), expected);
    }
}
