//! The client against our own server, in virtual time.

use super::*;
use lanrage_relay::config::Pace;
use lanrage_relay::credentials::{Credentials, Secret};
use lanrage_relay::{Action, Client, Config, Limits, Link, RelayAddress, Server, Service, Target};
use std::net::IpAddr;

const UNIX: u64 = 1_800_000_000;
const RELAY: [u8; 4] = [9, 9, 9, 9];
const PEER: ([u8; 4], u16) = ([8, 8, 4, 4], 5000);
const HOUR: Duration = Duration::from_secs(3600);
/// There and back.
const RTT: Duration = Duration::from_millis(40);

struct World {
    now: Instant,
    start: Instant,
    server: Option<Server>,
    turn: Turn,
    client: Client,
    stream: bool,
    /// To the client, with their times.
    coming: VecDeque<(Instant, Vec<u8>)>,
    going: VecDeque<(Instant, Vec<u8>)>,
    events: Vec<(Duration, Event)>,
    /// Whether the next request with this first byte pair is lost.
    loses: fn(u64) -> bool,
    sent: u64,
    refreshes: u64,
    bindings: u64,
}

fn credentials(lasting: Duration) -> Credentials {
    Secret::new("north").credentials(UNIX + lasting.as_secs(), "party.member")
}

fn server(now: Instant, limits: Limits) -> Server {
    let address = IpAddr::from(RELAY);
    let config = Config {
        realm: "lanrage".to_owned(),
        secret: Secret::new("north"),
        relays: vec![RelayAddress {
            bind: address,
            announced: address,
        }],
        ports: 50_000..=50_099,
        allow_peers: vec!["8.8.4.4".parse().unwrap()],
        own: Vec::new(),
        behaviour: None,
        limits: Limits {
            member_bytes: Pace::UNLIMITED,
            source_bytes: Pace::UNLIMITED,
            bytes: Pace::UNLIMITED,
            ..limits
        },
    };
    Server::new(config, [7; 32], now, UNIX)
}

impl World {
    fn new(stream: bool, limits: Limits, credentials: &Credentials) -> Self {
        let now = Instant::now();
        let client = Client {
            link: if stream { Link::Stream(1) } else { Link::Datagram },
            service: Service::Turn,
            local: SocketAddr::from((RELAY, 3478)),
            remote: SocketAddr::from(([1, 2, 3, 4], 4000)),
        };
        Self {
            now,
            start: now,
            server: Some(server(now, limits)),
            turn: Turn::new(now, &credentials.username, &credentials.password, stream),
            client,
            stream,
            coming: VecDeque::new(),
            going: VecDeque::new(),
            events: Vec::new(),
            loses: |_| false,
            sent: 0,
            refreshes: 0,
            bindings: 0,
        }
    }

