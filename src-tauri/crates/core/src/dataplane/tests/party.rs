//! A few data planes wired together. Member n has slot n and is reached at 192.0.2.n:51820; of two members the one
//! with the smaller number initiates.

use super::*;
use crate::table::TablePeer;
use lanrage_proto::lobby::Rules;
use lanrage_proto::{MemberId, PartyRange, WgPublic};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

pub(super) struct Node {
    pub(super) plane: Dataplane,
    pub(super) table: Table,
    pub(super) inbox: Inbox,
    pub(super) outbox: Outbox,
    secret: [u8; 32],
    session: u64,
}

pub(super) struct Party {
    pub(super) now: Instant,
    /// Whether nothing is passed on.
    pub(super) cut: bool,
    nodes: Vec<Node>,
}

pub(super) fn path_to(member: usize) -> Path {
    Path::primary(([192, 0, 2, member as u8], 51820).into())
}

/// A UDP datagram in an IPv4 packet.
pub(super) fn udp(from: [u8; 4], to: [u8; 4], port: u16, id: u16, content: &[u8]) -> Vec<u8> {
    let length = (28 + content.len()) as u16;
    let mut packet = vec![0x45, 0];
    packet.extend(length.to_be_bytes());
    packet.extend(id.to_be_bytes());
    packet.extend([0, 0, 64, 17, 0, 0]);
    packet.extend(from);
    packet.extend(to);
    packet.extend(4000u16.to_be_bytes());
    packet.extend(port.to_be_bytes());
    packet.extend((length - 20).to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(content);
    packet
}

/// A packet from one member to another.
pub(super) fn packet(from: u8, to: u8, content: &[u8]) -> Vec<u8> {
    udp([10, 66, 0, from], [10, 66, 0, to], 4000, 1, content)
}

impl Party {
    /// Members that know of each other and have no paths.
    pub(super) fn of(members: usize) -> Self {
        let nodes = (1..=members)
            .map(|n| Node {
                plane: Dataplane::new(),
                table: Table::default(),
                inbox: Inbox::new(),
                outbox: Outbox::new(),
                secret: [n as u8; 32],
                session: n as u64 * 100,
            })
            .collect();
        let mut party = Self {
            now: Instant::now(),
            cut: false,
            nodes,
        };
        for member in 1..=members {
            party.introduce(member);
            party.apply(member);
        }
        party
    }

    /// Members with sessions between all of them.
    pub(super) fn connected(members: usize) -> Self {
        let mut party = Self::of(members);
        party.connect();
        party.settle();
        for member in 1..=members {
            party.reports(member);
            assert_eq!(
                party
                    .node(member)
                    .plane
                    .peers()
                    .filter(|p| p.established.is_some())
                    .count(),
                members - 1
            );
        }
        party
    }

    pub(super) fn slot(&self, member: usize) -> Slot {
        Slot::try_from(member as u8).unwrap()
    }

    pub(super) fn node(&mut self, member: usize) -> &mut Node {
        &mut self.nodes[member - 1]
    }

    /// Writes a member's table anew, keeping its paths.
    fn introduce(&mut self, member: usize) {
        let own = &self.nodes[member - 1];
        let peers = (1..=self.nodes.len())
            .filter(|other| *other != member)
            .map(|other| {
                let peer = &self.nodes[other - 1];
                let before = own.table.peers.get(&self.slot(other));
                let row = TablePeer {
                    member: MemberId(peer.secret),
                    wg: WgPublic(PublicKey::from(&StaticSecret::from(peer.secret)).to_bytes()),
                    probes: [other as u8; 8],
                    psk: before.map_or_else(|| Zeroizing::new([42; 32]), |row| row.psk.clone()),
                    sessions: (own.session, peer.session),
                    initiates: member < other,
                    path: before.and_then(|row| row.path),
                    ready: true,
                    handshake: before.map_or(0, |row| row.handshake),
                };
                (self.slot(other), row)
            })
            .collect();
        let end = End {
            wg_secret: Zeroizing::new(own.secret),
            slot: self.slot(member),
            range: PartyRange::DEFAULT,
        };
        self.node(member).table = Table {
            end: Some(end),
            rules: Rules::default(),
            ready: true,
            peers,
        };
    }

    pub(super) fn apply(&mut self, member: usize) {
        let now = self.now;
        let node = self.node(member);
        node.plane.apply(now, node.table.clone());
    }

    fn edit(&mut self, member: usize, other: usize, edit: impl FnOnce(&mut TablePeer)) {
        let slot = self.slot(other);
        edit(self.node(member).table.peers.get_mut(&slot).unwrap());
        self.apply(member);
    }

    pub(super) fn set_path(&mut self, member: usize, other: usize, has: bool) {
        self.edit(member, other, |row| row.path = has.then(|| path_to(other)));
    }

    /// Whether a member knows that another can take in announces.
    pub(super) fn set_ready(&mut self, member: usize, other: usize, is: bool) {
        self.edit(member, other, |row| row.ready = is);
    }

    /// Gives everybody a path to everybody.
    pub(super) fn connect(&mut self) {
        for member in 1..=self.nodes.len() {
            for other in (1..=self.nodes.len()).filter(|other| *other != member) {
                self.set_path(member, other, true);
            }
        }
    }

    pub(super) fn ask_handshake(&mut self, member: usize, other: usize) {
        self.edit(member, other, |row| row.handshake += 1);
    }

    /// Another pre-shared key at both ends.
    pub(super) fn change_psk(&mut self, one: usize, other: usize) {
        self.edit(one, other, |row| row.psk = Zeroizing::new([43; 32]));
        self.edit(other, one, |row| row.psk = Zeroizing::new([43; 32]));
    }

    /// A member's engine starts anew: everybody's tables are written, nobody's is applied.
    pub(super) fn restart(&mut self, member: usize) {
        self.node(member).session += 1;
        self.node(member).plane = Dataplane::new();
        for member in 1..=self.nodes.len() {
            self.introduce(member);
        }
    }

    pub(super) fn remove(&mut self, member: usize, other: usize) {
        let slot = self.slot(other);
        self.node(member).table.peers.remove(&slot);
        self.apply(member);
    }

    pub(super) fn out(&mut self, member: usize, packet: &[u8]) {
        let now = self.now;
        let node = self.node(member);
        node.plane.packet_out(now, packet, &mut node.outbox);
    }

    pub(super) fn say(&mut self, from: usize, to: usize, content: &[u8]) {
        self.out(from, &packet(from as u8, to as u8, content));
    }

    /// Seals a packet that the sender's own checks would stop.
    pub(super) fn forge(&mut self, from: usize, to: usize, packet: &[u8]) {
        let now = self.now;
        let Node { plane, outbox, .. } = self.node(from);
        let mut step = Step {
            now,
            out: outbox,
            reports: &mut plane.reports,
            counters: &mut plane.counters,
        };
        plane.peers[to].as_mut().unwrap().send(&mut step, packet);
    }

    /// Hands a datagram of one member's to another.
    pub(super) fn inject(&mut self, from: usize, to: usize, datagram: &[u8]) {
        self.inject_from(path_to(from), to, datagram);
    }

    pub(super) fn inject_from(&mut self, path: Path, to: usize, datagram: &[u8]) {
        let now = self.now;
        let node = self.node(to);
        node.plane
            .datagram_in(now, path, datagram, &mut node.inbox, &mut node.outbox);
    }

    /// What a member wants sent, taken away.
    pub(super) fn take_sent(&mut self, member: usize) -> Vec<Vec<u8>> {
        let node = self.node(member);
        let sent = node
            .outbox
            .iter()
            .map(|(_, datagram)| datagram.to_vec())
            .collect();
        node.outbox.clear();
        sent
    }

    /// The WireGuard types of what a member wants sent, taken away.
    pub(super) fn sent_kinds(&mut self, member: usize) -> Vec<u8> {
        self.take_sent(member)
            .iter()
            .map(|datagram| datagram[0])
            .collect()
    }

    pub(super) fn delivered(&mut self, member: usize) -> Vec<Vec<u8>> {
        let node = self.node(member);
        let packets = node.inbox.iter().map(<[u8]>::to_vec).collect();
        node.inbox.clear();
        packets
    }

    pub(super) fn reports(&mut self, member: usize) -> Vec<Report> {
        let plane = &mut self.node(member).plane;
        std::iter::from_fn(|| plane.poll_report()).collect()
    }

    pub(super) fn counters(&mut self, member: usize) -> Counters {
        self.node(member).plane.counters()
    }

    /// Wakes everybody whom something is due for.
    pub(super) fn wake_all(&mut self) {
        let now = self.now;
        for node in &mut self.nodes {
            if node.plane.next_wake().is_some_and(|due| due <= now) {
                node.plane.wake(now, &mut node.outbox);
            }
        }
    }

    /// Passes on what is sent until nobody says anything more, without time passing. Only the side that may
    /// initiates.
    pub(super) fn settle(&mut self) {
        self.wake_all();
        loop {
            let mut mail = Vec::new();
            for from in 1..=self.nodes.len() {
                for (path, datagram) in self.node(from).outbox.iter() {
                    let std::net::IpAddr::V4(ip) = path.remote.ip() else {
                        panic!("{path}")
                    };
                    let to = usize::from(ip.octets()[3]);
                    assert!(
                        datagram[0] != 1 || from < to,
                        "member {from} initiated towards {to}"
                    );
                    mail.push((from, to, datagram.to_vec()));
                }
                self.node(from).outbox.clear();
            }
            if mail.is_empty() || self.cut {
                return;
            }
            for (from, to, datagram) in mail {
                self.inject(from, to, &datagram);
            }
        }
    }

    /// Lets time pass without anybody noticing.
    pub(super) fn jump(&mut self, by: Duration) {
        self.now += by;
        #[cfg(feature = "virtual-time")]
        crate::wg::virtual_time::advance(by);
    }

    /// Lets time pass from one thing that is due to the next.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let next = self.nodes.iter().filter_map(|node| node.plane.next_wake()).min();
            let until = next.unwrap_or(end).min(end);
            if self.now >= end {
                return;
            }
            // Something due now that stays due would stop time for ever.
            assert!(until > self.now, "a wake-up changed nothing");
            self.jump(until - self.now);
        }
    }
}
