//! What a NAT's mappings depend on, found out at once and by a socket of its own.
//!
//! Discovery by the primary sockets learns that last where there is one STUN server: its other address must not be sent
//! to before filtering was tested from there. Filters belong to a mapping, so that questions by another socket spoil
//! nothing: as soon as two addresses have answered, it is known whether they saw the same port.

use super::HolePlan;
use crate::nat::{FamilyReport, Mapping, NatType};
use crate::path::{Path, TransportId};
use crate::stun::{self, Change, TransactionId};
use lanrage_proto::PartyRange;
use lanrage_proto::server_url::is_reachable_unicast;
use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// The socket may take this long to open.
const OPENING: Duration = Duration::from_millis(20);
/// A question without an answer is repeated after this …
const AGAIN: Duration = Duration::from_millis(250);
/// … so many times in all.
const TRIES: u8 = 4;
/// Answers to the last question are waited for this long.
const GRACE: Duration = Duration::from_millis(500);
/// Addresses asked at most.
const ASKED: usize = 3;

#[derive(Debug)]
struct Question {
    to: SocketAddr,
    id: TransactionId,
    tries: u8,
    next: Instant,
    saw: Option<SocketAddr>,
}

/// Questions under way.
#[derive(Debug)]
pub(super) struct Survey {
    socket: HolePlan,
    range: PartyRange,
    questions: Vec<Question>,
    /// The other address of one that answered.
    other: Option<SocketAddr>,
}

/// What came of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Surveyed {
    /// The public address for which that holds.
    ip: IpAddr,
    mapping: Mapping,
}

impl Survey {
    /// Asks the first of these servers by this socket, and further addresses that they name.
    pub(super) fn new(
        now: Instant,
        servers: &[SocketAddr],
        socket: HolePlan,
        range: PartyRange,
        mut draw: impl FnMut() -> TransactionId,
    ) -> Self {
        let opened = now + OPENING;
        let question = |to: &SocketAddr| Question::new(*to, draw(), opened);
        Self {
            socket,
            range,
            questions: servers.iter().take(ASKED - 1).map(question).collect(),
            other: None,
        }
    }

    pub(super) fn socket(&self) -> HolePlan {
        self.socket
    }

    pub(super) fn is_by(&self, transport: TransportId) -> bool {
        self.socket.id == transport
    }

    /// What is to be sent now.
    pub(super) fn due(&mut self, now: Instant, draw: impl FnOnce() -> TransactionId) -> Vec<(Path, Vec<u8>)> {
        if let Some(other) = self.other.take()
            && self.questions.len() < ASKED
            && self
                .questions
                .iter()
                .all(|question| question.to.ip() != other.ip())
        {
            self.questions.push(Question::new(other, draw(), now));
        }
        let transport = self.socket.id;
        let due = self.questions.iter_mut().filter_map(|question| {
            let bytes = question.due(now)?;
            let remote = question.to;
            Some((Path { transport, remote }, bytes))
        });
        due.collect()
    }

    /// What may be an answer.
    pub(super) fn answered(&mut self, path: Path, bytes: &[u8]) {
        let id = stun::transaction_of(bytes);
        let open = |question: &&mut Question| question.saw.is_none() && Some(question.id) == id;
        let mut questions = self.questions.iter_mut();
        let Some(question) = questions.find(open).filter(|known| known.to == path.remote) else {
            return;
        };
        let Some(answer) = stun::answer(bytes) else { return };
        question.saw = answer.mapped;
        let to = question.to;
        // Ports of well-known services are none to be asked on somebody's word.
        let askable = |other: &SocketAddr| {
            other.is_ipv4() == to.is_ipv4()
                && other.ip() != to.ip()
                && other.port() >= 1024
                && is_reachable_unicast(other.ip(), self.range)
        };
        if let Some(other) = answer.other.filter(askable) {
            self.other = Some(other);
        }
    }

