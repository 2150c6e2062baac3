//! One peer: its tunnel, what waits for it, and when to shake hands.

use super::Step;
use super::counters::Reason;
use crate::io::Report;
use crate::pace::{Pace, Used};
use crate::path::Path;
use crate::table::TablePeer;
use crate::wg::{self, Door, Opened, Shaken, Tunnel};
use lanrage_proto::{Slot, WgPublic};
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// When a handshake is begun again, counted from the first try; afterwards boringtun does so every 5 s.
const TRIES: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(1000),
];
/// The age at which a session is replaced (WireGuard's REKEY_AFTER_TIME), idle or not: no game should wait for it.
const REKEY: Duration = Duration::from_secs(120);
/// How long a replaced tunnel still receives.
const LINGER: Duration = Duration::from_secs(2);
/// Packets that wait for a session, and for how long. A game would rather lose them than get them late.
const WAITING: usize = 32;
const WAIT: Duration = Duration::from_secs(1);
/// How often a peer is reported as heard by the same path, how many paths are told apart, and how often in all.
const HEARD: Duration = Duration::from_secs(1);
const HEARD_PATHS: usize = 4;
const HEARD_ALL: Pace = Pace::new(8, 16);
/// Packets that go out for this long while nothing authentic comes are told, and again this often: games and
/// transfers answer sooner, and the path of those that don't is asked a little more often.
const QUIET: Duration = Duration::from_millis(250);
/// How often it is told that the other side should begin a handshake.
const WANTED: Duration = Duration::from_millis(250);

/// One peer of the table.
pub(super) struct Peer {
    pub(super) slot: Slot,
    pub(super) address: Ipv4Addr,
    row: TablePeer,
    tunnel: Tunnel,
    /// The tunnel before this one, and until when it receives.
    old: Option<(Tunnel, Instant)>,
    waiting: VecDeque<(Instant, Vec<u8>)>,
    attempt: Option<Attempt>,
    pub(super) established: Option<Instant>,
    heard: [Option<(Path, Instant)>; HEARD_PATHS],
    heard_all: Used,
    wanted: Option<Instant>,
    /// When the first packet went out since something authentic came, or it was told that nothing does.
    unanswered: Option<Instant>,
    /// Since when it may lack announces that others have.
    owed: Option<Instant>,
}

/// A handshake that goes on until there is a new session or no path.
struct Attempt {
    since: Instant,
    tries: usize,
}

impl Attempt {
    fn new(now: Instant) -> Self {
        Self { since: now, tries: 0 }
    }

    fn due(&self) -> Option<Instant> {
        TRIES.get(self.tries).map(|after| self.since + *after)
    }
}

impl Peer {
    pub(super) fn new(
        now: Instant,
        slot: Slot,
        address: Ipv4Addr,
        row: TablePeer,
        door: &Door,
        number: u32,
    ) -> Self {
        let tunnel = Tunnel::new(door, &row.wg, &row.psk, row.sessions, row.initiates, number);
        let mut peer = Self {
            slot,
            address,
            row,
            tunnel,
            old: None,
            waiting: VecDeque::new(),
            attempt: None,
            established: None,
            heard: [None; HEARD_PATHS],
            heard_all: Used::default(),
            wanted: None,
            unanswered: None,
            owed: Some(now),
        };
        peer.attempt(now);
        peer
    }

    /// Takes over from the same slot's tunnel of before: what was sealed for it may still be on its way.
    pub(super) fn replaces(&mut self, now: Instant, before: Peer) {
        if before.row.member == self.row.member {
            self.old = Some((before.tunnel, now + LINGER));
            self.waiting = before.waiting;
        }
    }

    pub(super) fn is_same_tunnel(&self, row: &TablePeer) -> bool {
        let own = &self.row;
        own.member == row.member
            && own.wg == row.wg
            && own.psk == row.psk
            && own.sessions == row.sessions
            && own.initiates == row.initiates
    }

    /// Whether it is the same run of the same member's engine.
    pub(super) fn is_same_run(&self, row: &TablePeer) -> bool {
        self.row.member == row.member && self.row.sessions == row.sessions
    }

    /// Adopts what changed around the same tunnel.
    pub(super) fn adopt(&mut self, now: Instant, row: TablePeer) {
        let asked = row.handshake > self.row.handshake;
        let moved = row.path != self.row.path;
        if (row.ready && !self.row.ready) || (row.path.is_some() && self.row.path.is_none()) {
            self.owed = Some(now);
        }
        self.row = row;
        if self.row.path.is_none() {
            self.attempt = None;
        } else if asked || (moved && (!self.tunnel.has_session() || self.attempt.is_some())) {
            self.attempt(now);
        }
    }

