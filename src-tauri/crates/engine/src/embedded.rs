//! The embedded control plane: the registry that a founder's engine serves to its own party in local mode.
//!
//! It lives on a thread of its own, as storing blocks: one task owns the [`Service`], one task each connection's
//! WebSocket. It runs only while the member wishes it, serves one party, and refuses whatever a browser sends.

mod connection;
mod memory;

use crate::happening::{Happening, Happenings};
use crate::spare::fault_of;
use crate::state::StateDir;
use connection::{Conversation, converse};
use lanrage_core::io::Hosting;
use lanrage_proto::{Fault, FaultCode, Tag};
use lanrage_registry::{Config, ConnId, Delivery, Service, Source};
use memory::Memory;
use rand_core::{OsRng, RngCore};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep_until, timeout};

/// All addresses of this computer.
static EVERYWHERE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    IpAddr::V6(Ipv6Addr::UNSPECIFIED),
];
/// Connections at once, strangers' included: members, and as many again that knock.
const CONNECTIONS: usize = 256;
/// Connections at once from one address: a household behind one NAT.
const CONNECTIONS_FROM_ONE: usize = 32;
/// How long what was to be sent may take to leave once the party is over.
const GOODBYE: Duration = Duration::from_secs(1);
/// After a failed accept, as when files ran out, it rests for this long.
const REST: Duration = Duration::from_millis(200);
/// What connections tell the registry and it has not heard yet.
const BACKLOG: usize = 256;

/// The control plane, from its wish to its end.
pub(crate) struct Embedded {
    stop: Option<oneshot::Sender<()>>,
    /// Where the router in front leads to it from.
    mapped: watch::Sender<Option<SocketAddr>>,
    ended: oneshot::Receiver<()>,
}

impl Embedded {
    /// Starts serving the party with this tag on the first of `ports` that is free, else on any. Whether it
    /// runs is told as [`Happening::Hosting`].
    pub(crate) fn start(tag: Tag, state: Arc<StateDir>, ports: Vec<u16>, happenings: Happenings) -> Self {
        Self::start_on(&EVERYWHERE, tag, state, ports, happenings)
    }

    fn start_on(
        addresses: &'static [IpAddr],
        tag: Tag,
        state: Arc<StateDir>,
        ports: Vec<u16>,
        happenings: Happenings,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (mapped, reached_as) = watch::channel(None);
        let (end, ended) = oneshot::channel();
        let failed = happenings.clone();
        let thread = std::thread::Builder::new()
            .name("control-plane".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                match runtime {
                    Ok(runtime) => runtime.block_on(async {
                        let listening = listen(addresses, &ports);
                        host(tag, &state, listening, reached_as, &happenings, stopped).await;
                    }),
                    Err(error) => {
                        let _ = happenings.blocking_send(Happening::Hosting(Err(failure(&error))));
                    }
                }
                // Nobody waits for the end of an engine's last control plane.
                let _ = end.send(());
            });
        if let Err(error) = thread {
            // Full only when the loop is far behind; then the member's own time limit tells it.
            let _ = failed.try_send(Happening::Hosting(Err(failure(&error))));
        }
        Self {
            stop: Some(stop),
            mapped,
            ended,
        }
    }

    /// The router in front leads from this address here, so that friends may have dialled it.
    pub(crate) fn mapped(&self, from: Option<SocketAddr>) {
        self.mapped.send_replace(from);
    }

    /// Ends it after what was to be sent has left, at most a second later. The memory of a party that has ended
    /// goes too; a living party's is kept.
    pub(crate) async fn stop(mut self) {
        self.stop = None;
        // An error means that its thread never ran.
        let _ = self.ended.await;
    }
}

fn failure(error: &io::Error) -> Fault {
    fault_of(error, Fault::new(FaultCode::SocketFailed).with("reason", error))
}

