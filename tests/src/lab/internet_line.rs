//! A line with delay, jitter and loss: two network adapters and a program that carries frames between them.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tun::{Configuration, Device, Layer};

/// Frames on their way in one direction; more are dropped, as by a full modem.
const QUEUE: usize = 2_000;

/// Room for a frame.
const FRAME: usize = 2_048;

/// How often an idle line looks whether it is still wanted.
const IDLE: Duration = Duration::from_millis(100);

/// The type of an Ethernet frame that asks who has an address. Lines outside a lab don't lose these: the kernel asks
/// again after a second, in which everything waits.
const ARP: [u8; 2] = [0x08, 0x06];

/// What a line does to each packet, the same in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Line {
    /// Added to each packet's way, once per direction.
    pub delay: Duration,
    /// Up to this much more, evenly spread; packets stay in order.
    pub jitter: Duration,
    /// The share of packets lost, 0 to 1.
    pub loss: f64,
}

impl Line {
    /// Whether packets pass as they are.
    #[must_use]
    pub fn is_plain(self) -> bool {
        self == Self::default()
    }
}

/// The program between the two ends of a line. It ends when dropped, and its adapters with it.
#[derive(Debug)]
pub(super) struct Carrier {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// An Ethernet adapter in the namespace the calling thread stands in. It exists as long as it is held.
pub(super) fn adapter(name: &str) -> Result<Arc<Device>> {
    let mut configuration = Configuration::default();
    configuration.tun_name(name).layer(Layer::L2);
    let device = tun::create(&configuration).with_context(|| format!("no adapter {name}"))?;
    Ok(Arc::new(device))
}

impl Carrier {
    /// Carries frames between two adapters from now on.
    pub(super) fn start(ends: [Arc<Device>; 2], line: Line) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let [near, far] = ends;
        let mut threads = Vec::new();
        for (from, to) in [(Arc::clone(&near), Arc::clone(&far)), (far, near)] {
            let (sender, receiver) = sync_channel(QUEUE);
            let stopped = Arc::clone(&stop);
            threads.push(thread::spawn(move || {
                pick_up(&from, &sender, line, &stopped);
            }));
            threads.push(thread::spawn(move || deliver(&to, &receiver)));
        }
        Self { stop, threads }
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// A frame and when it arrives.
type Due = (Instant, Vec<u8>);

fn pick_up(from: &Device, queue: &SyncSender<Due>, line: Line, stop: &AtomicBool) {
    let mut dice = Dice::new();
    let mut buffer = [0; FRAME];
    let mut last = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let length = match from.recv_timeout(&mut buffer, IDLE) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::TimedOut => continue,
            // An adapter that is down has nothing to read, and comes back.
            Err(_) => {
                thread::sleep(IDLE);
                continue;
            }
        };
        let is_arp = buffer.get(12..14) == Some(&ARP[..]);
        if !is_arp && dice.throw() < line.loss {
            continue;
        }
        let due = Instant::now() + line.delay + line.jitter.mul_f64(dice.throw());
        last = last.max(due);
        match queue.try_send((last, buffer[..length].to_vec())) {
            Ok(()) | Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Disconnected(_)) => return,
        }
    }
}

fn deliver(to: &Device, queue: &Receiver<Due>) {
    while let Ok((due, frame)) = queue.recv() {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // An adapter that is down takes nothing: the frame is lost, as on a cut line.
        let _ = to.send(&frame);
    }
}

/// Chance: a splitmix64 (Steele, Lea, Flood 2014).
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        Self(RandomState::new().build_hasher().finish())
    }

    /// From 0 to less than 1.
    fn throw(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        // The upper 32 bits are enough for a share.
        f64::from(u32::try_from(mixed >> 32).unwrap_or(u32::MAX)) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_throw_in_a_hundred_is_a_hundredth() {
        let mut dice = Dice(7);
        let lost = (0..100_000).filter(|_| dice.throw() < 0.01).count();
        assert!((850..1150).contains(&lost), "{lost}");
    }
}
