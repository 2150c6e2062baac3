//! Getting what games announce onto the adapter, and what comes by it to games: routes, groups, capture.
//!
//! Only while there is an adapter, which is while there is a party.

use crate::data::DataThread;
use crate::journal::Journal;
use lanrage_core::lan::Interface;
use lanrage_platform::capture::{Capture, Own};
use lanrage_platform::firewall;
use lanrage_platform::groups::{self, Groups};
use lanrage_platform::interfaces::{self, HostAddress};
use lanrage_platform::routes::{self, Network};
use lanrage_proto::doctor::Change;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

/// How soon a group that a program joined elsewhere is joined on the adapter as well.
const LOOK: Duration = Duration::from_secs(1);

/// What is wanted of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Whether multicast that names no interface goes to the party instead of the local network.
    pub(crate) multicast: bool,
    /// Whether what programs broadcast on other interfaces is sent to the party too.
    pub(crate) capture: bool,
}

/// What is done for one adapter.
#[derive(Default)]
pub(crate) struct Announces {
    groups: Option<Follower>,
    /// What is captured, and from where; none is open without it.
    capture: Option<Vec<HostAddress>>,
    /// The firewall is being told.
    firewall: Option<JoinHandle<()>>,
}

impl Announces {
    /// The adapter is up, with the route to `range`: further routes by it, groups on it.
    ///
    /// # Errors
    /// When a route can't be added; the rest is done all the same.
    pub(crate) fn begin(
        &mut self,
        wanted: Wanted,
        (adapter, range): (&str, Network),
        journal: &mut Journal,
    ) -> io::Result<()> {
        let made = journal.adapter_made(adapter, range, &announce_routes(wanted));
        self.groups = Follower::start(adapter);
        if firewall::IN_THE_WAY {
            let (rule, adapter) = (journal.plan_firewall(adapter), adapter.to_owned());
            // It takes seconds, for which no player has to wait.
            self.firewall = Some(tokio::task::spawn_blocking(move || {
                if let Err(error) = firewall::allow(&rule, &adapter) {
                    tracing::warn!(%error, "the firewall may keep friends out of games");
                }
            }));
        }
        made
    }

    /// This computer's addresses may be others: what is captured goes by them.
    pub(crate) async fn look(&mut self, wanted: Wanted, adapter: &str, data: &DataThread) {
        if !wanted.capture {
            return;
        }
        let listed = interfaces::addresses(Some(adapter)).unwrap_or_else(|error| {
            tracing::debug!(%error, "this computer's addresses can't be listed");
            Vec::new()
        });
        if self.capture.as_ref() == Some(&listed) {
            return;
        }
        let own = own(&listed);
        let opened = match interfaces::index(adapter) {
            Some(index) if !own.is_empty() => Some(Capture::open(&own, index)),
            // Nowhere to capture, or no adapter any more.
            _ => None,
        };
        let capture = opened.and_then(|opened| {
            opened
                .inspect_err(
                    |error| tracing::debug!(%error, "broadcasts of other interfaces are not captured"),
                )
                .ok()
        });
        self.capture = capture.is_some().then(|| listed.clone());
        let interfaces = by_interface(listed);
        data.set_capture(capture.map(|capture| (capture, interfaces)))
            .await;
    }

    /// The capture failed and is closed.
    pub(crate) fn lost_capture(&mut self) {
        self.capture = None;
    }

    /// The adapter goes: nothing of it is left open.
    pub(crate) async fn end(&mut self, data: &DataThread) {
        self.groups = None;
        if let Some(task) = self.firewall.take() {
            // A rule that comes after it was withdrawn would stay.
            let _ = task.await;
        }
        if self.capture.take().is_some() {
            data.set_capture(None).await;
        }
    }

    /// What is different through it, besides what the journal has.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let groups = self.groups.iter().flat_map(Follower::changes);
        let capture = self.capture.iter().map(|listed| Change::Capture {
            addresses: own(listed).iter().map(|own| own.address.to_string()).collect(),
        });
        groups.chain(capture).collect()
    }
}

/// Where announces go that name no interface.
fn announce_routes(wanted: Wanted) -> Vec<Network> {
    if !routes::ANNOUNCES_NEED_ROUTES {
        return Vec::new();
    }
    let multicast = wanted
        .multicast
        .then(|| Network::new(Ipv4Addr::new(224, 0, 0, 0), 4));
    [Network::new(Ipv4Addr::BROADCAST, 32)]
        .into_iter()
        .chain(multicast)
        .collect()
}

/// The IPv4 addresses among them.
fn own(listed: &[HostAddress]) -> Vec<Own> {
    let own = listed.iter().filter_map(|host| match host.address {
        IpAddr::V4(address) => Some(Own {
            address,
            network: Network::new(address, host.prefix),
        }),
        IpAddr::V6(_) => None,
    });
    own.collect()
}

