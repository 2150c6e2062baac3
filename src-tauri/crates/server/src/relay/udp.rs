//! UDP sockets in batches: many datagrams for one system call, where the system can (recvmmsg, GRO, GSO).

use super::stream::Outlet;
use lanrage_relay::{Queue, Target, Weight};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Buffer asked for in each direction, bytes; the system may give less.
const BUFFER: usize = 4 << 20;
/// Room for what one receive brings: 64 KiB is the most that GRO joins.
const RECEIVE: usize = 64 * 1024;
/// Buffers for one receive, no more than the system fills in one call.
const BUFFERS: usize = if BATCH_SIZE < 8 { BATCH_SIZE } else { 8 };
/// The most that goes out in one call (the longest UDP payload over IPv4).
const SEND: usize = 65_507;

/// One socket.
#[derive(Debug)]
pub(super) struct UdpEnd {
    socket: UdpSocket,
    state: UdpSocketState,
    bound: SocketAddr,
}

impl UdpEnd {
    /// Binds a socket; an IPv6 one is for IPv6 alone.
    pub(super) fn open(at: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
        if at.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&at.into())?;
        let state = UdpSocketState::new((&socket).into())?;
        // Refused where the operator allows less; then there is less.
        let _ = state.set_recv_buffer_size((&socket).into(), BUFFER);
        let _ = state.set_send_buffer_size((&socket).into(), BUFFER);
        allow_fragments(&socket, at);
        let socket = UdpSocket::from_std(socket.into())?;
        Ok(Self {
            bound: socket.local_addr()?,
            socket,
            state,
        })
    }

    /// Where it is bound.
    pub(super) fn bound(&self) -> SocketAddr {
        self.bound
    }

    /// Waits until something can be received.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Receives what one call brings, and hands it out datagram by datagram: from where, to which of our addresses.
    /// False when there was nothing.
    pub(super) fn receive(&self, mut each: impl FnMut(SocketAddr, SocketAddr, &[u8])) -> bool {
        thread_local! {
            // Shared by all sockets, so that an idle relay costs none of this.
            static BUFFERS_OF_THREAD: RefCell<Vec<u8>> = RefCell::new(vec![0; RECEIVE * BUFFERS]);
        }
        BUFFERS_OF_THREAD.with_borrow_mut(|buffer| {
            let mut metas = [RecvMeta::default(); BUFFERS];
            let received = self.socket.try_io(Interest::READABLE, || {
                let mut chunks = buffer.chunks_exact_mut(RECEIVE);
                let mut slices: [IoSliceMut<'_>; BUFFERS] =
                    std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
                self.state.recv((&self.socket).into(), &mut slices, &mut metas)
            });
            let count = match received {
                Ok(count) => count,
                Err(error) => {
                    // On some systems a peer's "port unreachable" comes out here; it is nothing to stop for.
                    let nothing = error.kind() == io::ErrorKind::WouldBlock;
                    if !nothing {
                        tracing::trace!(%error, "receiving failed");
                    }
                    return !nothing;
                }
            };
            for (meta, chunk) in metas[..count].iter().zip(buffer.chunks_exact(RECEIVE)) {
                let ip = meta.dst_ip.unwrap_or(self.bound.ip()).to_canonical();
                let local = SocketAddr::new(ip, self.bound.port());
                let remote = SocketAddr::new(meta.addr.ip().to_canonical(), meta.addr.port());
                if meta.len == 0 {
                    each(remote, local, &[]);
                    continue;
                }
                for datagram in chunk[..meta.len].chunks(meta.stride.max(1)) {
                    each(remote, local, datagram);
                }
            }
            true
        })
    }

    /// Sends datagrams of `segment` bytes each, the last perhaps shorter. What the system does not take is lost, as
    /// datagrams are; returns how many.
    pub(super) fn send(&self, to: SocketAddr, source: Option<IpAddr>, bytes: &[u8], segment: usize) -> u64 {
        let transmit = |contents, segment_size| Transmit {
            destination: to,
            ecn: None,
            contents,
            segment_size,
            src_ip: source.filter(|_| self.bound.ip().is_unspecified()),
        };
        // Nobody waits for room, so the runtime's idea of it is not asked: for a socket just opened it is "none yet".
        let send = |transmit: Transmit<'_>| self.state.try_send((&self.socket).into(), &transmit);
        let several = bytes.len() > segment;
        if several && bytes.len().div_ceil(segment) <= self.state.max_gso_segments() {
            match send(transmit(bytes, Some(segment))) {
                Ok(()) => return 0,
                // Not by this interface, or longer than its MTU: one by one, which may be fragmented.
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {}
                Err(_) => return bytes.len().div_ceil(segment) as u64,
            }
        }
        let mut lost = 0;
        let mut rest = bytes;
        loop {
            let (one, others) = rest.split_at(segment.min(rest.len()));
            if let Err(error) = send(transmit(one, None)) {
                tracing::trace!(%error, "sending failed");
                lost += 1;
            }
            rest = others;
            if rest.is_empty() {
                return lost;
            }
        }
    }
}

