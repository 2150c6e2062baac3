//! What a NAT really does, seen from a host behind it: RFC 5780's tests, with datagrams of our own.
//!
//! Four sockets on the server, two ports at each of its two addresses, tell whoever asks as whom they see it, and on
//! demand answer from another of the four.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::internet::Internet;
use super::nat::{Behaviour, Dependence};
use super::net::Host;

/// The ports of the four sockets.
const PORTS: [u16; 2] = [9001, 9002];

/// How long an answer may take where nothing is in the way, on a busy machine and a slow line.
const PATIENCE: Duration = Duration::from_millis(2_000);

/// How often a question is asked again.
const AGAIN: Duration = Duration::from_millis(200);

/// How long an answer from elsewhere may take longer than the one from where it was asked.
const GRACE: Duration = Duration::from_millis(200);

/// Times that both are asked for before the one that never came is taken for filtered.
const TRIES: u32 = 2;

/// How long two hosts try to meet, and how often each sends.
const MEETING: Duration = Duration::from_millis(600);
const SEND: Duration = Duration::from_millis(50);

/// How often an idle socket looks whether it is still wanted.
const IDLE: Duration = Duration::from_millis(100);

/// Numbers of questions asked by this process.
static QUESTIONS: AtomicU64 = AtomicU64::new(0);

/// The four sockets, answering until dropped.
#[derive(Debug)]
pub struct Mirror {
    addresses: [Ipv4Addr; 2],
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// Which of the four: of the first or second address, the first or second port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Corner {
    address: usize,
    port: usize,
}

const FIRST: Corner = Corner { address: 0, port: 0 };
const OTHER_PORT: Corner = Corner { address: 0, port: 1 };
const OTHER_ADDRESS: Corner = Corner { address: 1, port: 0 };
const OTHER_BOTH: Corner = Corner { address: 1, port: 1 };
const CORNERS: [Corner; 4] = [FIRST, OTHER_PORT, OTHER_ADDRESS, OTHER_BOTH];

impl Corner {
    fn index(self) -> usize {
        self.address * 2 + self.port
    }
}