/// All of them, by their interfaces.
fn by_interface(listed: Vec<HostAddress>) -> Vec<Arc<Interface>> {
    let mut interfaces: BTreeMap<String, Vec<(IpAddr, u8)>> = BTreeMap::new();
    for host in listed {
        interfaces
            .entry(host.interface)
            .or_default()
            .push((host.address, host.prefix));
    }
    let interfaces = interfaces
        .into_iter()
        .map(|(name, addresses)| Arc::new(Interface { name, addresses }));
    interfaces.collect()
}

/// A task that joins on the adapter what programs have joined elsewhere, and the other way round on the interface that
/// leads out: a program that names no interface hears both the party and the local network, whenever it joined.
struct Follower {
    joined: Arc<Mutex<Vec<(Ipv4Addr, String)>>>,
    task: JoinHandle<()>,
}

impl Follower {
    fn start(adapter: &str) -> Option<Self> {
        let index = interfaces::index(adapter)?;
        let joined = Arc::new(Mutex::new(Vec::new()));
        let mirror = Mirror {
            adapter: adapter.to_owned(),
            inside: Groups::new(index),
            outside: None,
        };
        let task = tokio::spawn(follow(mirror, Arc::clone(&joined)));
        Some(Self { joined, task })
    }

    fn changes(&self) -> Vec<Change> {
        let joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        joined
            .iter()
            .map(|(group, interface)| Change::Group {
                group: group.to_string(),
                adapter: interface.clone(),
            })
            .collect()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // Its sockets close with it, and what they joined is left.
        self.task.abort();
    }
}

/// What is joined through us, on the adapter and on the interface that leads out.
struct Mirror {
    adapter: String,
    inside: Groups,
    outside: Option<(String, Groups)>,
}

impl Mirror {
    /// Makes both sides equal. Whether anything changed.
    fn look(&mut self) -> io::Result<bool> {
        let there = groups::memberships()?;
        let outward = outward_interface(&self.adapter);
        let mut changed = false;
        if self.outside.as_ref().map(|(name, _)| name) != outward.as_ref() {
            changed = self.outside.is_some();
            self.outside = outward.and_then(|name| {
                let groups = Groups::new(interfaces::index(&name)?);
                Some((name, groups))
            });
        }
        // What we joined ourselves is nobody's wish.
        let none = BTreeSet::new();
        let ours = |interface: &str| match &self.outside {
            _ if interface == self.adapter => self.inside.joined(),
            Some((name, groups)) if name == interface => groups.joined(),
            _ => &none,
        };
        let programs = |interface: &str| -> BTreeSet<Ipv4Addr> {
            let ours = ours(interface);
            let joined = there.get(interface).into_iter().flatten();
            joined
                .filter(|(group, sockets)| **sockets > u32::from(ours.contains(group)))
                .map(|(group, _)| *group)
                .collect()
        };
        let elsewhere = there
            .keys()
            .filter(|name| **name != self.adapter && *name != "lo")
            .flat_map(|name| programs(name))
            .collect();
        let here = programs(&self.adapter);
        changed |= self.inside.set(&elsewhere)?;
        if let Some((_, groups)) = &mut self.outside {
            changed |= groups.set(&here)?;
        }
        Ok(changed)
    }

    fn joined(&self) -> Vec<(Ipv4Addr, String)> {
        let of = |name: &String, groups: &Groups| -> Vec<_> {
            groups
                .joined()
                .iter()
                .map(|group| (*group, name.clone()))
                .collect()
        };
        let outside = self.outside.iter().flat_map(|(name, groups)| of(name, groups));
        of(&self.adapter, &self.inside)
            .into_iter()
            .chain(outside)
            .collect()
    }
}

/// The interface by which packets to the internet leave.
fn outward_interface(adapter: &str) -> Option<String> {
    let outward = interfaces::outward();
    let listed = interfaces::addresses(Some(adapter)).ok()?;
    let host = listed
        .into_iter()
        .find(|host| host.address.is_ipv4() && outward.contains(&host.address))?;
    Some(host.interface)
}

async fn follow(mut mirror: Mirror, joined: Arc<Mutex<Vec<(Ipv4Addr, String)>>>) {
    let mut refused = false;
    loop {
        match mirror.look() {
            Ok(false) => {}
            Ok(true) => {
                refused = false;
                *joined.lock().unwrap_or_else(PoisonError::into_inner) = mirror.joined();
            }
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return,
            Err(error) => {
                if !std::mem::replace(&mut refused, true) {
                    tracing::debug!(%error, "groups that programs joined are not joined in their stead");
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}
