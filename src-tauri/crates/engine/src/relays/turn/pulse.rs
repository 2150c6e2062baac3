//! Whether a relay lives, and when it is to be asked.

use std::time::{Duration, Instant};

/// Between two questions where nothing calls for one; NATs forget after 30 s at the soonest …
const IDLE: Duration = Duration::from_secs(10);
/// … and so many times in an allocation's life at least, as an answer prolongs it.
const EACH_LIFE: u32 = 3;
/// A relay that was sent to and said nothing for so long is asked …
const QUIET: Duration = Duration::from_millis(500);
/// … as is one that brought packets, and brings none for so long: what comes by it may leave by another way …
const LULL: Duration = Duration::from_secs(1);
/// … and, without an answer, again so often, or after two round trips.
const AGAIN: Duration = Duration::from_millis(250);
/// Asked so often in vain, for so long at least, it is silent …
const SILENT_ASKS: u32 = 5;
const SILENT: Duration = Duration::from_millis(1250);
/// … or asked twice in vain while its computer said so often that nobody listens there.
const REFUSALS: u32 = 2;
/// A silent relay is asked so often …
const ASK_SILENT: Duration = Duration::from_millis(500);
/// … and its allocation given up after this long: a line that is cut for a moment is sooner back than a new allocation.
const LOST: Duration = Duration::from_secs(20);

/// What is known of a relay's life.
pub(super) struct Pulse {
    /// When anything came from it last.
    heard: Instant,
    /// When it is to be asked if nothing comes from it until then.
    expected: Option<Instant>,
    asked: Instant,
    in_vain: Option<InVain>,
    silent: bool,
    again: Duration,
    idle: Duration,
}

/// Questions without an answer.
struct InVain {
    since: Instant,
    asks: u32,
    refusals: u32,
}

impl Pulse {
    /// One that grants so long a life, at this distance.
    pub(super) fn new(now: Instant, rtt: Duration, lifetime: Duration) -> Self {
        Self {
            heard: now,
            expected: None,
            asked: now,
            in_vain: None,
            silent: false,
            again: AGAIN.max(rtt * 2),
            idle: IDLE.min(lifetime / EACH_LIFE).max(AGAIN),
        }
    }

    /// Something was sent by it.
    pub(super) fn sent(&mut self, now: Instant) {
        let by = now + QUIET;
        self.expected = Some(self.expected.map_or(by, |expected| expected.min(by)));
    }

    /// It brought a peer's packet.
    pub(super) fn brought(&mut self, now: Instant) {
        self.heard(now);
        self.expected = Some(now + LULL);
    }

    /// Anything came from it. Questions stay open, as it may have been restarted and know nothing of the allocation; but
    /// it lives.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.expected = None;
        if let Some(in_vain) = &mut self.in_vain {
            *in_vain = InVain::new(now);
        }
    }

    /// It answered for the allocation, at this distance.
    pub(super) fn lives(&mut self, now: Instant, rtt: Duration) {
        self.heard(now);
        self.in_vain = None;
        self.silent = false;
        self.again = AGAIN.max(rtt * 2);
    }

    /// Its computer says that nobody listens there.
    pub(super) fn refused(&mut self, now: Instant) {
        let in_vain = self.in_vain.get_or_insert(InVain::new(now));
        in_vain.refusals = in_vain.refusals.saturating_add(1);
    }

    /// It is asked now.
    pub(super) fn asked(&mut self, now: Instant) {
        self.asked = now;
        self.in_vain.get_or_insert(InVain::new(now)).asks += 1;
    }

    /// Whether it is silent from now on; said once.
    pub(super) fn falls_silent(&mut self, now: Instant) -> bool {
        let silent = self.in_vain.as_ref().is_some_and(|in_vain| {
            let for_long = now >= in_vain.since + SILENT && in_vain.asks >= SILENT_ASKS;
            let refused =
                now >= in_vain.since + self.again * 2 && in_vain.asks >= 2 && in_vain.refusals >= REFUSALS;
            for_long || refused
        });
        silent && !std::mem::replace(&mut self.silent, true)
    }

    /// Whether nothing is to be expected of it any more.
    pub(super) fn is_lost(&self, now: Instant) -> bool {
        let lost = |in_vain: &InVain| now >= in_vain.since + LOST;
        self.in_vain.as_ref().is_some_and(lost)
    }

    /// When it is to be asked, or looked at, next.
    pub(super) fn next(&self) -> Instant {
        match &self.in_vain {
            Some(_) if self.silent => self.asked + ASK_SILENT,
            // It was heard since; only a question was lost.
            Some(in_vain) if in_vain.asks == 0 && self.heard >= in_vain.since => {
                self.asked + QUIET.max(self.again)
            }
            Some(_) => self.asked + self.again,
            None => {
                let quiet = self.expected.map(|by| by.max(self.asked + self.again));
                let idle = self.asked + self.idle;
                quiet.map_or(idle, |quiet| quiet.min(idle))
            }
        }
    }
}

