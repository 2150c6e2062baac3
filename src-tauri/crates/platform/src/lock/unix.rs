//! A lock on an open file (flock(2)).

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{NotLocked, pid_in};
use crate::files;

/// A file that no other process has locked; removed when dropped.
#[derive(Debug)]
pub(super) struct LockedFile {
    path: PathBuf,
    file: File,
}

impl LockedFile {
    pub(super) fn open(path: &Path) -> Result<Self, NotLocked> {
        loop {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                // Private: who can open it can lock it and so keep us from starting.
                .mode(files::PRIVATE)
                .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
                .open(path)
                .map_err(NotLocked::Failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(NotLocked::Held(pid_in(&mut file))),
                Err(TryLockError::Error(error)) => return Err(NotLocked::Failed(error)),
            }
            // Its last owner may have removed it between our opening and locking: then the next process would
            // lock a new file of that name, and both of us would be owners.
            if is_at(&file, path) {
                return Ok(Self {
                    path: path.to_path_buf(),
                    file,
                });
            }
        }
    }

    pub(super) fn file(&mut self) -> &mut File {
        &mut self.file
    }
}

impl Drop for LockedFile {
    fn drop(&mut self) {
        // Before it is unlocked, which closing does. A directory removed meanwhile is fine.
        if is_at(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}
