//! The data thread: packets between the adapter and the UDP sockets, by the core's [`Dataplane`].
//!
//! One OS thread, the only reader of the sockets. Per wake-up it takes a batch from the network, then a batch from
//! the adapter, and sends what came of each at the batch's end, never by a timer. Nothing here allocates for a
//! packet. What is not WireGuard's goes to the control loop by a bounded queue with a share for each kind.

use crate::happening::{Happening, Happenings, Stray};
use crate::relays::Queue;
use lanrage_core::dataplane::{Dataplane, Handled, Inbox, Outbox};
use lanrage_core::lan::Announce;
use lanrage_core::lan::Interface;
use lanrage_core::path::{Path, TransportId};
use lanrage_core::probe::{Kind, demux};
use lanrage_core::table::Table;
use lanrage_platform::adapter::{Adapter, Trouble};
use lanrage_platform::capture::Capture;
use lanrage_platform::poll::{self, Handle, MAX_SOURCES, Source, Waker};
use lanrage_platform::realtime;
use lanrage_platform::udp::Sockets;
use lanrage_proto::{Fault, FaultCode, Slot};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Packets of one batch, so that neither direction waits for the other, nor anything else on this processor.
const BATCH_PACKETS: usize = 64;
/// Bytes of one batch.
const BATCH_BYTES: usize = 64 * 1024;
/// The longest datagram and the longest packet there are.
const LONGEST: usize = 64 * 1024;
/// STUN messages that wait for the control loop: answers to its own few requests.
const STUN_SHARE: usize = 64;
/// Other datagrams that wait for it: probes of a full party, several times over.
const OTHER_SHARE: usize = 1024;
/// Datagrams from relays that wait for their turn.
const RELAYED: usize = 512;
/// Drops are told in the log no more often than this.
const TELL: Duration = Duration::from_secs(1);
/// After the system refused to wait it is asked again this much later.
const REST: Duration = Duration::from_millis(50);

/// What the control loop wants of the thread.
enum Command {
    Table(Table),
    /// Acknowledged when the one before is closed.
    Adapter(Option<Adapter>, oneshot::Sender<()>),
    /// Likewise.
    Sockets(Option<Arc<Sockets>>, oneshot::Sender<()>),
    /// Likewise.
    Capture(Option<(Capture, Vec<Arc<Interface>>)>, oneshot::Sender<()>),
    Relay(TransportId, Option<Arc<Queue>>),
    Hole(TransportId, Option<Arc<UdpSocket>>),
    Replay(Slot, Announce),
    Forget(u16),
    Stop,
}

/// The control loop's hold on the thread.
pub(crate) struct DataThread {
    commands: Sender<Command>,
    relayed: SyncSender<(Path, Vec<u8>)>,
    waker: Waker,
    thread: JoinHandle<()>,
}

/// Where relays, and sockets that are only tried yet, bring what they received.
#[derive(Clone)]
pub(crate) struct Door {
    relayed: SyncSender<(Path, Vec<u8>)>,
    waker: Waker,
}

impl Door {
    /// Hands a datagram in; one that finds no room is lost, as it would be in a socket's buffer.
    pub(crate) fn deliver(&self, path: Path, datagram: &[u8]) {
        if self.relayed.try_send((path, datagram.to_vec())).is_ok() {
            self.waker.wake();
        }
    }
}

/// Datagrams for the member, as they come.
pub(crate) struct Strays {
    stun: mpsc::Receiver<Stray>,
    other: mpsc::Receiver<Stray>,
}

impl Strays {
    /// The next one; `None` when there will be none. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Option<Stray> {
        tokio::select! {
            Some(stray) = self.stun.recv() => Some(stray),
            Some(stray) = self.other.recv() => Some(stray),
            else => None,
        }
    }

    /// The next one that is already there.
    pub(crate) fn try_next(&mut self) -> Option<Stray> {
        self.stun.try_recv().or_else(|_| self.other.try_recv()).ok()
    }
}

