//! The path agent of one peer: which paths exist, which carry, which one is used.
//!
//! Candidates are probed side by side; a path is used only after its pong came back on it. The best by (tier,
//! round-trip time) is chosen, with hysteresis so that two near-equal paths do not flap (`gain.rs`).

mod candidate;
mod facts;

pub(crate) use candidate::Tier;
pub(crate) use facts::PathFacts;

use crate::gain::{self, Gain, Measured};
use crate::path::{Path, TransportId};
use crate::silence::Vain;
use candidate::{BURST, Candidate, ON_CHOSEN, ON_SPARE, Pace, Source, TOGETHER, Valid};
use lanrage_proto::ipc::PathKind;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// One whose peer is heard but whose probes go unanswered begins anew at once, then after pauses that double up to this.
const SLOWEST_REVIVAL: Duration = Duration::from_secs(30);
/// A path without a pong for this long is no longer valid.
const STALE: Duration = Duration::from_secs(12);
/// A chosen path silent for this long is left at once for one that answers.
const SILENT: Duration = Duration::from_secs(3);
/// A path taken because the one before was lost has to answer within this, or two round trips; else one that did since
/// is taken: whatever ended the one may have ended the other.
const UNPROVEN: Duration = Duration::from_millis(300);
/// A relay that showed no gain on trial is not tried again for this long.
const DECLINED: Duration = Duration::from_secs(5 * 60);
/// Addresses that a peer's datagrams came from unannounced (peer-reflexive, RFC 8445 §5.1.1.2) kept at most.
const PEER_REFLEXIVE: usize = 16;
/// Unanswered probes remembered at most.
const OUTSTANDING: usize = 256;

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
    /// Since when, and whether because the one before was lost.
    since: Option<Instant>,
    forced: bool,
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

    /// The paths by which a ping of this moment or later was answered.
    pub(crate) fn proven_since(&self, moment: Instant) -> impl Iterator<Item = Path> {
        let proven = move |(path, candidate): (&Path, &Candidate)| {
            let valid = candidate.valid.filter(|valid| valid.proven >= moment);
            valid.map(|_| *path)
        };
        self.candidates.iter().filter_map(proven)
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
                let near = waited_for || tried == Some(*path) || self.better.contains_key(path);
                let pace = match chosen == Some(*path) {
                    true => Pace::Chosen,
                    false if near => Pace::Near,
                    false => Pace::Spare,
                };
                candidate.probed(now, pace);
                due.push(*path);
            }
        }
        due
    }

    /// The path in use, if its next ping can go out now with those of others; as [`Agent::due`] otherwise.
    pub(crate) fn due_soon(&mut self, now: Instant) -> Option<Path> {
        let path = self.chosen?;
        let candidate = self.candidates.get_mut(&path)?;
        if !candidate.is_steady() || candidate.next_probe > now + TOGETHER {
            return None;
        }
        candidate.probed(now, Pace::Chosen);
        Some(path)
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
        let forced;
        self.silent_at = None;
        let next = match (current, best) {
            (None, best) => {
                self.rest();
                forced = self.chosen.is_some();
                best.map(|(_, _, path)| path)
            }
            (Some((path, tier, _)), _) if let Some(other) = self.instead(path, tier) => {
                forced = true;
                Some(other)
            }
            (Some((path, tier, valid)), _) => {
                // One that was just taken has had no time to answer; it may have been asked long before.
                let asked_since = self
                    .since
                    .map_or(valid.last_pong, |since| since.max(valid.last_pong));
                let unproven = self.forced && valid.last_pong < asked_since;
                let hurried = unproven.then(|| asked_since + UNPROVEN.max(valid.rtt * 2));
                let ends = [hurried, Some(asked_since + SILENT)].into_iter().flatten();
                self.silent_at = ends.clone().filter(|at| now < *at).min();
                let silent = ends.clone().any(|at| now >= at);
                forced = silent;
                if silent {
                    self.rest();
                    let proof = if now >= asked_since + SILENT {
                        valid.last_pong
                    } else {
                        asked_since
                    };
                    Some(self.freshest(path, proof, now).unwrap_or(path))
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
            && forced
        {
            // It was left because it fell silent: what it proved before does not count any more. Perhaps that was chance;
            // then it is back at once.
            left.valid = None;
            left.restart(now);
        }
        self.chosen = next;
        self.since = Some(now);
        self.forced = forced;
        self.rest();
        self.trial = trial;
        self.vain = None;
        for (path, candidate) in &mut self.candidates {
            if forced && candidate.valid.is_some() {
                // Which of them still carry has to be known soon.
                candidate.next_probe = now;
            } else if next == Some(*path) {
                candidate.next_probe = candidate.next_probe.min(now + ON_CHOSEN / 4);
            }
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
            let gain = match (ends, lasts(&path)) {
                (true, true) => Gain::AtOnce,
                // However good, it would be left again for this one.
                (false, false) => Gain::Nothing,
                (true, false) | (false, true) => Gain::of((tier, valid.rtt), (used_tier, used.rtt), noise),
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

#[cfg(test)]
mod tests;
