//! One connection to a control plane: greeting, proof, requests and their answers, heartbeats, time-outs.

use crate::io::{ConnId, ControlEvent, Output};
use crate::keys::{MemberKeys, PartyKeys};
use lanrage_proto::admission::Proof;
use lanrage_proto::control::{ClientFrame, Request, ServerMessage, Versions};
use lanrage_proto::{Fault, FaultCode, MemberId, ServerUrl};
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long a WebSocket may take to open. TCP alone repeats its first packet after 1 s and 3 s.
const OPENING: Duration = Duration::from_secs(6);
/// How long an answer may take before the connection counts as dead.
const ANSWER: Duration = Duration::from_secs(10);

/// What was asked, to make sense of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Hello,
    Prove,
    Register,
    Join,
    Leave,
    Dissolve,
    Update,
    Heartbeat,
    Discover,
    Snapshot,
    Relays,
    Signal(MemberId),
}

/// News from a connection.
#[derive(Debug)]
pub(crate) enum News {
    /// Proven; everything else may be asked now.
    Welcome,
    /// An answer.
    Answer(Asked, ServerMessage),
    /// Something nobody asked for.
    Told(ServerMessage),
    /// It is over.
    Over(Option<Fault>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Opening,
    Greeting,
    Open {
        next_heartbeat: Instant,
        every: Duration,
    },
}

/// Who speaks on the connection.
#[derive(Clone, Copy)]
pub(crate) struct Speaker<'a> {
    pub(crate) party: &'a PartyKeys,
    pub(crate) me: &'a MemberKeys,
}

/// One connection.
pub(crate) struct Link {
    conn: ConnId,
    url: ServerUrl,
    phase: Phase,
    deadline: Option<Instant>,
    next_id: u64,
    pending: BTreeMap<u64, (Asked, Instant)>,
    seen_as: Option<IpAddr>,
    stun: Vec<String>,
}

impl Link {
    pub(crate) fn dial(now: Instant, conn: ConnId, url: ServerUrl, out: &mut VecDeque<Output>) -> Self {
        out.push_back(Output::Dial(conn, url.clone()));
        Self {
            conn,
            url,
            phase: Phase::Opening,
            deadline: Some(now + OPENING),
            next_id: 1,
            pending: BTreeMap::new(),
            seen_as: None,
            stun: Vec::new(),
        }
    }

    pub(crate) fn conn(&self) -> ConnId {
        self.conn
    }

    pub(crate) fn url(&self) -> &ServerUrl {
        &self.url
    }

    /// The address this computer's connection came from, as the control plane saw it.
    pub(crate) fn seen_as(&self) -> Option<IpAddr> {
        self.seen_as
    }

    /// The STUN servers it names, `host:port`.
    pub(crate) fn stun(&self) -> &[String] {
        &self.stun
    }

