//! Applications: numbered UDP packets through the tunnels, each accounted for.
//!
//! A packet that arrives at another machine than it was meant for, changed, or twice stops the simulation: no
//! scenario may ever allow that.

use super::{Kind, Node, Sim};
use std::net::Ipv4Addr;
use std::time::Duration;

/// The port that the applications use at both ends.
const PORT: u16 = 6112;
const HEADERS: usize = 28;
const IGMP: u8 = 2;
/// The packet's number, in the payload's first bytes.
const NUMBER: usize = 4;

/// A packet that an application sent.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Who sent it.
    pub from: Node,
    /// The only machine that may get it; none where the address is nobody's or everybody's.
    pub meant: Option<Node>,
    /// To which address.
    pub to: Ipv4Addr,
    /// When.
    pub at: Duration,
    /// Who got it, and when.
    pub arrived: Vec<(Node, Duration)>,
    /// Where it arrived and no program listened, and when.
    pub unheard: Vec<(Node, Duration)>,
    packet: Vec<u8>,
}

/// A packet's number within the simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PacketId(u32);

/// Somebody who sends a packet again and again.
pub(super) struct Chat {
    from: Node,
    to: Node,
    /// The address of `to`, as it was when the chat began.
    address: Option<Ipv4Addr>,
    every: Duration,
    until: Duration,
}

/// All packets, and who keeps sending them.
#[derive(Default)]
pub(super) struct Apps {
    sent: Vec<Sent>,
    chats: Vec<Chat>,
}

impl Sim {
    /// An application at `from` sends `payload` bytes (at least 4) to the virtual address of `to`.
    #[track_caller]
    pub fn app_send(&mut self, from: Node, to: Node, payload: usize) -> PacketId {
        let address = self.address(to);
        self.send_packet(from, address, Some(to), payload)
    }

    /// An application at `from` sends to an address that need not be anybody's.
    pub fn app_send_to(&mut self, from: Node, to: Ipv4Addr, payload: usize) -> PacketId {
        self.send_packet(from, to, None, payload)
    }

    /// From now on for `lasting`, an application at `from` sends a packet to `to` at each interval.
    pub fn app_chat(&mut self, from: Node, to: Node, every: Duration, lasting: Duration) {
        let until = self.now + lasting;
        let chat = self.apps.chats.len();
        let address = self.adapter_address(to);
        self.apps.chats.push(Chat {
            from,
            to,
            address,
            every,
            until,
        });
        self.chat_on(chat);
    }

    pub(super) fn chat_on(&mut self, chat: usize) {
        let Chat {
            from,
            to,
            address,
            every,
            until,
        } = self.apps.chats[chat];
        let awake = self.machine(from).asleep.is_none();
        if awake
            && self.adapter_address(from).is_some()
            && let Some(address) = self.adapter_address(to).or(address)
        {
            self.send_packet(from, address, Some(to), 32);
        }
        if self.now + every < until {
            self.later(every, super::Happening::Chat(chat));
        }
    }

    /// An application at `from` sends to a UDP port at `to` that need not be open to it.
    pub fn app_send_to_port(&mut self, from: Node, to: Node, port: u16) -> PacketId {
        let number = self.next_number();
        let source = self.adapter_address(from).unwrap_or(Ipv4Addr::UNSPECIFIED);
        let address = self.address(to);
        let packet = udp_packet(source, address, port, number, 32);
        self.account(from, address, Some(to), packet.clone());
        self.adapter_takes(from, &packet);
        PacketId(number)
    }

    /// An announce as it is to arrive, and as it is seen on another interface than the adapter: from another address,
    /// without checksums.
    pub(super) fn packet_seen_elsewhere(&mut self, from: Node, source: Ipv4Addr) -> (PacketId, Vec<u8>) {
        let number = self.next_number();
        let own = self.adapter_address(from).unwrap_or(Ipv4Addr::UNSPECIFIED);
        let everybody = Ipv4Addr::BROADCAST;
        let packet = udp_packet(own, everybody, PORT, number, 64);
        let mut seen = udp_packet(source, everybody, PORT, number, 64);
        seen[10..12].fill(0);
        self.account(from, everybody, None, packet);
        (PacketId(number), seen)
    }

    fn next_number(&self) -> u32 {
        u32::try_from(self.apps.sent.len()).unwrap_or(u32::MAX)
    }

    fn account(&mut self, from: Node, to: Ipv4Addr, meant: Option<Node>, packet: Vec<u8>) {
        let sent = Sent {
            from,
            meant,
            to,
            at: self.now,
            arrived: Vec::new(),
            unheard: Vec::new(),
            packet,
        };
        self.apps.sent.push(sent);
    }

    fn send_packet(&mut self, from: Node, to: Ipv4Addr, meant: Option<Node>, payload: usize) -> PacketId {
        let number = self.next_number();
        let source = self.adapter_address(from).unwrap_or(Ipv4Addr::UNSPECIFIED);
        let packet = udp_packet(source, to, PORT, number, payload.max(NUMBER));
        self.note(Kind::App, from, format_args!("app sends {number} to {to}"));
        self.account(from, to, meant, packet.clone());
        if self.adapter_address(from).is_some() {
            self.adapter_takes(from, &packet);
        }
        PacketId(number)
    }

