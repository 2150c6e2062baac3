//! The registry: frames and time in, changes and frames out.

use crate::connection::{Challenged, ConnId, Connection, Proven, Source, Stage};
use crate::pace::{Bucket, BySource, Pace, Verdict};
use crate::party::{Arrival, Party};
use crate::store::{Change, StoredParty, StoredState};
use lanrage_proto::admission::Proof;
use lanrage_proto::control::{ClientFrame, Request, Sealed, ServerFrame, ServerMessage, Versions};
use lanrage_proto::ids::{Challenge, Incarnation};
use lanrage_proto::{FaultCode, MemberId, Slot, Tag, limits, server_url};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

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
    random: ChaCha20Rng,
    parties: BTreeMap<Tag, Entry>,
    connections: BTreeMap<ConnId, Connection>,
    deadlines: BTreeSet<(Instant, ConnId)>,
    foundings: BySource,
    sweep_at: Instant,
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
            random,
            parties,
            connections: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            foundings: BySource::default(),
            sweep_at: now + limits::SWEEP,
            outputs: VecDeque::new(),
        }
    }

    /// A client connected. `connection` must not have been used before.
    pub fn connected(&mut self, now: Instant, connection: ConnId, source: Source) {
        let deadline = now + UNPROVEN;
        self.deadlines.insert((deadline, connection));
        let fresh = Connection {
            source,
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

/// Admission.
impl Registry {
    fn hello(
        &mut self,
        now: Instant,
        connection: ConnId,
        id: u64,
        versions: Versions,
        tag: Tag,
        authority: String,
    ) {
        let Some(version) = Versions::OURS.common(versions) else {
            return self.refuse_and_close(now, connection, Some(id), FaultCode::VersionUnsupported);
        };
        let Some(known) = self.connections.get_mut(&connection) else {
            return;
        };
        if !known.source.was_dialled_as(&authority) {
            tracing::debug!(?authority, ours = ?known.source.authorities, "dialled by a foreign name");
            return self.refuse_and_close(now, connection, Some(id), FaultCode::NotAdmitted);
        }
        let mut challenge = [0; 32];
        self.random.fill_bytes(&mut challenge);
        let challenge = Challenge(challenge);
        known.stage = Stage::Challenged(Challenged {
            tag,
            authority,
            challenge,
            version,
        });
        self.answer(connection, id, Ok(ServerMessage::Challenge { challenge }));
    }

    fn prove(&mut self, now: Instant, connection: ConnId, id: u64, expected: &Challenged, proof: &Proof) {
        let Challenged {
            tag,
            authority,
            challenge,
            version,
        } = expected;
        if let Err(error) = proof.verify(tag, challenge, authority) {
            tracing::debug!(connection = connection.0, %error, "not admitted");
            return self.refuse_and_close(now, connection, Some(id), FaultCode::NotAdmitted);
        }
        let who = Proven {
            tag: *tag,
            identity: proof.identity,
        };
        self.set_stage(connection, Stage::Proven(who), now + UNJOINED);
        let seen_as = self
            .connections
            .get(&connection)
            .and_then(|known| known.source.address);
        let welcome = ServerMessage::Welcome {
            version: *version,
            heartbeat_seconds: limits::HEARTBEAT.as_secs() as u16,
            seen_as,
        };
        self.answer(connection, id, Ok(welcome));
    }
}

/// Requests of those who hold the party ID.
impl Registry {
    fn discover(&self, who: Proven) -> Result<ServerMessage, Refusal> {
        let party = self.party(&who.tag)?;
        Ok(ServerMessage::Party {
            version: party.version,
            founding: party.founding.clone(),
            slot: None,
        })
    }

    fn register(
        &mut self,
        now: Instant,
        connection: ConnId,
        who: Proven,
        founding: Sealed,
    ) -> Result<ServerMessage, Refusal> {
        if self.config.only.is_some_and(|only| only != who.tag) {
            return Err(FaultCode::PartyUnknown.into());
        }
        check_word(&founding, who, limits::SEALED_RECORD)?;
        match self.parties.get(&who.tag) {
            Some(Entry::Live(party)) if party.founding == founding => {}
            Some(Entry::Live(_)) => return Err(FaultCode::PartyExists.into()),
            Some(Entry::Ended { .. }) => return Err(FaultCode::PartyEnded.into()),
            None => self.found(now, connection, who, founding)?,
        }
        self.join(now, connection, who, None)
    }

    fn found(
        &mut self,
        now: Instant,
        connection: ConnId,
        who: Proven,
        founding: Sealed,
    ) -> Result<(), Refusal> {
        let source = self
            .connections
            .get(&connection)
            .and_then(|known| known.source.address);
        // On loopback and in a LAN people know whom to talk to.
        let public = source.filter(|address| !server_url::is_near(*address));
        let paced = public.map(|address| self.foundings.take(FOUNDINGS, address, now));
        if self.parties.len() >= self.config.parties || paced.is_some_and(|v| v != Verdict::Within) {
            return Err(FaultCode::TooMany.into());
        }
        let party = Party::new(founding.clone(), Incarnation(self.random.next_u64()));
        self.parties.insert(who.tag, Entry::Live(party));
        self.store(Change::Founded {
            tag: who.tag,
            founding,
        });
        tracing::info!(tag = ?who.tag, "a party began");
        Ok(())
    }

    fn join(
        &mut self,
        now: Instant,
        connection: ConnId,
        who: Proven,
        resume: Option<Slot>,
    ) -> Result<ServerMessage, Refusal> {
        let room = self.config.members.clamp(1, Slot::MAX.get());
        let party = self.party_mut(&who.tag)?;
        let admitted = party
            .admit(now, who.identity, connection, resume, room)
            .map_err(|_| FaultCode::PartyFull)?;
        let answer = ServerMessage::Party {
            version: party.version,
            founding: party.founding.clone(),
            slot: Some(admitted.slot),
        };
        let row = party.row(&who.identity);
        if let Some(older) = admitted.replaced {
            self.send(older, None, ServerMessage::Superseded {});
            // Forgotten before it is closed: the member is not away by that.
            self.set_stage(older, Stage::New, now);
            self.close(now, older);
        }
        if let Some(member) = admitted.released {
            self.store(Change::Released { tag: who.tag, member });
        }
        match admitted.arrival {
            Arrival::Joined => {
                self.store_row(who.tag, row);
                self.tell_entry(who, |version, member| ServerMessage::PeerJoined {
                    version,
                    member,
                });
            }
            Arrival::Returned => {
                self.tell_entry(who, |version, member| ServerMessage::PeerUpdated {
                    version,
                    member,
                });
            }
            Arrival::Unchanged => {}
        }
        self.set_stage(connection, Stage::Joined(who), now + SILENT);
        tracing::debug!(tag = ?who.tag, member = who.identity.short(), slot = admitted.slot.get(), "joined");
        Ok(answer)
    }
}

/// Requests of members.
impl Registry {
    fn leave(
        &mut self,
        now: Instant,
        connection: ConnId,
        who: Proven,
        statement: Sealed,
    ) -> Result<ServerMessage, Refusal> {
        check_word(&statement, who, limits::SEALED_RECORD)?;
        self.set_stage(connection, Stage::Proven(who), now + UNJOINED);
        self.remove(who, Some(statement));
        Ok(ServerMessage::Done {})
    }

    fn dissolve(
        &mut self,
        now: Instant,
        connection: ConnId,
        who: Proven,
        statement: Sealed,
    ) -> Result<ServerMessage, Refusal> {
        let party = self.party(&who.tag)?;
        if party.founder() != who.identity {
            return Err(FaultCode::HostOnly.into());
        }
        check_word(&statement, who, limits::SEALED_RECORD)?;
        let others = party.connections_but(&who.identity);
        let ended = Entry::Ended {
            statement: statement.clone(),
            until: now + limits::ENDED_MEMORY,
        };
        self.parties.insert(who.tag, ended);
        self.store(Change::Ended {
            tag: who.tag,
            statement: statement.clone(),
        });
        self.set_stage(connection, Stage::Proven(who), now + UNJOINED);
        for other in others {
            let dissolved = ServerMessage::PartyDissolved {
                statement: Some(statement.clone()),
            };
            self.send(other, None, dissolved);
            if let Some(Stage::Joined(theirs)) = self.connections.get(&other).map(|known| known.stage.clone())
            {
                self.set_stage(other, Stage::Proven(theirs), now + UNJOINED);
            }
        }
        tracing::info!(tag = ?who.tag, "a party was dissolved");
        Ok(ServerMessage::Done {})
    }

    fn update(&mut self, who: Proven, record: Sealed) -> Result<ServerMessage, Refusal> {
        check_word(&record, who, limits::SEALED_RECORD)?;
        let party = self.party_mut(&who.tag)?;
        let member = party.member_mut(&who.identity).ok_or(FaultCode::NotAMember)?;
        if member
            .record
            .as_ref()
            .is_some_and(|known| record.seq <= known.seq)
        {
            return Err(FaultCode::RecordOld.into());
        }
        member.record = Some(record);
        party.version = party.version.bumped();
        let row = party.row(&who.identity);
        self.store_row(who.tag, row);
        self.tell_entry(who, |version, member| ServerMessage::PeerUpdated {
            version,
            member,
        });
        Ok(ServerMessage::Done {})
    }

    fn snapshot(&self, who: Proven, page: u16) -> Result<ServerMessage, Refusal> {
        let party = self.party(&who.tag)?;
        let entries = party.entries();
        let members = entries
            .chunks(limits::SNAPSHOT_PAGE)
            .nth(usize::from(page))
            .unwrap_or_default();
        Ok(ServerMessage::Snapshot {
            version: party.version,
            page,
            // At most 8: a party has at most 250 members.
            pages: entries.len().div_ceil(limits::SNAPSHOT_PAGE) as u16,
            members: members.to_vec(),
        })
    }

    fn signal(&mut self, who: Proven, to: MemberId, signal: Sealed) -> Result<ServerMessage, Refusal> {
        check_word(&signal, who, limits::SEALED_SIGNAL)?;
        let receiver = self
            .party(&who.tag)?
            .member(&to)
            .and_then(|member| member.connection)
            .ok_or(FaultCode::MemberAway)?;
        self.send(receiver, None, ServerMessage::Signal { signal });
        Ok(ServerMessage::Done {})
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
    fn tell_entry(
        &mut self,
        who: Proven,
        message: impl Fn(lanrage_proto::ids::Version, lanrage_proto::control::MemberEntry) -> ServerMessage,
    ) {
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

    fn store_row(&mut self, tag: Tag, row: Option<crate::store::StoredMember>) {
        if let Some(member) = row {
            self.store(Change::Member { tag, member });
        }
    }
}

/// Whether a sealed word is its sender's own and of a size that fits.
fn check_word(word: &Sealed, who: Proven, longest: usize) -> Result<(), Refusal> {
    if word.author == who.identity && word.body.len() <= longest {
        Ok(())
    } else {
        Err(FaultCode::RecordInvalid.into())
    }
}
