//! Discovery against a NAT and servers of every kind, and of the kinds that mislead.

use super::*;
use crate::stun::tests::{plain, written, xored};
use crate::stun::{Change, TransactionId};
use lanrage_proto::PartyRange;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

const RTT: Duration = Duration::from_millis(30);

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// What a part of a NAT looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looks {
    Nothing,
    Address,
    AddressAndPort,
}

const LOOKS: [Looks; 3] = [Looks::Nothing, Looks::Address, Looks::AddressAndPort];

/// A server's other half, and how it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    None,
    /// As RFC 5780 says.
    Honest,
    /// Announced, but nothing ever comes from there.
    Dead,
    /// Announced, but CHANGE-REQUEST is not looked at.
    Ignored,
    /// Announced, but CHANGE-REQUEST is answered by error 420.
    Refused,
}

#[derive(Debug, Clone)]
struct Server {
    main: SocketAddr,
    other: SocketAddr,
    half: Half,
}

impl Server {
    fn new(n: u8, half: Half) -> Self {
        Self {
            main: at(&format!("198.51.100.{n}:3478")),
            other: at(&format!("203.0.113.{n}:3479")),
            half,
        }
    }

    /// Its four addresses.
    fn addresses(&self) -> [SocketAddr; 4] {
        let of = |ip: SocketAddr, port: SocketAddr| SocketAddr::new(ip.ip(), port.port());
        [
            self.main,
            of(self.main, self.other),
            of(self.other, self.main),
            self.other,
        ]
    }
}

/// A computer, its NAT, the servers, and the clock.
struct World {
    now: Instant,
    own: SocketAddr,
    /// The NAT's address; none where there is only a firewall.
    outside: Option<IpAddr>,
    mapping: Looks,
    filtering: Looks,
    keeps_ports: bool,
    /// Takes what came unasked for its own, and gives what is sent back there another port (seen on Linux).
    steals: bool,
    servers: Vec<Server>,
    /// Share of datagrams lost, of 100.
    loss: u32,
    rng: ChaCha20Rng,
    chance: ChaCha20Rng,
    mappings: BTreeMap<(Option<IpAddr>, u16), u16>,
    stolen: BTreeMap<SocketAddr, u16>,
    sent_to: BTreeSet<SocketAddr>,
    next_port: u16,
    contacted: Contacted,
    others: BTreeSet<IpAddr>,
    under_way: BTreeMap<(Instant, u64), (SocketAddr, Vec<u8>)>,
    requests: u64,
}

impl World {
    fn new(mapping: Looks, filtering: Looks, servers: Vec<Server>) -> Self {
        Self {
            now: Instant::now(),
            own: at("192.168.1.2:51820"),
            outside: Some([192, 0, 2, 1].into()),
            mapping,
            filtering,
            keeps_ports: false,
            steals: true,
            servers,
            loss: 0,
            rng: ChaCha20Rng::from_seed([1; 32]),
            chance: ChaCha20Rng::from_seed([2; 32]),
            mappings: BTreeMap::new(),
            stolen: BTreeMap::new(),
            sent_to: BTreeSet::new(),
            next_port: 40000,
            contacted: Contacted::default(),
            others: BTreeSet::new(),
            under_way: BTreeMap::new(),
            requests: 0,
        }
    }

    fn seeded(mut self, seed: u64, loss: u32) -> Self {
        self.chance = ChaCha20Rng::seed_from_u64(seed);
        self.loss = loss;
        self
    }

    fn is_lost(&mut self) -> bool {
        self.chance.next_u32() % 100 < self.loss
    }

    /// A request leaves; what the destination sees it come from.
    fn out(&mut self, to: SocketAddr) -> SocketAddr {
        self.sent_to.insert(to);
        let Some(outside) = self.outside else {
            return self.own;
        };
        if let Some(port) = self.stolen.get(&to) {
            return SocketAddr::new(outside, *port);
        }
        let key = match self.mapping {
            Looks::Nothing => (None, 0),
            Looks::Address => (Some(to.ip()), 0),
            Looks::AddressAndPort => (Some(to.ip()), to.port()),
        };
        let first = self.mappings.is_empty();
        let port = *self.mappings.entry(key).or_insert_with(|| {
            self.next_port += 1;
            if self.keeps_ports && first {
                self.own.port()
            } else {
                self.next_port
            }
        });
        SocketAddr::new(outside, port)
    }

