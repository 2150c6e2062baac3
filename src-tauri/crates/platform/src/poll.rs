//! Waiting for the adapter and sockets at once, for a thread that is not asynchronous, and a way to wake it.

use std::io;
use std::time::Duration;

#[cfg(unix)]
#[path = "poll/unix.rs"]
mod system;
#[cfg(not(unix))]
#[path = "poll/unsupported.rs"]
mod system;

pub use system::{Handle, Waker};

/// How many things one call of [`wait`] takes.
pub const MAX_SOURCES: usize = 16;

/// Something [`wait`] can wait for: the adapter, a waker, a UDP socket.
pub trait Source {
    /// The system's name for it, valid as long as the source lives.
    fn handle(&self) -> Handle<'_>;
}

/// Which of the sources given to [`wait`] can be read, by their position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ready(u32);

impl Ready {
    /// Whether the source at `position` can be read (or has an error that reading will tell).
    pub fn is_ready(self, position: usize) -> bool {
        position < MAX_SOURCES && self.0 & (1 << position) != 0
    }

    /// Whether any source is ready; `false` after a time-out.
    pub fn any(self) -> bool {
        self.0 != 0
    }
}

/// Waits until at least one of `sources` can be read, or for `timeout`; `None` waits for ever, zero only looks.
/// Signals do not end the wait.
///
/// # Errors
/// `InvalidInput` for more than [`MAX_SOURCES`] sources, `Unsupported` on systems without it, else what the
/// system says.
pub fn wait(sources: &[Handle<'_>], timeout: Option<Duration>) -> io::Result<Ready> {
    if sources.len() > MAX_SOURCES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "too many sources to wait for",
        ));
    }
    system::wait(sources, timeout)
}
