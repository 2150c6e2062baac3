//! The thread that owns the registry and its store.

use crate::store::AnyStore;
use axum::extract::ws::Utf8Bytes;
use lanrage_registry::{ConnId, Delivery, Service, Source};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};

/// Events that wait for the registry. Each connection has one at a time on its way here, so this slows reading
/// down and loses nothing.
const EVENTS: usize = 1024;
/// Frames that wait for one client, for each member that a party may have: the worst moment is when all come back
/// at once, and each returns, publishes its record and signals.
const FRAMES_PER_MEMBER: usize = 4;
/// And so many answers.
const ANSWERS: usize = 64;
/// The store is written to at most so often for the sake of `/healthz`.
const CHECK: Duration = Duration::from_secs(1);

/// A way to tell the registry what happened.
#[derive(Debug, Clone)]
pub(crate) struct Hub {
    events: mpsc::Sender<Event>,
    next: Arc<AtomicU64>,
    frames: usize,
}

/// The registry's thread has ended, nothing is served any longer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HubGone;

#[derive(Debug)]
enum Event {
    Connected(ConnId, Source, mpsc::Sender<Utf8Bytes>),
    Text(ConnId, Utf8Bytes),
    Malformed(ConnId),
    Gone(ConnId),
    Check(oneshot::Sender<bool>),
    Stop,
}

impl Hub {
    /// Starts the thread, for parties of so many members. The receiver fires when it has ended.
    pub(crate) fn start(
        service: Service<AnyStore>,
        members: u8,
    ) -> std::io::Result<(Self, oneshot::Receiver<()>)> {
        let (events, receiver) = mpsc::channel(EVENTS);
        let (ended, on_end) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread().enable_time().build()?;
        std::thread::Builder::new()
            .name("registry".to_owned())
            .spawn(move || {
                let thread = Thread {
                    service,
                    receiver,
                    clients: BTreeMap::new(),
                    checked: None,
                };
                runtime.block_on(thread.run());
                // Only now: the store is closed.
                let _ = ended.send(());
            })?;
        let hub = Self {
            events,
            next: Arc::default(),
            frames: usize::from(members) * FRAMES_PER_MEMBER + ANSWERS,
        };
        Ok((hub, on_end))
    }

    /// Announces a connection. What it is to be told comes out of the receiver, which ends when it is to be
    /// closed.
    pub(crate) async fn connected(
        &self,
        source: Source,
    ) -> Result<(ConnId, mpsc::Receiver<Utf8Bytes>), HubGone> {
        let id = ConnId(self.next.fetch_add(1, Ordering::Relaxed));
        let (sender, receiver) = mpsc::channel(self.frames);
        self.tell(Event::Connected(id, source, sender)).await?;
        Ok((id, receiver))
    }

    /// Passes a text frame on.
    pub(crate) async fn text(&self, id: ConnId, text: Utf8Bytes) -> Result<(), HubGone> {
        self.tell(Event::Text(id, text)).await
    }

    /// Tells of something that is no text frame.
    pub(crate) async fn malformed(&self, id: ConnId) -> Result<(), HubGone> {
        self.tell(Event::Malformed(id)).await
    }

    /// Tells that a connection is gone.
    pub(crate) async fn gone(&self, id: ConnId) {
        // Without a registry there is nobody who would want to know.
        let _ = self.tell(Event::Gone(id)).await;
    }

    /// Whether the store works.
    pub(crate) async fn check(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        self.tell(Event::Check(answer)).await.is_ok() && answered.await.unwrap_or(false)
    }

    /// Ends the thread: what was said so far is carried out, then all clients are let go.
    pub(crate) async fn stop(&self) {
        let _ = self.tell(Event::Stop).await;
    }

    async fn tell(&self, event: Event) -> Result<(), HubGone> {
        self.events.send(event).await.map_err(|_| HubGone)
    }
}

struct Thread {
    service: Service<AnyStore>,
    receiver: mpsc::Receiver<Event>,
    clients: BTreeMap<ConnId, mpsc::Sender<Utf8Bytes>>,
    checked: Option<(Instant, bool)>,
}

impl Thread {
    async fn run(mut self) {
        loop {
            let event = match self.service.next_wake() {
                Some(wake) => tokio::time::timeout_at(wake.into(), self.receiver.recv())
                    .await
                    .ok(),
                None => Some(self.receiver.recv().await),
            };
            let now = Instant::now();
            let mut goes_on = match event {
                Some(Some(event)) => self.take(now, event),
                Some(None) => false,
                None => true,
            };
            // What else has arrived shares the commit.
            for _ in 0..EVENTS {
                match self.receiver.try_recv() {
                    Ok(event) if goes_on => goes_on = self.take(now, event),
                    _ => break,
                }
            }
            self.service.wake(now);
            self.deliver(now);
            if !goes_on {
                return;
            }
        }
    }

    fn take(&mut self, now: Instant, event: Event) -> bool {
        match event {
            Event::Connected(id, source, client) => {
                self.clients.insert(id, client);
                self.service.connected(now, id, source);
            }
            Event::Text(id, text) => self.service.text(now, id, text.as_str()),
            Event::Malformed(id) => self.service.malformed(now, id),
            Event::Gone(id) => {
                self.clients.remove(&id);
                self.service.disconnected(now, id);
            }
            Event::Check(answer) => {
                // Who asked may have given up.
                let _ = answer.send(self.check(now));
            }
            Event::Stop => return false,
        }
        true
    }

    fn check(&mut self, now: Instant) -> bool {
        match self.checked {
            Some((at, works)) if now < at + CHECK => works,
            _ => {
                let works = self.service.check(now);
                self.checked = Some((now, works));
                works
            }
        }
    }

    fn deliver(&mut self, now: Instant) {
        loop {
            let mut slow = Vec::new();
            let mut last = Utf8Bytes::default();
            for delivery in self.service.flush(now) {
                match delivery {
                    Delivery::Text(id, text) => {
                        // News for a whole party is held in memory once, however long some take to read it.
                        if last.as_str() != text {
                            last = text.into();
                        }
                        if let Some(client) = self.clients.get(&id)
                            && client.try_send(last.clone()).is_err()
                        {
                            self.clients.remove(&id);
                            slow.push(id);
                        }
                    }
                    Delivery::Close(id) => drop(self.clients.remove(&id)),
                }
            }
            if slow.is_empty() {
                return;
            }
            for id in slow {
                tracing::debug!(connection = id.0, "a client does not read what it is told");
                self.service.disconnected(now, id);
            }
        }
    }
}
