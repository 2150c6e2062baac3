//! STUN and TURN on real sockets. What is decided, [`lanrage_relay`] decides; here it is carried out.
//!
//! ```text
//! listener task (UDP) ──┐                                  ┌──► relay socket, its task reads
//! stream task (TCP,TLS) ┼─► lock ► Server ► what goes out ─┤
//! relay socket's task ──┘         (one at a time, microseconds)    └──► listener, stream's queue
//! ```
//!
//! A task holds the lock while it asks the server about all that one receive brought, and sends after it let go. So
//! both directions run side by side, and neighbours to one place leave in one system call.

mod addresses;
mod desk;
pub(crate) mod metrics;
pub mod settings;
mod shared;
mod stream;
mod udp;

use crate::sources::{Counted, Sources};
use crate::tls::Tls;
use anyhow::{Context, Result, bail};
use desk::{Desk, Served, unix};
use lanrage_registry::Servers;
use lanrage_relay::credentials::Secret;
use lanrage_relay::{Client, Config, Limits, Link, RelayAddress, Server, Service, rules};
use metrics::Metrics;
use rand_core::{OsRng, RngCore};
use settings::{Door, RelaySettings, TurnTls};
use shared::Shared;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use stream::Carrier;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use udp::UdpEnd;

/// Named to clients that authenticate. It is part of what their keys are made of, so it stays as it is.
const REALM: &str = "lanrage";
/// How often the server looks at the clock by itself.
const TICK: Duration = Duration::from_secs(1);
/// How long a client may take for its TLS handshake.
const HASTE: Duration = Duration::from_secs(10);
/// A pause after the system refused a connection, as when it is out of files.
const BREATH: Duration = Duration::from_millis(100);

/// What it takes to let a connection in, the same for the whole program.
#[derive(Debug, Clone)]
pub(crate) struct Doors {
    pub(crate) places: Arc<Semaphore>,
    pub(crate) sources: Sources,
    /// Turns true when the server stops.
    pub(crate) stopping: watch::Receiver<bool>,
    /// The server waits until all of these are gone.
    pub(crate) alive: mpsc::Sender<()>,
}

/// What a connection holds until it ends.
struct Held {
    _place: OwnedSemaphorePermit,
    _counted: Counted,
    _alive: mpsc::Sender<()>,
}

impl Doors {
    fn enter(&self, remote: IpAddr) -> Option<Held> {
        Some(Held {
            _place: self.places.clone().try_acquire_owned().ok()?,
            _counted: self.sources.enter(remote)?,
            _alive: self.alive.clone(),
        })
    }
}

/// Running STUN and TURN. Its listeners end when it is dropped; streams end when the server stops.
#[derive(Debug)]
pub(crate) struct Relay {
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
    udp: Vec<SocketAddr>,
}

impl Relay {
    /// Listens. `room` is how many relay sockets there may be. Besides the relay comes what a control plane hands
    /// out.
    ///
    /// # Errors
    /// One sentence for the operator: what was asked for can't be had. What was not asked for may be missing.
    pub(crate) fn start(
        settings: &RelaySettings,
        room: u32,
        doors: &Doors,
        tls: &watch::Receiver<Option<Arc<Tls>>>,
    ) -> Result<(Self, Box<dyn Servers>)> {
        let relays = if settings.turn() {
            addresses::relays(settings)
        } else {
            Vec::new()
        };
        let turn = offers_turn(settings, &relays)?;
        let service = |door: &Door| if turn { door.service } else { Service::Stun };
        let mut served = Served::default();
        let mut ends = Vec::new();
        for door in &settings.udp {
            if let Some(end) = had(door, "UDP", UdpEnd::open(door.at))? {
                served.udp.push((end.bound(), service(door)));
                ends.push((Arc::new(end), service(door)));
            }
        }
        let mut listeners = Vec::new();
        for door in &settings.tcp {
            if let Some((listener, at)) = had(door, "TCP", listen(door.at))? {
                served.tcp.push((at, service(door)));
                listeners.push((listener, service(door), None));
            }
        }
        match settings.tls {
            TurnTls::At(at) if turn => {
                let (listener, at) = listen(at).with_context(|| format!("can't listen on TCP {at}"))?;
                served.tls = Some(at);
                listeners.push((listener, Service::Turn, Some(tls.clone())));
            }
            TurnTls::Shared => served.tls_shared = turn,
            TurnTls::At(_) | TurnTls::None => {}
        }
        let mut randomness = [[0; 32]; 3];
        for seed in &mut randomness {
            OsRng
                .try_fill_bytes(seed)
                .map_err(|error| anyhow::anyhow!("the system has no randomness: {error}"))?;
        }
        let [seed, ids, secret] = randomness;
        let secret = settings.secret.clone().unwrap_or_else(|| Secret::new(secret));
        let config = Config {
            realm: REALM.to_owned(),
            secret: secret.clone(),
            relays,
            ports: settings.ports.clone(),
            allow_peers: settings.allow_peers.clone(),
            own: addresses::own(),
            behaviour: settings.behaviour,
            limits: Limits {
                allocations: room.min(Limits::default().allocations),
                member_bytes: settings.member_bytes,
                bytes: settings.bytes,
                ..Limits::default()
            },
        };
        let server = Server::new(config, seed, Instant::now(), unix());
        let shared = Arc::new(Shared::new(
            server,
            ends.iter().map(|(end, _)| end.clone()).collect(),
        ));
        let mut tasks = JoinSet::new();
        tasks.spawn(shared.clone().tick(TICK));
        for (end, service) in ends {
            tasks.spawn(shared.clone().listen(end, service));
        }
        for (listener, service, tls) in listeners {
            tasks.spawn(accept(shared.clone(), listener, service, doors.clone(), tls));
        }
        tracing::info!(stun = ?served.udp.iter().map(|(at, _)| at).collect::<Vec<_>>(), turn, "STUN and TURN");
        let desk = Desk::new(settings, &served, secret, ids);
        let relay = Self {
            shared,
            _tasks: tasks,
            udp: served.udp.iter().map(|(at, _)| *at).collect(),
        };
        Ok((relay, Box::new(desk)))
    }