    pub(super) fn is_of(&self, key: &WgPublic) -> bool {
        self.row.wg == *key
    }

    pub(super) fn path(&self) -> Option<Path> {
        self.row.path
    }

    /// Whether it can take in announces.
    pub(super) fn is_ready(&self) -> bool {
        self.row.ready
    }

    /// It may lack announces that others have.
    pub(super) fn owe(&mut self, now: Instant) {
        self.owed = Some(now);
    }

    /// When it can be given what it lacks.
    fn owed(&self) -> Option<Instant> {
        let can = self.row.ready && self.row.path.is_some() && self.tunnel.has_session();
        self.owed.filter(|_| can)
    }

    /// Whether it is to be given now what it lacks.
    pub(super) fn is_owed(&self) -> bool {
        self.owed().is_some()
    }

    /// The same; from then on it is not.
    pub(super) fn takes_owed(&mut self) -> bool {
        let takes = self.is_owed();
        if takes {
            self.owed = None;
        }
        takes
    }

    pub(super) fn number(&self) -> u32 {
        self.tunnel.number()
    }

    /// When something beside the regular tick is due.
    pub(super) fn due(&self) -> Option<Instant> {
        // Without a path an attempt waits for one, not for a time.
        let attempt = self.attempt.as_ref().filter(|_| self.row.path.is_some());
        let handshake = attempt.and_then(Attempt::due);
        let late = self.waiting.front().map(|(at, _)| *at + WAIT);
        [handshake, late, self.owed()].into_iter().flatten().min()
    }

    /// Begins a handshake, if it is this side's to begin and there is a path; it is due at once.
    fn attempt(&mut self, now: Instant) {
        if self.row.initiates && self.row.path.is_some() {
            self.attempt = Some(Attempt::new(now));
        }
    }

    pub(super) fn wake(&mut self, step: &mut Step<'_>, tick: bool) {
        self.old.take_if(|(_, until)| *until <= step.now);
        if tick {
            self.tick(step);
        }
        if self.tunnel.has_session() {
            self.send_waiting(step);
        }
        self.drop_late(step);
        if !self.waiting.is_empty() {
            self.want_session(step);
        }
        self.try_handshake(step);
    }

    fn tick(&mut self, step: &mut Step<'_>) {
        let Some(room) = step.out.room(wg::ROOM) else {
            return;
        };
        let ticked = self.tunnel.tick(room);
        if let (Some(length), Some(path)) = (ticked.send, self.row.path) {
            step.out.put(path, length);
        }
        if ticked.expired {
            self.established = None;
            step.report(Report::Expired(self.slot));
        }
        if ticked.wanted {
            self.want(step);
        }
        if ticked.initiation && self.attempt.is_none() {
            self.attempt = Some(Attempt {
                since: step.now,
                tries: 1,
            });
        }
        let aged = self
            .established
            .is_some_and(|at| step.now.saturating_duration_since(at) >= REKEY);
        if ticked.gave_up || (self.attempt.is_none() && (aged || !self.tunnel.has_session())) {
            self.attempt(step.now);
        }
    }

    fn try_handshake(&mut self, step: &mut Step<'_>) {
        let (Some(attempt), Some(path)) = (&mut self.attempt, self.row.path) else {
            return;
        };
        if attempt.due().is_none_or(|due| due > step.now) {
            return;
        }
        // Tries that were slept through are not made up for.
        while attempt.due().is_some_and(|due| due <= step.now) {
            attempt.tries += 1;
        }
        let Some(room) = step.out.room(wg::ROOM) else {
            return;
        };
        if let Some(length) = self.tunnel.initiate(room) {
            step.out.put(path, length);
        }
    }

    /// Seals a packet for the peer, or lets it wait for a session.
    pub(super) fn send(&mut self, step: &mut Step<'_>, packet: &[u8]) {
        if let (Some(path), true) = (self.row.path, self.tunnel.has_session()) {
            self.seal(step, path, packet);
            return;
        }
        if self.waiting.len() == WAITING {
            self.waiting.pop_front();
            step.counters.drop(self.why_waiting());
        }
        self.waiting.push_back((step.now, packet.to_vec()));
        self.want_session(step);
    }

    /// Seals an announce for the peer, if there is a session to do so by; otherwise it waits in the memory, where the
    /// next one of its kind takes its place. Whether it was sent.
    pub(super) fn announce(&mut self, step: &mut Step<'_>, packet: &[u8]) -> bool {
        let Some(path) = self.row.path else {
            return false;
        };
        if self.tunnel.has_session() {
            return self.seal(step, path, packet);
        }
        self.owed.get_or_insert(step.now);
        self.want_session(step);
        false
    }