impl DataThread {
    /// Starts the thread, with real-time priority where that is wanted and allowed.
    ///
    /// # Errors
    /// `too_many_files` when nothing can be opened to wake it by, `internal` when there can be no thread.
    pub(crate) fn start(realtime: bool, happenings: Happenings) -> Result<(Self, Strays), Fault> {
        let waker =
            Waker::new().map_err(|error| Fault::new(FaultCode::TooManyFiles).with("reason", error))?;
        let (commands, received) = channel();
        let (relayed, relayed_out) = sync_channel(RELAYED);
        let (stun, stun_out) = mpsc::channel(STUN_SHARE);
        let (other, other_out) = mpsc::channel(OTHER_SHARE);
        let pumps = Pumps {
            dataplane: Dataplane::new(),
            adapter: None,
            sockets: None,
            capture: None,
            relays: BTreeMap::new(),
            holes: Vec::new(),
            relayed: relayed_out,
            inbox: Inbox::new(),
            outbox: Outbox::new(),
            buffer: vec![0; LONGEST],
            happenings,
            stun,
            other,
            losses: Losses::default(),
            told: (Instant::now(), 0),
        };
        let wakes = waker.clone();
        let thread = std::thread::Builder::new()
            .name("data".to_owned())
            .spawn(move || {
                if realtime && !realtime::raise_priority() {
                    tracing::debug!("the data thread has ordinary priority");
                }
                pumps.run(&received, &wakes);
            })
            .map_err(|error| Fault::new(FaultCode::Internal).with("reason", error))?;
        let data = Self {
            commands,
            relayed,
            waker,
            thread,
        };
        let strays = Strays {
            stun: stun_out,
            other: other_out,
        };
        Ok((data, strays))
    }

    /// Makes the table true, soon.
    pub(crate) fn apply(&self, table: Table) {
        self.command(Command::Table(table));
    }

    /// Hands the adapter over, or takes it back. When this returns the one before is gone from the system.
    pub(crate) async fn set_adapter(&self, adapter: Option<Adapter>) {
        let (done, wait) = oneshot::channel();
        self.command(Command::Adapter(adapter, done));
        let _ = wait.await;
    }

    /// Hands the sockets over, or takes them back. When this returns the thread has let go of the ones before.
    pub(crate) async fn set_sockets(&self, sockets: Option<Arc<Sockets>>) {
        let (done, wait) = oneshot::channel();
        self.command(Command::Sockets(sockets, done));
        let _ = wait.await;
    }

    /// Hands over what captures broadcasts of other interfaces, with the interfaces it looks at, or takes it back.
    /// When this returns the one before is closed.
    pub(crate) async fn set_capture(&self, capture: Option<(Capture, Vec<Arc<Interface>>)>) {
        let (done, wait) = oneshot::channel();
        self.command(Command::Capture(capture, done));
        let _ = wait.await;
    }

    /// Adds a relay to send by, or takes it away.
    pub(crate) fn set_relay(&self, id: TransportId, queue: Option<Arc<Queue>>) {
        self.command(Command::Relay(id, queue));
    }

    /// Adds a socket for one peer to wait for and to send by, or takes it away.
    pub(crate) fn set_hole(&self, id: TransportId, socket: Option<Arc<UdpSocket>>) {
        self.command(Command::Hole(id, socket));
    }

    /// Gives a peer an announce again.
    pub(crate) fn replay(&self, to: Slot, announce: Announce) {
        self.command(Command::Replay(to, announce));
    }

    /// The program that announced from this UDP port is gone.
    pub(crate) fn forget_program(&self, port: u16) {
        self.command(Command::Forget(port));
    }

    /// Where relays, and sockets that are only tried yet, bring what they received.
    pub(crate) fn door(&self) -> Door {
        Door {
            relayed: self.relayed.clone(),
            waker: self.waker.clone(),
        }
    }

    /// Ends the thread and waits until it has.
    pub(crate) fn stop(self) {
        self.command(Command::Stop);
        if self.thread.join().is_err() {
            tracing::error!("the data thread had failed");
        }
    }

