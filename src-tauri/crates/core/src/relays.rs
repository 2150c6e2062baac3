//! The relays in use: which there are, what each relays from, and what is asked of the engine.
//!
//! A relay that is up is a transport of its own: what is sent by it to a peer's address leaves from the relayed
//! address. That address is published as a candidate, so peers can also reach this member through it.

use crate::latency::milliseconds;
use crate::path::TransportId;
use lanrage_proto::control::RelayOffer;
use lanrage_proto::doctor::{RelayReport, WayReport, WayState};
use lanrage_proto::server_url::is_reachable_unicast;
use lanrage_proto::{PartyRange, TurnUri};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Relays held at once: one to use, one to change to. More would only cost servers allocations.
const HELD: usize = 2;
/// Fresh credentials are asked for after this share of the old ones' life.
const RENEW_AT: f64 = 0.75;
/// Never more often than this.
const SOONEST_RENEWAL: Duration = Duration::from_secs(60);
/// Transports below are the primary sockets.
const FIRST: u16 = 16;

/// A TURN server (RFC 8656), with every way to reach it, best first.
#[derive(Clone, PartialEq, Eq)]
pub struct RelayServer {
    /// UDP, TCP and TLS ways to the same server.
    pub uris: Vec<TurnUri>,
    /// For the long-term credential mechanism (RFC 8489 §9.2).
    pub username: String,
    /// Likewise.
    pub password: Zeroizing<String>,
}

impl RelayServer {
    /// Servers from single ways to them, in the order in which they are first named; the ways to each by preference.
    pub fn grouped(ways: impl IntoIterator<Item = (TurnUri, String, Zeroizing<String>)>) -> Vec<Self> {
        let mut servers: Vec<Self> = Vec::new();
        for (uri, username, password) in ways {
            let same = |server: &&mut Self| server.uris.iter().any(|other| other.host() == uri.host());
            match servers.iter_mut().find(same) {
                Some(server) => {
                    server.uris.push(uri);
                    server.uris.sort_by_key(TurnUri::transport);
                }
                None => servers.push(Self {
                    uris: vec![uri],
                    username,
                    password,
                }),
            }
        }
        servers
    }
}

impl std::fmt::Debug for RelayServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelayServer")
            .field("uris", &self.uris)
            .finish_non_exhaustive()
    }
}

/// A relay that should be up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayPlan {
    /// The transport it is.
    pub id: TransportId,
    /// Where it is.
    pub server: RelayServer,
    /// Peers' addresses that may send through it and are sent to: a permission and a channel each.
    pub peers: BTreeSet<SocketAddr>,
}

/// What happens to a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayEvent {
    /// There is an allocation.
    Up(RelayUp),
    /// There is none, or no longer; it is being tried again.
    Down {
        /// Why, for logs.
        reason: String,
    },
    /// One of the ways to the relay brought an allocation, or failed.
    Tried {
        /// Which.
        way: TurnUri,
        /// Why it failed; none when it carries the allocation.
        failed: Option<String>,
    },
}

/// An allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayUp {
    /// What peers see: the relayed transport address.
    pub relayed: SocketAddr,
    /// To the relay and back.
    pub rtt: Duration,
}

struct Relay {
    server: RelayServer,
    up: Option<RelayUp>,
    /// What came of each way that was tried: why it failed, or nothing for the one in use.
    ways: BTreeMap<TurnUri, Option<String>>,
}

impl Relay {
    fn report(&self) -> RelayReport {
        let way = |uri: &TurnUri| {
            let (state, reason) = match self.ways.get(uri) {
                Some(None) if self.up.is_some() => (WayState::Used, None),
                Some(Some(reason)) => (WayState::Failed, Some(reason.clone())),
                Some(None) | None => (WayState::Untried, None),
            };
            WayReport {
                uri: uri.to_string(),
                transport: uri.transport(),
                state,
                reason,
            }
        };
        let named = self.server.uris.first();
        RelayReport {
            server: named.map(|uri| uri.host().to_owned()).unwrap_or_default(),
            up: self.up.is_some(),
            relayed: self.up.map(|up| up.relayed.to_string()),
            rtt_ms: self.up.map(|up| milliseconds(up.rtt)),
            ways: self.server.uris.iter().map(way).collect(),
        }
    }
}

