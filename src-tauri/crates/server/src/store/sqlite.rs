//! Parties in a SQLite file.
//!
//! The log is written ahead (WAL) and synced at every commit (`synchronous=FULL`): what a player was told
//! survives a power cut, and as many requests share a commit as arrived during the last one, the price is small.
//! The file is locked as long as the server runs: two servers on one file would deal one slot twice.

use lanrage_proto::control::Sealed;
use lanrage_proto::{MemberId, Slot, Tag};
use lanrage_registry::{Change, Mirror, Store, StoreError, StoredMember, StoredParty};
use rusqlite::{Connection, ErrorCode, Transaction, params};
use serde::de::DeserializeOwned;
use std::path::Path;

/// The version of the tables, in `user_version`.
const SCHEMA: i64 = 1;

const TABLES: &str = "
    CREATE TABLE party (
        tag BLOB PRIMARY KEY NOT NULL,
        founding TEXT,
        ended TEXT,
        CHECK ((founding IS NULL) <> (ended IS NULL))
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE member (
        tag BLOB NOT NULL REFERENCES party (tag) ON DELETE CASCADE,
        member BLOB NOT NULL,
        slot INTEGER NOT NULL,
        departed INTEGER,
        record TEXT,
        PRIMARY KEY (tag, member)
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE checked (id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1), times INTEGER NOT NULL) STRICT;
    INSERT INTO checked VALUES (1, 0);
";

/// An open file.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Connection,
}

impl SqliteStore {
    /// Opens the file, and makes it where it does not exist, for its owner's eyes only.
    ///
    /// # Errors
    /// When it can't be opened, is no such file, is of a newer version or is in use by another server.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let named = |error: &dyn std::fmt::Display| StoreError::new(format!("{}: {error}", path.display()));
        create_private(path).map_err(|error| named(&error))?;
        Self::prepare(path).map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                named(&"another server uses this file")
            }
            _ => named(&error),
        })
    }

    fn prepare(path: &Path) -> rusqlite::Result<Self> {
        let mut connection = Connection::open(path)?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Exclusive)?;
        let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        match version {
            0 => {
                transaction.execute_batch(TABLES)?;
                transaction.pragma_update(None, "user_version", SCHEMA)?;
            }
            SCHEMA => {}
            newer => {
                return Err(rusqlite::Error::ToSqlConversionFailure(
                    format!("its version is {newer}, this server knows {SCHEMA}").into(),
                ));
            }
        }
        // A write: only it takes the lock.
        transaction.execute("UPDATE checked SET times = times + 1", [])?;
        transaction.commit()?;
        Ok(Self { connection })
    }

    fn read(&self) -> Result<Vec<StoredParty>, StoreError> {
        let mut mirror = Mirror::default();
        let mut parties = self
            .connection
            .prepare("SELECT tag, founding, ended FROM party")
            .map_err(StoreError::new)?;
        let mut rows = parties.query([]).map_err(StoreError::new)?;
        while let Some(row) = rows.next().map_err(StoreError::new)? {
            let tag = Tag(column(row, 0)?);
            let founding: Option<String> = column(row, 1)?;
            let ended: Option<String> = column(row, 2)?;
            mirror.apply(&match (founding, ended) {
                (Some(founding), _) => Change::Founded {
                    tag,
                    founding: parsed(&founding)?,
                },
                (None, Some(ended)) => Change::Ended {
                    tag,
                    statement: parsed(&ended)?,
                },
                (None, None) => continue,
            });
        }
        let mut members = self
            .connection
            .prepare("SELECT tag, member, slot, departed, record FROM member")
            .map_err(StoreError::new)?;
        let mut rows = members.query([]).map_err(StoreError::new)?;
        while let Some(row) = rows.next().map_err(StoreError::new)? {
            let slot: u8 = column(row, 2)?;
            let departed: Option<i64> = column(row, 3)?;
            let record: Option<String> = column(row, 4)?;
            let member = StoredMember {
                member: MemberId(column(row, 1)?),
                slot: Slot::try_from(slot).map_err(StoreError::new)?,
                departed: departed.map(i64::cast_unsigned),
                record: record.map(|record| parsed::<Sealed>(&record)).transpose()?,
            };
            let tag = Tag(column(row, 0)?);
            mirror.apply(&Change::Member { tag, member });
        }
        Ok(mirror.to_vec())
    }
}

impl Store for SqliteStore {
    fn load(&mut self) -> Result<Vec<StoredParty>, StoreError> {
        self.read()
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let transaction = self.connection.transaction().map_err(StoreError::new)?;
        if changes.is_empty() {
            // Asked whether it works: only a write tells.
            let sql = "UPDATE checked SET times = times + 1";
            transaction.execute(sql, []).map_err(StoreError::new)?;
        }
        for change in changes {
            apply(&transaction, change)?;
        }
        transaction.commit().map_err(StoreError::new)
    }
}

