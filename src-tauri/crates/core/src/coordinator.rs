//! The path agent of one peer: which paths exist, which carry, which one is used.
//!
//! Candidates are probed side by side; a path is used only after its pong came back on it. The best by (tier,
//! round-trip time) is chosen, with hysteresis so that two near-equal paths do not flap.

use crate::path::{Path, TransportId};
use crate::silence::Vain;
use lanrage_proto::ipc::PathKind;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// When the first probes of a candidate go out, counted from its start: five, then silence.
const BURST: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(700),
    Duration::from_millis(1500),
];
/// A candidate that never answered is tried once more this often.
const SLOW: Duration = Duration::from_secs(10);
/// Probes on the path in use: they carry the ping that players see and keep NAT bindings alive.
const ON_CHOSEN: Duration = Duration::from_secs(1);
/// Probes on other valid paths, so that a switch finds them measured.
const ON_SPARE: Duration = Duration::from_secs(5);
/// A path without a pong for this long is no longer valid.
const STALE: Duration = Duration::from_secs(12);
/// A chosen path silent for this long is left at once for one that answers.
const SILENT: Duration = Duration::from_secs(3);
/// Another path must be better by this share and this much …
const BETTER_SHARE: f64 = 0.2;
/// … (the much) …
const BETTER_BY: Duration = Duration::from_millis(5);
/// … for this long before it is switched to.
const BETTER_FOR: Duration = Duration::from_secs(3);
/// A direct path may take this many times as long as the relayed one and is still preferred at once: it does not end
/// when a relay does, and costs nobody anything.
const LEAVING_RELAY: f64 = 1.5;
/// Addresses that a peer's datagrams came from unannounced (peer-reflexive, RFC 8445 §5.1.1.2) kept at most.
const PEER_REFLEXIVE: usize = 16;
/// Unanswered probes remembered at most.
const OUTSTANDING: usize = 256;

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
enum Source {
    /// From the peer's record or call.
    Told,
    /// A probe of the peer came from there.
    PeerReflexive,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    source: Source,
    tier: Tier,
    /// Probes sent since the start or the last pong.
    unanswered: u32,
    started: Instant,
    next_probe: Instant,
    valid: Option<Valid>,
}

#[derive(Debug, Clone, Copy)]
struct Valid {
    rtt: Duration,
    last_pong: Instant,
    /// When the newest ping that was answered had been sent.
    proven: Instant,
}

/// A probe's number.
pub(crate) type ProbeId = [u8; 12];

/// What a pong proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) path: Path,
    pub(crate) rtt: Duration,
    /// When its ping had been sent.
    pub(crate) sent: Instant,
    /// Whether it came on the path in use.
    pub(crate) on_chosen: bool,
}

#[derive(Default)]
pub(crate) struct Agent {
    candidates: BTreeMap<Path, Candidate>,
    outstanding: BTreeMap<ProbeId, (Path, Instant)>,
    chosen: Option<Path>,
    better: Option<(Path, Instant)>,
    /// Since when the path in use is asked in vain.
    vain: Option<Vain>,
}

impl Agent {
    /// The path in use.
    pub(crate) fn chosen(&self) -> Option<Path> {
        self.chosen
    }

    pub(crate) fn chosen_kind(&self) -> Option<PathKind> {
        self.candidates
            .get(&self.chosen?)
            .map(|candidate| candidate.tier.kind())
    }

    /// Takes over what the peer says of itself: new candidates start, those no longer named end unless they carry.
    pub(crate) fn told(&mut self, now: Instant, told: impl IntoIterator<Item = (Path, Tier)>) {
        let told: BTreeMap<Path, Tier> = told.into_iter().collect();
        let used = self
            .chosen
            .and_then(|path| Some((path, self.candidates.get(&path)?)));
        if used.is_some_and(|(path, used)| used.source == Source::Told && !told.contains_key(&path)) {
            // It said once that it is reached there, and does not any more.
            self.doubt_chosen(now);
        }
        self.candidates.retain(|path, candidate| {
            candidate.source != Source::Told || candidate.valid.is_some() || told.contains_key(path)
        });
        for (path, tier) in told {
            let candidate = self
                .candidates
                .entry(path)
                .or_insert_with(|| Candidate::new(now, Source::Told, tier));
            // What was heard from before it was told of is known better now.
            candidate.source = Source::Told;
            candidate.tier = tier;
        }
    }

