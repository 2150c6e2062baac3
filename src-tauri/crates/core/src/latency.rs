//! How well a path does: round-trip time, jitter and loss, from probes and their answers.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How far back loss is counted.
const WINDOW: Duration = Duration::from_secs(60);
/// An answer that takes no longer than this is never counted as lost.
const PATIENCE: Duration = Duration::from_secs(1);
/// Probes remembered; beyond it the oldest are forgotten. At ten a second this covers the window.
const PROBES: usize = 640;

/// The quality of one path. The mean is smoothed as in RFC 6298: RTT by 1/8, its mean deviation (jitter) by 1/4.
#[derive(Debug, Clone, Default)]
pub struct Latency {
    probes: VecDeque<Probe>,
    rtt: Option<Duration>,
    jitter: Duration,
    last_heard: Option<Instant>,
    answers: u32,
}

#[derive(Debug, Clone, Copy)]
struct Probe {
    id: [u8; 12],
    sent: Instant,
    answered: bool,
}

impl Latency {
    /// A path of which nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// A probe was sent.
    pub fn sent(&mut self, now: Instant, id: [u8; 12]) {
        self.expire(now);
        if self.probes.len() == PROBES {
            self.probes.pop_front();
        }
        self.probes.push_back(Probe {
            id,
            sent: now,
            answered: false,
        });
    }

    /// An answer came. Returns how long it took; `None` when no probe with that id is outstanding: never asked,
    /// long forgotten, or answered before.
    pub fn received(&mut self, now: Instant, id: [u8; 12]) -> Option<Duration> {
        let probe = self
            .probes
            .iter_mut()
            .rev()
            .find(|probe| probe.id == id && !probe.answered)?;
        probe.answered = true;
        self.answers = self.answers.saturating_add(1);
        let sample = now.saturating_duration_since(probe.sent);
        self.last_heard = self.last_heard.max(Some(now));
        match self.rtt {
            None => {
                self.rtt = Some(sample);
                self.jitter = sample / 2;
            }
            Some(rtt) => {
                self.jitter = (self.jitter * 3 + rtt.abs_diff(sample)) / 4;
                self.rtt = Some((rtt * 7 + sample) / 8);
            }
        }
        Some(sample)
    }

    /// Forgets probes older than the time that loss is counted over.
    pub fn expire(&mut self, now: Instant) {
        while self
            .probes
            .front()
            .is_some_and(|probe| now.saturating_duration_since(probe.sent) > WINDOW)
        {
            self.probes.pop_front();
        }
    }

    /// Forgets what went unanswered: it was silence, which is told as such, and not the loss of a path that carries.
    pub fn forget_lost(&mut self) {
        self.probes.retain(|probe| probe.answered);
    }

    /// The smoothed round-trip time, once an answer came.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// The smoothed mean deviation of the round-trip time, once an answer came.
    pub fn jitter(&self) -> Option<Duration> {
        self.rtt.map(|_| self.jitter)
    }

    /// The share of probes of the last 60 s without an answer, from 0 to 1. A probe counts once its answer is due:
    /// after a second or four round trips. `None` while none is.
    pub fn loss(&self, now: Instant) -> Option<f32> {
        let (all, lost) = self.counted(now);
        (all > 0).then(|| f32::from(lost) / f32::from(all))
    }

    /// How many probes of the last 60 s were lost, in the sense of [`Self::loss`].
    pub fn lost(&self, now: Instant) -> u16 {
        self.counted(now).1
    }

    /// How many answers came so far.
    pub fn answers(&self) -> u32 {
        self.answers
    }

    fn counted(&self, now: Instant) -> (u16, u16) {
        let due = PATIENCE.max(self.rtt.unwrap_or_default() * 4);
        let age = |probe: &&Probe| now.saturating_duration_since(probe.sent);
        let counted = self
            .probes
            .iter()
            .filter(|p| age(p) <= WINDOW && (p.answered || age(p) > due));
        counted.fold((0u16, 0u16), |(all, lost), probe| {
            (all + 1, lost + u16::from(!probe.answered))
        })
    }

    /// When the last answer came.
    pub fn last_heard(&self) -> Option<Instant> {
        self.last_heard
    }
}

/// To a hundredth: more would only make each status differ from the last.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> [u8; 12] {
        [n; 12]
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn rtt_and_jitter_are_smoothed_as_rfc_6298_says() {
        let (mut latency, start) = (Latency::new(), Instant::now());
        assert_eq!(
            (latency.rtt(), latency.jitter(), latency.last_heard()),
            (None, None, None)
        );
        latency.sent(start, id(1));
        assert_eq!(latency.received(start + ms(80), id(1)), Some(ms(80)));
        assert_eq!((latency.rtt(), latency.jitter()), (Some(ms(80)), Some(ms(40))));
        latency.sent(start + ms(100), id(2));
        assert_eq!(latency.received(start + ms(260), id(2)), Some(ms(160)));
        // 7/8 · 80 + 1/8 · 160; 3/4 · 40 + 1/4 · |80 − 160|.
        assert_eq!((latency.rtt(), latency.jitter()), (Some(ms(90)), Some(ms(50))));
        assert_eq!(latency.last_heard(), Some(start + ms(260)));
    }

    #[test]
    fn an_answer_counts_once_and_only_to_a_question() {
        let (mut latency, start) = (Latency::new(), Instant::now());
        latency.sent(start, id(1));
        assert_eq!(latency.received(start + ms(5), id(2)), None);
        assert!(latency.received(start + ms(5), id(1)).is_some());
        assert_eq!(latency.received(start + ms(6), id(1)), None);
    }

    #[test]
    fn loss_counts_answers_that_are_due_within_a_minute() {
        let (mut latency, start) = (Latency::new(), Instant::now());
        for n in 0..10 {
            latency.sent(start + ms(100 * u64::from(n)), id(n));
            if n % 2 == 0 {
                latency.received(start + ms(100 * u64::from(n) + 10), id(n));
            }
        }
        // Nothing unanswered is a second old: nobody knows yet.
        assert_eq!(latency.loss(start + ms(1000)), Some(0.0));
        assert_eq!(latency.loss(start + ms(2000)), Some(0.5));
        assert_eq!(latency.loss(start + ms(62_000)), None);
        latency.expire(start + ms(62_000));
        assert!(latency.probes.is_empty());
    }

    #[test]
    fn a_slow_path_gets_four_round_trips_of_patience() {
        let (mut latency, start) = (Latency::new(), Instant::now());
        latency.sent(start, id(1));
        latency.received(start + ms(600), id(1));
        latency.sent(start + ms(600), id(2));
        assert_eq!(latency.loss(start + ms(2900)), Some(0.0));
        assert_eq!(latency.loss(start + ms(3100)), Some(0.5));
    }

    #[test]
    fn memory_is_bounded() {
        let (mut latency, start) = (Latency::new(), Instant::now());
        for n in 0..100_000u32 {
            let mut id = [0; 12];
            id[..4].copy_from_slice(&n.to_le_bytes());
            latency.sent(start, id);
        }
        assert_eq!(latency.probes.len(), PROBES);
    }
}
