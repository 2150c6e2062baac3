//! Whose process or thread it is, and with which rights.

use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle};

use windows_sys::Win32::Security::{
    GetLengthSid, GetTokenInformation, IsValidSid, PSID, RevertToSelf, TOKEN_ELEVATION,
    TOKEN_INFORMATION_CLASS, TOKEN_QUERY, TOKEN_USER, TokenElevation, TokenUser,
};
use windows_sys::Win32::System::RemoteDesktop::{
    WTS_CURRENT_SERVER_HANDLE, WTS_SESSION_INFOW, WTSActive, WTSEnumerateSessionsW, WTSFreeMemory,
    WTSQueryUserToken,
};
use windows_sys::Win32::System::Threading::{GetCurrentThread, OpenProcessToken, OpenThreadToken};

use super::{NOWHERE, owned, succeeded, this_process};
use crate::sid::Sid;

/// An access token.
pub(crate) struct Token(OwnedHandle);

impl Token {
    /// This process's.
    pub(crate) fn of_this_process() -> io::Result<Self> {
        let mut handle = NOWHERE;
        // SAFETY: the process's handle is valid, and the function writes one handle to `handle`.
        succeeded(unsafe { OpenProcessToken(this_process().as_raw_handle(), TOKEN_QUERY, &raw mut handle) })?;
        owned(handle).map(Self)
    }

    /// The one that the calling thread impersonates.
    ///
    /// # Errors
    /// When it impersonates nobody, or an anonymous caller.
    pub(crate) fn of_this_thread() -> io::Result<Self> {
        let mut handle = NOWHERE;
        // SAFETY: GetCurrentThread is a valid constant, and the function writes one handle to `handle`. It opens as
        // the process: the impersonated user need not be allowed to see their own token.
        succeeded(unsafe { OpenThreadToken(GetCurrentThread(), TOKEN_QUERY, 1, &raw mut handle) })?;
        owned(handle).map(Self)
    }

    /// Who it stands for.
    pub(crate) fn user(&self) -> io::Result<Sid> {
        // TOKEN_USER and the identifier behind it, which is 68 bytes at most; the numbers give the alignment.
        let mut buffer = [0u64; 16];
        self.read(TokenUser, &mut buffer)?;
        // SAFETY: the system has written a TOKEN_USER to the buffer's start, and the buffer is large enough and
        // aligned for one.
        let user = unsafe { &*buffer.as_ptr().cast::<TOKEN_USER>() };
        // SAFETY: `Sid` points into `buffer`, which is alive, where the system wrote an identifier.
        unsafe { copy(user.User.Sid) }
    }

    /// Whether it has an administrator's rights, now and not only after a prompt.
    pub(crate) fn is_elevated(&self) -> io::Result<bool> {
        let mut buffer = [0u64; 1];
        self.read(TokenElevation, &mut buffer)?;
        // SAFETY: the system has written a TOKEN_ELEVATION, one number, to the buffer's start.
        Ok(unsafe { &*buffer.as_ptr().cast::<TOKEN_ELEVATION>() }.TokenIsElevated != 0)
    }

    fn read(&self, class: TOKEN_INFORMATION_CLASS, buffer: &mut [u64]) -> io::Result<()> {
        let room = u32::try_from(size_of_val(buffer)).unwrap_or(u32::MAX);
        let mut length = 0;
        // SAFETY: the handle is open, `buffer` has `room` bytes, and the function writes no more than those.
        succeeded(unsafe {
            GetTokenInformation(
                self.0.as_raw_handle(),
                class,
                buffer.as_mut_ptr().cast(),
                room,
                &raw mut length,
            )
        })
    }
}

/// The system's identifier as one of ours.
///
/// # Safety
/// `sid` has to point to an identifier, or be null.
pub(super) unsafe fn copy(sid: PSID) -> io::Result<Sid> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "not a security identifier");
    // SAFETY: by the caller's promise it may be read, unless it is null.
    if sid.is_null() || unsafe { IsValidSid(sid) } == 0 {
        return Err(invalid());
    }
    // SAFETY: it is valid, so it has as many bytes as it says itself.
    let bytes = unsafe { std::slice::from_raw_parts(sid.cast::<u8>(), GetLengthSid(sid) as usize) };
    Sid::from_bytes(bytes).ok_or_else(invalid)
}

/// Acts as somebody else until dropped. Only for a few lines without `await`, on one thread.
pub(crate) struct Impersonation(());

impl Impersonation {
    /// After `begin`, which has to make the calling thread impersonate.
    ///
    /// # Errors
    /// `begin`'s.
    pub(crate) fn begin(begin: impl FnOnce() -> io::Result<()>) -> io::Result<Self> {
        begin()?;
        Ok(Self(()))
    }
}

impl Drop for Impersonation {
    fn drop(&mut self) {
        // SAFETY: the function has no condition.
        if unsafe { RevertToSelf() } == 0 {
            // Whatever this thread did next it would do with a stranger's rights; the system's documentation
            // says to end the process.
            std::process::abort();
        }
    }
}

/// The users of the sessions that are in use now, at the computer's own screen or from afar. Only LocalSystem is told;
/// others are told nobody.
pub(crate) fn users_at_screens() -> Vec<Sid> {
    let mut sessions: *mut WTS_SESSION_INFOW = std::ptr::null_mut();
    let mut count = 0;
    // SAFETY: the function writes one pointer and one number; the pointer is freed below.
    let answer =
        unsafe { WTSEnumerateSessionsW(WTS_CURRENT_SERVER_HANDLE, 0, 1, &raw mut sessions, &raw mut count) };
    if answer == 0 || sessions.is_null() {
        return Vec::new();
    }
    // SAFETY: after success `sessions` points to `count` entries, which stay until they are freed.
    let list = unsafe { std::slice::from_raw_parts(sessions, count as usize) };
    let users = list
        .iter()
        .filter(|session| session.State == WTSActive)
        .filter_map(|session| {
            let mut handle = NOWHERE;
            // SAFETY: the function writes one handle to `handle`.
            succeeded(unsafe { WTSQueryUserToken(session.SessionId, &raw mut handle) }).ok()?;
            Token(owned(handle).ok()?).user().ok()
        })
        .collect();
    // SAFETY: the system gave the list, and nothing refers to it any more.
    unsafe { WTSFreeMemory(sessions.cast()) };
    users
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_user_and_known_rights() {
        let token = Token::of_this_process().unwrap();
        assert!(token.user().unwrap().to_string().starts_with("S-1-"));
        token.is_elevated().unwrap();
    }

    #[test]
    fn a_thread_that_impersonates_nobody_has_no_token() {
        assert!(Token::of_this_thread().is_err());
    }
}
