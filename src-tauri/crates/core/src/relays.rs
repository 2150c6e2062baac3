//! The relays in use: which there are, what each relays from, and what is asked of the engine.
//!
//! A relay that is up is a transport of its own: what is sent by it to a peer's address leaves from the relayed
//! address. That address is published as a candidate, so peers can also reach this member through it.

use crate::latency::milliseconds;
use crate::path::{Path, TransportId};
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
/// Before an allocation is given back that has a successor: peers are told of the new address and try it meanwhile.
const OVERLAP: Duration = Duration::from_secs(15);
/// Never more often than this.
const SOONEST_RENEWAL: Duration = Duration::from_secs(60);
/// Transports below are the primary sockets …
const FIRST: u16 = 16;
/// … and above the sockets for one peer alone.
const LAST: u16 = TransportId::FRESH.0 - 1;

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
    /// Grows whenever the allocation is to be made anew, as the relay can't reach this computer where it was.
    pub anew: u32,
}

/// What happens to a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayEvent {
    /// There is an allocation; said again with each new measurement of its distance.
    Up(RelayUp),
    /// There still is, but the relay will end it: another one is to be had first.
    Ending {
        /// Why, for logs.
        reason: String,
    },
    /// There is none, or nothing is heard of it; it is being tried again.
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
    /// Credentials that came while it was up: an allocation lives on with those it was made with.
    fresh: Option<RelayServer>,
    up: Option<RelayUp>,
    /// The relay will end it.
    ending: bool,
    /// Made before that one ends, and takes its place.
    succeeds: Option<TransportId>,
    /// When it came up for the first time.
    since: Option<Instant>,
    /// How often it was to be allocated anew.
    anew: u32,
    /// What came of each way that was tried: why it failed, or nothing for the one in use.
    ways: BTreeMap<TurnUri, Option<String>>,
}

impl Relay {
    /// When it stands alone.
    fn takes_over(&self) -> Option<Instant> {
        self.succeeds.and(self.since).map(|since| since + OVERLAP)
    }

    fn new(server: RelayServer, succeeds: Option<TransportId>) -> Self {
        Self {
            server,
            fresh: None,
            up: None,
            ending: false,
            succeeds,
            since: None,
            anew: 0,
            ways: BTreeMap::new(),
        }
    }

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
    /// All servers that may be used, best first; those that failed last.
    known: Vec<RelayServer>,
    relays: BTreeMap<TransportId, Relay>,
    next: u16,
    /// When the home should be asked for fresh credentials.
    renew: Option<Instant>,
}

