//! A computer behind a NAT, and STUN servers that do as they should or do not.

use super::super::*;
use crate::stun::tests::{plain, written, xored};
use crate::stun::{Change, TransactionId};
use lanrage_proto::PartyRange;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

pub(super) const RTT: Duration = Duration::from_millis(30);

pub(super) fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// What a part of a NAT looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looks {
    Nothing,
    Address,
    AddressAndPort,
}

pub(super) const LOOKS: [Looks; 3] = [Looks::Nothing, Looks::Address, Looks::AddressAndPort];

/// A server's other half, and how it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
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
pub(super) struct Server {
    pub(super) main: SocketAddr,
    pub(super) other: SocketAddr,
    pub(super) half: Half,
}

impl Server {
    pub(super) fn new(n: u8, half: Half) -> Self {
        Self {
            main: at(&format!("198.51.100.{n}:3478")),
            other: at(&format!("203.0.113.{n}:3479")),
            half,
        }
    }

    /// Its four addresses.
    pub(super) fn addresses(&self) -> [SocketAddr; 4] {
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
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) own: SocketAddr,
    /// The NAT's address; none where there is only a firewall.
    pub(super) outside: Option<IpAddr>,
    pub(super) mapping: Looks,
    pub(super) filtering: Looks,
    pub(super) keeps_ports: bool,
    /// Takes what came unasked for its own, and gives what is sent back there another port (seen on Linux).
    pub(super) steals: bool,
    pub(super) servers: Vec<Server>,
    /// Share of datagrams lost, of 100.
    pub(super) loss: u32,
    pub(super) rng: ChaCha20Rng,
    pub(super) chance: ChaCha20Rng,
    pub(super) mappings: BTreeMap<(Option<IpAddr>, u16), u16>,
    pub(super) stolen: BTreeMap<SocketAddr, u16>,
    pub(super) sent_to: BTreeSet<SocketAddr>,
    pub(super) next_port: u16,
    pub(super) contacted: Contacted,
    pub(super) others: BTreeSet<IpAddr>,
    pub(super) under_way: BTreeMap<(Instant, u64), (SocketAddr, Vec<u8>)>,
    pub(super) requests: u64,
}

impl World {
    pub(super) fn new(mapping: Looks, filtering: Looks, servers: Vec<Server>) -> Self {
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

    pub(super) fn seeded(mut self, seed: u64, loss: u32) -> Self {
        self.chance = ChaCha20Rng::seed_from_u64(seed);
        self.loss = loss;
        self
    }

    pub(super) fn is_lost(&mut self) -> bool {
        self.chance.next_u32() % 100 < self.loss
    }

    /// A request leaves; what the destination sees it come from.
    pub(super) fn out(&mut self, to: SocketAddr) -> SocketAddr {
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
    pub(super) fn lets_in(&mut self, from: SocketAddr) -> bool {
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
    pub(super) fn serve(&mut self, to: SocketAddr, request: &[u8]) {
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
    pub(super) fn run<T>(
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

    pub(super) fn discovers(&mut self) -> (NatReport, Duration) {
        let servers: Vec<SocketAddr> = self.servers.iter().map(|server| server.main).collect();
        self.discovers_with(&servers)
    }

    pub(super) fn discovers_with(&mut self, servers: &[SocketAddr]) -> (NatReport, Duration) {
        let mut discovery = Discovery::new(self.now, servers, &[self.own], None);
        let took = self.run(Duration::from_secs(60), &mut discovery, |discovery, mut turn| {
            if let Some((from, bytes)) = turn.arrived {
                discovery.datagram(turn.now, from, bytes, &mut turn.cx);
            }
            discovery.wake(turn.now, &mut turn.cx);
            (!discovery.is_done()).then(|| discovery.next_wake()).flatten()
        });
        assert!(discovery.is_done(), "stuck: {:?}", discovery.report());
        let report = NatReport {
            v4: discovery.report(),
            v6: FamilyReport::unknown(Reason::Untried),
        };
        (report, took)
    }

    /// What an all-knowing observer calls it.
    pub(super) fn truth(&self) -> NatType {
        match (self.mapping, self.filtering) {
            _ if self.outside.is_none() && self.filtering == Looks::Nothing => NatType::Open,
            (Looks::Address | Looks::AddressAndPort, _) if self.outside.is_some() => NatType::Symmetric,
            (_, Looks::Nothing) => NatType::FullCone,
            (_, Looks::Address) => NatType::RestrictedCone,
            (_, Looks::AddressAndPort) => NatType::PortRestrictedCone,
        }
    }
}

pub(super) fn stun_id(message: &[u8]) -> TransactionId {
    crate::stun::transaction_of(message).unwrap()
}

pub(super) struct Turn<'a, 'b> {
    pub(super) now: Instant,
    pub(super) arrived: Option<(SocketAddr, &'b [u8])>,
    pub(super) cx: Surroundings<'a>,
}
