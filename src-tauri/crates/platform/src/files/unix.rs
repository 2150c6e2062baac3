//! Files by mode and owner.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use super::{FileError, PRIVATE, failed};

/// For reading; symbolic links are not followed.
pub(super) fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        // Non-blocking, so that a pipe put there can't hang us.
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)
}

pub(super) fn make_private(file: &File, path: &Path) -> Result<(), FileError> {
    let metadata = file.metadata().map_err(failed("reading", path))?;
    let owner = metadata.uid();
    if owner != 0 && Some(owner) != crate::rights::effective_uid() {
        return Err(FileError::Foreign {
            path: path.to_path_buf(),
            owner,
        });
    }
    if metadata.mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "others could read a private file; they no longer can");
        file.set_permissions(PermissionsExt::from_mode(PRIVATE))
            .map_err(failed("protecting", path))?;
    }
    Ok(())
}

pub(super) fn create_private_dir(path: &Path) -> Result<(), FileError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(failed("creating", path))
}

/// For writing; private until its mode is set.
pub(super) fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(PRIVATE & mode)
        .open(path)?;
    file.set_permissions(PermissionsExt::from_mode(mode))?;
    Ok(file)
}

pub(super) fn sync_directory_of(path: &Path) -> io::Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::super::{create_private_dir, read_private, write_atomically};
    use super::*;
    use std::fs;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_file_has_the_mode_it_was_written_with() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seed");
        for wanted in [PRIVATE, 0o644] {
            write_atomically(&path, b"x", wanted).unwrap();
            assert_eq!(mode(&path), wanted);
        }
    }

    #[test]
    fn a_private_file_open_to_others_is_closed_to_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seed");
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        assert_eq!(read_private(&path, 1).unwrap().unwrap(), b"x");
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("seed"), dir.path().join("link"));
        write_atomically(&path, b"12345", PRIVATE).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(read_private(&link, 5), Err(FileError::Io { .. })));
    }

    #[test]
    fn a_new_directory_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        create_private_dir(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
    }
}
