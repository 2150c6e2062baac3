//! Ports that the router in front leads here on request (PCP, NAT-PMP, UPnP), so that friends get in where the NAT
//! would not let them.
//!
//! One task asks, renews and gives back. What was granted is on disk, so that a crash leaves nothing behind for longer
//! than until the next start, or the lease's end.

mod router;

pub(crate) use router::{Carried, Lease};

use crate::happening::{Happening, Happenings};
use crate::state::StateDir;
use lanrage_core::io::Network;
use lanrage_core::mapping::{MapPlan, Mapped};
use lanrage_platform::routes;
use lanrage_proto::doctor::{Change, MappingReport, MappingState};
use lanrage_proto::server_url::is_near;
use router::{Place, Router};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

/// A router that refused is asked again after this, or when the network changes.
const AGAIN: Duration = Duration::from_secs(600);
/// A lease is not renewed more often than this, however short a router makes it.
const SOONEST: Duration = Duration::from_secs(30);
/// How long giving back may take at the engine's end.
const GOODBYE: Duration = Duration::from_millis(800);

/// What came of the wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) report: MappingReport,
    pub(crate) mapped: Mapped,
    pub(crate) leases: Vec<Lease>,
}

impl Told {
    fn new(state: MappingState) -> Self {
        Self {
            report: MappingReport {
                state,
                ..MappingReport::idle()
            },
            mapped: Mapped {
                settled: !matches!(state, MappingState::Asking | MappingState::Idle),
                ..Mapped::default()
            },
            leases: Vec::new(),
        }
    }

    /// What is different in the router.
    pub(crate) fn changes(&self) -> impl Iterator<Item = Change> {
        self.leases.iter().map(change)
    }
}

fn change(lease: &Lease) -> Change {
    Change::PortMapping {
        protocol: match lease.carried {
            Carried::Udp => "udp",
            Carried::Tcp => "tcp",
        }
        .to_owned(),
        external: lease.external.to_string(),
        internal: lease.internal,
    }
}

