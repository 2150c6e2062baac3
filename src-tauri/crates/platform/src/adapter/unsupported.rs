//! No adapter on this system.

use std::convert::Infallible;
use std::io;

use super::{AdapterConfig, AdapterError};
use crate::Unsupported;
use crate::poll::Handle;

/// Has no values: nothing can open one.
pub(super) struct Device(Infallible);

impl Device {
    pub(super) fn open(_: &AdapterConfig) -> Result<(Self, String), AdapterError> {
        Err(Unsupported {
            operation: "the network adapter",
        }
        .into())
    }

    pub(super) fn read(&self, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }

    pub(super) fn write(&self, _: &[u8]) -> io::Result<usize> {
        match self.0 {}
    }

    pub(super) fn handle(&self) -> Handle<'_> {
        match self.0 {}
    }

    #[cfg(unix)]
    pub(super) fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self.0 {}
    }
}

pub(super) fn is_gone(_: &io::Error) -> bool {
    true
}
