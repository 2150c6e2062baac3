//! Files by access control list and owner.

#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::FromRawHandle;
use std::path::Path;
use std::ptr::null_mut;

use windows_sys::Win32::Foundation::{GENERIC_READ, GENERIC_WRITE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Storage::FileSystem::{
    CREATE_NEW, CreateDirectoryW, CreateFileW, FILE_ATTRIBUTE_NORMAL, FILE_FLAG_BACKUP_SEMANTICS,
    FILE_FLAG_OPEN_REPARSE_POINT, READ_CONTROL, WRITE_DAC,
};

use super::{FileError, PRIVATE, failed};
use crate::rights::effective_uid;
use crate::windows::descriptor::{Descriptor, owner};
use crate::windows::{succeeded, wide};

/// For reading, and for changing who else may; symbolic links are not followed.
pub(super) fn open_private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .access_mode(GENERIC_READ | READ_CONTROL | WRITE_DAC)
        .custom_flags(FILE_FLAG_OPEN_REPARSE_POINT)
        .open(path)?;
    if file.metadata()?.file_type().is_symlink() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a symbolic link"));
    }
    Ok(file)
}

pub(super) fn make_private(file: &File, path: &Path) -> Result<(), FileError> {
    refuse_foreign(file, path)?;
    // Whatever rules it had: to compare them would take more than to set them.
    Descriptor::private_file()
        .and_then(|descriptor| descriptor.protect(file))
        .map_err(failed("protecting", path))
}

/// Administrators and LocalSystem can do what they like anyhow; anyone else but us could have written the content.
fn refuse_foreign(file: &File, path: &Path) -> Result<(), FileError> {
    let owner = owner(file).map_err(failed("reading", path))?;
    if owner.is_systems_own() || Some(owner.number()) == effective_uid() {
        return Ok(());
    }
    Err(FileError::Foreign {
        path: path.to_path_buf(),
        owner: owner.number(),
    })
}

pub(super) fn create_private_dir(path: &Path) -> Result<(), FileError> {
    let create = || -> io::Result<()> {
        let descriptor = Descriptor::private_directory()?;
        let (name, attributes) = (wide(path)?, descriptor.attributes());
        // SAFETY: `name` ends with a zero, and the attributes point into `descriptor`; both outlive the call.
        succeeded(unsafe { CreateDirectoryW(name.as_ptr(), &raw const attributes) })
    };
    let mut created = create();
    if created
        .as_ref()
        .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        && let Some(parent) = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty() && !parent.exists())
    {
        create_private_dir(parent)?;
        created = create();
    }
    match created {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {
            let directory = OpenOptions::new()
                .access_mode(READ_CONTROL)
                .custom_flags(FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT)
                .open(path)
                .map_err(failed("reading", path))?;
            refuse_foreign(&directory, path)
        }
        created => created.map_err(failed("creating", path)),
    }
}

/// For writing. Its rules are there from its making: set later, they would not close what others opened before.
pub(super) fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    if mode != PRIVATE {
        return OpenOptions::new().write(true).create_new(true).open(path);
    }
    let descriptor = Descriptor::private_file()?;
    let (name, attributes) = (wide(path)?, descriptor.attributes());
    // SAFETY: `name` ends with a zero, and the attributes point into `descriptor`; both outlive the call. There is no
    // template.
    let handle = unsafe {
        CreateFileW(
            name.as_ptr(),
            GENERIC_WRITE,
            0,
            &raw const attributes,
            CREATE_NEW,
            FILE_ATTRIBUTE_NORMAL,
            null_mut(),
        )
    };
    if handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was opened just now and is nobody else's.
    Ok(unsafe { File::from_raw_handle(handle) })
}

/// Directories can't be synchronised here; the rename is journalled by the file system.
pub(super) fn sync_directory_of(_: &Path) -> io::Result<()> {
    Ok(())
}
