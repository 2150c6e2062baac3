//! All parties as the bytes of one file: how an engine in local mode keeps its registry. Reading and writing the
//! file is the engine's.

use crate::store::StoredParty;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Grows when older builds could no longer read the file.
const VERSION: u32 = 1;

/// Why bytes are no snapshot.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// Damaged, or not a snapshot at all.
    #[error("the registry's snapshot is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    /// Written by a newer build.
    #[error("the registry's snapshot is of version {0}, this build reads up to {VERSION}")]
    Newer(u32),
}

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    parties: &'a [StoredParty],
}

#[derive(Deserialize)]
struct Header {
    version: u32,
}

#[derive(Deserialize)]
struct Body {
    parties: Vec<StoredParty>,
}

/// Writes parties down as JSON.
///
/// # Errors
/// None in practice: nothing in a party is beyond JSON.
pub fn snapshot_to_bytes(parties: &[StoredParty]) -> Result<Vec<u8>, SnapshotError> {
    Ok(serde_json::to_vec(&Written {
        version: VERSION,
        parties,
    })?)
}

/// Reads what [`snapshot_to_bytes`] wrote.
pub fn snapshot_from_bytes(bytes: &[u8]) -> Result<Vec<StoredParty>, SnapshotError> {
    // The version first: a newer body may look like damage.
    let Header { version } = serde_json::from_slice(bytes)?;
    if version > VERSION {
        return Err(SnapshotError::Newer(version));
    }
    let Body { parties } = serde_json::from_slice(bytes)?;
    Ok(parties)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{StoredMember, StoredState};
    use lanrage_proto::control::Sealed;
    use lanrage_proto::ids::Epoch;
    use lanrage_proto::{Bytes, MemberId, Seq, Slot, Tag};

    #[test]
    fn a_snapshot_reads_back_as_it_was_written() {
        let sealed = Sealed {
            author: MemberId([1; 32]),
            epoch: Epoch(0),
            seq: Seq(7),
            body: Bytes(vec![1, 2, 3]),
        };
        let parties = vec![
            StoredParty {
                tag: Tag([1; 32]),
                state: StoredState::Live {
                    founding: sealed.clone(),
                    members: vec![StoredMember {
                        member: MemberId([1; 32]),
                        slot: Slot::FOUNDER,
                        departed: Some(4),
                        record: Some(sealed.clone()),
                    }],
                },
            },
            StoredParty {
                tag: Tag([2; 32]),
                state: StoredState::Ended { statement: sealed },
            },
        ];
        let bytes = snapshot_to_bytes(&parties).unwrap();
        assert_eq!(snapshot_from_bytes(&bytes).unwrap(), parties);
    }

    #[test]
    fn damage_and_newer_builds_are_told_apart() {
        assert!(matches!(
            snapshot_from_bytes(b"{\"version\":1,\"parties\":[{]"),
            Err(SnapshotError::Damaged(_))
        ));
        assert!(matches!(
            snapshot_from_bytes(b"{\"version\":2,\"parties\":{}}"),
            Err(SnapshotError::Newer(2))
        ));
    }
}
