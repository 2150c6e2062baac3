//! What is known of each path of a peer, for who wants to know why it is used or not.

use super::{Agent, BURST, Source, Tier};
use crate::path::Path;
use lanrage_proto::doctor::{PairReason, PairState};
use std::time::Duration;

/// A path and what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PathFacts {
    pub(crate) path: Path,
    pub(crate) tier: Tier,
    /// The peer's datagrams came from there, and it does not name the address.
    pub(crate) is_unannounced: bool,
    pub(crate) state: PairState,
    pub(crate) reason: Option<PairReason>,
    pub(crate) probes: u32,
    pub(crate) answers: u32,
    pub(crate) rtt: Option<Duration>,
}

impl Agent {
    /// All paths, the better ones first.
    pub(crate) fn facts(&self) -> Vec<PathFacts> {
        let chosen = self
            .chosen
            .and_then(|path| Some((path, self.candidates.get(&path)?)));
        let mut facts: Vec<PathFacts> = self
            .candidates
            .iter()
            .map(|(path, candidate)| {
                let (probes, answers) = candidate.tally;
                let state = match (candidate.valid, answers) {
                    _ if self.chosen == Some(*path) => PairState::Chosen,
                    (Some(_), _) => PairState::Answered,
                    (None, 1..) => PairState::FellSilent,
                    (None, 0) if (candidate.unanswered as usize) < BURST.len() => PairState::Trying,
                    (None, 0) => PairState::NeverAnswered,
                };
                let reason = match (state, chosen) {
                    (PairState::Answered, Some((_, used))) if candidate.tier > used.tier => {
                        Some(PairReason::LongerWay)
                    }
                    (PairState::Answered, _) if self.better.contains_key(path) => Some(PairReason::NotYet),
                    (PairState::Answered, Some(_)) => Some(PairReason::NoFaster),
                    _ => None,
                };
                PathFacts {
                    path: *path,
                    tier: candidate.tier,
                    is_unannounced: candidate.source == Source::PeerReflexive,
                    state,
                    reason,
                    probes,
                    answers,
                    rtt: candidate.valid.map(|valid| valid.rtt),
                }
            })
            .collect();
        facts.sort_by_key(|facts| (facts.state, facts.tier, facts.rtt, facts.path));
        facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn path(n: u8) -> Path {
        Path::primary(format!("192.0.2.{n}:51820").parse().unwrap())
    }

    /// Probes what is due; those in `answering` answer after their time.
    fn probe(agent: &mut Agent, now: Instant, answering: &[(u8, u64)]) {
        for due in agent.due(now) {
            let mut id = [0; 12];
            id[0] = u8::try_from(agent.outstanding.len()).unwrap();
            agent.sent(now, id, due);
            if let Some((_, ms)) = answering.iter().find(|(n, _)| path(*n) == due) {
                agent.pong(now + Duration::from_millis(*ms), id, due);
            }
        }
        agent.choose(now + Duration::from_millis(90));
    }

    #[test]
    fn each_path_says_what_came_of_it_and_why_it_is_not_used() {
        let now = Instant::now();
        let mut agent = Agent::default();
        let told = [
            (1, Tier::Direct),
            (2, Tier::Direct),
            (3, Tier::Relay),
            (4, Tier::Direct),
        ];
        agent.told(now, told.map(|(n, tier)| (path(n), tier)));
        agent.heard(now, path(5), Tier::Direct);
        let of = |agent: &Agent| {
            let facts = agent.facts();
            let told = |facts: &PathFacts| (facts.path, facts.state, facts.reason);
            facts.iter().map(told).collect::<Vec<_>>()
        };
        let trying = |n| (path(n), PairState::Trying, None);
        assert_eq!(
            of(&agent),
            [trying(1), trying(2), trying(4), trying(5), trying(3)]
        );
        probe(&mut agent, now, &[(1, 20), (2, 21), (3, 5)]);
        assert_eq!(
            of(&agent),
            [
                (path(1), PairState::Chosen, None),
                (path(2), PairState::Answered, Some(PairReason::NoFaster)),
                (path(3), PairState::Answered, Some(PairReason::LongerWay)),
                trying(4),
                trying(5),
            ]
        );
        assert!(agent.facts()[4].is_unannounced);
        // The second falls silent; the fourth never spoke.
        for second in 1..30 {
            probe(&mut agent, now + Duration::from_secs(second), &[(1, 20)]);
        }
        let facts = agent.facts();
        let state = |n| facts.iter().find(|facts| facts.path == path(n)).unwrap();
        assert_eq!(state(2).state, PairState::FellSilent);
        assert_eq!((state(2).answers, state(2).rtt), (1, None));
        assert_eq!(state(4).state, PairState::NeverAnswered);
        assert!(state(4).probes >= 5 && state(4).answers == 0);
    }
}
