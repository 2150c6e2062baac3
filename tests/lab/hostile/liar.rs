//! A member whose program was changed: it joins as every member does, and then seals whatever it is told to.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lanrage_core::io::{
    Config, ConnId, ControlEvent, Input, Intent, IntentId, Network, Outcome, Output, Report,
};
use lanrage_core::keys::DeviceSeed;
use lanrage_core::member::Member;
use lanrage_core::path::Path;
use lanrage_core::probe::{Kind, demux};
use lanrage_core::table::{Table, TablePeer};
use lanrage_core::wg::{self, Admission, Door, Message, Opened, Shaken, Tunnel};
use lanrage_proto::lobby::Rules;
use lanrage_proto::{Fault, Invite, PartyRange, PlayerName, ServerUrl, Slot};
use lanrage_tests::lab::Host;
use tokio_tungstenite::tungstenite::{self, WebSocket};

/// The port of its UDP socket, as every engine's.
const PORT: u16 = 51820;
/// How long joining and shaking hands may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest datagram.
const LONGEST: usize = 65536;

/// The changed member, in a party with one other.
pub(super) struct Liar {
    member: Member,
    socket: UdpSocket,
    links: BTreeMap<ConnId, WebSocket<TcpStream>>,
    answer: Option<Result<Outcome, Fault>>,
    other: Option<Other>,
}

/// The tunnel to the other member.
struct Other {
    slot: Slot,
    row: TablePeer,
    door: Door,
    tunnel: Tunnel,
    shaken: Option<Instant>,
}

impl Liar {
    /// Joins by an invite that names a server, and waits until there is a session with the other member.
    pub(super) fn join(host: &Host, invite: &str) -> Result<Self> {
        host.inside(|| {
            let socket = UdpSocket::bind(("0.0.0.0", PORT))?;
            socket.set_nonblocking(true)?;
            let now = Instant::now();
            let player = PlayerName::parse("Mallory")?;
            let config = Config {
                seed: DeviceSeed::from_bytes([66; 32]),
                boot: 1,
                randomness: [7; 32],
                player: player.clone(),
                server: None,
                range: PartyRange::DEFAULT,
                relays: Vec::new(),
                punching: true,
                rules: Rules::default(),
            };
            let mut member = Member::new(config, now);
            let network = Network {
                addresses: vec![(IpAddr::V4(host.address()), 24)],
                outward: vec![IpAddr::V4(host.address())],
                port: PORT,
            };
            member.handle(now, Input::Network(network));
            let invite = Invite::find_in(invite)?;
            member.handle(now, Input::Intent(IntentId(1), Intent::Join { invite, player }));
            let mut liar = Self {
                member,
                socket,
                links: BTreeMap::new(),
                answer: None,
                other: None,
            };
            while !liar.is_up() {
                if now.elapsed() > PATIENCE {
                    bail!("the changed member got no session; its answer: {:?}", liar.answer);
                }
                liar.live(Duration::from_millis(20))?;
                if let Some(Err(fault)) = &liar.answer {
                    bail!("the changed member was refused: {fault}");
                }
            }
            Ok(liar)
        })
    }

    /// Seals a packet for the other member, whatever it is, and sends it.
    pub(super) fn say(&mut self, packet: &[u8]) -> Result<()> {
        let other = self.other.as_mut().context("no peer")?;
        let mut out = vec![0; LONGEST];
        let length = other.tunnel.seal(packet, &mut out).context("no session")?;
        let path = other.row.path.context("no path")?;
        self.socket.send_to(&out[..length], path.remote)?;
        Ok(())
    }

    fn is_up(&self) -> bool {
        let ready = |other: &Other| other.tunnel.has_session() && other.row.path.is_some();
        self.other.as_ref().is_some_and(ready)
    }

