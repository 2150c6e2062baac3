//! Files that must never be half-written, or read by others.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(unix)]
#[path = "files/unix.rs"]
mod system;
#[cfg(windows)]
#[path = "files/windows.rs"]
mod system;

/// Mode of files that are nobody else's business: read and written by their owner alone.
pub const PRIVATE: u32 = 0o600;

/// Why a file could not be read or written; names the file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused.
    #[error("{action} {} failed", path.display())]
    Io {
        /// What was tried: "reading".
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// Larger than the reader takes.
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// What would have been taken.
        limit: u64,
    },
    /// A private file that another user owns: its content could be theirs.
    #[error("{} belongs to another user ({owner})", path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// Their user number.
        owner: u32,
    },
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_path_buf();
    move |source| FileError::Io { action, path, source }
}

/// Replaces the file at `path` so that a reader, or we after a crash or power cut, sees the old content or the
/// new and nothing between. The new file has `mode` whatever the umask says. Windows knows no modes: there a file of
/// mode [`PRIVATE`] is its owner's and the system's alone, and any other inherits its directory's rules.
///
/// # Errors
/// [`FileError::Io`]; the old file is then still there, unless only the last step failed, making the
/// directory's change durable.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let temporary = temporary_beside(path);
    let written = write_durably(&temporary, bytes, mode).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // It may not even exist; what matters is the error above.
        let _ = fs::remove_file(&temporary);
        return Err(failed("writing", path)(error));
    }
    system::sync_directory_of(path).map_err(failed("writing", path))
}

/// Reads a file that [`write_atomically`] made; `None` if there is none. When others may read it (someone
/// copied it about) that is taken from them and logged. Symbolic links are not followed.
///
/// # Errors
/// [`FileError`].
pub fn read_private(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, FileError> {
    let file = match system::open_private(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("reading", path)(error)),
    };
    system::make_private(&file, path)?;
    let mut bytes = Vec::new();
    (&file)
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(failed("reading", path))?;
    if bytes.len() as u64 > limit {
        return Err(FileError::TooLarge {
            path: path.to_path_buf(),
            limit,
        });
    }
    Ok(Some(bytes))
}

/// Creates the directory, parents included, for its owner alone; one that exists stays as it is.
///
/// # Errors
/// [`FileError::Io`]. On Windows, where every user can make directories beside those of services,
/// [`FileError::Foreign`] for one that exists and is another user's.
pub fn create_private_dir(path: &Path) -> Result<(), FileError> {
    system::create_private_dir(path)
}

/// Removes the file; not finding it is success.
///
/// # Errors
/// [`FileError::Io`].
pub fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removing", path)(error)),
        _ => Ok(()),
    }
}

/// Removes what interrupted calls of [`write_atomically`] left in `directory`. Only for who has the directory
/// to himself (see [`lock`](crate::lock)): another writer's file may be under way.
pub fn remove_leftovers(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let ours = name
            .to_str()
            .is_some_and(|name| name.starts_with('.') && name.ends_with(SUFFIX));
        if ours && let Err(error) = fs::remove_file(entry.path()) {
            tracing::debug!(%error, "a leftover file stays");
        }
    }
}

const SUFFIX: &str = ".lanrage-tmp";

/// In the same directory, as renaming works only within one file system.
fn temporary_beside(path: &Path) -> PathBuf {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!(".{name}.{}-{count}{SUFFIX}", std::process::id()))
}

fn write_durably(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = system::create_new(path, mode)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_with_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seed");
        assert_eq!(read_private(&path, 10).unwrap(), None);
        for content in [&b"first"[..], b"second"] {
            write_atomically(&path, content, PRIVATE).unwrap();
            assert_eq!(read_private(&path, 10).unwrap().unwrap(), content);
        }
        write_atomically(&path, b"third", 0o644).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"third");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        // A directory that isn't empty can't be replaced by a file, root or not.
        let path = dir.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("x"), "x").unwrap();
        let error = write_atomically(&path, b"new", PRIVATE).unwrap_err();
        assert!(error.to_string().contains("taken"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn oversized_files_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big");
        write_atomically(&path, b"12345", PRIVATE).unwrap();
        assert_eq!(read_private(&path, 5).unwrap().unwrap().len(), 5);
        assert!(matches!(
            read_private(&path, 4),
            Err(FileError::TooLarge { limit: 4, .. })
        ));
    }

    #[test]
    fn leftovers_of_a_crash_are_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let left = temporary_beside(&dir.path().join("seed"));
        for path in [left.clone(), dir.path().join("seed"), dir.path().join(".hidden")] {
            fs::write(path, "x").unwrap();
        }
        remove_leftovers(dir.path());
        assert!(!left.exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_directory_is_made_with_its_parents_and_only_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        create_private_dir(&path).unwrap();
        create_private_dir(&path).unwrap();
        assert!(path.is_dir());
        fs::write(path.join("file"), "x").unwrap();
        assert!(create_private_dir(&path.join("file")).is_err());
    }
}
