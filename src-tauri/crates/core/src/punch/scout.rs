//! Where a NAT that deals its ports in a row stands right now.

use super::HolePlan;
use crate::path::{Path, TransportId};
use crate::stun::{self, Change, TransactionId};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Sockets may take this long to open.
const OPENING: Duration = Duration::from_millis(20);
/// A question without an answer is repeated once after this …
const AGAIN: Duration = Duration::from_millis(300);
/// … and given up after this.
const GIVES_UP: Duration = Duration::from_millis(900);
/// Two sockets in a row get ports this far apart at most: another may come between them.
const STEP: u16 = 8;

/// A question by a socket of its own.
#[derive(Debug)]
struct Question {
    by: TransportId,
    id: TransactionId,
    saw: Option<u16>,
}

/// Two questions, one right after the other, by sockets that were never used.
#[derive(Debug)]
pub(super) struct Scout {
    server: SocketAddr,
    sockets: Vec<HolePlan>,
    questions: Vec<Question>,
    began: Instant,
    /// When they are asked next.
    next: Option<Instant>,
}

impl Scout {
    /// Asks by these sockets.
    pub(super) fn new(
        now: Instant,
        server: SocketAddr,
        sockets: Vec<HolePlan>,
        mut draw: impl FnMut() -> TransactionId,
    ) -> Self {
        let question = |socket: &HolePlan| Question {
            by: socket.id,
            id: draw(),
            saw: None,
        };
        let questions = sockets.iter().map(question).collect();
        Self {
            server,
            sockets,
            questions,
            began: now,
            next: Some(now + OPENING),
        }
    }

    pub(super) fn sockets(&self) -> &[HolePlan] {
        &self.sockets
    }

    /// What is to be sent now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(Path, Vec<u8>)> {
        let Some(at) = self.next.filter(|at| now >= *at) else {
            return Vec::new();
        };
        let again = at + AGAIN;
        self.next = Some(again).filter(|at| *at < self.began + GIVES_UP - AGAIN);
        let ask = |question: &Question| {
            let path = Path {
                transport: question.by,
                remote: self.server,
            };
            (path, stun::request(question.id, Change::Nothing))
        };
        let open = self.questions.iter().filter(|question| question.saw.is_none());
        open.map(ask).collect()
    }

    /// What may be an answer.
    pub(super) fn answered(&mut self, path: Path, bytes: &[u8]) {
        let id = stun::transaction_of(bytes);
        let question = self
            .questions
            .iter_mut()
            .find(|question| question.by == path.transport && Some(question.id) == id);
        if let Some(question) = question.filter(|_| path.remote == self.server) {
            let mapped = stun::answer(bytes).and_then(|answer| answer.mapped);
            question.saw = mapped.map(|mapped| mapped.port());
        }
    }

    /// The last port that was dealt, where ports come in a row; none yet while that is not known.
    pub(super) fn result(&self, now: Instant) -> Option<Option<u16>> {
        let saw: Vec<u16> = self
            .questions
            .iter()
            .filter_map(|question| question.saw)
            .collect();
        match saw[..] {
            [first, second] => {
                let step = second.wrapping_sub(first);
                Some((1..=STEP).contains(&step).then_some(second))
            }
            _ => (now >= self.began + GIVES_UP).then_some(None),
        }
    }

    pub(super) fn next_wake(&self) -> Instant {
        let end = self.began + GIVES_UP;
        self.next.map_or(end, |next| next.min(end))
    }
}