    fn command(&self, command: Command) {
        // A thread that has ended keeps nothing open; its end is said when it is joined.
        let _ = self.commands.send(command);
        self.waker.wake();
    }
}

/// What was dropped between the system and the core, for the log.
#[derive(Debug, Default)]
struct Losses {
    unsent: u64,
    undelivered: u64,
    strays: u64,
    reports: u64,
}

struct Pumps {
    dataplane: Dataplane,
    adapter: Option<Adapter>,
    sockets: Option<Arc<Sockets>>,
    capture: Option<(Capture, Vec<Arc<Interface>>)>,
    relays: BTreeMap<TransportId, Arc<Queue>>,
    /// Sockets for one peer each: few, and none in most parties.
    holes: Vec<(TransportId, Arc<UdpSocket>)>,
    relayed: Receiver<(Path, Vec<u8>)>,
    inbox: Inbox,
    outbox: Outbox,
    buffer: Vec<u8>,
    happenings: Happenings,
    stun: mpsc::Sender<Stray>,
    other: mpsc::Sender<Stray>,
    losses: Losses,
    /// When drops were last told, and how many there were.
    told: (Instant, u64),
}

/// What can be read.
#[derive(Default)]
struct Ready {
    commands: bool,
    v4: bool,
    v6: bool,
    adapter: bool,
    capture: bool,
    /// Holes, by position: those from this one on.
    holes: (usize, poll::Ready),
}

impl Pumps {
    fn run(mut self, commands: &Receiver<Command>, waker: &Waker) {
        loop {
            let ready = match self.wait(waker) {
                Ok(ready) => ready,
                Err(error) => {
                    tracing::error!(%error, "the data thread can't wait");
                    std::thread::sleep(REST);
                    Ready {
                        commands: true,
                        ..Ready::default()
                    }
                }
            };
            if ready.commands {
                waker.clear();
                while let Ok(command) = commands.try_recv() {
                    if !self.obey(command) {
                        return;
                    }
                }
                self.receive_relayed(waker);
            }
            let now = Instant::now();
            if self.dataplane.next_wake().is_some_and(|at| now >= at) {
                self.dataplane.wake(now, &mut self.outbox);
                self.send();
            }
            if ready.v4 || ready.v6 {
                self.receive(ready.v4, ready.v6);
            }
            for position in 0..self.holes.len() {
                if ready.holes.1.is_ready(ready.holes.0 + position)
                    && let Some((id, socket)) = self.holes.get(position).cloned()
                {
                    self.receive_from(&socket, id);
                }
            }
            if ready.adapter {
                self.read_adapter();
            }
            if ready.capture {
                self.read_capture();
            }
            self.tell_drops(now);
            self.report();
        }
    }

