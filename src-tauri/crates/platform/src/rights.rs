//! What this process may do.

use crate::adapter::AdapterError;

/// Whether this process runs as root, which on Windows is LocalSystem.
pub fn is_root() -> bool {
    effective_uid() == Some(0)
}

/// The user this process acts as. On Windows a number that stands for them: 0 for LocalSystem, for others one that
/// is always the same and says nothing else. `None` when the system won't tell.
pub fn effective_uid() -> Option<u32> {
    #[cfg(unix)]
    return Some(rustix::process::geteuid().as_raw());
    #[cfg(windows)]
    return Some(
        crate::windows::token::Token::of_this_process()
            .ok()?
            .user()
            .ok()?
            .number(),
    );
}

/// Whether [`Adapter::open`](crate::adapter::Adapter::open) can be expected to work, without trying it.
///
/// # Errors
/// What it would fail with.
#[cfg(target_os = "linux")]
pub fn may_create_adapter() -> Result<(), AdapterError> {
    use rustix::io::Errno;
    use rustix::thread::{CapabilitySet, capabilities};

    let opened = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun");
    if let Err(error) = opened {
        return Err(match Errno::from_io_error(&error) {
            Some(Errno::PERM | Errno::ACCESS) => AdapterError::NoRights(error),
            Some(Errno::NOENT | Errno::NODEV | Errno::NXIO | Errno::NOTDIR) => AdapterError::NoDevice(error),
            _ => AdapterError::Other {
                step: "opening /dev/net/tun",
                source: error,
            },
        });
    }
    let held = capabilities(None).map_err(|errno| AdapterError::Other {
        step: "reading this process's capabilities",
        source: errno.into(),
    })?;
    if held.effective.contains(CapabilitySet::NET_ADMIN) {
        Ok(())
    } else {
        Err(AdapterError::NoRights(Errno::PERM.into()))
    }
}

/// Whether [`Adapter::open`](crate::adapter::Adapter::open) can be expected to work, without trying it.
///
/// # Errors
/// What it would fail with.
#[cfg(target_os = "macos")]
pub fn may_create_adapter() -> Result<(), AdapterError> {
    if is_root() {
        Ok(())
    } else {
        Err(AdapterError::NoRights(rustix::io::Errno::PERM.into()))
    }
}

/// Whether [`Adapter::open`](crate::adapter::Adapter::open) can be expected to work, without trying it.
///
/// # Errors
/// What it would fail with.
#[cfg(windows)]
pub fn may_create_adapter() -> Result<(), AdapterError> {
    use std::io;

    let driver = crate::adapter::driver_path().map_err(AdapterError::NoDevice)?;
    if !driver.is_file() {
        let missing = format!("{} is missing", driver.display());
        return Err(AdapterError::NoDevice(io::Error::new(
            io::ErrorKind::NotFound,
            missing,
        )));
    }
    let elevated = crate::windows::token::Token::of_this_process().and_then(|token| token.is_elevated());
    match elevated {
        Ok(true) => Ok(()),
        Ok(false) => Err(AdapterError::NoRights(io::ErrorKind::PermissionDenied.into())),
        Err(source) => Err(AdapterError::Other {
            step: "reading this process's rights",
            source,
        }),
    }
}

/// Always fails: this system has no adapter.
///
/// # Errors
/// [`AdapterError::Unsupported`].
#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
pub fn may_create_adapter() -> Result<(), AdapterError> {
    Err(crate::Unsupported {
        operation: "the network adapter",
    }
    .into())
}

/// Raises the number of files this process may have open to what the system allows it at most, and returns
/// the new number; `None` where there is no limit or none to raise.
pub fn raise_open_files() -> Option<u64> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        if limit.current != limit.maximum {
            let wanted = Rlimit {
                current: limit.maximum,
                maximum: limit.maximum,
            };
            if let Err(error) = setrlimit(Resource::Nofile, wanted) {
                // macOS refuses "unlimited" here.
                tracing::debug!(%error, "the limit of open files stays as it is");
            }
        }
        getrlimit(Resource::Nofile).current
    }
    #[cfg(not(unix))]
    None
}

/// Whether the system refused because this process, or all together, have too many files and sockets open.
pub fn is_out_of_files(error: &std::io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
    }
    // ERROR_TOO_MANY_OPEN_FILES, WSAEMFILE.
    #[cfg(not(unix))]
    matches!(error.raw_os_error(), Some(4 | 10024))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_rises_to_its_maximum() {
        let after = raise_open_files();
        #[cfg(target_os = "linux")]
        assert_eq!(
            after,
            rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum
        );
        assert_eq!(raise_open_files(), after);
    }

    #[test]
    fn root_is_who_owns_new_files_as_uid_0() {
        use std::os::unix::fs::MetadataExt;
        let file = tempfile::tempfile().unwrap();
        assert_eq!(is_root(), file.metadata().unwrap().uid() == 0);
        assert_eq!(effective_uid(), Some(file.metadata().unwrap().uid()));
    }
}
