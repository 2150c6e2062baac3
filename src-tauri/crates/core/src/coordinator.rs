//! The path agent of one peer: which paths exist, which carry, which one is used.
//!
//! Candidates are probed side by side; a path is used only after its pong came back on it. The best by (tier,
//! round-trip time) is chosen, with hysteresis so that two near-equal paths do not flap (`gain.rs`).

mod facts;

pub(crate) use facts::PathFacts;

use crate::gain::{self, Gain, Measured};
use crate::path::Path;
use crate::silence::Vain;
use lanrage_proto::ipc::PathKind;
use std::collections::BTreeMap;
use std::net::IpAddr;
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
/// One whose peer is heard but whose probes go unanswered begins anew at once, then after pauses that double up to this.
const SLOWEST_REVIVAL: Duration = Duration::from_secs(30);
/// Probes on the path in use: they carry the ping that players see and keep NAT bindings alive.
const ON_CHOSEN: Duration = Duration::from_secs(1);
/// Probes on other valid paths, so that a switch finds them measured.
const ON_SPARE: Duration = Duration::from_secs(5);
/// A path without a pong for this long is no longer valid.
const STALE: Duration = Duration::from_secs(12);
/// A chosen path silent for this long is left at once for one that answers.
const SILENT: Duration = Duration::from_secs(3);
/// A relay that showed no gain on trial is not tried again for this long.
const DECLINED: Duration = Duration::from_secs(5 * 60);
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
    /// The peer named it once and does so no longer: it will end, so others are preferred.
    dropped: bool,
    /// Probes sent since the start or the last pong.
    unanswered: u32,
    /// New starts since the last pong because the peer was heard.
    revivals: u32,
    started: Instant,
    next_probe: Instant,
    valid: Option<Valid>,
    /// Probes sent and answered in all.
    tally: (u32, u32),
}

#[derive(Debug, Clone, Copy)]
struct Valid {
    /// Smoothed, and its mean deviation, as in RFC 6298.
    rtt: Duration,
    deviation: Duration,
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
    /// Since when.
    since: Option<Instant>,
    /// Paths that are better than the one in use, and when they will have been for long enough.
    better: BTreeMap<Path, Instant>,
    /// When the path in use will have been silent for too long.
    silent_at: Option<Instant>,
    trial: Option<Trial>,
    /// Relayed paths that showed no gain, and until when that counts.
    declined: BTreeMap<Path, Instant>,
    /// Since when the path in use is asked in vain.
    vain: Option<Vain>,
}

/// A relay was left for a better one, which has to show that it is.
#[derive(Debug, Clone, Copy)]
struct Trial {
    before: Path,
    until: Instant,
    /// What answered since, here and there.
    new: Measured,
    old: Measured,
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
            candidate.dropped = candidate.source == Source::Told && !told.contains_key(path);
            !candidate.dropped || candidate.valid.is_some()
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

    /// Whether the path is tried or used.
    pub(crate) fn knows(&self, path: &Path) -> bool {
        self.candidates.contains_key(path)
    }

    /// The paths that carry, as far as was seen lately.
    pub(crate) fn valid(&self) -> impl Iterator<Item = Path> {
        let valid = |(path, candidate): (&Path, &Candidate)| candidate.valid.map(|_| *path);
        self.candidates.iter().filter_map(valid)
    }

    /// Drops paths that only the peer's datagrams spoke of.
    pub(crate) fn forget_heard(&mut self, gone: impl Fn(&Path) -> bool) {
        self.candidates
            .retain(|path, candidate| candidate.source != Source::PeerReflexive || !gone(path));
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
        if !self.candidates.contains_key(&path) && reflexive >= PEER_REFLEXIVE && !self.give_way() {
            return;
        }
        let new = Candidate::new(now, Source::PeerReflexive, tier);
        let candidate = self.candidates.entry(path).or_insert(new);
        // Its sender is there now: if this way was given up, it deserves a new start. Where answers keep coming too late,
        // as through a relay that is overloaded, both sides' new starts would call forth each other's for ever.
        let pause = (BURST[BURST.len() - 1] * (1 << candidate.revivals.min(6))).min(SLOWEST_REVIVAL);
        if candidate.valid.is_none()
            && candidate.unanswered as usize >= BURST.len()
            && now >= candidate.started + pause
        {
            candidate.revivals += 1;
            candidate.restart(now);
        }
    }

