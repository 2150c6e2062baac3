//! A member's allocations, held as the engine holds them: each way to a relay is tried beside one that does not come
//! up, the first that does is kept, and after a failure all of them are tried again, with growing pauses.

use super::machine::Player;
use super::turn::{Arrival, StreamId};
use super::turn_client::{Told, TurnClient};
use super::{Kind, Node, Sim};
use lanrage_core::io::{Event, Input};
use lanrage_core::path::{Path, TransportId};
use lanrage_core::relays::{RelayEvent, RelayPlan};
use lanrage_proto::{PartyRange, TurnTransport};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The next way is tried beside one that has not come up after this long.
const NEXT_WAY: Duration = Duration::from_secs(1);
/// Between two rounds through all ways, doubled each time up to the second; one that was up for the third begins with
/// the first again.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
const LASTING: Duration = Duration::from_secs(30);
/// How long an engine whose turn it is takes to open a socket.
const SOON: Duration = Duration::from_millis(1);
/// Local ports of datagram ways to relays, one after the other.
const FIRST_PORT: u16 = 40_000;

/// What a stream brings.
pub(super) enum Served {
    /// It is open.
    Open,
    /// A whole message.
    Message(Vec<u8>),
    /// It could not be opened, or ended.
    Failed,
}

/// A relay that is wished for.
pub(super) struct Held {
    plan: RelayPlan,
    /// Attempts side by side, or the one that is up.
    sessions: Vec<Session>,
    /// The way that is tried next, and when.
    way: usize,
    next: Option<Duration>,
    /// Since when one is up.
    since: Option<Duration>,
    pause: Duration,
    reason: String,
    /// When it wants to be looked at again.
    pub(super) wake: Option<Instant>,
}

/// An allocation, or an attempt at one.
struct Session {
    client: TurnClient,
    wire: Wire,
    remote: SocketAddr,
    local: SocketAddr,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    /// By datagrams from the local port.
    Datagrams,
    /// By a stream, once it is open.
    Stream(StreamId, bool),
}

/// What reached a session.
enum Got {
    Open,
    Message(Vec<u8>),
    End,
}

impl Sim {
    /// Makes the wish true: starts, instructs and ends relays.
    pub(super) fn wish_relays(&mut self, node: Node, plans: Vec<RelayPlan>) {
        let (now, first) = (self.instant(), self.now);
        let Some(player) = self.machine_mut(node).player.as_mut() else {
            return;
        };
        let mut before = std::mem::take(&mut player.relays);
        let mut gone = Vec::new();
        for plan in plans {
            let id = plan.id;
            let mut held = Held {
                plan,
                sessions: Vec::new(),
                way: 0,
                next: Some(first + SOON),
                since: None,
                pause: FIRST_PAUSE,
                reason: String::new(),
                wake: Some(now + SOON),
            };
            match before.remove(&id) {
                Some(known) if known.plan.anew == held.plan.anew => {
                    held = Held {
                        plan: held.plan,
                        wake: held.wake,
                        ..known
                    };
                }
                // It moved: nothing comes by the old ones.
                Some(known) => gone.extend(known.sessions),
                None => {}
            }
            player.relays.insert(id, held);
        }
        // What is no longer wanted is given back.
        for mut session in before.into_values().flat_map(|held| held.sessions) {
            session.client.end(first);
            self.speak(node, &mut session);
            self.close(&session);
        }
        for session in &gone {
            self.close(session);
        }
    }

    /// The engine is gone, and with it its sockets: streams end, datagrams just stop.
    pub(super) fn drop_relays(&mut self, node: Node) {
        let player = self.machine_mut(node).player.as_mut();
        let held = player.map(|player| std::mem::take(&mut player.relays));
        for session in held
            .into_iter()
            .flat_map(|held| held.into_values())
            .flat_map(|held| held.sessions)
        {
            self.close(&session);
        }
    }

    fn close(&mut self, session: &Session) {
        if let Wire::Stream(id, _) = session.wire {
            self.stream_sends(id, Arrival::UpEnd);
        }
    }