/// Serves until `stopped` comes or its sender is dropped.
async fn host(
    tag: Tag,
    state: &Arc<StateDir>,
    listening: io::Result<(Vec<TcpListener>, u16)>,
    reached_as: watch::Receiver<Option<SocketAddr>>,
    happenings: &Happenings,
    stopped: oneshot::Receiver<()>,
) {
    let mut randomness = [0; 32];
    OsRng.fill_bytes(&mut randomness);
    let config = Config {
        only: Some(tag),
        parties: 1,
        ..Config::default()
    };
    let opened = Memory::open(Arc::clone(state), tag)
        .and_then(|memory| {
            Service::new(config, randomness, Instant::now(), memory)
                .map_err(|error| Fault::new(FaultCode::Internal).with("reason", error))
        })
        .and_then(|service| {
            let (listeners, port) = listening.map_err(|error| failure(&error))?;
            Ok((service, listeners, port))
        });
    let (service, listeners, port) = match opened {
        Ok(opened) => opened,
        Err(fault) => {
            let _ = happenings.send(Happening::Hosting(Err(fault))).await;
            return;
        }
    };
    tracing::info!(port, "the party's control plane runs here");
    let _ = happenings.send(Happening::Hosting(Ok(Hosting { port }))).await;
    let mut plane = Plane {
        service,
        queues: BTreeMap::new(),
        sockets: JoinSet::new(),
        open: BTreeMap::new(),
        last: 0,
        reached_as,
    };
    plane.serve(listeners, stopped).await;
    plane.end().await;
    if let Err(fault) = Memory::tidy(state, tag) {
        tracing::warn!(?fault, "the memory of a party that ended stays");
    }
    tracing::info!("the party's control plane has ended here");
}

/// What a connection tells the registry.
enum Word {
    /// It shook hands and can be spoken to.
    Open(ConnId, Source, mpsc::Sender<String>),
    /// It sent a text frame.
    Text(ConnId, String),
    /// It sent something else.
    Malformed(ConnId),
    /// It is gone.
    Gone(ConnId),
}

struct Plane {
    service: Service<Memory>,
    queues: BTreeMap<ConnId, mpsc::Sender<String>>,
    sockets: JoinSet<()>,
    open: BTreeMap<ConnId, Guest>,
    last: u64,
    reached_as: watch::Receiver<Option<SocketAddr>>,
}

/// A connection, from its arrival on.
struct Guest {
    address: IpAddr,
    task: AbortHandle,
}

impl Plane {
    async fn serve(&mut self, listeners: Vec<TcpListener>, mut stopped: oneshot::Receiver<()>) {
        let (words, mut heard) = mpsc::channel(BACKLOG);
        let (accepted, mut arrivals) = mpsc::channel(16);
        let mut doors = JoinSet::new();
        for listener in listeners {
            doors.spawn(accept(listener, accepted.clone()));
        }
        loop {
            let wake = self.service.next_wake().map(tokio::time::Instant::from_std);
            tokio::select! {
                _ = &mut stopped => break,
                Some((stream, address)) = arrivals.recv() => self.welcome(stream, address, &words),
                Some(word) = heard.recv() => {
                    self.hear(word);
                    // All that came together goes into one commit.
                    while let Ok(word) = heard.try_recv() {
                        self.hear(word);
                    }
                }
                () = async { match wake { Some(at) => sleep_until(at).await, None => std::future::pending().await } } => {
                    self.service.wake(Instant::now());
                }
                Some(_) = self.sockets.join_next() => {}
            }
            self.deliver();
        }
        // No new connections from here on; what was said last is still heard.
        drop(doors);
        while let Ok(word) = heard.try_recv() {
            self.hear(word);
        }
        self.deliver();
    }

    fn welcome(&mut self, stream: TcpStream, address: SocketAddr, words: &mpsc::Sender<Word>) {
        let address = address.ip().to_canonical();
        let from = self
            .open
            .values()
            .filter(|guest| guest.address == address)
            .count();
        if from >= CONNECTIONS_FROM_ONE || !self.make_room() {
            tracing::debug!("too many connections; one was refused");
            return;
        }
        self.last += 1;
        let id = ConnId(self.last);
        let conversation = Conversation {
            id,
            address,
            mapped: *self.reached_as.borrow(),
            words: words.clone(),
        };
        let task = self.sockets.spawn(Box::pin(converse(stream, conversation)));
        self.open.insert(id, Guest { address, task });
    }

