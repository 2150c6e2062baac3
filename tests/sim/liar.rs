//! What it takes to lie: things once said, to be said again, and things signed by those who misuse their keys.

use super::{Trio, nothing_lost, seconds};
use lanrage_core::records::{self, Record, Word};
use lanrage_proto::control::{MemberEntry, Sealed, ServerMessage};
use lanrage_proto::ids::{Epoch, Version};
use lanrage_proto::{FaultCode, MemberId, Seq};
use lanrage_tests::sim::{Node, Sim};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::time::Duration;

/// Long enough for a lie to be noticed and for every tunnel to suffer if it did.
pub(crate) const WHILE: Duration = seconds(30);

impl Trio {
    /// What the control plane last said the party's state is, one change further.
    pub(crate) fn next_version(&self, node: Node) -> Version {
        let mut newest = self.sim.told(node).filter_map(|message| match message {
            ServerMessage::Party { version, .. }
            | ServerMessage::Snapshot { version, .. }
            | ServerMessage::PeerJoined { version, .. }
            | ServerMessage::PeerUpdated { version, .. }
            | ServerMessage::PeerLeft { version, .. } => Some(*version),
            _ => None,
        });
        newest.next_back().unwrap().bumped()
    }

    pub(crate) fn founding(&self) -> Sealed {
        let party = |message: &ServerMessage| match message {
            ServerMessage::Party { founding, .. } => Some(founding.clone()),
            _ => None,
        };
        self.sim.told(self.tom).find_map(party).unwrap()
    }

    pub(crate) fn id_of(&self, node: Node) -> MemberId {
        self.sim.identity(node, &self.party.id)
    }

    /// How the control plane last showed `whom` to `node`, with a record.
    pub(crate) fn entry(&self, node: Node, whom: Node) -> MemberEntry {
        let whom = self.id_of(whom);
        let entries = |message: &ServerMessage| match message {
            ServerMessage::PeerJoined { member, .. } | ServerMessage::PeerUpdated { member, .. } => {
                vec![member.clone()]
            }
            ServerMessage::Snapshot { members, .. } => members.clone(),
            _ => Vec::new(),
        };
        let mut shown = self.sim.told(node).flat_map(entries);
        shown
            .rfind(|entry| entry.member == whom && entry.record.is_some())
            .unwrap()
    }

    /// The control plane shows `node` this entry as news.
    pub(crate) fn show(&mut self, node: Node, member: MemberEntry) {
        let version = self.next_version(node);
        self.sim
            .tell(node, ServerMessage::PeerUpdated { version, member });
    }

    /// What the record in an entry says.
    pub(crate) fn record(&self, entry: &MemberEntry) -> Record {
        let (party, _) = self.sim.keys(self.anna, &self.party.id);
        records::open_record(&party, entry.record.as_ref().unwrap()).unwrap()
    }

    /// A record as `author` would sign it, newer than all before.
    pub(crate) fn signed(&self, author: Node, record: &Record) -> Sealed {
        let (party, keys) = self.sim.keys(author, &self.party.id);
        records::seal_record(&party, &keys, Epoch(0), Seq::at_boot(1000), record, &mut rng()).unwrap()
    }

    /// A word as `author` would sign it.
    pub(crate) fn word(&self, author: Node, word: Word) -> Sealed {
        let (party, keys) = self.sim.keys(author, &self.party.id);
        let chain = records::founding_hash(&self.founding());
        records::seal_word(
            &party,
            &keys,
            Epoch(0),
            Seq::at_boot(1000),
            word,
            &chain,
            &mut rng(),
        )
        .unwrap()
    }

    /// `victim` names the lie, and for a while after it nothing is lost between any of them, nobody's row is gone.
    #[track_caller]
    pub(crate) fn is_named_and_harmless(&mut self, victim: Node, code: FaultCode) {
        let (all, since) = (self.all(), self.sim.elapsed());
        self.chatter(WHILE);
        self.sim.wait_condition(victim, code, seconds(15));
        self.sim.run_for(WHILE + seconds(1));
        nothing_lost(&self.sim, &all, since);
        assert!(self.sim.all_connected(&all), "{}", self.sim.table());
        // The honest party goes on: conditions end by themselves.
        self.sim.lie_no_more();
        let clear = |sim: &Sim| !sim.has_condition(victim, code);
        self.sim.run_until("condition over", seconds(90), clear);
    }
}

pub(crate) fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([42; 32])
}

pub(crate) fn flipped(mut sealed: Sealed) -> Sealed {
    let last = sealed.body.0.len() - 1;
    sealed.body.0[last / 2] ^= 1;
    sealed
}
