//! `restore`: undoes what an engine left changed in the system, where none runs any more.

use super::args::Restore;
use super::{Failure, diagnosis, show};
use crate::journal::Journal;
use crate::mapper;
use crate::state::StateDir;
use lanrage_platform::dirs;
use lanrage_proto::FaultCode;
use lanrage_proto::doctor::Change;
use serde::Serialize;
use std::sync::Arc;

#[derive(Serialize)]
struct Restored {
    /// What is as it was again.
    undone: Vec<Change>,
    /// What could not be undone.
    left: Vec<Change>,
}

pub(super) fn main(arguments: &Restore) -> Result<(), Failure> {
    let path = arguments
        .state_dir
        .clone()
        .unwrap_or_else(dirs::service_state_dir);
    let mut restored = Restored {
        undone: Vec::new(),
        left: Vec::new(),
    };
    // Where there is no directory no engine was, and none should be made.
    if path.exists() {
        let state = StateDir::open(&path).map_err(|fault| match fault.code {
            FaultCode::EngineRunning => Failure::refused(fault),
            _ => Failure::engine(fault),
        })?;
        let state = Arc::new(state);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Failure::internal)?;
        let before: Vec<Change> = state.journal().into_iter().map(|entry| entry.change).collect();
        let journal = Journal::open(Arc::clone(&state));
        restored.left = journal.changes().collect();
        restored.undone = before
            .into_iter()
            .filter(|change| !restored.left.contains(change))
            .collect();
        restored
            .undone
            .extend(runtime.block_on(mapper::give_back(&state)));
    }
    if arguments.json {
        return show::json(&restored);
    }
    if restored.undone.is_empty() && restored.left.is_empty() {
        return show::line("Nothing was left changed in the system.");
    }
    for (title, changes) in [
        ("Undone:", &restored.undone),
        ("Could not be undone:", &restored.left),
    ] {
        if !changes.is_empty() {
            show::line(title)?;
        }
        for change in changes {
            show::line(&format!("  {}", diagnosis::change_words(change)))?;
        }
    }
    Ok(())
}