    /// Drops the unannounced path that was given up longest ago, if any was.
    fn give_way(&mut self) -> bool {
        let given_up = |candidate: &Candidate| {
            candidate.source == Source::PeerReflexive
                && candidate.valid.is_none()
                && candidate.unanswered as usize >= BURST.len()
        };
        let candidates = self.candidates.iter();
        let oldest = candidates
            .filter(|(_, candidate)| given_up(candidate))
            .min_by_key(|(path, candidate)| (candidate.started, **path))
            .map(|(path, _)| *path);
        oldest.is_some_and(|path| self.candidates.remove(&path).is_some())
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

    /// When the path in use should be asked again because its last ping is overdue.
    fn hurries_at(&self) -> Option<Instant> {
        self.vain?.hurries_at(self.chosen_rtt()?)
    }

    fn chosen_rtt(&self) -> Option<Duration> {
        Some(self.candidates.get(&self.chosen?)?.valid?.rtt)
    }

    /// A relay is away: what is reached by it has to prove itself again before it is sent to.
    pub(crate) fn doubt_relay(&mut self, now: Instant, relay: IpAddr) {
        for (path, candidate) in &mut self.candidates {
            if candidate.tier >= Tier::Relay && path.remote.ip() == relay {
                candidate.restart(now);
                candidate.valid = None;
            }
        }
    }

    /// The paths that are due for a probe; the caller sends one on each with a fresh id and says so by
    /// [`Agent::sent`].
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Path> {
        let chosen = self.chosen;
        let hurries = self.hurries_at().is_some_and(|at| now >= at);
        let used = chosen.and_then(|path| self.candidates.get(&path));
        let used = used.map(|candidate| candidate.tier);
        let tried = self.trial.map(|trial| trial.before);
        let mut due = Vec::new();
        for (path, candidate) in &mut self.candidates {
            if now >= candidate.next_probe || hurries && chosen == Some(*path) {
                let waited_for = used.is_some_and(|used| candidate.tier < used);
                let often = waited_for
                    || chosen == Some(*path)
                    || tried == Some(*path)
                    || self.better.contains_key(path);
                candidate.probed(now, often);
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
        let (smoothed, deviation) = match candidate.valid {
            Some(valid) => (
                (valid.rtt * 7 + rtt) / 8,
                (valid.deviation * 3 + valid.rtt.abs_diff(rtt)) / 4,
            ),
            None => (rtt, rtt / 2),
        };
        let proven = candidate.valid.map_or(sent, |valid| valid.proven.max(sent));
        candidate.valid = Some(Valid {
            rtt: smoothed,
            deviation,
            last_pong: now,
            proven,
        });
        candidate.unanswered = 0;
        candidate.revivals = 0;
        candidate.tally.1 += 1;
        let on_chosen = self.chosen == Some(path);
        if on_chosen {
            Vain::answered(&mut self.vain, sent);
        }
        if let Some(trial) = &mut self.trial {
            if on_chosen {
                trial.new.answer(rtt);
            } else if trial.before == path {
                trial.old.answer(rtt);
            }
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
            .filter_map(|(path, candidate)| Some((candidate, candidate.valid?, *path)))
            .map(|(candidate, valid, path)| (candidate.is_ending(), candidate.tier, valid.rtt, path))
            .min()
            .map(|(_, tier, rtt, path)| (tier, rtt, path));
        let current = self.chosen.and_then(|path| {
            let candidate = self.candidates.get(&path)?;
            candidate.valid.map(|valid| (path, candidate.tier, valid))
        });
        if let (Some(vain), Some((_, _, valid))) = (&mut self.vain, current) {
            vain.wake(now, valid.rtt);
        }
        self.declined.retain(|_, until| now < *until);
        let mut trial = None;
        self.silent_at = None;
        let next = match (current, best) {
            (None, best) => {
                self.rest();
                best.map(|(_, _, path)| path)
            }
            (Some((path, tier, _)), _) if let Some(other) = self.instead(path, tier) => Some(other),
            (Some((path, tier, valid)), _) => {
                // One that was just taken has had no time to answer; it may have been asked long before.
                let asked_since = self
                    .since
                    .map_or(valid.last_pong, |since| since.max(valid.last_pong));
                let silent = now.saturating_duration_since(asked_since) >= SILENT;
                self.silent_at = (!silent).then(|| asked_since + SILENT);
                if silent {
                    self.rest();
                    Some(self.freshest(path, valid.last_pong, now).unwrap_or(path))
                } else if let Some(before) = self.in_vain(now) {
                    self.declined.insert(path, now + DECLINED);
                    Some(before)
                } else if let Some((other_tier, other)) = self.worth_a_switch(now, (tier, valid)) {
                    trial = (tier >= Tier::Relay && other_tier == tier).then(|| Trial {
                        before: path,
                        until: now + gain::TRIAL,
                        new: Measured::default(),
                        old: Measured::default(),
                    });
                    Some(other)
                } else {
                    Some(path)
                }
            }
        };
        if next == self.chosen {
            return None;
        }
        if let Some(left) = self.chosen.and_then(|path| self.candidates.get_mut(&path))
            && left.unanswered > 1
        {
            // It was left because it fell silent: what it proved before does not count any more.
            left.valid = None;
        }
        self.chosen = next;
        self.since = Some(now);
        self.rest();
        self.trial = trial;
        self.vain = None;
        if let Some(candidate) = next.and_then(|path| self.candidates.get_mut(&path)) {
            candidate.next_probe = candidate.next_probe.min(now + ON_CHOSEN / 4);
        }
        Some(next)
    }

    /// Nothing is compared for now.
    fn rest(&mut self) {
        self.better.clear();
        self.trial = None;
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
            .filter(|(path, candidate)| **path != silent && !candidate.is_ending())
            .filter_map(|(path, candidate)| Some((candidate.tier, candidate.valid?, *path)))
            .filter(|(_, valid, _)| valid.last_pong > last_pong)
            .filter(|(_, valid, _)| now.saturating_duration_since(valid.last_pong) < ON_SPARE + SILENT / 3)
            .min_by_key(|(tier, valid, path)| (*tier, valid.rtt, *path))
            .map(|(_, _, path)| path)
    }

    /// The path before the one on trial, when the trial is over and was in vain.
    fn in_vain(&mut self, now: Instant) -> Option<Path> {
        let trial = self.trial.take_if(|trial| now >= trial.until)?;
        let answers = |candidate: &Candidate| candidate.valid.is_some() && candidate.unanswered <= 1;
        let still_there = self.candidates.get(&trial.before).is_some_and(answers);
        (still_there && !gain::was_worth_it(trial.new, trial.old)).then_some(trial.before)
    }

    /// Another path that is better than the one in use, clearly and for long enough.
    fn worth_a_switch(&mut self, now: Instant, (used_tier, used): (Tier, Valid)) -> Option<(Tier, Path)> {
        let lasts = |path: &Path| {
            self.candidates
                .get(path)
                .is_some_and(|candidate| !candidate.is_ending())
        };
        let ends = self.chosen.is_some_and(|path| !lasts(&path));
        let mut others: Vec<_> = self
            .candidates
            .iter()
            // One that does not answer any more is valid for a while, and no choice.
            .filter(|(path, candidate)| self.chosen != Some(**path) && candidate.unanswered <= 1)
            .filter_map(|(path, candidate)| Some((candidate.tier, candidate.valid?, *path)))
            .collect();
        others.sort_by_key(|(tier, valid, path)| (*tier, valid.rtt, *path));
        let mut worth = None;
        let mut better = BTreeMap::new();
        for (tier, valid, path) in others {
            let noise = used.deviation + valid.deviation;
            let gain = match ends && lasts(&path) {
                true => Gain::AtOnce,
                false => Gain::of((tier, valid.rtt), (used_tier, used.rtt), noise),
            };
            let lasting = match gain {
                Gain::Nothing => continue,
                Gain::AtOnce => Duration::ZERO,
                Gain::After(_) if self.declined.contains_key(&path) => continue,
                Gain::After(lasting) => lasting,
            };
            let until = self.better.get(&path).copied().unwrap_or(now + lasting);
            better.insert(path, until);
            if now >= until && worth.is_none() {
                worth = Some((tier, path));
            }
        }
        for path in better.keys().filter(|path| !self.better.contains_key(path)) {
            if let Some(candidate) = self.candidates.get_mut(path) {
                candidate.next_probe = candidate.next_probe.min(now + ON_CHOSEN);
            }
        }
        self.better = better;
        worth
    }

    pub(crate) fn next_wake(&self) -> Option<Instant> {
        let probes = self.candidates.values().map(|candidate| candidate.next_probe);
        let better = self.better.values().copied();
        let gives_way = self.vain.zip(self.chosen_rtt());
        let gives_way = gives_way.and_then(|(vain, rtt)| vain.gives_way_at(rtt));
        let others = [
            self.trial.map(|trial| trial.until),
            self.silent_at,
            self.hurries_at(),
            gives_way,
        ];
        probes.chain(better).chain(others.into_iter().flatten()).min()
    }
}

impl Candidate {
    fn new(now: Instant, source: Source, tier: Tier) -> Self {
        Self {
            source,
            tier,
            dropped: false,
            unanswered: 0,
            revivals: 0,
            started: now,
            next_probe: now,
            valid: None,
            tally: (0, 0),
        }
    }

    /// A relayed address that the peer no longer names is one that its relay will take from it.
    fn is_ending(&self) -> bool {
        self.dropped && self.tier >= Tier::Relay
    }

    fn restart(&mut self, now: Instant) {
        self.unanswered = 0;
        self.started = now;
        self.next_probe = now;
    }

    /// Sets when the next probe is due, one going out now: soon on the path in use and where a switch is near.
    fn probed(&mut self, now: Instant, often: bool) {
        self.unanswered += 1;
        self.tally.0 += 1;
        self.next_probe = match (self.valid, often) {
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
        play(agent, from, lasting, |path, _, after| rtt(path, after)).0
    }

    /// The same where it matters which path is in use; also when that changed, and to which.
    fn play(
        agent: &mut Agent,
        from: Instant,
        lasting: Duration,
        rtt: impl Fn(Path, Option<Path>, Duration) -> Option<Duration>,
    ) -> (usize, Vec<(Duration, Option<Path>)>) {
        let mut changes = Vec::new();
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
                if let Some(rtt) = rtt(path, agent.chosen(), now - from) {
                    pongs.insert((now + rtt, sent), (id, path));
                }
            }
            if let Some(chosen) = agent.choose(now) {
                changes.push((now - from, chosen));
            }
            agent.alarm(now);
            now += Duration::from_millis(10);
        }
        (sent as usize, changes)
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
    fn a_relayed_address_that_is_no_longer_named_is_left_as_soon_as_another_answers() {
        let start = Instant::now();
        let mut agent = Agent::default();
        agent.told(start, [(path(1), Tier::Relay)]);
        run(&mut agent, start, Duration::from_secs(2), |_, _| Some(RTT));
        assert_eq!(agent.chosen(), Some(path(1)));
        let now = start + Duration::from_secs(2);
        agent.told(now, [(path(2), Tier::Relay)]);
        agent.choose(now);
        assert_eq!(agent.chosen(), Some(path(1)), "it carries until then");
        // Though it is the slower one.
        run(&mut agent, now, Duration::from_millis(200), |p, _| {
            Some(if p == path(2) { RTT * 2 } else { RTT })
        });
        assert_eq!(agent.chosen(), Some(path(2)));
        run(
            &mut agent,
            now + Duration::from_millis(200),
            Duration::from_secs(5),
            |_, _| Some(RTT),
        );
        assert_eq!(agent.chosen(), Some(path(2)), "and stays left");
    }

    #[test]
    fn one_that_died_before_it_was_no_longer_named_is_not_gone_back_to() {
        let start = Instant::now();
        let mut agent = Agent::default();
        agent.told(start, [(path(1), Tier::Relay), (path(2), Tier::Relay)]);
        let both = |p: Path, _| Some(if p == path(2) { RTT * 2 } else { RTT });
        run(&mut agent, start, Duration::from_secs(19), both);
        assert_eq!(agent.chosen(), Some(path(1)));
        // The other was measured a while ago, this one just now.
        let mut now = start + Duration::from_secs(19);
        agent.told(now, [(path(2), Tier::Relay)]);
        let mut choices = Vec::new();
        for _ in 0..400 {
            choices.extend(agent.choose(now).flatten());
            now += Duration::from_millis(10);
        }
        assert_eq!(choices, [path(2)]);
    }

    #[test]
    fn a_relay_that_went_takes_all_that_goes_to_it_along() {
        let start = Instant::now();
        let mut agent = Agent::default();
        let other = Path::primary("198.51.100.1:50000".parse().unwrap());
        agent.told(
            start,
            [
                (path(1), Tier::Relay),
                (other, Tier::Relay),
                (path(3), Tier::Direct),
            ],
        );
        let rtt = |p: Path, _| (p != path(3)).then_some(if p == other { RTT * 2 } else { RTT });
        run(&mut agent, start, Duration::from_secs(2), rtt);
        assert_eq!(agent.chosen(), Some(path(1)));
        let now = start + Duration::from_secs(2);
        agent.doubt_relay(now, path(1).remote.ip());
        assert_eq!(agent.choose(now), Some(Some(other)));
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

    /// Two relayed paths, the first one in use.
    fn two_relays(now: Instant) -> Agent {
        let mut agent = Agent::default();
        agent.told(now, [(path(1), Tier::Relay)]);
        run(&mut agent, now, Duration::from_secs(2), |_, _| Some(RTT * 5));
        agent.told(now, [(path(1), Tier::Relay), (path(2), Tier::Relay)]);
        assert_eq!(agent.chosen(), Some(path(1)));
        agent
    }

    #[test]
    fn another_relay_is_switched_to_after_ten_seconds_of_a_clear_gain() {
        let now = Instant::now();
        let mut agent = two_relays(now);
        let later = now + Duration::from_secs(2);
        let slightly = |p, _, _| Some(if p == path(1) { RTT * 5 } else { RTT * 4 });
        assert_eq!(play(&mut agent, later, Duration::from_secs(120), slightly).1, []);
        let later = later + Duration::from_secs(120);
        let clearly = |p, _, _| Some(if p == path(1) { RTT * 5 } else { RTT * 2 });
        let (_, switched) = play(&mut agent, later, Duration::from_secs(120), clearly);
        assert_eq!(switched.len(), 1, "{switched:?}");
        assert_eq!(switched[0].1, Some(path(2)));
        // The mean takes a while to show the gain; ten seconds more have to pass.
        assert!((10..40).contains(&switched[0].0.as_secs()), "{switched:?}");
    }

    #[test]
    fn a_relay_that_is_better_only_while_it_is_not_used_is_left_again_for_minutes() {
        let now = Instant::now();
        let mut agent = two_relays(now);
        let later = now + Duration::from_secs(2);
        // What carries the game is slow, whichever it is.
        let loaded = |p, used, _| Some(if used == Some(p) { RTT * 5 } else { RTT * 2 });
        let (_, switched) = play(&mut agent, later, Duration::from_secs(240), loaded);
        let to: Vec<_> = switched.iter().map(|(_, path)| *path).collect();
        assert_eq!(to, [Some(path(2)), Some(path(1))], "{switched:?}");
        let tried_for = switched[1].0 - switched[0].0;
        assert!((9..=11).contains(&tried_for.as_secs()), "{switched:?}");
    }

    #[test]
    fn a_path_left_for_its_silence_is_not_returned_to_before_it_answers() {
        let now = Instant::now();
        let mut agent = Agent::default();
        agent.told(now, [(path(1), Tier::Direct), (path(2), Tier::Relay)]);
        run(&mut agent, now, Duration::from_secs(10), |_, _| Some(RTT));
        let later = now + Duration::from_secs(10);
        let (_, changes) = play(&mut agent, later, Duration::from_secs(12), |p, _, _| {
            (p == path(2)).then_some(RTT)
        });
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert_eq!(agent.chosen(), Some(path(2)));
        let later = later + Duration::from_secs(12);
        run(&mut agent, later, Duration::from_secs(12), |_, _| Some(RTT));
        assert_eq!(agent.chosen(), Some(path(1)));
    }

    #[test]
    fn a_spare_path_that_is_taken_is_not_found_silent_at_once() {
        let now = Instant::now();
        let mut agent = Agent::default();
        agent.told(now, [(path(1), Tier::TwoRelays)]);
        run(&mut agent, now, Duration::from_secs(5), |_, _| Some(RTT));
        // It answered four seconds ago, as one that is seldom asked may have.
        agent
            .candidates
            .insert(path(2), Candidate::new(now, Source::Told, Tier::Relay));
        let later = now + Duration::from_secs(5);
        let one = agent.candidates.get_mut(&path(2)).unwrap();
        one.valid = Some(Valid {
            rtt: RTT,
            deviation: Duration::ZERO,
            last_pong: later - Duration::from_secs(4),
            proven: later - Duration::from_secs(4),
        });
        one.next_probe = later + Duration::from_secs(1);
        let (_, changes) = play(&mut agent, later, Duration::from_secs(20), |_, _, _| Some(RTT));
        assert_eq!(changes, [(Duration::ZERO, Some(path(2)))]);
    }

    #[test]
    fn who_is_heard_and_never_answers_is_probed_less_and_less() {
        let now = Instant::now();
        let mut agent = Agent::default();
        agent.told(now, [(path(1), Tier::Relay)]);
        let probes = |agent: &mut Agent, from: u64, to: u64| -> usize {
            let times = (from * 100..to * 100).map(|n| now + Duration::from_millis(n * 10));
            times
                .map(|now| {
                    agent.heard(now, path(1), Tier::Relay);
                    agent.due(now).len()
                })
                .sum()
        };
        assert!(probes(&mut agent, 0, 5) >= 10, "at first its being there counts");
        probes(&mut agent, 5, 120);
        assert!(
            probes(&mut agent, 120, 180) <= 18,
            "then it is hardly more than one in ten seconds"
        );
        agent.sent(now + Duration::from_secs(180), [1; 12], path(1));
        agent.pong(now + Duration::from_secs(181), [1; 12], path(1));
        assert_eq!(agent.choose(now + Duration::from_secs(181)), Some(Some(path(1))));
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