/// Gives back what a run that crashed left in the router; what the router took back. The rest ends by itself.
pub(crate) async fn give_back(state: &StateDir) -> Vec<Change> {
    let mut given = Vec::new();
    for lease in state.leases() {
        let Some(router) = Router::of(&lease).await else {
            continue;
        };
        match router.release(&lease).await {
            Ok(()) => given.push(change(&lease)),
            Err(reason) => tracing::debug!(reason, "a port of an earlier run stays until its lease ends"),
        }
    }
    state.save_leases(&[]);
    given
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Wish {
    plan: Option<MapPlan>,
    network: Network,
}

/// The control loop's hold on the task.
pub(crate) struct Mapper {
    enabled: bool,
    wishes: watch::Sender<Wish>,
    task: Option<JoinHandle<()>>,
    state: Arc<StateDir>,
    happenings: Happenings,
    /// What was told last.
    pub(crate) told: Told,
}

impl Mapper {
    /// Asks for nothing yet, and never when not `enabled`. What a run that crashed left in the router is given back.
    pub(crate) fn new(enabled: bool, state: Arc<StateDir>, happenings: Happenings) -> Self {
        let mut mapper = Self {
            enabled,
            wishes: watch::Sender::new(Wish::default()),
            task: None,
            told: Told::new(if enabled {
                MappingState::Idle
            } else {
                MappingState::Off
            }),
            state,
            happenings,
        };
        if !mapper.state.leases().is_empty() {
            mapper.start();
        }
        mapper
    }

    /// Whether the router is asked from now on. Call it without a party: what is granted ends with that.
    pub(crate) fn set(&mut self, enabled: bool) {
        if self.enabled != enabled {
            self.enabled = enabled;
            self.told = Told::new(if enabled {
                MappingState::Idle
            } else {
                MappingState::Off
            });
        }
    }

    /// The ports that should lead here.
    pub(crate) fn wish(&mut self, plan: Option<MapPlan>) {
        if !self.enabled {
            // The member should know that there is nothing to wait for.
            if plan.is_some() {
                let off = Happening::Mapped(Box::new(Told::new(MappingState::Off)));
                if self.happenings.try_send(off).is_err() {
                    tracing::warn!("the queue is full; whether friends get in stays unknown");
                }
            }
            return;
        }
        if plan.is_some() && self.task.is_none() {
            self.start();
        }
        self.wishes.send_if_modified(|wish| {
            let changed = wish.plan != plan;
            wish.plan = plan;
            changed
        });
    }

    /// How this computer is connected: another router, or none, may stand in front of it.
    pub(crate) fn moved(&mut self, network: &Network) {
        self.wishes.send_if_modified(|wish| {
            let changed = wish.network != *network;
            wish.network = network.clone();
            changed
        });
    }

    /// Gives everything back, as far as the router answers in time.
    pub(crate) async fn close(&mut self) {
        let Some(mut task) = self.task.take() else { return };
        // The end of the wishes is the task's.
        drop(std::mem::take(&mut self.wishes));
        if timeout(GOODBYE, &mut task).await.is_err() {
            task.abort();
            tracing::debug!("the router did not take its ports back in time");
        }
    }

    fn start(&mut self) {
        let wishes = self.wishes.subscribe();
        let keeper = Keeper {
            wishes,
            state: Arc::clone(&self.state),
            happenings: self.happenings.clone(),
            router: None,
            leases: Vec::new(),
            settled: None,
        };
        self.task = Some(tokio::spawn(keeper.run()));
    }
}

/// The task: what is granted, by whom.
struct Keeper {
    wishes: watch::Receiver<Wish>,
    state: Arc<StateDir>,
    happenings: Happenings,
    router: Option<Router>,
    leases: Vec<Lease>,
    /// What was told last is about this.
    settled: Option<(MapPlan, Place)>,
}

impl Keeper {
    async fn run(mut self) {
        give_back(&self.state).await;
        loop {
            let wish = self.wishes.borrow_and_update().clone();
            let next = self.fulfil(&wish).await;
            let again = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.wishes.changed() => if changed.is_err() { break },
                () = again => {}
            }
        }
        self.give_back(|_| true).await;
    }

    /// Makes the wish true as far as the router lets it; when to look again.
    async fn fulfil(&mut self, wish: &Wish) -> Option<Instant> {
        let Some(plan) = wish.plan else {
            self.settled = None;
            self.give_back(|_| true).await;
            self.tell(Told::new(MappingState::Idle)).await;
            return None;
        };
        let Some(place) = place() else {
            self.settled = None;
            self.leases.clear();
            self.save();
            self.tell(Told::new(MappingState::Needless)).await;
            return None;
        };
        if self.router.as_ref().is_some_and(|router| router.place() != place) {
            // Of another network: what was granted there ends by itself.
            self.leases.clear();
            self.router = None;
        }
        let wanted: Vec<(Carried, u16)> = [(Carried::Udp, plan.udp)]
            .into_iter()
            .chain(plan.tcp.map(|port| (Carried::Tcp, port)))
            .collect();
        self.give_back(|lease| !wanted.contains(&(lease.carried, lease.internal)))
            .await;
        if self.settled == Some((plan, place)) {
            // What was told holds until it turns out otherwise.
        } else if self.leases.is_empty() {
            self.tell(Told::new(MappingState::Asking)).await;
        } else {
            // Some of it may hold already; the member forgot it with its former plan.
            self.tell(self.granted(None, false)).await;
        }
        let mut reason = None;
        for (carried, port) in wanted {
            if let Err(why) = self.have(place, carried, port).await {
                tracing::debug!(why, ?carried, "the router opens no port");
                reason = Some(why);
            }
        }
        self.save();
        if self.wishes.has_changed().unwrap_or(true) {
            // It was about something else.
            return Some(Instant::now());
        }
        self.settled = Some((plan, place));
        self.tell(self.granted(reason, true)).await;
        let shortest = self.leases.iter().map(|lease| lease.seconds).min();
        let renewal = shortest.map_or(AGAIN, |seconds| {
            (Duration::from_secs(seconds.into()) / 2).clamp(SOONEST, AGAIN)
        });
        Some(Instant::now() + renewal)
    }

    /// Has a port granted, or its lease renewed.
    async fn have(&mut self, place: Place, carried: Carried, port: u16) -> Result<(), String> {
        let before = self.leases.iter().position(|lease| lease.carried == carried);
        let external = before.map_or(port, |at| self.leases[at].external.port());
        let asked = match &self.router {
            Some(router) => router.request(carried, port, external).await,
            None => {
                // A router that says nothing takes seconds, and nobody may want to wait for it any more.
                let mut wishes = self.wishes.clone();
                tokio::select! {
                    asked = Router::ask(place, carried, port) => asked.map(|(router, lease)| {
                        tracing::info!(protocol = ?router.protocol(), "the router opens ports");
                        self.router = Some(router);
                        lease
                    }),
                    _ = wishes.changed() => Err("no longer wanted".to_owned()),
                }
            }
        };
        match asked {
            Ok(lease) => {
                match before {
                    Some(at) => self.leases[at] = lease,
                    None => self.leases.push(lease),
                }
                Ok(())
            }
            Err(reason) => {
                if let Some(at) = before {
                    self.leases.remove(at);
                }
                if self.leases.is_empty() {
                    // It may have become another one, or speak otherwise since.
                    self.router = None;
                }
                Err(reason)
            }
        }
    }

    /// Gives back what `unwanted` says.
    async fn give_back(&mut self, unwanted: impl Fn(&Lease) -> bool) {
        let (gone, kept): (Vec<Lease>, Vec<Lease>) =
            self.leases.iter().copied().partition(|lease| unwanted(lease));
        if gone.is_empty() {
            return;
        }
        self.leases = kept;
        if let Some(router) = &self.router {
            for lease in &gone {
                if let Err(reason) = router.release(lease).await {
                    tracing::debug!(reason, "a port stays open until its lease ends");
                }
            }
        }
        self.save();
    }

    fn save(&self) {
        self.state.save_leases(&self.leases);
    }

    /// What is granted; why not all of it.
    fn granted(&self, reason: Option<String>, settled: bool) -> Told {
        let of = |carried| -> Option<SocketAddr> {
            let lease = self.leases.iter().find(|lease| lease.carried == carried)?;
            Some(lease.external)
        };
        let mapped = Mapped {
            udp: of(Carried::Udp),
            tcp: of(Carried::Tcp),
            settled,
        };
        let state = match (self.leases.is_empty(), settled) {
            (false, _) => MappingState::Mapped,
            (true, true) => MappingState::Refused,
            (true, false) => MappingState::Asking,
        };
        let router = self.router.as_ref();
        Told {
            report: MappingReport {
                state,
                protocol: router.map(Router::protocol),
                gateway: router.map(|router| router.place().gateway.to_string()),
                udp: mapped.udp.map(|at| at.to_string()),
                tcp: mapped.tcp.map(|at| at.to_string()),
                reason,
            },
            mapped,
            leases: self.leases.clone(),
        }
    }

    async fn tell(&self, told: Told) {
        // Nobody listens only when the engine ends.
        let _ = self.happenings.send(Happening::Mapped(Box::new(told))).await;
    }
}

/// Whom to ask: the router that leads out, where it stands between this computer's private address and the internet.
fn place() -> Option<Place> {
    let gateway = match routes::default_gateway() {
        Ok(gateway) => gateway?,
        Err(error) => {
            tracing::debug!(%error, "the routes can't be listed");
            return None;
        }
    };
    let usable = !gateway.is_loopback() && is_near(IpAddr::V4(gateway));
    let place = Place::before(gateway).filter(|_| usable)?;
    // A public address needs nobody's grant.
    is_near(IpAddr::V4(place.client)).then_some(place)
}

#[cfg(test)]
mod tests;
