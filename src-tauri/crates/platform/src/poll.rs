//! Waiting for the adapter and sockets at once, for a thread that is not asynchronous, and a way to wake it.

use std::io;
use std::time::Duration;

#[cfg(unix)]
#[path = "poll/unix.rs"]
mod system;
#[cfg(windows)]
#[path = "poll/windows.rs"]
mod system;

#[cfg(windows)]
pub(crate) use system::Queue;
pub use system::{Handle, Waker};

/// How many things one call of [`wait`] takes: fewer than the 64 that Windows does.
pub const MAX_SOURCES: usize = 40;

/// Something [`wait`] can wait for: the adapter, a waker, a UDP socket.
pub trait Source {
    /// The system's name for it, valid as long as the source lives.
    fn handle(&self) -> Handle<'_>;
}

/// Which of the sources given to [`wait`] can be read, by their position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ready(u64);

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
/// `InvalidInput` for more than [`MAX_SOURCES`] sources, else what the system says.
pub fn wait(sources: &[Handle<'_>], timeout: Option<Duration>) -> io::Result<Ready> {
    if sources.len() > MAX_SOURCES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "too many sources to wait for",
        ));
    }
    system::wait(sources, timeout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::time::Instant;

    #[test]
    fn a_wake_before_the_wait_is_kept_and_several_count_as_one() {
        let waker = Waker::new().unwrap();
        waker.wake();
        waker.clone().wake();
        assert!(wait(&[waker.handle()], None).unwrap().is_ready(0));
        waker.clear();
        assert!(!wait(&[waker.handle()], Some(Duration::ZERO)).unwrap().any());
    }

    #[test]
    fn another_thread_ends_a_wait_without_time_out() {
        let waker = Waker::new().unwrap();
        let other = waker.clone();
        let thread = std::thread::spawn(move || wait(&[other.handle()], None).unwrap());
        waker.wake();
        assert!(thread.join().unwrap().any());
    }

    #[test]
    fn only_the_source_with_something_to_read_is_ready() {
        let (quiet, busy) = (
            UdpSocket::bind("127.0.0.1:0").unwrap(),
            UdpSocket::bind("127.0.0.1:0").unwrap(),
        );
        quiet.send_to(b"x", busy.local_addr().unwrap()).unwrap();
        let waker = Waker::new().unwrap();
        let ready = wait(&[waker.handle(), quiet.handle(), busy.handle()], None).unwrap();
        assert!(!ready.is_ready(0) && !ready.is_ready(1) && ready.is_ready(2) && ready.any());
        assert!(!ready.is_ready(3) && !ready.is_ready(99));
    }

    #[test]
    fn a_source_is_ready_until_all_was_read() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..2 {
            socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        }
        for _ in 0..2 {
            // Twice without reading, and again after reading one of two.
            assert!(wait(&[socket.handle()], None).unwrap().any());
            assert!(wait(&[socket.handle()], None).unwrap().any());
            socket.recv(&mut [0; 1]).unwrap();
        }
        assert!(!wait(&[socket.handle()], Some(Duration::ZERO)).unwrap().any());
    }

    #[test]
    fn a_time_out_ends_the_wait_with_nothing_ready_and_not_early() {
        let waker = Waker::new().unwrap();
        let (begin, timeout) = (Instant::now(), Duration::from_micros(1500));
        assert_eq!(wait(&[waker.handle()], Some(timeout)).unwrap(), Ready::default());
        assert!(begin.elapsed() >= timeout);
        assert!(!wait(&[], Some(timeout)).unwrap().any());
    }

    #[test]
    fn more_sources_than_fit_are_refused() {
        let waker = Waker::new().unwrap();
        let error = wait(&[waker.handle(); MAX_SOURCES + 1], None).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
