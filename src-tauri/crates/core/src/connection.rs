//! The connection to one peer: what is known of it, its path agent, its tunnel and how all that is.

use crate::context::Context;
use crate::coordinator::{Agent, PathFacts, Tier};
use crate::io::{Event, Output};
use crate::keys::PairKeys;
use crate::latency::Latency;
use crate::lobby::Receipt;
use crate::path::Path;
use crate::probe::{self, Message, ReplayWindow};
use crate::records::{Candidate, CandidateKind, Record};
use crate::standing::State;
use crate::table::TablePeer;
use lanrage_proto::control::Sealed;
use lanrage_proto::ids::Epoch;
use lanrage_proto::ipc::PathKind;
use lanrage_proto::{MemberId, Seq, Slot};
use rand_core::RngCore;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

mod health;
mod moves;
mod views;

/// A handshake that the other side asks for is begun at most this often.
const HANDSHAKE_AGAIN: Duration = Duration::from_millis(250);
/// What a peer wants done beyond what it can do itself.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wants {
    /// Pass our addresses to it by the control plane.
    pub(crate) call: bool,
    /// Find out why nothing comes from it: whether this computer can still be reached where it thinks.
    pub(crate) alarm: bool,
    /// Something shown changed …
    pub(crate) view: bool,
    /// … or only how good the connection is.
    pub(crate) measures: bool,
    /// It was pinged, and so may others be.
    pub(crate) pinged: bool,
    /// Packets flow that did not before.
    pub(crate) back: bool,
}

/// What a peer said beyond what concerns the path to it.
pub(crate) enum Said {
    /// Something signed, for the party.
    Word(Sealed),
    /// Which of our announces arrived there.
    Receipts(Vec<Receipt>),
}

/// A peer whose record is here.
pub(crate) struct Peer {
    pub(crate) member: MemberId,
    pub(crate) record: Record,
    pub(crate) sealed: Sealed,
    pub(crate) hash: [u8; 32],
    pair: PairKeys,
    /// By which its probes to this run are known.
    index: [u8; 8],
    /// The number of the peer's run; newer ones come by probe or call before the record does.
    session: u64,
    state: State,
    agent: Agent,
    latency: Latency,
    /// How many answers the latency rested on when it was last shown.
    shown_answers: u32,
    replay: ReplayWindow,
    tunnel: Tunnel,
    /// Counts the probes to this peer. It starts where the member's own count stands and gives it back in
    /// [`Peer::retire`], so that no number is used twice under the pair's keys.
    probes: Seq,
    last_signal: Seq,
    last_heard: Option<Instant>,
    /// Whether the last path there was led through a relay.
    was_relayed: bool,
    /// Since when and when last the peer's view was found to differ.
    differs: Option<(Instant, Instant)>,
    /// When the words of those who left were passed to it.
    last_words: Option<Instant>,
    called: bool,
    /// Its present run has an adapter, as it says.
    ready: bool,
    /// Since when this member is elsewhere and the peer may not know.
    moved: Option<Instant>,
    /// Which own record it was told by a path, how often, and when last.
    told_record: (Seq, u8, Option<Instant>),
}

/// The peer's tunnel, as the data plane reports it. The data plane begins and repeats handshakes by itself where there
/// is a path and no session; a push asks for one beyond that.
struct Tunnel {
    initiates: bool,
    established: bool,
    /// Whether the session lives is to be shown by a handshake.
    doubted: bool,
    generation: u32,
    pushed: Option<Instant>,
}

impl Tunnel {
    fn push(&mut self, now: Instant) {
        self.generation += 1;
        self.pushed = Some(now);
    }
}

impl Peer {
    /// A peer whose first record was checked. `None` when no shared key can be made with it.
    pub(crate) fn new(
        now: Instant,
        member: MemberId,
        sealed: Sealed,
        hash: [u8; 32],
        record: Record,
        cx: &mut Context<'_>,
    ) -> Option<Self> {
        let pair = PairKeys::derive(
            cx.party,
            cx.me,
            &member,
            &record.seal,
            &record.wg,
            Epoch::default(),
        )?;
        let mut peer = Self {
            member,
            sealed,
            hash,
            session: record.session,
            index: pair.probe_index(cx.session, false),
            pair,
            state: State::Connecting { since: now },
            agent: Agent::default(),
            latency: Latency::default(),
            shown_answers: 0,
            replay: ReplayWindow::default(),
            tunnel: Tunnel {
                initiates: cx.me.id() < member,
                established: false,
                doubted: false,
                generation: 0,
                pushed: None,
            },
            probes: *cx.seq,
            last_signal: Seq::default(),
            last_heard: None,
            was_relayed: false,
            differs: None,
            last_words: None,
            called: false,
            ready: false,
            moved: None,
            told_record: (Seq::default(), 0, None),
            record,
        };
        peer.agent.told(now, cx.usable(&peer.record.candidates));
        Some(peer)
    }

