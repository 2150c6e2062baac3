//! No capture without a kernel driver here.

use std::io;

use super::Own;
use crate::poll::Handle;

/// There is none.
#[derive(Debug)]
pub(super) enum Socket {}

impl Socket {
    pub(super) fn open(_own: &[Own], _except: u32) -> io::Result<Self> {
        Err(crate::Unsupported {
            operation: "capturing broadcasts",
        }
        .into())
    }

    pub(super) fn read(&self, _buffer: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(super) fn handle(&self) -> Handle<'_> {
        match *self {}
    }
}