    /// What two addresses saw, once they have answered; an inner none where nothing more can come of it.
    pub(super) fn result(&self, now: Instant) -> Option<Option<Surveyed>> {
        let seen = self.questions.iter();
        let seen = seen.filter_map(|question| Some((question.to, question.saw?)));
        let seen: Vec<(SocketAddr, SocketAddr)> = seen.collect();
        let (first, first_saw) = match seen.first() {
            Some((first, saw)) => (*first, *saw),
            None => return self.is_over(now).then_some(None),
        };
        if seen.iter().all(|(to, _)| to.ip() == first.ip()) {
            return self.is_over(now).then_some(None);
        }
        let same = seen.iter().all(|(_, mapped)| *mapped == first_saw);
        Some(Some(Surveyed {
            ip: first_saw.ip(),
            mapping: if same {
                Mapping::EndpointIndependent
            } else {
                Mapping::EndpointDependent
            },
        }))
    }

    fn is_over(&self, now: Instant) -> bool {
        self.other.is_none() && self.questions.iter().all(|question| question.is_over(now))
    }

    pub(super) fn next_wake(&self) -> Option<Instant> {
        let open = self.questions.iter().filter(|question| question.saw.is_none());
        open.map(|question| question.next).min()
    }
}

impl Question {
    fn new(to: SocketAddr, id: TransactionId, at: Instant) -> Self {
        Self {
            to,
            id,
            tries: 0,
            next: at,
            saw: None,
        }
    }

    fn due(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.saw.is_some() || now < self.next || self.tries >= TRIES {
            return None;
        }
        self.tries += 1;
        self.next = now + if self.tries < TRIES { AGAIN } else { GRACE };
        Some(stun::request(self.id, Change::Nothing))
    }

    /// Whether it was answered or is given up.
    fn is_over(&self, now: Instant) -> bool {
        self.saw.is_some() || self.tries >= TRIES && now >= self.next
    }
}

impl Surveyed {
    /// Whether it was found out where others see this computer.
    pub(super) fn is_of(&self, report: &FamilyReport) -> bool {
        report.mapped.is_some_and(|mapped| mapped.ip() == self.ip)
    }