    pub(crate) fn slot(&self) -> Slot {
        self.record.slot
    }

    pub(crate) fn pair(&self) -> &PairKeys {
        &self.pair
    }

    /// The number of its engine's run.
    pub(crate) fn session(&self) -> u64 {
        self.session
    }

    /// The index by which this peer's probes to this run are known.
    pub(crate) fn index(&self) -> [u8; 8] {
        self.index
    }

    /// A newer record of the same member with the same keys.
    pub(crate) fn learn(
        &mut self,
        now: Instant,
        sealed: Sealed,
        hash: [u8; 32],
        record: Record,
        cx: &mut Context<'_>,
    ) {
        let moved = record.candidates != self.record.candidates;
        let session = record.session;
        self.sealed = sealed;
        self.hash = hash;
        self.record = record;
        self.agent.told(now, cx.usable(&self.record.candidates));
        self.renew(now, session);
        if moved && !self.is_up() {
            self.agent.restart(now);
        }
    }

    /// Where this peer is sent to.
    pub(crate) fn reached_at(&self) -> impl Iterator<Item = IpAddr> {
        self.agent.paths().map(|path| path.remote.ip())
    }

    /// Where this peer is sent to by each relay of ours.
    pub(crate) fn relayed_to(&self) -> impl Iterator<Item = Path> {
        self.agent.paths().filter(|path| path.transport.is_relay())
    }

    /// Whether it is reached without a relay.
    pub(crate) fn is_direct(&self) -> bool {
        let direct = |kind| matches!(kind, PathKind::Lan | PathKind::Direct);
        self.agent.chosen_kind().is_some_and(direct)
    }

    /// Sends a probe whose answer is not waited for: whoever hears it probes back.
    pub(crate) fn knock(&mut self, path: Path, cx: &mut Context<'_>) {
        let mut id = [0; 12];
        cx.rng.fill_bytes(&mut id);
        let message = Message::Ping {
            id,
            session: cx.session,
            view: cx.view,
            wants_handshake: false,
            moved: false,
            ready: cx.ready,
        };
        self.transmit(path, &message, cx);
    }

    /// Whether the path is tried or used.
    pub(crate) fn knows(&self, path: &Path) -> bool {
        self.agent.knows(path)
    }

    /// The paths that carry, as far as was seen lately.
    pub(crate) fn valid_paths(&self) -> impl Iterator<Item = Path> {
        self.agent.valid()
    }

    /// The paths that were seen to carry at this moment or later.
    pub(crate) fn proven_since(&self, moment: Instant) -> impl Iterator<Item = Path> {
        self.agent.proven_since(moment)
    }

    /// The path in use.
    pub(crate) fn chosen(&self) -> Option<Path> {
        self.agent.chosen()
    }

    /// Drops paths that only its datagrams spoke of.
    pub(crate) fn forget_heard(&mut self, gone: impl Fn(&Path) -> bool) {
        self.agent.forget_heard(gone);
    }

    /// Where its NAT shows it in IPv4, as it signed.
    pub(crate) fn public_v4(&self) -> Option<Ipv4Addr> {
        self.mapped_v4().map(|at| *at.ip())
    }

    /// Likewise, with the port that a STUN server saw.
    pub(crate) fn mapped_v4(&self) -> Option<SocketAddrV4> {
        let reflexive = |candidate: &Candidate| match candidate.at {
            SocketAddr::V4(at) if candidate.kind == CandidateKind::Reflexive => Some(at),
            SocketAddr::V4(_) | SocketAddr::V6(_) => None,
        };
        self.record.candidates.iter().find_map(reflexive)
    }

    /// Whether a signal of this number is newer than all before; from then on it is not.
    pub(crate) fn accepts_signal(&mut self, seq: Seq) -> bool {
        let newer = seq > self.last_signal;
        self.last_signal = self.last_signal.max(seq);
        newer
    }