    /// A way in for the control plane's connections.
    pub(crate) fn entrance(&self) -> Entrance {
        Entrance(self.shared.clone())
    }

    /// A way to its numbers.
    pub(crate) fn metrics(&self) -> Metrics {
        Metrics(self.shared.clone())
    }

    /// Where it listens for UDP.
    pub(crate) fn udp(&self) -> &[SocketAddr] {
        &self.udp
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// Where streams come in that were accepted elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct Entrance(Arc<Shared>);

impl Entrance {
    /// Somebody connected from here, and may be relayed to.
    pub(crate) fn seen(&self, remote: IpAddr) {
        self.0.seen(remote);
    }

    /// A way to the relay's numbers.
    pub(crate) fn metrics(&self) -> Metrics {
        Metrics(self.0.clone())
    }

    /// Serves TURN on a TLS stream until it ends. `first` is what was already read of it.
    pub(crate) async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin,
        local: SocketAddr,
        remote: SocketAddr,
        first: &[u8],
    ) {
        let client = self.0.stream_client(Service::Turn, local, remote);
        stream::serve(&self.0, stream, Carrier::Tls, client, first).await;
    }
}

/// Whether TURN can be offered where it should be.
fn offers_turn(settings: &RelaySettings, relays: &[RelayAddress]) -> Result<bool> {
    if !settings.turn() {
        return Ok(false);
    }
    if relays.is_empty() {
        let named = |door: &Door| door.named && door.service == Service::Turn;
        if settings.udp.iter().chain(&settings.tcp).any(named) || matches!(settings.tls, TurnTls::At(_)) {
            bail!("no address for relays is known: give --public-ip ADDR");
        }
        tracing::warn!("no address for relays is known, so TURN is off: give --public-ip ADDR");
        return Ok(false);
    }
    for relay in relays {
        if !rules::is_public(relay.announced) {
            tracing::info!(
                address = %relay.announced,
                "relays are on a private address: where others reach this machine by another, give --public-ip ADDR"
            );
        }
    }
    Ok(true)
}

/// What the operator named has to be had; what was tried without a word may be missing.
fn had<T>(door: &Door, protocol: &str, tried: io::Result<T>) -> Result<Option<T>> {
    match tried {
        Ok(had) => Ok(Some(had)),
        Err(error) if door.named => {
            Err(error).with_context(|| format!("can't listen on {protocol} {}", door.at))
        }
        // A system without IPv6.
        Err(error) if door.at.is_ipv6() && error.kind() != io::ErrorKind::AddrInUse => {
            tracing::debug!(at = %door.at, %error, "no listener");
            Ok(None)
        }
        Err(error) => {
            tracing::warn!(at = %door.at, protocol, %error, "STUN and TURN are not offered here");
            Ok(None)
        }
    }
}

fn listen(at: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Else a restart would have to wait for the old connections' ends; on Windows it means something else.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    socket.listen(1024)?;
    let listener = TcpListener::from_std(socket.into())?;
    let at = listener.local_addr()?;
    Ok((listener, at))
}

/// Lets streams in.
async fn accept(
    shared: Arc<Shared>,
    listener: TcpListener,
    service: Service,
    doors: Doors,
    tls: Option<watch::Receiver<Option<Arc<Tls>>>>,
) {
    loop {
        let (stream, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        let (Ok(local), Some(held)) = (stream.local_addr(), doors.enter(remote.ip().to_canonical())) else {
            tracing::debug!(%remote, "too many connections");
            continue;
        };
        // Packets are small and late ones are worth nothing.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::trace!(%error, "no TCP_NODELAY");
        }
        let tls = tls.as_ref().and_then(|tls| tls.borrow().clone());
        let client = shared.stream_client(service, local, remote);
        let (shared, mut stopping) = (shared.clone(), doors.stopping.clone());
        tokio::spawn(async move {
            let _held = held;
            let serve = async {
                match tls {
                    None => stream::serve(&shared, stream, Carrier::Tcp, client, &[]).await,
                    Some(tls) => match timeout(HASTE, tls.acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => stream::serve(&shared, stream, Carrier::Tls, client, &[]).await,
                        Ok(Err(error)) => tracing::debug!(%error, "no TLS handshake"),
                        Err(_) => tracing::debug!("a TLS handshake took too long"),
                    },
                }
            };
            tokio::select! {
                () = serve => {}
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
        });
    }
}

/// A client on a stream.
fn stream_client(number: u64, service: Service, local: SocketAddr, remote: SocketAddr) -> Client {
    let canonical = |at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
    Client {
        link: Link::Stream(number),
        service,
        local: canonical(local),
        remote: canonical(remote),
    }
}
