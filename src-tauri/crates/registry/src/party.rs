//! One party as its control plane knows it.

use crate::connection::ConnId;
use crate::ipam::{Full, Lease, Leases};
use crate::store::{StoredMember, StoredParty, StoredState};
use lanrage_proto::control::{MemberEntry, Sealed};
use lanrage_proto::ids::{Incarnation, Version};
use lanrage_proto::{MemberId, Slot, Tag};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A party that goes on.
#[derive(Debug)]
pub(crate) struct Party {
    pub(crate) founding: Sealed,
    pub(crate) version: Version,
    leases: Leases,
    members: BTreeMap<MemberId, Member>,
}

/// What is known of a member besides its lease.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) record: Option<Sealed>,
    /// Its connection, while it has one.
    pub(crate) connection: Option<ConnId>,
    /// When it last said something.
    pub(crate) seen: Instant,
}

/// How a join changed a party.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) slot: Slot,
    /// Who lost a reservation by it.
    pub(crate) released: Option<MemberId>,
    /// The connection it had until now.
    pub(crate) replaced: Option<ConnId>,
    pub(crate) arrival: Arrival,
}

/// What the others see of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It was no member.
    Joined,
    /// It was away.
    Returned,
    /// It was there all the time.
    Unchanged,
}

impl Party {
    pub(crate) fn new(founding: Sealed, incarnation: Incarnation) -> Self {
        Self {
            version: Version::first(incarnation),
            leases: Leases::new(founding.author),
            members: BTreeMap::new(),
            founding,
        }
    }

    /// As it was kept: nobody is connected, and all count as seen just now. What contradicts itself is left out.
    pub(crate) fn restored(
        founding: Sealed,
        rows: Vec<StoredMember>,
        incarnation: Incarnation,
        now: Instant,
    ) -> Self {
        let mut party = Self::new(founding, incarnation);
        for row in rows {
            let lease = Lease {
                slot: row.slot,
                departed: row.departed,
            };
            if !party.leases.restore(row.member, lease) {
                tracing::warn!(member = row.member.short(), "a stored lease contradicts another");
            } else if row.departed.is_none() {
                let member = Member {
                    record: row.record,
                    connection: None,
                    seen: now,
                };
                party.members.insert(row.member, member);
            }
        }
        party
    }

    pub(crate) fn founder(&self) -> MemberId {
        self.founding.author
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn member(&self, member: &MemberId) -> Option<&Member> {
        self.members.get(member)
    }

    pub(crate) fn member_mut(&mut self, member: &MemberId) -> Option<&mut Member> {
        self.members.get_mut(member)
    }

    /// Makes `identity` a member, or finds it one, with `connection` as its only connection.
    pub(crate) fn admit(
        &mut self,
        now: Instant,
        identity: MemberId,
        connection: ConnId,
        resume: Option<Slot>,
        room: u8,
    ) -> Result<Admitted, Full> {
        let granted = self.leases.grant(identity, resume, room)?;
        let before = self.members.get(&identity).map(|member| member.connection);
        let arrival = match before {
            None => Arrival::Joined,
            Some(None) => Arrival::Returned,
            Some(Some(_)) => Arrival::Unchanged,
        };
        let member = self.members.entry(identity).or_insert(Member {
            record: None,
            connection: None,
            seen: now,
        });
        member.connection = Some(connection);
        member.seen = now;
        if arrival != Arrival::Unchanged {
            self.version = self.version.bumped();
        }
        Ok(Admitted {
            slot: granted.slot,
            released: granted.released,
            replaced: before.flatten().filter(|before| *before != connection),
            arrival,
        })
    }

    /// Ends a membership. False if there was none.
    pub(crate) fn remove(&mut self, member: &MemberId) -> bool {
        let was = self.members.remove(member).is_some();
        if was {
            self.leases.depart(member);
            self.version = self.version.bumped();
        }
        was
    }

    /// Takes note that `connection` is gone. True if a member is away by that.
    pub(crate) fn disconnect(&mut self, identity: &MemberId, connection: ConnId) -> bool {
        match self.members.get_mut(identity) {
            Some(member) if member.connection == Some(connection) => {
                member.connection = None;
                self.version = self.version.bumped();
                true
            }
            _ => false,
        }
    }

    /// The members' connections, except one's own.
    pub(crate) fn connections_but(&self, own: &MemberId) -> Vec<ConnId> {
        self.members
            .iter()
            .filter(|(member, _)| *member != own)
            .filter_map(|(_, member)| member.connection)
            .collect()
    }

    /// A member as others see it.
    pub(crate) fn entry(&self, identity: &MemberId) -> Option<MemberEntry> {
        let member = self.members.get(identity)?;
        Some(MemberEntry {
            member: *identity,
            slot: self.leases.get(identity)?.slot,
            online: member.connection.is_some(),
            record: member.record.clone(),
        })
    }

    /// All members as others see them, in order of their slots.
    pub(crate) fn entries(&self) -> Vec<MemberEntry> {
        let mut entries: Vec<_> = self
            .members
            .keys()
            .filter_map(|member| self.entry(member))
            .collect();
        entries.sort_by_key(|entry| entry.slot);
        entries
    }

    /// Who has said nothing for as long as `span`.
    pub(crate) fn silent_for(&self, span: Duration, now: Instant) -> impl Iterator<Item = MemberId> {
        self.members
            .iter()
            .filter(move |(_, member)| member.seen + span <= now)
            .map(|(identity, _)| *identity)
    }

    /// An identity's row as it is to be kept.
    pub(crate) fn row(&self, identity: &MemberId) -> Option<StoredMember> {
        let lease = self.leases.get(identity)?;
        Some(StoredMember {
            member: *identity,
            slot: lease.slot,
            departed: lease.departed,
            record: self
                .members
                .get(identity)
                .and_then(|member| member.record.clone()),
        })
    }

    /// The party as it is to be kept.
    pub(crate) fn stored(&self, tag: Tag) -> StoredParty {
        let mut members: Vec<_> = self
            .leases
            .holders()
            .filter_map(|holder| self.row(holder))
            .collect();
        members.sort_by_key(|row| row.slot);
        StoredParty {
            tag,
            state: StoredState::Live {
                founding: self.founding.clone(),
                members,
            },
        }
    }
}
