//! Control connections, the WebSockets' stand-in: ordered, reliable, late, and carried as the JSON text that the
//! real ones carry. Hooks let a scenario play a control plane that lies or a member that misbehaves.

use super::{Happening, Kind, Node, Sim};
use lanrage_core::io::{ConnId as DialId, ControlEvent, Input};
use lanrage_proto::ServerUrl;
use lanrage_proto::control::{ClientFrame, Request, ServerFrame, ServerMessage};
use lanrage_registry::ConnId as ClientId;
use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A connection, for the whole simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineId(u32);

/// What a hook decides about a frame, which it may also change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It goes on.
    Pass,
    /// It never was.
    Drop,
}

/// Sees each frame from a control plane before the member does: to whom, and what.
pub type Liar = Box<dyn FnMut(Node, &mut ServerFrame) -> Fate>;
/// Sees each frame from a member before its control plane does: from whom, and what.
pub type Forger = Box<dyn FnMut(Node, &mut ClientFrame) -> Fate>;

/// The hooks, and what was really said.
#[derive(Default)]
pub(super) struct Tamper {
    liar: Option<Liar>,
    forger: Option<Forger>,
    told: Vec<(Node, ServerMessage)>,
}

/// How long TCP keeps trying before it gives a connection up, as set on the real sockets.
const GIVES_UP: Duration = Duration::from_secs(20);

/// One direction of a connection.
#[derive(Default)]
struct Half {
    /// When the last piece arrives: later ones do not arrive before it.
    last: Duration,
    /// Pieces that wait for the way to be mended.
    stalled: VecDeque<Arrival>,
    /// Since when the first of them does.
    stalled_at: Duration,
    /// The sender still speaks.
    open: bool,
}

/// A connection from a member to a control plane.
pub(super) struct Line {
    pub(super) client: Node,
    /// The engine's, so that nothing reaches the next one.
    life: u32,
    dial: DialId,
    pub(super) server: Node,
    port: u16,
    source: IpAddr,
    /// Set once the control plane has accepted it.
    pub(super) at_plane: Option<(u32, ClientId)>,
    up: Half,
    down: Half,
    /// An end of it has another address now: nothing arrives any more.
    dead: bool,
    /// Which requests were heartbeats, for the transcript.
    heartbeats: BTreeSet<u64>,
}

/// Something at an end of a connection.
#[derive(Debug, Clone)]
pub(super) enum Arrival {
    /// At the control plane's machine: somebody wants in.
    Connect,
    /// At the member: it is open.
    Opened,
    /// At the control plane: a frame.
    Up(String),
    /// At the member: a frame.
    Down(String),
    /// At the control plane: the member is gone.
    UpEnd,
    /// At the member: the control plane is gone, or never was.
    DownEnd,
    /// TCP looks whether what it sent then is still not through.
    GiveUp(Direction, Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Up,
    Down,
}

impl Sim {
    /// From now on each frame from a control plane to a member passes by `liar`.
    pub fn lie(&mut self, liar: impl FnMut(Node, &mut ServerFrame) -> Fate + 'static) {
        self.tamper.liar = Some(Box::new(liar));
    }

    /// From now on control planes are honest again.
    pub fn lie_no_more(&mut self) {
        self.tamper.liar = None;
    }

    /// From now on each frame from a member to a control plane passes by `forger`.
    pub fn forge(&mut self, forger: impl FnMut(Node, &mut ClientFrame) -> Fate + 'static) {
        self.tamper.forger = Some(Box::new(forger));
    }

    /// The control plane of `to` says this to it, though the registry knows nothing of it.
    #[track_caller]
    pub fn tell(&mut self, to: Node, message: ServerMessage) {
        let open = |line: &super::Line| line.client == to && line.up.open && line.at_plane.is_some();
        let Some(line) = self.lines.iter().rfind(|(_, line)| open(line)).map(|(id, _)| *id) else {
            panic!("{} has no open connection to a control plane", self.name(to));
        };
        let text = encoded(&ServerFrame { re: None, message });
        self.send(line, Arrival::Down(text));
    }

