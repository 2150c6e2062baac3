//! Where the data plane puts what it wants sent or delivered: one block of memory, filled front to back and used
//! again, so that a packet costs no allocation.

use crate::path::Path;

/// What an arena begins with: a full batch of 64 packets.
const START: usize = 128 * 1024;
/// What it may grow to: an announce of the longest kind to 250 peers is 0.3 MiB.
const MOST: usize = 4 * 1024 * 1024;

struct Arena {
    /// Always wholly initialised; the first `used` bytes are taken.
    bytes: Vec<u8>,
    used: usize,
}

impl Arena {
    fn new() -> Self {
        Self {
            bytes: vec![0; START],
            used: 0,
        }
    }

    fn room(&mut self, length: usize) -> Option<&mut [u8]> {
        let end = self.used.checked_add(length).filter(|end| *end <= MOST)?;
        if end > self.bytes.len() {
            self.bytes.resize(end.next_power_of_two().min(MOST), 0);
        }
        self.bytes.get_mut(self.used..end)
    }

    fn take(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.used;
        self.used = (start + length).min(self.bytes.len());
        start..self.used
    }
}

/// Datagrams to be sent. They lie one behind the other in the order they were put, so that neighbours of equal
/// path and length can go out as one.
pub struct Outbox {
    arena: Arena,
    datagrams: Vec<(Path, std::ops::Range<usize>)>,
}

impl Outbox {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            arena: Arena::new(),
            datagrams: Vec::with_capacity(256),
        }
    }

    /// What is to be sent, where.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Path, &[u8])> {
        self.datagrams
            .iter()
            .map(|(path, range)| (*path, &self.arena.bytes[range.clone()]))
    }

    /// How many datagrams there are.
    pub fn len(&self) -> usize {
        self.datagrams.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// Forgets everything; the memory is kept.
    pub fn clear(&mut self) {
        self.arena.used = 0;
        self.datagrams.clear();
    }

    /// Memory for a datagram of at most `length` bytes; `None` when too much waits already.
    pub(super) fn room(&mut self, length: usize) -> Option<&mut [u8]> {
        self.arena.room(length)
    }

    /// The first `length` bytes of the room are a datagram.
    pub(super) fn put(&mut self, path: Path, length: usize) {
        let range = self.arena.take(length);
        self.datagrams.push((path, range));
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}

/// IPv4 packets to be delivered to the adapter, each checked.
pub struct Inbox {
    arena: Arena,
    packets: Vec<std::ops::Range<usize>>,
}

impl Inbox {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            arena: Arena::new(),
            packets: Vec::with_capacity(256),
        }
    }

    /// The packets.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.packets.iter().map(|range| &self.arena.bytes[range.clone()])
    }

    /// How many packets there are.
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Forgets everything; the memory is kept.
    pub fn clear(&mut self) {
        self.arena.used = 0;
        self.packets.clear();
    }

    /// Memory for a packet of at most `length` bytes; `None` when too much waits already.
    pub(super) fn room(&mut self, length: usize) -> Option<&mut [u8]> {
        self.arena.room(length)
    }

    /// The first `length` bytes of the room are a packet.
    pub(super) fn put(&mut self, length: usize) {
        let range = self.arena.take(length);
        self.packets.push(range);
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}