    /// Whether what comes from there is let in.
    fn lets_in(&mut self, from: SocketAddr) -> bool {
        let passes = match self.filtering {
            Looks::Nothing => true,
            Looks::Address => self.sent_to.iter().any(|to| to.ip() == from.ip()),
            Looks::AddressAndPort => self.sent_to.contains(&from),
        };
        if !passes && self.steals && self.outside.is_some() {
            self.next_port += 1;
            self.stolen.insert(from, self.next_port);
        }
        passes
    }

    /// A server gets a request and answers, perhaps.
    fn serve(&mut self, to: SocketAddr, request: &[u8]) {
        self.requests += 1;
        let from = self.out(to);
        let Some(server) = self
            .servers
            .iter()
            .find(|server| server.addresses().contains(&to))
            .cloned()
        else {
            return;
        };
        let id = stun_id(request);
        let change = match request.get(27) {
            Some(6) => Change::Both,
            Some(2) => Change::Port,
            _ => Change::Nothing,
        };
        let [main, port, ip, other] = server.addresses();
        let answers_from = match (server.half, change) {
            (Half::None, _) if to != main => return,
            (Half::Dead, _) if to != main => return,
            (Half::Dead, Change::Both | Change::Port) => return,
            (_, Change::Nothing) | (Half::None | Half::Ignored | Half::Refused, _) => to,
            (_, change) => match (to == main, change) {
                (true, Change::Port) => port,
                (true, _) => other,
                (false, _) => [ip, main, other, port][0],
            },
        };
        let mut attributes = vec![(0x0020, xored(from, id)), (0x802B, plain(answers_from))];
        if server.half != Half::None {
            attributes.push((0x802C, plain(server.other)));
        }
        let refused = server.half == Half::Refused && change != Change::Nothing;
        let answer = if refused {
            written(id, 0x0111, &[(9, vec![0, 0, 4, 20])])
        } else {
            written(id, 0x0101, &attributes)
        };
        if self.is_lost() || self.is_lost() {
            return;
        }
        self.under_way
            .insert((self.now + RTT, self.requests), (answers_from, answer));
    }

    /// Does what `turn` says at each moment until it is done, or for so long.
    fn run<T>(
        &mut self,
        lasting: Duration,
        state: &mut T,
        turn: impl Fn(&mut T, Turn<'_, '_>) -> Option<Instant>,
    ) -> Duration {
        let began = self.now;
        let mut out = VecDeque::new();
        loop {
            let arrives = self
                .under_way
                .first_key_value()
                .is_some_and(|((at, _), _)| *at <= self.now);
            let arrived = arrives
                .then(|| self.under_way.pop_first())
                .flatten()
                .map(|(_, datagram)| datagram);
            let arrived = arrived.filter(|(from, _)| self.lets_in(*from));
            let next = turn(
                state,
                Turn {
                    now: self.now,
                    arrived: arrived.as_ref().map(|(from, bytes)| (*from, bytes.as_slice())),
                    cx: Surroundings {
                        rng: &mut self.rng,
                        contacted: &mut self.contacted,
                        others: &self.others,
                        range: PartyRange::DEFAULT,
                        out: &mut out,
                    },
                },
            );
            for (to, request) in std::mem::take(&mut out) {
                self.serve(to, &request);
            }
            let next = match next {
                Some(at) => self
                    .under_way
                    .first_key_value()
                    .map_or(at, |((arrival, _), _)| at.min(*arrival)),
                None => return self.now - began,
            };
            if next > began + lasting {
                return lasting;
            }
            self.now = self.now.max(next);
        }
    }

    fn discovers(&mut self) -> (NatReport, Duration) {
        let servers: Vec<SocketAddr> = self.servers.iter().map(|server| server.main).collect();
        self.discovers_with(&servers)
    }

    fn discovers_with(&mut self, servers: &[SocketAddr]) -> (NatReport, Duration) {
        let mut discovery = Discovery::new(self.now, servers, &[self.own], None);
        let took = self.run(Duration::from_secs(60), &mut discovery, |discovery, mut turn| {
            if let Some((from, bytes)) = turn.arrived {
                discovery.datagram(turn.now, from, bytes, &mut turn.cx);
            }
            discovery.wake(turn.now, &mut turn.cx);
            (!discovery.is_done()).then(|| discovery.next_wake()).flatten()
        });
        assert!(discovery.is_done(), "stuck: {:?}", discovery.report());
        (discovery.report(), took)
    }

