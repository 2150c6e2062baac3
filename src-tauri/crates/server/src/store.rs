//! Where parties are kept.

mod sqlite;

pub use sqlite::SqliteStore;

use crate::config::StoreChoice;
use lanrage_registry::{Change, MemoryStore, Store, StoreError, StoredParty};

/// The store that the operator chose.
pub enum AnyStore {
    /// Gone with the process.
    Memory(MemoryStore),
    /// A file.
    Sqlite(Box<SqliteStore>),
}

impl AnyStore {
    /// Opens it, and makes it where it does not exist.
    ///
    /// # Errors
    /// When the file can't be used.
    pub fn open(choice: &StoreChoice) -> Result<Self, StoreError> {
        Ok(match choice {
            StoreChoice::Memory => Self::Memory(MemoryStore::default()),
            StoreChoice::Sqlite(path) => Self::Sqlite(Box::new(SqliteStore::open(path)?)),
        })
    }
}

impl Store for AnyStore {
    fn load(&mut self) -> Result<Vec<StoredParty>, StoreError> {
        match self {
            Self::Memory(store) => store.load(),
            Self::Sqlite(store) => store.load(),
        }
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => store.commit(changes),
            Self::Sqlite(store) => store.commit(changes),
        }
    }
}
