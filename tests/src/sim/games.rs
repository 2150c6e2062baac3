//! Games: programs that have UDP ports, and the announces by which they find each other. Whether a program hears an
//! announce is up to its ports; what arrives where nobody listens is nobody's.

use super::{Happening, Kind, Node, PacketId, Sim};
use lanrage_core::dataplane::Reason;
use lanrage_core::io::{Input, Intent};
use lanrage_core::lan::Interface;
use lanrage_core::lobby::Ports;
use lanrage_proto::lobby::{LobbyStatus, RulesChange};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

/// How often an engine looks at the ports.
const LOOK: Duration = Duration::from_millis(500);

impl Sim {
    /// A program on the machine opens the UDP port. From the first on, the machine's system tells which are open.
    pub fn open_port(&mut self, node: Node, port: u16) {
        self.machine_mut(node)
            .programs
            .get_or_insert_default()
            .insert(port);
    }

    /// The program that has the port ends.
    pub fn close_port(&mut self, node: Node, port: u16) {
        self.machine_mut(node)
            .programs
            .get_or_insert_default()
            .remove(&port);
    }

    /// Whether a program on the machine hears what comes to the port, as far as the scenario says.
    pub(super) fn program_hears(&self, node: Node, port: u16) -> bool {
        let programs = self.machine(node).programs.as_ref();
        programs.is_none_or(|programs| programs.contains(&port))
    }

    pub(super) fn listen(&mut self, node: Node, ports: BTreeSet<u16>) {
        let life = self.machine(node).life();
        if let Some(player) = self.machine_mut(node).player.as_mut() {
            let begins = player.listening.is_empty() && !ports.is_empty();
            player.listening = ports;
            player.ports_seen = None;
            if begins {
                self.later(Duration::ZERO, Happening::Ports(node, life));
            }
        }
    }

    pub(super) fn looks_at_ports(&mut self, node: Node, life: u32) {
        if self.machine(node).life() != life {
            return;
        }
        let programs = self.machine(node).programs.clone();
        let Some(player) = self.machine_mut(node).player.as_mut() else {
            return;
        };
        if player.listening.is_empty() {
            return;
        }
        let ports = programs.map(|programs| {
            let open: BTreeSet<u16> = programs.intersection(&player.listening).copied().collect();
            Ports {
                asked: player.listening.clone(),
                hearing: open.clone(),
                open,
            }
        });
        let news = player.ports_seen.as_ref() != Some(&ports);
        player.ports_seen = Some(ports.clone());
        self.later(LOOK, Happening::Ports(node, life));
        if news {
            self.input(node, Input::Ports(ports));
        }
    }

    /// A game sends an announce to everybody on the adapter's network.
    pub fn announce(&mut self, from: Node) -> PacketId {
        self.app_send_to(from, Ipv4Addr::BROADCAST, 64)
    }

    /// A game that is bound to the machine's own network sends an announce there, where the engine sees it.
    pub fn announce_on_own_network(&mut self, from: Node) -> PacketId {
        let now = self.instant();
        let addresses = self.machine(from).addresses.clone();
        let source = addresses.iter().find_map(|(ip, _)| match ip {
            std::net::IpAddr::V4(ip) => Some(*ip),
            std::net::IpAddr::V6(_) => None,
        });
        let interface = Arc::new(Interface {
            name: "eth0".to_owned(),
            addresses,
        });
        let (packet, seen) = self.packet_seen_elsewhere(from, source.unwrap_or(Ipv4Addr::UNSPECIFIED));
        let mut outbox = self.outbox.take().unwrap_or_default();
        if let Some(player) = self.machine_mut(from).player.as_mut() {
            player.dataplane.captured(now, &interface, &seen, &mut outbox);
        }
        self.transmit(from, outbox);
        self.pump(from);
        packet
    }

    /// What a member shows of announces.
    #[track_caller]
    pub fn lobby(&self, node: Node) -> LobbyStatus {
        match self.party(node) {
            Some(party) => party.lobby,
            None => panic!("{} is in no party", self.name(node)),
        }
    }

    /// The player lets friends reach something else, or other announces be carried.
    pub fn change_rules(&mut self, node: Node, change: RulesChange) {
        self.note(Kind::Scene, node, format_args!("other rules"));
        self.intend(node, Intent::Rules(change));
    }

    /// How many packets the member's data plane dropped for the reason.
    pub fn dropped(&self, node: Node, reason: Reason) -> u64 {
        let player = self.machine(node).player.as_ref();
        player.map_or(0, |player| player.dataplane.counters().dropped(reason))
    }

    /// The member's program was changed: its data plane caps nothing that it sends.
    pub fn lift_caps(&mut self, node: Node) {
        if let Some(player) = self.machine_mut(node).player.as_mut() {
            player.dataplane.lift_caps();
        }
    }
}
