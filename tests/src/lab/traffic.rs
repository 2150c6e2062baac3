//! What players do with a LAN: pings and file transfers.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::net::Host;
use super::process::Process;
use super::wait::PATIENCE;

/// What a finished `ping` counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ping {
    /// Echo requests sent.
    pub sent: u32,
    /// Echo replies received.
    pub received: u32,
    /// Mean round trip, milliseconds; none without a reply.
    pub mean_ms: Option<f64>,
}

/// Sends `count` echo requests from `host` to `target`, five a second, and waits up to 2 s for the last reply.
///
/// # Errors
/// When not every request is answered; the message carries ping's own words.
pub fn ping(host: &Host, target: IpAddr, count: u32) -> Result<Ping> {
    let (count_text, target_text) = (count.to_string(), target.to_string());
    let text = host.output(
        "ping",
        &[
            "-n",
            "-q",
            "-c",
            &count_text,
            "-i",
            "0.2",
            "-W",
            "2",
            &target_text,
        ],
    )?;
    let ping = parse_summary(&text).with_context(|| format!("ping said: {text}"))?;
    ensure!(
        ping.received == count,
        "{} of {count} pings to {target} came back",
        ping.received
    );
    Ok(ping)
}

/// Pings that go on in the background until they are counted.
#[derive(Debug)]
pub struct Flow {
    target: Ipv4Addr,
    process: Process,
}

impl Flow {
    /// Starts ten echo requests a second from `host` to `target`.
    ///
    /// # Errors
    /// When ping can't be started.
    pub fn start(host: &Host, target: Ipv4Addr) -> Result<Self> {
        let mut command = host.command("ping".as_ref());
        command.args(["-n", "-O", "-i", "0.1", &target.to_string()]);
        let process = host.spawn(&format!("ping-{}-{target}", host.index()), &mut command)?;
        Ok(Self { target, process })
    }

    /// Ends it and returns how many echo requests went unanswered, of how many.
    ///
    /// # Errors
    /// When ping ended by itself.
    pub fn finish(mut self) -> Result<(u32, u32)> {
        ensure!(
            self.process.is_running()?,
            "ping to {} ended: {}",
            self.target,
            self.process.log()
        );
        // What `ping -O` prints per request: a reply, or "no answer yet for icmp_seq=…".
        let log = self.process.log();
        let answered = log.lines().filter(|line| line.contains("bytes from")).count();
        let missing = log.lines().filter(|line| line.contains("no answer yet")).count();
        Ok((u32::try_from(missing)?, u32::try_from(answered + missing)?))
    }
}

/// Sends `bytes` over one TCP connection from one host to a port of another and compares blake3 hashes of
/// what was sent and what arrived. `during` is called every 100 ms while it runs. Returns the time taken.
///
/// # Errors
/// When the connection fails or stands still for 20 s, when the hashes differ, or when `during` fails.
pub fn transfer(
    from: &Host,
    to: (&Host, Ipv4Addr),
    bytes: u64,
    mut during: impl FnMut() -> Result<()>,
) -> Result<Duration> {
    let (receiver, address) = to;
    let listener = receiver
        .inside(|| Ok(TcpListener::bind((address, 0))?))
        .context("listening")?;
    let target = listener.local_addr()?;
    let started = Instant::now();
    thread::scope(|scope| {
        let (done, finished) = mpsc::channel::<()>();
        let ended = done.clone();
        let sent = scope.spawn(move || {
            let _ended = ended;
            from.enter()?;
            send(target, bytes)
        });
        // A socket stays in the namespace it was opened in: only the listener's maker had to be there.
        let arrived = scope.spawn(move || {
            let _ended = done;
            receive(&listener)
        });
        // Both ends hold a sender: the channel closes when both are done.
        while let Err(mpsc::RecvTimeoutError::Timeout) = finished.recv_timeout(Duration::from_millis(100)) {
            during()?;
        }
        let (Ok(sent), Ok(arrived)) = (sent.join(), arrived.join()) else {
            bail!("an end of the transfer panicked");
        };
        let (sent, (arrived, count)) = (sent.context("sending")?, arrived.context("receiving")?);
        ensure!(count == bytes, "{count} of {bytes} bytes arrived");
        ensure!(sent == arrived, "the hash of what arrived differs");
        Ok(started.elapsed())
    })
}

/// The longest standstill of a transfer.
const STANDSTILL: Duration = Duration::from_secs(20);