    /// What control planes said to `to` so far, before any lie.
    pub fn told(&self, to: Node) -> impl DoubleEndedIterator<Item = &ServerMessage> {
        self.tamper
            .told
            .iter()
            .filter(move |(node, _)| *node == to)
            .map(|(_, message)| message)
    }

    /// Breaks the control connections of `node`, as a network's timeout would.
    pub fn break_control(&mut self, node: Node) {
        self.note(Kind::Scene, node, format_args!("control connections break"));
        let hers: Vec<_> = self
            .lines
            .iter()
            .filter(|(_, line)| line.client == node)
            .map(|(id, _)| *id)
            .collect();
        for line in hers {
            self.broken(line);
        }
    }

    pub(super) fn dial(&mut self, client: Node, dial: DialId, url: &ServerUrl) {
        self.note(Kind::Control, client, format_args!("dials {url}"));
        let id = LineId(self.lines.last_key_value().map_or(0, |(last, _)| last.0 + 1));
        // Nobody there, or no way: no answer comes, and the member stops waiting by itself.
        let Some((server, source)) = self.resolve(client, url) else {
            return;
        };
        let life = self.machine(client).life();
        let half = || Half {
            open: true,
            ..Half::default()
        };
        let line = Line {
            client,
            life,
            dial,
            server,
            port: url.port(),
            source,
            at_plane: None,
            up: half(),
            down: half(),
            dead: false,
            heartbeats: BTreeSet::new(),
        };
        self.lines.insert(id, line);
        if let Some(player) = self.machine_mut(client).player.as_mut() {
            player.lines.insert(dial, id);
        }
        self.send(id, Arrival::Connect);
    }

    /// The machine behind a control plane's address, and the address the client comes from.
    fn resolve(&self, client: Node, url: &ServerUrl) -> Option<(Node, IpAddr)> {
        let Some(address) = url.address() else {
            let server = *self.hosts.get(url.host())?;
            let mut ways = self.machine(server).addresses.iter();
            return ways.find_map(|(address, _)| Some((server, self.source(client, *address)?)));
        };
        if address.is_loopback() {
            return Some((client, address));
        }
        self.way(client, SocketAddr::new(address, url.port()))
    }

    pub(super) fn member_says(&mut self, client: Node, dial: DialId, mut frame: ClientFrame) {
        let Some(line) = self.line_of(client, dial) else {
            return;
        };
        if let Some(mut forger) = self.tamper.forger.take() {
            let fate = forger(client, &mut frame);
            self.tamper.forger = Some(forger);
            if fate == Fate::Drop {
                return;
            }
        }
        if let Request::Prove { proof } = &frame.request {
            let name = self.name(client).to_owned();
            self.names.insert(proof.identity, name);
        }
        self.send(line, Arrival::Up(encoded(&frame)));
    }

    pub(super) fn member_hangs_up(&mut self, client: Node, dial: DialId) {
        let Some(line) = self.line_of(client, dial) else {
            return;
        };
        if let Some(player) = self.machine_mut(client).player.as_mut() {
            player.lines.remove(&dial);
        }
        self.send(line, Arrival::UpEnd);
        if let Some(line) = self.lines.get_mut(&line) {
            line.up.open = false;
        }
    }

    pub(super) fn plane_says(&mut self, id: LineId, text: &str) {
        let Some(client) = self.lines.get(&id).map(|line| line.client) else {
            return;
        };
        let mut frame: ServerFrame = match serde_json::from_str(text) {
            Ok(frame) => frame,
            Err(error) => panic!("a control plane said what no member can read: {error}: {text}"),
        };
        self.tamper.told.push((client, frame.message.clone()));
        if let Some(mut liar) = self.tamper.liar.take() {
            let fate = liar(client, &mut frame);
            self.tamper.liar = Some(liar);
            if fate == Fate::Drop {
                return;
            }
        }
        self.send(id, Arrival::Down(encoded(&frame)));
    }

    pub(super) fn plane_hangs_up(&mut self, id: LineId) {
        self.send(id, Arrival::DownEnd);
        if let Some(line) = self.lines.get_mut(&id) {
            line.down.open = false;
            line.at_plane = None;
        }
    }

    /// A machine has other addresses: its connections carry nothing any more, and nobody is told.
    pub(super) fn lines_die_of(&mut self, node: Node) {
        for line in self.lines.values_mut() {
            line.dead |= line.client != line.server && (line.client == node || line.server == node);
        }
    }

