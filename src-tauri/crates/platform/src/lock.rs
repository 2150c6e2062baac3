//! One owner at a time: locks that end with their process, however it ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::files;

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
    path: PathBuf,
    file: File,
}

impl FileLock {
    /// Locks the file at `path`, creating it; `guards` is what errors name.
    pub(crate) fn acquire(path: &Path, guards: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Io {
            path: guards.to_path_buf(),
            source,
        };
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            #[cfg(unix)]
            {
                use std::os::unix::fs::OpenOptionsExt;
                // Private: who can open it can lock it and so keep us from starting.
                options
                    .mode(files::PRIVATE)
                    .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
            }
            let mut file = options.open(path).map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(LockError::Held {
                        path: guards.to_path_buf(),
                        pid: pid_in(&mut file),
                    });
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            // Its last owner may have removed it between our opening and locking: then the next process would
            // lock a new file of that name, and both of us would be owners.
            if !is_at(&file, path) {
                continue;
            }
            // The number is for people to read; the lock holds without it.
            if let Err(error) = write_pid(&mut file) {
                tracing::debug!(%error, "the lock file does not tell its owner");
            }
            return Ok(Self {
                path: path.to_path_buf(),
                file,
            });
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Before it is unlocked, which closing does. A directory removed meanwhile is fine.
        if is_at(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// Empty for the moment between an owner's locking and writing; unreadable where locks are mandatory.
fn pid_in(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// A file that is open can't be removed by others here.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

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
