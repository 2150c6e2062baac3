//! One Binding request and its repetitions.

use super::surroundings::Surroundings;
use crate::stun::{Change, TransactionId};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The pauses after each try (RFC 8489 §6.2.1: 500 ms at first, doubled each time). Four tries instead of seven, as
/// somebody waits for the result: 5.5 s in all.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_millis(1000),
    Duration::from_millis(2000),
    Duration::from_millis(2000),
];

/// The pauses where players wait for the answer, and a wrong silence costs no more than asking others as well.
const HURRIED: [Duration; 3] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(750),
];

/// What time brought a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It goes on.
    Waits,
    /// It was repeated often enough.
    GaveUp,
}

/// A request that waits for its answer.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) id: TransactionId,
    pauses: &'static [Duration],
    tries: usize,
    sent: Instant,
}

impl Pending {
    /// Asks for the first time.
    pub(super) fn ask(now: Instant, to: SocketAddr, cx: &mut Surroundings<'_>) -> Self {
        let id = cx.draw();
        cx.ask(now, to, id, Change::Nothing);
        Self {
            id,
            pauses: &PAUSES,
            tries: 1,
            sent: now,
        }
    }

    /// As [`Pending::ask`], in a hurry.
    pub(super) fn ask_soon(now: Instant, to: SocketAddr, cx: &mut Surroundings<'_>) -> Self {
        Self {
            pauses: &HURRIED,
            ..Self::ask(now, to, cx)
        }
    }

    pub(super) fn wake(&mut self, now: Instant, to: SocketAddr, cx: &mut Surroundings<'_>) -> Turn {
        if now < self.next_wake() {
            return Turn::Waits;
        }
        if self.tries >= self.pauses.len() {
            return Turn::GaveUp;
        }
        self.tries += 1;
        self.sent = now;
        cx.ask(now, to, self.id, Change::Nothing);
        Turn::Waits
    }

    pub(super) fn next_wake(&self) -> Instant {
        let pause = self.pauses.get(self.tries - 1).or(self.pauses.last());
        self.sent + pause.copied().unwrap_or_default()
    }

    /// The round-trip time, were this the answer to the last try. After a repetition that is a guess at the short
    /// side; it only sets the pace of what follows.
    pub(super) fn rtt(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.sent)
    }
}
