//! Which ports a NAT deals right now: the last of those that come in a row, or the one of a fresh socket.

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

/// A question by a socket that was never used; or two, one right after the other.
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

    /// The port of the one socket; of two the last that was dealt, where ports come in a row. None yet while that is not
    /// known.
    pub(super) fn result(&self, now: Instant) -> Option<Option<u16>> {
        let saw: Vec<u16> = self
            .questions
            .iter()
            .filter_map(|question| question.saw)
            .collect();
        match saw[..] {
            [port] if self.questions.len() == 1 => Some(Some(port)),
            [one, other] => {
                // Where the first question got lost the second one was dealt its port first.
                let follows = |last: u16, first: u16| (1..=STEP).contains(&last.wrapping_sub(first));
                let last = match (follows(other, one), follows(one, other)) {
                    (true, _) => Some(other),
                    (_, true) => Some(one),
                    (false, false) => None,
                };
                Some(last)
            }
            _ => (now >= self.began + GIVES_UP).then_some(None),
        }
    }

    pub(super) fn next_wake(&self) -> Instant {
        let end = self.began + GIVES_UP;
        self.next.map_or(end, |next| next.min(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = "192.0.2.1:3478";

    fn scout(now: Instant) -> Scout {
        let plan = |id| HolePlan {
            id: TransportId(id),
            port: None,
            kept: false,
        };
        let mut drawn = 0;
        Scout::new(
            now,
            SERVER.parse().unwrap(),
            vec![plan(0x8000), plan(0x8001)],
            || {
                drawn += 1;
                [drawn; 12]
            },
        )
    }

    /// A server's answer (RFC 8489 §5, §14.2).
    fn answer(request: &[u8], port: u16) -> Vec<u8> {
        let mut bytes = vec![1, 1, 0, 12, 0x21, 0x12, 0xA4, 0x42];
        bytes.extend(&request[8..20]);
        bytes.extend([0, 0x20, 0, 8, 0, 1]);
        bytes.extend((port ^ 0x2112).to_be_bytes());
        bytes.extend([198 ^ 0x21, 51 ^ 0x12, 100 ^ 0xA4, 1 ^ 0x42]);
        bytes
    }

    #[test]
    fn the_last_port_dealt_counts_whichever_question_got_it() {
        for (ports, last) in [
            ([5000, 5001], Some(5001)),
            ([5001, 5000], Some(5001)),
            ([65_535, 3], Some(3)),
            ([5000, 9000], None),
            ([5000, 5000], None),
        ] {
            let now = Instant::now();
            let mut scout = scout(now);
            assert!(scout.due(now).is_empty());
            let asked = scout.due(now + OPENING);
            assert_eq!(scout.result(now), None);
            for ((path, question), port) in asked.into_iter().zip(ports) {
                scout.answered(path, &answer(&question, port));
            }
            assert_eq!(scout.result(now), Some(last), "{ports:?}");
        }
    }

    #[test]
    fn silence_is_asked_once_more_and_given_up() {
        let now = Instant::now();
        let mut scout = scout(now);
        let asked = scout.due(now + OPENING);
        let stranger = Path::primary(SERVER.parse().unwrap());
        scout.answered(stranger, &answer(&asked[0].1, 5000));
        scout.answered(asked[0].0, &answer(&asked[0].1, 5000));
        assert_eq!(
            scout.due(now + OPENING + AGAIN).len(),
            1,
            "only what is open is asked again"
        );
        assert!(scout.due(now + GIVES_UP).is_empty());
        assert_eq!(scout.result(now + GIVES_UP), Some(None));
    }
}
