//! Requests, one method each.

use super::{Entry, FOUNDINGS, Refusal, Registry, SILENT, UNJOINED};
use crate::connection::{Challenged, ConnId, Proven, Stage};
use crate::pace::Verdict;
use crate::party::{Arrival, Party};
use crate::store::Change;
use lanrage_proto::admission::Proof;
use lanrage_proto::control::{RelayOffer, Sealed, ServerMessage, Versions};
use lanrage_proto::ids::{Challenge, Incarnation};
use lanrage_proto::{FaultCode, MemberId, Slot, Tag, limits, server_url};
use rand_core::RngCore;
use std::time::Instant;

/// Admission.
impl Registry {
    pub(super) fn hello(
        &mut self,
        now: Instant,
        connection: ConnId,
        id: u64,
        versions: Versions,
        tag: Tag,
        authority: String,
    ) {
        let Some(version) = Versions::OURS.common(versions) else {
            let versions = Versions::OURS;
            self.send(
                connection,
                Some(id),
                ServerMessage::VersionUnsupported { versions },
            );
            return self.close(now, connection);
        };
        let Some(known) = self.connections.get_mut(&connection) else {
            return;
        };
        if !known.source.was_dialled_as(&authority) {
            if !self.told_of_foreign_names {
                self.told_of_foreign_names = true;
                tracing::warn!(
                    "somebody dialled this control plane by a name that is not known to be its own"
                );
            }
            let shown: String = authority.chars().take(80).collect();
            tracing::debug!(authority = shown, ours = ?known.source.authorities, "dialled by a foreign name");
            return self.refuse_and_close(now, connection, Some(id), FaultCode::NotAdmitted);
        }
        let mut challenge = [0; 32];
        self.random.fill_bytes(&mut challenge);
        let challenge = Challenge(challenge);
        known.authority.clone_from(&authority);
        known.stage = Stage::Challenged(Challenged {
            tag,
            authority,
            challenge,
            version,
        });
        self.answer(connection, id, Ok(ServerMessage::Challenge { challenge }));
    }

    pub(super) fn prove(
        &mut self,
        now: Instant,
        connection: ConnId,
        id: u64,
        expected: &Challenged,
        proof: &Proof,
    ) {
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
            stun: self.servers.stun(authority),
        };
        self.answer(connection, id, Ok(welcome));
    }
}

/// Requests of those who hold the party ID.
impl Registry {
    pub(super) fn discover(&self, who: Proven) -> Result<ServerMessage, Refusal> {
        let party = self.party(&who.tag)?;
        Ok(ServerMessage::Party {
            version: party.version,
            founding: party.founding.clone(),
            slot: None,
            relays: Vec::new(),
        })
    }

    pub(super) fn register(
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

    pub(super) fn join(
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
        let (version, founding) = (party.version, party.founding.clone());
        let row = party.row(&who.identity);
        if let Some(older) = admitted.replaced {
            self.send(older, None, ServerMessage::Superseded {});
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
        Ok(ServerMessage::Party {
            version,
            founding,
            slot: Some(admitted.slot),
            relays: self.relays(connection, who),
        })
    }

    /// Relays for who has joined.
    pub(super) fn relays(&self, connection: ConnId, who: Proven) -> Vec<RelayOffer> {
        let known = self.connections.get(&connection);
        known.map_or_else(Vec::new, |known| {
            self.servers.relays(&known.authority, &who.tag, &who.identity)
        })
    }
}

/// Requests of members.
impl Registry {
    pub(super) fn leave(
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

    pub(super) fn dissolve(
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

    pub(super) fn update(&mut self, who: Proven, record: Sealed) -> Result<ServerMessage, Refusal> {
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

    pub(super) fn snapshot(&self, who: Proven, page: u16) -> Result<ServerMessage, Refusal> {
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

    pub(super) fn signal(
        &mut self,
        who: Proven,
        to: MemberId,
        signal: Sealed,
    ) -> Result<ServerMessage, Refusal> {
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

/// Whether a sealed word is its sender's own and of a size that fits.
fn check_word(word: &Sealed, who: Proven, longest: usize) -> Result<(), Refusal> {
    if word.author == who.identity && word.body.len() <= longest {
        Ok(())
    } else {
        Err(FaultCode::RecordInvalid.into())
    }
}
