//! One owner at a time: locks that end with their process, however it ends.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::files;

#[cfg(unix)]
#[path = "lock/unix.rs"]
mod system;
#[cfg(windows)]
#[path = "lock/windows.rs"]
mod system;

/// Why the lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{} is in use by another process{}", path.display(), pid.map(|pid| format!(" ({pid})")).unwrap_or_default())]
    Held {
        /// What it locks.
        path: PathBuf,
        /// The other's process number, if it could be read.
        pid: Option<u32>,
    },
    /// The system refused.
    #[error("locking {} failed", path.display())]
    Io {
        /// What was to be locked.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: io::Error,
    },
}

/// The exclusive use of a state directory. Two engines on one directory would share a device seed and
/// overwrite each other's files.
#[derive(Debug)]
pub struct StateLock {
    _lock: FileLock,
}

impl StateLock {
    /// Creates the directory if need be (for its owner alone), locks it and removes what a crash left in it.
    ///
    /// # Errors
    /// [`LockError::Held`] while another process has it.
    pub fn acquire(directory: &Path) -> Result<Self, LockError> {
        files::create_private_dir(directory).map_err(|error| LockError::Io {
            path: directory.to_path_buf(),
            source: io::Error::other(error),
        })?;
        let lock = FileLock::acquire(&directory.join("engine.lock"), directory)?;
        files::remove_leftovers(directory);
        Ok(Self { _lock: lock })
    }
}

/// A locked file that holds our process number; removed when dropped.
#[derive(Debug)]
pub(crate) struct FileLock {
    _file: system::LockedFile,
}

/// Why [`system::LockedFile::open`] had no lock.
enum NotLocked {
    /// Another process has it, whose number this may be.
    Held(Option<u32>),
    Failed(io::Error),
}

impl FileLock {
    /// Locks the file at `path`, creating it; `guards` is what errors name.
    pub(crate) fn acquire(path: &Path, guards: &Path) -> Result<Self, LockError> {
        match system::LockedFile::open(path) {
            Ok(mut file) => {
                // The number is for people to read; the lock holds without it.
                if let Err(error) = write_pid(file.file()) {
                    tracing::debug!(%error, "the lock file does not tell its owner");
                }
                Ok(Self { _file: file })
            }
            Err(NotLocked::Held(pid)) => Err(LockError::Held {
                path: guards.to_path_buf(),
                pid,
            }),
            Err(NotLocked::Failed(source)) => Err(LockError::Io {
                path: guards.to_path_buf(),
                source,
            }),
        }
    }
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// Empty for the moment between an owner's locking and writing.
fn pid_in(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_second_owner_is_refused_and_told_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let first = StateLock::acquire(&state).unwrap();
        match StateLock::acquire(&state) {
            Err(LockError::Held { path, pid }) => {
                assert_eq!((path, pid), (state.clone(), Some(std::process::id())))
            }
            other => panic!("{other:?}"),
        }
        drop(first);
        assert_eq!(fs::read_dir(&state).unwrap().count(), 0);
        drop(StateLock::acquire(&state).unwrap());
    }

    #[test]
    fn a_dead_owners_file_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("engine.lock"), "999999\n").unwrap();
        drop(StateLock::acquire(dir.path()).unwrap());
    }

    #[test]
    fn owners_that_come_and_go_are_never_two_at_once() {
        use std::sync::atomic::{AtomicU32, Ordering};
        let dir = tempfile::tempdir().unwrap();
        let (owners, turns) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while turns.load(Ordering::SeqCst) < 200 {
                        if let Ok(_lock) = StateLock::acquire(dir.path()) {
                            assert_eq!(owners.fetch_add(1, Ordering::SeqCst), 0);
                            turns.fetch_add(1, Ordering::SeqCst);
                            std::thread::yield_now();
                            owners.fetch_sub(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
    }
}