    /// All paths that are tried or used.
    pub(crate) fn paths(&self) -> impl Iterator<Item = Path> {
        self.candidates.keys().copied()
    }

    /// Drops the paths that no longer exist on this side.
    pub(crate) fn forget(&mut self, exists: impl Fn(&Path) -> bool) {
        self.candidates.retain(|path, _| exists(path));
    }

    /// A fresh, authentic probe came by this path: there may be a way back.
    pub(crate) fn heard(&mut self, now: Instant, path: Path, tier: Tier) {
        let reflexive = self
            .candidates
            .values()
            .filter(|c| c.source == Source::PeerReflexive)
            .count();
        if self
            .candidates
            .get(&path)
            .is_none_or(|known| known.valid.is_none())
        {
            // It may have moved there: then the path in use should show soon that it is gone.
            self.hurry(now);
        }
        let candidate = match self.candidates.get_mut(&path) {
            Some(candidate) => candidate,
            None if reflexive < PEER_REFLEXIVE => {
                self.candidates
                    .entry(path)
                    .or_insert(Candidate::new(now, Source::PeerReflexive, tier))
            }
            None => return,
        };
        // Its sender is there now: if this way was given up, it deserves a new start.
        if candidate.valid.is_none() && candidate.unanswered as usize >= BURST.len() {
            candidate.restart(now);
        }
    }

    /// Probes all candidates anew, as when the peer moved or this computer did.
    pub(crate) fn restart(&mut self, now: Instant) {
        for candidate in self.candidates.values_mut() {
            candidate.restart(now);
        }
    }

    /// Nothing measured before holds: every path has to prove itself again, but the one in use stays meanwhile.
    pub(crate) fn doubt(&mut self, now: Instant) {
        for (path, candidate) in &mut self.candidates {
            candidate.restart(now);
            if Some(*path) != self.chosen {
                candidate.valid = None;
            }
        }
        self.vain = None;
        self.doubt_chosen(now);
    }

    /// The path in use may be gone, as its peer or this computer moved: it has to answer anew, or gives way to the
    /// first other path that does.
    pub(crate) fn doubt_chosen(&mut self, now: Instant) {
        if let Some(candidate) = self.chosen.and_then(|path| self.candidates.get_mut(&path)) {
            candidate.next_probe = now;
            Vain::doubt(&mut self.vain, now);
        }
    }

    /// Nothing comes from the peer: the path in use is asked now, unless it was just asked.
    pub(crate) fn hurry(&mut self, now: Instant) {
        if self.vain.is_none()
            && let Some(candidate) = self.chosen.and_then(|path| self.candidates.get_mut(&path))
        {
            candidate.next_probe = now;
        }
    }

    /// Whether the path in use is silent beyond chance.
    pub(crate) fn is_silent(&self) -> bool {
        self.vain.is_some_and(|vain| vain.is_silence())
    }

    /// Whether it is time to find out why the path in use is silent. All other paths are then tried anew.
    pub(crate) fn alarm(&mut self, now: Instant) -> bool {
        if !self.vain.as_mut().is_some_and(|vain| vain.alarm(now)) {
            return false;
        }
        self.restart_others(now);
        true
    }

    /// Probes all candidates anew but the path in use, which has a pace of its own.
    pub(crate) fn restart_others(&mut self, now: Instant) {
        let chosen = self.chosen;
        let others = self
            .candidates
            .iter_mut()
            .filter(|(path, _)| Some(**path) != chosen);
        others.for_each(|(_, candidate)| candidate.restart(now));
    }

    /// Probes what goes by this transport anew: it is another socket, or another allocation, than before.
    pub(crate) fn restart_by(&mut self, now: Instant, transport: TransportId) {
        let by_it = self
            .candidates
            .iter_mut()
            .filter(|(path, _)| path.transport == transport);
        by_it.for_each(|(_, candidate)| candidate.restart(now));
    }

    /// When the path in use should be asked again because its last ping is overdue.
    fn hurries_at(&self) -> Option<Instant> {
        self.vain?.hurries_at(self.chosen_rtt()?)
    }