pub(crate) struct Relays {
    relays: BTreeMap<TransportId, Relay>,
    next: u16,
    /// When the home should be asked for fresh credentials.
    renew: Option<Instant>,
}

impl Default for Relays {
    fn default() -> Self {
        Self {
            relays: BTreeMap::new(),
            next: FIRST,
            renew: None,
        }
    }
}

impl Relays {
    /// What can be used from now on: the player's own relays first, then those that the home offers. An offer that
    /// can't be read, or that names this computer or the party itself, is passed over.
    pub(crate) fn offered(
        &mut self,
        now: Instant,
        own: &[RelayServer],
        offers: &[RelayOffer],
        range: PartyRange,
    ) {
        let ways = offers.iter().filter_map(|offer| {
            let uri = TurnUri::parse(&offer.uri).ok()?;
            let may_dial = uri
                .address()
                .is_none_or(|address| is_reachable_unicast(address, range));
            may_dial.then(|| {
                (
                    uri,
                    offer.username.clone(),
                    Zeroizing::new(offer.password.clone()),
                )
            })
        });
        let servers: Vec<RelayServer> = own.iter().cloned().chain(RelayServer::grouped(ways)).collect();
        self.offer(&servers);
        let shortest = offers.iter().map(|offer| offer.ttl_seconds).min();
        self.renew = shortest.map(|ttl| {
            now + Duration::from_secs(u64::from(ttl))
                .mul_f64(RENEW_AT)
                .max(SOONEST_RENEWAL)
        });
    }

