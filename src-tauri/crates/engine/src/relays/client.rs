//! One allocation on one relay, by one way: the client library's state machine between a wire and the rest.

use super::wire::Wire;
use super::{Door, Queue};
use lanrage_core::path::{Path, TransportId};
use lanrage_core::relays::{RelayEvent, RelayPlan, RelayUp};
use lanrage_proto::TurnUri;
use rustls::ClientConfig;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::sleep_until;
use turn_client_proto::api::{TurnConfig, TurnEvent, TurnPollRet, TurnRecvRet};
use turn_client_proto::prelude::TurnClientApi;
use turn_client_proto::stun::agent::Transmit;
use turn_client_proto::stun::types::TransportType;
use turn_client_proto::tcp::TurnClientTcp;
use turn_client_proto::types::TurnCredentials;
use turn_client_proto::udp::TurnClientUdp;

/// An allocation that is not there by then will not come.
const ALLOCATING: Duration = Duration::from_secs(8);
/// STUN's first retransmission time-out and how often it is doubled: a relay on the other side of the world answers
/// within 500 ms (RFC 8489 §6.2.1), a dead one should be noticed.
const RTO: Duration = Duration::from_millis(500);
const TRIES: u32 = 5;
/// A peer's address that the relay refused is asked for again after this long.
const REFUSED: Duration = Duration::from_secs(60);
/// Datagrams taken from the queue before the wire is looked at again.
const BATCH: usize = 32;

turn_client_proto::impl_client!(pub(super) Client, (Udp, TurnClientUdp), (Tcp, TurnClientTcp));

/// Why an allocation ended.
pub(super) enum End {
    /// Nobody wants it any more; it was given back.
    Unwanted,
    /// It could not be had, or was lost.
    Failed(String),
}

/// Holds an allocation for as long as it is wanted and lasts.
pub(super) async fn run(
    uri: &TurnUri,
    plans: &mut watch::Receiver<RelayPlan>,
    queue: &Queue,
    door: &Door,
    tls: &Arc<ClientConfig>,
) -> End {
    let wire = tokio::select! {
        wire = Wire::connect(uri, tls) => wire,
        _ = super::unwanted(plans) => return End::Unwanted,
    };
    let wire = match wire {
        Ok(wire) => wire,
        Err(error) => return End::Failed(error.to_string()),
    };
    let mut session = Session::new(uri, wire, plans.borrow().clone(), door.clone());
    loop {
        if let Err(why) = session.progress().await {
            return End::Failed(why);
        }
        let wake = session.next_wake();
        tokio::select! {
            received = session.wire.receive() => match received {
                Ok(message) => session.received(message),
                Err(error) => return End::Failed(error.to_string()),
            },
            () = queue.filled() => {}
            changed = plans.changed() => match changed {
                Ok(()) => session.plan = plans.borrow_and_update().clone(),
                Err(_) => {
                    session.give_back().await;
                    return End::Unwanted;
                }
            },
            () = sleep_until(wake.into()) => {}
        }
        for _ in 0..BATCH {
            let Some((to, datagram)) = queue.take() else { break };
            if let Err(why) = session.send(to, datagram).await {
                return End::Failed(why);
            }
        }
    }
}

struct Session {
    way: TurnUri,
    wire: Wire,
    client: Client,
    plan: RelayPlan,
    door: Door,
    /// The client library's clock begins here.
    began: Instant,
    relayed: Option<SocketAddr>,
    /// Peers that have a channel, or are getting one.
    bound: BTreeSet<SocketAddr>,
    refused: BTreeMap<SocketAddr, Instant>,
}

impl Session {
    fn new(way: &TurnUri, wire: Wire, plan: RelayPlan, door: Door) -> Self {
        let credentials = TurnCredentials::new(&plan.server.username, &plan.server.password);
        let mut config = TurnConfig::new(credentials);
        config.set_request_retransmits(RTO, RTO * 8, TRIES, RTO * 2);
        let (local, remote) = (wire.local, wire.remote);
        let client = if wire.is_stream() {
            Client::Tcp(TurnClientTcp::allocate(local, remote, config))
        } else {
            Client::Udp(TurnClientUdp::allocate(local, remote, config))
        };
        Self {
            way: way.clone(),
            wire,
            client,
            plan,
            door,
            began: Instant::now(),
            relayed: None,
            bound: BTreeSet::new(),
            refused: BTreeMap::new(),
        }
    }

    fn id(&self) -> TransportId {
        self.plan.id
    }

    fn clock(&self) -> turn_client_proto::stun::Instant {
        turn_client_proto::stun::Instant::from_std(self.began)
    }