    fn chosen_rtt(&self) -> Option<Duration> {
        Some(self.candidates.get(&self.chosen?)?.valid?.rtt)
    }

    /// The paths that are due for a probe; the caller sends one on each with a fresh id and says so by
    /// [`Agent::sent`].
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Path> {
        let chosen = self.chosen;
        let hurries = self.hurries_at().is_some_and(|at| now >= at);
        let mut due = Vec::new();
        for (path, candidate) in &mut self.candidates {
            if now >= candidate.next_probe || hurries && chosen == Some(*path) {
                candidate.probed(now, chosen == Some(*path));
                due.push(*path);
            }
        }
        due
    }

    pub(crate) fn sent(&mut self, now: Instant, id: ProbeId, path: Path) {
        self.outstanding
            .retain(|_, (_, sent)| now.saturating_duration_since(*sent) < STALE);
        while self.outstanding.len() >= OUTSTANDING {
            let oldest = self
                .outstanding
                .iter()
                .min_by_key(|(_, (_, sent))| *sent)
                .map(|(id, _)| *id);
            oldest.and_then(|id| self.outstanding.remove(&id));
        }
        self.outstanding.insert(id, (path, now));
        if self.chosen == Some(path) {
            Vain::asked(&mut self.vain, now);
        }
    }

    /// A pong: it proves the path it came by if that is the one its ping went out on.
    pub(crate) fn pong(&mut self, now: Instant, id: ProbeId, came_by: Path) -> Option<Answered> {
        let (path, sent) = self.outstanding.remove(&id)?;
        if path != came_by {
            return None;
        }
        let rtt = now.saturating_duration_since(sent);
        let candidate = self.candidates.get_mut(&path)?;
        let first = candidate.valid.is_none();
        let smoothed = candidate.valid.map_or(rtt, |valid| (valid.rtt * 7 + rtt) / 8);
        let proven = candidate.valid.map_or(sent, |valid| valid.proven.max(sent));
        candidate.valid = Some(Valid {
            rtt: smoothed,
            last_pong: now,
            proven,
        });
        candidate.unanswered = 0;
        let on_chosen = self.chosen == Some(path);
        if on_chosen {
            Vain::answered(&mut self.vain, sent);
        }
        if first && !on_chosen {
            // A second measurement soon, so that one slow first packet decides nothing.
            candidate.next_probe = candidate.next_probe.min(now + Duration::from_millis(200));
        }
        Some(Answered {
            path,
            rtt,
            sent,
            on_chosen,
        })
    }

    /// Chooses anew; `Some` with the new choice when it changed.
    pub(crate) fn choose(&mut self, now: Instant) -> Option<Option<Path>> {
        for candidate in self.candidates.values_mut() {
            candidate.valid = candidate
                .valid
                .filter(|valid| now.saturating_duration_since(valid.last_pong) < STALE);
        }
        let best = self
            .candidates
            .iter()
            .filter_map(|(path, candidate)| Some((candidate.tier, candidate.valid?.rtt, *path)))
            .min();
        let current = self.chosen.and_then(|path| {
            let candidate = self.candidates.get(&path)?;
            candidate.valid.map(|valid| (path, candidate.tier, valid))
        });
        if let (Some(vain), Some((_, _, valid))) = (&mut self.vain, current) {
            vain.wake(now, valid.rtt);
        }
        let next = match (current, best) {
            (None, best) => {
                self.better = None;
                best.map(|(_, _, path)| path)
            }
            (Some((path, tier, _)), _) if let Some(other) = self.instead(path, tier) => Some(other),
            (Some((path, _, valid)), best) => {
                let silent = now.saturating_duration_since(valid.last_pong) >= SILENT;
                let other = best.filter(|(_, _, other)| *other != path);
                match other {
                    _ if silent => {
                        self.better = None;
                        Some(self.freshest(path, valid.last_pong, now).unwrap_or(path))
                    }
                    Some((tier, rtt, other)) if self.is_better(now, (tier, rtt, other)) => Some(other),
                    Some(_) => Some(path),
                    None => {
                        self.better = None;
                        Some(path)
                    }
                }
            }
        };
        if next == self.chosen {
            return None;
        }
        self.chosen = next;
        self.better = None;
        self.vain = None;
        if let Some(candidate) = next.and_then(|path| self.candidates.get_mut(&path)) {
            candidate.next_probe = candidate.next_probe.min(now + ON_CHOSEN / 4);
        }
        Some(next)
    }

