//! The server behind its lock, and the tasks that ask it.

use super::desk::unix;
use super::stream::Outlet;
use super::udp::{Dest, Outgoing, UdpEnd};
use lanrage_relay::{
    Action, Client, Counters, Framer, Link, NotTurn, RelayId, Server, Service, Target, Weight,
};
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// How often a socket is emptied before others get their turn.
const ROUNDS: usize = 8;

thread_local! {
    static OUTGOING: RefCell<Outgoing> = RefCell::new(Outgoing::default());
}

/// What all tasks share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    listeners: Vec<Arc<UdpEnd>>,
    streams: AtomicU64,
    unsent: AtomicU64,
    runtime: Handle,
}

#[derive(Debug)]
struct State {
    server: Server,
    relays: HashMap<RelayId, Socket>,
    streams: HashMap<Client, Arc<Outlet>>,
}

/// A relay's socket and the task that reads it.
#[derive(Debug)]
struct Socket {
    end: Arc<UdpEnd>,
    task: AbortHandle,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers to be sent when the lock is let go.
type Answers = Vec<(Dest, Vec<u8>)>;

impl Shared {
    /// Has to be called within a runtime.
    pub(super) fn new(server: Server, listeners: Vec<Arc<UdpEnd>>) -> Self {
        Self {
            state: Mutex::new(State {
                server,
                relays: HashMap::new(),
                streams: HashMap::new(),
            }),
            listeners,
            streams: AtomicU64::new(0),
            unsent: AtomicU64::new(0),
            runtime: Handle::current(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves a UDP listener.
    pub(super) async fn listen(self: Arc<Self>, end: Arc<UdpEnd>, service: Service) {
        while end.readable().await.is_ok() {
            for _ in 0..ROUNDS {
                if !self.from_listener(&end, service) {
                    break;
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// Serves a relay's socket.
    async fn relay(self: Arc<Self>, relay: RelayId, end: Arc<UdpEnd>) {
        while end.readable().await.is_ok() {
            for _ in 0..ROUNDS {
                if !self.from_relay(relay, &end) {
                    break;
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// Lets time pass.
    pub(super) async fn tick(self: Arc<Self>, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        loop {
            ticks.tick().await;
            let now = Instant::now();
            let mut state = self.lock();
            state.server.set_clock(now, unix());
            state.server.wake(now);
            let answers = self.act(&mut state, now);
            drop(state);
            self.answer(answers);
        }
    }

    /// Empties a listener once; false when nothing was there.
    fn from_listener(self: &Arc<Self>, end: &UdpEnd, service: Service) -> bool {
        OUTGOING.with_borrow_mut(|out| {
            let now = Instant::now();
            let mut state = None;
            let some = end.receive(|remote, local, bytes| {
                let state = state.get_or_insert_with(|| self.lock());
                let client = Client {
                    link: Link::Datagram,
                    service,
                    local,
                    remote,
                };
                let start = out.bytes.len();
                if let Some(target) = state.server.from_client(now, &client, bytes, &mut out.bytes) {
                    out.push(target, start, || self.dest(state, &target));
                }
            });
            let answers = state.map(|mut state| self.act(&mut state, now));
            self.send(out, answers.unwrap_or_default());
            some
        })
    }

    /// Empties a relay's socket once; false when nothing was there.
    fn from_relay(self: &Arc<Self>, relay: RelayId, end: &UdpEnd) -> bool {
        OUTGOING.with_borrow_mut(|out| {
            let now = Instant::now();
            let mut state = None;
            let some = end.receive(|peer, _, bytes| {
                let state = state.get_or_insert_with(|| self.lock());
                let start = out.bytes.len();
                if let Some(client) = state.server.from_peer(now, relay, peer, bytes, &mut out.bytes) {
                    let target = Target::Client(client);
                    out.push(target, start, || self.dest(state, &target));
                }
            });
            drop(state);
            self.send(out, Vec::new());
            some
        })
    }

    /// Carries out what whole frames of a stream ask for.
    ///
    /// # Errors
    /// When what came is no frame.
    pub(super) fn frames(self: &Arc<Self>, client: &Client, framer: &mut Framer) -> Result<(), NotTurn> {
        OUTGOING.with_borrow_mut(|out| {
            let now = Instant::now();
            let mut state = self.lock();
            let result = loop {
                let frame = match framer.frame() {
                    Ok(Some(frame)) => frame,
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                };
                let start = out.bytes.len();
                if let Some(target) = state.server.from_client(now, client, frame, &mut out.bytes) {
                    out.push(target, start, || self.dest(&state, &target));
                }
            };
            let answers = self.act(&mut state, now);
            drop(state);
            self.send(out, answers);
            result
        })
    }

    /// A client on a stream, told apart from all others.
    pub(super) fn stream_client(&self, service: Service, local: SocketAddr, remote: SocketAddr) -> Client {
        super::stream_client(
            self.streams.fetch_add(1, Ordering::Relaxed),
            service,
            local,
            remote,
        )
    }

    /// A stream begins.
    pub(super) fn stream_came(&self, client: &Client, outlet: Arc<Outlet>) {
        let mut state = self.lock();
        state.streams.insert(*client, outlet);
        state.server.seen(Instant::now(), client.remote.ip());
    }

    /// A stream has ended.
    pub(super) fn stream_went(self: &Arc<Self>, client: &Client) {
        let now = Instant::now();
        let mut state = self.lock();
        state.streams.remove(client);
        state.server.client_gone(now, client);
        let answers = self.act(&mut state, now);
        drop(state);
        self.answer(answers);
    }

    /// Whether a client has an allocation.
    pub(super) fn serves(&self, client: &Client) -> bool {
        self.lock().server.serves(client)
    }

    /// Somebody was here by other means.
    pub(super) fn seen(&self, address: IpAddr) {
        self.lock().server.seen(Instant::now(), address);
    }

    /// Closes all relay sockets.
    pub(super) fn close(&self) {
        self.lock().relays.clear();
    }

    /// What happened, and how many allocations there are.
    pub(super) fn counted(&self) -> (Counters, u32) {
        let state = self.lock();
        (*state.server.counters(), state.server.allocations())
    }

    /// Datagrams and frames that were relayed and could not be sent.
    pub(super) fn unsent(&self) -> u64 {
        self.unsent.load(Ordering::Relaxed)
    }

    /// Does what the server wants done.
    fn act(self: &Arc<Self>, state: &mut State, now: Instant) -> Answers {
        let mut answers = Vec::new();
        while let Some(action) = state.server.poll() {
            match action {
                Action::Answer { client, from, bytes } => {
                    let dest = self.client(state, &client, from);
                    answers.extend(dest.map(|dest| (dest, bytes)));
                }
                Action::Open { relay, at } => {
                    let opened = UdpEnd::open(at);
                    if let Err(error) = &opened {
                        tracing::debug!(%at, %error, "no relay socket");
                    }
                    state.server.relay_opened(now, relay, opened.is_ok());
                    if let Ok(end) = opened {
                        let end = Arc::new(end);
                        let task = self.runtime.spawn(self.clone().relay(relay, end.clone()));
                        let task = task.abort_handle();
                        state.relays.insert(relay, Socket { end, task });
                    }
                }
                Action::Close { relay } => drop(state.relays.remove(&relay)),
            }
        }
        answers
    }

    fn send(&self, out: &mut Outgoing, answers: Answers) {
        self.unsent.fetch_add(out.flush(), Ordering::Relaxed);
        self.answer(answers);
    }

    fn answer(&self, answers: Answers) {
        for (dest, bytes) in answers {
            match dest {
                // Asked for again where it is lost.
                Dest::Udp { end, to, source } => drop(end.send(to, source, &bytes, bytes.len())),
                Dest::Stream(outlet) => drop(outlet.push(Weight::Answer, bytes)),
            }
        }
    }

    fn dest(&self, state: &State, target: &Target) -> Option<Dest> {
        match target {
            Target::Client(client) => self.client(state, client, client.local),
            Target::Peer(relay, peer) => Some(Dest::Udp {
                end: state.relays.get(relay)?.end.clone(),
                to: *peer,
                source: None,
            }),
        }
    }

    /// A client, from one of our addresses.
    fn client(&self, state: &State, client: &Client, from: SocketAddr) -> Option<Dest> {
        match client.link {
            Link::Stream(_) => state.streams.get(client).cloned().map(Dest::Stream),
            Link::Datagram => {
                let fits = |end: &&Arc<UdpEnd>| {
                    let bound = end.bound();
                    bound == from
                        || bound.port() == from.port()
                            && bound.ip().is_unspecified()
                            && bound.is_ipv4() == from.is_ipv4()
                };
                Some(Dest::Udp {
                    end: self.listeners.iter().find(fits)?.clone(),
                    to: client.remote,
                    source: Some(from.ip()),
                })
            }
        }
    }
}
