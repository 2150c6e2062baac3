//! How much in how short a time: buckets written as the time at which they would be full again (the generic cell
//! rate algorithm, ITU-T I.371).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// So much at once, and so much a second after that. Requests or bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Units each second; 0 is no limit.
    pub each_second: u64,
    /// Units that may come at once.
    pub burst: u64,
}

impl Pace {
    /// No limit.
    pub const UNLIMITED: Self = Self {
        each_second: 0,
        burst: 0,
    };

    /// So many bytes a second, and as much as comes in a quarter of one at once, so that a game's map is not cut
    /// at the first burst.
    pub const fn bytes(each_second: u64) -> Self {
        let quarter = each_second / 4;
        Self {
            each_second,
            burst: if quarter < 1 << 17 { 1 << 17 } else { quarter },
        }
    }

    fn nanoseconds(self, units: u64) -> u64 {
        let wide = u128::from(units) * 1_000_000_000 / u128::from(self.each_second.max(1));
        u64::try_from(wide).unwrap_or(u64::MAX)
    }

    /// Takes from a bucket that is full again at `full_at` (nanoseconds on any clock); none when it is empty.
    fn take(self, full_at: u64, now: u64, units: u64) -> Option<u64> {
        if self.each_second == 0 {
            return Some(full_at);
        }
        let after = full_at.max(now).saturating_add(self.nanoseconds(units));
        (after - now <= self.nanoseconds(self.burst)).then_some(after)
    }
}

/// One bucket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    start: Instant,
    full_at: u64,
}

impl Bucket {
    pub(crate) fn full(now: Instant) -> Self {
        Self {
            start: now,
            full_at: 0,
        }
    }

    /// Takes so much, or nothing when there is not enough.
    pub(crate) fn take(&mut self, pace: Pace, now: Instant, units: u64) -> bool {
        let now = nanoseconds(now.saturating_duration_since(self.start));
        match pace.take(self.full_at, now, units) {
            Some(full_at) => {
                self.full_at = full_at;
                true
            }
            None => false,
        }
    }
}

/// Buckets for all sources there are, in a table that never grows. Sources that share a place share its bucket;
/// which do, nobody outside can tell.
pub(crate) struct BySource {
    key: [u8; 16],
    start: Instant,
    places: Box<[u64]>,
}

/// Places in the table: half a MiB.
const PLACES: usize = 1 << 16;

impl std::fmt::Debug for BySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BySource")
    }
}

impl BySource {
    pub(crate) fn new(key: [u8; 16], now: Instant) -> Self {
        Self {
            key,
            start: now,
            places: vec![0; PLACES].into_boxed_slice(),
        }
    }

    /// Takes one of a source.
    pub(crate) fn take(&mut self, pace: Pace, now: Instant, source: IpAddr) -> bool {
        let mut hasher = DefaultHasher::new();
        self.key.hash(&mut hasher);
        network(source).hash(&mut hasher);
        // The remainder is below PLACES.
        let place = (hasher.finish() % PLACES as u64) as usize;
        let now = nanoseconds(now.saturating_duration_since(self.start));
        match pace.take(self.places[place], now, 1) {
            Some(full_at) => {
                self.places[place] = full_at;
                true
            }
            None => false,
        }
    }
}

/// Good for 584 years.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What one subscriber, or one attacker, holds at least: a network of 24 bits (IPv4) or 64 bits (IPv6).
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            IpAddr::from([a, b, c, 0])
        }
        IpAddr::V6(v6) => {
            let mut segments = v6.segments();
            segments[4..].fill(0);
            IpAddr::from(segments)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        each_second: 10,
        burst: 5,
    };

    #[test]
    fn a_burst_passes_and_then_so_much_a_second() {
        let now = Instant::now();
        let mut bucket = Bucket::full(now);
        assert!(!bucket.take(PACE, now, 6));
        assert!(bucket.take(PACE, now, 5));
        assert!(!bucket.take(PACE, now, 1));
        let later = now + Duration::from_millis(200);
        assert!(bucket.take(PACE, later, 2));
        assert!(!bucket.take(PACE, later, 1));
    }

    #[test]
    fn what_is_refused_costs_nothing() {
        let now = Instant::now();
        let mut bucket = Bucket::full(now);
        for _ in 0..100 {
            assert!(!bucket.take(PACE, now, 6));
        }
        assert!(bucket.take(PACE, now, 5));
    }

    #[test]
    fn no_limit_is_none() {
        let now = Instant::now();
        let mut bucket = Bucket::full(now);
        assert!((0..1000).all(|_| bucket.take(Pace::UNLIMITED, now, u64::MAX)));
    }

    #[test]
    fn a_source_is_a_network() {
        let now = Instant::now();
        let mut sources = BySource::new([7; 16], now);
        for host in 0..5 {
            assert!(sources.take(PACE, now, IpAddr::from([198, 51, 100, host])));
        }
        assert!(!sources.take(PACE, now, IpAddr::from([198, 51, 100, 200])));
        assert!(sources.take(PACE, now, IpAddr::from([198, 51, 101, 1])));
        let v6 = |network, host| IpAddr::from([0x2001, 0xdb8, 0, network, 0, 0, 0, host]);
        for host in 0..5 {
            assert!(sources.take(PACE, now, v6(1, host)));
        }
        assert!(!sources.take(PACE, now, v6(1, 99)));
        assert!(sources.take(PACE, now, v6(2, 99)));
    }
}
