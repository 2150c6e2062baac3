//! Word of changes by the IP helper's notices.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use windows_sys::Win32::Foundation::{HANDLE, WIN32_ERROR};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    CancelMibChangeNotify2, MIB_IPFORWARD_ROW2, MIB_IPINTERFACE_ROW, MIB_NOTIFICATION_TYPE,
    MIB_UNICASTIPADDRESS_ROW, NotifyIpInterfaceChange, NotifyRouteChange2, NotifyUnicastIpAddressChange,
};
use windows_sys::Win32::Networking::WinSock::AF_UNSPEC;

use super::{LONGEST, QUIET};
use crate::windows::no_error;

/// Tells when addresses, links or routes of the host have changed, without telling what: the listener looks
/// again at [`addresses`](super::addresses) and [`conflicts`](crate::routes::conflicts).
#[derive(Debug)]
pub struct Watcher {
    // Dropped first: after that the system calls no more.
    _notices: [Notices; 3],
    changes: Arc<Notify>,
    /// Since when a change is known and not yet told: survives a cancelled [`Watcher::changed`].
    pending: Option<Instant>,
}

impl Watcher {
    /// Watches from now on.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new() -> io::Result<Self> {
        let changes = Arc::new(Notify::new());
        let context = Arc::as_ptr(&changes).cast::<c_void>();
        // SAFETY: `context` points to the `Notify` that the callbacks expect. It lives until `changes` is dropped, by
        // the watcher after its notices, or here after what was ordered so far; each notice's drop waits for callbacks
        // under way. Each function writes one handle.
        let notices = unsafe {
            [
                Notices::order(|handle| {
                    NotifyUnicastIpAddressChange(AF_UNSPEC, Some(on_address), context, false, handle)
                })?,
                Notices::order(|handle| {
                    NotifyIpInterfaceChange(AF_UNSPEC, Some(on_interface), context, false, handle)
                })?,
                Notices::order(|handle| {
                    NotifyRouteChange2(AF_UNSPEC, Some(on_route), context, false, handle)
                })?,
            ]
        };
        Ok(Self {
            _notices: notices,
            changes,
            pending: None,
        })
    }

    /// Waits for the next change and until its burst of notices is over (at most half a second more). Safe to
    /// cancel: a change that was seen is told by the next call.
    ///
    /// # Errors
    /// None here: the system's notices don't fail once they were ordered.
    pub async fn changed(&mut self) -> io::Result<()> {
        let first = match self.pending {
            Some(first) => first,
            None => {
                self.changes.notified().await;
                *self.pending.insert(Instant::now())
            }
        };
        let end = first + LONGEST;
        while timeout_at(end.min(Instant::now() + QUIET), self.changes.notified())
            .await
            .is_ok()
        {
            if Instant::now() >= end {
                break;
            }
        }
        self.pending = None;
        Ok(())
    }
}

/// The system's promise to call back, until dropped.
#[derive(Debug)]
struct Notices(HANDLE);

// SAFETY: the handle is a number to the system, which takes it from any thread.
unsafe impl Send for Notices {}
// SAFETY: as above; nothing is done with a shared one.
unsafe impl Sync for Notices {}

impl Notices {
    fn order(order: impl FnOnce(*mut HANDLE) -> WIN32_ERROR) -> io::Result<Self> {
        let mut handle = std::ptr::null_mut();
        no_error(order(&raw mut handle))?;
        Ok(Self(handle))
    }
}

impl Drop for Notices {
    fn drop(&mut self) {
        // SAFETY: the handle came with the order, and this is its only cancellation. It is not called from a callback,
        // for which it would wait.
        unsafe { CancelMibChangeNotify2(self.0) };
    }
}

unsafe extern "system" fn on_address(
    context: *const c_void,
    _: *const MIB_UNICASTIPADDRESS_ROW,
    _: MIB_NOTIFICATION_TYPE,
) {
    // SAFETY: `context` is the one given with the order.
    unsafe { note(context) };
}

unsafe extern "system" fn on_interface(
    context: *const c_void,
    _: *const MIB_IPINTERFACE_ROW,
    _: MIB_NOTIFICATION_TYPE,
) {
    // SAFETY: `context` is the one given with the order.
    unsafe { note(context) };
}

unsafe extern "system" fn on_route(
    context: *const c_void,
    _: *const MIB_IPFORWARD_ROW2,
    _: MIB_NOTIFICATION_TYPE,
) {
    // SAFETY: `context` is the one given with the order.
    unsafe { note(context) };
}

/// # Safety
/// `context` has to point to a live `Notify`.
unsafe fn note(context: *const c_void) {
    // SAFETY: by the caller's promise.
    let changes = unsafe { &*context.cast::<Notify>() };
    // Kept when nobody waits just now.
    changes.notify_one();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_notice_before_the_wait_is_kept() {
        let mut watcher = Watcher::new().unwrap();
        // SAFETY: the pointer is to the watcher's own `Notify`.
        unsafe { note(Arc::as_ptr(&watcher.changes).cast()) };
        watcher.changed().await.unwrap();
    }
}
