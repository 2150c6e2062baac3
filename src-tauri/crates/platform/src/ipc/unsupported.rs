//! No local socket on this system.

use std::convert::Infallible;
use std::io;
use std::path::Path;

use super::IpcError;
use crate::Unsupported;
use crate::caller::Caller;

/// Never made; a type that can be read and written.
pub(super) type Stream = tokio::io::DuplexStream;

/// Has no values: nothing can make one.
#[derive(Debug)]
pub(super) struct Listener(Infallible);

impl Listener {
    pub(super) fn bind(_: &Path) -> Result<Self, IpcError> {
        Err(Unsupported {
            operation: "the engine's local socket",
        }
        .into())
    }

    pub(super) async fn accept(&self) -> io::Result<(Stream, Caller)> {
        match self.0 {}
    }
}

pub(super) async fn connect(_: &Path) -> Result<Stream, IpcError> {
    Err(Unsupported {
        operation: "the engine's local socket",
    }
    .into())
}