    fn wait(&self, waker: &Waker) -> io::Result<Ready> {
        let timeout = self
            .dataplane
            .next_wake()
            .map(|at| at.saturating_duration_since(Instant::now()));
        let waker = waker.handle();
        let mut handles: [Handle<'_>; MAX_SOURCES] = [waker; MAX_SOURCES];
        let mut count = 1;
        let mut positions = [None; 4];
        let sockets = self.sockets.as_deref();
        let sources = [
            sockets.map(|sockets| sockets.v4.handle()),
            sockets.and_then(|sockets| Some(sockets.v6.as_ref()?.handle())),
            self.adapter.as_ref().map(Source::handle),
            self.capture.as_ref().map(|(capture, _)| capture.handle()),
        ];
        for (position, source) in positions.iter_mut().zip(sources) {
            if let Some(source) = source {
                handles[count] = source;
                *position = Some(count);
                count += 1;
            }
        }
        let first_hole = count;
        for ((_, socket), place) in self.holes.iter().zip(&mut handles[first_hole..]) {
            *place = socket.handle();
            count += 1;
        }
        let ready = poll::wait(&handles[..count], timeout)?;
        let [v4, v6, adapter, capture] =
            positions.map(|position| position.is_some_and(|at| ready.is_ready(at)));
        Ok(Ready {
            commands: ready.is_ready(0),
            v4,
            v6,
            adapter,
            capture,
            holes: (first_hole, ready),
        })
    }

    /// Whether to go on.
    fn obey(&mut self, command: Command) -> bool {
        match command {
            Command::Table(table) => self.dataplane.apply(Instant::now(), table),
            Command::Adapter(adapter, done) => {
                if self.adapter.is_some() {
                    tracing::debug!(losses = ?self.losses, "packets: {}", self.dataplane.counters());
                }
                self.adapter = adapter;
                let _ = done.send(());
            }
            Command::Sockets(sockets, done) => {
                self.sockets = sockets;
                let _ = done.send(());
            }
            Command::Capture(capture, done) => {
                self.capture = capture;
                let _ = done.send(());
            }
            Command::Relay(id, Some(queue)) => {
                self.relays.insert(id, queue);
            }
            Command::Relay(id, None) => {
                self.relays.remove(&id);
            }
            Command::Hole(id, socket) => {
                self.holes.retain(|(other, _)| *other != id);
                self.holes.extend(socket.map(|socket| (id, socket)));
            }
            Command::Replay(to, announce) => self.dataplane.replay(Instant::now(), to, &announce),
            Command::Forget(port) => self.dataplane.forget_program(port),
            Command::Stop => return false,
        }
        true
    }

    /// Network to adapter.
    fn receive(&mut self, v4: bool, v6: bool) {
        let Some(sockets) = self.sockets.clone() else {
            return;
        };
        if v4 {
            self.receive_from(&sockets.v4, TransportId::UDP4);
        }
        if v6 && let Some(v6) = &sockets.v6 {
            self.receive_from(v6, TransportId::UDP6);
        }
    }

    fn receive_from(&mut self, socket: &UdpSocket, transport: TransportId) {
        let now = Instant::now();
        let mut bytes = 0;
        for _ in 0..BATCH_PACKETS {
            let (length, remote) = match socket.recv_from(&mut self.buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An ICMP error for something sent before, or an interruption: says nothing about what comes.
                Err(error) => {
                    tracing::trace!(%error, "receiving");
                    continue;
                }
            };
            let buffer = std::mem::take(&mut self.buffer);
            self.take_in(now, Path { transport, remote }, &buffer[..length]);
            self.buffer = buffer;
            bytes += length;
            if bytes >= BATCH_BYTES {
                break;
            }
        }
        self.deliver();
        self.send();
    }

    /// What came by relays.
    fn receive_relayed(&mut self, waker: &Waker) {
        let now = Instant::now();
        for taken in 0.. {
            if taken == BATCH_PACKETS {
                // The rest comes after the other sources had their turn.
                waker.wake();
                break;
            }
            let Ok((path, datagram)) = self.relayed.try_recv() else {
                break;
            };
            self.take_in(now, path, &datagram);
        }
        self.deliver();
        self.send();
    }

    /// One datagram, whichever way it came.
    fn take_in(&mut self, now: Instant, path: Path, datagram: &[u8]) {
        let handled = self
            .dataplane
            .datagram_in(now, path, datagram, &mut self.inbox, &mut self.outbox);
        if handled == Handled::Done {
            return;
        }
        let queue = match demux(datagram) {
            Kind::Stun => &self.stun,
            Kind::WireGuard | Kind::Other => &self.other,
        };
        // Room first: under a flood nothing is copied only to be dropped.
        match queue.try_reserve() {
            Ok(place) => place.send(Stray {
                path,
                bytes: datagram.to_vec(),
            }),
            Err(_) => self.losses.strays += 1,
        }
    }

    /// Adapter to network.
    fn read_adapter(&mut self) {
        let Some(adapter) = &self.adapter else {
            return;
        };
        let now = Instant::now();
        let (mut bytes, mut gone) = (0, false);
        for _ in 0..BATCH_PACKETS {
            match adapter.read(&mut self.buffer) {
                Ok(length) => {
                    self.dataplane
                        .packet_out(now, &self.buffer[..length], &mut self.outbox);
                    bytes += length;
                    if bytes >= BATCH_BYTES {
                        break;
                    }
                }
                Err(error) => match Trouble::of_read(&error) {
                    Trouble::NotReady => break,
                    Trouble::Dropped => {}
                    Trouble::Gone => {
                        gone = true;
                        break;
                    }
                },
            }
        }
        self.send();
        if gone {
            self.lose_adapter();
        }
    }

    /// What programs broadcast on other interfaces to network.
    fn read_capture(&mut self) {
        let Some((capture, interfaces)) = &self.capture else {
            return;
        };
        let now = Instant::now();
        let mut failed = None;
        for _ in 0..BATCH_PACKETS {
            match capture.read(&mut self.buffer) {
                Ok(length) => {
                    let packet = &self.buffer[..length];
                    // By the address it bears: behind a bridge the same packet leaves by several interfaces.
                    if let Some(interface) = interfaces.iter().find(|interface| is_from(packet, interface)) {
                        self.dataplane.captured(now, interface, packet, &mut self.outbox);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        self.send();
        if let Some(error) = failed {
            tracing::debug!(%error, "broadcasts of other interfaces can't be captured any more");
            self.capture = None;
            if self.happenings.try_send(Happening::CaptureGone).is_err() {
                self.losses.reports += 1;
            }
        }
    }

    fn deliver(&mut self) {
        let mut gone = false;
        if let Some(adapter) = &self.adapter {
            for packet in self.inbox.iter() {
                if let Err(error) = adapter.write(packet) {
                    self.losses.undelivered += 1;
                    gone |= Trouble::of_write(&error) == Trouble::Gone;
                }
            }
        }
        self.inbox.clear();
        if gone {
            self.lose_adapter();
        }
    }

    fn send(&mut self) {
        if let Some(sockets) = &self.sockets {
            for (path, datagram) in self.outbox.iter() {
                if let Some(queue) = self.relays.get(&path.transport) {
                    queue.push(path.remote, datagram);
                    continue;
                }
                if path.transport.is_hole() {
                    let hole = self.holes.iter().find(|(id, _)| *id == path.transport);
                    if hole.is_none_or(|(_, socket)| socket.send_to(datagram, path.remote).is_err()) {
                        self.losses.unsent += 1;
                    }
                    continue;
                }
                let sent = match (path.transport, &sockets.v6) {
                    (TransportId::UDP4, _) => sockets.v4.send_to(datagram, path.remote),
                    (TransportId::UDP6, Some(v6)) => v6.send_to(datagram, path.remote),
                    _ => continue,
                };
                // Unreachable, refused, no buffer: WireGuard and whoever talks inside it repeat what matters.
                if sent.is_err() {
                    self.losses.unsent += 1;
                }
            }
        }
        self.outbox.clear();
    }

    fn lose_adapter(&mut self) {
        self.adapter = None;
        if self.happenings.try_send(Happening::AdapterGone).is_err() {
            self.losses.reports += 1;
        }
    }

    fn report(&mut self) {
        while let Some(report) = self.dataplane.poll_report() {
            // Lost ones come again: what they tell of is still so.
            if self.happenings.try_send(Happening::Report(report)).is_err() {
                self.losses.reports += 1;
            }
        }
    }

    /// Tells what was dropped, when that is more than before.
    fn tell_drops(&mut self, now: Instant) {
        let counters = self.dataplane.counters();
        let dropped = counters.dropped_in_all();
        if dropped != self.told.1 && now.saturating_duration_since(self.told.0) >= TELL {
            self.told = (now, dropped);
            tracing::debug!(losses = ?self.losses, "packets: {counters}");
        }
    }
}

/// Whether an IPv4 packet's source is one of the interface's own addresses.
fn is_from(packet: &[u8], interface: &Interface) -> bool {
    let Some(source) = packet.get(12..).and_then(|rest| rest.first_chunk::<4>()) else {
        return false;
    };
    let source = IpAddr::from(*source);
    interface.addresses.iter().any(|(own, _)| *own == source)
}

#[cfg(test)]
mod tests;
