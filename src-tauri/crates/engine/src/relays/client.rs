//! Allocations on one relay: by whichever of its ways one comes first, between a wire and the rest.

use super::turn::{Event, Turn};
use super::wire::{Received, Wire};
use super::{Door, Queue};
use crate::happening::Happening;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lanrage_core::path::Path;
use lanrage_core::relays::{RelayEvent, RelayPlan, RelayServer, RelayUp};
use lanrage_proto::{TurnTransport, TurnUri};
use rustls::ClientConfig;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until, timeout};

/// An allocation that is not there by then will not come by this way.
const ALLOCATING: Duration = Duration::from_secs(8);
/// The next way is tried beside one that has not come up after this long: where UDP goes nowhere nobody should wait
/// longer. A relay on the other side of the world may be reached by TCP first then; that is mended soon.
const NEXT_WAY: Duration = Duration::from_millis(500);
/// Whether UDP gets through after all is tried so soon after a stream was taken, and again after twice as long …
const FIRST_TRY: Duration = Duration::from_secs(2);
/// … up to this.
const LAST_TRY: Duration = Duration::from_secs(120);
/// Datagrams taken from the queue before the wire is looked at again.
const BATCH: usize = 32;
/// How long a stream may take nothing.
const STUCK: Duration = Duration::from_secs(3);

/// Why an allocation ended.
pub(super) enum End {
    /// Nobody wants it any more; it was given back.
    Unwanted,
    /// This computer moved: another one is wanted at once.
    Anew,
    /// It was lost.
    Lost(String),
}

/// An allocation that is there.
pub(super) struct Session {
    pub(super) way: TurnUri,
    wire: Wire,
    turn: Turn,
}

/// Allocates by the first way that does it, the better ones first, and tells what came of each.
///
/// # Errors
/// Why each way does not.
pub(super) async fn reach(plan: &RelayPlan, door: &Door, tls: &Arc<ClientConfig>) -> Result<Session, String> {
    let server = &plan.server;
    let mut waiting = server.uris.iter();
    let mut trying = FuturesUnordered::new();
    let (mut reasons, mut failed) = (Vec::new(), Vec::<TurnUri>::new());
    trying.extend(waiting.next().map(|uri| Session::begin(uri, server, tls)));
    loop {
        tokio::select! {
            begun = trying.next(), if !trying.is_empty() => match begun {
                Some(Ok(session)) => {
                    // Those begun before it are given up here; the ones that failed have been told.
                    let begun = server.uris.len() - waiting.len();
                    let silent = |way: &&TurnUri| **way != session.way && !failed.contains(*way);
                    for way in server.uris.iter().take(begun).filter(silent) {
                        door.tried(plan.id, way, Some("no answer")).await;
                    }
                    door.tried(plan.id, &session.way, None).await;
                    return Ok(session);
                }
                Some(Err((way, why))) => {
                    door.tried(plan.id, &way, Some(&why)).await;
                    reasons.push(format!("{way}: {why}"));
                    failed.push(way);
                    trying.extend(waiting.next().map(|uri| Session::begin(uri, server, tls)));
                }
                None => {}
            },
            () = sleep(NEXT_WAY), if waiting.len() > 0 => {
                trying.extend(waiting.next().map(|uri| Session::begin(uri, server, tls)));
            }
        }
        if trying.is_empty() && waiting.len() == 0 {
            return Err(reasons.join("; "));
        }
    }
}

/// Waits until a relay that is reached by a stream can be reached by datagrams. Games need those: where a packet of a
/// stream is lost, all that come after it wait.
async fn better_way(server: &RelayServer, tls: &Arc<ClientConfig>) {
    let Some(uri) = server
        .uris
        .iter()
        .find(|uri| uri.transport() == TurnTransport::Udp)
    else {
        return std::future::pending().await;
    };
    let mut pause = FIRST_TRY;
    loop {
        sleep(pause).await;
        if let Ok(mut session) = Session::begin(uri, server, tls).await {
            return session.give_back().await;
        }
        pause = (pause * 2).min(LAST_TRY);
    }
}

impl Session {
    async fn begin(
        uri: &TurnUri,
        server: &RelayServer,
        tls: &Arc<ClientConfig>,
    ) -> Result<Self, (TurnUri, String)> {
        match timeout(ALLOCATING, Self::allocate(uri, server, tls)).await {
            Ok(Ok(session)) => {
                tracing::info!(%uri, "a relay is there");
                Ok(session)
            }
            Ok(Err(why)) => Err((uri.clone(), why)),
            Err(_) => Err((uri.clone(), "no allocation in time".to_owned())),
        }
    }

