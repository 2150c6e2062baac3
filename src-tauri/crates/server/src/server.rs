//! The listener, and how it starts and stops.

use crate::config::{Listen, Settings, StoreChoice, TlsFiles};
use crate::hub::Hub;
use crate::relay::settings::TurnTls;
use crate::relay::{Doors, Entrance, Relay, metrics};
use crate::socket::{Client, HASTE, Held, serve};
use crate::sources::Sources;
use crate::store::AnyStore;
use crate::tls::{ALPN_TURN, Tls};
use anyhow::{Context, Result, bail};
use lanrage_proto::server_url::is_near;
use lanrage_registry::{Config, Servers, Service, Source};
use rand_core::{OsRng, RngCore};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::Cursor;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

/// Connections at once; fewer where the system allows fewer open files.
const CONNECTIONS: usize = 16_000;
/// Relay sockets at once; fewer likewise.
const RELAYS: usize = 10_000;
/// Open files that are neither: the store, listeners, the log.
const OTHER_FILES: usize = 64;
/// How long clients have to go when the server stops.
const FAREWELL: Duration = Duration::from_secs(5);
/// That all places are taken is worth a line in the log so often: who takes them could fill the disk with more.
const TOLD: Duration = Duration::from_secs(60);
/// A pause after the system refused a connection, as when it is out of files.
const BREATH: Duration = Duration::from_millis(100);

