//! A way that may lead to a peer: what is known of it, and when it is probed.

use lanrage_proto::ipc::PathKind;
use std::time::{Duration, Instant};

/// When the first probes of a candidate go out, counted from its start: five, then silence.
pub(super) const BURST: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(700),
    Duration::from_millis(1500),
];
/// A candidate that never answered is tried once more this often.
const SLOW: Duration = Duration::from_secs(10);
/// Probes on the path in use: they carry the ping that players see and keep NAT bindings alive.
pub(super) const ON_CHOSEN: Duration = Duration::from_secs(1);
/// Who is pinged next within this time is pinged together with others that are now: one waking serves several.
pub(super) const TOGETHER: Duration = Duration::from_millis(500);
/// Probes on other valid paths, so that a switch finds them measured.
pub(super) const ON_SPARE: Duration = Duration::from_secs(5);

/// How good a path can be; less is better, whatever its round-trip time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tier {
    /// Within one local network.
    Lan,
    /// Straight across the internet.
    Direct,
    /// Through one relay, ours or the peer's.
    Relay,
    /// Through both: where neither side gets a datagram to the other's relay by itself.
    TwoRelays,
}

impl Tier {
    /// As players see it.
    pub(crate) fn kind(self) -> PathKind {
        match self {
            Tier::Lan => PathKind::Lan,
            Tier::Direct => PathKind::Direct,
            Tier::Relay | Tier::TwoRelays => PathKind::Relayed,
        }
    }
}

/// Where a candidate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// From the peer's record or call.
    Told,
    /// A probe of the peer came from there.
    PeerReflexive,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) source: Source,
    pub(super) tier: Tier,
    /// The peer named it once and does so no longer: it will end, so others are preferred.
    pub(super) dropped: bool,
    /// Probes sent since the start or the last pong.
    pub(super) unanswered: u32,
    /// New starts since the last pong because the peer was heard.
    pub(super) revivals: u32,
    pub(super) started: Instant,
    pub(super) next_probe: Instant,
    pub(super) valid: Option<Valid>,
    /// Probes sent and answered in all.
    pub(super) tally: (u32, u32),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Valid {
    /// Smoothed, and its mean deviation, as in RFC 6298.
    pub(super) rtt: Duration,
    pub(super) deviation: Duration,
    pub(super) last_pong: Instant,
    /// When the newest ping that was answered had been sent.
    pub(super) proven: Instant,
}

impl Candidate {
    pub(super) fn new(now: Instant, source: Source, tier: Tier) -> Self {
        Self {
            source,
            tier,
            dropped: false,
            unanswered: 0,
            revivals: 0,
            started: now,
            next_probe: now,
            valid: None,
            tally: (0, 0),
        }
    }

    /// A relayed address that the peer no longer names is one that its relay will take from it.
    pub(super) fn is_ending(&self) -> bool {
        self.dropped && self.tier >= Tier::Relay
    }

    /// Whether its last ping was answered, and it has nothing to show anew.
    pub(super) fn is_steady(&self) -> bool {
        self.unanswered == 0 && self.valid.is_some_and(|valid| valid.proven >= self.started)
    }

    pub(super) fn restart(&mut self, now: Instant) {
        self.unanswered = 0;
        self.started = now;
        self.next_probe = now;
    }

    /// Sets when the next probe is due, one going out now: soon on the path in use and where a switch is near. What has to
    /// show anew that it carries is asked as often as what never did: its first ping may have come too early.
    pub(super) fn probed(&mut self, now: Instant, pace: Pace) {
        self.unanswered += 1;
        self.tally.0 += 1;
        let burst = BURST.get(self.unanswered as usize);
        let burst = burst.map(|after| (self.started + *after).max(now + BURST[1]));
        let is_proven = self.valid.is_some_and(|valid| valid.proven >= self.started);
        self.next_probe = match (pace, self.valid, burst) {
            (Pace::Chosen, Some(_), _) => now + ON_CHOSEN,
            (Pace::Chosen | Pace::Near | Pace::Spare, _, Some(burst)) if !is_proven => burst,
            (Pace::Near, Some(_), _) => now + ON_CHOSEN,
            (Pace::Spare, Some(_), _) => now + ON_SPARE,
            (Pace::Chosen | Pace::Near | Pace::Spare, None, _) => now + SLOW,
        };
    }
}

/// What a way is to the peer at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// The path in use.
    Chosen,
    /// A switch to it is near.
    Near,
    /// None of these.
    Spare,
}
