//! WaitForMultipleObjects, with events that sockets set by WSAEventSelect.
//!
//! An event tells that something came, not that something is there. Both kinds of source are made to tell the
//! latter, as poll(2) does: a socket is asked anew at each wait, which the system answers at once when data is
//! queued; the adapter's reader notes whether it left packets in the ring.

#![allow(unsafe_code)]

use std::cell::RefCell;
use std::io;
use std::os::windows::io::{
    AsHandle, AsRawHandle, AsRawSocket, AsSocket, BorrowedHandle, BorrowedSocket, OwnedHandle, RawHandle,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{WAIT_FAILED, WAIT_OBJECT_0, WAIT_TIMEOUT};
use windows_sys::Win32::Networking::WinSock::{FD_READ, SOCKET, WSAEVENT, WSAEventSelect, WSAGetLastError};
use windows_sys::Win32::System::Threading::{
    INFINITE, ResetEvent, SetEvent, WaitForMultipleObjects, WaitForSingleObject,
};

use super::{MAX_SOURCES, Ready, Source};
use crate::windows::new_event;

/// What the system calls a source.
#[derive(Debug, Clone, Copy)]
pub struct Handle<'a>(Kind<'a>);

#[derive(Debug, Clone, Copy)]
enum Kind<'a> {
    /// An event that stays set until it is reset.
    Event(BorrowedHandle<'a>),
    Socket(BorrowedSocket<'a>),
    Queue(Queue<'a>),
}

/// A queue whose event is set when something is added and reset by the wait that sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queue<'a> {
    pub(crate) added: BorrowedHandle<'a>,
    /// Whether the last look found nothing. Set by the reader, cleared by the wait.
    pub(crate) empty: &'a AtomicBool,
}

impl<'a> From<Queue<'a>> for Handle<'a> {
    fn from(queue: Queue<'a>) -> Self {
        Self(Kind::Queue(queue))
    }
}

/// Waiting makes the socket non-blocking for good. Only one thread at a time may wait for it.
impl Source for std::net::UdpSocket {
    fn handle(&self) -> Handle<'_> {
        Handle(Kind::Socket(self.as_socket()))
    }
}

/// Makes a thread in [`wait`](super::wait) return. Clones wake the same thread; wakes that come before it waits
/// are kept, several count as one.
#[derive(Debug, Clone)]
pub struct Waker(Arc<OwnedHandle>);

impl Waker {
    /// A new waker with no wake pending.
    ///
    /// # Errors
    /// When the process has no handle left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(new_event()?)))
    }

    /// Makes the waiting thread return, now or when it waits next. Never blocks.
    pub fn wake(&self) {
        // SAFETY: the event is open as long as `self`. Nothing else can fail.
        unsafe { SetEvent(self.0.as_raw_handle()) };
    }

    /// Forgets pending wakes. To be called by the woken thread before it looks at what it was woken for, so
    /// that no later wake is lost.
    pub fn clear(&self) {
        // SAFETY: as in `wake`.
        unsafe { ResetEvent(self.0.as_raw_handle()) };
    }
}

impl Source for Waker {
    fn handle(&self) -> Handle<'_> {
        Handle(Kind::Event(self.0.as_handle()))
    }
}

thread_local! {
    /// The events that this thread's sockets set, by position in the list of sources; made when first needed.
    static EVENTS: RefCell<[Option<OwnedHandle>; MAX_SOURCES]> = const { RefCell::new([const { None }; MAX_SOURCES]) };
}

