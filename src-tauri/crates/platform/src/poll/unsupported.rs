//! No waiting on several sources on this system.

use std::convert::Infallible;
use std::io;
use std::marker::PhantomData;
use std::time::Duration;

use super::{Ready, Source};
use crate::Unsupported;

/// What the system calls a source: nothing here.
#[derive(Debug, Clone, Copy)]
pub struct Handle<'a>(PhantomData<&'a ()>);

impl Source for std::net::UdpSocket {
    fn handle(&self) -> Handle<'_> {
        Handle(PhantomData)
    }
}

/// Has no values: nothing can make one.
#[derive(Debug, Clone)]
pub struct Waker(Infallible);

impl Waker {
    /// Always fails.
    ///
    /// # Errors
    /// [`Unsupported`].
    pub fn new() -> io::Result<Self> {
        Err(Unsupported {
            operation: "waiting for packets",
        }
        .into())
    }

    /// Can't be reached.
    pub fn wake(&self) {
        match self.0 {}
    }

    /// Can't be reached.
    pub fn clear(&self) {
        match self.0 {}
    }
}

impl Source for Waker {
    fn handle(&self) -> Handle<'_> {
        match self.0 {}
    }
}

pub(super) fn wait(_: &[Handle<'_>], _: Option<Duration>) -> io::Result<Ready> {
    Err(Unsupported {
        operation: "waiting for packets",
    }
    .into())
}