    /// Whether there is room for one more. Strangers who have proven nothing give way to newcomers, the oldest first:
    /// else whoever has many addresses could keep friends out.
    fn make_room(&mut self) -> bool {
        if self.open.len() < CONNECTIONS {
            return true;
        }
        let registry = self.service.registry();
        let Some(stranger) = self.open.keys().find(|id| !registry.is_proven(**id)).copied() else {
            return false;
        };
        if let Some(guest) = self.open.get(&stranger) {
            guest.task.abort();
        }
        self.gone(stranger);
        true
    }

    fn gone(&mut self, id: ConnId) {
        self.open.remove(&id);
        self.queues.remove(&id);
        self.service.disconnected(Instant::now(), id);
    }

    fn hear(&mut self, word: Word) {
        let now = Instant::now();
        match word {
            // Sent away while it said so.
            Word::Open(id, ..) if !self.open.contains_key(&id) => {}
            Word::Open(id, source, queue) => {
                self.queues.insert(id, queue);
                self.service.connected(now, id, source);
            }
            Word::Text(id, text) => self.service.text(now, id, &text),
            Word::Malformed(id) => self.service.malformed(now, id),
            Word::Gone(id) => self.gone(id),
        }
    }

    fn deliver(&mut self) {
        let now = Instant::now();
        for delivery in self.service.flush(now) {
            match delivery {
                Delivery::Text(id, text) => {
                    if let Some(queue) = self.queues.get(&id)
                        && queue.try_send(text).is_err()
                    {
                        // It takes nothing any more. Its task sees the queue's end and says that it is gone.
                        tracing::debug!(?id, "a connection is too slow and was closed");
                        self.queues.remove(&id);
                    }
                }
                Delivery::Close(id) => {
                    self.queues.remove(&id);
                }
            }
        }
    }

    /// Lets every connection send what it has and close.
    async fn end(&mut self) {
        self.queues.clear();
        let ended = async { while self.sockets.join_next().await.is_some() {} };
        if timeout(GOODBYE, ended).await.is_err() {
            tracing::debug!(left = self.sockets.len(), "connections were cut");
            self.sockets.abort_all();
        }
    }
}

async fn accept(listener: TcpListener, accepted: mpsc::Sender<(TcpStream, SocketAddr)>) {
    loop {
        match listener.accept().await {
            Ok(arrival) => {
                if accepted.send(arrival).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// Opens the first of `ports` that is free, else any, on all of `addresses`. Those after the first may be of a
/// family that the system lacks.
fn listen(addresses: &[IpAddr], ports: &[u16]) -> io::Result<(Vec<TcpListener>, u16)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    // A port that the system chose for one family may be taken for the other.
    let any = [0; 8];
    for port in ports.iter().copied().filter(|port| *port != 0).chain(any) {
        match listen_on(addresses, port) {
            Ok(opened) => return Ok(opened),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn listen_on(addresses: &[IpAddr], mut port: u16) -> io::Result<(Vec<TcpListener>, u16)> {
    let mut listeners = Vec::new();
    for address in addresses {
        match open(SocketAddr::new(*address, port)) {
            Ok(listener) => {
                port = listener.local_addr()?.port();
                listeners.push(listener);
            }
            Err(error) if listeners.is_empty() || error.kind() == io::ErrorKind::AddrInUse => {
                return Err(error);
            }
            Err(error) => tracing::debug!(%error, "no control plane for one family of addresses"),
        }
    }
    Ok((listeners, port))
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // On Unix it only skips the wait after a restart; on Windows it would let two programs share the port.
    if cfg!(unix) {
        socket.set_reuse_address(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(128)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests;