    /// The report with what follows from this for holes: whether each destination sees another port. A filter that is not
    /// known counts as the strictest.
    pub(super) fn completes<'a>(surveyed: Option<&Self>, report: &'a FamilyReport) -> Cow<'a, FamilyReport> {
        let surveyed = surveyed.filter(|surveyed| surveyed.is_of(report));
        let mapping = report.mapping.or(surveyed.map(|surveyed| surveyed.mapping));
        let kind = match (report.kind, mapping) {
            (NatType::Unknown, Some(Mapping::EndpointIndependent)) => NatType::PortRestrictedCone,
            (NatType::Unknown, Some(_)) => NatType::Symmetric,
            (known, _) => known,
        };
        if kind == report.kind {
            return Cow::Borrowed(report);
        }
        Cow::Owned(FamilyReport {
            kind,
            reason: None,
            mapping,
            ..report.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nat::Reason;

    const FIRST: &str = "192.0.2.1:3478";
    const OTHER: &str = "198.51.100.9:3479";

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn survey(now: Instant, servers: &[&str]) -> Survey {
        let servers: Vec<SocketAddr> = servers.iter().map(|server| at(server)).collect();
        let socket = HolePlan {
            id: TransportId::FIRST_HOLE,
            port: None,
            kept: false,
        };
        let mut drawn = 0;
        let range = PartyRange::new([10, 66, 0, 0].into(), 16).unwrap();
        Survey::new(now, &servers, socket, range, || {
            drawn += 1;
            [drawn; 12]
        })
    }

    /// A server's answer (RFC 8489 §5, §14.2): this port, and perhaps OTHER-ADDRESS (RFC 5780 §7.4).
    fn answer(request: &[u8], port: u16, other: Option<SocketAddr>) -> Vec<u8> {
        let mut bytes = vec![
            1,
            1,
            0,
            if other.is_some() { 24 } else { 12 },
            0x21,
            0x12,
            0xA4,
            0x42,
        ];
        bytes.extend(&request[8..20]);
        bytes.extend([0, 0x20, 0, 8, 0, 1]);
        bytes.extend((port ^ 0x2112).to_be_bytes());
        bytes.extend([203 ^ 0x21, 0x12, 113 ^ 0xA4, 7 ^ 0x42]);
        if let Some(SocketAddr::V4(other)) = other {
            bytes.extend([0x80, 0x2C, 0, 8, 0, 1]);
            bytes.extend(other.port().to_be_bytes());
            bytes.extend(other.ip().octets());
        }
        bytes
    }

    /// The ports that the server and its other address see.
    fn seen(ports: [u16; 2]) -> Surveyed {
        let now = Instant::now();
        let mut survey = survey(now, &[FIRST]);
        assert!(survey.due(now, || [9; 12]).is_empty(), "the socket has to open");
        let now = now + OPENING;
        let asked = survey.due(now, || [9; 12]);
        assert_eq!(asked.len(), 1);
        survey.answered(asked[0].0, &answer(&asked[0].1, ports[0], Some(at(OTHER))));
        assert_eq!(survey.result(now), None);
        let asked = survey.due(now, || [9; 12]);
        assert_eq!(asked[0].0.remote, at(OTHER));
        survey.answered(asked[0].0, &answer(&asked[0].1, ports[1], None));
        survey.result(now).flatten().unwrap()
    }

    fn report() -> FamilyReport {
        FamilyReport {
            mapped: Some(at("203.0.113.7:5000")),
            ..FamilyReport::unknown(Reason::InProgress)
        }
    }

    #[test]
    fn two_addresses_tell_a_cone_from_a_symmetric_nat() {
        for (ports, kind) in [
            ([5001, 5001], NatType::PortRestrictedCone),
            ([5001, 40_000], NatType::Symmetric),
        ] {
            let surveyed = seen(ports);
            assert!(surveyed.is_of(&report()));
            let completed = Surveyed::completes(Some(&surveyed), &report()).into_owned();
            assert_eq!(completed.kind, kind);
            assert_eq!(completed.reason, None);
        }
    }

    #[test]
    fn what_was_seen_elsewhere_or_is_known_better_is_not_touched() {
        let surveyed = seen([5001, 40_000]);
        let elsewhere = FamilyReport {
            mapped: Some(at("203.0.113.8:5000")),
            ..report()
        };
        let named = FamilyReport {
            kind: NatType::FullCone,
            mapping: Some(Mapping::EndpointIndependent),
            ..report()
        };
        for report in [elsewhere, named, FamilyReport::unknown(Reason::InProgress)] {
            assert_eq!(*Surveyed::completes(Some(&surveyed), &report), report);
        }
    }

    #[test]
    fn one_address_alone_and_silence_tell_nothing() {
        for answers in [false, true] {
            let start = Instant::now();
            let mut survey = survey(start, &[FIRST]);
            let mut sent = 0;
            let mut now = start + OPENING;
            while survey.result(now).is_none() {
                for (path, question) in survey.due(now, || [9; 12]) {
                    sent += 1;
                    // Another's answer is none.
                    let stranger = Path {
                        remote: at(OTHER),
                        ..path
                    };
                    survey.answered(stranger, &answer(&question, 1, None));
                    if answers {
                        survey.answered(path, &answer(&question, 5001, None));
                    }
                }
                now = survey.next_wake().unwrap_or(now);
                assert!(now < start + Duration::from_secs(3));
            }
            assert_eq!(survey.result(now), Some(None));
            assert_eq!(sent, if answers { 1 } else { usize::from(TRIES) });
        }
    }
}
