//! The local socket between the engine and its clients: bytes both ways, and who is at the other end.
//!
//! Both ends check each other: the engine asks the system who called ([`Caller`]), the client that the engine
//! is root's or its own user's, so that no other user can stand in for a stopped engine.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::caller::Caller;

#[cfg(unix)]
#[path = "ipc/unix.rs"]
mod system;
#[cfg(windows)]
#[path = "ipc/windows.rs"]
mod system;

/// Why there is no connection, or nothing to connect to.
#[derive(Debug, thiserror::Error)]
pub enum IpcError {
    /// Another engine answers on this socket.
    #[error("another engine is running on {}", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// No engine answers on this socket.
    #[error("no engine is running on {}", path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
    },
    /// Who answers is neither root nor the caller's own user.
    #[error("the engine on {} belongs to another user ({uid})", path.display())]
    UntrustedServer {
        /// The socket.
        path: PathBuf,
        /// Their user number.
        uid: u32,
    },
    /// The system refused.
    #[error("using the socket {} failed", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: io::Error,
    },
}

/// Where the system's engine listens.
pub fn default_socket_path() -> PathBuf {
    PathBuf::from(if cfg!(windows) {
        r"\\.\pipe\lanrage-engine"
    } else if cfg!(target_os = "macos") {
        "/var/run/lanrage/engine.sock"
    } else {
        "/run/lanrage/engine.sock"
    })
}

/// The engine's end. Dropping it removes the socket.
#[derive(Debug)]
pub struct Listener(system::Listener);

impl Listener {
    /// Listens on `path`. Creates its directory (0755) if missing and takes the place of a socket on which
    /// nobody answers; everyone may connect, so each [`Caller`] has to be judged. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`IpcError::InUse`] while another engine answers there.
    pub fn bind(path: &Path) -> Result<Self, IpcError> {
        system::Listener::bind(path).map(Self)
    }

    /// The next client. Safe to cancel.
    ///
    /// # Errors
    /// When this client can't be had; the next may. When descriptors ran out the error comes back at once, so
    /// callers pause a moment before they try again.
    pub async fn accept(&self) -> io::Result<(Stream, Caller)> {
        let (stream, caller) = self.0.accept().await?;
        Ok((Stream(stream), caller))
    }
}

/// One connection, at either end.
#[derive(Debug)]
pub struct Stream(system::Stream);

/// Connects to the engine that listens on `path`.
///
/// # Errors
/// [`IpcError::NotRunning`], [`IpcError::UntrustedServer`], else what the system says.
pub async fn connect(path: &Path) -> Result<Stream, IpcError> {
    system::connect(path).await.map(Stream)
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