    /// Goes on as an honest member for so long.
    pub(super) fn live(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.hear()?;
            self.read_links();
            let now = Instant::now();
            if self.member.next_wake().is_some_and(|(at, _)| at <= now) {
                self.member.wake(now);
            }
            self.shake_hands(now)?;
            while let Some(output) = self.member.poll() {
                self.carry_out(output)?;
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn carry_out(&mut self, output: Output) -> Result<()> {
        let now = Instant::now();
        match output {
            Output::Transmit(path, bytes) if path.remote.is_ipv4() => {
                // An address that can't be reached from here is nobody's fault.
                let _ = self.socket.send_to(&bytes, path.remote);
            }
            Output::Dial(conn, url) => {
                let event = match dial(&url) {
                    Ok(link) => {
                        self.links.insert(conn, link);
                        ControlEvent::Open
                    }
                    Err(_) => ControlEvent::Closed(None),
                };
                self.member.handle(now, Input::Control(conn, event));
            }
            Output::Say(conn, frame) => {
                if let Some(link) = self.links.get_mut(&conn) {
                    link.send(tungstenite::Message::text(serde_json::to_string(&frame)?))?;
                }
            }
            Output::Hangup(conn) => drop(self.links.remove(&conn)),
            Output::Configure(_) => self.member.handle(now, Input::Adapter(Ok(()))),
            Output::Table(table) => self.meet(table),
            Output::Answer(_, answer) => self.answer = Some(answer),
            _ => {}
        }
        Ok(())
    }

    fn meet(&mut self, table: Table) {
        let (Some(end), Some((slot, row))) = (table.end, table.peers.into_iter().next()) else {
            self.other = None;
            return;
        };
        match &mut self.other {
            Some(other) if other.row.sessions == row.sessions && other.row.wg == row.wg => other.row = row,
            _ => {
                let door = Door::new(&end.wg_secret);
                let number = u32::from(slot.get());
                let tunnel = Tunnel::new(&door, &row.wg, &row.psk, row.sessions, row.initiates, number);
                self.other = Some(Other {
                    slot,
                    row,
                    door,
                    tunnel,
                    shaken: None,
                });
            }
        }
    }

    /// Begins a handshake where it is this side's to begin.
    fn shake_hands(&mut self, now: Instant) -> Result<()> {
        let Some(other) = &mut self.other else {
            return Ok(());
        };
        let Some(path) = other.row.path else { return Ok(()) };
        let recent = other
            .shaken
            .is_some_and(|at| now < at + Duration::from_millis(250));
        if other.tunnel.has_session() || recent {
            return Ok(());
        }
        let mut out = [0; wg::ROOM];
        if let Some(length) = other.tunnel.initiate(&mut out) {
            other.shaken = Some(now);
            self.socket.send_to(&out[..length], path.remote)?;
        }
        Ok(())
    }

    fn hear(&mut self) -> Result<()> {
        let mut datagram = vec![0; LONGEST];
        while let Ok((length, remote)) = self.socket.recv_from(&mut datagram) {
            let (now, path, datagram) = (Instant::now(), Path::primary(remote), &datagram[..length]);
            if demux(datagram) == Kind::WireGuard {
                self.tunnel(now, remote, datagram)?;
            } else {
                self.member.handle(now, Input::Datagram(path, datagram.to_vec()));
            }
        }
        Ok(())
    }

    fn tunnel(&mut self, now: Instant, remote: SocketAddr, datagram: &[u8]) -> Result<()> {
        let (Some(other), Some(message)) = (&mut self.other, wg::read(datagram)) else {
            return Ok(());
        };
        let mut out = vec![0; LONGEST];
        let fresh = match message {
            Message::Data(_) => {
                let (opened, fresh) = other.tunnel.open(remote.ip(), datagram, &mut out);
                if matches!(opened, Opened::Packet(_) | Opened::Keepalive) {
                    let heard = Report::Heard(other.slot, Path::primary(remote));
                    self.member.handle(now, Input::Report(heard));
                }
                fresh
            }
            Message::Initiation
                if !matches!(
                    other.door.admit(remote.ip(), datagram, &mut out),
                    Admission::Known(_)
                ) =>
            {
                false
            }
            _ => {
                let (shaken, fresh) = other.tunnel.shake(remote.ip(), datagram, &mut out);
                if let Shaken::Reply { length, .. } = shaken {
                    self.socket.send_to(&out[..length], remote)?;
                }
                fresh
            }
        };
        if fresh {
            let established = Report::Established(other.slot);
            self.member.handle(now, Input::Report(established));
        }
        Ok(())
    }

    fn read_links(&mut self) {
        let now = Instant::now();
        let mut news = Vec::new();
        for (conn, link) in &mut self.links {
            loop {
                match link.read() {
                    Ok(message) => {
                        let frame = message
                            .to_text()
                            .ok()
                            .and_then(|text| serde_json::from_str(text).ok());
                        news.extend(frame.map(|frame| (*conn, ControlEvent::Frame(frame))));
                    }
                    Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                        break;
                    }
                    Err(_) => {
                        news.push((*conn, ControlEvent::Closed(None)));
                        break;
                    }
                }
            }
        }
        for (conn, event) in news {
            if matches!(event, ControlEvent::Closed(_)) {
                self.links.remove(&conn);
            }
            self.member.handle(now, Input::Control(conn, event));
        }
    }
}

fn dial(url: &ServerUrl) -> Result<WebSocket<TcpStream>> {
    let address = SocketAddr::new(url.address().context("a name")?, url.port());
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    let (link, _) = tungstenite::client(format!("ws://{}/v1/party", url.authority()), stream)?;
    link.get_ref().set_nonblocking(true)?;
    Ok(link)
}