/// What is relayed was sent by somebody else, who does not learn of our paths' limits: it is rather cut than lost.
#[cfg(target_os = "linux")]
fn allow_fragments(socket: &Socket, at: SocketAddr) {
    use rustix::net::sockopt::{Ipv4PathMtuDiscovery, set_ip_mtu_discover};
    if at.is_ipv4()
        && let Err(error) = set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::DONT)
    {
        tracing::debug!(%error, "long datagrams will be lost");
    }
}

#[cfg(not(target_os = "linux"))]
fn allow_fragments(_socket: &Socket, _at: SocketAddr) {}

/// Who gets something.
#[derive(Debug, Clone)]
pub(super) enum Dest {
    /// By a socket, from one of its addresses.
    Udp {
        end: Arc<UdpEnd>,
        to: SocketAddr,
        source: Option<IpAddr>,
    },
    /// By a stream.
    Stream(Arc<Outlet>),
}

/// What goes out, gathered while the server is asked and sent when it is not: neighbours of one size to one place
/// become one call.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    pub(super) bytes: Vec<u8>,
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    target: Target,
    dest: Dest,
    range: Range<usize>,
    segment: usize,
}

impl Outgoing {
    /// Takes the bytes from `start` on for `target`; `dest` finds out what that is.
    pub(super) fn push(&mut self, target: Target, start: usize, dest: impl FnOnce() -> Option<Dest>) {
        let end = self.bytes.len();
        let length = end - start;
        if let Some(last) = self.parts.last_mut()
            && last.target == target
            && last.range.end == start
            && matches!(last.dest, Dest::Udp { .. })
            && 0 < length
            && length <= last.segment
            && last.range.len().is_multiple_of(last.segment)
            && end - last.range.start <= SEND
            && last.range.len() / last.segment < 64
        {
            last.range.end = end;
            return;
        }
        let known = self.parts.last().filter(|last| last.target == target);
        let dest = match known {
            Some(last) => Some(last.dest.clone()),
            None => dest(),
        };
        if let Some(dest) = dest {
            self.parts.push(Part {
                target,
                dest,
                range: start..end,
                segment: length,
            });
        }
    }

    /// Sends everything; returns how many datagrams or frames were lost.
    pub(super) fn flush(&mut self) -> u64 {
        let mut lost = 0;
        for part in self.parts.drain(..) {
            let bytes = &self.bytes[part.range];
            match part.dest {
                Dest::Udp { end, to, source } => lost += end.send(to, source, bytes, part.segment.max(1)),
                Dest::Stream(outlet) => lost += outlet.push(Weight::Data, bytes.to_vec()),
            }
        }
        self.bytes.clear();
        lost
    }
}

/// A queue for one stream.
pub(super) fn queue() -> Queue {
    /// A tenth of a second at 20 Mbit/s; more would only be older.
    const MOST: usize = 256 * 1024;
    Queue::new(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lanrage_relay::RelayId;

    async fn received(end: &UdpEnd, count: usize) -> Vec<Vec<u8>> {
        let mut seen = Vec::new();
        while seen.len() < count {
            let readable = tokio::time::timeout(std::time::Duration::from_secs(10), end.readable());
            readable.await.expect("a datagram").unwrap();
            end.receive(|_, _, bytes| seen.push(bytes.to_vec()));
        }
        seen
    }

    #[tokio::test]
    async fn neighbours_become_one_call_and_arrive_as_they_were() {
        let one = Arc::new(UdpEnd::open("127.0.0.1:0".parse().unwrap()).unwrap());
        let two = UdpEnd::open("127.0.0.1:0".parse().unwrap()).unwrap();
        let target = Target::Peer(RelayId(1), two.bound());
        let dest = || {
            Some(Dest::Udp {
                end: one.clone(),
                to: two.bound(),
                source: None,
            })
        };
        let mut out = Outgoing::default();
        let sizes = [100, 100, 100, 40, 100, 0, 0, 7, 8, 1400, 1400];
        for (number, size) in sizes.into_iter().enumerate() {
            let start = out.bytes.len();
            out.bytes.extend(vec![number as u8; size]);
            out.push(target, start, dest);
        }
        // 100 ×3 + 40, 100, 0, 0, 7, 8, 1400 ×2
        assert_eq!(out.parts.len(), 7);
        assert_eq!(out.flush(), 0);
        let seen = received(&two, sizes.len()).await;
        let expected: Vec<_> = sizes
            .iter()
            .enumerate()
            .map(|(n, size)| vec![n as u8; *size])
            .collect();
        assert_eq!(seen, expected);
    }

    #[tokio::test]
    async fn a_socket_for_all_addresses_answers_from_the_one_that_was_reached() {
        let server = Arc::new(UdpEnd::open("0.0.0.0:0".parse().unwrap()).unwrap());
        let client = UdpEnd::open("127.0.0.1:0".parse().unwrap()).unwrap();
        let reached = SocketAddr::new([127, 0, 0, 9].into(), server.bound().port());
        client.send(reached, None, b"hello", 5);
        server.readable().await.unwrap();
        let mut seen = None;
        server.receive(|remote, local, bytes| seen = Some((remote, local, bytes.to_vec())));
        assert_eq!(seen, Some((client.bound(), reached, b"hello".to_vec())));
        server.send(client.bound(), Some(reached.ip()), b"back", 4);
        client.readable().await.unwrap();
        let mut from = None;
        client.receive(|remote, _, _| from = Some(remote));
        assert_eq!(from, Some(reached));
    }
}
