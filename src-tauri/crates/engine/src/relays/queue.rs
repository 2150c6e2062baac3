//! What waits to be sent by a relay: a short queue that drops its oldest, because a late game packet is worth less
//! than the next one.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// Datagrams; at a game's 60 a second, from a few seconds of silence at most a quarter survives.
const ROOM: usize = 256;

/// Datagrams on their way to a relay.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<VecDeque<(SocketAddr, Vec<u8>)>>,
    filled: Notify,
}

impl Queue {
    /// Adds one, from any thread.
    pub(crate) fn push(&self, to: SocketAddr, datagram: &[u8]) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= ROOM {
            waiting.pop_front();
        }
        waiting.push_back((to, datagram.to_vec()));
        drop(waiting);
        self.filled.notify_one();
    }

    /// Takes the oldest that waits.
    pub(super) fn take(&self) -> Option<(SocketAddr, Vec<u8>)> {
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }

    /// Waits until something may be there. Safe to cancel.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_survive() {
        let queue = Queue::default();
        let to = "192.0.2.1:1024".parse().unwrap();
        for n in 0..=ROOM {
            queue.push(to, &n.to_le_bytes());
        }
        let (_, first) = queue.take().unwrap();
        assert_eq!(first, 1usize.to_le_bytes());
        assert_eq!(std::iter::from_fn(|| queue.take()).count(), ROOM - 1);
    }
}