    /// Lets time pass, from one thing that happens to the next.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.step();
            let queues = [self.coming.front(), self.going.front()];
            let due = queues
                .into_iter()
                .flatten()
                .map(|(at, _)| *at)
                .chain(self.turn.next_wake());
            let server = self.server.as_ref().and_then(Server::next_wake);
            match due.chain(server).min() {
                Some(at) if at <= end && self.turn.failed().is_none() => {
                    self.now = self.now.max(at);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    fn step(&mut self) {
        let now = self.now;
        while self.going.front().is_some_and(|(at, _)| *at <= now) {
            let (_, bytes) = self.going.pop_front().unwrap();
            let Some(server) = &mut self.server else { continue };
            let mut out = Vec::new();
            let target = server.from_client(now, &self.client, &bytes, &mut out);
            if let Some(Target::Peer(relay, peer)) = target {
                // The peer echoes.
                assert_eq!(peer, SocketAddr::from(PEER));
                let mut back = Vec::new();
                if server.from_peer(now, relay, peer, &out, &mut back).is_some() {
                    self.coming.push_back((now + RTT / 2, back));
                }
            }
        }
        if let Some(server) = &mut self.server {
            server.wake(now);
            while let Some(action) = server.poll() {
                match action {
                    Action::Answer { bytes, .. } => self.coming.push_back((now + RTT / 2, bytes)),
                    Action::Open { relay, .. } => server.relay_opened(now, relay, true),
                    Action::Close { .. } => {}
                }
            }
        }
        while self.coming.front().is_some_and(|(at, _)| *at <= now) {
            let (_, bytes) = self.coming.pop_front().unwrap();
            if let Some((peer, data)) = self.turn.received(now, &bytes) {
                assert_eq!((peer, &data[..]), (SocketAddr::from(PEER), &b"play"[..]));
                self.sent -= 1;
            }
        }
        self.turn.wake(now);
        while let Some(bytes) = self.turn.poll_transmit() {
            match bytes[..2] {
                [0, 4] => self.refreshes += 1,
                [0, 9] => self.bindings += 1,
                _ => {}
            }
            if !(self.loses)(self.refreshes + self.bindings) {
                self.going.push_back((now + RTT / 2, bytes));
            }
        }
        while let Some(event) = self.turn.poll_event() {
            self.events.push((now - self.start, event));
        }
    }

    /// Something is played; the echo has to come back.
    fn play(&mut self) -> bool {
        let mut frame = Vec::new();
        if !self
            .turn
            .frame(self.now, SocketAddr::from(PEER), b"play", &mut frame)
        {
            return false;
        }
        assert!(!self.stream || frame.len() % 4 == 0);
        self.going.push_back((self.now + RTT / 2, frame));
        self.sent += 1;
        self.pass(RTT * 2);
        std::mem::take(&mut self.sent) == 0
    }

    fn want_the_peer(&mut self) {
        self.turn
            .want(self.now, &BTreeSet::from([SocketAddr::from(PEER)]));
    }

    fn endings(&self) -> Vec<&(Duration, Event)> {
        let ending = |(_, event): &&(Duration, Event)| !matches!(event, Event::Up { .. });
        self.events.iter().filter(ending).collect()
    }
}

#[test]
fn an_allocation_and_its_channel_last_for_hours_whether_played_or_not() {
    for stream in [false, true] {
        let mut world = World::new(stream, Limits::default(), &credentials(6 * HOUR));
        world.want_the_peer();
        world.pass(Duration::from_secs(1));
        let (at, up) = &world.events[0];
        let relayed = SocketAddr::from((RELAY, 0)).ip();
        assert!(
            matches!(up, Event::Up { relayed: at, rtt } if at.ip() == relayed && *rtt == RTT),
            "{up:?}"
        );
        assert_eq!(*at, RTT * 2, "challenge and allocation");
        // Half a second idle, then a minute: longer than the credentials are good for, and than nonces live.
        for minute in 0..12 * 60 {
            assert!(world.play(), "minute {minute}: {:?}", world.turn.failed());
            world.pass(Duration::from_secs(60));
        }
        assert_eq!(world.endings(), [] as [&(Duration, Event); 0]);
        assert!(
            world.refreshes > 12 * 6 * 60 - 20,
            "{} refreshes",
            world.refreshes
        );
        assert!(
            world.refreshes < 12 * 7 * 60 + 60,
            "{} refreshes",
            world.refreshes
        );
        assert!(
            (180..200).contains(&world.bindings),
            "{} bindings",
            world.bindings
        );
    }
}

#[test]
fn a_day_ends_with_minutes_to_spare() {
    let mut world = World::new(false, Limits::default(), &credentials(HOUR));
    world.want_the_peer();
    world.pass(24 * HOUR - Duration::from_secs(1));
    let endings = world.endings();
    let [(at, Event::Ending { reason })] = endings[..] else {
        panic!("{endings:?}")
    };
    let left = 24 * HOUR - *at;
    println!("{reason}: {left:?} before its end");
    assert!(
        (Duration::from_secs(300)..Duration::from_secs(600)).contains(&left),
        "{left:?}"
    );
    assert!(world.play(), "it carries to its last second");
    world.pass(Duration::from_secs(3));
    assert!(world.turn.failed().is_some());
}

#[test]
fn a_relay_that_dies_is_noticed_in_time_and_one_that_comes_back_is_taken_again() {
    let mut world = World::new(false, Limits::default(), &credentials(HOUR));
    world.want_the_peer();
    world.pass(Duration::from_secs(1));
    assert!(world.play());
    let server = world.server.take();
    let died = world.now - world.start;
    assert!(!world.play());
    world.pass(Duration::from_secs(4));
    let endings = world.endings();
    let [(at, Event::Silent)] = endings[..] else {
        panic!("{endings:?}")
    };
    println!("silent {:?} after its death", *at - died);
    assert!(*at - died < Duration::from_secs(2), "{:?}", *at - died);
    // It was only out of reach: the allocation lives.
    world.server = server;
    let back = world.now - world.start;
    world.pass(Duration::from_secs(1));
    let (at, event) = world.events.last().unwrap();
    assert!(matches!(event, Event::Up { .. }) && *at - back < Duration::from_millis(700));
    assert!(world.play());
    // For good.
    world.server = None;
    world.play();
    world.pass(Duration::from_secs(30));
    assert_eq!(world.turn.failed(), Some("it says nothing any more"));
}

#[test]
fn a_relay_that_was_restarted_is_not_believed() {
    let mut world = World::new(false, Limits::default(), &credentials(HOUR));
    world.want_the_peer();
    world.pass(Duration::from_secs(1));
    world.server = Some(server(world.now, Limits::default()));
    assert!(!world.play());
    world.pass(Duration::from_secs(1));
    assert_eq!(
        world.turn.failed(),
        Some("it knows nothing of the allocation any more")
    );
}

#[test]
fn an_idle_relay_that_dies_is_noticed_as_well() {
    let mut world = World::new(true, Limits::default(), &credentials(HOUR));
    world.pass(Duration::from_secs(1));
    world.server = None;
    world.pass(Duration::from_secs(35));
    assert!(world.turn.failed().is_some());
}

#[test]
fn a_lossy_line_is_no_dead_relay() {
    let mut world = World::new(false, Limits::default(), &credentials(6 * HOUR));
    // Two of three requests.
    world.loses = |number| number % 3 != 0;
    world.want_the_peer();
    world.pass(Duration::from_secs(30));
    for _ in 0..200 {
        assert!(world.play());
        world.pass(Duration::from_secs(30));
    }
    assert_eq!(world.endings(), [] as [&(Duration, Event); 0]);
}

#[test]
fn a_refusal_says_why() {
    let mut wrong = credentials(HOUR);
    wrong.password = "guess".to_owned();
    let expired = Secret::new("north").credentials(UNIX - 1, "party.member");
    for (credentials, limits, code) in [
        (wrong, Limits::default(), "401"),
        (expired, Limits::default(), "401"),
        (
            credentials(HOUR),
            Limits {
                member_allocations: 0,
                ..Limits::default()
            },
            "486",
        ),
    ] {
        let mut world = World::new(false, limits, &credentials);
        world.pass(Duration::from_secs(1));
        let why = world.turn.failed().unwrap();
        assert!(why.contains(code), "{why}");
    }
    let mut world = World::new(false, Limits::default(), &credentials(HOUR));
    world.server = None;
    world.pass(Duration::from_secs(8));
    assert_eq!(world.turn.failed(), Some("no answer"));
}

#[test]
fn a_forbidden_peer_gets_no_channel_and_harms_no_other() {
    let mut world = World::new(false, Limits::default(), &credentials(HOUR));
    let forbidden = SocketAddr::from(([10, 66, 0, 1], 5000));
    world
        .turn
        .want(world.now, &BTreeSet::from([SocketAddr::from(PEER), forbidden]));
    world.pass(Duration::from_secs(1));
    assert!(world.play());
    let mut frame = Vec::new();
    assert!(!world.turn.frame(world.now, forbidden, b"play", &mut frame));
}

#[test]
fn what_is_given_back_is_gone_at_once() {
    let mut world = World::new(false, Limits::default(), &credentials(HOUR));
    world.pass(Duration::from_secs(1));
    let allocations = |world: &World| world.server.as_ref().map(Server::allocations);
    assert_eq!(allocations(&world), Some(1));
    world.turn.give_back(world.now);
    world.pass(Duration::from_secs(1));
    assert_eq!(allocations(&world), Some(0));
}

#[test]
fn garbage_and_forgeries_change_nothing() {
    let mut world = World::new(false, Limits::default(), &credentials(HOUR));
    world.want_the_peer();
    world.pass(Duration::from_secs(1));
    let mut number = 0x9E37_79B9_u32;
    for length in 0..2000_usize {
        let bytes: Vec<u8> = (0..length % 200)
            .map(|at| {
                number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if at == 0 {
                    (number >> 28) as u8
                } else {
                    (number >> 24) as u8
                }
            })
            .collect();
        world.turn.received(world.now, &bytes);
    }
    // An answer to nothing, and a refusal of nothing.
    world.turn.received(
        world.now,
        &[&[1, 4, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &[9; 12]].concat(),
    );
    world.turn.received(
        world.now,
        &[&[1, 0x14, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &[9; 12]].concat(),
    );
    assert!(world.play());
    assert_eq!(world.endings(), [] as [&(Duration, Event); 0]);
}
