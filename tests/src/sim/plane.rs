//! Control planes: a registry, its connections, and a disk that outlives it. One machine runs at most one, as a
//! server or inside the founder's engine.

use super::line::LineId;
use super::stun::Named;
use super::{Kind, Node, Sim};
use lanrage_core::io::Saved;
use lanrage_proto::limits::DEFAULT_PORT;
use lanrage_proto::{Tag, limits};
use lanrage_registry::{
    Change, Config, ConnId as ClientId, Delivery, MemoryStore, Service, Source, Store, StoreError,
    StoredParty,
};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// What survives a crash.
#[derive(Default)]
pub(super) struct Disk {
    /// The engine's intent.
    pub(super) saved: Option<Box<Saved>>,
    /// The registry's store.
    parties: Shelf,
    /// Runs of a control plane so far.
    planes: u32,
}

/// A store that its control plane and the machine's disk share.
#[derive(Clone, Default)]
struct Shelf(Rc<RefCell<MemoryStore>>);

impl Store for Shelf {
    fn load(&mut self) -> Result<Vec<StoredParty>, StoreError> {
        self.0.borrow_mut().load()
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        self.0.borrow_mut().commit(changes)
    }
}

/// A running control plane.
pub(super) struct Plane {
    service: Service<Shelf>,
    /// Which run this is, so that nothing reaches the next one.
    life: u32,
    lines: BTreeMap<ClientId, LineId>,
    connections: u64,
}

impl Plane {
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.service.next_wake()
    }
}

impl Sim {
    /// Starts a control plane with what is on the machine's disk; `only` for a founder's own.
    pub(super) fn start_plane(&mut self, node: Node, only: Option<Tag>) {
        let now = self.instant();
        let life = self.machine(node).disk.planes + 1;
        let randomness = self.derived(&format!("control plane {life} of {}", self.name(node)));
        let members = self.party_limit.unwrap_or(limits::PARTY_MEMBERS);
        let config = Config {
            members,
            only,
            ..Config::default()
        };
        // A founder's own control plane knows of no servers.
        let named = match only {
            None => Some(Named {
                stun: self.stun.clone(),
                relays: self.relays.clone(),
                clock: Arc::clone(&self.clock),
            }),
            Some(_) => None,
        };
        let named = named.filter(|named| !named.stun.is_empty() || !named.relays.is_empty());
        let machine = self.machine_mut(node);
        machine.disk.planes = life;
        let service = match Service::new(config, randomness, now, machine.disk.parties.clone()) {
            Ok(service) => match named {
                Some(named) => service.with_servers(Box::new(named)),
                None => service,
            },
            Err(error) => panic!("{error}"),
        };
        machine.plane = Some(Plane {
            service,
            life,
            lines: BTreeMap::new(),
            connections: 0,
        });
        let name = self.plane_name(node);
        self.transcript
            .line(Kind::Scene, self.now, &name, format_args!("control plane starts"));
    }

    /// What a machine's control plane is called: a server by its name, a founder's own apart from the founder.
    pub(super) fn plane_name(&self, node: Node) -> String {
        let name = self.name(node);
        if self.machine(node).is_server {
            name.to_owned()
        } else {
            format!("{name}/cp")
        }
    }

    pub(super) fn note_plane(&mut self, kind: Kind, node: Node, what: std::fmt::Arguments<'_>) {
        if self.transcript.keeps(kind) {
            let name = self.plane_name(node);
            self.transcript.line(kind, self.now, &name, what);
        }
    }

    /// Takes a connection in, if anybody listens.
    pub(super) fn plane_accepts(
        &mut self,
        node: Node,
        line: LineId,
        port: u16,
        from: IpAddr,
    ) -> Option<(u32, ClientId)> {
        let now = self.instant();
        let authorities = self.authorities(node);
        // A proxy in front of a server forwards the port of its wss:// address.
        let named = self.hosts.values().any(|host| *host == node);
        let plane = self.machine_mut(node).plane.as_mut()?;
        if port != DEFAULT_PORT && !named {
            return None;
        }
        plane.connections += 1;
        let client = ClientId(plane.connections);
        plane.lines.insert(client, line);
        let source = Source {
            address: Some(from),
            authorities,
        };
        plane.service.connected(now, client, source);
        let life = plane.life;
        self.flush_plane(node);
        Some((life, client))
    }

    /// Under which `host:port` the machine may be dialled.
    fn authorities(&self, node: Node) -> Vec<String> {
        let own = self.machine(node).addresses.iter().map(|(address, _)| *address);
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let addresses = own
            .chain([loopback])
            .map(|address| SocketAddr::new(address, DEFAULT_PORT).to_string());
        let names = self
            .hosts
            .iter()
            .filter(|(_, host)| **host == node)
            .map(|(name, _)| format!("{name}:443"));
        addresses.chain(names).collect()
    }

    pub(super) fn plane_hears(&mut self, node: Node, life: u32, client: ClientId, text: &str) {
        let now = self.instant();
        let Some(plane) = self
            .machine_mut(node)
            .plane
            .as_mut()
            .filter(|plane| plane.life == life)
        else {
            return;
        };
        plane.service.text(now, client, text);
        self.flush_plane(node);
    }

    pub(super) fn plane_loses(&mut self, node: Node, life: u32, client: ClientId) {
        let now = self.instant();
        let Some(plane) = self
            .machine_mut(node)
            .plane
            .as_mut()
            .filter(|plane| plane.life == life)
        else {
            return;
        };
        plane.lines.remove(&client);
        plane.service.disconnected(now, client);
        self.flush_plane(node);
    }

    pub(super) fn wake_plane(&mut self, node: Node) {
        let now = self.instant();
        if let Some(plane) = self.machine_mut(node).plane.as_mut() {
            plane.service.wake(now);
            self.flush_plane(node);
        }
    }

    /// The server's disk is lost.
    pub fn wipe_store(&mut self, server: Node) {
        self.note(Kind::Scene, server, format_args!("store wiped"));
        self.machine_mut(server).disk.parties = Shelf::default();
    }

    /// Carries out what the control plane wants, in its order.
    fn flush_plane(&mut self, node: Node) {
        let now = self.instant();
        let Some(plane) = self.machine_mut(node).plane.as_mut() else {
            return;
        };
        for delivery in plane.service.flush(now) {
            // What is said may end the plane's life only later, so it is still there.
            let Some(plane) = self.machine_mut(node).plane.as_mut() else {
                return;
            };
            match delivery {
                Delivery::Text(client, text) => {
                    if let Some(line) = plane.lines.get(&client).copied() {
                        self.plane_says(line, &text);
                    }
                }
                Delivery::Close(client) => {
                    if let Some(line) = plane.lines.remove(&client) {
                        self.plane_hangs_up(line);
                    }
                }
            }
        }
    }
}
