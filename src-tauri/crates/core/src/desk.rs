//! What every part of a member works with: the run's numbers, randomness, the network, and where outputs go.

use crate::connection::Context;
use crate::io::{Network, Output};
use crate::party::Ident;
use crate::records::{Candidate, CandidateKind};
use crate::relays::Relays;
use lanrage_proto::server_url::is_reachable_unicast;
use lanrage_proto::{PartyRange, Seq, limits};
use rand_chacha::ChaCha20Rng;
use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

pub(crate) struct Desk {
    /// The random number of this run.
    pub(crate) session: u64,
    /// The newest thing said.
    pub(crate) seq: Seq,
    pub(crate) rng: ChaCha20Rng,
    pub(crate) network: Network,
    pub(crate) relays: Relays,
    pub(crate) next_conn: u32,
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
            seq: &mut self.seq,
            rng: &mut self.rng,
            network: &self.network,
            relays: &self.relays,
            range,
            out: &mut self.out,
        }
    }

    /// Where this member might be reached: the computer's own addresses, and the one a control plane saw, with our
    /// port as a guess.
    pub(crate) fn candidates(&self, range: PartyRange, seen_as: Option<IpAddr>) -> Vec<Candidate> {
        let own: BTreeSet<IpAddr> = self
            .network
            .addresses
            .iter()
            .map(|(address, _)| *address)
            .collect();
        let guess = seen_as
            .map(|address| address.to_canonical())
            .filter(|address| !own.contains(address));
        let of = |kind| {
            move |address: IpAddr| Candidate {
                kind,
                at: SocketAddr::new(address, self.network.port),
            }
        };
        let relayed = self.relays.up().into_iter().map(|(_, up)| Candidate {
            kind: CandidateKind::Relayed,
            at: up.relayed,
        });
        // Relayed first: where there are too many, the one that always works must not be cut off.
        relayed
            .chain(own.iter().copied().map(of(CandidateKind::Host)))
            .chain(guess.map(of(CandidateKind::Guess)))
            .filter(|candidate| is_reachable_unicast(candidate.at.ip(), range))
            .take(limits::CANDIDATES)
            .collect()
    }
}
