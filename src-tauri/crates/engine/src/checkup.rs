//! Finding out about the NAT without a party, when somebody asks for it: a discovery on sockets of its own.

use crate::network;
use crate::stun::{self, StunSetting};
use lanrage_core::nat::{Contacted, Discovery, FamilyReport, NatReport, Reason, Surroundings};
use lanrage_platform::udp::{self, PortChoice};
use lanrage_proto::server_url::is_reachable_unicast;
use lanrage_proto::{PartyRange, ServerUrl};
use rand_chacha::ChaCha20Rng;
use rand_core::{OsRng, RngCore, SeedableRng};
use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Mutex;
use tokio::time::{sleep_until, timeout};

/// A person waits: what is not known by then is told as unknown.
const PATIENCE: Duration = Duration::from_secs(8);
/// A server that does not take a connection by then is away.
const CONNECT: Duration = Duration::from_secs(3);
/// What was found this long ago is told again: servers must not pay for whoever asks often.
const FRESH: Duration = Duration::from_secs(15);
/// A STUN message is far shorter.
const LONGEST: usize = 1500;

/// What was found, and how to find it.
#[derive(Clone)]
pub(crate) struct Checkup {
    set: Option<StunSetting>,
    /// One at a time; who asks meanwhile gets the same.
    found: Arc<Mutex<Option<(Instant, NatReport)>>>,
}

impl Checkup {
    pub(crate) fn new(set: Option<StunSetting>) -> Self {
        Self {
            set,
            found: Arc::default(),
        }
    }

    /// Asks other servers from now on.
    pub(crate) fn set(&mut self, set: Option<StunSetting>) {
        if self.set != set {
            *self = Self::new(set);
        }
    }

    /// Asks STUN servers, unless that was just done: those that were set, else public ones, or none if so set.
    pub(crate) async fn nat(&self, range: PartyRange) -> NatReport {
        let mut found = self.found.lock().await;
        if let Some((at, report)) = &*found
            && at.elapsed() < FRESH
        {
            return report.clone();
        }
        let report = self.discover(range).await;
        *found = Some((Instant::now(), report.clone()));
        report
    }

    async fn discover(&self, range: PartyRange) -> NatReport {
        let servers = stun::of_our_own(self.set.as_ref()).await;
        if servers.is_empty() {
            return NatReport::unknown(Reason::NoServers);
        }
        // Not the party's own port: somebody may create one meanwhile.
        let sockets = match udp::bind(&PortChoice::Explicit(0)) {
            Ok(sockets) => sockets,
            Err(error) => {
                tracing::warn!(%error, "no socket to ask STUN servers from");
                return NatReport::unknown(Reason::Untried);
            }
        };
        let own = network::look(None, range, sockets.port).unwrap_or_default();
        let side = |socket: Option<std::net::UdpSocket>, v4: bool| {
            let usable = |at: &SocketAddr| at.is_ipv4() == v4 && is_reachable_unicast(at.ip(), range);
            let servers: Vec<SocketAddr> = servers.iter().copied().filter(usable).collect();
            let own = own.addresses.iter().map(|(ip, _)| SocketAddr::new(*ip, own.port));
            let own: Vec<SocketAddr> = own.filter(usable).collect();
            family(socket, servers, own, range)
        };
        let (v4, v6) = tokio::join!(side(Some(sockets.v4), true), side(sockets.v6, false));
        NatReport { v4, v6 }
    }
}

/// Whether the server can be connected to at all.
pub(crate) async fn answers(server: &ServerUrl) -> bool {
    let connecting = TcpStream::connect((server.host(), server.port()));
    matches!(timeout(CONNECT, connecting).await, Ok(Ok(_)))
}

/// Runs one family's discovery to its end, or to the end of patience.
async fn family(
    socket: Option<std::net::UdpSocket>,
    servers: Vec<SocketAddr>,
    own: Vec<SocketAddr>,
    range: PartyRange,
) -> FamilyReport {
    if own.is_empty() {
        return FamilyReport::unknown(Reason::Untried);
    }
    if servers.is_empty() {
        return FamilyReport::unknown(Reason::NoServers);
    }
    let Some(Ok(socket)) = socket.map(UdpSocket::from_std) else {
        return FamilyReport::unknown(Reason::Untried);
    };
    let mut seed = [0; 32];
    OsRng.fill_bytes(&mut seed);
    let mut rng = ChaCha20Rng::from_seed(seed);
    let mut discovery = Discovery::new(Instant::now(), &servers, &own, None);
    let (mut contacted, others, mut out) = (Contacted::default(), BTreeSet::<IpAddr>::new(), VecDeque::new());
    let mut buffer = [0; LONGEST];
    let asking = async {
        let mut arrived: Option<(SocketAddr, usize)> = None;
        loop {
            let mut cx = Surroundings {
                rng: &mut rng,
                contacted: &mut contacted,
                others: &others,
                range,
                out: &mut out,
            };
            let now = Instant::now();
            if let Some((from, length)) = arrived.take() {
                discovery.datagram(now, from, &buffer[..length], &mut cx);
            }
            discovery.wake(now, &mut cx);
            for (to, request) in out.drain(..) {
                if let Err(error) = socket.send_to(&request, to).await {
                    tracing::debug!(%error, "a STUN server can't be asked");
                }
            }
            let Some(wake) = discovery.next_wake() else { return };
            tokio::select! {
                received = socket.recv_from(&mut buffer) => match received {
                    Ok((length, from)) => {
                        arrived = Some((SocketAddr::new(from.ip().to_canonical(), from.port()), length));
                    }
                    // As where somebody said that a port is closed: no more than no answer.
                    Err(error) => tracing::trace!(%error, "a STUN server's port is closed"),
                },
                () = sleep_until(wake.into()) => {}
            }
        }
    };
    let in_time = timeout(PATIENCE, asking).await.is_ok();
    if !in_time {
        tracing::debug!("the NAT was not found out in time");
    }
    discovery.report()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_servers_nobody_is_asked_and_that_is_said() {
        let checkup = Checkup::new("none".parse().ok());
        let report = checkup.nat(PartyRange::DEFAULT).await;
        assert_eq!(report, NatReport::unknown(Reason::NoServers));
    }
}
