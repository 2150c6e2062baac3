//! The registry: frames and time in, changes and frames out.

use crate::connection::{ConnId, Connection, Proven, Source, Stage};
use crate::pace::{Bucket, BySource, Pace, Verdict};
use crate::party::Party;
use crate::servers::{NoServers, Servers};
use crate::store::{Change, StoredMember, StoredParty, StoredState};
use lanrage_proto::control::{ClientFrame, MemberEntry, Request, Sealed, ServerFrame, ServerMessage};
use lanrage_proto::ids::{Incarnation, Version};
use lanrage_proto::{FaultCode, Tag, limits};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

mod requests;

/// How long a stranger may take to prove that it holds a party's ID.
const UNPROVEN: Duration = Duration::from_secs(10);
/// How long who has proven may stay without joining.
const UNJOINED: Duration = Duration::from_secs(60);
/// A member's connection on which three heartbeats did not come is dead, whatever TCP believes.
const SILENT: Duration = limits::HEARTBEAT.saturating_mul(3);
/// Requests on one connection. The burst has room for a signal to each member of the largest party.
const REQUESTS: Pace = Pace {
    burst: 300,
    interval: Duration::from_millis(50),
};
/// Parties that one public source may found: nobody's friends need more, and each costs memory.
const FOUNDINGS: Pace = Pace {
    burst: 20,
    interval: Duration::from_secs(60),
};

/// What a registry allows.
#[derive(Debug, Clone)]
pub struct Config {
    /// Members of one party, from 1 to 250.
    pub members: u8,
    /// In local mode the one party that is served.
    pub only: Option<Tag>,
    /// Parties, those that have ended but are remembered included.
    pub parties: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            members: limits::PARTY_MEMBERS,
            only: None,
            parties: 200_000,
        }
    }
}

/// What the host has to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Keep this before any later output is carried out.
    Store(Change),
    /// Send this.
    Send(ConnId, ServerFrame),
    /// Close this once what was sent is on its way. The registry knows it no longer.
    Close(ConnId),
}

/// The parties of one control plane and the connections to it.
///
/// Nothing here fails: what is wrong with a frame is told to its sender. Calls that come too often, too late or
/// for a connection that is gone are harmless.
#[derive(Debug)]
pub struct Registry {
    config: Config,
    servers: Box<dyn Servers>,
    random: ChaCha20Rng,
    parties: BTreeMap<Tag, Entry>,
    connections: BTreeMap<ConnId, Connection>,
    deadlines: BTreeSet<(Instant, ConnId)>,
    foundings: BySource,
    sweep_at: Instant,
    /// One line in the log is help for an operator, one for each stranger is none.
    told_of_foreign_names: bool,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
enum Entry {
    Live(Party),
    Ended { statement: Sealed, until: Instant },
}

/// Why a request is not carried out.
#[derive(Debug)]
enum Refusal {
    /// For a reason that has a code.
    Fault(FaultCode),
    /// The party has ended, by this word of its host.
    Ended(Sealed),
}

impl From<FaultCode> for Refusal {
    fn from(code: FaultCode) -> Self {
        Self::Fault(code)
    }
}

impl Registry {
    /// A registry that goes on with what was `stored`. All its members count as away and as seen `now`.
    ///
    /// `randomness` has to be unpredictable and never the same twice: challenges come from it.
    pub fn new(config: Config, randomness: [u8; 32], now: Instant, stored: Vec<StoredParty>) -> Self {
        let mut random = ChaCha20Rng::from_seed(randomness);
        let mut parties = BTreeMap::new();
        for StoredParty { tag, state } in stored {
            if config.only.is_some_and(|only| only != tag) {
                continue;
            }
            let entry = match state {
                StoredState::Live { founding, members } => Entry::Live(Party::restored(
                    founding,
                    members,
                    Incarnation(random.next_u64()),
                    now,
                )),
                StoredState::Ended { statement } => Entry::Ended {
                    statement,
                    until: now + limits::ENDED_MEMORY,
                },
            };
            parties.insert(tag, entry);
        }
        Self {
            config,
            servers: Box::new(NoServers),
            random,
            parties,
            connections: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            foundings: BySource::default(),
            sweep_at: now + limits::SWEEP,
            told_of_foreign_names: false,
            outputs: VecDeque::new(),
        }
    }