/// A running server. Dropped without [`Self::stop`] it ends with its runtime.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    tls_files: Option<TlsFiles>,
    relay: Relay,
    turn_tls: bool,
    tls: watch::Sender<Option<Arc<Tls>>>,
    stopping: watch::Sender<bool>,
    accepting: JoinHandle<()>,
    alive: mpsc::Receiver<()>,
    hub: Hub,
    hub_ended: oneshot::Receiver<()>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Opens the store, reads the certificate, and listens.
    ///
    /// # Errors
    /// One sentence for the operator.
    pub async fn start(settings: Settings) -> Result<Self> {
        let turn_tls = settings.relay.tls != TurnTls::None;
        let load = |files| Tls::load(files, turn_tls);
        let tls = settings.tls.as_ref().map(load).transpose()?.map(Arc::new);
        let listener = listen(settings.listen)?;
        let address = listener.local_addr()?;
        let (tls, current_tls) = watch::channel(tls);
        let (stopping, on_stop) = watch::channel(false);
        let (alive_sender, alive) = mpsc::channel(1);
        let (connections, relays) = rooms();
        let doors = Doors {
            places: Arc::new(Semaphore::new(connections)),
            sources: Sources::default(),
            stopping: on_stop,
            alive: alive_sender,
        };
        let (relay, servers) = Relay::start(&settings.relay, relays, &doors, &current_tls)?;
        if let Some(at) = settings.relay.metrics {
            let listener = TcpListener::bind(at)
                .await
                .with_context(|| format!("can't listen on {at} for metrics"))?;
            tokio::spawn(metrics::serve(listener, relay.metrics(), doors.stopping.clone()));
        }
        let (choice, members) = (settings.store.clone(), settings.members);
        let service = tokio::task::spawn_blocking(move || open(&choice, members, servers)).await??;
        tracing::info!(parties = service.registry().live_parties(), "the store is open");
        let (hub, hub_ended) = Hub::start(service, members).context("can't start the registry's thread")?;
        let acceptor = Acceptor {
            told_full: None,
            hub: hub.clone(),
            tls: current_tls,
            names: settings.names,
            behind_proxy: settings.behind_proxy,
            doors,
            entrance: relay.entrance(),
            turn: settings.relay.tls == TurnTls::Shared,
        };
        Ok(Self {
            address,
            tls_files: settings.tls,
            relay,
            turn_tls,
            tls,
            stopping,
            accepting: tokio::spawn(acceptor.run(listener)),
            alive,
            hub,
            hub_ended,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where STUN and TURN are, over UDP.
    pub fn relay_addresses(&self) -> &[SocketAddr] {
        self.relay.udp()
    }

    /// Reads certificate and key again, for connections from here on.
    ///
    /// # Errors
    /// When they can't be used; the old ones go on then.
    pub fn reload_tls(&self) -> Result<()> {
        if let Some(files) = &self.tls_files {
            self.tls
                .send_replace(Some(Arc::new(Tls::load(files, self.turn_tls)?)));
        }
        Ok(())
    }

    /// Ends when the server can't go on by itself.
    pub async fn ended(&mut self) {
        tokio::select! {
            _ = &mut self.hub_ended => {}
            _ = &mut self.accepting => {}
        }
    }

    /// Stops listening, carries out what was asked so far, tells all clients that the server goes away, and
    /// closes the store.
    pub async fn stop(mut self) {
        self.accepting.abort();
        if !self.accepting.is_finished() {
            // Cancelled, as it should be: the listener is closed.
            let _ = (&mut self.accepting).await;
        }
        self.stopping.send_replace(true);
        self.hub.stop().await;
        if timeout(FAREWELL, self.alive.recv()).await.is_err() {
            tracing::warn!("some clients did not go");
        }
        if !self.hub_ended.is_terminated() && timeout(FAREWELL, &mut self.hub_ended).await.is_err() {
            tracing::warn!("the store did not close");
        }
    }
}

fn open(choice: &StoreChoice, members: u8, servers: Box<dyn Servers>) -> Result<Service<AnyStore>> {
    let store = AnyStore::open(choice)?;
    let config = Config {
        members,
        ..Config::default()
    };
    let mut randomness = [0; 32];
    OsRng
        .try_fill_bytes(&mut randomness)
        .map_err(|error| anyhow::anyhow!("the system has no randomness: {error}"))?;
    Ok(Service::new(config, randomness, Instant::now(), store)?.with_servers(servers))
}

fn listen(at: Listen) -> Result<TcpListener> {
    let mut last = None;
    for address in at.candidates() {
        match bind(address) {
            Ok(listener) => return Ok(listener),
            // A taken port is taken; a system without IPv6 is tried with IPv4.
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                return Err(error).with_context(|| format!("can't listen on {address}"));
            }
            Err(error) => last = Some((address, error)),
        }
    }
    let (address, error) = last.context("no address to listen on")?;
    Err(error).with_context(|| format!("can't listen on {address}"))
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    // Else a restart would have to wait for the old connections' ends; on Windows it means something else.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

/// Raises the limit of open files as far as it goes, and checks that there is room for clients. To be called first:
/// what else a program opens at its start may not survive finding none.
///
/// # Errors
/// One sentence for the operator.
pub fn check_room() -> Result<()> {
    match rooms() {
        (0, _) => bail!("the system allows too few open files for any client; raise the limit (ulimit -n)"),
        _ => Ok(()),
    }
}

/// How many connections and how many relay sockets there may be.
fn rooms() -> (usize, u32) {
    let files = open_files().unwrap_or(usize::MAX);
    let relays = RELAYS.min(files / 3);
    let connections = CONNECTIONS.min(files.saturating_sub(OTHER_FILES + relays));
    (connections, u32::try_from(relays).unwrap_or(u32::MAX))
}

/// The files that may be open, as many as the system allows at all; none for no limit.
#[cfg(unix)]
fn open_files() -> Option<usize> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    files.and_then(|files| usize::try_from(files).ok())
}

#[cfg(not(unix))]
fn open_files() -> Option<usize> {
    None
}

struct Acceptor {
    /// When it was last told that all places are taken.
    told_full: Option<Instant>,
    hub: Hub,
    tls: watch::Receiver<Option<Arc<Tls>>>,
    names: Vec<String>,
    behind_proxy: bool,
    doors: Doors,
    entrance: Entrance,
    /// Whether TURN is spoken here as well.
    turn: bool,
}

impl Acceptor {
    async fn run(mut self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, remote)) => self.accept(stream, remote),
                Err(error) => {
                    tracing::warn!(%error, "can't accept a connection");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    /// Lets a connection in, or drops it.
    fn accept(&mut self, stream: TcpStream, remote: SocketAddr) {
        let from = SocketAddr::new(remote.ip().to_canonical(), remote.port());
        let remote = from.ip();
        let Ok(local) = stream.local_addr() else {
            return;
        };
        let local = SocketAddr::new(local.ip().to_canonical(), local.port());
        let tls = self.tls.borrow().clone();
        if tls.is_none() && !self.behind_proxy && !(is_near(local.ip()) && is_near(remote)) {
            tracing::debug!(%remote, "plain connections are for near addresses: dropped");
            return;
        }
        let Ok(place) = self.doors.places.clone().try_acquire_owned() else {
            if self.told_full.is_none_or(|at| at.elapsed() >= TOLD) {
                self.told_full = Some(Instant::now());
                tracing::warn!("all places for connections are taken");
            }
            return;
        };
        let Some(counted) = self.doors.sources.enter(remote) else {
            tracing::debug!(%remote, "too many connections from one source");
            return;
        };
        // Frames are small and somebody waits for each.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::trace!(%error, "no TCP_NODELAY");
        }
        let client = Client {
            hub: self.hub.clone(),
            source: Source {
                address: Some(remote),
                authorities: self.authorities(local, tls.as_deref()),
            },
            proxied: self.behind_proxy && remote.is_loopback(),
            relay: self.entrance.clone(),
            sources: self.doors.sources.clone(),
            stopping: self.doors.stopping.clone(),
            _held: Held {
                _place: place,
                _counted: counted,
                _alive: self.doors.alive.clone(),
            },
        };
        match tls {
            None => drop(tokio::spawn(serve(stream, client))),
            Some(tls) => {
                let turn = self.turn;
                drop(tokio::spawn(async move {
                    match timeout(HASTE, tls.acceptor.accept(stream)).await {
                        Ok(Ok(stream)) if turn => serve_either(stream, (local, from), client).await,
                        Ok(Ok(stream)) => serve(stream, client).await,
                        Ok(Err(error)) => tracing::debug!(%error, "no TLS handshake"),
                        Err(_) => tracing::debug!("a TLS handshake took too long"),
                    }
                }));
            }
        }
    }

    /// The names under which a connection that reached `local` may have been dialled.
    fn authorities(&self, local: SocketAddr, tls: Option<&Tls>) -> Vec<String> {
        let mut authorities = self.names.clone();
        authorities.push(local.to_string());
        if local.ip().is_loopback() {
            authorities.push(format!("localhost:{}", local.port()));
        }
        authorities.extend(tls.into_iter().flat_map(|tls| tls.authorities(local.port())));
        authorities
    }
}

/// Serves HTTP or TURN, whichever the client wants: it says so in the handshake (RFC 7443), or by its first bytes.
async fn serve_either(
    mut stream: TlsStream<TcpStream>,
    (local, remote): (SocketAddr, SocketAddr),
    client: Client,
) {
    let mut stopping = client.stopping.clone();
    let turn = async {
        let asked = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        let mut first = [0; 1024];
        let mut read = 0;
        match asked.as_deref() {
            Some(ALPN_TURN) => {}
            Some(_) | None => match timeout(HASTE, stream.read(&mut first)).await {
                Ok(Ok(count)) => read = count,
                Ok(Err(_)) | Err(_) => return,
            },
        }
        let first = &first[..read];
        // A request line begins with a letter, a STUN message with two zero bits.
        if first.first().is_some_and(u8::is_ascii_alphabetic) {
            let (reader, writer) = tokio::io::split(stream);
            let reader = Cursor::new(first.to_vec()).chain(reader);
            return serve(tokio::io::join(reader, writer), client).await;
        }
        client.relay.serve(stream, local, remote, first).await;
    };
    tokio::select! {
        () = turn => {}
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
}
