//! A file opened so that no other process can write to it or remove it.

use std::fs::{self, File, OpenOptions};
use std::os::windows::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use windows_sys::Win32::Foundation::ERROR_SHARING_VIOLATION;
use windows_sys::Win32::Storage::FileSystem::FILE_SHARE_READ;

use super::{NotLocked, pid_in};

/// A file that is this process's alone; removed when dropped.
#[derive(Debug)]
pub(super) struct LockedFile {
    file: File,
    // Dropped after the file is closed: while it is open not even we can remove it.
    _leftover: Leftover,
}

#[derive(Debug)]
struct Leftover(PathBuf);

impl LockedFile {
    pub(super) fn open(path: &Path) -> Result<Self, NotLocked> {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .share_mode(FILE_SHARE_READ)
            .open(path);
        match opened {
            Ok(file) => Ok(Self {
                file,
                _leftover: Leftover(path.to_path_buf()),
            }),
            Err(error) if error.raw_os_error() == Some(ERROR_SHARING_VIOLATION.cast_signed()) => {
                let pid = File::open(path).ok().and_then(|mut file| pid_in(&mut file));
                Err(NotLocked::Held(pid))
            }
            Err(error) => Err(NotLocked::Failed(error)),
        }
    }

    pub(super) fn file(&mut self) -> &mut File {
        &mut self.file
    }
}

impl Drop for Leftover {
    fn drop(&mut self) {
        // Fails when the next owner has it already, which is right.
        let _ = fs::remove_file(&self.0);
    }
}