    /// Lets it hand out servers.
    #[must_use]
    pub fn with_servers(mut self, servers: Box<dyn Servers>) -> Self {
        self.servers = servers;
        self
    }

    /// A client connected. `connection` must not have been used before.
    pub fn connected(&mut self, now: Instant, connection: ConnId, source: Source) {
        let deadline = now + UNPROVEN;
        self.deadlines.insert((deadline, connection));
        let fresh = Connection {
            source,
            authority: String::new(),
            stage: Stage::New,
            bucket: Bucket::full(now),
            deadline,
        };
        self.connections.insert(connection, fresh);
    }

    /// A client said something.
    pub fn frame(&mut self, now: Instant, connection: ConnId, frame: ClientFrame) {
        let Some(known) = self.connections.get_mut(&connection) else {
            return;
        };
        let ClientFrame { id, request } = frame;
        match known.bucket.take(REQUESTS, now) {
            Verdict::Within => {}
            Verdict::TooMany => return self.refuse(connection, id, FaultCode::TooMany),
            Verdict::Flood => return self.refuse_and_close(now, connection, Some(id), FaultCode::TooMany),
        }
        match (known.stage.clone(), request) {
            (
                Stage::New,
                Request::Hello {
                    versions,
                    tag,
                    authority,
                },
            ) => self.hello(now, connection, id, versions, tag, authority),
            (Stage::Challenged(challenged), Request::Prove { proof }) => {
                self.prove(now, connection, id, &challenged, &proof);
            }
            (Stage::New | Stage::Challenged(_), _) | (_, Request::Hello { .. } | Request::Prove { .. }) => {
                self.refuse_and_close(now, connection, Some(id), FaultCode::ControlMalformed);
            }
            (Stage::Proven(who), request) => {
                let answer = match request {
                    Request::RegisterParty { founding } => self.register(now, connection, who, founding),
                    Request::JoinParty { resume } => self.join(now, connection, who, resume),
                    Request::Discover {} => self.discover(who),
                    _ => Err(FaultCode::NotAMember.into()),
                };
                self.answer(connection, id, answer);
            }
            (Stage::Joined(who), request) => {
                self.heard(now, connection, who);
                let answer = match request {
                    Request::RegisterParty { founding } => self.register(now, connection, who, founding),
                    Request::JoinParty { resume } => self.join(now, connection, who, resume),
                    Request::Discover {} => self.discover(who),
                    Request::LeaveParty { statement } => self.leave(now, connection, who, statement),
                    Request::DissolveParty { statement } => self.dissolve(now, connection, who, statement),
                    Request::UpdatePeer { record } => self.update(who, record),
                    Request::Snapshot { page } => self.snapshot(who, page),
                    Request::Signal { to, signal } => self.signal(who, to, signal),
                    Request::Heartbeat {} => Ok(ServerMessage::Done {}),
                    Request::RenewCredentials {} => Ok(ServerMessage::Relays {
                        relays: self.relays(connection, who),
                    }),
                    Request::Hello { .. } | Request::Prove { .. } => Err(FaultCode::ControlMalformed.into()),
                };
                self.answer(connection, id, answer);
            }
        }
    }

    /// A client said something that is no frame.
    pub fn malformed(&mut self, now: Instant, connection: ConnId) {
        if self.connections.contains_key(&connection) {
            self.refuse_and_close(now, connection, None, FaultCode::ControlMalformed);
        }
    }

