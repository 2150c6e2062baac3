//! Security descriptors: who owns a thing and who may do what with it.

use std::fs::File;
use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle};
use std::ptr::null_mut;

use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, GetSecurityInfo, SDDL_REVISION_1, SE_FILE_OBJECT,
    SetSecurityInfo,
};
use windows_sys::Win32::Security::{
    ACL, DACL_SECURITY_INFORMATION, GetSecurityDescriptorDacl, OWNER_SECURITY_INFORMATION,
    PROTECTED_DACL_SECURITY_INFORMATION, SECURITY_ATTRIBUTES,
};

use super::token::{Token, copy};
use super::{Local, no_error, succeeded, wide};
use crate::sid::Sid;

/// A security descriptor of our own making.
pub(crate) struct Descriptor(Local);

impl Descriptor {
    /// From its text, in the security descriptor definition language.
    ///
    /// # Errors
    /// When the text is none.
    pub(crate) fn parse(text: &str) -> io::Result<Self> {
        let text = wide(text)?;
        let mut descriptor = null_mut();
        // SAFETY: `text` ends with a zero and outlives the call; the function writes one pointer, which `Local`
        // frees the way it says.
        succeeded(unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &raw mut descriptor,
                null_mut(),
            )
        })?;
        Ok(Self(Local(descriptor)))
    }

    /// For a file that is nobody else's business: this process's user, LocalSystem and administrators alone, whatever
    /// its directory would hand down.
    pub(crate) fn private_file() -> io::Result<Self> {
        let own = Token::of_this_process()?.user()?;
        Self::parse(&format!("D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;{own})"))
    }

    /// The same for a directory and for what is made in it.
    pub(crate) fn private_directory() -> io::Result<Self> {
        let own = Token::of_this_process()?.user()?;
        Self::parse(&format!("D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;{own})"))
    }

    /// For functions that create something. What they are given points into `self`.
    pub(crate) fn attributes(&self) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).unwrap_or(0),
            lpSecurityDescriptor: self.0.0,
            bInheritHandle: 0,
        }
    }

    /// Gives the file this descriptor's rules instead of its own and of those its directory hands down. The file has
    /// to be open with the right to write them.
    pub(crate) fn protect(&self, file: &File) -> io::Result<()> {
        let (mut present, mut defaulted) = (0, 0);
        let mut list: *mut ACL = null_mut();
        // SAFETY: the descriptor is alive and one of the system's; the function writes to the three variables.
        succeeded(unsafe {
            GetSecurityDescriptorDacl(self.0.0, &raw mut present, &raw mut list, &raw mut defaulted)
        })?;
        // SAFETY: the file is open; `list` points into the descriptor, which outlives the call. The null pointers
        // are for parts that are not set.
        no_error(unsafe {
            SetSecurityInfo(
                file.as_raw_handle(),
                SE_FILE_OBJECT,
                DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION,
                null_mut(),
                null_mut(),
                list,
                null_mut(),
            )
        })
    }
}

/// The owner of an open file, directory or pipe.
///
/// # Errors
/// When it was opened without the right to ask.
pub(crate) fn owner(of: &impl AsHandle) -> io::Result<Sid> {
    let (mut owner, mut descriptor) = (null_mut(), null_mut());
    // SAFETY: the handle is open for the call; the function writes two pointers, of which `owner` points into
    // `descriptor`.
    no_error(unsafe {
        GetSecurityInfo(
            of.as_handle().as_raw_handle(),
            SE_FILE_OBJECT,
            OWNER_SECURITY_INFORMATION,
            &raw mut owner,
            null_mut(),
            null_mut(),
            null_mut(),
            &raw mut descriptor,
        )
    })?;
    let _descriptor = Local(descriptor);
    // SAFETY: `owner` points into the descriptor, which is freed after this.
    unsafe { copy(owner) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_descriptor_is_refused() {
        assert!(Descriptor::parse("D:P(A;;FA;;;SY)").is_ok());
        assert!(Descriptor::parse("nonsense").is_err());
    }

    #[test]
    fn files_belong_to_us_or_to_administrators() {
        let file = tempfile::tempfile().unwrap();
        let own = Token::of_this_process().unwrap().user().unwrap();
        let owner = owner(&file).unwrap();
        assert!(owner == own || owner.is_systems_own(), "{owner}");
    }
}
