//! A game's traffic, small and steady, and the silences in it.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::net::Host;

/// Between two datagrams: fifty a second, as shooters send.
const EVERY: Duration = Duration::from_millis(20);

/// How long the last answers are waited for.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// Datagrams to an [`echo`](super::echo) and back, until it is dropped.
#[derive(Debug)]
pub struct Ticker {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    answers: Arc<Mutex<Vec<Instant>>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts fifty datagrams a second from `host` to `target`.
    ///
    /// # Errors
    /// When there can be no socket.
    pub fn start(host: &Host, target: SocketAddr) -> Result<Self> {
        let socket = host.inside(|| Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?))?;
        socket.set_read_timeout(Some(Duration::from_millis(1)))?;
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let answers = Arc::new(Mutex::new(Vec::new()));
        let thread = {
            let (stop, sent, answers) = (Arc::clone(&stop), Arc::clone(&sent), Arc::clone(&answers));
            thread::spawn(move || tick(&socket, target, &stop, &sent, &answers))
        };
        Ok(Self {
            stop,
            sent,
            answers,
            thread: Some(thread),
        })
    }

    /// Whether anything came back after `since`.
    #[must_use]
    pub fn heard_since(&self, since: Instant) -> bool {
        self.answers().last().is_some_and(|last| *last > since)
    }

    /// The longest time without an answer since then, the one until now included.
    #[must_use]
    pub fn longest_silence(&self, since: Instant) -> Duration {
        let answers = self.answers();
        let after = answers.iter().copied().filter(|at| *at > since);
        let mut longest = Duration::ZERO;
        let mut last = since;
        for at in after.chain([Instant::now()]) {
            longest = longest.max(at - last);
            last = at;
        }
        longest
    }

    /// Ends it. Returns how many datagrams were sent, and how many came back.
    #[must_use]
    pub fn finish(mut self) -> (u64, u64) {
        self.end();
        (self.sent.load(Ordering::Relaxed), self.answers().len() as u64)
    }

    fn answers(&self) -> std::sync::MutexGuard<'_, Vec<Instant>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.end();
    }
}

fn tick(
    socket: &UdpSocket,
    target: SocketAddr,
    stop: &AtomicBool,
    sent: &AtomicU64,
    answers: &Mutex<Vec<Instant>>,
) {
    let mut buffer = [0; 64];
    let mut hear = || {
        if socket.recv(&mut buffer).is_ok() {
            answers
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(Instant::now());
        }
    };
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        if Instant::now() >= next {
            next = Instant::now() + EVERY;
            let number = sent.fetch_add(1, Ordering::Relaxed);
            // A route that is away for a moment is one of the silences.
            let _ = socket.send_to(&number.to_be_bytes(), target);
        }
        hear();
    }
    let until = Instant::now() + LAST_ANSWERS;
    while Instant::now() < until {
        hear();
    }
}
