//! What several modules need of Windows: strings, errors, identities, security descriptors.

#![allow(unsafe_code)]

use std::ffi::OsStr;
use std::io;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{BorrowedHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::{LocalFree, NO_ERROR, WIN32_ERROR};
use windows_sys::Win32::System::Threading::CreateEventW;
use windows_sys::core::BOOL;

pub(crate) mod descriptor;
pub(crate) mod token;

/// The text as the system takes it: UTF-16 with a zero at its end.
///
/// # Errors
/// `InvalidInput` when it holds a zero itself: the system would see only what precedes it.
pub(crate) fn wide(text: impl AsRef<OsStr>) -> io::Result<Vec<u16>> {
    let mut units: Vec<u16> = text.as_ref().encode_wide().collect();
    if units.contains(&0) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a name with a zero in it",
        ));
    }
    units.push(0);
    Ok(units)
}

/// The answer of a function that says false and leaves the reason to GetLastError.
pub(crate) fn succeeded(answer: BOOL) -> io::Result<()> {
    if answer == 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// The answer of a function that returns its error.
pub(crate) fn no_error(code: WIN32_ERROR) -> io::Result<()> {
    if code == NO_ERROR {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(code.cast_signed()))
    }
}

/// A new event, not set, that stays set until it is reset.
///
/// # Errors
/// When the process has no handle left.
pub(crate) fn new_event() -> io::Result<OwnedHandle> {
    // SAFETY: no pointer is given; the result is checked before use.
    let event = unsafe { CreateEventW(null(), 1, 0, null()) };
    owned(event)
}

/// Takes over a handle that a function returned as its result, null meaning failure.
fn owned(handle: RawHandle) -> io::Result<OwnedHandle> {
    if handle.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the callers are this module's and pass what a creating function has just returned, which is not
    // null, open and nobody else's.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// Memory that the system gave and wants back by LocalFree.
struct Local(*mut core::ffi::c_void);

impl Drop for Local {
    fn drop(&mut self) {
        // SAFETY: the pointer came from a function that says to free it so, and is freed only here.
        unsafe { LocalFree(self.0) };
    }
}

/// The handle of this process: a constant that needs no closing.
fn this_process() -> BorrowedHandle<'static> {
    // SAFETY: GetCurrentProcess has no condition, and its result is valid for ever.
    unsafe { BorrowedHandle::borrow_raw(windows_sys::Win32::System::Threading::GetCurrentProcess()) }
}

const NOWHERE: RawHandle = null_mut();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_ends_with_its_only_zero() {
        assert_eq!(wide("aß").unwrap(), [0x61, 0xdf, 0]);
        assert!(wide("a\0b").is_err());
    }
}
