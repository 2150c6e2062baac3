//! Silence on the path in use: when its pings hurry, and what follows when none is answered.
//!
//! A ping is overdue after a few round trips. The next one then goes out at once, and again, and when three are overdue
//! no ordinary loss explains it: the path is given up for any other that answered since, and the alarm is raised, so
//! that whoever can finds out what happened. Who is told that a path is gone (the peer moved, or this computer did)
//! does not wait for that: the path is *doubted*, and has to answer a new ping before another path does.

use std::time::{Duration, Instant};

/// An answer is overdue after twice the round-trip time, but never sooner than this: jitter is no silence …
const PATIENCE: Duration = Duration::from_millis(200);
/// … and never later than this.
const LONGEST_PATIENCE: Duration = Duration::from_secs(1);
/// Unanswered pings, the newest of which may still be on its way, that are silence and no chance: a path that loses one
/// in twenty is wrongly given up once in eight thousand pings, and only if another one answers; a queue that fills up
/// on the way has half a second for it.
const TELLING: u32 = 4;
/// Pings at the hurried pace before the ordinary one is enough again.
const HURRIED: u32 = 6;
/// The alarm is raised again after this, doubled each time: a peer that is gone must not keep everybody busy.
const AGAIN: Duration = Duration::from_secs(2);

/// How long the path in use has been asked in vain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vain {
    /// The first ping that is not answered, or the moment from which the path was doubted.
    since: Instant,
    /// The newest ping.
    last: Option<Instant>,
    asked: u32,
    doubted: bool,
    /// It was given the time that an answer may take.
    waited: bool,
    alarms: u32,
    next_alarm: Instant,
}

impl Vain {
    fn new(now: Instant, doubted: bool) -> Self {
        Self {
            since: now,
            last: None,
            asked: 0,
            doubted,
            waited: false,
            alarms: 0,
            next_alarm: now,
        }
    }

    /// A ping goes out on the path in use.
    pub(crate) fn asked(vain: &mut Option<Self>, now: Instant) {
        let vain = vain.get_or_insert_with(|| Self::new(now, false));
        vain.last = Some(now);
        vain.asked = vain.asked.saturating_add(1);
    }

    /// Nothing that the path proved before this moment counts.
    pub(crate) fn doubt(vain: &mut Option<Self>, now: Instant) {
        let known = vain.unwrap_or_else(|| Self::new(now, true));
        if vain.is_none() || !known.doubted {
            *vain = Some(Self {
                since: now,
                doubted: true,
                waited: false,
                ..known
            });
        }
    }

    /// A ping of that moment was answered on the path in use.
    pub(crate) fn answered(vain: &mut Option<Self>, sent: Instant) {
        vain.take_if(|vain| vain.since <= sent);
    }

    /// What another path must have answered to be better: pings sent from then on.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// When the next ping should go out because the last one is overdue.
    pub(crate) fn hurries_at(&self, rtt: Duration) -> Option<Instant> {
        let last = self.last.filter(|_| self.asked <= HURRIED)?;
        Some(last + patience(rtt))
    }

    /// Whether chance does not explain it.
    pub(crate) fn is_silence(&self) -> bool {
        self.asked >= TELLING
    }

    /// Lets time pass for a path with this round-trip time.
    pub(crate) fn wake(&mut self, now: Instant, rtt: Duration) {
        self.waited |= now >= self.since + patience(rtt);
    }

    /// Whether any other path that answers is better: at once where that one is `as_good` by its kind, else after the
    /// path in use had time for an answer.
    pub(crate) fn gives_way(&self, as_good: bool) -> bool {
        self.is_silence() || self.doubted && (as_good || self.waited)
    }

    /// When a doubted path has to give way to any other: to be woken for.
    pub(crate) fn gives_way_at(&self, rtt: Duration) -> Option<Instant> {
        (self.doubted && !self.waited).then(|| self.since + patience(rtt))
    }

    /// Whether somebody should find out what happened; true once for each time that it is due.
    pub(crate) fn alarm(&mut self, now: Instant) -> bool {
        if !self.is_silence() || now < self.next_alarm {
            return false;
        }
        self.next_alarm = now + AGAIN * (1 << self.alarms.min(8));
        self.alarms += 1;
        true
    }
}

fn patience(rtt: Duration) -> Duration {
    (rtt * 2).clamp(PATIENCE, LONGEST_PATIENCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(20);

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn pings_hurry_when_the_last_one_is_overdue_and_the_fourth_in_vain_is_silence() {
        let start = Instant::now();
        let mut vain = None;
        let mut now = start;
        for _ in 0..TELLING {
            Vain::asked(&mut vain, now);
            now = vain.and_then(|vain| vain.hurries_at(RTT)).unwrap();
        }
        let mut vain = vain.unwrap();
        assert!(vain.is_silence() && vain.gives_way(false));
        assert_eq!(now - start, PATIENCE * TELLING);
        assert!(vain.alarm(now) && !vain.alarm(now));
        assert!(!vain.alarm(now + ms(1999)) && vain.alarm(now + ms(2000)));
        assert!(!vain.alarm(now + ms(5999)) && vain.alarm(now + ms(6000)));
    }

    #[test]
    fn one_answer_ends_it_unless_it_is_to_a_question_of_before_the_doubt() {
        let start = Instant::now();
        let mut vain = None;
        Vain::asked(&mut vain, start);
        Vain::answered(&mut vain, start);
        assert!(vain.is_none());
        Vain::doubt(&mut vain, start + ms(10));
        Vain::answered(&mut vain, start);
        assert!(vain.is_some());
        Vain::asked(&mut vain, start + ms(20));
        Vain::answered(&mut vain, start + ms(20));
        assert!(vain.is_none());
    }

    #[test]
    fn a_doubted_path_gives_way_at_once_to_its_equals_and_soon_to_all() {
        let start = Instant::now();
        let mut vain = None;
        Vain::doubt(&mut vain, start);
        let mut vain = vain.unwrap();
        vain.wake(start, RTT);
        assert!(vain.gives_way(true) && !vain.gives_way(false));
        vain.wake(vain.gives_way_at(RTT).unwrap(), RTT);
        assert!(vain.gives_way(false));
        assert_eq!(vain.gives_way_at(RTT), None);
    }

    #[test]
    fn far_away_peers_get_two_round_trips() {
        assert_eq!(patience(ms(10)), ms(200));
        assert_eq!(patience(ms(250)), ms(500));
        assert_eq!(patience(ms(900)), ms(1000));
    }

    #[test]
    fn after_some_hurried_pings_the_ordinary_pace_is_enough() {
        let start = Instant::now();
        let mut vain = None;
        for _ in 0..=HURRIED {
            Vain::asked(&mut vain, start);
        }
        assert_eq!(vain.unwrap().hurries_at(RTT), None);
    }
}