impl Mirror {
    /// Opens the four sockets on the internet's server.
    ///
    /// # Errors
    /// When a port is taken.
    pub fn start(internet: &Internet) -> Result<Self> {
        let addresses = internet.server_addresses();
        let sockets = internet.server().inside(|| {
            CORNERS
                .iter()
                .map(|corner| {
                    let socket = UdpSocket::bind((addresses[corner.address], PORTS[corner.port]))?;
                    socket.set_read_timeout(Some(IDLE))?;
                    Ok(socket)
                })
                .collect::<Result<Vec<_>>>()
        })?;
        let sockets = Arc::new(sockets);
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..sockets.len())
            .map(|own| {
                let (sockets, stop) = (Arc::clone(&sockets), Arc::clone(&stop));
                thread::spawn(move || answer(&sockets, own, &stop))
            })
            .collect();
        Ok(Self {
            addresses,
            stop,
            threads,
        })
    }

    /// Finds out what the NATs before `host` do (RFC 5780 §4.3, §4.4). Takes two seconds where things are filtered.
    ///
    /// # Errors
    /// When sockets can't be opened, or answers contradict each other.
    pub fn behaviour(&self, host: &Host) -> Result<Behaviour> {
        host.inside(|| {
            // Filtering from sockets of their own: each has sent to one corner only.
            let socket = open(host)?;
            if self.ask(&socket, FIRST)?.is_none() {
                return Ok(Behaviour::Blocked);
            }
            let filtering = if self.lets_in(&socket, OTHER_BOTH)? {
                Dependence::EndpointIndependent
            } else if self.lets_in(&socket, OTHER_PORT)? {
                Dependence::AddressDependent
            } else {
                Dependence::AddressAndPortDependent
            };
            let socket = open(host)?;
            let mut seen = Vec::new();
            for corner in CORNERS {
                let answer = self.ask(&socket, corner)?;
                seen.push(answer.context("the server answers from one port only")?);
            }
            let mapping = if seen.windows(2).all(|pair| pair[0] == pair[1]) {
                Dependence::EndpointIndependent
            } else if seen[0] == seen[1] && seen[2] == seen[3] {
                Dependence::AddressDependent
            } else {
                Dependence::AddressAndPortDependent
            };
            let sequential = seen
                .windows(2)
                .all(|pair| pair[0].port().checked_add(1) == Some(pair[1].port()));
            Ok(Behaviour::Passing {
                translated: seen[0] != local(&socket)?,
                mapping,
                sequential,
                filtering,
            })
        })
    }

    /// As whom the server sees a socket that is opened in `host` now; with the socket.
    ///
    /// # Errors
    /// When it can't be opened or the server does not answer.
    pub fn mapped(&self, host: &Host) -> Result<(UdpSocket, SocketAddrV4)> {
        host.inside(|| {
            let socket = open(host)?;
            let seen = self.ask(&socket, FIRST)?.context("the server is silent")?;
            Ok((socket, seen))
        })
    }

    /// As whom the server sees a socket now; none if it does not answer.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn seen(&self, socket: &UdpSocket) -> Result<Option<SocketAddrV4>> {
        self.ask(socket, FIRST)
    }

    /// Where it answers.
    #[must_use]
    pub fn address(&self) -> SocketAddrV4 {
        self.at(FIRST)
    }

    /// Asks a corner as whom it sees the socket.
    fn ask(&self, socket: &UdpSocket, corner: Corner) -> Result<Option<SocketAddrV4>> {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            let number = self.question(socket, corner, corner)?;
            let deadline = Instant::now() + AGAIN;
            while let Some((answered, seen)) = self.hear(socket, deadline)? {
                if answered == number {
                    return Ok(Some(seen));
                }
            }
        }
        Ok(None)
    }

    /// Whether an answer from another corner than the one asked comes in. Silence says so only some time after the
    /// one asked has answered for itself, to a later question.
    fn lets_in(&self, socket: &UdpSocket, other: Corner) -> Result<bool> {
        for _ in 0..TRIES {
            let number = self.question(socket, FIRST, other)?;
            let control = self.question(socket, FIRST, FIRST)?;
            let mut deadline = Instant::now() + PATIENCE;
            let mut heard = false;
            while let Some((answered, _)) = self.hear(socket, deadline)? {
                if answered == number {
                    return Ok(true);
                }
                if answered == control {
                    (heard, deadline) = (true, Instant::now() + GRACE);
                }
            }
            ensure!(heard, "the server has become silent");
        }
        Ok(false)
    }

    /// Sends a question to one corner that another is to answer. Returns its number.
    fn question(&self, socket: &UdpSocket, to: Corner, from: Corner) -> Result<u64> {
        let number = QUESTIONS.fetch_add(1, Ordering::Relaxed);
        let mut question = number.to_be_bytes().to_vec();
        question.push(u8::try_from(from.index())?);
        socket.send_to(&question, self.at(to))?;
        Ok(number)
    }

    /// Waits for an answer. Returns to which question, and whom the server saw asking.
    fn hear(&self, socket: &UdpSocket, deadline: Instant) -> Result<Option<(u64, SocketAddrV4)>> {
        let mut buffer = [0; 64];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            socket.set_read_timeout(Some(left))?;
            let Ok((length, source)) = socket.recv_from(&mut buffer) else {
                continue;
            };
            ensure!(
                CORNERS.iter().any(|corner| source == self.at(*corner).into()),
                "a stranger at {source}"
            );
            if let Some((number, seen)) = buffer[..length].split_first_chunk() {
                let seen = std::str::from_utf8(seen)?.parse()?;
                return Ok(Some((u64::from_be_bytes(*number), seen)));
            }
        }
    }

    fn at(&self, corner: Corner) -> SocketAddrV4 {
        SocketAddrV4::new(self.addresses[corner.address], PORTS[corner.port])
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// Whether datagrams between two hosts' sockets pass when both send to where the server sees the other: what plain
/// simultaneous punching achieves.
///
/// # Errors
/// When sockets can't be opened or the server does not answer.
pub fn punch(mirror: &Mirror, one: &Host, other: &Host) -> Result<bool> {
    let ((first, first_seen), (second, second_seen)) = (mirror.mapped(one)?, mirror.mapped(other)?);
    let (mut heard_first, mut heard_second) = (None, None);
    for socket in [&first, &second] {
        socket.set_read_timeout(Some(SEND / 2))?;
    }
    let started = Instant::now();
    while started.elapsed() < MEETING {
        // The other side answers to where it hears from, if that is elsewhere.
        first.send_to(b"from the first", heard_first.unwrap_or(second_seen))?;
        second.send_to(b"from the second", heard_second.unwrap_or(first_seen))?;
        heard_first = hear(&first, b"from the second")?.or(heard_first);
        heard_second = hear(&second, b"from the first")?.or(heard_second);
        if heard_first.is_some() && heard_second.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn hear(socket: &UdpSocket, words: &[u8]) -> Result<Option<SocketAddrV4>> {
    let mut buffer = [0; 64];
    match socket.recv_from(&mut buffer) {
        Ok((length, std::net::SocketAddr::V4(source))) if &buffer[..length] == words => Ok(Some(source)),
        Ok((_, source)) => bail!("a stranger at {source}"),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn open(host: &Host) -> Result<UdpSocket> {
    UdpSocket::bind((host.address(), 0)).with_context(|| format!("no socket at {}", host.address()))
}

fn local(socket: &UdpSocket) -> Result<SocketAddrV4> {
    match socket.local_addr()? {
        std::net::SocketAddr::V4(local) => Ok(local),
        std::net::SocketAddr::V6(local) => bail!("bound to {local}"),
    }
}

fn answer(sockets: &[UdpSocket], own: usize, stop: &AtomicBool) {
    let mut buffer = [0; 64];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, source)) = sockets[own].recv_from(&mut buffer) else {
            continue;
        };
        let Some((from, number)) = buffer[..length].split_last() else {
            continue;
        };
        let Some(from) = sockets.get(usize::from(*from)) else {
            continue;
        };
        // The asker may be gone.
        let _ = from.send_to(&[number, source.to_string().as_bytes()].concat(), source);
    }
}