    /// The peer's engine runs anew: its tunnel is made anew as well.
    fn renew(&mut self, now: Instant, session: u64) {
        if self.session != session {
            self.session = session;
            self.ready = false;
            self.tunnel.established = false;
            self.agent.restart(now);
            // What went unanswered while its engine was down says nothing about the path.
            self.latency = Latency::default();
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state, State::Connected | State::Degraded { .. })
    }

    /// The peer asked to be reached at these addresses.
    pub(crate) fn call(
        &mut self,
        now: Instant,
        seq: Seq,
        session: u64,
        candidates: &[Candidate],
        cx: &mut Context<'_>,
    ) {
        // Said before the record that is here already: true once, no longer of use.
        if seq > self.sealed.seq {
            self.agent.told(now, cx.usable(candidates));
            self.renew(now, session);
            if self.is_up() {
                // It does not hear us, or it would not call.
                self.agent.hurry(now);
                self.agent.restart_others(now);
            } else {
                self.agent.restart(now);
            }
        }
    }

    /// A datagram under this peer's index. Says what it carried for the party.
    pub(crate) fn datagram(
        &mut self,
        now: Instant,
        path: Path,
        bytes: &[u8],
        cx: &mut Context<'_>,
    ) -> Option<Said> {
        let (seq, message) = probe::decode(&self.pair, bytes).ok()?;
        if !self.replay.accept(seq) {
            return None;
        }
        match message {
            Message::Ping {
                id,
                session,
                view,
                wants_handshake,
                moved,
                ready,
            } => {
                self.renew(now, session);
                self.ready = ready;
                self.heard(now);
                if moved && self.agent.chosen() != Some(path) {
                    self.agent.doubt_chosen(now);
                }
                self.compare(now, view, cx.view);
                if path.transport.is_relay() {
                    self.agent.heard(now, path, Tier::Relay);
                } else if cx.may_answer(self.public_v4(), path.remote) {
                    self.agent.heard(now, path, cx.tier_of(path.remote.ip()));
                } else {
                    // An answer would have the peer take a way that this side never takes.
                    return None;
                }
                let pong = Message::Pong {
                    id,
                    session: cx.session,
                    view: cx.view,
                    seen: path.remote,
                };
                self.transmit(path, &pong, cx);
                if wants_handshake {
                    self.handshake_wanted(now);
                }
                None
            }
            Message::Pong {
                id, session, view, ..
            } => {
                self.renew(now, session);
                self.heard(now);
                self.compare(now, view, cx.view);
                let silent = self.agent.is_silent();
                let answered = self.agent.pong(now, id, path)?;
                if answered.on_chosen {
                    if silent {
                        // It hurried in vain: that was silence, and no loss.
                        self.latency.forget_lost();
                    }
                    self.latency.received(now, id);
                    self.proven(now, answered.sent);
                }
                None
            }
            Message::Word(sealed) => Some(Said::Word(sealed)),
            Message::Receipts(receipts) => Some(Said::Receipts(receipts)),
        }
    }

    pub(crate) fn established(&mut self, now: Instant) {
        self.tunnel.established = true;
        self.tunnel.doubted = false;
        self.heard(now);
    }

    pub(crate) fn expired(&mut self) {
        self.tunnel.established = false;
    }

    /// Packets wait on the other side, or here, for a session.
    pub(crate) fn handshake_wanted(&mut self, now: Instant) {
        let recent = self
            .tunnel
            .pushed
            .is_some_and(|at| now.saturating_duration_since(at) < HANDSHAKE_AGAIN);
        if self.tunnel.initiates && self.agent.chosen().is_some() && !recent {
            self.tunnel.push(now);
        }
    }

    /// The data plane has packets for the peer and no session that works; the peer is the one to begin.
    pub(crate) fn ask_for_handshake(&mut self, now: Instant, cx: &mut Context<'_>) {
        self.tunnel.established = false;
        if let Some(path) = self.agent.chosen() {
            self.ping(now, path, cx);
        }
    }

    /// Sends a signed word by the path in use.
    pub(crate) fn say(&mut self, word: &Sealed, cx: &mut Context<'_>) {
        if let Some(path) = self.agent.chosen() {
            self.transmit(path, &Message::Word(word.clone()), cx);
        }
    }

    /// Tells the peer which of its announces arrived here.
    pub(crate) fn tell_receipts(&mut self, receipts: Vec<Receipt>, cx: &mut Context<'_>) {
        if let Some(path) = self.agent.chosen() {
            self.transmit(path, &Message::Receipts(receipts), cx);
        }
    }