pub(super) fn wait(sources: &[Handle<'_>], timeout: Option<Duration>) -> io::Result<Ready> {
    // A time-out too long for the clock is none.
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    EVENTS.with_borrow_mut(|events| {
        // On the stack: this runs once for every batch of packets.
        let mut handles: [RawHandle; MAX_SOURCES] = [std::ptr::null_mut(); MAX_SOURCES];
        let mut queued = false;
        for ((source, handle), event) in sources.iter().zip(&mut handles).zip(events) {
            *handle = match source.0 {
                Kind::Event(event) => event.as_raw_handle(),
                Kind::Socket(socket) => {
                    let event = match event {
                        Some(event) => event,
                        None => event.insert(new_event()?),
                    };
                    select(socket, event)?;
                    event.as_raw_handle()
                }
                Kind::Queue(queue) => {
                    queued |= !queue.empty.load(Ordering::Acquire);
                    queue.added.as_raw_handle()
                }
            };
        }
        let handles = &handles[..sources.len()];
        // What is left in a queue is no reason to overlook the others.
        let deadline = if queued { Some(Instant::now()) } else { deadline };
        let first = wait_for_any(handles, deadline)?;
        Ok(look(sources, handles, first))
    })
}

/// Has the event set when the socket can be read; at once if it can be now.
fn select(socket: BorrowedSocket<'_>, event: &OwnedHandle) -> io::Result<()> {
    // SAFETY: the event is open. Until the next line nothing sets it: if it served another socket, that one's data
    // is found when that one is asked.
    unsafe { ResetEvent(event.as_raw_handle()) };
    // SAFETY: socket and event are open. The system holds the event for as long as it may set it.
    let answer = unsafe {
        WSAEventSelect(
            socket.as_raw_socket() as SOCKET,
            event.as_raw_handle() as WSAEVENT,
            FD_READ.cast_signed(),
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        // SAFETY: the function has no condition.
        Err(io::Error::from_raw_os_error(unsafe { WSAGetLastError() }))
    }
}

/// Waits until one of the events is set, whose position it returns, or for the deadline.
fn wait_for_any(handles: &[RawHandle], deadline: Option<Instant>) -> io::Result<Option<usize>> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if handles.is_empty() {
            // The system refuses to wait for nothing.
            std::thread::sleep(left.unwrap_or(Duration::MAX));
        } else {
            let count = u32::try_from(handles.len()).unwrap_or(0);
            // SAFETY: there are `count` handles, fewer than the 64 that the system takes, and all are open for the
            // whole call: the sources borrow them, or they are this thread's own events.
            let answer = unsafe {
                WaitForMultipleObjects(count, handles.as_ptr(), 0, left.map_or(INFINITE, milliseconds))
            };
            match answer {
                WAIT_FAILED => return Err(io::Error::last_os_error()),
                WAIT_TIMEOUT => {}
                set => return Ok(Some((set - WAIT_OBJECT_0) as usize)),
            }
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(None);
        }
    }
}

/// Rounded up, so that a wait does not end early and then spin for the rest; the longest one is asked for again.
fn milliseconds(left: Duration) -> u32 {
    u32::try_from(left.as_nanos().div_ceil(1_000_000))
        .unwrap_or(INFINITE)
        .min(INFINITE - 1)
}

/// All that are ready, not only the first that ended the wait, or a busy one would starve those after it.
fn look(sources: &[Handle<'_>], handles: &[RawHandle], first: Option<usize>) -> Ready {
    let mut ready = 0;
    for (position, (source, &handle)) in sources.iter().zip(handles).enumerate() {
        // The wait has reset the event of a queue that ended it.
        // SAFETY: the handle is open, as in `wait_for_any`.
        let set = first == Some(position) || unsafe { WaitForSingleObject(handle, 0) } == WAIT_OBJECT_0;
        let readable = match source.0 {
            Kind::Event(_) | Kind::Socket(_) => set,
            Kind::Queue(queue) => {
                if set {
                    queue.empty.store(false, Ordering::Release);
                }
                !queue.empty.load(Ordering::Acquire)
            }
        };
        if readable {
            ready |= 1 << position;
        }
    }
    Ready(ready)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_in_a_queue_ends_every_wait_until_it_was_found_empty() {
        let (event, empty) = (new_event().unwrap(), AtomicBool::new(false));
        let queue = Handle::from(Queue {
            added: event.as_handle(),
            empty: &empty,
        });
        for _ in 0..2 {
            assert!(wait(&[queue], None).unwrap().is_ready(0));
        }
        empty.store(true, Ordering::Release);
        assert!(!wait(&[queue], Some(Duration::ZERO)).unwrap().any());
        // SAFETY: the event is open.
        unsafe { SetEvent(event.as_raw_handle()) };
        assert!(wait(&[queue], None).unwrap().is_ready(0));
        assert!(!empty.load(Ordering::Acquire));
    }

    #[test]
    fn time_outs_are_rounded_up() {
        assert_eq!(milliseconds(Duration::ZERO), 0);
        assert_eq!(milliseconds(Duration::from_nanos(1)), 1);
        assert_eq!(milliseconds(Duration::from_micros(1500)), 2);
        assert_eq!(milliseconds(Duration::MAX), INFINITE - 1);
    }
}
