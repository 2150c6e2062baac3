//! A TCP connection that carries a steady stream for as long as a test goes on.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::net::Host;

/// Between two pieces.
const EVERY: Duration = Duration::from_millis(10);

/// One piece: 400 kB a second in all, as somebody's download beside a game.
const PIECE: usize = 4_096;

/// How long the connection may stand still before it counts as broken: TCP waits twice as long after each vain try.
const STANDSTILL: Duration = Duration::from_secs(60);

/// A connection from one member to another, and what both ends make of it.
#[derive(Debug)]
pub struct Stream {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<Result<(blake3::Hash, u64)>>,
    receiver: JoinHandle<Result<(blake3::Hash, u64)>>,
}

impl Stream {
    /// Connects `from` to `address` in `to` and begins to send.
    ///
    /// # Errors
    /// When there is no connection.
    pub fn start(from: &Host, to: &Host, address: Ipv4Addr) -> Result<Self> {
        let listener = to.inside(|| Ok(TcpListener::bind((address, 0))?))?;
        let target = listener.local_addr()?;
        let connected = from.inside(|| Ok(TcpStream::connect_timeout(&target, STANDSTILL)?))?;
        let (accepted, _) = listener.accept()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        Ok(Self {
            stop,
            sender: thread::spawn(move || send(connected, &stopped)),
            receiver: thread::spawn(move || receive(accepted)),
        })
    }

    /// Whether both ends are still at it.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        !self.sender.is_finished() && !self.receiver.is_finished()
    }

    /// Ends it and compares what was sent with what arrived. Returns how many bytes.
    ///
    /// # Errors
    /// When the connection broke, or something else arrived than was sent.
    pub fn finish(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let (sent, length) = joined(self.sender).context("sending")?;
        let (arrived, count) = joined(self.receiver).context("receiving")?;
        ensure!(count == length, "{count} of {length} bytes arrived");
        ensure!(sent == arrived, "the hash of what arrived differs");
        Ok(count)
    }
}

fn joined<T>(thread: JoinHandle<Result<T>>) -> Result<T> {
    thread.join().ok().context("an end of the stream panicked")?
}

fn send(mut stream: TcpStream, stop: &AtomicBool) -> Result<(blake3::Hash, u64)> {
    stream.set_write_timeout(Some(STANDSTILL))?;
    stream.set_read_timeout(Some(STANDSTILL))?;
    let mut hasher = blake3::Hasher::new();
    let mut content = blake3::Hasher::new()
        .update(b"a film nobody knows")
        .finalize_xof();
    let mut piece = vec![0; PIECE];
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        content.fill(&mut piece);
        hasher.update(&piece);
        stream.write_all(&piece)?;
        count += piece.len() as u64;
        thread::sleep(EVERY);
    }
    stream.shutdown(Shutdown::Write)?;
    // The receiver closes once it has everything; until then the connection must live.
    ensure!(stream.read(&mut [0])? == 0, "the receiver says something");
    Ok((hasher.finalize(), count))
}

fn receive(mut stream: TcpStream) -> Result<(blake3::Hash, u64)> {
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