    /// A packet came out of the adapter of `at`.
    pub(super) fn adapter_gives(&mut self, at: Node, packet: &[u8]) {
        let now = self.now;
        if packet.get(9) == Some(&IGMP) {
            // A question of the engine's to this system, which answers none.
            return;
        }
        let number = packet
            .get(HEADERS..HEADERS + NUMBER)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(u32::MAX, u32::from_be_bytes);
        let name = self.name(at).to_owned();
        let heard = self.program_hears(at, PORT);
        self.note(Kind::App, at, format_args!("app gets {number}"));
        let Some(sent) = self.apps.sent.get_mut(number as usize) else {
            panic!("{name} got a packet that no application sent: {packet:02x?}");
        };
        assert!(
            is_same(&sent.packet, packet),
            "{name} got packet {number} changed: {packet:02x?}"
        );
        assert!(
            sent.meant.is_none_or(|meant| meant == at),
            "{name} got packet {number}, which was meant for another: {:?} to {}",
            sent.from,
            sent.to
        );
        if sent.meant.is_none() && !heard {
            sent.unheard.push((at, now));
            self.news = true;
            return;
        }
        assert!(
            sent.arrived.iter().all(|(who, _)| *who != at),
            "{name} got packet {number} twice"
        );
        sent.arrived.push((at, now));
        self.news = true;
    }

    /// What became of a packet.
    pub fn packet(&self, packet: PacketId) -> &Sent {
        &self.apps.sent[packet.0 as usize]
    }

    /// Whether the packet reached whom it was meant for.
    pub fn arrived(&self, packet: PacketId) -> bool {
        !self.packet(packet).arrived.is_empty()
    }

    /// All packets sent from the instant `since` (virtual) on.
    pub fn packets_since(&self, since: Duration) -> impl Iterator<Item = &Sent> {
        self.apps.sent.iter().filter(move |sent| sent.at >= since)
    }

    /// The longest time from `since` until now in which nothing of what `from` sent arrived at `to`.
    pub fn longest_silence(&self, from: Node, to: Node, since: Duration) -> Duration {
        let ours = self.apps.sent.iter().filter(|sent| sent.from == from);
        let arrivals = ours.flat_map(|sent| sent.arrived.iter().filter(|(who, _)| *who == to));
        let mut moments: Vec<Duration> = arrivals.map(|(_, at)| *at).filter(|at| *at > since).collect();
        moments.extend([since, self.now]);
        moments.sort_unstable();
        let gaps = moments.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.max().unwrap_or_default()
    }

    /// Packets from `from` to `to` sent from `since` on: how many, and how many of them arrived.
    pub fn carried(&self, from: Node, to: Node, since: Duration) -> (usize, usize) {
        let ours = |sent: &&Sent| sent.from == from && sent.meant == Some(to);
        let sent: Vec<_> = self.packets_since(since).filter(ours).collect();
        (
            sent.len(),
            sent.iter().filter(|sent| !sent.arrived.is_empty()).count(),
        )
    }
}

/// An IPv4 (RFC 791) packet with a UDP datagram (RFC 768) in it. The UDP checksum is left out, as IPv4 allows.
fn udp_packet(from: Ipv4Addr, to: Ipv4Addr, port: u16, number: u32, payload: usize) -> Vec<u8> {
    let length = HEADERS + payload;
    let mut packet = vec![0; length];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    packet[4..6].copy_from_slice(&(number as u16).to_be_bytes());
    packet[8] = 64;
    packet[9] = 17;
    packet[12..16].copy_from_slice(&from.octets());
    packet[16..20].copy_from_slice(&to.octets());
    let checksum = header_checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet[20..22].copy_from_slice(&PORT.to_be_bytes());
    packet[22..24].copy_from_slice(&port.to_be_bytes());
    packet[24..26].copy_from_slice(&((payload + 8) as u16).to_be_bytes());
    packet[HEADERS..HEADERS + NUMBER].copy_from_slice(&number.to_be_bytes());
    for (i, byte) in packet[HEADERS + NUMBER..].iter_mut().enumerate() {
        *byte = (number as usize + i) as u8;
    }
    packet
}

/// Whether a packet arrived as it was sent. An announce may have got another identification and a UDP checksum.
fn is_same(sent: &[u8], arrived: &[u8]) -> bool {
    let to_all = sent[16..20] == [255; 4];
    let free = |at: &usize| to_all && matches!(at, 4 | 5 | 10 | 11 | 26 | 27);
    sent.len() == arrived.len() && (0..sent.len()).all(|at| free(&at) || sent[at] == arrived[at])
}

/// The Internet checksum (RFC 1071).
fn header_checksum(header: &[u8]) -> u16 {
    let words = header
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}