impl InVain {
    fn new(since: Instant) -> Self {
        Self {
            since,
            asks: 0,
            refusals: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(20);

    /// Lets time pass in small steps; returns when it was asked, and when it fell silent.
    fn run(
        pulse: &mut Pulse,
        from: Instant,
        lasting: Duration,
        answers: bool,
    ) -> (Vec<Duration>, Option<Duration>) {
        let (mut asked, mut silent) = (Vec::new(), None);
        let mut now = from;
        while now < from + lasting {
            if pulse.falls_silent(now) {
                silent = Some(now - from);
            }
            if now >= pulse.next() {
                pulse.asked(now);
                asked.push(now - from);
                if answers {
                    pulse.lives(now, RTT);
                }
            }
            now += Duration::from_millis(10);
        }
        (asked, silent)
    }

    #[test]
    fn an_idle_relay_is_asked_seldom() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start, RTT, IDLE * 60);
        let (asked, silent) = run(&mut pulse, start, Duration::from_secs(35), true);
        assert_eq!(asked, [10, 20, 30].map(Duration::from_secs));
        assert_eq!(silent, None);
    }

    #[test]
    fn one_that_is_sent_to_and_says_nothing_is_silent_within_two_seconds_and_lost_later() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start, RTT, IDLE * 60);
        pulse.sent(start);
        let (_, silent) = run(&mut pulse, start, Duration::from_secs(3), false);
        let silent = silent.unwrap();
        assert!(silent <= Duration::from_secs(2), "{silent:?}");
        assert!(!pulse.is_lost(start + LOST / 2));
        assert!(pulse.is_lost(start + LOST + SILENT));
        pulse.lives(start + LOST / 2, RTT);
        assert!(!pulse.is_lost(start + LOST + SILENT));
    }

    #[test]
    fn one_whose_computer_refuses_is_silent_within_a_second_but_not_on_a_strangers_word() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start, RTT, IDLE * 60);
        for _ in 0..REFUSALS {
            pulse.refused(start);
        }
        let (_, silent) = run(&mut pulse, start, Duration::from_secs(1), false);
        assert!(silent.unwrap() < Duration::from_secs(1), "{silent:?}");
        let mut pulse = Pulse::new(start, RTT, IDLE * 60);
        for _ in 0..100 {
            pulse.refused(start);
        }
        let (asked, silent) = run(&mut pulse, start, Duration::from_secs(5), true);
        assert_eq!((asked.len(), silent), (1, None));
    }

    #[test]
    fn one_that_dies_after_a_question_was_lost_is_silent_as_soon() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start, RTT, IDLE * 60);
        pulse.asked(start);
        let died = start + Duration::from_millis(300);
        pulse.heard(died);
        pulse.sent(died);
        let (_, silent) = run(&mut pulse, died, Duration::from_secs(3), false);
        assert!(
            silent.is_some_and(|silent| silent < Duration::from_secs(2)),
            "{silent:?}"
        );
    }

    #[test]
    fn one_that_brought_packets_is_asked_when_they_stop() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start, RTT, IDLE * 60);
        pulse.brought(start);
        let (_, silent) = run(&mut pulse, start, Duration::from_secs(4), false);
        assert!(
            silent.is_some_and(|silent| silent < Duration::from_millis(2500)),
            "{silent:?}"
        );
        // Once is enough where it answers: there may be nothing to bring.
        let mut pulse = Pulse::new(start, RTT, IDLE * 60);
        pulse.brought(start);
        let (asked, _) = run(&mut pulse, start, Duration::from_secs(10), true);
        assert_eq!(asked, [LULL]);
    }

    #[test]
    fn one_that_brings_packets_is_not_silent() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start, RTT, IDLE * 60);
        let mut now = start;
        while now < start + Duration::from_secs(60) {
            pulse.sent(now);
            pulse.brought(now);
            assert!(!pulse.falls_silent(now) && !pulse.is_lost(now));
            if now >= pulse.next() {
                pulse.asked(now);
            }
            now += Duration::from_millis(20);
        }
    }
}
