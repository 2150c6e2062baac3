//! How the connection to a peer stands.

use lanrage_proto::ipc::PeerTrouble;
use std::time::{Duration, Instant};

/// A lost or failed peer is tried anew after this long, doubled each time …
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// … up to this.
const SLOWEST_RETRY: Duration = Duration::from_secs(30);

/// How the connection is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum State {
    Connecting { since: Instant },
    Connected,
    Degraded { trouble: PeerTrouble },
    Failed(Retry),
    Lost(Retry),
}

#[derive(Debug, Clone, Copy, PartialEq)]
/// When a peer without a connection is tried anew.
pub(crate) struct Retry {
    pub(crate) at: Instant,
    pause: Duration,
}

impl Retry {
    pub(crate) fn first(now: Instant) -> Self {
        Self {
            at: now,
            pause: FIRST_RETRY,
        }
    }

    /// Whether it is time; sets the next time.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        if now < self.at {
            return false;
        }
        self.at = now + self.pause;
        self.pause = (self.pause * 2).min(SLOWEST_RETRY);
        true
    }
}

impl State {
    /// Whether packets get through, well or badly.
    pub(crate) fn flows(&self) -> bool {
        match self {
            State::Connected => true,
            State::Degraded { trouble } => *trouble != PeerTrouble::Silent,
            State::Connecting { .. } | State::Failed(_) | State::Lost(_) => false,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            State::Connecting { .. } => "connecting",
            State::Connected => "connected",
            State::Degraded { .. } => "degraded",
            State::Failed(_) => "failed",
            State::Lost(_) => "lost",
        }
    }
}

/// A connection's trouble in a word, for logs and transcripts.
pub(crate) fn word(trouble: PeerTrouble) -> &'static str {
    match trouble {
        PeerTrouble::Loss => "loss",
        PeerTrouble::Jitter => "jitter",
        PeerTrouble::Delay => "delay",
        PeerTrouble::Silent => "silent",
        PeerTrouble::Unreachable => "unreachable",
        PeerTrouble::NoRelay => "no relay",
    }
}
