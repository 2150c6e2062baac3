//! One try with one peer, from the proposal to the hole or its failure.

use super::aim::{self, Seen};
use super::scout::Scout;
use super::script::{self, Shot};
use super::{Aim, HolePlan, LASTS, LEAD, LONG_LEAD, Part};
use crate::nat::FamilyReport;
use crate::path::{Path, TransportId};
use crate::records::PunchStep;
use crate::stun::TransactionId;
use lanrage_proto::MemberId;
use rand_chacha::ChaCha20Rng;
use rand_core::RngCore;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

/// An answer to a proposal may take this long.
const ANSWER: Duration = Duration::from_secs(4);
/// A hit that did not become a path within this was none.
const CONFIRMED: Duration = Duration::from_secs(2);
/// However late the peer began, this much of the try is left for the own datagrams: once by each socket, and an answer.
const SHOTS: Duration = Duration::from_millis(1500);
/// Datagrams go out in small groups, so that hundreds of them cost tens of wake-ups.
const GROUP: Duration = Duration::from_millis(20);

/// A try under way.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) peer: MemberId,
    /// Drawn by who proposed it.
    pub(crate) number: u64,
    /// Where the peer's NAT shows it.
    pub(crate) at: Ipv4Addr,
    /// Likewise, as it was said when the try began.
    pub(super) seen: SocketAddrV4,
    /// Since when it is under way.
    pub(crate) began: Instant,
    part: Part,
    ends: Instant,
    /// All guesses of a peer with one port are to be out before this side begins, if it comes from anywhere.
    pub(super) last: bool,
    own: Option<Aim>,
    theirs: Option<Aim>,
    stage: Stage,
    sockets: Vec<HolePlan>,
    /// The first path by which something came, and when.
    hit: Option<(Path, Instant)>,
}

/// How far it is.
#[derive(Debug)]
enum Stage {
    /// What the own mappings depend on is being found out.
    Unaimed,
    /// The own aim is known; the peer is to be told.
    Aimed,
    /// Which ports the own NAT deals is being asked; of a fresh socket, where the primary one's port is told.
    Scouting { scout: Scout, port: Option<u16> },
    /// The peer is asked.
    Asked { until: Instant },
    /// The peer has begun; it gets its lead.
    Waiting { until: Instant },
    /// Datagrams go out.
    Firing(Round),
}

#[derive(Debug)]
struct Round {
    began: Instant,
    shots: Vec<Shot>,
    next: usize,
    /// No more go out before this.
    rests: Instant,
}

/// What a try wants done now.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// To be said to the peer.
    pub(crate) say: Option<PunchStep>,
    /// Questions to a STUN server.
    pub(crate) questions: Vec<(Path, Vec<u8>)>,
    /// Paths to knock at.
    pub(crate) knocks: Vec<Path>,
    /// A hit that was none after all.
    pub(crate) missed: Option<Path>,
    /// It ends without a hole.
    pub(crate) over: bool,
}

/// Where sockets come from: how many, and how many of them with low ports.
pub(super) type Opener<'a> = dyn FnMut(&mut ChaCha20Rng, usize, usize) -> Vec<HolePlan> + 'a;

impl Attempt {
    /// A try with a peer that is seen at `at`. `theirs` is where it said it comes from: then it proposed the try.
    /// [`Attempt::aim`] has to follow.
    pub(super) fn new(
        now: Instant,
        (peer, seen_at): (MemberId, SocketAddrV4),
        number: u64,
        theirs: Option<Aim>,
    ) -> Self {
        Self {
            peer,
            number,
            at: *seen_at.ip(),
            seen: seen_at,
            part: if theirs.is_some() {
                Part::Follows
            } else {
                Part::Leads
            },
            began: now,
            ends: now + LASTS,
            last: false,
            own: None,
            theirs,
            stage: Stage::Unaimed,
            sockets: Vec::new(),
            hit: None,
        }
    }

