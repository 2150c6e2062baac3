//! How often something may happen: a token bucket that remembers a single instant (the generic cell rate algorithm
//! of ITU-T I.371).

use std::time::{Duration, Instant};

/// A rate and how much of it may come at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    each: Duration,
    burst: Duration,
}

/// How much of a pace is used up: until when it is spoken for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Used(Option<Instant>);

impl Pace {
    /// So many a second, and so many at once.
    pub(crate) const fn new(per_second: u32, burst: u32) -> Self {
        let each = Duration::from_nanos(1_000_000_000 / per_second as u64);
        Self {
            each,
            burst: Duration::from_nanos(1_000_000_000 / per_second as u64 * burst as u64),
        }
    }

    /// Whether `count` more may happen now; if so, they are counted.
    pub(crate) fn take(self, used: &mut Used, now: Instant, count: u32) -> bool {
        let until = used.0.map_or(now, |until| until.max(now)) + self.each * count;
        let fits = until.saturating_duration_since(now) <= self.burst;
        if fits {
            used.0 = Some(until);
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let (pace, mut used, start) = (Pace::new(10, 5), Used::default(), Instant::now());
        let passed = |used: &mut Used, now| (0..100).filter(|_| pace.take(used, now, 1)).count();
        assert_eq!(passed(&mut used, start), 5);
        assert_eq!(passed(&mut used, start + Duration::from_millis(99)), 0);
        assert_eq!(passed(&mut used, start + Duration::from_millis(300)), 3);
        assert_eq!(passed(&mut used, start + Duration::from_secs(60)), 5);
        assert!(
            !pace.take(&mut used, start + Duration::from_secs(120), 6),
            "more than fits at once"
        );
    }
}
