//! Datagrams with a source that is not the sender's, from a raw socket.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lanrage_tests::lab::Host;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// IPPROTO_RAW: the sender writes the IP header itself.
const RAW: i32 = 255;
const UDP: u8 = 17;
/// So many at once before the sender looks at the clock.
const BATCH: u32 = 50;

/// Sends whatever in whoever's name.
pub(super) struct Forger {
    socket: Socket,
    datagram: Vec<u8>,
}

impl Forger {
    /// One in `host`.
    pub(super) fn new(host: &Host) -> Result<Self> {
        let socket = host.inside(|| {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(RAW)))?;
            socket.set_send_buffer_size(4 << 20)?;
            Ok(socket)
        });
        Ok(Self {
            socket: socket.context("no raw socket")?,
            datagram: Vec::new(),
        })
    }

    /// Sends one datagram; `false` when it did not leave.
    pub(super) fn send(&mut self, from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> bool {
        let udp = 8 + payload.len() as u16;
        let datagram = &mut self.datagram;
        datagram.clear();
        // Version and length, no fragments, 64 hops; total length and checksum are the kernel's.
        datagram.extend([0x45, 0, 0, 0, 0, 0, 0, 0, 64, UDP, 0, 0]);
        datagram.extend(from.ip().octets());
        datagram.extend(to.ip().octets());
        datagram.extend(from.port().to_be_bytes());
        datagram.extend(to.port().to_be_bytes());
        datagram.extend(udp.to_be_bytes());
        // UDP without a checksum (RFC 768).
        datagram.extend([0, 0]);
        datagram.extend(payload);
        let to = SockAddr::from(to);
        self.socket.send_to(datagram, &to).is_ok()
    }

    /// Sends `count` datagrams at `rate` a second, as `make` writes them: from where, to where, what. Returns how many
    /// did not leave.
    pub(super) fn flood(
        &mut self,
        count: u32,
        rate: u32,
        mut make: impl FnMut(u32, &mut Vec<u8>) -> (SocketAddrV4, SocketAddrV4),
    ) -> u32 {
        let started = Instant::now();
        let mut payload = Vec::new();
        let mut refused = 0;
        for number in 0..count {
            payload.clear();
            let (from, to) = make(number, &mut payload);
            refused += u32::from(!self.send(from, to, &payload));
            if number % BATCH == 0 {
                let due = started + Duration::from_secs(1) * number / rate;
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        }
        refused
    }
}

/// An address for each number, all over the public internet; seldom the same one twice.
pub(super) fn anybody(number: u32) -> SocketAddrV4 {
    let [a, b, c, d] = number.wrapping_mul(2_654_435_761).to_be_bytes();
    SocketAddrV4::new(
        Ipv4Addr::new(20 + a % 80, b, c, d.max(1)),
        1024 + (number % 60_000) as u16,
    )
}