    /// The path to take instead of the one in use, where that is asked in vain or doubted: the best that answered since.
    fn instead(&self, used: Path, used_tier: Tier) -> Option<Path> {
        let vain = self.vain?;
        self.candidates
            .iter()
            .filter(|(path, _)| **path != used)
            .filter_map(|(path, candidate)| Some((candidate.tier, candidate.valid?, *path)))
            .filter(|(tier, valid, _)| valid.proven >= vain.since() && vain.gives_way(*tier <= used_tier))
            .min_by_key(|(tier, valid, path)| (*tier, valid.rtt, *path))
            .map(|(_, _, path)| path)
    }

    /// The best other path that answered more recently than the silent one. When all are silent none did, and the
    /// choice rests.
    fn freshest(&self, silent: Path, last_pong: Instant, now: Instant) -> Option<Path> {
        self.candidates
            .iter()
            .filter(|(path, _)| **path != silent)
            .filter_map(|(path, candidate)| Some((candidate.tier, candidate.valid?, *path)))
            .filter(|(_, valid, _)| valid.last_pong > last_pong)
            .filter(|(_, valid, _)| now.saturating_duration_since(valid.last_pong) < ON_SPARE + SILENT / 3)
            .min_by_key(|(tier, valid, path)| (*tier, valid.rtt, *path))
            .map(|(_, _, path)| path)
    }

    /// Whether the other path was clearly better for long enough.
    fn is_better(&mut self, now: Instant, (tier, rtt, other): (Tier, Duration, Path)) -> bool {
        let Some(current) = self.chosen.and_then(|path| self.candidates.get(&path)) else {
            return true;
        };
        let Some(valid) = current.valid else { return true };
        // Play began through the relay so as not to wait; a way past it is what everybody waits for.
        if current.tier >= Tier::Relay
            && tier < current.tier
            && rtt <= valid.rtt.mul_f64(LEAVING_RELAY) + BETTER_BY
        {
            return true;
        }
        // A lower tier counts by itself, if it is not much slower; within a tier only a clear gain does.
        let clear = valid.rtt.mul_f64(1.0 - BETTER_SHARE) > rtt && valid.rtt.saturating_sub(rtt) >= BETTER_BY;
        let not_worse = rtt <= valid.rtt + BETTER_BY;
        if !(clear && tier <= current.tier || tier < current.tier && not_worse) {
            self.better = None;
            return false;
        }
        match self.better {
            Some((path, since)) if path == other => now.saturating_duration_since(since) >= BETTER_FOR,
            _ => {
                self.better = Some((other, now));
                false
            }
        }
    }

    pub(crate) fn next_wake(&self) -> Option<Instant> {
        let probes = self.candidates.values().map(|candidate| candidate.next_probe);
        let better = self.better.map(|(_, since)| since + BETTER_FOR);
        let gives_way = self.vain.zip(self.chosen_rtt());
        let gives_way = gives_way.and_then(|(vain, rtt)| vain.gives_way_at(rtt));
        let others = [better, self.hurries_at(), gives_way];
        probes.chain(others.into_iter().flatten()).min()
    }
}

impl Candidate {
    fn new(now: Instant, source: Source, tier: Tier) -> Self {
        Self {
            source,
            tier,
            unanswered: 0,
            started: now,
            next_probe: now,
            valid: None,
        }
    }

    fn restart(&mut self, now: Instant) {
        self.unanswered = 0;
        self.started = now;
        self.next_probe = now;
    }

