//! Datagrams: out of a data plane or a member, over a link, into another.

use super::machine::Machine;
use super::net::{kind_of, source_for};
use super::{Happening, Kind, Node, Place, Sim};
use lanrage_core::dataplane::{Handled, Outbox};
use lanrage_core::io::Input;
use lanrage_core::path::Path;
use lanrage_proto::limits::DEFAULT_PORT;
use std::net::{IpAddr, SocketAddr};

impl Sim {
    /// A packet that an application sent enters the data plane.
    pub(super) fn adapter_takes(&mut self, node: Node, packet: &[u8]) {
        let now = self.instant();
        let mut outbox = self.outbox.take().unwrap_or_default();
        if let Some(player) = self.machine_mut(node).player.as_mut() {
            player.dataplane.packet_out(now, packet, &mut outbox);
        }
        self.transmit(node, outbox);
        self.pump(node);
    }

    pub(super) fn datagram_arrives(&mut self, node: Node, at: SocketAddr, from: SocketAddr, bytes: Vec<u8>) {
        if self.machine(node).router.is_some() {
            return self.route(node, at, from, bytes);
        }
        if self.machine(node).stun {
            return self.stun_answers(node, at, from, &bytes);
        }
        if self.machine(node).relay.is_some() {
            return self.relay_gets(node, at, from, &bytes);
        }
        if at.port() == DEFAULT_PORT {
            self.deliver(node, Path::primary(from), bytes);
        } else if let Some(transport) = self.hole_at(node, at.port()) {
            let path = Path {
                transport,
                remote: from,
            };
            self.deliver(node, path, bytes);
        } else if self.machine(node).asleep.is_none() {
            self.relay_brings(node, at, from, bytes);
        }
    }

    /// A datagram reaches an engine by one of its transports.
    pub(super) fn deliver(&mut self, node: Node, path: Path, bytes: Vec<u8>) {
        let now = self.instant();
        let machine = self.machine(node);
        if machine.player.is_none() || machine.asleep.is_some() {
            return;
        }
        let mut inbox = self.inbox.take().unwrap_or_default();
        let mut outbox = self.outbox.take().unwrap_or_default();
        let Some(player) = self.machine_mut(node).player.as_mut() else {
            return;
        };
        let handled = player
            .dataplane
            .datagram_in(now, path, &bytes, &mut inbox, &mut outbox);
        if handled == Handled::ForMember {
            player.member.handle(now, Input::Datagram(path, bytes));
        }
        for packet in inbox.iter() {
            self.adapter_gives(node, packet);
        }
        inbox.clear();
        self.inbox = Some(inbox);
        self.transmit(node, outbox);
        self.pump(node);
    }

    /// Sends what the data plane wants sent, and keeps the emptied box for the next time.
    pub(super) fn transmit(&mut self, node: Node, mut outbox: Outbox) {
        for (path, bytes) in outbox.iter() {
            self.datagram_leaves(node, path, bytes.to_vec());
        }
        outbox.clear();
        self.outbox = Some(outbox);
    }

    pub(super) fn datagram_leaves(&mut self, node: Node, path: Path, bytes: Vec<u8>) {
        let (kind, what) = kind_of(&bytes);
        if kind == Kind::Handshake
            && what == "initiation"
            && let Some(player) = self.machine_mut(node).player.as_mut()
        {
            player.initiations += 1;
        }
        if path.transport.is_relay() {
            return self.relay_sends(node, path, &bytes);
        }
        let Some(port) = self.port_of(node, path) else {
            return;
        };
        let place = self.machine(node).place;
        match self.own_source(node, path.remote.ip()) {
            Some(source) => {
                let from = SocketAddr::new(source, port);
                self.hop(node, place, path.remote, from, bytes);
            }
            None => self.no_way(node, path.remote, &bytes),
        }
    }

    fn no_way(&mut self, node: Node, remote: SocketAddr, bytes: &[u8]) {
        let (kind, what) = kind_of(bytes);
        self.note(
            kind,
            node,
            format_args!("{what} {} to {remote}: no way", bytes.len()),
        );
    }

    /// A datagram leaves a machine, on its side towards `near`, for the next one on its way.
    pub(super) fn hop(&mut self, node: Node, near: Place, at: SocketAddr, from: SocketAddr, bytes: Vec<u8>) {
        let (kind, what) = kind_of(&bytes);
        let Some(to) = self
            .next_hop(near, at.ip())
            .filter(|to| *to != node || at.ip() == from.ip())
        else {
            return self.no_way(node, at, &bytes);
        };
        let arrival = self.links.datagram(&mut self.chance, self.now, node, to);
        if self.transcript.keeps(kind) {
            let lost = if arrival.is_none() { ", lost" } else { "" };
            let name = self.name(to).to_owned();
            self.note(kind, node, format_args!("{what} {} to {name}{lost}", bytes.len()));
        }
        if let Some(arrival) = arrival {
            self.at(arrival, Happening::Datagram { to, at, from, bytes });
        }
    }

    /// Which machine an address leads a stream to from here, and the address it comes from there.
    pub(super) fn way(&self, from: Node, to: SocketAddr) -> Option<(Node, IpAddr)> {
        let source = self.source(from, to.ip())?;
        let near = self.machine(from).place;
        let has = |machine: &Machine| {
            let private = matches!(machine.place, Place::Lan(_));
            (!private || machine.place == near) && machine.addresses.iter().any(|(ip, _)| *ip == to.ip())
        };
        let index = self.machines.iter().position(has)?;
        Some((Node(index), source))
    }

    /// The address that a stream from a machine comes from: its own, or that of the router it leaves by.
    pub(super) fn source(&self, from: Node, to: IpAddr) -> Option<IpAddr> {
        let machine = self.machine(from);
        let own = source_for(&machine.addresses, to);
        own.or_else(|| self.source(self.uplink(machine.place)?, to))
    }

    /// The own address that a machine sends from.
    pub(super) fn own_source(&self, node: Node, to: IpAddr) -> Option<IpAddr> {
        let machine = self.machine(node);
        let own = source_for(&machine.addresses, to);
        let routed = || {
            self.uplink(machine.place)?;
            let mut own = machine.addresses.iter().map(|(ip, _)| *ip);
            own.find(|ip| ip.is_ipv4() == to.is_ipv4())
        };
        own.or_else(routed)
    }
}
