//! What an engine's edges do for it, played: the adapter, the embedded control plane's socket, multicast DNS.

use super::{Happening, Kind, Node, Place, Sim};
use lanrage_core::io::{AdapterPlan, HostPlan, Hosting, Input};
use lanrage_proto::limits::DEFAULT_PORT;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// How long a system takes to make or change an adapter, or to open a listening socket.
const SYSTEM_CALL: Duration = Duration::from_millis(10);
/// How long multicast DNS takes to find somebody on the same switch.
const BROWSE: Duration = Duration::from_millis(100);
/// How often it looks again.
const BROWSE_AGAIN: Duration = Duration::from_secs(1);

impl Sim {
    pub(super) fn configure(&mut self, node: Node, wish: Option<AdapterPlan>) {
        let life = self.machine(node).life();
        if let Some(player) = self.machine_mut(node).player.as_mut() {
            player.wished_adapter = wish;
            if wish.is_none() {
                player.adapter = None;
            }
            self.later(SYSTEM_CALL, Happening::Adapter(node, life));
        }
    }

    pub(super) fn adapter_is_as_wished(&mut self, node: Node, life: u32) {
        let fault = self.machine(node).adapter_fault.clone();
        if self.machine(node).life() != life {
            return;
        }
        if let Some(player) = self.machine_mut(node).player.as_mut() {
            let result = match (player.wished_adapter, fault) {
                (Some(_), Some(fault)) => Err(fault),
                (wish, _) => {
                    player.adapter = wish;
                    Ok(())
                }
            };
            let address = player.adapter.map(|plan| plan.address);
            self.news = true;
            match address {
                Some(address) => self.note(Kind::Scene, node, format_args!("adapter {address}")),
                None => self.note(Kind::Scene, node, format_args!("no adapter")),
            }
            self.input(node, Input::Adapter(result));
        }
    }

    /// The virtual address that the machine's adapter has now.
    pub(super) fn adapter_address(&self, node: Node) -> Option<Ipv4Addr> {
        Some(self.machine(node).player.as_ref()?.adapter?.address)
    }

    pub(super) fn host(&mut self, node: Node, wish: Option<HostPlan>) {
        let life = self.machine(node).life();
        if let Some(player) = self.machine_mut(node).player.as_mut() {
            player.hosting = wish;
            self.later(SYSTEM_CALL, Happening::Hosting(node, life));
        }
    }

    pub(super) fn hosting_is_as_wished(&mut self, node: Node, life: u32) {
        if self.machine(node).life() != life {
            return;
        }
        let Some(player) = self.machine(node).player.as_ref() else {
            return;
        };
        match player.hosting.clone() {
            Some(plan) => {
                if self.machine(node).plane.is_none() {
                    self.start_plane(node, Some(plan.tag));
                }
                self.input(node, Input::Hosting(Ok(Hosting { port: DEFAULT_PORT })));
                self.advertise(node);
            }
            None => {
                self.close_lines_of(node, false, true);
                self.machine_mut(node).plane = None;
            }
        }
    }

    /// Those who browse on the switch of `node` hear of it.
    pub(super) fn advertise(&mut self, node: Node) {
        let place = self.machine(node).place;
        for other in (0..self.machines.len()).map(Node) {
            if other != node && self.machine(other).place == place {
                let life = self.machine(other).life();
                self.later(BROWSE, Happening::Found(other, life));
            }
        }
    }

    pub(super) fn browse(&mut self, node: Node, wish: Option<[u8; 32]>) {
        let looks_at = self.now + BROWSE;
        let life = self.machine(node).life();
        if let Some(player) = self.machine_mut(node).player.as_mut() {
            let fresh = player.browsing.is_none() && wish.is_some();
            player.browsing = wish;
            player.found.clear();
            if fresh {
                player.looks_at = looks_at;
                self.at(looks_at, Happening::Found(node, life));
            }
        }
    }

    pub(super) fn browse_answers(&mut self, node: Node, life: u32) {
        let place = self.machine(node).place;
        let Some(player) = self
            .machine(node)
            .player
            .as_ref()
            .filter(|_| self.machine(node).life() == life)
        else {
            return;
        };
        let Some(key) = player.browsing else { return };
        let mut found = Vec::new();
        for (index, machine) in self.machines.iter().enumerate() {
            let other = Node(index);
            let hosts = machine.player.as_ref().and_then(|player| player.hosting.as_ref());
            let near = machine.place == place && matches!(place, Place::Lan(_)) && other != node;
            let cut = self.links.get(other, node).cut;
            if near && !cut && machine.plane.is_some() && hosts.is_some_and(|plan| plan.discovery == key) {
                found.extend(
                    machine
                        .addresses
                        .iter()
                        .map(|(ip, _)| SocketAddr::new(*ip, DEFAULT_PORT)),
                );
            }
        }
        let now = self.now;
        let Some(player) = self.machine_mut(node).player.as_mut() else {
            return;
        };
        let news = player.found != found;
        player.found.clone_from(&found);
        if now >= player.looks_at {
            player.looks_at = now + BROWSE_AGAIN;
            self.later(BROWSE_AGAIN, Happening::Found(node, life));
        }
        if news && !found.is_empty() {
            self.note(Kind::Control, node, format_args!("finds {found:?} nearby"));
            self.input(node, Input::Found(found));
        }
    }
}