    /// What an all-knowing observer calls it.
    fn truth(&self) -> NatType {
        match (self.mapping, self.filtering) {
            _ if self.outside.is_none() && self.filtering == Looks::Nothing => NatType::Open,
            (Looks::Address | Looks::AddressAndPort, _) if self.outside.is_some() => NatType::Symmetric,
            (_, Looks::Nothing) => NatType::FullCone,
            (_, Looks::Address) => NatType::RestrictedCone,
            (_, Looks::AddressAndPort) => NatType::PortRestrictedCone,
        }
    }
}

fn stun_id(message: &[u8]) -> TransactionId {
    crate::stun::transaction_of(message).unwrap()
}

struct Turn<'a, 'b> {
    now: Instant,
    arrived: Option<(SocketAddr, &'b [u8])>,
    cx: Surroundings<'a>,
}

/// Every kind of NAT, keeping ports or not, kind to what comes unasked or not.
fn every_nat(servers: &[Server]) -> Vec<World> {
    let mut worlds = Vec::new();
    for mapping in LOOKS {
        for filtering in LOOKS {
            for keeps_ports in [false, true] {
                for steals in [false, true] {
                    let world = World::new(mapping, filtering, servers.to_vec());
                    worlds.push(World {
                        keeps_ports,
                        steals,
                        ..world
                    });
                }
            }
        }
    }
    worlds
}

#[test]
fn each_type_is_named_by_one_server_with_two_addresses_and_by_several() {
    let lists = [
        vec![Server::new(1, Half::Honest)],
        vec![Server::new(1, Half::Honest), Server::new(2, Half::None)],
        vec![Server::new(1, Half::None), Server::new(2, Half::Honest)],
        vec![
            Server::new(1, Half::Honest),
            Server::new(2, Half::Honest),
            Server::new(3, Half::None),
        ],
    ];
    for servers in lists {
        for mut world in every_nat(&servers) {
            let (report, took) = world.discovers();
            let v4 = &report.v4;
            assert_eq!(v4.kind, world.truth(), "{servers:?} {:?}", report.v4);
            assert_eq!(v4.reason, None);
            assert_eq!(v4.translated, Some(true));
            assert_eq!(v4.mapped.map(|at| at.ip()), world.outside);
            assert_eq!(report.v6.reason, Some(Reason::Untried));
            assert!(took < Duration::from_secs(4), "{took:?}");
            let wanted = match world.mapping {
                Looks::Nothing => &[Mapping::EndpointIndependent][..],
                Looks::Address => &[Mapping::AddressDependent, Mapping::EndpointDependent],
                Looks::AddressAndPort => &[Mapping::AddressAndPortDependent, Mapping::EndpointDependent],
            };
            assert!(
                v4.mapping.is_some_and(|mapping| wanted.contains(&mapping)),
                "{v4:?}"
            );
            if servers.len() > 1 && world.mapping != Looks::Nothing {
                assert_ne!(v4.mapping, Some(Mapping::EndpointDependent), "{v4:?}");
            }
        }
    }
}

#[test]
fn without_a_nat_it_is_open_and_behind_a_firewall_it_is_what_the_firewall_makes_of_it() {
    for filtering in LOOKS {
        let mut world = World::new(Looks::Nothing, filtering, vec![Server::new(1, Half::Honest)]);
        (world.own, world.outside) = (at("192.0.2.9:51820"), None);
        let (report, _) = world.discovers();
        assert_eq!(
            (report.v4.kind, report.v4.translated),
            (world.truth(), Some(false))
        );
        assert_eq!(report.v4.mapped, Some(world.own));
    }
}

#[test]
fn a_full_cone_that_keeps_ports_is_not_taken_for_open() {
    let mut world = World::new(Looks::Nothing, Looks::Nothing, vec![Server::new(1, Half::Honest)]);
    world.keeps_ports = true;
    let (report, took) = world.discovers();
    assert_eq!(report.v4.mapped, Some(at("192.0.2.1:51820")));
    assert_eq!(report.v4.kind, NatType::FullCone);
    assert!(took < Duration::from_millis(500), "{took:?}");
}

#[test]
fn a_servers_other_address_in_the_list_changes_no_verdict() {
    for pick in 1..4 {
        for first in [true, false] {
            for mut world in every_nat(&[Server::new(1, Half::Honest)]) {
                let addresses = world.servers[0].addresses();
                let mut list = vec![addresses[0], addresses[pick]];
                if !first {
                    list.reverse();
                }
                let truth = world.truth();
                let (report, _) = world.discovers_with(&list);
                let v4 = &report.v4;
                // Where the addresses had to be asked before anything was known of them, nothing is claimed.
                assert!(
                    v4.kind == truth || v4.kind == NatType::Unknown && !first,
                    "{list:?} {:?} {:?}: {v4:?}",
                    world.mapping,
                    world.filtering
                );
            }
        }
    }
}

#[test]
fn whatever_is_lost_no_claim_is_wrong() {
    let servers = [Server::new(1, Half::Honest), Server::new(2, Half::None)];
    let (mut known, mut all) = (0, 0);
    for seed in 0..60 {
        for loss in [5, 20, 40] {
            for world in every_nat(&servers) {
                let mut world = world.seeded(seed, loss);
                let (report, took) = world.discovers();
                let kind = report.v4.kind;
                assert!(
                    kind == world.truth() || kind == NatType::Unknown,
                    "seed {seed}, {loss} % lost, {:?} {:?}: {:#?}",
                    world.mapping,
                    world.filtering,
                    report.v4
                );
                assert!(took < Duration::from_secs(20), "{took:?}");
                if loss == 5 {
                    all += 1;
                    known += u32::from(kind != NatType::Unknown);
                }
            }
        }
    }
    assert!(
        known * 100 > all * 97,
        "with 5 % lost only {known} of {all} are named"
    );
}

/// What is concluded where the servers are of these kinds.
#[track_caller]
fn reason(filtering: Looks, halves: &[Half]) -> Option<Reason> {
    let servers: Vec<Server> = halves
        .iter()
        .enumerate()
        .map(|(n, half)| Server::new(n as u8 + 1, *half))
        .collect();
    let mut world = World::new(Looks::Nothing, filtering, servers);
    let (report, _) = world.discovers();
    assert!(
        report.v4.kind == world.truth() || report.v4.kind == NatType::Unknown,
        "{report:?}"
    );
    assert_eq!(report.v4.reason.is_none(), report.v4.kind != NatType::Unknown);
    report.v4.reason
}

#[test]
fn what_can_not_be_known_is_unknown_with_its_reason() {
    for filtering in LOOKS {
        assert_eq!(reason(filtering, &[Half::None]), Some(Reason::OneDestination));
        assert_eq!(
            reason(filtering, &[Half::None, Half::None]),
            Some(Reason::NoSecondAddress)
        );
        assert_eq!(
            reason(filtering, &[Half::Dead, Half::None]),
            Some(Reason::AlternateSilent)
        );
        assert_eq!(
            reason(filtering, &[Half::Ignored, Half::None]),
            Some(Reason::NoSecondAddress)
        );
        assert_eq!(
            reason(filtering, &[Half::Refused, Half::None]),
            Some(Reason::NoSecondAddress)
        );
        // One that does as it says is enough, wherever it stands.
        for half in [Half::None, Half::Dead, Half::Ignored, Half::Refused] {
            assert_eq!(reason(filtering, &[half, Half::Honest]), None, "{half:?}");
        }
    }
}

#[test]
fn of_two_servers_of_which_one_is_silent_nothing_is_claimed() {
    let mut world = World::new(Looks::Nothing, Looks::Nothing, vec![Server::new(1, Half::None)]);
    let list = [world.servers[0].main, at("198.51.100.77:3478")];
    let (report, took) = world.discovers_with(&list);
    assert_eq!(report.v4.reason, Some(Reason::OneDestination));
    assert!(report.v4.mapped.is_some());
    assert!(took < Duration::from_secs(6), "{took:?}");
}

#[test]
fn where_udp_is_blocked_nobody_waits_longer_than_eight_seconds() {
    let mut world = World::new(Looks::Nothing, Looks::Nothing, Vec::new());
    let list: Vec<SocketAddr> = (1..=8).map(|n| at(&format!("198.51.100.{n}:3478"))).collect();
    let (report, took) = world.discovers_with(&list);
    assert_eq!(report.v4.reason, Some(Reason::NoAnswer));
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert_eq!(world.requests, 32);
}

#[test]
fn an_address_that_peers_are_reached_at_is_no_stranger() {
    let mut world = World::new(Looks::Nothing, Looks::Address, vec![Server::new(1, Half::Honest)]);
    let other = world.servers[0].other;
    world.others.insert(other.ip());
    // A probe went there.
    world.out(SocketAddr::new(other.ip(), 51820));
    let (report, _) = world.discovers();
    assert_eq!(report.v4.reason, Some(Reason::AlternateContacted));
}

#[test]
fn a_second_discovery_does_not_take_the_first_ones_traces_for_openness() {
    for filtering in LOOKS {
        let mut world = World::new(Looks::Nothing, filtering, vec![Server::new(1, Half::Honest)]);
        let (first, _) = world.discovers();
        assert_eq!(first.v4.kind, world.truth());
        world.now += Duration::from_secs(30);
        let (second, _) = world.discovers();
        let kind = second.v4.kind;
        assert!(kind == world.truth() || kind == NatType::Unknown, "{second:?}");
        // After the NAT forgot it can be tested again.
        world.now += Duration::from_secs(11 * 60);
        world.sent_to.clear();
        world.stolen.clear();
        let (third, _) = world.discovers();
        assert_eq!(third.v4.kind, world.truth());
    }
}

#[test]
fn a_mapping_that_changes_on_the_way_is_no_symmetric_nat() {
    let mut world = World::new(
        Looks::Nothing,
        Looks::AddressAndPort,
        vec![Server::new(1, Half::Honest)],
    );
    let servers = [world.servers[0].main];
    let mut discovery = Discovery::new(world.now, &servers, &[world.own], None);
    let turn = |discovery: &mut Discovery, mut turn: Turn<'_, '_>| {
        if let Some((from, bytes)) = turn.arrived {
            discovery.datagram(turn.now, from, bytes, &mut turn.cx);
        }
        discovery.wake(turn.now, &mut turn.cx);
        (!discovery.is_done()).then(|| discovery.next_wake()).flatten()
    };
    world.run(Duration::from_millis(500), &mut discovery, turn);
    world.mappings.clear();
    world.run(Duration::from_secs(10), &mut discovery, turn);
    assert_eq!(discovery.report().v4.reason, Some(Reason::Changed));
}

#[test]
fn answers_from_elsewhere_and_to_nobody_are_not_believed() {
    let mut world = World::new(Looks::Nothing, Looks::Nothing, vec![Server::new(1, Half::None)]);
    let server = world.servers[0].main;
    let mut discovery = Discovery::new(world.now, &[server], &[world.own], None);
    let mut out = VecDeque::new();
    let now = world.now;
    let mut cx = Surroundings {
        rng: &mut world.rng,
        contacted: &mut world.contacted,
        others: &world.others,
        range: PartyRange::DEFAULT,
        out: &mut out,
    };
    discovery.wake(now, &mut cx);
    let id = stun_id(&cx.out.pop_front().unwrap().1);
    let lie = |id| written(id, 0x0101, &[(0x0020, xored(at("192.0.2.66:6"), id))]);
    assert!(
        !discovery.datagram(now, server, &lie([9; 12]), &mut cx),
        "nobody asked"
    );
    assert!(discovery.datagram(now, at("198.51.100.9:3478"), &lie(id), &mut cx));
    assert_eq!(discovery.report().v4.mapped, None);
    discovery.datagram(now, server, &lie(id), &mut cx);
    assert_eq!(discovery.report().v4.mapped, Some(at("192.0.2.66:6")));
}

#[test]
fn a_server_can_not_send_requests_into_the_party_or_to_well_known_ports() {
    for other in [
        "10.66.0.2:3479",
        "127.0.0.1:3479",
        "203.0.113.1:53",
        "192.168.1.2:3479",
        "198.51.100.1:3479",
    ] {
        let mut server = Server::new(1, Half::Honest);
        server.other = at(other);
        let mut world = World::new(Looks::Nothing, Looks::Nothing, vec![server]);
        let (report, _) = world.discovers();
        assert_eq!(report.v4.reason, Some(Reason::OneDestination), "{other}");
        assert!(
            world.sent_to.iter().all(|to| *to == world.servers[0].main),
            "{other}"
        );
    }
}

#[test]
fn evidence_reads_as_a_sentence() {
    let mut world = World::new(Looks::Nothing, Looks::Address, vec![Server::new(1, Half::Honest)]);
    let (report, _) = world.discovers();
    let lines: Vec<String> = report.v4.evidence.iter().map(ToString::to_string).collect();
    assert_eq!(lines[0], "198.51.100.1:3478 saw 192.0.2.1:40001, 30.0 ms");
    assert!(
        lines.iter().any(|line| line.contains(
            "other address and port: no answer; other port: answer from 198.51.100.1:3479; 7 of 7 beside"
        )),
        "{lines:?}"
    );
}