    /// A connection is gone. Its member is away from here on, and removed when it does not come back in time.
    pub fn disconnected(&mut self, _now: Instant, connection: ConnId) {
        let Some(known) = self.connections.remove(&connection) else {
            return;
        };
        self.deadlines.remove(&(known.deadline, connection));
        let Stage::Joined(who) = known.stage else {
            return;
        };
        if let Some(Entry::Live(party)) = self.parties.get_mut(&who.tag)
            && party.disconnect(&who.identity, connection)
        {
            tracing::debug!(tag = ?who.tag, member = who.identity.short(), "a member is away");
            self.tell_entry(who, |version, member| ServerMessage::PeerUpdated {
                version,
                member,
            });
        }
    }

    /// Does what is due by `now`.
    pub fn wake(&mut self, now: Instant) {
        while let Some((deadline, connection)) = self.deadlines.first().copied()
            && deadline <= now
        {
            tracing::debug!(connection = connection.0, "a silent connection is closed");
            self.close(now, connection);
        }
        if now >= self.sweep_at {
            self.sweep(now);
            self.sweep_at = now + limits::SWEEP;
        }
    }

    /// When [`Self::wake`] has something to do; later is late, earlier is harmless.
    pub fn next_wake(&self) -> Option<Instant> {
        let deadline = self.deadlines.first().map(|(deadline, _)| *deadline);
        let sweep = (!self.parties.is_empty() || !self.foundings.is_empty()).then_some(self.sweep_at);
        deadline.into_iter().chain(sweep).min()
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// How many parties go on here.
    pub fn live_parties(&self) -> usize {
        self.parties
            .values()
            .filter(|entry| matches!(entry, Entry::Live(_)))
            .count()
    }

    /// Whether who is at the other end of this connection has proven to hold the party's ID.
    pub fn is_proven(&self, connection: ConnId) -> bool {
        let stage = self.connections.get(&connection).map(|known| &known.stage);
        matches!(stage, Some(Stage::Proven(_) | Stage::Joined(_)))
    }

    /// Everything that a store should hold by now, in order of the tags. When the host has carried out all
    /// changes, this is what its store holds.
    pub fn stored(&self) -> Vec<StoredParty> {
        self.parties
            .iter()
            .map(|(tag, entry)| match entry {
                Entry::Live(party) => party.stored(*tag),
                Entry::Ended { statement, .. } => StoredParty {
                    tag: *tag,
                    state: StoredState::Ended {
                        statement: statement.clone(),
                    },
                },
            })
            .collect()
    }
}

/// What requests and deadlines share.
impl Registry {
    fn party(&self, tag: &Tag) -> Result<&Party, Refusal> {
        match self.parties.get(tag) {
            Some(Entry::Live(party)) => Ok(party),
            Some(Entry::Ended { statement, .. }) => Err(Refusal::Ended(statement.clone())),
            None => Err(FaultCode::PartyUnknown.into()),
        }
    }

    fn party_mut(&mut self, tag: &Tag) -> Result<&mut Party, Refusal> {
        match self.parties.get_mut(tag) {
            Some(Entry::Live(party)) => Ok(party),
            Some(Entry::Ended { statement, .. }) => Err(Refusal::Ended(statement.clone())),
            None => Err(FaultCode::PartyUnknown.into()),
        }
    }

    /// Takes a member out, with its word or for its silence, and the party with the last of them.
    fn remove(&mut self, who: Proven, statement: Option<Sealed>) {
        let Proven { tag, identity } = who;
        let Some(Entry::Live(party)) = self.parties.get_mut(&tag) else {
            return;
        };
        if !party.remove(&identity) {
            return;
        }
        if party.is_empty() {
            return self.forget(tag);
        }
        let (version, row) = (party.version, party.row(&identity));
        let others = party.connections_but(&identity);
        self.store_row(tag, row);
        for other in others {
            let left = ServerMessage::PeerLeft {
                version,
                member: identity,
                statement: statement.clone(),
            };
            self.send(other, None, left);
        }
    }