    /// Takes up where the own datagrams come from; from one port of another socket than the primary one, where that one's
    /// is `spoilt` for this peer. Whether something can come of it.
    pub(super) fn aim(
        &mut self,
        now: Instant,
        own: &FamilyReport,
        spoilt: bool,
        rng: &mut ChaCha20Rng,
        open: &mut Opener<'_>,
    ) -> bool {
        let Some(seen) = aim::seen(own) else {
            return false;
        };
        let mut scout = |sockets, server| {
            let sockets = open(rng, sockets, 0);
            Scout::new(now, server, sockets, || {
                let mut id = TransactionId::default();
                rng.fill_bytes(&mut id);
                id
            })
        };
        let fresh = aim::server(own).filter(|_| spoilt);
        let (aim, stage) = match (seen, fresh) {
            (Seen::Aim(aim @ Aim::Port(port)), Some(server)) => {
                let (scout, port) = (scout(1, server), Some(port));
                (Some(aim), Stage::Scouting { scout, port })
            }
            (Seen::Aim(aim), _) => (Some(aim), Stage::Aimed),
            (Seen::Asked(server), _) => {
                let (scout, port) = (scout(2, server), None);
                (None, Stage::Scouting { scout, port })
            }
        };
        let meets = |theirs: Aim| theirs.is_plausible() && aim.is_none_or(|own| own.meets(theirs));
        self.own = aim;
        self.stage = stage;
        self.theirs.is_none_or(meets)
    }

    /// Whether this side has one port.
    pub(super) fn has_one_port(&self) -> bool {
        matches!(self.own, Some(Aim::Port(_)))
    }

    /// Whether it waits for what the own mappings depend on.
    pub(crate) fn is_unaimed(&self) -> bool {
        matches!(self.stage, Stage::Unaimed)
    }

    /// The sockets that should be open for it.
    pub(super) fn sockets(&self) -> &[HolePlan] {
        match &self.stage {
            Stage::Scouting { scout, .. } => scout.sockets(),
            Stage::Unaimed
            | Stage::Aimed
            | Stage::Asked { .. }
            | Stage::Waiting { .. }
            | Stage::Firing(_) => &self.sockets,
        }
    }

    fn has(&self, transport: TransportId) -> bool {
        self.sockets.iter().any(|socket| socket.id == transport)
    }

    /// Whether a path is one that this try looks for.
    pub(crate) fn concerns(&self, path: &Path) -> bool {
        let primary = self.has_one_port() && self.sockets().is_empty();
        let from_one_port = primary && path.transport == TransportId::UDP4;
        path.remote.ip() == IpAddr::V4(self.at) && (from_one_port || self.has(path.transport))
    }

    /// Two of the peer's sockets may have hit the same one here: one pair of ports is answered.
    pub(super) fn takes(&self, path: Path) -> bool {
        let other = self.part == Part::Leads && self.hit.is_some_and(|(hit, _)| hit != path);
        self.concerns(&path) && !other
    }

    pub(super) fn heard(&mut self, now: Instant, path: Path) {
        if self.hit.is_none() && self.concerns(&path) {
            self.hit = Some((path, now));
        }
    }

    pub(super) fn stun(&mut self, path: Path, bytes: &[u8]) {
        if let Stage::Scouting { scout, .. } = &mut self.stage {
            scout.answered(path, bytes);
        }
    }

    /// Whether this is the answer to the own proposal that is waited for.
    pub(crate) fn awaits(&self, peer: &MemberId, number: u64) -> bool {
        self.peer == *peer && self.number == number && matches!(self.stage, Stage::Asked { .. })
    }

    /// Whether it was proposed, or is about to be, and the peer said nothing to it yet.
    pub(crate) fn is_proposal(&self) -> bool {
        let open = matches!(
            self.stage,
            Stage::Aimed | Stage::Scouting { .. } | Stage::Asked { .. }
        );
        self.part == Part::Leads && open
    }

    /// The peer has begun.
    pub(super) fn ready(&mut self, now: Instant, theirs: Aim) {
        if theirs.is_plausible() && self.own.is_some_and(|own| own.meets(theirs)) {
            self.theirs = Some(theirs);
            let lead = match (theirs, self.own) {
                (Aim::Port(_), Some(Aim::Anywhere)) if self.last => LONG_LEAD,
                (Aim::Port(_), _) => LEAD,
                (Aim::Anywhere | Aim::After(_), _) => Duration::ZERO,
            };
            let until = (now + lead).min(self.ends - SHOTS);
            self.stage = Stage::Waiting { until };
        }
    }