    /// Whether fresh credentials should be asked for now; once asked, it is due again only after an answer, or later.
    pub(crate) fn renewal_due(&mut self, now: Instant) -> bool {
        let due = self.renew.is_some_and(|at| now >= at);
        if due {
            self.renew = Some(now + SOONEST_RENEWAL);
        }
        due
    }

    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.renew
    }

    /// The servers that can be used from now on, best first. A relay that is up stays, even on older credentials:
    /// only the relay's clock ends them.
    pub(crate) fn offer(&mut self, servers: &[RelayServer]) {
        let servers = &servers[..servers.len().min(HELD)];
        self.relays
            .retain(|_, relay| servers.iter().any(|server| server.uris == relay.server.uris));
        for server in servers {
            match self
                .relays
                .values_mut()
                .find(|relay| relay.server.uris == server.uris)
            {
                Some(relay) if relay.up.is_none() => relay.server = server.clone(),
                Some(_) => {}
                None => {
                    let id = TransportId(self.next);
                    self.next = self.next.checked_add(1).unwrap_or(FIRST);
                    self.relays.insert(
                        id,
                        Relay {
                            server: server.clone(),
                            up: None,
                            ways: BTreeMap::new(),
                        },
                    );
                }
            }
        }
    }

    /// No party, no relays. Numbers of transports are not used again.
    pub(crate) fn clear(&mut self) {
        self.relays.clear();
        self.renew = None;
    }

    /// Takes in what happened; says whether the relayed addresses changed.
    pub(crate) fn event(&mut self, id: TransportId, event: &RelayEvent) -> bool {
        let Some(relay) = self.relays.get_mut(&id) else {
            return false;
        };
        let before = relay.up.map(|up| up.relayed);
        relay.up = match event {
            RelayEvent::Up(up) => Some(*up),
            RelayEvent::Down { .. } => None,
            RelayEvent::Tried { way, failed } => {
                if failed.is_none() {
                    // One carries at a time.
                    relay.ways.retain(|_, failed| failed.is_some());
                }
                relay.ways.insert(way.clone(), failed.clone());
                return false;
            }
        };
        before != relay.up.map(|up| up.relayed)
    }

    /// The relays that are up, nearest first.
    pub(crate) fn up(&self) -> Vec<(TransportId, RelayUp)> {
        let mut up: Vec<_> = self
            .relays
            .iter()
            .filter_map(|(id, relay)| Some((*id, relay.up?)))
            .collect();
        up.sort_by_key(|(id, up)| (up.rtt, *id));
        up
    }

    /// Whether there is an allocation behind the transport.
    pub(crate) fn is_up(&self, id: TransportId) -> bool {
        self.relays.get(&id).is_some_and(|relay| relay.up.is_some())
    }

    /// Whether the address is one of ours on a relay.
    pub(crate) fn is_relayed(&self, at: SocketAddr) -> bool {
        self.relays
            .values()
            .any(|relay| relay.up.is_some_and(|up| up.relayed == at))
    }

    /// What is known of each, best first.
    pub(crate) fn reports(&self) -> Vec<RelayReport> {
        let mut relays: Vec<&Relay> = self.relays.values().collect();
        relays.sort_by_key(|relay| relay.up.map_or((true, Duration::ZERO), |up| (false, up.rtt)));
        relays.into_iter().map(Relay::report).collect()
    }

    /// What the engine should keep up, with the peers to be reached by each.
    pub(crate) fn plans(&self, peers: &BTreeMap<TransportId, BTreeSet<SocketAddr>>) -> Vec<RelayPlan> {
        let plan = |(id, relay): (&TransportId, &Relay)| RelayPlan {
            id: *id,
            server: relay.server.clone(),
            peers: peers.get(id).cloned().unwrap_or_default(),
        };
        self.relays.iter().map(plan).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, password: &str) -> RelayServer {
        RelayServer {
            uris: vec![TurnUri::parse(&format!("turn:{name}")).unwrap()],
            username: "1:x".to_owned(),
            password: Zeroizing::new(password.to_owned()),
        }
    }

    #[test]
    fn a_relay_that_is_up_outlives_new_credentials_and_one_that_is_down_takes_them() {
        let mut relays = Relays::default();
        relays.offer(&[server("a", "old"), server("b", "old"), server("c", "old")]);
        let plans = relays.plans(&BTreeMap::new());
        assert_eq!(plans.len(), HELD);
        let up = RelayUp {
            relayed: "192.0.2.1:50000".parse().unwrap(),
            rtt: Duration::from_millis(9),
        };
        assert!(relays.event(plans[0].id, &RelayEvent::Up(up)));
        assert!(!relays.event(
            plans[0].id,
            &RelayEvent::Up(RelayUp {
                rtt: Duration::from_millis(8),
                ..up
            })
        ));
        relays.offer(&[server("a", "new"), server("b", "new")]);
        let passwords: Vec<String> = relays
            .plans(&BTreeMap::new())
            .iter()
            .map(|plan| plan.server.password.to_string())
            .collect();
        assert_eq!(passwords, ["old", "new"]);
        assert!(relays.is_relayed(up.relayed));
        let way = |failed: Option<&str>| RelayEvent::Tried {
            way: plans[0].server.uris[0].clone(),
            failed: failed.map(str::to_owned),
        };
        relays.event(plans[0].id, &way(None));
        let report = &relays.reports()[0];
        assert_eq!((report.server.as_str(), report.rtt_ms), ("a", Some(8.0)));
        assert_eq!(report.ways[0].state, WayState::Used);
        relays.event(plans[0].id, &way(Some("no answer")));
        assert_eq!(relays.reports()[0].ways[0].reason.as_deref(), Some("no answer"));
        relays.offer(&[server("b", "new")]);
        assert!(relays.up().is_empty());
        assert_eq!(relays.plans(&BTreeMap::new())[0].id, plans[1].id);
    }
}
