//! A registry with its store behind the wire's text frames: all of a control plane but sockets and a clock.

use crate::connection::{ConnId, Source};
use crate::registry::{Config, Output, Registry};
use crate::servers::Servers;
use crate::store::{Change, Store, StoreError};
use lanrage_proto::FaultCode;
use lanrage_proto::control::{self, ClientFrame, Request, ServerFrame, ServerMessage};
use std::time::{Duration, Instant};

/// How long a store that failed is left in peace.
const RETRY: Duration = Duration::from_secs(1);

/// Something for a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// A text frame to be sent.
    Text(ConnId, String),
    /// To be closed once what was sent before is on its way.
    Close(ConnId),
}

/// A control plane without sockets and a clock.
///
/// Call [`Self::text`] and its neighbours for all that has happened, then [`Self::flush`] once: all changes go
/// into one commit, and nothing is acknowledged before. When the commit fails, requests that would have been
/// acknowledged are answered with `internal`, the changes are kept for the next commit, and requests that would
/// change more are refused until one succeeds.
#[derive(Debug)]
pub struct Service<S> {
    registry: Registry,
    store: S,
    unsaved: Vec<Change>,
    /// When a failed commit is tried again.
    retry_at: Option<Instant>,
    refused: Vec<Delivery>,
}

impl<S: Store> Service<S> {
    /// Goes on with what `store` holds. `randomness` as for [`Registry::new`].
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn new(config: Config, randomness: [u8; 32], now: Instant, mut store: S) -> Result<Self, StoreError> {
        let stored = store.load()?;
        Ok(Self {
            registry: Registry::new(config, randomness, now, stored),
            store,
            unsaved: Vec::new(),
            retry_at: None,
            refused: Vec::new(),
        })
    }

    /// Lets it hand out servers.
    #[must_use]
    pub fn with_servers(mut self, servers: Box<dyn Servers>) -> Self {
        self.registry = self.registry.with_servers(servers);
        self
    }

    /// A client connected.
    pub fn connected(&mut self, now: Instant, connection: ConnId, source: Source) {
        self.registry.connected(now, connection, source);
    }

    /// A client sent a text frame.
    pub fn text(&mut self, now: Instant, connection: ConnId, text: &str) {
        let frame = control::fits(text)
            .then(|| serde_json::from_str::<ClientFrame>(text).ok())
            .flatten();
        match frame {
            None => self.registry.malformed(now, connection),
            Some(frame) if self.retry_at.is_some() && changes_something(&frame.request) => {
                let text = text_of(&refusal(frame.id));
                self.refused
                    .extend(text.map(|text| Delivery::Text(connection, text)));
            }
            Some(frame) => self.registry.frame(now, connection, frame),
        }
    }

    /// A client sent something that is no text frame.
    pub fn malformed(&mut self, now: Instant, connection: ConnId) {
        self.registry.malformed(now, connection);
    }

    /// A connection is gone.
    pub fn disconnected(&mut self, now: Instant, connection: ConnId) {
        self.registry.disconnected(now, connection);
    }

    /// Does what is due by `now`.
    pub fn wake(&mut self, now: Instant) {
        self.registry.wake(now);
    }

    /// When [`Self::wake`], and [`Self::flush`] after it, have something to do.
    pub fn next_wake(&self) -> Option<Instant> {
        self.registry.next_wake().into_iter().chain(self.retry_at).min()
    }

    /// Commits what has changed and returns what is to be sent. Blocks as long as the store does.
    pub fn flush(&mut self, now: Instant) -> Vec<Delivery> {
        let mut outputs = Vec::new();
        while let Some(output) = self.registry.poll() {
            match output {
                Output::Store(change) => self.unsaved.push(change),
                Output::Send(..) | Output::Close(_) => outputs.push(output),
            }
        }
        let durable = self.save(now);
        let mut deliveries = std::mem::take(&mut self.refused);
        // News goes to a whole party in a row and is written once.
        let mut written: Option<(ServerFrame, String)> = None;
        for output in outputs {
            match output {
                Output::Send(connection, frame) => {
                    let frame = if durable { frame } else { unacknowledged(frame) };
                    if written.as_ref().is_none_or(|(last, _)| *last != frame) {
                        written = text_of(&frame).map(|text| (frame, text));
                    }
                    if let Some((_, text)) = &written {
                        deliveries.push(Delivery::Text(connection, text.clone()));
                    }
                }
                Output::Close(connection) => deliveries.push(Delivery::Close(connection)),
                Output::Store(_) => {}
            }
        }
        deliveries
    }

    /// Whether the store works, by writing to it.
    pub fn check(&mut self, now: Instant) -> bool {
        let works = self.retry_at.is_none() && self.store.commit(&[]).is_ok();
        if !works && self.retry_at.is_none() {
            self.retry_at = Some(now + RETRY);
        }
        works
    }

    /// The registry, to look at.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    fn save(&mut self, now: Instant) -> bool {
        if self.retry_at.is_some_and(|at| now < at) {
            return false;
        }
        if self.unsaved.is_empty() && self.retry_at.is_none() {
            return true;
        }
        match self.store.commit(&self.unsaved) {
            Ok(()) => {
                if self.retry_at.take().is_some() {
                    tracing::info!("the store works again");
                }
                self.unsaved.clear();
                true
            }
            Err(error) => {
                tracing::error!(%error, changes = self.unsaved.len(), "nothing can be stored");
                self.retry_at = Some(now + RETRY);
                false
            }
        }
    }
}

fn changes_something(request: &Request) -> bool {
    match request {
        Request::RegisterParty { .. }
        | Request::JoinParty { .. }
        | Request::LeaveParty { .. }
        | Request::DissolveParty { .. }
        | Request::UpdatePeer { .. } => true,
        Request::Hello { .. }
        | Request::Prove { .. }
        | Request::Heartbeat {}
        | Request::Discover {}
        | Request::RenewCredentials {}
        | Request::Snapshot { .. }
        | Request::Signal { .. } => false,
    }
}

fn refusal(id: u64) -> ServerFrame {
    ServerFrame {
        re: Some(id),
        message: ServerMessage::Fault {
            code: FaultCode::Internal,
        },
    }
}

/// What is said instead of an acknowledgement that would not be true.
fn unacknowledged(frame: ServerFrame) -> ServerFrame {
    match (frame.re, &frame.message) {
        (Some(id), ServerMessage::Done {} | ServerMessage::Party { .. }) => refusal(id),
        _ => frame,
    }
}

fn text_of(frame: &ServerFrame) -> Option<String> {
    match serde_json::to_string(frame) {
        Ok(text) => Some(text),
        Err(error) => {
            tracing::error!(%error, "a frame can't be written");
            None
        }
    }
}