    /// Sends a ping by the path in use, whether one is due or not.
    pub(crate) fn hurry(&mut self, now: Instant, cx: &mut Context<'_>) {
        if let Some(path) = self.agent.chosen() {
            self.ping(now, path, cx);
        }
    }

    fn ping(&mut self, now: Instant, path: Path, cx: &mut Context<'_>) {
        let mut id = [0; 12];
        cx.rng.fill_bytes(&mut id);
        let message = Message::Ping {
            id,
            session: cx.session,
            view: cx.view,
            wants_handshake: !self.tunnel.initiates && (!self.tunnel.established || self.tunnel.doubted),
            moved: self.tells_move(now),
            ready: cx.ready,
        };
        if self.agent.chosen() == Some(path) {
            self.latency.sent(now, id);
        }
        self.agent.sent(now, id, path);
        self.transmit(path, &message, cx);
    }

    fn transmit(&mut self, path: Path, message: &Message, cx: &mut Context<'_>) {
        self.probes = self.probes.next();
        let index = self.pair.probe_index(self.session, true);
        cx.out.push_back(Output::Transmit(
            path,
            probe::encode(&self.pair, index, self.probes, message),
        ));
    }

    /// Ends the peer: probes, paths and session go with it.
    pub(crate) fn retire(self, seq: &mut Seq) {
        *seq = (*seq).max(self.probes);
    }

    /// Everything that time alone brings about.
    pub(crate) fn wake(&mut self, now: Instant, cx: &mut Context<'_>) -> Wants {
        let mut wants = Wants::default();
        if let Some(path) = self.agent.choose(now) {
            wants.view = true;
            cx.out.push_back(Output::Event(Event::Path {
                slot: self.slot(),
                path,
            }));
            self.latency = Latency::default();
            if path.is_some() {
                self.was_relayed = self.agent.chosen_kind() == Some(PathKind::Relayed);
                // A new path is proven to WireGuard by a handshake on it.
                if self.tunnel.initiates && self.tunnel.established {
                    self.tunnel.doubted = false;
                    self.tunnel.push(now);
                } else {
                    // Without a session the data plane begins one by itself.
                    self.tunnel.pushed = Some(now);
                }
            }
        }
        for path in self.agent.due(now) {
            wants.pinged |= self.agent.chosen() == Some(path);
            self.ping(now, path, cx);
        }
        if self.agent.alarm(now) {
            wants.alarm = true;
            wants.call = true;
            for path in self.agent.due(now) {
                self.ping(now, path, cx);
            }
        }
        self.latency.expire(now);
        // Every new ping is seen: one a second and peer at most.
        let answers = self.latency.answers();
        let shown = std::mem::replace(&mut self.shown_answers, answers);
        wants.view |= shown == 0 && answers > 0;
        wants.measures = shown != answers;
        if !self.called {
            // The peer's record is here, so ours may be new to it: both sides begin together.
            self.called = true;
            wants.call = true;
        }
        let flowed = self.state.flows();
        wants.view |= self.judge(now, cx.out);
        wants.back = !flowed && self.state.flows();
        if let State::Failed(retry) | State::Lost(retry) = &mut self.state
            && retry.is_due(now)
        {
            self.agent.restart(now);
            for path in self.agent.due(now) {
                self.ping(now, path, cx);
            }
            wants.call = true;
        }
        wants
    }

    /// Pings it with others, if that is its turn soon; by which path.
    pub(crate) fn ping_along(&mut self, now: Instant, cx: &mut Context<'_>) -> Option<Path> {
        let path = self.agent.due_soon(now)?;
        self.ping(now, path, cx);
        Some(path)
    }

    pub(crate) fn next_wake(&self) -> Option<Instant> {
        [self.agent.next_wake(), self.next_judged()]
            .into_iter()
            .flatten()
            .min()
    }

    pub(crate) fn table_peer(&self, own_session: u64) -> TablePeer {
        TablePeer {
            member: self.member,
            wg: self.record.wg,
            psk: self.pair.psk.clone(),
            probes: self.index,
            sessions: (own_session, self.session),
            initiates: self.tunnel.initiates,
            path: self.agent.chosen(),
            ready: self.ready,
            handshake: self.tunnel.generation,
        }
    }

    pub(crate) fn path_kind(&self) -> Option<PathKind> {
        self.is_up().then(|| self.agent.chosen_kind()).flatten()
    }

    /// What came of each way to it.
    pub(crate) fn ways(&self) -> Vec<PathFacts> {
        self.agent.facts()
    }

    pub(crate) fn latency(&self) -> &Latency {
        &self.latency
    }
}