fn apply(transaction: &Transaction<'_>, change: &Change) -> Result<(), StoreError> {
    let done = match change {
        Change::Founded { tag, founding } => {
            forget(transaction, tag)?;
            transaction
                .prepare_cached("INSERT INTO party (tag, founding) VALUES (?1, ?2)")
                .and_then(|mut insert| insert.execute(params![tag.as_bytes(), written(founding)?]))
        }
        Change::Member { tag, member } => transaction
            // A row of a party that is not there is passed by, as by a mirror.
            .prepare_cached(
                "INSERT INTO member (tag, member, slot, departed, record)
                 SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS
                    (SELECT 1 FROM party WHERE tag = ?1 AND founding IS NOT NULL)
                 ON CONFLICT (tag, member) DO UPDATE SET
                    slot = excluded.slot, departed = excluded.departed, record = excluded.record",
            )
            .and_then(|mut insert| {
                insert.execute(params![
                    tag.as_bytes(),
                    member.member.as_bytes(),
                    member.slot.get(),
                    member.departed.map(u64::cast_signed),
                    member.record.as_ref().map(written).transpose()?,
                ])
            }),
        Change::Released { tag, member } => transaction
            .prepare_cached("DELETE FROM member WHERE tag = ?1 AND member = ?2")
            .and_then(|mut delete| delete.execute(params![tag.as_bytes(), member.as_bytes()])),
        Change::Ended { tag, statement } => {
            forget(transaction, tag)?;
            transaction
                .prepare_cached("INSERT INTO party (tag, ended) VALUES (?1, ?2)")
                .and_then(|mut insert| insert.execute(params![tag.as_bytes(), written(statement)?]))
        }
        Change::Forgotten { tag } => return forget(transaction, tag),
    };
    done.map(drop).map_err(StoreError::new)
}

fn forget(transaction: &Transaction<'_>, tag: &Tag) -> Result<(), StoreError> {
    transaction
        .prepare_cached("DELETE FROM party WHERE tag = ?1")
        .and_then(|mut delete| delete.execute(params![tag.as_bytes()]))
        .map(drop)
        .map_err(StoreError::new)
}

fn column<T: rusqlite::types::FromSql>(row: &rusqlite::Row<'_>, index: usize) -> Result<T, StoreError> {
    row.get(index).map_err(StoreError::new)
}

fn written(sealed: &Sealed) -> rusqlite::Result<String> {
    serde_json::to_string(sealed).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

fn parsed<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(StoreError::new)
}

fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lanrage_proto::ids::Epoch;
    use lanrage_proto::{Bytes, Seq};

    fn sealed(seq: u64) -> Sealed {
        Sealed {
            author: MemberId([1; 32]),
            epoch: Epoch(2),
            seq: Seq(seq),
            body: Bytes(vec![seq as u8; 30]),
        }
    }

    fn member(number: u8, departed: Option<u64>, record: Option<u64>) -> StoredMember {
        StoredMember {
            member: MemberId([number; 32]),
            slot: Slot::try_from(number).unwrap(),
            departed,
            record: record.map(sealed),
        }
    }

    fn every_change() -> Vec<Change> {
        let (one, two, three) = (Tag([1; 32]), Tag([2; 32]), Tag([3; 32]));
        let row = |tag, member| Change::Member { tag, member };
        let founded = |tag| Change::Founded {
            tag,
            founding: sealed(0),
        };
        vec![
            founded(one),
            row(one, member(1, None, None)),
            row(one, member(2, None, Some(u64::MAX))),
            row(one, member(2, Some(1), None)),
            row(one, member(3, Some(2), None)),
            Change::Released {
                tag: one,
                member: MemberId([3; 32]),
            },
            founded(two),
            row(two, member(1, None, Some(4))),
            Change::Ended {
                tag: two,
                statement: sealed(9),
            },
            row(two, member(2, None, None)),
            founded(three),
            row(three, member(1, None, None)),
            Change::Forgotten { tag: three },
        ]
    }

    #[test]
    fn a_file_holds_what_a_mirror_holds_also_when_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("parties.db");
        let mut mirror = Mirror::default();
        let mut store = SqliteStore::open(&path).unwrap();
        for change in every_change() {
            store.commit(std::slice::from_ref(&change)).unwrap();
            mirror.apply(&change);
            assert_eq!(store.load().unwrap(), mirror.to_vec(), "after {change:?}");
        }
        // A commit whose acknowledgement was lost is repeated as a whole.
        store.commit(&every_change()).unwrap();
        store.commit(&[]).unwrap();
        drop(store);
        assert_eq!(SqliteStore::open(&path).unwrap().load().unwrap(), mirror.to_vec());
    }

    #[test]
    fn two_servers_do_not_share_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("parties.db");
        let first = SqliteStore::open(&path).unwrap();
        let error = SqliteStore::open(&path).unwrap_err().to_string();
        assert!(error.contains("another server"), "{error}");
        drop(first);
        SqliteStore::open(&path).unwrap();
    }

    #[test]
    fn what_is_no_store_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("letter.txt");
        std::fs::write(&path, "Dear Anna, this is not a database at all.".repeat(100)).unwrap();
        let error = SqliteStore::open(&path).unwrap_err().to_string();
        assert!(error.contains("letter.txt"), "{error}");
        let nowhere = folder.path().join("no/such/folder.db");
        assert!(SqliteStore::open(&nowhere).is_err());
    }

    #[test]
    fn a_failing_commit_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(&folder.path().join("parties.db")).unwrap();
        let pages: i64 = store
            .connection
            .pragma_query_value(None, "page_count", |row| row.get(0))
            .unwrap();
        store
            .connection
            .pragma_update(None, "max_page_count", pages + 1)
            .unwrap();
        let mut changes = every_change();
        for number in 0..250 {
            changes.push(Change::Founded {
                tag: Tag([number; 32]),
                founding: sealed(u64::from(number)),
            });
        }
        store.commit(&changes).unwrap_err();
        assert!(store.load().unwrap().is_empty());
        store.commit(&every_change()[..2]).unwrap();
        assert_eq!(store.load().unwrap().len(), 1);
    }
}
