//! Waiting for something to become true, against what a player would put up with.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// A limit is this many times the felt deadline, so that a busy machine fails no test while a hang does.
pub const PATIENCE: u32 = 5;

/// How often a condition is looked at.
const EVERY: Duration = Duration::from_millis(50);

/// What a player expects to wait at most.
pub mod felt {
    use std::time::Duration;

    /// From the engine's start to its first answer.
    pub const START: Duration = Duration::from_secs(2);
    /// From `create` to an active party.
    pub const CREATE: Duration = Duration::from_secs(2);
    /// From `join` to a lease.
    pub const JOIN: Duration = Duration::from_secs(3);
    /// From a lease to living tunnels to everyone.
    pub const CONNECT: Duration = Duration::from_secs(3);
    /// From an event to its being told to those it concerns.
    pub const TOLD: Duration = Duration::from_secs(2);
    /// From `leave` or a stop to everything taken down.
    pub const LEAVE: Duration = Duration::from_secs(2);
    /// From an engine's or server's return to being back in the party.
    pub const RETURN: Duration = Duration::from_secs(6);
    /// From a peer's disappearance to its being shown as lost.
    pub const LOST: Duration = Duration::from_secs(12);
}

/// Looks every 50 ms whether `probe` holds. Returns how long it took and says so, with a hint when it took
/// longer than `felt`.
///
/// # Errors
/// When it does not hold within [`PATIENCE`] × `felt`: the message carries what `probe` last saw, its inner
/// error. An outer error of `probe` ends the waiting at once: something is seen that must never be.
pub fn eventually(
    what: &str,
    felt: Duration,
    mut probe: impl FnMut() -> Result<Result<(), String>>,
) -> Result<Duration> {
    let started = Instant::now();
    let limit = felt * PATIENCE;
    loop {
        let seen = match probe()? {
            Ok(()) => {
                let took = started.elapsed();
                let hint = if took > felt {
                    format!(", felt limit {felt:.1?}")
                } else {
                    String::new()
                };
                println!("{what}: {:.2} s{hint}", took.as_secs_f64());
                return Ok(took);
            }
            Err(seen) => seen,
        };
        if started.elapsed() > limit {
            bail!("{what}: not within {limit:?}; last seen: {seen}");
        }
        thread::sleep(EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_as_soon_as_it_holds() {
        let mut looks = 0;
        let took = eventually("third look", Duration::from_secs(5), || {
            looks += 1;
            Ok(if looks == 3 {
                Ok(())
            } else {
                Err("not yet".to_owned())
            })
        })
        .unwrap();
        assert_eq!(looks, 3);
        assert!(took < Duration::from_secs(2), "{took:?}");
    }

    #[test]
    fn what_must_never_be_ends_the_waiting() {
        let mut looks = 0;
        let result = eventually("never", Duration::from_secs(60), || {
            looks += 1;
            anyhow::bail!("seen")
        });
        assert_eq!((result.is_err(), looks), (true, 1));
    }

    #[test]
    fn a_wait_in_vain_says_what_was_seen() {
        let error = eventually("never", Duration::from_millis(10), || {
            Ok(Err("a closed door".to_owned()))
        })
        .unwrap_err()
        .to_string();
        assert!(
            error.contains("never") && error.contains("a closed door"),
            "{error}"
        );
    }
}