    /// Does what is due.
    pub(super) fn wake(&mut self, now: Instant, rng: &mut ChaCha20Rng, open: &mut Opener<'_>) -> Turn {
        let mut turn = Turn::default();
        if let Some((path, since)) = self.hit {
            if now < since + CONFIRMED {
                return turn;
            }
            self.hit = None;
            turn.missed = Some(path);
            if let Stage::Firing(round) = &mut self.stage {
                // What was held back is not made up for at once.
                round.began += now.saturating_duration_since(since);
            }
        }
        if let Stage::Scouting { scout, port } = &mut self.stage {
            turn.questions = scout.due(now);
            if let Some(found) = scout.result(now) {
                let fresh = found.map(Aim::Port).filter(|aim| aim.is_plausible());
                self.own = Some(match (*port, found) {
                    (Some(port), _) => fresh.unwrap_or(Aim::Port(port)),
                    (None, found) => found.map_or(Aim::Anywhere, Aim::After),
                });
                if port.is_some() && fresh.is_some() {
                    self.sockets = scout.sockets().to_vec();
                }
                self.stage = Stage::Aimed;
            }
        }
        if let (Stage::Aimed, Some(own)) = (&self.stage, self.own) {
            match self.theirs {
                Some(theirs) => {
                    turn.say = Some(PunchStep::Ready(own));
                    self.fire(now, own, theirs, rng, open);
                }
                None => {
                    turn.say = Some(PunchStep::Ask(own));
                    self.stage = Stage::Asked { until: now + ANSWER };
                }
            }
        }
        if let (Stage::Waiting { until }, Some(own), Some(theirs)) = (&self.stage, self.own, self.theirs)
            && now >= *until
        {
            self.fire(now, own, theirs, rng, open);
        }
        let (at, sockets) = (self.at, &self.sockets);
        match &mut self.stage {
            Stage::Asked { until } => turn.over = now >= *until,
            Stage::Firing(round) => {
                let by = |shot: Shot| Path {
                    transport: sockets
                        .get(shot.from)
                        .map_or(TransportId::UDP4, |socket| socket.id),
                    remote: SocketAddr::from((at, shot.port)),
                };
                turn.knocks = round.due(now).into_iter().map(by).collect();
            }
            Stage::Unaimed | Stage::Aimed | Stage::Scouting { .. } | Stage::Waiting { .. } => {}
        }
        turn.over |= now >= self.ends;
        turn
    }

    fn fire(&mut self, now: Instant, own: Aim, theirs: Aim, rng: &mut ChaCha20Rng, open: &mut Opener<'_>) {
        let (sockets, low) = script::sockets(own, theirs);
        if self.sockets.is_empty() {
            self.sockets = open(rng, sockets, low);
        }
        self.stage = Stage::Firing(Round {
            began: now,
            shots: script::script(own, theirs, rng),
            next: 0,
            rests: now,
        });
    }

    pub(super) fn next_wake(&self) -> Instant {
        if let Some((_, since)) = self.hit {
            return since + CONFIRMED;
        }
        let next = match &self.stage {
            // Taken up by the wake that follows whatever led here.
            Stage::Unaimed | Stage::Aimed => None,
            Stage::Scouting { scout, .. } => Some(scout.next_wake()),
            Stage::Asked { until } | Stage::Waiting { until } => Some(*until),
            Stage::Firing(round) => round.next_wake(),
        };
        next.map_or(self.ends, |next| next.min(self.ends))
    }
}

impl Round {
    fn due(&mut self, now: Instant) -> Vec<Shot> {
        if now < self.rests {
            return Vec::new();
        }
        let left = self.shots.get(self.next..).unwrap_or_default();
        let due = left.iter().take_while(|shot| now >= self.began + shot.at);
        let due: Vec<Shot> = due.copied().collect();
        self.next += due.len();
        self.rests = now + GROUP;
        due
    }

    fn next_wake(&self) -> Option<Instant> {
        let next = self.shots.get(self.next)?;
        Some((self.began + next.at).max(self.rests))
    }
}
