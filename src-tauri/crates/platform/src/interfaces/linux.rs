//! Word of changes by rtnetlink(7): the kernel sends a message for every link, address and route that changes.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, timeout_at};

use super::{LONGEST, QUIET};

/// NETLINK_ROUTE is protocol 0, which is what no choice means.
const ROUTE: Option<Protocol> = None;

const GROUPS: i32 = libc::RTMGRP_LINK
    | libc::RTMGRP_IPV4_IFADDR
    | libc::RTMGRP_IPV6_IFADDR
    | libc::RTMGRP_IPV4_ROUTE
    | libc::RTMGRP_IPV6_ROUTE;

/// Tells when addresses, links or routes of the host have changed, without telling what: the listener looks
/// again at [`addresses`](super::addresses) and [`conflicts`](crate::routes::conflicts).
#[derive(Debug)]
pub struct Watcher {
    socket: AsyncFd<OwnedFd>,
    /// Since when a change is known and not yet told: survives a cancelled [`Watcher::changed`].
    pending: Option<Instant>,
}

impl Watcher {
    /// Watches the network namespace of the calling thread from now on. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the system refuses the socket.
    pub fn new() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, ROUTE)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS.cast_unsigned()))?;
        // SAFETY: the descriptor is open, and stays the same one until the `AsyncFd` that owns it is dropped:
        // nothing here takes it out or hands out more than a shared reference.
        let socket = unsafe { AsyncFd::register(socket) }?;
        Ok(Self {
            socket,
            pending: None,
        })
    }

    /// Waits for the next change and until its burst of messages is over (at most half a second more). Safe to
    /// cancel: a change that was seen is told by the next call.
    ///
    /// # Errors
    /// When the socket has failed; a new watcher may help.
    pub async fn changed(&mut self) -> io::Result<()> {
        let first = match self.pending {
            Some(first) => first,
            None => {
                self.message().await?;
                *self.pending.insert(Instant::now())
            }
        };
        let end = first + LONGEST;
        while let Ok(message) = timeout_at(end.min(Instant::now() + QUIET), self.message()).await {
            message?;
            if Instant::now() >= end {
                break;
            }
        }
        self.pending = None;
        Ok(())
    }

    /// Waits for at least one message and takes all there are.
    async fn message(&self) -> io::Result<()> {
        loop {
            let mut ready = self.socket.readable().await?;
            match ready.try_io(|socket| drain(socket.get_ref())) {
                Ok(result) => return result,
                // Readiness was stale.
                Err(_would_block) => {}
            }
        }
    }
}

/// Takes what the socket holds; `WouldBlock` when that was nothing.
fn drain(socket: &OwnedFd) -> io::Result<()> {
    use rustix::io::Errno;
    // What a message says does not matter, so one that is cut off is as good.
    let mut buffer = [0u8; 64];
    let mut any = false;
    loop {
        match recv(socket, &mut buffer, RecvFlags::empty()) {
            // ENOBUFS: the kernel had more messages than room, so something did change.
            Ok(_) | Err(Errno::NOBUFS) => any = true,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if any => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
