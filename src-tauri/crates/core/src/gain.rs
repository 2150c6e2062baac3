//! Whether another path is worth a switch, and whether a switch between relays was.
//!
//! A way past a relay is taken at once, as everybody waits for it; within a kind only a clear gain that lasts counts.
//! Between relays the bar is higher: a relay's round-trip time says little about how it carries a game, and both sides
//! have to follow. So the gain has to show again on the new relay while both are measured, or the old one is taken
//! back.

use crate::coordinator::Tier;
use std::time::Duration;

/// Another path must be better by this share and this much …
const BETTER_SHARE: f64 = 0.2;
/// … (the much) …
const BETTER_BY: Duration = Duration::from_millis(5);
/// … for this long before it is switched to.
const BETTER_FOR: Duration = Duration::from_secs(3);
/// Another relay must be better by this share and this much …
const RELAY_SHARE: f64 = 0.3;
/// … (the much) …
const RELAY_BY: Duration = Duration::from_millis(15);
/// … for this long.
const RELAY_FOR: Duration = Duration::from_secs(10);
/// A direct path may take this many times as long as the relayed one and is still preferred at once: it does not end
/// when a relay does, and costs nobody anything.
const LEAVING_RELAY: f64 = 1.5;
/// How long both relays are measured after a switch.
pub(crate) const TRIAL: Duration = Duration::from_secs(10);
/// Answers without which a relay has shown no gain: half of what a trial asks for.
const TRIAL_ANSWERS: u32 = 5;

/// What another path offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gain {
    /// Nothing that a switch would be worth.
    Nothing,
    /// Enough, if it lasts this long.
    After(Duration),
    /// It is taken now.
    AtOnce,
}

impl Gain {
    /// Of another path (its tier and round-trip time) over the one in use. `noise` is how far the two times deviate
    /// from their means: a smaller difference is one of chance.
    pub(crate) fn of(
        (tier, rtt): (Tier, Duration),
        (used_tier, used): (Tier, Duration),
        noise: Duration,
    ) -> Self {
        let better =
            |share: f64, much: Duration| used.mul_f64(1.0 - share) > rtt && rtt + much.max(noise) <= used;
        let not_worse = rtt <= used + BETTER_BY;
        match (used_tier, tier) {
            // A second relay is paid for by everybody and ends when either does.
            (Tier::TwoRelays, Tier::Lan | Tier::Direct | Tier::Relay) => Gain::AtOnce,
            (Tier::Relay, Tier::Lan | Tier::Direct) if rtt <= used.mul_f64(LEAVING_RELAY) + BETTER_BY => {
                Gain::AtOnce
            }
            (Tier::Relay, Tier::Relay) | (Tier::TwoRelays, Tier::TwoRelays)
                if better(RELAY_SHARE, RELAY_BY) =>
            {
                Gain::After(RELAY_FOR)
            }
            (Tier::Direct, Tier::Lan) if not_worse => Gain::After(BETTER_FOR),
            (Tier::Lan, Tier::Lan) | (Tier::Direct, Tier::Direct) if better(BETTER_SHARE, BETTER_BY) => {
                Gain::After(BETTER_FOR)
            }
            (Tier::Lan | Tier::Direct | Tier::Relay | Tier::TwoRelays, _) => Gain::Nothing,
        }
    }
}

/// Answers of one path while it is tried.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Measured {
    answers: u32,
    sum: Duration,
}

impl Measured {
    /// An answer came after so long.
    pub(crate) fn answer(&mut self, rtt: Duration) {
        self.answers += 1;
        self.sum += rtt;
    }

    fn mean(&self) -> Option<Duration> {
        (self.answers >= TRIAL_ANSWERS).then(|| self.sum / self.answers)
    }
}

/// Whether the relay switched to has shown on trial that it is better. One that hardly answered has not; where the one
/// before hardly did there is nothing to go back to.
pub(crate) fn was_worth_it(new: Measured, before: Measured) -> bool {
    match (new.mean(), before.mean()) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(new), Some(before)) => before.mul_f64(1.0 - BETTER_SHARE) > new && new + BETTER_BY <= before,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// Of a path of this tier and time over one of that, both steady.
    fn gain(other: (Tier, u64), used: (Tier, u64)) -> Gain {
        Gain::of((other.0, ms(other.1)), (used.0, ms(used.1)), Duration::ZERO)
    }

    #[test]
    fn another_relay_has_to_be_better_by_a_third_and_by_15_ms() {
        let relay = |other, used| gain((Tier::Relay, other), (Tier::Relay, used));
        assert_eq!(relay(69, 100), Gain::After(RELAY_FOR));
        assert_eq!(relay(71, 100), Gain::Nothing, "29 %");
        assert_eq!(relay(16, 30), Gain::Nothing, "14 ms");
        assert_eq!(relay(15, 30), Gain::After(RELAY_FOR));
        assert_eq!(
            gain((Tier::Direct, 71), (Tier::Direct, 100)),
            Gain::After(BETTER_FOR)
        );
    }

    #[test]
    fn a_difference_that_chance_makes_is_no_gain() {
        let gain = |noise| Gain::of((Tier::Direct, ms(40)), (Tier::Direct, ms(60)), ms(noise));
        assert_eq!(gain(20), Gain::After(BETTER_FOR));
        assert_eq!(gain(21), Gain::Nothing);
    }

    #[test]
    fn two_relays_are_left_at_once_for_one_and_never_the_other_way_round() {
        assert_eq!(gain((Tier::Relay, 300), (Tier::TwoRelays, 20)), Gain::AtOnce);
        assert_eq!(gain((Tier::TwoRelays, 20), (Tier::Relay, 300)), Gain::Nothing);
        assert_eq!(gain((Tier::Relay, 1), (Tier::Direct, 500)), Gain::Nothing);
    }

    #[test]
    fn a_way_past_the_relay_is_taken_at_once_unless_it_is_a_detour() {
        let relay = (Tier::Relay, 40);
        assert_eq!(gain((Tier::Direct, 65), relay), Gain::AtOnce);
        assert_eq!(gain((Tier::Direct, 66), relay), Gain::Nothing);
        assert_eq!(gain((Tier::Lan, 1), relay), Gain::AtOnce);
    }

    #[test]
    fn a_relay_stays_only_if_the_gain_shows_in_use() {
        let measured = |rtt: u64, answers| Measured {
            answers,
            sum: ms(rtt) * answers,
        };
        assert!(was_worth_it(measured(50, 10), measured(100, 10)));
        assert!(!was_worth_it(measured(85, 10), measured(100, 10)));
        assert!(!was_worth_it(measured(50, 4), measured(100, 10)), "lossy");
        assert!(was_worth_it(measured(85, 10), measured(100, 4)), "nowhere else");
    }
}
