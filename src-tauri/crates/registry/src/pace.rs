//! How much in how short a time: token buckets, written as the time at which the bucket would be full again
//! (the generic cell rate algorithm, ITU-T I.371).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// So many at once, and so often after that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// How many may come at once.
    pub(crate) burst: u32,
    /// The time in which one more is earned.
    pub(crate) interval: Duration,
}

/// What to do about one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It fits.
    Within,
    /// It is refused.
    TooMany,
    /// It is refused, as were as many as a whole burst before it.
    Flood,
}

/// One bucket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    full_at: Instant,
}

impl Bucket {
    pub(crate) fn full(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes one. What is refused costs as well, so that who goes on regardless ends as a flood.
    pub(crate) fn take(&mut self, pace: Pace, now: Instant) -> Verdict {
        let burst = pace.interval.saturating_mul(pace.burst);
        let debt = self.full_at.max(now) - now + pace.interval;
        if debt > burst.saturating_mul(2) {
            return Verdict::Flood;
        }
        self.full_at = now + debt;
        if debt > burst {
            Verdict::TooMany
        } else {
            Verdict::Within
        }
    }
}

/// A bucket for each source that recently took from one: IPv4 addresses, IPv6 networks of 64 bits.
#[derive(Debug, Default)]
pub(crate) struct BySource {
    buckets: BTreeMap<IpAddr, Bucket>,
}

impl BySource {
    pub(crate) fn take(&mut self, pace: Pace, source: IpAddr, now: Instant) -> Verdict {
        self.buckets
            .entry(network(source))
            .or_insert(Bucket::full(now))
            .take(pace, now)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// Drops the buckets that are full again.
    pub(crate) fn prune(&mut self, now: Instant) {
        self.buckets.retain(|_, bucket| bucket.full_at > now);
    }
}

/// What one subscriber holds: an IPv6 host has its pick of 2⁶⁴ addresses.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let mut segments = v6.segments();
            segments[4..].fill(0);
            IpAddr::V6(segments.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        burst: 3,
        interval: Duration::from_secs(1),
    };

    #[test]
    fn a_burst_passes_and_then_one_an_interval() {
        let now = Instant::now();
        let mut bucket = Bucket::full(now);
        for _ in 0..3 {
            assert_eq!(bucket.take(PACE, now), Verdict::Within);
        }
        assert_eq!(bucket.take(PACE, now), Verdict::TooMany);
        let later = now + Duration::from_secs(2);
        assert_eq!(bucket.take(PACE, later), Verdict::Within);
        assert_eq!(bucket.take(PACE, later), Verdict::TooMany);
    }

    #[test]
    fn who_goes_on_regardless_is_a_flood() {
        let now = Instant::now();
        let mut bucket = Bucket::full(now);
        let verdicts: Vec<_> = (0..8).map(|_| bucket.take(PACE, now)).collect();
        assert_eq!(verdicts[3..6], [Verdict::TooMany; 3]);
        assert_eq!(verdicts[6..], [Verdict::Flood; 2]);
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_a_bucket() {
        let now = Instant::now();
        let mut buckets = BySource::default();
        for host in 1..=3 {
            let address = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, host]);
            assert_eq!(buckets.take(PACE, address, now), Verdict::Within);
        }
        let same = IpAddr::from([0x2001, 0xdb8, 0, 0, 9, 9, 9, 9]);
        let other = IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, 1]);
        assert_eq!(buckets.take(PACE, same, now), Verdict::TooMany);
        assert_eq!(buckets.take(PACE, other, now), Verdict::Within);
        buckets.prune(now + Duration::from_secs(60));
        assert!(buckets.buckets.is_empty());
    }
}