    async fn allocate(uri: &TurnUri, server: &RelayServer, tls: &Arc<ClientConfig>) -> Result<Self, String> {
        let wire = Wire::connect(uri, tls).await.map_err(|error| error.to_string())?;
        let stream = uri.transport() != TurnTransport::Udp;
        let turn = Turn::new(Instant::now(), &server.username, &server.password, stream);
        let mut session = Self {
            way: uri.clone(),
            wire,
            turn,
        };
        loop {
            session.speak().await?;
            if session.turn.is_allocated() {
                return Ok(session);
            }
            let wake = session.next_wake();
            tokio::select! {
                received = session.wire.receive() => match received {
                    Ok(Received::Message(message)) => drop(session.turn.received(Instant::now(), &message)),
                    Ok(Received::Refused) => session.turn.refused(Instant::now()),
                    Err(error) => return Err(error.to_string()),
                },
                () = sleep_until(wake.into()) => {}
            }
        }
    }

    /// Holds the allocation for as long as it is wanted and lasts.
    pub(super) async fn hold(
        mut self,
        plans: &mut watch::Receiver<RelayPlan>,
        queue: &Queue,
        door: &Door,
        tls: &Arc<ClientConfig>,
    ) -> End {
        let mut plan = plans.borrow_and_update().clone();
        let mut frames = Vec::new();
        let server = plan.server.clone();
        let mut by_datagrams = self.wire.is_stream();
        let mut better = pin!(better_way(&server, tls));
        loop {
            self.turn.want(Instant::now(), &plan.peers);
            if let Err(why) = self.progress(&plan, door).await {
                return End::Lost(why);
            }
            let wake = self.next_wake();
            tokio::select! {
                received = self.wire.receive() => match received {
                    Ok(Received::Message(message)) => self.received(&plan, door, &message),
                    Ok(Received::Refused) => self.turn.refused(Instant::now()),
                    Err(error) => return End::Lost(error.to_string()),
                },
                () = queue.filled() => {}
                () = &mut better, if by_datagrams => {
                    by_datagrams = false;
                    let reason = "it is reached by UDP as well".to_owned();
                    let event = Happening::Relay(plan.id, RelayEvent::Ending { reason });
                    if door.happenings.send(event).await.is_err() {
                        return End::Unwanted;
                    }
                }
                changed = plans.changed() => match changed {
                    Ok(()) => {
                        let before = plan.anew;
                        plan = plans.borrow_and_update().clone();
                        if plan.anew != before {
                            return End::Anew;
                        }
                    }
                    Err(_) => {
                        self.give_back().await;
                        tracing::debug!("a relay's allocation is given back");
                        return End::Unwanted;
                    }
                },
                () = sleep_until(wake.into()) => {}
            }
            if let Err(why) = self.send(queue, &mut frames).await {
                return End::Lost(why);
            }
        }
    }

    /// Lets the client act, and sends what it has to say.
    async fn speak(&mut self) -> Result<(), String> {
        self.turn.wake(Instant::now());
        if let Some(why) = self.turn.failed() {
            return Err(why.to_owned());
        }
        while let Some(message) = self.turn.poll_transmit() {
            self.write(&message).await?;
        }
        Ok(())
    }

    async fn progress(&mut self, plan: &RelayPlan, door: &Door) -> Result<(), String> {
        let spoken = self.speak().await;
        while let Some(event) = self.turn.poll_event() {
            let event = match event {
                Event::Up { relayed, rtt } => RelayEvent::Up(RelayUp { relayed, rtt }),
                Event::Silent => RelayEvent::Down {
                    reason: "it is silent".to_owned(),
                },
                Event::Ending { reason } => RelayEvent::Ending { reason },
            };
            let told = door.happenings.send(Happening::Relay(plan.id, event)).await;
            told.map_err(|error| error.to_string())?;
        }
        spoken
    }

    fn received(&mut self, plan: &RelayPlan, door: &Door, message: &[u8]) {
        if let Some((remote, datagram)) = self.turn.received(Instant::now(), message) {
            let path = Path {
                transport: plan.id,
                remote,
            };
            door.data.deliver(path, &datagram);
        }
    }

    /// Sends what waits, a batch at most; on a stream all of it at once.
    async fn send(&mut self, queue: &Queue, frames: &mut Vec<u8>) -> Result<(), String> {
        let now = Instant::now();
        frames.clear();
        for _ in 0..BATCH {
            let Some((to, datagram)) = queue.take() else { break };
            if self.turn.frame(now, to, &datagram, frames) && !self.wire.is_stream() {
                self.write(frames).await?;
                frames.clear();
            }
        }
        if frames.is_empty() {
            return Ok(());
        }
        self.write(frames).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        match timeout(STUCK, self.wire.send(bytes)).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => {
                self.turn.refused(Instant::now());
                Ok(())
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("it takes nothing any more".to_owned()),
        }
    }

    fn next_wake(&self) -> Instant {
        let now = Instant::now();
        let wake = self.turn.next_wake().unwrap_or(now + ALLOCATING);
        // Never a busy loop.
        wake.max(now + Duration::from_millis(1))
    }

    /// Tells the relay that the allocation is no longer needed.
    async fn give_back(&mut self) {
        self.turn.give_back(Instant::now());
        while let Some(message) = self.turn.poll_transmit() {
            if self.write(&message).await.is_err() {
                return;
            }
        }
    }
}
