//! Word of changes by looking every two seconds, for systems whose own notices are not used.

use std::io;
use std::time::Duration;

use super::{HostAddress, addresses};

const INTERVAL: Duration = Duration::from_secs(2);

/// Tells when addresses of the host have changed, without telling what: the listener looks again at
/// [`addresses`](super::addresses) and [`conflicts`](crate::routes::conflicts).
#[derive(Debug)]
pub struct Watcher {
    known: Vec<HostAddress>,
}

impl Watcher {
    /// Watches from now on.
    ///
    /// # Errors
    /// When the system won't list its addresses.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            known: addresses(None)?,
        })
    }

    /// Waits for the next change. Safe to cancel: a change that was missed is told by the next call.
    ///
    /// # Errors
    /// When the system won't list its addresses any more.
    pub async fn changed(&mut self) -> io::Result<()> {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let now = addresses(None)?;
            if now != self.known {
                self.known = now;
                return Ok(());
            }
        }
    }
}
