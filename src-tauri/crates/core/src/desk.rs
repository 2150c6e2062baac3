//! What every part of a member works with: the run's numbers, randomness, the network, and where outputs go.

use crate::context::Context;
use crate::io::{Network, Output};
use crate::mapping::Mapped;
use crate::nat::watch::{Place, Watch};
use crate::party::Ident;
use crate::path::{Path, TransportId};
use crate::punch::Punch;
use crate::records::{Candidate, CandidateKind};
use crate::relays::Relays;
use lanrage_proto::server_url::is_reachable_unicast;
use lanrage_proto::{PartyRange, Seq, limits};
use rand_chacha::ChaCha20Rng;
use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

pub(crate) struct Desk {
    /// The random number of this run.
    pub(crate) session: u64,
    /// The newest thing said.
    pub(crate) seq: Seq,
    pub(crate) rng: ChaCha20Rng,
    pub(crate) network: Network,
    pub(crate) relays: Relays,
    pub(crate) nat: Watch,
    pub(crate) punch: Punch,
    /// What the router in front was asked for.
    pub(crate) mapped: Mapped,
    pub(crate) next_conn: u32,
    /// There is an adapter.
    pub(crate) ready: bool,
    pub(crate) out: VecDeque<Output>,
}

impl Desk {
    pub(crate) fn next_seq(&mut self) -> Seq {
        self.seq = self.seq.next();
        self.seq
    }

    pub(crate) fn context<'a>(&'a mut self, ident: &'a Ident, range: PartyRange, view: u64) -> Context<'a> {
        Context {
            party: &ident.keys,
            me: &ident.me,
            session: self.session,
            view,
            ready: self.ready,
            seq: &mut self.seq,
            rng: &mut self.rng,
            network: &self.network,
            relays: &self.relays,
            punch: &self.punch,
            range,
            out: &mut self.out,
        }
    }

    /// Lets time pass for what is found out about the NAT, or takes in what a server says. `others` are addresses that
    /// the primary sockets send to otherwise.
    pub(crate) fn nat(
        &mut self,
        now: Instant,
        range: Option<PartyRange>,
        others: &BTreeSet<IpAddr>,
        arrived: Option<(SocketAddr, &[u8])>,
    ) {
        let own = self.network.addresses.iter();
        let own = own.map(|(address, _)| SocketAddr::new(*address, self.network.port));
        let mut out = VecDeque::new();
        let place = Place {
            party: range,
            own: own.collect(),
            others,
            rng: &mut self.rng,
            out: &mut out,
        };
        match arrived {
            Some((from, bytes)) => self.nat.datagram(now, from, bytes, place),
            None => self.nat.wake(now, place),
        }
        let requests = out
            .into_iter()
            .map(|(to, bytes)| Output::Transmit(Path::primary(to), bytes));
        self.out.extend(requests);
        if let Some((remote, request)) = self.nat.ask_afresh(now) {
            let transport = TransportId::FRESH;
            self.out
                .push_back(Output::Transmit(Path { transport, remote }, request));
        }
    }

    /// Where this member might be reached: the computer's own addresses, those that others see, on relays, on ports
    /// that its router opened and through its NAT, and the one a control plane saw, with our port as a guess.
    pub(crate) fn candidates(&self, range: PartyRange, seen_as: Option<IpAddr>) -> Vec<Candidate> {
        let own: BTreeSet<IpAddr> = self
            .network
            .addresses
            .iter()
            .map(|(address, _)| *address)
            .collect();
        let mapped: Vec<SocketAddr> = self.nat.report().mapped().collect();
        // Where the port is known there is nothing to guess.
        let known =
            |address: &IpAddr| own.contains(address) || mapped.iter().any(|mapped| mapped.ip() == *address);
        let guess = seen_as
            .map(|address| address.to_canonical())
            .filter(|address| !known(address));
        let granted = self.mapped.udp;
        let on_request = granted.map(|at| Candidate {
            kind: CandidateKind::Mapped,
            at,
        });
        let reflexive = mapped
            .iter()
            .filter(|at| Some(**at) != granted)
            .map(|at| Candidate {
                kind: CandidateKind::Reflexive,
                at: *at,
            });
        let reflexive = reflexive.filter(|candidate| {
            !(own.contains(&candidate.at.ip()) && candidate.at.port() == self.network.port)
        });
        let of = |kind| {
            move |address: IpAddr| Candidate {
                kind,
                at: SocketAddr::new(address, self.network.port),
            }
        };
        let relayed = self.relays.told().into_iter().map(|up| Candidate {
            kind: CandidateKind::Relayed,
            at: up.relayed,
        });
        // Those that work from far away first: where there are too many, they must not be cut off.
        relayed
            .chain(on_request)
            .chain(reflexive)
            .chain(own.iter().copied().map(of(CandidateKind::Host)))
            .chain(guess.map(of(CandidateKind::Guess)))
            .filter(|candidate| is_reachable_unicast(candidate.at.ip(), range))
            .take(limits::CANDIDATES)
            .collect()
    }
}