    /// A process ended: its system closes what it had open, at both kinds of ends.
    pub(super) fn close_lines_of(&mut self, node: Node, as_client: bool, as_server: bool) {
        let ids: Vec<_> = self.lines.keys().copied().collect();
        for id in ids {
            let Some((client, server)) = self.lines.get(&id).map(|line| (line.client, line.server)) else {
                continue;
            };
            if as_client && client == node {
                self.send(id, Arrival::UpEnd);
                if let Some(line) = self.lines.get_mut(&id) {
                    line.up.open = false;
                }
            }
            if as_server && server == node {
                self.plane_hangs_up(id);
            }
        }
    }

    fn line_of(&self, client: Node, dial: DialId) -> Option<LineId> {
        self.machine(client).player.as_ref()?.lines.get(&dial).copied()
    }

    /// Puts something on its way, in order behind what went before.
    fn send(&mut self, id: LineId, arrival: Arrival) {
        let open = |line: &Line| match direction_of(&arrival) {
            Direction::Up => line.up.open,
            Direction::Down => line.down.open,
        };
        if self.lines.get(&id).is_some_and(open) {
            self.put(id, arrival);
        }
    }

    fn put(&mut self, id: LineId, arrival: Arrival) {
        let now = self.now;
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        let direction = direction_of(&arrival);
        let (half, from, to) = match direction {
            Direction::Up => (&mut line.up, line.client, line.server),
            Direction::Down => (&mut line.down, line.server, line.client),
        };
        let mut at = self
            .links
            .stream(&mut self.chance, now, from, to)
            .filter(|_| !line.dead);
        if matches!(arrival, Arrival::Connect) {
            // TCP's and the WebSocket's greetings: there, back, and there again.
            for (from, to) in [(to, from), (from, to)] {
                at = at.and_then(|at| self.links.stream(&mut self.chance, at, from, to));
            }
        }
        match at {
            Some(at) if half.stalled.is_empty() => {
                half.last = half.last.max(at);
                let last = half.last;
                self.at(last, Happening::Line(id, arrival));
            }
            _ => {
                let first = half.stalled.is_empty();
                half.stalled.push_back(arrival);
                if first {
                    half.stalled_at = now;
                    self.later(GIVES_UP, Happening::Line(id, Arrival::GiveUp(direction, now)));
                }
            }
        }
    }

    /// The way between two machines works again: what waited goes on.
    pub(super) fn unstall(&mut self, a: Node, b: Node) {
        let between = |line: &Line| !line.dead && [(a, b), (b, a)].contains(&(line.client, line.server));
        let ids: Vec<_> = self
            .lines
            .iter()
            .filter(|(_, line)| between(line))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            let Some(line) = self.lines.get_mut(&id) else {
                continue;
            };
            let waiting: Vec<_> = line
                .up
                .stalled
                .drain(..)
                .chain(line.down.stalled.drain(..))
                .collect();
            for arrival in waiting {
                self.put(id, arrival);
            }
        }
    }