    /// Sets when the next probe is due, one going out now.
    fn probed(&mut self, now: Instant, chosen: bool) {
        self.unanswered += 1;
        self.next_probe = match (self.valid, chosen) {
            (Some(_), true) => now + ON_CHOSEN,
            (Some(_), false) => now + ON_SPARE,
            (None, _) => match BURST.get(self.unanswered as usize) {
                Some(after) => (self.started + *after).max(now + BURST[1]),
                None => now + SLOW,
            },
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(20);

    fn path(n: u8) -> Path {
        Path::primary(format!("192.0.2.{n}:51820").parse().unwrap())
    }

    /// Runs an agent against peers that answer with a round-trip time of their own, or not at all.
    fn run(
        agent: &mut Agent,
        from: Instant,
        lasting: Duration,
        rtt: impl Fn(Path, Duration) -> Option<Duration>,
    ) -> usize {
        let mut sent = 0u64;
        let mut pongs: BTreeMap<(Instant, u64), (ProbeId, Path)> = BTreeMap::new();
        let mut now = from;
        while now < from + lasting {
            while let Some(entry) = pongs.first_entry().filter(|entry| entry.key().0 <= now) {
                let (id, path) = entry.remove();
                agent.pong(now, id, path);
            }
            for path in agent.due(now) {
                sent += 1;
                let mut id = [0; 12];
                id[..8].copy_from_slice(&sent.to_le_bytes());
                id[8..].copy_from_slice(&(now.duration_since(from).as_millis() as u32).to_le_bytes());
                agent.sent(now, id, path);
                if let Some(rtt) = rtt(path, now - from) {
                    pongs.insert((now + rtt, sent), (id, path));
                }
            }
            agent.choose(now);
            agent.alarm(now);
            now += Duration::from_millis(10);
        }
        sent as usize
    }

    #[test]
    fn a_path_is_used_only_after_its_pong() {
        let now = Instant::now();
        let mut agent = Agent::default();
        agent.told(now, [(path(1), Tier::Direct), (path(2), Tier::Direct)]);
        assert_eq!(agent.choose(now), None);
        run(&mut agent, now, Duration::from_secs(1), |p, _| {
            (p == path(2)).then_some(RTT)
        });
        assert_eq!(agent.chosen(), Some(path(2)));
        assert_eq!(agent.chosen_kind(), Some(PathKind::Direct));
    }

    #[test]
    fn a_pong_by_another_way_proves_nothing() {
        let now = Instant::now();
        let mut agent = Agent::default();
        agent.told(now, [(path(1), Tier::Direct)]);
        agent.due(now);
        agent.sent(now, [1; 12], path(1));
        assert_eq!(agent.pong(now + RTT, [1; 12], path(9)), None);
        assert_eq!(agent.pong(now + RTT, [2; 12], path(1)), None);
        assert_eq!(agent.choose(now + RTT), None);
    }

    #[test]
    fn near_equal_paths_do_not_flap_and_a_clear_gain_is_taken_after_three_seconds() {
        let now = Instant::now();
        let mut agent = Agent::default();
        agent.told(now, [(path(1), Tier::Direct)]);
        run(&mut agent, now, Duration::from_secs(2), |_, _| Some(RTT * 2));
        agent.told(now, [(path(1), Tier::Direct), (path(2), Tier::Direct)]);
        run(
            &mut agent,
            now + Duration::from_secs(2),
            Duration::from_secs(30),
            |p, _| {
                Some(if p == path(1) {
                    RTT * 2
                } else {
                    RTT * 2 - Duration::from_millis(3)
                })
            },
        );
        assert_eq!(agent.chosen(), Some(path(1)), "3 ms are not worth a switch");
        run(
            &mut agent,
            now + Duration::from_secs(32),
            Duration::from_secs(120),
            |p, _| Some(if p == path(1) { RTT * 2 } else { RTT }),
        );
        assert_eq!(agent.chosen(), Some(path(2)), "20 ms are");
    }

    #[test]
    fn a_silent_path_is_left_for_one_that_answers() {
        let now = Instant::now();
        let mut agent = Agent::default();
        agent.told(now, [(path(1), Tier::Lan), (path(2), Tier::Direct)]);
        run(&mut agent, now, Duration::from_secs(10), |_, _| Some(RTT));
        assert_eq!(agent.chosen(), Some(path(1)));
        run(
            &mut agent,
            now + Duration::from_secs(10),
            Duration::from_secs(5),
            |p, _| (p == path(2)).then_some(RTT),
        );
        assert_eq!(agent.chosen(), Some(path(2)));
    }

    #[test]
    fn a_path_that_falls_silent_is_left_within_two_seconds_though_no_game_tells() {
        let now = Instant::now();
        let mut agent = Agent::default();
        agent.told(now, [(path(1), Tier::Lan), (path(2), Tier::Relay)]);
        run(&mut agent, now, Duration::from_secs(10), |_, _| Some(RTT));
        assert_eq!(agent.chosen(), Some(path(1)));
        let later = now + Duration::from_secs(10);
        run(&mut agent, later, Duration::from_secs(2), |p, _| {
            (p == path(2)).then_some(RTT)
        });
        assert_eq!(agent.chosen(), Some(path(2)));
    }

    #[test]
    fn a_path_that_loses_one_in_seven_is_not_left() {
        let now = Instant::now();
        let mut agent = Agent::default();
        agent.told(now, [(path(1), Tier::Direct), (path(2), Tier::Relay)]);
        for minute in 0..10 {
            let later = now + Duration::from_secs(60 * minute);
            run(&mut agent, later, Duration::from_secs(60), |p, at| {
                let lost = p == path(1) && (at.as_millis() / 10) % 7 == 3;
                (!lost).then_some(RTT)
            });
            assert_eq!(agent.chosen(), Some(path(1)), "after {minute} minutes");
        }
    }

    #[test]
    fn a_peer_that_moved_is_followed_at_once() {
        let now = Instant::now();
        let mut agent = Agent::default();
        agent.told(now, [(path(1), Tier::Direct)]);
        run(&mut agent, now, Duration::from_secs(10), |_, _| Some(RTT));
        let later = now + Duration::from_secs(10);
        agent.doubt_chosen(later);
        agent.heard(later, path(2), Tier::Direct);
        run(&mut agent, later, RTT * 2, |p, _| (p == path(2)).then_some(RTT));
        assert_eq!(agent.chosen(), Some(path(2)));
        // Where the old path answers as well, nothing is changed.
        let later = later + Duration::from_secs(10);
        agent.doubt_chosen(later);
        agent.told(later, [(path(3), Tier::Relay)]);
        run(&mut agent, later, Duration::from_secs(1), |_, _| Some(RTT));
        assert_eq!(agent.chosen(), Some(path(2)));
    }

    #[test]
    fn when_all_paths_fall_silent_the_choice_rests() {
        let now = Instant::now();
        let mut agent = Agent::default();
        agent.told(now, [(path(1), Tier::Direct), (path(2), Tier::Direct)]);
        run(&mut agent, now, Duration::from_secs(11), |_, _| Some(RTT));
        let mut switches = 0;
        for ms in 0..11_000 {
            switches += usize::from(agent.choose(now + Duration::from_millis(11_000 + ms)).is_some());
        }
        assert!(switches <= 1, "{switches} switches between two silent paths");
    }

    #[test]
    fn an_address_that_never_answers_gets_five_probes_and_then_one_in_ten_seconds() {
        let now = Instant::now();
        let mut agent = Agent::default();
        agent.told(now, [(path(1), Tier::Direct)]);
        assert_eq!(run(&mut agent, now, Duration::from_secs(9), |_, _| None), 5);
        assert_eq!(
            run(
                &mut agent,
                now + Duration::from_secs(9),
                Duration::from_secs(60),
                |_, _| None
            ),
            6
        );
    }

    #[test]
    fn a_relay_is_left_as_soon_as_a_direct_path_answers_and_never_for_a_second_relay() {
        let now = Instant::now();
        let mut agent = Agent::default();
        agent.told(now, [(path(1), Tier::Relay), (path(2), Tier::TwoRelays)]);
        run(&mut agent, now, Duration::from_secs(8), |p, _| {
            Some(if p == path(1) { RTT * 4 } else { RTT * 3 })
        });
        assert_eq!(agent.chosen(), Some(path(1)));
        let later = now + Duration::from_secs(8);
        agent.told(later, [(path(1), Tier::Relay), (path(3), Tier::Direct)]);
        run(&mut agent, later, Duration::from_secs(1), |p, _| {
            Some(if p == path(1) { RTT * 4 } else { RTT * 5 })
        });
        assert_eq!(agent.chosen(), Some(path(3)));
    }

    #[test]
    fn strangers_addresses_are_bounded() {
        let now = Instant::now();
        let mut agent = Agent::default();
        for n in 0..100 {
            agent.heard(now, path(n), Tier::Direct);
        }
        assert_eq!(agent.due(now).len(), PEER_REFLEXIVE);
    }
}
