//! Sockets that engines open for one peer alone, and a count of what leaves while holes are made.

use super::machine::Player;
use super::{Node, Sim};
use lanrage_core::path::{Path, TransportId};
use lanrage_core::punch::HolePlan;
use lanrage_proto::limits::DEFAULT_PORT;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// The first port that a system gives sockets that want any.
const EPHEMERAL: u16 = 30_000;

/// An engine's sockets besides the primary ones.
#[derive(Debug, Default)]
pub(super) struct Holes {
    open: BTreeMap<TransportId, u16>,
    /// How many had any port so far.
    given: u16,
    /// Whether low ports may be bound.
    refuses_low: bool,
    most: usize,
    departures: Vec<Departure>,
}

/// A datagram that left an engine by one of its sockets.
#[derive(Debug, Clone, Copy)]
pub struct Departure {
    /// When.
    pub at: Duration,
    /// By which.
    pub by: TransportId,
    /// Where to.
    pub to: SocketAddr,
}

impl Holes {
    fn wish(&mut self, plans: &[HolePlan]) {
        self.open.retain(|id, _| plans.iter().any(|plan| plan.id == *id));
        for plan in plans {
            if self.open.contains_key(&plan.id) {
                continue;
            }
            let low = plan
                .port
                .filter(|port| !self.refuses_low && self.open.values().all(|open| open != port));
            let port = low.unwrap_or_else(|| {
                self.given += 1;
                EPHEMERAL + self.given % 20_000
            });
            self.open.insert(plan.id, port);
        }
        self.most = self.most.max(self.open.len());
    }
}

impl Sim {
    pub(super) fn wish_holes(&mut self, node: Node, plans: &[HolePlan]) {
        if let Some(player) = self.machine_mut(node).player.as_mut() {
            player.holes.wish(plans);
        }
    }

    fn holes(&self, node: Node) -> Option<&Holes> {
        let player = self.machine(node).player.as_ref()?;
        Some(&player.holes)
    }

    /// The transport that is bound to this port besides the primary sockets.
    pub(super) fn hole_at(&self, node: Node, port: u16) -> Option<TransportId> {
        let mut open = self.holes(node)?.open.iter();
        open.find(|(_, open)| **open == port).map(|(id, _)| *id)
    }

    /// The port that a path leaves by; none where its socket is closed.
    pub(super) fn port_of(&mut self, node: Node, path: Path) -> Option<u16> {
        let at = self.now;
        let Player { holes, .. } = self.machine_mut(node).player.as_mut()?;
        holes.departures.push(Departure {
            at,
            by: path.transport,
            to: path.remote,
        });
        if path.transport.is_hole() {
            holes.open.get(&path.transport).copied()
        } else {
            Some(DEFAULT_PORT)
        }
    }

    /// The engine may bind no low ports.
    pub fn refuse_low_ports(&mut self, node: Node) {
        if let Some(player) = self.machine_mut(node).player.as_mut() {
            player.holes.refuses_low = true;
        }
    }

    /// The engine is started anew with holes switched off.
    pub fn without_punching(&mut self, node: Node) {
        self.stop_engine(node);
        self.machine_mut(node).punching = false;
        self.start_engine(node);
    }

    /// Sockets besides the primary ones that are open now, and that were at most.
    pub fn sockets(&self, node: Node) -> (usize, usize) {
        self.holes(node)
            .map_or((0, 0), |holes| (holes.open.len(), holes.most))
    }

    /// What left an engine since it started.
    pub fn departures(&self, node: Node) -> &[Departure] {
        self.holes(node).map_or(&[], |holes| &holes.departures)
    }
}