    fn seal(&mut self, step: &mut Step<'_>, path: Path, packet: &[u8]) -> bool {
        let Some(room) = step.out.room((packet.len() + wg::OVERHEAD).max(wg::ROOM)) else {
            step.counters.drop(Reason::NoRoom);
            return false;
        };
        match self.tunnel.seal(packet, room) {
            Some(length) => {
                step.out.put(path, length);
                step.counters.sent.add(packet.len());
                self.watch_for_answers(step);
                true
            }
            None => {
                step.counters.drop(Reason::NoSession);
                false
            }
        }
    }

    /// A packet went out.
    fn watch_for_answers(&mut self, step: &mut Step<'_>) {
        let since = *self.unanswered.get_or_insert(step.now);
        if step.now.saturating_duration_since(since) >= QUIET {
            self.unanswered = Some(step.now);
            step.report(Report::Quiet(self.slot));
        }
    }

    /// There should be a session and is none.
    fn want_session(&mut self, step: &mut Step<'_>) {
        if self.tunnel.has_session() {
            return;
        }
        if !self.row.initiates {
            self.want(step);
        } else if self.attempt.is_none() {
            self.attempt(step.now);
            self.try_handshake(step);
        }
    }

    fn want(&mut self, step: &mut Step<'_>) {
        if self
            .wanted
            .is_none_or(|at| step.now.saturating_duration_since(at) >= WANTED)
        {
            self.wanted = Some(step.now);
            step.report(Report::Wanted(self.slot));
        }
    }

    fn send_waiting(&mut self, step: &mut Step<'_>) {
        let Some(path) = self.row.path else { return };
        self.drop_late(step);
        while let Some((_, packet)) = self.waiting.pop_front() {
            self.seal(step, path, &packet);
        }
    }

    fn drop_late(&mut self, step: &mut Step<'_>) {
        while self
            .waiting
            .pop_front_if(|(at, _)| step.now.saturating_duration_since(*at) >= WAIT)
            .is_some()
        {
            step.counters.drop(self.why_waiting());
        }
    }

    fn why_waiting(&self) -> Reason {
        if self.row.path.is_some() {
            Reason::NoSession
        } else {
            Reason::NoPath
        }
    }

    /// Opens a data message for the tunnel of this number into `out`.
    pub(super) fn open(
        &mut self,
        step: &mut Step<'_>,
        path: Path,
        datagram: &[u8],
        number: u32,
        out: &mut [u8],
    ) -> Opened {
        let source = path.remote.ip();
        let (opened, fresh) = if number == self.tunnel.number() {
            self.tunnel.open(source, datagram, out)
        } else if let Some((old, _)) = self.old.as_mut().filter(|(old, _)| old.number() == number) {
            (old.open(source, datagram, out).0, false)
        } else {
            (Opened::NoSession, false)
        };
        match opened {
            Opened::Packet(_) | Opened::Keepalive | Opened::Foreign => self.hear(step, path),
            // The peer may think there is a session where there is none.
            Opened::NoSession => self.want_session(step),
            Opened::Refused => {}
        }
        if fresh {
            self.establish(step);
        }
        opened
    }

    /// Takes a handshake message and answers it by the path it came.
    pub(super) fn shake(&mut self, step: &mut Step<'_>, path: Path, datagram: &[u8]) -> Shaken {
        let Some(room) = step.out.room(wg::ROOM) else {
            return Shaken::Refused;
        };
        let (shaken, fresh) = self.tunnel.shake(path.remote.ip(), datagram, room);
        if let Shaken::Reply { length, authentic } = shaken {
            step.out.put(path, length);
            if authentic {
                self.hear(step, path);
            }
        }
        if fresh {
            self.establish(step);
        }
        shaken
    }

    fn establish(&mut self, step: &mut Step<'_>) {
        if self.established.is_none() {
            self.owed.get_or_insert(step.now);
        }
        self.attempt = None;
        self.established = Some(step.now);
        step.report(Report::Established(self.slot));
        self.send_waiting(step);
    }

    fn hear(&mut self, step: &mut Step<'_>, path: Path) {
        self.unanswered = None;
        let known = self
            .heard
            .iter()
            .position(|heard| heard.is_some_and(|(by, _)| by == path));
        let recent = known.and_then(|at| self.heard[at]);
        if recent.is_some_and(|(_, at)| step.now.saturating_duration_since(at) < HEARD)
            || !HEARD_ALL.take(&mut self.heard_all, step.now, 1)
        {
            return;
        }
        // The path's own place, else the one that was silent longest.
        let longest_silent = || (0..HEARD_PATHS).min_by_key(|at| self.heard[*at].map(|(_, at)| at));
        if let Some(place) = known.or_else(longest_silent) {
            self.heard[place] = Some((path, step.now));
        }
        step.report(Report::Heard(self.slot, path));
    }
}