    fn forget(&mut self, tag: Tag) {
        self.parties.remove(&tag);
        self.store(Change::Forgotten { tag });
        tracing::info!(?tag, "a party is forgotten");
    }

    /// Removes who was silent for too long, and parties that have no members or ended long ago.
    fn sweep(&mut self, now: Instant) {
        self.foundings.prune(now);
        let mut gone = Vec::new();
        let mut stale = Vec::new();
        for (tag, entry) in &self.parties {
            match entry {
                Entry::Live(party) if party.is_empty() => gone.push(*tag),
                Entry::Live(party) => {
                    let silent = party.silent_for(limits::STALE, now);
                    stale.extend(silent.map(|identity| Proven { tag: *tag, identity }));
                }
                Entry::Ended { until, .. } if *until <= now => gone.push(*tag),
                Entry::Ended { .. } => {}
            }
        }
        for who in stale {
            tracing::debug!(tag = ?who.tag, member = who.identity.short(), "a member was silent for too long");
            if let Ok(party) = self.party(&who.tag)
                && let Some(connection) = party.member(&who.identity).and_then(|member| member.connection)
            {
                self.close(now, connection);
            }
            self.remove(who, None);
        }
        for tag in gone {
            self.forget(tag);
        }
    }

    fn heard(&mut self, now: Instant, connection: ConnId, who: Proven) {
        self.set_stage(connection, Stage::Joined(who), now + SILENT);
        if let Some(Entry::Live(party)) = self.parties.get_mut(&who.tag)
            && let Some(member) = party.member_mut(&who.identity)
        {
            member.seen = now;
        }
    }

    fn set_stage(&mut self, connection: ConnId, stage: Stage, deadline: Instant) {
        if let Some(known) = self.connections.get_mut(&connection) {
            self.deadlines.remove(&(known.deadline, connection));
            self.deadlines.insert((deadline, connection));
            known.stage = stage;
            known.deadline = deadline;
        }
    }

    fn close(&mut self, now: Instant, connection: ConnId) {
        self.outputs.push_back(Output::Close(connection));
        self.disconnected(now, connection);
    }

    fn refuse(&mut self, connection: ConnId, id: u64, code: FaultCode) {
        self.send(connection, Some(id), ServerMessage::Fault { code });
    }

    fn refuse_and_close(&mut self, now: Instant, connection: ConnId, id: Option<u64>, code: FaultCode) {
        self.send(connection, id, ServerMessage::Fault { code });
        self.close(now, connection);
    }

    fn answer(&mut self, connection: ConnId, id: u64, answer: Result<ServerMessage, Refusal>) {
        let message = answer.unwrap_or_else(|refusal| match refusal {
            Refusal::Fault(code) => ServerMessage::Fault { code },
            Refusal::Ended(statement) => ServerMessage::PartyDissolved {
                statement: Some(statement),
            },
        });
        self.send(connection, Some(id), message);
    }

    /// Tells the others how a member is now.
    fn tell_entry(&mut self, who: Proven, message: impl Fn(Version, MemberEntry) -> ServerMessage) {
        let Some(Entry::Live(party)) = self.parties.get(&who.tag) else {
            return;
        };
        let Some(entry) = party.entry(&who.identity) else {
            return;
        };
        let version = party.version;
        for other in party.connections_but(&who.identity) {
            self.send(other, None, message(version, entry.clone()));
        }
    }

    fn send(&mut self, connection: ConnId, re: Option<u64>, message: ServerMessage) {
        self.outputs
            .push_back(Output::Send(connection, ServerFrame { re, message }));
    }

    fn store(&mut self, change: Change) {
        self.outputs.push_back(Output::Store(change));
    }

    fn store_row(&mut self, tag: Tag, row: Option<StoredMember>) {
        if let Some(member) = row {
            self.store(Change::Member { tag, member });
        }
    }
}
