//! What this engine changed in the system: written down before it is done, and crossed out when it is undone.
//!
//! There is one way back, and every end takes it: leaving, the engine's stop, the next start after a crash, and
//! `lanrage-engine restore`, which an uninstaller calls. On Linux nothing outlives the adapter, and nothing of the adapter
//! outlives the engine, so after a crash there is nothing left to undo; the journal makes sure of it, for systems where
//! it is otherwise as well.
//!
//! Entries are [`Change`]s, so that what `doctor` shows is what would be undone.

use crate::state::StateDir;
use lanrage_platform::firewall;
use lanrage_platform::interfaces;
use lanrage_platform::routes::{self, Network};
use lanrage_proto::doctor::Change;
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// What is different.
    pub(crate) change: Change,
    /// The number that the system gave to the adapter it belongs to. Another interface of the same name has another one,
    /// and is not ours to touch.
    pub(crate) interface: Option<u32>,
}

/// The journal, for as long as the engine has its state directory.
pub(crate) struct Journal {
    state: Arc<StateDir>,
    entries: Vec<Entry>,
}

impl Journal {
    /// The journal, after undoing whatever an earlier run left. What can't be undone stays in it.
    pub(crate) fn open(state: Arc<StateDir>) -> Self {
        let entries = state.journal();
        let mut journal = Self { state, entries };
        let left = journal.entries.len();
        if left > 0 {
            let undone = journal.undo_all();
            tracing::info!(
                left,
                undone = undone.len(),
                "an earlier run had left changes in the system"
            );
        }
        journal
    }

    /// What is different in the system now.
    pub(crate) fn changes(&self) -> impl Iterator<Item = Change> {
        self.entries.iter().map(|entry| entry.change.clone())
    }

    /// Writes down that an adapter will be made.
    pub(crate) fn plan_adapter(&mut self, name: Option<&str>, address: String) {
        let change = Change::Adapter {
            // The system will choose the number.
            name: name.unwrap_or("lanrage*").to_owned(),
            address,
        };
        self.push(Entry {
            change,
            interface: None,
        });
    }

    /// The adapter is there, with the route to the party's range; adds further ones by it. All is written down at once,
    /// before the first is added: each writing waits for the disk.
    ///
    /// # Errors
    /// What the system said to the first that it refused; it is not in the journal then.
    pub(crate) fn adapter_made(&mut self, name: &str, range: Network, more: &[Network]) -> io::Result<()> {
        let interface = interfaces::index(name);
        if let Some(Entry {
            change: Change::Adapter { name: planned, .. },
            interface: number,
        }) = self.entries.last_mut()
        {
            name.clone_into(planned);
            *number = interface;
        }
        let route = |network: &Network| Entry {
            change: Change::Route {
                network: network.to_string(),
                adapter: name.to_owned(),
            },
            interface,
        };
        self.entries.extend([range].iter().chain(more).map(route));
        self.save();
        let mut result = Ok(());
        for network in more {
            if let Err(error) = routes::add(*network, name) {
                let refused = route(network);
                self.entries.retain(|entry| *entry != refused);
                self.save();
                result = result.and(Err(error));
            }
        }
        result
    }

    /// Writes down that the firewall will get a rule for the adapter; its name.
    pub(crate) fn plan_firewall(&mut self, adapter: &str) -> String {
        let name = format!("LANrage ({adapter})");
        let change = Change::FirewallRule {
            name: name.clone(),
            adapter: adapter.to_owned(),
        };
        self.push(Entry {
            change,
            interface: interfaces::index(adapter),
        });
        name
    }

    /// Undoes everything, the last first; what was undone. The adapter itself is its owner's to close.
    pub(crate) fn undo_all(&mut self) -> Vec<Change> {
        let mut undone = Vec::new();
        let mut left = Vec::new();
        for entry in std::mem::take(&mut self.entries).into_iter().rev() {
            match undo(&entry) {
                Ok(()) => undone.push(entry.change),
                Err(error) => {
                    tracing::error!(%error, change = ?entry.change, "a change of the system can't be undone");
                    left.push(entry);
                }
            }
        }
        left.reverse();
        self.entries = left;
        self.save();
        undone
    }

    fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
        self.save();
    }

    /// Where it can't be written, what is changed still goes with the adapter.
    fn save(&self) {
        if let Err(fault) = self.state.save_journal(&self.entries) {
            tracing::warn!(?fault, "changes of the system are not written down");
        }
    }
}

/// Makes it as it was. That somebody else did so already is as good.
fn undo(entry: &Entry) -> io::Result<()> {
    match &entry.change {
        // It lasts as long as its owner has it open.
        Change::Adapter { .. } => Ok(()),
        Change::Route { network, adapter } => {
            if entry.interface != interfaces::index(adapter) {
                return Ok(());
            }
            let network: Network = network
                .parse()
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            match routes::remove(network, adapter) {
                Ok(_) => Ok(()),
                // Where none are added by us, they go with the adapter.
                Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
                Err(error) => Err(error),
            }
        }
        Change::FirewallRule { name, .. } => match firewall::withdraw(name) {
            // A journal from another system: there is no such rule here.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
            withdrawn => withdrawn,
        },
        // Of the process or of the router: neither is in the journal.
        Change::Group { .. } | Change::Capture { .. } | Change::PortMapping { .. } => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> (tempfile::TempDir, Arc<StateDir>) {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("state")).unwrap();
        (dir, Arc::new(state))
    }

    #[test]
    fn what_is_planned_is_on_disk_and_goes_when_it_is_undone() {
        let (_dir, state) = state();
        let mut journal = Journal::open(Arc::clone(&state));
        assert!(state.journal().is_empty());
        journal.plan_adapter(None, "10.66.0.1".to_owned());
        assert_eq!(state.journal().len(), 1);
        let range = "10.66.0.0/16".parse().unwrap();
        journal.adapter_made("no-such-one", range, &[]).unwrap();
        let names: Vec<Change> = journal.changes().collect();
        assert!(matches!(&names[0], Change::Adapter { name, .. } if name == "no-such-one"));
        assert_eq!(state.journal(), journal.entries);
        // A run that crashed leaves it so, and the next one begins with the way back.
        let next = Journal::open(Arc::clone(&state));
        assert_eq!(next.changes().count(), 0);
        assert!(state.journal().is_empty());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_route_that_is_refused_is_no_change() {
        let (_dir, state) = state();
        let mut journal = Journal::open(Arc::clone(&state));
        let network = |text: &str| text.parse().unwrap();
        journal.plan_adapter(Some("no-such-one"), "10.66.0.1".to_owned());
        let made = journal.adapter_made(
            "no-such-one",
            network("10.66.0.0/16"),
            &[network("255.255.255.255/32")],
        );
        assert!(made.is_err());
        assert_eq!(journal.changes().count(), 2);
        assert_eq!(state.journal(), journal.entries);
    }
}