    /// Lets the client act: time-outs, events, permissions, what is to be sent.
    async fn progress(&mut self) -> Result<(), String> {
        let now = self.clock();
        if matches!(self.client.poll(now), TurnPollRet::Closed) {
            return Err("the relay ended the allocation".to_owned());
        }
        if self.relayed.is_none() && self.began.elapsed() >= ALLOCATING {
            return Err("no allocation in time".to_owned());
        }
        while let Some(event) = self.client.poll_event() {
            self.event(event).await?;
        }
        if self.relayed.is_some() {
            self.bind();
        }
        while let Some(transmit) = self.client.poll_transmit(self.clock()) {
            let sent = self.wire.send(transmit.data.to_vec()).await;
            sent.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    async fn event(&mut self, event: TurnEvent) -> Result<(), String> {
        match event {
            TurnEvent::AllocationCreated(_, relayed) => {
                self.relayed = Some(relayed);
                // Challenge and allocation: two round trips.
                let up = RelayUp {
                    relayed,
                    rtt: self.began.elapsed() / 2,
                };
                let tried = RelayEvent::Tried {
                    way: self.way.clone(),
                    failed: None,
                };
                for event in [tried, RelayEvent::Up(up)] {
                    if !self.door.tell(self.id(), event).await {
                        return Err("the engine ends".to_owned());
                    }
                }
                Ok(())
            }
            TurnEvent::AllocationCreateFailed(_) => Err("the relay refused".to_owned()),
            TurnEvent::ChannelCreateFailed(_, peer) => {
                self.bound.remove(&peer);
                self.refused.insert(peer, Instant::now());
                Ok(())
            }
            TurnEvent::ChannelCreated(..)
            | TurnEvent::PermissionCreated(..)
            | TurnEvent::PermissionCreateFailed(..)
            | TurnEvent::TcpConnected(_)
            | TurnEvent::TcpConnectFailed(_) => Ok(()),
        }
    }

    /// Asks for a channel to each peer; a channel brings its permission (RFC 8656 §12).
    fn bind(&mut self) {
        self.refused.retain(|_, at| at.elapsed() < REFUSED);
        let wanted: Vec<SocketAddr> = self
            .plan
            .peers
            .iter()
            .filter(|peer| !self.bound.contains(peer) && !self.refused.contains_key(peer))
            .copied()
            .collect();
        let now = self.clock();
        for peer in wanted {
            self.bound.insert(peer);
            if let Err(error) = self.client.bind_channel(TransportType::Udp, peer, now) {
                tracing::debug!(%error, "no channel");
                self.refused.insert(peer, Instant::now());
                self.bound.remove(&peer);
            }
        }
    }

    fn received(&mut self, message: Vec<u8>) {
        let transport = if self.wire.is_stream() {
            TransportType::Tcp
        } else {
            TransportType::Udp
        };
        let transmit = Transmit::new(message, transport, self.wire.remote, self.wire.local);
        let now = self.clock();
        if let TurnRecvRet::PeerData(data) = self.client.recv(transmit, now) {
            self.door.data.deliver(
                Path {
                    transport: self.plan.id,
                    remote: data.peer,
                },
                data.data(),
            );
        }
        while let Some(data) = self.client.poll_recv(now) {
            self.door.data.deliver(
                Path {
                    transport: self.plan.id,
                    remote: data.peer,
                },
                data.data(),
            );
        }
    }

    /// Sends a datagram to a peer; one that has no permission yet is dropped, and comes again.
    async fn send(&mut self, to: SocketAddr, datagram: Vec<u8>) -> Result<(), String> {
        let now = self.clock();
        match self.client.send_to(TransportType::Udp, to, datagram, now) {
            Ok(Some(transmit)) => {
                let message = transmit.build().data;
                self.wire.send(message).await.map_err(|error| error.to_string())
            }
            Ok(None) => Ok(()),
            Err(error) => {
                tracing::trace!(%error, "not relayed");
                Ok(())
            }
        }
    }

    fn next_wake(&mut self) -> Instant {
        let now = self.clock();
        let soonest = match self.client.poll(now) {
            TurnPollRet::WaitUntil(at) => at.saturating_duration_since(now),
            TurnPollRet::AllocateTcpSocket { .. } | TurnPollRet::TcpClose { .. } | TurnPollRet::Closed => {
                Duration::ZERO
            }
        };
        // Never a busy loop, and never so long that the allocation's own limit is missed.
        Instant::now() + soonest.clamp(Duration::from_millis(1), Duration::from_secs(1))
    }

    /// Tells the relay that the allocation is no longer needed.
    async fn give_back(&mut self) {
        if self.client.delete(self.clock()).is_ok() {
            while let Some(transmit) = self.client.poll_transmit(self.clock()) {
                if self.wire.send(transmit.data.to_vec()).await.is_err() {
                    return;
                }
            }
        }
    }
}
