//! What the embedded control plane remembers across restarts: a snapshot file, replaced at each commit.

use crate::state::StateDir;
use lanrage_proto::{Fault, Tag};
use lanrage_registry::{
    Change, Mirror, Store, StoreError, StoredParty, StoredState, snapshot_from_bytes, snapshot_to_bytes,
};
use std::sync::Arc;

/// One party's memory in the state directory.
#[derive(Debug)]
pub(super) struct Memory {
    state: Arc<StateDir>,
    mirror: Mirror,
}

impl Memory {
    /// What is remembered of the party with this tag. A damaged file counts as none, as the founder founds its
    /// party again and members resume their leases.
    ///
    /// # Errors
    /// `state_unusable` when the file can't be read at all.
    pub(super) fn open(state: Arc<StateDir>, tag: Tag) -> Result<Self, Fault> {
        let stored = stored(&state)?;
        let only = stored.into_iter().filter(|party| party.tag == tag).collect();
        Ok(Self {
            mirror: Mirror::new(only),
            state,
        })
    }

    /// Removes the file unless the party with this tag lives on.
    ///
    /// # Errors
    /// `state_unusable`.
    pub(super) fn tidy(state: &StateDir, tag: Tag) -> Result<(), Fault> {
        let lives = |party: &StoredParty| party.tag == tag && matches!(party.state, StoredState::Live { .. });
        if stored(state)?.iter().any(lives) {
            return Ok(());
        }
        state.save_control_memory(None)
    }
}

fn stored(state: &StateDir) -> Result<Vec<StoredParty>, Fault> {
    let Some(bytes) = state.control_memory()? else {
        return Ok(Vec::new());
    };
    Ok(snapshot_from_bytes(&bytes).unwrap_or_else(|error| {
        tracing::warn!(%error, "what the control plane remembered is lost");
        Vec::new()
    }))
}

/// The reason inside a fault, for the registry's log.
fn words(fault: &Fault) -> String {
    fault
        .details
        .get("reason")
        .cloned()
        .unwrap_or_else(|| fault.to_string())
}

impl Store for Memory {
    fn load(&mut self) -> Result<Vec<StoredParty>, StoreError> {
        Ok(self.mirror.to_vec())
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let mut next = self.mirror.clone();
        for change in changes {
            next.apply(change);
        }
        let bytes = snapshot_to_bytes(&next.to_vec()).map_err(StoreError::new)?;
        self.state
            .save_control_memory(Some(&bytes))
            .map_err(|fault| StoreError::new(words(&fault)))?;
        self.mirror = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lanrage_proto::control::Sealed;
    use lanrage_proto::ids::Epoch;
    use lanrage_proto::{Bytes, MemberId, Seq};

    fn founded(tag: Tag) -> Change {
        let founding = Sealed {
            author: MemberId([1; 32]),
            epoch: Epoch(0),
            seq: Seq(1),
            body: Bytes(vec![1]),
        };
        Change::Founded { tag, founding }
    }

    fn state() -> (tempfile::TempDir, Arc<StateDir>) {
        let dir = tempfile::tempdir().unwrap();
        let state = Arc::new(StateDir::open(&dir.path().join("state")).unwrap());
        (dir, state)
    }

    #[test]
    fn what_was_committed_is_there_again_for_its_party_alone() {
        let (_dir, state) = state();
        let (ours, other) = (Tag([1; 32]), Tag([2; 32]));
        let mut memory = Memory::open(Arc::clone(&state), ours).unwrap();
        memory.commit(&[founded(ours)]).unwrap();
        let again = Memory::open(Arc::clone(&state), ours).unwrap().load().unwrap();
        assert_eq!(again, memory.load().unwrap());
        assert_eq!(again.len(), 1);
        assert!(
            Memory::open(Arc::clone(&state), other)
                .unwrap()
                .load()
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn the_file_goes_with_the_party_and_stays_with_a_living_one() {
        let (_dir, state) = state();
        let tag = Tag([1; 32]);
        let mut memory = Memory::open(Arc::clone(&state), tag).unwrap();
        memory.commit(&[founded(tag)]).unwrap();
        Memory::tidy(&state, tag).unwrap();
        assert!(state.control_memory().unwrap().is_some());
        memory.commit(&[Change::Forgotten { tag }]).unwrap();
        Memory::tidy(&state, tag).unwrap();
        assert!(state.control_memory().unwrap().is_none());
    }

    #[test]
    fn a_damaged_file_is_no_memory() {
        let (_dir, state) = state();
        state.save_control_memory(Some(b"{")).unwrap();
        assert!(
            Memory::open(state, Tag([1; 32]))
                .unwrap()
                .load()
                .unwrap()
                .is_empty()
        );
    }
}