    /// Whether requests may be made.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    pub(crate) fn ask(&mut self, now: Instant, asked: Asked, request: Request, out: &mut VecDeque<Output>) {
        let id = self.next_id;
        self.next_id += 1;
        self.pending.insert(id, (asked, now + ANSWER));
        if let Phase::Open {
            next_heartbeat,
            every,
        } = &mut self.phase
        {
            // Any request shows that the member is there.
            *next_heartbeat = now + *every;
        }
        out.push_back(Output::Say(self.conn, Box::new(ClientFrame { id, request })));
    }

    /// Finds out soon whether the connection still carries anything, as after a change of network.
    pub(crate) fn check(&mut self, now: Instant, within: Duration, out: &mut VecDeque<Output>) {
        if self.is_open() {
            self.ask(now, Asked::Heartbeat, Request::Heartbeat {}, out);
            if let Some((_, deadline)) = self.pending.values_mut().next_back() {
                *deadline = now + within;
            }
        }
    }

    pub(crate) fn event(
        &mut self,
        now: Instant,
        event: ControlEvent,
        speaker: Speaker<'_>,
        out: &mut VecDeque<Output>,
    ) -> Option<News> {
        match event {
            ControlEvent::Closed(fault) => Some(News::Over(fault)),
            ControlEvent::Open => {
                self.phase = Phase::Greeting;
                self.deadline = None;
                let hello = Request::Hello {
                    versions: Versions::OURS,
                    tag: speaker.party.tag,
                    authority: self.url.authority(),
                };
                self.ask(now, Asked::Hello, hello, out);
                None
            }
            ControlEvent::Frame(frame) => match frame.re {
                None => Some(News::Told(frame.message)),
                Some(id) => {
                    let (asked, _) = self.pending.remove(&id)?;
                    self.answer(now, asked, frame.message, speaker, out)
                }
            },
        }
    }

    fn answer(
        &mut self,
        now: Instant,
        asked: Asked,
        message: ServerMessage,
        speaker: Speaker<'_>,
        out: &mut VecDeque<Output>,
    ) -> Option<News> {
        match (asked, message) {
            (Asked::Hello, ServerMessage::Challenge { challenge }) => {
                let proof = Proof::make(
                    &speaker.party.id,
                    speaker.me.signing(),
                    &challenge,
                    &self.url.authority(),
                );
                self.ask(now, Asked::Prove, Request::Prove { proof }, out);
                None
            }
            (
                Asked::Prove,
                ServerMessage::Welcome {
                    heartbeat_seconds,
                    seen_as,
                    stun,
                    ..
                },
            ) => {
                let every = Duration::from_secs(u64::from(heartbeat_seconds.clamp(5, 120)));
                self.phase = Phase::Open {
                    next_heartbeat: now + every,
                    every,
                };
                self.seen_as = seen_as;
                self.stun = stun;
                Some(News::Welcome)
            }
            (Asked::Hello, ServerMessage::VersionUnsupported { versions }) => {
                let fault = Fault::new(FaultCode::VersionUnsupported)
                    .with("theirs", versions)
                    .with("ours", Versions::OURS);
                Some(self.hang_up(Some(fault), out))
            }
            (Asked::Hello | Asked::Prove, ServerMessage::Fault { code }) => {
                Some(self.hang_up(Some(refusal(code)), out))
            }
            (Asked::Hello | Asked::Prove, _) => {
                Some(self.hang_up(Some(FaultCode::ControlMalformed.into()), out))
            }
            // The heartbeat's answer only has to come.
            (Asked::Heartbeat, ServerMessage::Done {}) => None,
            (asked, ServerMessage::Fault { code }) => {
                let code = refusal(code).code;
                Some(News::Answer(asked, ServerMessage::Fault { code }))
            }
            (asked, message) => Some(News::Answer(asked, message)),
        }
    }

    /// Lets heartbeats go out and overdue answers end the connection.
    pub(crate) fn wake(&mut self, now: Instant, out: &mut VecDeque<Output>) -> Option<News> {
        let overdue = self.deadline.is_some_and(|at| now >= at)
            || self.pending.values().any(|(_, deadline)| now >= *deadline);
        if overdue {
            return Some(self.hang_up(None, out));
        }
        if let Phase::Open { next_heartbeat, .. } = self.phase
            && now >= next_heartbeat
        {
            self.ask(now, Asked::Heartbeat, Request::Heartbeat {}, out);
        }
        None
    }

    pub(crate) fn next_wake(&self) -> Option<Instant> {
        let heartbeat = match self.phase {
            Phase::Open { next_heartbeat, .. } => Some(next_heartbeat),
            Phase::Opening | Phase::Greeting => None,
        };
        let answers = self.pending.values().map(|(_, deadline)| *deadline);
        self.deadline.into_iter().chain(heartbeat).chain(answers).min()
    }

    fn hang_up(&self, fault: Option<Fault>, out: &mut VecDeque<Output>) -> News {
        out.push_back(Output::Hangup(self.conn));
        News::Over(fault)
    }
}

/// A control plane's refusal as a player is told it. It may speak of the party and of itself alone: who could make
/// this computer say that its key file is damaged would have it deleted.
pub(crate) fn refusal(code: FaultCode) -> Fault {
    match code {
        FaultCode::PartyUnknown
        | FaultCode::PartyEnded
        | FaultCode::PartyFull
        | FaultCode::PartyExists
        | FaultCode::NotAdmitted
        | FaultCode::NotAMember
        | FaultCode::HostOnly
        | FaultCode::RecordOld
        | FaultCode::RecordInvalid
        | FaultCode::MemberAway
        | FaultCode::TooMany
        | FaultCode::ControlMalformed => code.into(),
        FaultCode::Internal => Fault::new(code).with("reason", "the server can't carry it out now"),
        _ => FaultCode::ControlMalformed.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_plane_speaks_of_the_party_and_never_of_this_computer() {
        for code in FaultCode::ALL {
            let told = refusal(*code);
            let own = [
                FaultCode::SeedDamaged,
                FaultCode::NotAllowed,
                FaultCode::ControlUntrusted,
            ];
            assert!(!own.contains(&told.code), "{code} became {}", told.code);
        }
        assert_eq!(refusal(FaultCode::PartyFull).code, FaultCode::PartyFull);
        assert_eq!(refusal(FaultCode::SeedDamaged).code, FaultCode::ControlMalformed);
    }
}