fn send(target: SocketAddr, bytes: u64) -> Result<blake3::Hash> {
    let mut stream = TcpStream::connect_timeout(&target, STANDSTILL)?;
    stream.set_write_timeout(Some(STANDSTILL))?;
    let mut hasher = blake3::Hasher::new();
    let mut content = blake3::Hasher::new()
        .update(b"a file nobody could guess")
        .finalize_xof();
    let mut buffer = vec![0; 64 * 1024];
    let mut left = bytes;
    while left > 0 {
        let part = usize::try_from(left.min(buffer.len() as u64))?;
        content.fill(&mut buffer[..part]);
        hasher.update(&buffer[..part]);
        stream.write_all(&buffer[..part])?;
        left -= part as u64;
    }
    stream.shutdown(Shutdown::Write)?;
    // The receiver closes once it has everything; until then the connection must live.
    stream.set_read_timeout(Some(STANDSTILL))?;
    stream.read(&mut [0]).context("waiting for the receiver")?;
    Ok(hasher.finalize())
}

fn receive(listener: &TcpListener) -> Result<(blake3::Hash, u64)> {
    let mut stream = accept(listener)?;
    stream.set_read_timeout(Some(STANDSTILL))?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut count = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok((hasher.finalize(), count)),
            part => {
                hasher.update(&buffer[..part]);
                count += part as u64;
            }
        }
    }
}

/// Answers UDP datagrams at a free port of `address` in `host` with their own content, until the process ends.
/// Returns where.
///
/// # Errors
/// When the socket can't be opened.
pub fn echo(host: &Host, address: Ipv4Addr) -> Result<SocketAddr> {
    let socket = host.inside(|| Ok(UdpSocket::bind((address, 0))?))?;
    let at = socket.local_addr()?;
    thread::spawn(move || {
        let mut buffer = [0; 64];
        // The socket fails for good when its adapter goes.
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            // A caller that has gone needs no answer.
            let _ = socket.send_to(&buffer[..length], from);
        }
    });
    Ok(at)
}

/// Sends a small datagram from `host` to an [`echo`] every 10 ms, each from a socket of its own since addresses and
/// routes come while it goes on. Returns the time until the first answer.
///
/// # Errors
/// When there is none within [`PATIENCE`] × `felt`.
pub fn first_contact(host: &Host, target: SocketAddr, felt: Duration) -> Result<Duration> {
    let started = Instant::now();
    host.inside(|| {
        let mut sockets = VecDeque::new();
        while started.elapsed() < felt * PATIENCE {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.set_nonblocking(true)?;
            // No route yet, or no adapter: the next one may have more luck.
            if socket.send_to(b"anybody there?", target).is_ok() {
                sockets.push_back(socket);
            }
            // Answers to what was sent two seconds ago will not come any more, and files are limited.
            if sockets.len() > 200 {
                sockets.pop_front();
            }
            if sockets.iter().any(|socket| socket.recv(&mut [0; 64]).is_ok()) {
                return Ok(started.elapsed());
            }
            thread::sleep(Duration::from_millis(10));
        }
        bail!("no answer from {target} within {:?}", felt * PATIENCE)
    })
}

/// Accepts one connection; a sender that never comes must not hang the lab.
fn accept(listener: &TcpListener) -> Result<TcpStream> {
    listener.set_nonblocking(true)?;
    let deadline = Instant::now() + STANDSTILL;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                ensure!(
                    Instant::now() < deadline,
                    "nobody connected within {STANDSTILL:?}"
                );
                thread::sleep(Duration::from_millis(10));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads ping's two summary lines.
fn parse_summary(text: &str) -> Option<Ping> {
    let counts = text.lines().find(|line| line.contains("packets transmitted"))?;
    let mut numbers = counts
        .split(',')
        .map(|part| part.split_whitespace().next().and_then(|n| n.parse().ok()));
    let (sent, received) = (numbers.next()??, numbers.next()??);
    let mean_ms = text
        .lines()
        .find(|line| line.starts_with("rtt "))
        .and_then(|line| line.split('=').nth(1)?.split('/').nth(1)?.trim().parse().ok());
    Some(Ping {
        sent,
        received,
        mean_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_summary_is_read() {
        let text = "PING 10.66.0.1 (10.66.0.1) 56(84) bytes of data.\n\n--- 10.66.0.1 ping statistics ---\n\
                    5 packets transmitted, 4 received, 20% packet loss, time 804ms\n\
                    rtt min/avg/max/mdev = 0.039/0.055/0.071/0.011 ms\n";
        assert_eq!(
            parse_summary(text),
            Some(Ping {
                sent: 5,
                received: 4,
                mean_ms: Some(0.055)
            })
        );
        assert_eq!(parse_summary("ping: unknown host"), None);
    }
}
