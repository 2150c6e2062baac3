//! Unix domain sockets.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as BlockingListener, UnixStream as BlockingStream};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use super::IpcError;
use crate::caller::Caller;
use crate::lock::{FileLock, LockError};
use crate::rights::effective_uid;

pub(super) use tokio::net::UnixStream as Stream;

#[derive(Debug)]
pub(super) struct Listener {
    socket: UnixListener,
    path: PathBuf,
    /// Device and inode of our socket: by the time we go, `path` may name another's.
    identity: (u64, u64),
    // Dropped last, after the socket is gone. Two engines that both found a dead socket would otherwise both
    // replace it, the second unknowingly the first's.
    _lock: FileLock,
}

impl Listener {
    pub(super) fn bind(path: &Path) -> Result<Self, IpcError> {
        let failed = |source| IpcError::Io {
            path: path.to_path_buf(),
            source,
        };
        create_directory_of(path).map_err(failed)?;
        let mut lock_path = path.as_os_str().to_owned();
        lock_path.push(".lock");
        let lock = FileLock::acquire(Path::new(&lock_path), path).map_err(|error| lock_error(error, path))?;

        match fs::symlink_metadata(path) {
            Ok(there) if there.file_type().is_socket() => {
                if answers(path) {
                    return Err(IpcError::InUse {
                        path: path.to_path_buf(),
                    });
                }
                fs::remove_file(path).map_err(failed)?;
            }
            // Not ours to remove.
            Ok(_) => {
                return Err(failed(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "not a socket",
                )));
            }
            Err(_missing) => {}
        }
        let socket = BlockingListener::bind(path).map_err(failed)?;
        let identity = identity(path).map_err(failed)?;
        fs::set_permissions(path, PermissionsExt::from_mode(0o666)).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let socket = UnixListener::from_std(socket).map_err(failed)?;
        Ok(Self {
            socket,
            path: path.to_path_buf(),
            identity,
            _lock: lock,
        })
    }

    pub(super) async fn accept(&self) -> io::Result<(Stream, Caller)> {
        let (stream, _) = self.socket.accept().await?;
        let credentials = stream.peer_cred()?;
        let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok());
        Ok((
            stream,
            Caller {
                uid: credentials.uid(),
                pid,
            },
        ))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|there| there == self.identity) {
            // It is only a name that nobody answers to any more; the next engine removes it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

pub(super) async fn connect(path: &Path) -> Result<Stream, IpcError> {
    let stream = Stream::connect(path)
        .await
        .map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => IpcError::NotRunning {
                path: path.to_path_buf(),
            },
            _ => IpcError::Io {
                path: path.to_path_buf(),
                source,
            },
        })?;
    let server = stream.peer_cred().map_err(|source| IpcError::Io {
        path: path.to_path_buf(),
        source,
    })?;
    if !trusted(server.uid(), effective_uid()) {
        return Err(IpcError::UntrustedServer {
            path: path.to_path_buf(),
            uid: server.uid(),
        });
    }
    Ok(stream)
}

fn trusted(server: u32, own: Option<u32>) -> bool {
    server == 0 || Some(server) == own
}

fn lock_error(error: LockError, path: &Path) -> IpcError {
    let path = path.to_path_buf();
    match error {
        LockError::Held { .. } => IpcError::InUse { path },
        LockError::Io { source, .. } => IpcError::Io { path, source },
    }
}

/// Anything but a refusal means that someone may be there, for example with a full queue.
fn answers(path: &Path) -> bool {
    match BlockingStream::connect(path) {
        Ok(_) => true,
        Err(error) => error.kind() != io::ErrorKind::ConnectionRefused,
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let there = fs::symlink_metadata(path)?;
    Ok((there.dev(), there.ino()))
}

/// Open to all for passing through, whatever the umask: clients of other users have to reach the socket.
fn create_directory_of(path: &Path) -> io::Result<()> {
    let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty() && !parent.exists())
    else {
        return Ok(());
    };
    fs::DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
    fs::set_permissions(parent, PermissionsExt::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_trusted_when_it_is_roots_or_our_own() {
        assert!(trusted(0, Some(1000)) && trusted(1000, Some(1000)));
        assert!(!trusted(1001, Some(1000)) && !trusted(65534, Some(0)) && !trusted(1000, None));
    }
}