    pub(super) fn line_arrival(&mut self, id: LineId, arrival: Arrival) {
        let Some(line) = self.lines.get(&id) else { return };
        let (client, server, dial) = (line.client, line.server, line.dial);
        match arrival {
            Arrival::Connect => {
                let (port, source) = (line.port, line.source);
                match self.plane_accepts(server, id, port, source) {
                    Some(at_plane) => {
                        if let Some(line) = self.lines.get_mut(&id) {
                            line.at_plane = Some(at_plane);
                        }
                        self.send(id, Arrival::Opened);
                    }
                    None => self.plane_hangs_up(id),
                }
            }
            Arrival::Up(text) => {
                if let Some((life, conn)) = line.at_plane {
                    if let Ok(frame) = serde_json::from_str::<ClientFrame>(&text) {
                        let is_heartbeat = matches!(frame.request, Request::Heartbeat {});
                        if is_heartbeat && let Some(line) = self.lines.get_mut(&id) {
                            line.heartbeats.insert(frame.id);
                        }
                        let kind = if is_heartbeat {
                            Kind::Heartbeat
                        } else {
                            Kind::Control
                        };
                        let from = self.name(client).to_owned();
                        let what = self.request(&frame.request);
                        self.note_plane(kind, server, format_args!("← {from}: {what}"));
                    }
                    self.plane_hears(server, life, conn, &text);
                }
            }
            Arrival::UpEnd => {
                if let Some((life, conn)) = line.at_plane {
                    let from = self.name(client).to_owned();
                    self.note_plane(Kind::Control, server, format_args!("← {from}: gone"));
                    self.plane_loses(server, life, conn);
                }
                self.lines.remove(&id);
            }
            Arrival::Opened => self.member_hears(id, dial, ControlEvent::Open),
            Arrival::Down(text) => {
                let frame: ServerFrame = match serde_json::from_str(&text) {
                    Ok(frame) => frame,
                    Err(error) => panic!("a frame that can't be read back: {error}: {text}"),
                };
                let from = self.plane_name(server);
                let what = self.message(&frame.message);
                if self.hears(id) {
                    let re = frame.re;
                    let heartbeats = self.lines.get_mut(&id).map(|line| &mut line.heartbeats);
                    let answered = heartbeats.zip(re).is_some_and(|(sent, re)| sent.remove(&re));
                    let kind = if answered { Kind::Heartbeat } else { Kind::Control };
                    self.note(kind, client, format_args!("← {from}: {what}"));
                }
                self.member_hears(id, dial, ControlEvent::Frame(Box::new(frame)));
            }
            Arrival::DownEnd => {
                if self.hears(id) {
                    let from = self.plane_name(server);
                    self.note(Kind::Control, client, format_args!("← {from}: closed"));
                }
                self.member_hears(id, dial, ControlEvent::Closed(None));
                self.forget_dial(id);
                self.lines.remove(&id);
            }
            Arrival::GiveUp(direction, since) => {
                let half = if direction == Direction::Up {
                    &line.up
                } else {
                    &line.down
                };
                // What stalls now may have begun to stall later than what this was set for.
                if !half.stalled.is_empty() && half.stalled_at == since {
                    self.broken(id);
                }
            }
        }
    }

    /// Both ends learn at once that the connection is dead.
    fn broken(&mut self, id: LineId) {
        let Some(line) = self.lines.get(&id) else { return };
        let (dial, server, at_plane) = (line.dial, line.server, line.at_plane);
        self.member_hears(id, dial, ControlEvent::Closed(None));
        if let Some((life, conn)) = at_plane {
            self.plane_loses(server, life, conn);
        }
        self.forget_dial(id);
        self.lines.remove(&id);
    }

    /// Whether the member's end is still open.
    fn hears(&self, id: LineId) -> bool {
        self.lines
            .get(&id)
            .is_some_and(|line| line.up.open && self.machine(line.client).life() == line.life)
    }

    fn member_hears(&mut self, id: LineId, dial: DialId, event: ControlEvent) {
        if self.hears(id)
            && let Some(client) = self.lines.get(&id).map(|line| line.client)
        {
            self.input(client, Input::Control(dial, event));
        }
    }

    fn forget_dial(&mut self, id: LineId) {
        if let Some(line) = self.lines.get(&id) {
            let (client, dial) = (line.client, line.dial);
            if let Some(player) = self.machine_mut(client).player.as_mut()
                && player.lines.get(&dial) == Some(&id)
            {
                player.lines.remove(&dial);
            }
        }
    }
}

fn direction_of(arrival: &Arrival) -> Direction {
    match arrival {
        Arrival::Connect | Arrival::Up(_) | Arrival::UpEnd => Direction::Up,
        Arrival::Opened | Arrival::Down(_) | Arrival::DownEnd => Direction::Down,
        Arrival::GiveUp(direction, _) => *direction,
    }
}

/// A frame as its text; what does not fit stops the simulation, as it would cost a real connection.
fn encoded(frame: &impl serde::Serialize) -> String {
    match serde_json::to_string(frame) {
        Ok(text) if lanrage_proto::control::fits(&text) => text,
        Ok(text) => panic!("a control frame of {} bytes", text.len()),
        Err(error) => panic!("a control frame that is no JSON: {error}"),
    }
}
