//! When the process may open no more files or sockets.

use lanrage_platform::rights::is_out_of_files;
use lanrage_proto::{Fault, FaultCode};
use std::fs::File;
use std::io;
use std::path::PathBuf;

/// The fault of a failed system call: `too_many_files` where that is the reason, else the one given.
pub(crate) fn fault_of(error: &io::Error, otherwise: Fault) -> Fault {
    if is_out_of_files(error) {
        FaultCode::TooManyFiles.into()
    } else {
        otherwise
    }
}

/// So many files an engine in a party may want at once: log, sockets, adapter, control plane, some clients.
const WANTED: usize = 64;

/// Checks at the start that there is room for what an engine does. Where there is none, later failures would come in
/// the middle of things, and some libraries take them for impossible.
///
/// # Errors
/// `too_many_files`.
pub(crate) fn check_room() -> Result<(), Fault> {
    let Some(path) = openable() else { return Ok(()) };
    let opened: io::Result<Vec<File>> = (0..WANTED).map(|_| File::open(&path)).collect();
    match opened {
        Err(error) if is_out_of_files(&error) => Err(FaultCode::TooManyFiles.into()),
        // Where there is no such file, there is no telling.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// How many of so many files could be opened and still leave room for what an engine does.
pub(crate) fn room_for(files: usize) -> usize {
    // Where there is no such file, there is no telling.
    let Some(path) = openable() else { return files };
    let mut opened = Vec::new();
    while opened.len() < files + WANTED {
        match File::open(&path) {
            Ok(file) => opened.push(file),
            Err(error) if is_out_of_files(&error) => return opened.len().saturating_sub(WANTED),
            Err(_) => return files,
        }
    }
    files
}

/// A file that anybody may open, where the system has one.
fn openable() -> Option<PathBuf> {
    cfg!(unix).then(|| PathBuf::from("/dev/null"))
}

/// A file that is kept open only to be closed when no more can be opened: then one caller after the other can still
/// be let in and told so.
#[derive(Debug)]
pub(crate) struct Spare {
    path: Option<PathBuf>,
    file: Option<File>,
}

impl Spare {
    /// One that is kept open.
    pub(crate) fn new() -> Self {
        let (path, file) = (openable(), None);
        let mut spare = Self { path, file };
        spare.keep();
        spare
    }

    /// Makes room for one file.
    pub(crate) fn give(&mut self) {
        self.file = None;
    }

    /// Takes the room back. Whether there is more than that again.
    pub(crate) fn keep(&mut self) -> bool {
        let Some(path) = &self.path else { return true };
        if self.file.is_none() {
            self.file = File::open(path).ok();
        }
        self.file.is_some() && File::open(path).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_out_of_files_has_its_own_fault() {
        let other = || Fault::new(FaultCode::SocketFailed);
        // EMFILE and ENFILE have these numbers on every Unix.
        #[cfg(unix)]
        for number in [24, 23] {
            let error = io::Error::from_raw_os_error(number);
            assert_eq!(fault_of(&error, other()).code, FaultCode::TooManyFiles);
        }
        assert_eq!(fault_of(&io::ErrorKind::AddrInUse.into(), other()), other());
    }

    #[test]
    fn the_spare_file_is_kept_and_given() {
        let mut spare = Spare::new();
        assert!(spare.keep());
        spare.give();
        assert!(spare.file.is_none() && spare.keep());
        assert_eq!(spare.file.is_some(), cfg!(unix));
    }
}
