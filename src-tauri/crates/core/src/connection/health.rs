//! How a connection is: up, degraded and by what, lost, failed. All of it follows from what was heard and measured.

use super::Peer;
use crate::io::{Event, Output};
use crate::records::{Candidate, CandidateKind};
use crate::standing::{self, Retry, State};
use lanrage_proto::ipc::{PeerState, PeerTrouble};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Never up within this: failed, though still tried.
const FAILED_AFTER: Duration = Duration::from_secs(15);
/// Silent for this long: degraded.
const SILENT: Duration = Duration::from_secs(3);
/// Silent for this long: lost.
const LOST_AFTER: Duration = Duration::from_secs(10);
/// Share of probes lost from which games suffer.
const BAD_LOSS: f32 = 0.05;
/// So many have to be lost before their share says anything.
const SOME_LOST: u16 = 3;
/// So many answers it takes before round-trip times say anything: the mean deviation begins at half the first one.
const SOME_ANSWERS: u32 = 8;
/// Mean deviation of the round-trip time from which games suffer.
const BAD_JITTER: Duration = Duration::from_millis(30);
/// Round-trip time from which games suffer.
const BAD_RTT: Duration = Duration::from_millis(250);

impl Peer {
    /// Whether packets flow, as far as this side can tell.
    pub(crate) fn is_alive(&self, now: Instant) -> bool {
        self.tunnel.established
            && self
                .last_heard
                .is_some_and(|at| now.saturating_duration_since(at) < LOST_AFTER)
    }

    /// When something authentic last came from the peer.
    pub(crate) fn last_heard(&self) -> Option<Instant> {
        self.last_heard
    }

    /// Something authentic came from the peer.
    pub(crate) fn heard(&mut self, now: Instant) {
        if self
            .last_heard
            .is_some_and(|at| now.saturating_duration_since(at) >= SILENT)
        {
            self.latency.forget_lost();
        }
        self.last_heard = Some(now);
    }

    /// Recomputes the state from the facts.
    pub(super) fn judge(&mut self, now: Instant, out: &mut VecDeque<Output>) -> bool {
        let silent_for = self.last_heard.map(|at| now.saturating_duration_since(at));
        let up = self.tunnel.established && self.agent.chosen().is_some();
        // What the hurried probes of a silent path lose is silence, and no loss.
        let lossy = !self.agent.is_silent()
            && self.latency.lost(now) >= SOME_LOST
            && self.latency.loss(now).is_some_and(|loss| loss >= BAD_LOSS);
        let bad = match silent_for {
            Some(silent) if silent >= SILENT => Some(PeerTrouble::Silent),
            _ if lossy => Some(PeerTrouble::Loss),
            _ if self.latency.answers() < SOME_ANSWERS => None,
            _ if self.latency.jitter().is_some_and(|jitter| jitter >= BAD_JITTER) => {
                Some(PeerTrouble::Jitter)
            }
            _ if self.latency.rtt().is_some_and(|rtt| rtt >= BAD_RTT) => Some(PeerTrouble::Delay),
            _ => None,
        };
        let lost = silent_for.is_none_or(|silent| silent >= LOST_AFTER);
        let well = match bad {
            Some(trouble) => (State::Degraded { trouble }, standing::word(trouble)),
            None => (State::Connected, "path and session are there"),
        };
        let next = match &self.state {
            State::Connecting { .. } | State::Failed(_) | State::Lost(_) if up && !lost => Some(well),
            State::Connecting { since } if now.saturating_duration_since(*since) >= FAILED_AFTER => {
                Some((State::Failed(Retry::first(now)), "not up in time"))
            }
            State::Connected | State::Degraded { .. } if lost => {
                Some((State::Lost(Retry::first(now)), "silent for 10 s"))
            }
            State::Connected | State::Degraded { .. } if well.0 != self.state => Some(well),
            State::Connecting { .. }
            | State::Connected
            | State::Degraded { .. }
            | State::Failed(_)
            | State::Lost(_) => None,
        };
        let Some((next, cause)) = next else { return false };
        self.transition(next, cause, out);
        true
    }

    pub(super) fn transition(&mut self, next: State, cause: &str, out: &mut VecDeque<Output>) {
        out.push_back(Output::Event(Event::Peer {
            slot: self.slot(),
            from: self.state.name(),
            to: next.name(),
            cause: cause.to_owned(),
        }));
        self.state = next;
    }

    /// When the state is to be looked at again.
    pub(super) fn next_judged(&self) -> Option<Instant> {
        // Silence degrades first, then loses; what is degraded already has only the second to wait for.
        let heard = self.last_heard.map(|at| match self.state {
            State::Connected => at + SILENT,
            State::Degraded { .. } | State::Connecting { .. } | State::Failed(_) | State::Lost(_) => {
                at + LOST_AFTER
            }
        });
        match &self.state {
            State::Connecting { since } => Some(*since + FAILED_AFTER),
            State::Connected | State::Degraded { .. } => heard,
            State::Failed(retry) | State::Lost(retry) => Some(retry.at),
        }
    }

    pub(crate) fn shown(&self) -> PeerState {
        match self.state {
            State::Connecting { .. } => PeerState::Connecting,
            State::Connected => PeerState::Connected,
            State::Degraded { .. } => PeerState::Degraded,
            State::Failed(_) => PeerState::Failed,
            State::Lost(_) => PeerState::Lost,
        }
    }

    /// What is wrong with it. `relayed` says whether this member has a relay that is up.
    pub(crate) fn trouble(&self, relayed: bool) -> Option<PeerTrouble> {
        let offers = |candidate: &Candidate| candidate.kind == CandidateKind::Relayed;
        let no_relay = !relayed && !self.record.candidates.iter().any(offers);
        match &self.state {
            State::Connecting { .. } | State::Connected => None,
            State::Degraded { trouble } => Some(*trouble),
            // Who was reached directly until now would be again, if she was there.
            State::Lost(_) if no_relay && self.was_relayed => Some(PeerTrouble::NoRelay),
            State::Lost(_) => Some(PeerTrouble::Silent),
            State::Failed(_) if no_relay => Some(PeerTrouble::NoRelay),
            State::Failed(_) => Some(PeerTrouble::Unreachable),
        }
    }
}
