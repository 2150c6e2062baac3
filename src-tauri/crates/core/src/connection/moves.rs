//! Moving: this computer's network changed, it slept, or the peer says that it moved. What was measured is doubted, the
//! tunnel is proven by a handshake where it goes on, and peers are told that they have to follow.

use super::Peer;
use crate::context::Context;
use crate::path::TransportId;
use lanrage_proto::Seq;
use lanrage_proto::ipc::PathKind;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Peers are told for this long that this member moved, unless one answers before.
const TELLING: Duration = Duration::from_secs(5);
/// The own record is told so often by a path …
const RECORD_TIMES: u8 = 3;
/// … with pauses of this length at least.
const RECORD_AGAIN: Duration = Duration::from_millis(500);

impl Peer {
    /// The network of this computer changed: nothing measured holds. `moved` where peers may not reach it any more
    /// at where they did.
    pub(crate) fn network_changed(&mut self, now: Instant, moved: bool, cx: &mut Context<'_>) {
        self.agent.told(now, cx.usable(&self.record.candidates));
        self.agent.doubt(now);
        if moved {
            self.moved = Some(now);
            self.tunnel.doubted = true;
        }
    }

    /// This computer slept: its mappings may be gone, its sessions with them, and what went unanswered meanwhile says
    /// nothing about the path.
    pub(crate) fn slept(&mut self, now: Instant, cx: &mut Context<'_>) {
        self.network_changed(now, true, cx);
        self.latency.forget_lost();
        self.called = false;
    }

    /// A relay came up or went: ways through it come and go, what was measured otherwise holds.
    /// Of one that went, `gone` is where it relayed from: what else goes there has to prove itself.
    pub(crate) fn relays_changed(&mut self, now: Instant, gone: Option<IpAddr>, cx: &mut Context<'_>) {
        self.agent
            .forget(|path| !path.transport.is_relay() || cx.relays.is_up(path.transport));
        if let Some(gone) = gone {
            self.agent.doubt_relay(now, gone);
        }
        self.agent.told(now, cx.usable(&self.record.candidates));
    }

    /// There is another allocation behind a relay's transport than before: what was given up on it may work now.
    pub(crate) fn relay_is_new(&mut self, now: Instant, relay: TransportId) {
        self.agent.restart_by(now, relay);
    }

    /// Others see this computer at another address now. A peer that can't be reached is told at once, and tried at
    /// the same time: both sides' datagrams have to cross for their NATs to let them in. `moved` where it was seen at
    /// another address before, so that peers may be sending there.
    pub(crate) fn seen_elsewhere(&mut self, now: Instant, moved: bool) {
        let direct = |kind| matches!(kind, PathKind::Lan | PathKind::Direct);
        if moved {
            self.moved = Some(now);
            self.agent.hurry(now);
        }
        if self.is_silent() || !self.path_kind().is_some_and(direct) {
            self.agent.restart(now);
            self.called = false;
        }
    }

    /// The home is there again: a peer that can't be reached, or may look elsewhere, is told where this member is.
    pub(crate) fn home_is_back(&mut self) {
        if self.is_silent() || !self.is_up() || self.moved.is_some() {
            self.called = false;
        }
    }

    /// Whether the own record of this number is to be told by the path in use: a few times, as nobody acknowledges it.
    pub(crate) fn wants_record(&mut self, now: Instant, seq: Seq) -> bool {
        let (told, times, at) = self.told_record;
        let (times, due) = match at {
            Some(at) if told == seq => (times, now >= at + RECORD_AGAIN),
            _ => (0, true),
        };
        let wants = due && times < RECORD_TIMES;
        if wants {
            self.told_record = (seq, times + 1, Some(now));
        }
        wants
    }

    /// Packets go out and nothing comes back.
    pub(crate) fn quiet(&mut self, now: Instant) {
        self.agent.hurry(now);
    }

    /// Whether the path in use is silent beyond chance, or there is none.
    pub(crate) fn is_silent(&self) -> bool {
        self.agent.is_silent() || self.agent.chosen().is_none()
    }

    /// Whether the peer is to be told that this member moved.
    pub(super) fn tells_move(&self, now: Instant) -> bool {
        self.moved
            .is_some_and(|at| now.saturating_duration_since(at) < TELLING)
    }

    /// A ping sent at that moment was answered by the path in use: the peer knows where this member is.
    pub(super) fn proven(&mut self, now: Instant, sent: Instant) {
        self.moved.take_if(|at| *at <= sent);
        if std::mem::take(&mut self.tunnel.doubted) && self.tunnel.initiates && self.tunnel.established {
            self.tunnel.push(now);
        }
    }
}