    /// Looks after the relays whose time has come.
    pub(super) fn wake_relays(&mut self, node: Node) {
        let now = self.instant();
        let Some(player) = self.machine(node).player.as_ref() else {
            return;
        };
        let due = |held: &Held| held.wake.is_some_and(|at| at <= now);
        let due = player.relays.iter().filter(|(_, held)| due(held));
        for id in due.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.with_relay(node, id, None);
        }
    }

    /// Lets a relay take in what reached one of its sessions and go on, and tells the member what came of it.
    fn with_relay(&mut self, node: Node, id: TransportId, got: Option<(usize, Got)>) {
        let player = self.machine_mut(node).player.as_mut();
        let Some(mut held) = player.and_then(|player| player.relays.remove(&id)) else {
            return;
        };
        let now = self.now;
        let mut brought = None;
        let mut failed = None;
        if let Some((index, got)) = got {
            let session = &mut held.sessions[index];
            match got {
                Got::Open => {
                    if let Wire::Stream(_, open) = &mut session.wire {
                        *open = true;
                    }
                }
                Got::Message(bytes) => match session.client.receive(now, &bytes) {
                    Ok(data) => brought = data,
                    Err(why) => failed = Some((index, why)),
                },
                Got::End => failed = Some((index, "the stream ended".to_owned())),
            }
        }
        let told = self.look_after(node, id, &mut held, failed);
        if let Some(player) = self.machine_mut(node).player.as_mut() {
            player.relays.insert(id, held);
        }
        if let Some((remote, bytes)) = brought {
            let path = Path {
                transport: id,
                remote,
            };
            self.deliver(node, path, bytes);
        }
        for event in told {
            match &event {
                RelayEvent::Up(up) => {
                    self.note(
                        Kind::Member,
                        node,
                        format_args!("relay {} at {}", id.0, up.relayed),
                    );
                }
                RelayEvent::Down { reason } => {
                    self.note(Kind::Member, node, format_args!("relay {} away: {reason}", id.0));
                }
                RelayEvent::Ending { .. } | RelayEvent::Tried { .. } => {}
            }
            self.input(node, Input::Relay(id, event));
        }
    }

    fn look_after(
        &mut self,
        node: Node,
        id: TransportId,
        held: &mut Held,
        failed: Option<(usize, String)>,
    ) -> Vec<RelayEvent> {
        let now = self.now;
        let mut told = Vec::new();
        let was_up = held.since.is_some();
        let mut going = Vec::new();
        let mut early = false;
        for (index, mut session) in std::mem::take(&mut held.sessions).into_iter().enumerate() {
            let ended = match &failed {
                Some((which, why)) if *which == index => Err(why.clone()),
                _ => session.client.wake(now),
            };
            if session.client.is_up() {
                session.client.want(now, &held.plan.peers);
            }
            let ended = ended.and_then(|()| session.client.wake(now));
            self.speak(node, &mut session);
            match ended {
                Ok(()) => going.push(session),
                Err(why) => {
                    held.reason = why;
                    early = true;
                    self.close(&session);
                }
            }
        }
        held.sessions = going;
        if let Some(index) = held.sessions.iter().position(|session| session.client.is_up()) {
            let up = held.sessions.swap_remove(index);
            for other in std::mem::replace(&mut held.sessions, vec![up]) {
                self.close(&other);
            }
            held.since.get_or_insert(now);
            held.next = None;
            told.extend(held.sessions[0].client.news().into_iter().map(|news| match news {
                Told::Up(up) => RelayEvent::Up(up),
                Told::Silent => RelayEvent::Down {
                    reason: "it is silent".to_owned(),
                },
            }));
        } else if was_up {
            told.push(RelayEvent::Down {
                reason: held.reason.clone(),
            });
            if held.since.take().is_some_and(|since| now - since >= LASTING) {
                held.pause = FIRST_PAUSE;
            }
            self.pause(held);
        } else if held.way < held.plan.server.uris.len() {
            if early || held.next.is_some_and(|at| now >= at) {
                self.begin(node, id, held);
                held.next = Some(now + NEXT_WAY);
            }
        } else if held.sessions.is_empty() && early {
            told.push(RelayEvent::Down {
                reason: held.reason.clone(),
            });
            self.pause(held);
        }
        let all_tried = held.way >= held.plan.server.uris.len();
        let next = held.next.filter(|_| !all_tried);
        let wakes = held
            .sessions
            .iter()
            .filter_map(|session| session.client.next_wake());
        // Never a busy loop.
        held.wake = wakes.chain(next).min().map(|at| self.base + at.max(now + SOON));
        told
    }

    /// Another round through all ways, after a while.
    fn pause(&self, held: &mut Held) {
        held.way = 0;
        held.next = Some(self.now + held.pause);
        held.pause = (held.pause * 2).min(LONGEST_PAUSE);
    }

    /// Begins an allocation by the way whose turn it is.
    fn begin(&mut self, node: Node, id: TransportId, held: &mut Held) {
        let uri = held.plan.server.uris[held.way].clone();
        held.way += 1;
        let Some(remote) = uri.address().map(|ip| SocketAddr::new(ip, uri.port())) else {
            held.reason = format!("{uri}: no address");
            return;
        };
        let life = self.machine(node).life();
        let own = self.own_source(node, remote.ip());
        let port = self.machine_mut(node).player.as_mut().map(Player::fresh_port);
        let Some(local) = own.zip(port).map(|(ip, port)| SocketAddr::new(ip, port)) else {
            held.reason = format!("{uri}: no way there");
            return;
        };
        let wire = match uri.transport() {
            TurnTransport::Udp => Wire::Datagrams,
            TurnTransport::Tcp | TurnTransport::Tls => {
                Wire::Stream(self.open_stream((node, life, id), remote), false)
            }
        };
        let mut session = Session {
            client: TurnClient::new(self.now, &held.plan.server, wire != Wire::Datagrams),
            wire,
            remote,
            local,
        };
        self.speak(node, &mut session);
        held.sessions.push(session);
    }

    /// Sends what a session has to say; a stream that is not open yet keeps it.
    fn speak(&mut self, node: Node, session: &mut Session) {
        if matches!(session.wire, Wire::Stream(_, false)) {
            return;
        }
        for bytes in session.client.outgoing() {
            self.send_to_relay(node, session, bytes);
        }
    }

    fn send_to_relay(&mut self, node: Node, session: &Session, bytes: Vec<u8>) {
        match session.wire {
            // A connected socket keeps its address; what it sends from one that is gone goes nowhere.
            Wire::Datagrams if self.own_source(node, session.remote.ip()) == Some(session.local.ip()) => {
                let place = self.machine(node).place;
                self.hop(node, place, session.remote, session.local, bytes);
            }
            Wire::Datagrams | Wire::Stream(_, false) => {}
            Wire::Stream(id, true) => self.stream_sends(id, Arrival::Up(bytes)),
        }
    }

    /// What a member sends by a relay.
    pub(super) fn relay_sends(&mut self, node: Node, path: Path, bytes: &[u8]) {
        let (now, base) = (self.now, self.base);
        let player = self.machine_mut(node).player.as_mut();
        let Some(mut held) = player.and_then(|player| player.relays.remove(&path.transport)) else {
            return;
        };
        if let Some(session) = held.sessions.iter_mut().find(|session| session.client.is_up()) {
            // What has no permission yet is dropped, and comes again.
            if let Some(frame) = session.client.frame(now, path.remote, bytes) {
                let wake = session.client.next_wake().map(|at| base + at.max(now + SOON));
                held.wake = held.wake.into_iter().chain(wake).min();
                self.send_to_relay(node, session, frame);
            }
        }
        if let Some(player) = self.machine_mut(node).player.as_mut() {
            player.relays.insert(path.transport, held);
        }
    }

    /// A datagram reached a member at a port that is not the primary one.
    pub(super) fn relay_brings(&mut self, node: Node, at: SocketAddr, from: SocketAddr, bytes: Vec<u8>) {
        let is_its = |session: &Session| {
            session.wire == Wire::Datagrams && session.local.port() == at.port() && session.remote == from
        };
        if let Some((id, index)) = self.session(node, is_its) {
            self.with_relay(node, id, Some((index, Got::Message(bytes))));
        }
    }

    /// Something happened to a stream that a member opened.
    pub(super) fn stream_served(&mut self, stream: StreamId, served: Served) {
        let is_its = |session: &Session| matches!(session.wire, Wire::Stream(id, _) if id == stream);
        let mut nodes = (0..self.machines.len()).map(Node);
        let Some((node, (id, index))) =
            nodes.find_map(|node| self.session(node, is_its).map(|session| (node, session)))
        else {
            return;
        };
        let got = match served {
            Served::Open => Got::Open,
            Served::Message(bytes) => Got::Message(bytes),
            Served::Failed => Got::End,
        };
        self.with_relay(node, id, Some((index, got)));
    }

    fn session(&self, node: Node, is_it: impl Fn(&Session) -> bool) -> Option<(TransportId, usize)> {
        let player = self.machine(node).player.as_ref()?;
        player.relays.iter().find_map(|(id, held)| {
            let index = held.sessions.iter().position(&is_it)?;
            Some((*id, index))
        })
    }

    /// How many relays the path in use from a member to another leads through; none without a path.
    pub fn relays_between(&self, from: Node, to: Node) -> Option<usize> {
        let path = self.path(from, to)?;
        Some(usize::from(path.transport.is_relay()) + usize::from(self.is_relays(path.remote.ip())))
    }

    /// The path that a member's packets to another take, as it last told.
    pub fn path(&self, from: Node, to: Node) -> Option<Path> {
        let address = self.row(from, to)?.address;
        let of = |event: &Event| match event {
            Event::Path { slot, path } if PartyRange::DEFAULT.address(*slot).to_string() == address => {
                Some(*path)
            }
            Event::Path { .. }
            | Event::Party { .. }
            | Event::Peer { .. }
            | Event::Punch { .. }
            | Event::Refused(_)
            | Event::Control(_) => None,
        };
        let events = &self.machine(from).player.as_ref()?.events;
        events.iter().rev().find_map(|(_, event)| of(event))?
    }
}

impl Player {
    fn fresh_port(&mut self) -> u16 {
        self.ports = self.ports.wrapping_add(1);
        FIRST_PORT + self.ports % 20_000
    }
}
