//! Noticing that the computer slept, or that this process was not allowed to run for long.
//!
//! No system tells every program in the same way, and some tell too late. So two clocks are compared: on Linux the one
//! that stands still while the system is suspended with the one that goes on (clock_gettime(2)); elsewhere the time of
//! day with the clock by which programs wait. Where both go on, the time between two looks tells.

use std::time::{Duration, Instant};

/// A gap below this is ordinary: a busy processor, a step of the time of day.
const GAP: Duration = Duration::from_secs(3);

/// Compares clocks from one look to the next.
#[derive(Debug)]
pub struct SleepWatch {
    looked: Instant,
    /// How far the clock that goes on is ahead.
    ahead: Duration,
}

impl SleepWatch {
    /// Watches from now on.
    pub fn new() -> Self {
        Self {
            looked: Instant::now(),
            ahead: ahead(),
        }
    }

    /// For how long the computer slept, or this process stood still, since the last look, which should be about a second
    /// ago; `None` when it did not.
    pub fn look(&mut self) -> Option<Duration> {
        let (now, ahead) = (Instant::now(), ahead());
        let slept = ahead.saturating_sub(self.ahead);
        let stood = now.saturating_duration_since(self.looked);
        (self.looked, self.ahead) = (now, ahead);
        let missed = slept.max(stood);
        (missed >= GAP).then_some(missed)
    }
}

impl Default for SleepWatch {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn ahead() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let read = |clock| {
        let time = clock_gettime(clock);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
        Duration::new(seconds, nanos)
    };
    // In this order a pause between the two readings makes the difference smaller, never a sleep.
    let boot = read(ClockId::Boottime);
    boot.saturating_sub(read(ClockId::Monotonic))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn ahead() -> Duration {
    use std::sync::OnceLock;
    use std::time::SystemTime;
    static START: OnceLock<Instant> = OnceLock::new();
    let day = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    day.saturating_sub(START.get_or_init(Instant::now).elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_awake_did_not_sleep() {
        let mut watch = SleepWatch::new();
        assert_eq!(watch.look(), None);
        assert_eq!(watch.look(), None);
    }

    #[test]
    fn a_clock_that_ran_on_tells_of_sleep_and_a_late_look_of_standing_still() {
        let mut watch = SleepWatch::new();
        watch.ahead = watch.ahead.saturating_sub(Duration::from_secs(60));
        if let Some(slept) = watch.look() {
            assert!(slept >= GAP && slept <= Duration::from_secs(61), "{slept:?}");
        } else {
            // A computer that was never suspended has nothing to take away from.
            assert!(watch.ahead < GAP);
        }
        watch.looked = watch.looked.checked_sub(Duration::from_secs(10)).unwrap();
        assert!(watch.look().unwrap() >= Duration::from_secs(10));
        assert_eq!(watch.look(), None);
    }
}
