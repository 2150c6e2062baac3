//! poll(2) and, to wake it, an eventfd (Linux) or a pipe.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::{MAX_SOURCES, Ready, Source};

/// What the system calls a source.
pub type Handle<'a> = BorrowedFd<'a>;

impl Source for std::net::UdpSocket {
    fn handle(&self) -> Handle<'_> {
        self.as_fd()
    }
}

/// Makes a thread in [`wait`](super::wait) return. Clones wake the same thread; wakes that come before it waits
/// are kept, several count as one.
#[derive(Debug, Clone)]
pub struct Waker(Arc<Channel>);

#[derive(Debug)]
struct Channel {
    read: OwnedFd,
    /// `None` where the reading end takes writes as well (eventfd).
    write: Option<OwnedFd>,
}

impl Waker {
    /// A new waker with no wake pending.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(channel()?)))
    }

    /// Makes the waiting thread return, now or when it waits next. Never blocks.
    pub fn wake(&self) {
        // Eight bytes are what an eventfd takes. The one error there is, a full pipe or counter, means that a
        // wake is pending already.
        let _ = rustix::io::write(self.0.write.as_ref().unwrap_or(&self.0.read), &1u64.to_ne_bytes());
    }

    /// Forgets pending wakes. To be called by the woken thread before it looks at what it was woken for, so
    /// that no later wake is lost.
    pub fn clear(&self) {
        let mut buffer = [0u8; 512];
        while let Ok(length) = rustix::io::read(&self.0.read, &mut buffer) {
            if length < buffer.len() {
                break;
            }
        }
    }
}

impl Source for Waker {
    fn handle(&self) -> Handle<'_> {
        self.0.read.as_fd()
    }
}

#[cfg(target_os = "linux")]
fn channel() -> io::Result<Channel> {
    use rustix::event::{EventfdFlags, eventfd};
    let read = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    Ok(Channel { read, write: None })
}

#[cfg(not(target_os = "linux"))]
fn channel() -> io::Result<Channel> {
    let (read, write) = rustix::pipe::pipe()?;
    for end in [&read, &write] {
        rustix::io::ioctl_fionbio(end, true)?;
        rustix::io::fcntl_setfd(end, rustix::io::FdFlags::CLOEXEC)?;
    }
    Ok(Channel {
        read,
        write: Some(write),
    })
}

pub(super) fn wait(sources: &[Handle<'_>], timeout: Option<Duration>) -> io::Result<Ready> {
    // A time-out too long for the clock is none.
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let Some(&first) = sources.first() else {
        return wait_on(&mut [], deadline);
    };
    // On the stack: this runs once for every batch of packets.
    let mut slots: [PollFd<'_>; MAX_SOURCES] = std::array::from_fn(|position| {
        PollFd::from_borrowed_fd(sources.get(position).copied().unwrap_or(first), PollFlags::IN)
    });
    wait_on(&mut slots[..sources.len()], deadline)
}

fn wait_on(slots: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<Ready> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // Out of the type's range is beyond any time-out that matters: wait for ever.
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(slots, left.as_ref()) {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut ready = 0;
    for (position, slot) in slots.iter().enumerate() {
        let events = slot.revents();
        if events.contains(PollFlags::NVAL) {
            return Err(Errno::BADF.into());
        }
        // Errors and hang-ups too: reading tells which.
        if !events.is_empty() {
            ready |= 1 << position;
        }
    }
    Ok(Ready(ready))
}
