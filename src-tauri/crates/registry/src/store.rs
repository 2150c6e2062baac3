//! What outlives a restart, and how it is written down.

use lanrage_proto::control::Sealed;
use lanrage_proto::{MemberId, Slot, Tag};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use thiserror::Error;

/// Where parties are kept. Both calls may block; the host calls them where that does no harm.
pub trait Store {
    /// All there is, once, at start.
    fn load(&mut self) -> Result<Vec<StoredParty>, StoreError>;

    /// Applies all of `changes` in their order, or none of them. After `Ok` they survive a crash.
    ///
    /// Changes are idempotent in this sense: applying a sequence twice ends where applying it once does.
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError>;
}

/// Why a store did not do as told.
#[derive(Debug, Error)]
#[error("the store failed: {0}")]
pub struct StoreError(pub String);

impl StoreError {
    /// With the cause's own words.
    pub fn new(cause: impl std::fmt::Display) -> Self {
        Self(cause.to_string())
    }
}

/// A party as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredParty {
    /// Which.
    pub tag: Tag,
    /// What is known of it.
    pub state: StoredState,
}

/// Whether a party goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredState {
    /// It does.
    Live {
        /// The founding record; its author is the founder.
        founding: Sealed,
        /// Everybody who holds or held a slot, in order of the slots.
        members: Vec<StoredMember>,
    },
    /// Its host ended it not long ago.
    Ended {
        /// The host's signed word.
        statement: Sealed,
    },
}

/// Somebody with a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredMember {
    /// Who.
    pub member: MemberId,
    /// Theirs as long as the party lives.
    pub slot: Slot,
    /// None for a member; for who left, the how-manieth departure of the party it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub departed: Option<u64>,
    /// A member's newest record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Sealed>,
}

/// A difference between what is kept and what holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A party began, without members yet.
    Founded {
        /// Which.
        tag: Tag,
        /// Its founding record.
        founding: Sealed,
    },
    /// A row of the party's member list is new or another than before.
    Member {
        /// Whose.
        tag: Tag,
        /// The row, whole.
        member: StoredMember,
    },
    /// An identity's reservation was given to another.
    Released {
        /// In which party.
        tag: Tag,
        /// Whose it was.
        member: MemberId,
    },
    /// The host ended the party; its members go with it.
    Ended {
        /// Which.
        tag: Tag,
        /// The host's signed word.
        statement: Sealed,
    },
    /// Nothing about the party is kept any longer.
    Forgotten {
        /// Which.
        tag: Tag,
    },
}

impl Change {
    /// The party that it concerns.
    pub fn tag(&self) -> Tag {
        match self {
            Change::Founded { tag, .. }
            | Change::Member { tag, .. }
            | Change::Released { tag, .. }
            | Change::Ended { tag, .. }
            | Change::Forgotten { tag } => *tag,
        }
    }
}

/// What a store holds, in memory: apply the changes, write down the result, and any store is a simple one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirror {
    parties: BTreeMap<Tag, StoredParty>,
}

impl Mirror {
    /// Begins with what was loaded.
    pub fn new(stored: Vec<StoredParty>) -> Self {
        let mut parties = BTreeMap::new();
        for party in stored {
            parties.insert(party.tag, party);
        }
        Self { parties }
    }

    /// Takes a change over. What concerns a party that is not there is passed by.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Founded { tag, founding } => {
                let state = StoredState::Live {
                    founding: founding.clone(),
                    members: Vec::new(),
                };
                self.parties.insert(*tag, StoredParty { tag: *tag, state });
            }
            Change::Member { tag, member } => {
                if let Some(members) = self.members(tag) {
                    members.retain(|row| row.member != member.member);
                    let at = members.partition_point(|row| row.slot < member.slot);
                    members.insert(at, member.clone());
                }
            }
            Change::Released { tag, member } => {
                if let Some(members) = self.members(tag) {
                    members.retain(|row| row.member != *member);
                }
            }
            Change::Ended { tag, statement } => {
                let state = StoredState::Ended {
                    statement: statement.clone(),
                };
                self.parties.insert(*tag, StoredParty { tag: *tag, state });
            }
            Change::Forgotten { tag } => {
                self.parties.remove(tag);
            }
        }
    }

    /// The parties, in order of their tags.
    pub fn parties(&self) -> impl Iterator<Item = &StoredParty> {
        self.parties.values()
    }

    /// One party.
    pub fn party(&self, tag: &Tag) -> Option<&StoredParty> {
        self.parties.get(tag)
    }

    /// A copy of all parties, in order of their tags.
    pub fn to_vec(&self) -> Vec<StoredParty> {
        self.parties.values().cloned().collect()
    }

    fn members(&mut self, tag: &Tag) -> Option<&mut Vec<StoredMember>> {
        match &mut self.parties.get_mut(tag)?.state {
            StoredState::Live { members, .. } => Some(members),
            StoredState::Ended { .. } => None,
        }
    }
}

/// A store that lasts as long as its process.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    mirror: Mirror,
}

impl MemoryStore {
    /// Begins with `stored`.
    pub fn new(stored: Vec<StoredParty>) -> Self {
        Self {
            mirror: Mirror::new(stored),
        }
    }

    /// What it holds.
    pub fn mirror(&self) -> &Mirror {
        &self.mirror
    }
}

impl Store for MemoryStore {
    fn load(&mut self) -> Result<Vec<StoredParty>, StoreError> {
        Ok(self.mirror.to_vec())
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        for change in changes {
            self.mirror.apply(change);
        }
        Ok(())
    }
}
