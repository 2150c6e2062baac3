//! STUN servers (RFC 8489, RFC 5780), written byte by byte: the library that the engine reads them with is not its
//! own judge.

use super::turn::Offered;
use super::{Happening, Node, Place, Sim};
use lanrage_core::io::Input;
use lanrage_proto::control::RelayOffer;
use lanrage_proto::{MemberId, Tag};
use lanrage_registry::Servers;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Its port, and its other one.
const PORTS: [u16; 2] = [3478, 3479];
const COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const RESPONSE_ORIGIN: u16 = 0x802B;
const OTHER_ADDRESS: u16 = 0x802C;
/// How long a name takes to become an address.
const LOOK_UP: Duration = Duration::from_millis(20);

/// What a control plane names.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) stun: Vec<SocketAddr>,
    pub(super) relays: Offered,
    /// The time of day, seconds since 1970.
    pub(super) clock: Arc<AtomicU64>,
}

impl Servers for Named {
    fn stun(&self, _authority: &str) -> Vec<String> {
        self.stun.iter().map(ToString::to_string).collect()
    }

    fn relays(&self, _authority: &str, tag: &Tag, member: &MemberId) -> Vec<RelayOffer> {
        let name = |bytes: &[u8]| blake3::hash(bytes).to_hex()[..16].to_owned();
        let id = format!("{}.{}", name(&tag.0), name(&member.0));
        self.relays.offers(self.clock.load(Ordering::Relaxed), &id)
    }
}

impl Sim {
    /// A STUN server on the internet, with `addresses` of each family: one, or two for full RFC 5780.
    pub fn stun_server(&mut self, name: &str, addresses: usize) -> Node {
        let node = self.computer(name, Place::Internet);
        let number = u8::try_from(node.0 + 2).unwrap_or(u8::MAX);
        let machine = self.machine_mut(node);
        machine.stun = true;
        if addresses > 1 {
            let second6 = [0x2001, 0xdb8, 1, u16::from(number), 0, 0, 0, 1];
            machine.addresses.extend([
                (IpAddr::from([198, 51, 100, number]), 32),
                (IpAddr::from(second6), 64),
            ]);
        }
        node
    }

    /// Where it is asked.
    pub fn stun_address(&self, server: Node) -> SocketAddr {
        let of = |(ip, _): &(IpAddr, u8)| SocketAddr::new(*ip, PORTS[0]);
        match self.machine(server).addresses.first().map(of) {
            Some(at) => at,
            None => panic!("{} has no address", self.name(server)),
        }
    }

    /// All that listen: main and other port on each address.
    pub fn stun_addresses(&self, server: Node) -> Vec<SocketAddr> {
        let addresses = self.machine(server).addresses.iter();
        addresses
            .flat_map(|(ip, _)| PORTS.map(|port| SocketAddr::new(*ip, port)))
            .collect()
    }

    /// From now on servers name these to members, and engines that were named none ask them by themselves.
    pub fn ask_stun(&mut self, servers: &[SocketAddr]) {
        self.stun = servers.to_vec();
    }

    pub(super) fn look_up(&mut self, node: Node, names: Option<Vec<String>>) {
        let Some(names) = names else { return };
        let named: Vec<SocketAddr> = names.iter().filter_map(|name| name.parse().ok()).collect();
        let servers = if names.is_empty() {
            self.stun.clone()
        } else {
            named
        };
        if !servers.is_empty() {
            let life = self.machine(node).life();
            self.later(LOOK_UP, Happening::Resolved(node, life, servers));
        }
    }

    pub(super) fn resolved(&mut self, node: Node, life: u32, servers: Vec<SocketAddr>) {
        if self.machine(node).life() == life {
            self.input(node, Input::StunServers(servers));
        }
    }

    /// A datagram reached a STUN server at one of its addresses.
    pub(super) fn stun_answers(&mut self, node: Node, at: SocketAddr, from: SocketAddr, request: &[u8]) {
        let binding = request.get(..2) == Some(&[0, 1]) && request.get(4..8) == Some(&COOKIE);
        let Some(id) = request
            .get(8..20)
            .filter(|_| binding && PORTS.contains(&at.port()))
        else {
            return;
        };
        let flags = match request.get(20..28) {
            Some([0, 3, 0, 4, 0, 0, 0, flags]) => *flags,
            _ => 0,
        };
        let other_port = |port: u16| if port == PORTS[0] { PORTS[1] } else { PORTS[0] };
        let mut others = self.machine(node).addresses.iter().map(|(ip, _)| *ip);
        let other_ip = others.find(|ip| *ip != at.ip() && ip.is_ipv4() == at.ip().is_ipv4());
        let ip = match (flags & 4, other_ip) {
            (0, _) => at.ip(),
            (_, Some(other)) => other,
            // Nothing else to answer from.
            (_, None) => return,
        };
        let port = if flags & 2 == 0 {
            at.port()
        } else {
            other_port(at.port())
        };
        let origin = SocketAddr::new(ip, port);
        let mut body = attribute(XOR_MAPPED_ADDRESS, from, Some(id));
        body.extend(attribute(RESPONSE_ORIGIN, origin, None));
        if let Some(other) = other_ip {
            let other = SocketAddr::new(other, other_port(at.port()));
            body.extend(attribute(OTHER_ADDRESS, other, None));
        }
        let length = (body.len() as u16).to_be_bytes();
        let answer = [&[1, 1], &length[..], &COOKIE, id, &body].concat();
        let place = self.machine(node).place;
        self.hop(node, place, from, origin, answer);
    }
}

/// An address as an attribute, hidden by the cookie and the transaction's number where the RFC says so.
fn attribute(number: u16, at: SocketAddr, id: Option<&[u8]>) -> Vec<u8> {
    let mut value = vec![0, if at.is_ipv4() { 1 } else { 2 }];
    value.extend(at.port().to_be_bytes());
    match at.ip() {
        IpAddr::V4(ip) => value.extend(ip.octets()),
        IpAddr::V6(ip) => value.extend(ip.octets()),
    }
    if let Some(id) = id {
        let mask = [&COOKIE, id].concat();
        for (byte, mask) in value[2..4].iter_mut().zip(&COOKIE) {
            *byte ^= mask;
        }
        for (byte, mask) in value[4..].iter_mut().zip(mask) {
            *byte ^= mask;
        }
    }
    let head = [number.to_be_bytes(), (value.len() as u16).to_be_bytes()].concat();
    [head, value].concat()
}
