//! Whether anybody is let in, asked by a socket that never sent to anybody else.
//!
//! What comes unasked to the primary socket may be let in because an earlier run of the engine sent there from the same
//! port, or this one before it was elsewhere: NATs remember that for minutes. A fresh socket has no such past. That
//! nothing comes to it proves nothing about the primary one, whose port the router may lead here on request.

use super::{Evidence, FamilyReport, Filtering, Mapping, Reason};
use crate::stun::{self, Change, TransactionId};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The socket may take this long to open.
const OPENING: Duration = Duration::from_millis(20);
/// The question is repeated after this …
const AGAIN: Duration = Duration::from_millis(400);
/// … so many times in all.
const TRIES: u8 = 7;

/// A question under way, or asked in vain.
#[derive(Debug)]
pub(super) struct Fresh {
    server: SocketAddr,
    other: SocketAddr,
    id: TransactionId,
    tries: u8,
    next: Instant,
    over: bool,
}

impl Fresh {
    /// Asks where a report leaves open whether what came was let in by an earlier question; none where it does not.
    pub(super) fn new(
        now: Instant,
        report: &FamilyReport,
        draw: impl FnOnce() -> TransactionId,
    ) -> Option<Self> {
        let doubted = report.reason == Some(Reason::AlternateContacted)
            && report.mapping == Some(Mapping::EndpointIndependent);
        let tested = report.evidence.iter().find_map(|evidence| match *evidence {
            Evidence::Filter { server, other, .. } => Some((server, other)),
            Evidence::Asked { .. } | Evidence::Fresh { .. } | Evidence::Earlier => None,
        });
        let (server, other) = tested.filter(|_| doubted)?;
        Some(Self {
            server,
            other,
            id: draw(),
            tries: 0,
            next: now + OPENING,
            over: false,
        })
    }

    /// Whether its socket is needed.
    pub(super) fn is_asking(&self) -> bool {
        !self.over
    }

    /// The question, when it is due.
    pub(super) fn due(&mut self, now: Instant) -> Option<(SocketAddr, Vec<u8>)> {
        if self.over || now < self.next {
            return None;
        }
        if self.tries >= TRIES {
            self.over = true;
            return None;
        }
        self.tries += 1;
        self.next = now + AGAIN;
        Some((self.server, stun::request(self.id, Change::Both)))
    }

    /// The report with what an answer proves; none where it proves nothing.
    pub(super) fn answered(
        &self,
        report: &FamilyReport,
        from: SocketAddr,
        bytes: &[u8],
    ) -> Option<FamilyReport> {
        let ours = stun::transaction_of(bytes) == Some(self.id) && from.ip() == self.other.ip();
        stun::answer(bytes).filter(|answer| ours && answer.error.is_none())?;
        let mut evidence = report.evidence.clone();
        evidence.push(Evidence::Fresh {
            server: self.server,
            from,
        });
        let proven = FamilyReport {
            filtering: Some(Filtering::EndpointIndependent),
            evidence,
            ..report.clone()
        };
        Some(proven.concluded(Reason::AlternateContacted))
    }

    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.is_asking().then_some(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nat::NatType;
    use crate::stun::tests::{written, xored};

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn doubtful() -> FamilyReport {
        FamilyReport {
            mapped: Some(at("203.0.113.7:5000")),
            translated: Some(true),
            mapping: Some(Mapping::EndpointIndependent),
            evidence: vec![Evidence::Filter {
                server: at("192.0.2.1:3478"),
                other: at("198.51.100.9:3479"),
                both: Some(at("198.51.100.9:3479")),
                port: None,
                asked: 1,
                answered: 0,
            }],
            ..FamilyReport::unknown(Reason::AlternateContacted)
        }
    }

    #[test]
    fn an_answer_from_elsewhere_proves_openness_and_no_other_does() {
        let report = doubtful();
        let fresh = Fresh::new(Instant::now(), &report, || [7; 12]).unwrap();
        let answer = |id| written(id, 0x0101, &[(0x0020, xored(at("203.0.113.7:6000"), id))]);
        for (from, id) in [("192.0.2.1:3478", [7; 12]), ("198.51.100.9:3479", [8; 12])] {
            assert_eq!(fresh.answered(&report, at(from), &answer(id)), None);
        }
        let proven = fresh
            .answered(&report, at("198.51.100.9:3479"), &answer([7; 12]))
            .unwrap();
        assert_eq!((proven.kind, proven.reason), (NatType::FullCone, None));
        assert_eq!(proven.mapped, report.mapped, "the primary socket's");
    }

    #[test]
    fn only_what_is_left_open_is_asked_and_not_for_ever() {
        let start = Instant::now();
        let known = FamilyReport {
            reason: Some(Reason::Lossy),
            ..doubtful()
        };
        assert!(Fresh::new(start, &known, || [7; 12]).is_none());
        let mut fresh = Fresh::new(start, &doubtful(), || [7; 12]).unwrap();
        let mut asked = 0;
        while let Some(now) = fresh.next_wake() {
            let question = fresh.due(now);
            assert!(question.iter().all(|(to, _)| *to == at("192.0.2.1:3478")));
            asked += usize::from(question.is_some());
            assert!(now < start + Duration::from_secs(4));
        }
        assert_eq!(asked, usize::from(TRIES));
        assert!(!fresh.is_asking());
    }
}