impl Default for Relays {
    fn default() -> Self {
        Self {
            known: Vec::new(),
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

    /// When fresh credentials should be asked for.
    pub(crate) fn next_renewal(&self) -> Option<Instant> {
        self.renew
    }

    /// When [`Relays::wake`] has something to do.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.relays.values().filter_map(Relay::takes_over).min()
    }

    /// Gives back what has had a successor for long enough. Says whether something was.
    pub(crate) fn wake(&mut self, now: Instant) -> bool {
        let mut gone = Vec::new();
        for relay in self.relays.values_mut() {
            if relay.takes_over().is_some_and(|at| now >= at) {
                gone.extend(relay.succeeds.take());
            }
        }
        for id in &gone {
            self.relays.remove(id);
        }
        !gone.is_empty()
    }

    /// The servers that can be used from now on, best first. A relay that is up stays, even on older credentials:
    /// only the relay's clock ends them.
    pub(crate) fn offer(&mut self, servers: &[RelayServer]) {
        self.known = servers.to_vec();
        self.relays
            .retain(|_, relay| servers.iter().any(|server| server.uris == relay.server.uris));
        for server in servers {
            let same = |relay: &&mut Relay| relay.server.uris == server.uris;
            for relay in self.relays.values_mut().filter(same) {
                match relay.up {
                    Some(_) => relay.fresh = Some(server.clone()),
                    None => relay.server = server.clone(),
                }
            }
        }
        while self.held() < HELD
            && let Some(server) = self.spare()
        {
            self.add(server, None);
        }
    }

    /// Relays, successors not counted.
    fn held(&self) -> usize {
        self.relays
            .values()
            .filter(|relay| relay.succeeds.is_none())
            .count()
    }

    /// The best server that is not in use.
    fn spare(&self) -> Option<RelayServer> {
        let used = |server: &RelayServer| self.relays.values().any(|relay| relay.server.uris == server.uris);
        self.known.iter().find(|server| !used(server)).cloned()
    }

    fn add(&mut self, server: RelayServer, succeeds: Option<TransportId>) {
        let id = TransportId(self.next);
        self.next = if self.next < LAST { self.next + 1 } else { FIRST };
        self.relays.insert(id, Relay::new(server, succeeds));
    }

    /// No party, no relays. Numbers of transports are not used again.
    pub(crate) fn clear(&mut self) {
        self.known.clear();
        self.relays.clear();
        self.renew = None;
    }

    /// This computer moved: no relay reaches it where it was.
    pub(crate) fn anew(&mut self) {
        self.relays.values_mut().for_each(|relay| relay.anew += 1);
    }

    /// The internet is there again: what carried once and is silent is reached anew, as a stream's own repeats come ever
    /// more slowly.
    pub(crate) fn anew_where_silent(&mut self) {
        let silent = |relay: &&mut Relay| relay.up.is_none() && relay.since.is_some();
        let relays = self.relays.values_mut();
        relays.filter(silent).for_each(|relay| relay.anew += 1);
    }

    /// Takes in what happened; says whether the relayed addresses changed.
    pub(crate) fn event(&mut self, now: Instant, id: TransportId, event: &RelayEvent) -> bool {
        let Some(relay) = self.relays.get_mut(&id) else {
            return false;
        };
        let before = relay.up.map(|up| up.relayed);
        match event {
            RelayEvent::Up(up) => {
                relay.up = Some(*up);
                relay.since.get_or_insert(now);
            }
            RelayEvent::Ending { .. } => {
                if !std::mem::replace(&mut relay.ending, true) {
                    let server = relay.fresh.clone().unwrap_or_else(|| relay.server.clone());
                    self.add(server, Some(id));
                }
            }
            RelayEvent::Tried { way, failed } => {
                if failed.is_none() {
                    // One carries at a time.
                    relay.ways.retain(|_, failed| failed.is_some());
                }
                relay.ways.insert(way.clone(), failed.clone());
                return false;
            }
            RelayEvent::Down { .. } => {
                let again = relay.up.take().is_none();
                if let Some(fresh) = relay.fresh.take() {
                    relay.server = fresh;
                }
                self.succeed(id);
                if again {
                    self.exchange(id);
                }
            }
        }
        before
            != self
                .relays
                .get(&id)
                .and_then(|relay| relay.up)
                .map(|up| up.relayed)
    }

    /// Gives the place of a relay that can't be had to another server, if there is one; it gets its turn again.
    fn exchange(&mut self, id: TransportId) {
        if let Some(server) = self.spare()
            && let Some(relay) = self.relays.remove(&id)
        {
            let failed = |known: &RelayServer| known.uris == relay.server.uris;
            if let Some(at) = self.known.iter().position(failed) {
                let last = self.known.remove(at);
                self.known.push(last);
            }
            self.add(server, None);
        }
    }

    /// What ended has no use for itself once there is a successor.
    fn succeed(&mut self, id: TransportId) {
        let successor = self.relays.values_mut().find(|relay| relay.succeeds == Some(id));
        if let Some(successor) = successor {
            successor.succeeds = None;
            self.relays.remove(&id);
        }
    }

    /// The relayed addresses that peers are told of: not those that have a successor.
    pub(crate) fn told(&self) -> Vec<RelayUp> {
        let succeeded = |id: TransportId| {
            let successor = |relay: &Relay| relay.succeeds == Some(id) && relay.up.is_some();
            self.relays.values().any(successor)
        };
        self.up()
            .into_iter()
            .filter(|(id, _)| !succeeded(*id))
            .map(|(_, up)| up)
            .collect()
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

    /// What the relay of a relayed path is called: its host as it was offered; its address where only the peer was
    /// offered it.
    pub(crate) fn name(&self, path: Path) -> String {
        let at = path.remote.ip();
        let same = || {
            let mut relays = self.relays.values();
            relays.find(|relay| relay.up.is_some_and(|up| up.relayed.ip() == at))
        };
        let relay = self.relays.get(&path.transport).or_else(same);
        let host = relay
            .and_then(|relay| relay.server.uris.first())
            .map(TurnUri::host);
        host.map_or_else(|| at.to_string(), str::to_owned)
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
            anew: relay.anew,
        };
        self.relays.iter().map(plan).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(n: u16) -> RelayUp {
        RelayUp {
            relayed: SocketAddr::from(([192, 0, 2, 1], 50_000 + n)),
            rtt: Duration::from_millis(9),
        }
    }

    fn down() -> RelayEvent {
        let reason = "it went".to_owned();
        RelayEvent::Down { reason }
    }

    fn passwords(relays: &Relays) -> Vec<String> {
        let plans = relays.plans(&BTreeMap::new());
        plans
            .iter()
            .map(|plan| plan.server.password.to_string())
            .collect()
    }

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
        let now = Instant::now();
        let first = up(0);
        assert!(relays.event(now, plans[0].id, &RelayEvent::Up(first)));
        assert!(!relays.event(
            now,
            plans[0].id,
            &RelayEvent::Up(RelayUp {
                rtt: Duration::from_millis(8),
                ..first
            })
        ));
        relays.offer(&[server("a", "new"), server("b", "new")]);
        assert_eq!(passwords(&relays), ["old", "new"]);
        assert!(relays.is_relayed(first.relayed));
        let way = |failed: Option<&str>| RelayEvent::Tried {
            way: plans[0].server.uris[0].clone(),
            failed: failed.map(str::to_owned),
        };
        relays.event(now, plans[0].id, &way(None));
        let report = &relays.reports()[0];
        assert_eq!((report.server.as_str(), report.rtt_ms), ("a", Some(8.0)));
        assert_eq!(report.ways[0].state, WayState::Used);
        relays.event(now, plans[0].id, &way(Some("no answer")));
        assert_eq!(relays.reports()[0].ways[0].reason.as_deref(), Some("no answer"));
        assert!(relays.event(now, plans[0].id, &down()));
        assert_eq!(
            passwords(&relays),
            ["new", "new"],
            "its next allocation needs them"
        );
        relays.offer(&[server("b", "new")]);
        assert!(relays.up().is_empty());
        assert_eq!(relays.plans(&BTreeMap::new())[0].id, plans[1].id);
    }

    #[test]
    fn a_server_that_can_not_be_had_gives_its_place_to_the_next() {
        let mut relays = Relays::default();
        let now = Instant::now();
        let all = ["a", "b", "c", "d"].map(|name| server(name, "x"));
        relays.offer(&all);
        let names = |relays: &Relays| -> Vec<String> {
            let plans = relays.plans(&BTreeMap::new());
            plans
                .iter()
                .map(|plan| plan.server.uris[0].host().to_owned())
                .collect()
        };
        let id = |relays: &Relays, at: usize| relays.plans(&BTreeMap::new())[at].id;
        assert_eq!(names(&relays), ["a", "b"]);
        relays.event(now, id(&relays, 1), &RelayEvent::Up(up(1)));
        relays.event(now, id(&relays, 0), &down());
        assert_eq!(names(&relays), ["b", "c"]);
        relays.event(now, id(&relays, 1), &down());
        relays.event(now, id(&relays, 1), &down());
        assert_eq!(names(&relays), ["b", "a"], "all get their turn");
        // One that was up may only be silent for a moment.
        relays.event(now, id(&relays, 0), &down());
        assert_eq!(names(&relays), ["b", "a"]);
        relays.event(now, id(&relays, 0), &down());
        assert_eq!(names(&relays), ["a", "c"]);
        relays.offer(&all);
        assert_eq!(names(&relays), ["a", "c"], "what is offered anew moves nobody");
    }

    #[test]
    fn an_allocation_that_ends_has_a_successor_first() {
        let mut relays = Relays::default();
        let mut now = Instant::now();
        relays.offer(&[server("a", "old")]);
        let old = relays.plans(&BTreeMap::new())[0].id;
        relays.event(now, old, &RelayEvent::Up(up(0)));
        relays.offer(&[server("a", "new")]);
        now += Duration::from_secs(24 * 3600);
        let ending = RelayEvent::Ending {
            reason: "a day is over".to_owned(),
        };
        assert!(!relays.event(now, old, &ending));
        assert!(!relays.event(now, old, &ending), "once");
        assert_eq!(passwords(&relays), ["old", "new"]);
        let new = relays.plans(&BTreeMap::new())[1].id;
        assert_eq!(relays.told(), [up(0)]);
        // It may take its time.
        now += Duration::from_secs(100);
        assert!(!relays.wake(now));
        assert!(relays.event(now, new, &RelayEvent::Up(up(1))));
        assert_eq!(relays.told(), [up(1)]);
        assert!(relays.is_up(old) && relays.is_up(new), "both carry");
        assert_eq!(relays.next_wake(), Some(now + OVERLAP));
        now += OVERLAP;
        assert!(relays.wake(now));
        assert_eq!(relays.up(), [(new, up(1))]);
        assert_eq!((relays.next_wake(), relays.wake(now)), (None, false));
    }

    #[test]
    fn an_allocation_that_ended_too_soon_is_not_made_twice() {
        let mut relays = Relays::default();
        let now = Instant::now();
        relays.offer(&[server("a", "old")]);
        let old = relays.plans(&BTreeMap::new())[0].id;
        relays.event(now, old, &RelayEvent::Up(up(0)));
        let reason = "the operator wants it".to_owned();
        relays.event(now, old, &RelayEvent::Ending { reason });
        assert!(relays.event(now, old, &down()));
        let plans = relays.plans(&BTreeMap::new());
        assert!(plans.len() == 1 && plans[0].id != old);
        assert!(relays.event(now, plans[0].id, &RelayEvent::Up(up(1))));
        assert_eq!(relays.told(), [up(1)]);
    }
}
