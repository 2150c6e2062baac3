//! Announces: the broadcast and multicast packets by which games find each other. Each goes to every peer once, and
//! only such as games need goes at all.
//!
//! Only whole UDP datagrams are carried. A fragment shows no port, so it can't be told from what must stay at
//! home; no game is known whose announce does not fit one packet. What we inject can't come back: an announce
//! leaves only with an address of this computer's own as its source, and where one comes by two ways, only one of
//! them counts.
//!
//! | module | is |
//! |---|---|
//! | `announce` | what an announce is known by, who got it, where it was seen |
//! | `memory` | what was announced here lately, for those who come later |
//! | `heard` | what came from peers lately |
//! | `igmp` | the groups that programs here joined |
//! | `ways` | the same announce, seen in two places |
//! | `rewrite` | packets under another address |

pub(crate) mod announce;
pub(crate) mod heard;
pub(crate) mod igmp;
pub(crate) mod memory;
pub(crate) mod rewrite;
pub(crate) mod ways;

pub use announce::{Announce, Interface, SlotSet, Via};

use crate::dataplane::Reason;
use crate::dataplane::header::Header;
use crate::pace::{Pace, Used};
use lanrage_proto::lobby::Rules;
use lanrage_proto::{PartyRange, Slot};
use std::hash::Hasher;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Announces of one member: games that shout most send some tens a second.
const ONE: Pace = Pace::new(100, 200);
/// Their bytes: times 63 peers this is 4 MB/s of a full party's sender.
const ONE_BYTES: Pace = Pace::new(64 * 1024, 128 * 1024);
/// Announces of all members together.
const ALL: Pace = Pace::new(400, 800);
const ALL_BYTES: Pace = Pace::new(256 * 1024, 512 * 1024);

/// How long an announce is remembered.
const MEMORY: Duration = Duration::from_secs(2);
/// How long one without an identification is: the same bytes again may then be a new announce, as of games that
/// repeat themselves, and only its copies by other ways come this close.
const SHORT_MEMORY: Duration = Duration::from_millis(100);
/// Announces remembered; a newer one may take an older one's place.
const REMEMBERED: usize = 2048;

#[derive(Debug, Clone, Copy, Default)]
struct Caps {
    packets: Used,
    bytes: Used,
}

impl Caps {
    fn take(&mut self, now: Instant, length: usize, packets: Pace, bytes: Pace) -> bool {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        packets.take(&mut self.packets, now, 1) && bytes.take(&mut self.bytes, now, length)
    }
}

/// Whether the address is one that announces go to.
pub(crate) fn is_announce(range: PartyRange, destination: Ipv4Addr) -> bool {
    destination.is_broadcast() || destination == range.broadcast() || destination.is_multicast()
}

/// Whether what goes to this UDP port stays at home by these rules: it configures or lists the computers of a real
/// LAN, and strangers who play together have no business there.
pub(crate) fn stays_at_home(rules: &Rules, to_port: u16) -> bool {
    match to_port {
        67 | 68 => !rules.dhcp,
        137 | 138 => !rules.netbios,
        // SSDP, WS-Discovery.
        1900 | 3702 => !rules.ssdp,
        // Multicast DNS, LLMNR.
        5353 | 5355 => !rules.mdns,
        _ => false,
    }
}

/// Decides which announces leave and enter.
pub(crate) struct Gate {
    pub(crate) rules: Rules,
    own: Caps,
    all: Caps,
    each: Vec<Caps>,
    seen: Vec<Option<(u64, Instant)>>,
    #[cfg(feature = "virtual-time")]
    uncapped: bool,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self {
            rules: Rules::default(),
            own: Caps::default(),
            all: Caps::default(),
            each: vec![Caps::default(); usize::from(Slot::MAX.get()) + 1],
            seen: vec![None; REMEMBERED],
            #[cfg(feature = "virtual-time")]
            uncapped: false,
        }
    }

    #[cfg(feature = "virtual-time")]
    pub(crate) fn lift_caps(&mut self) {
        self.uncapped = true;
    }

    /// Whether this member's announce is of a kind that may go out to the others.
    pub(crate) fn carries(&self, header: &Header, packet: &[u8]) -> Result<Announce, Reason> {
        if header.fragment {
            return Err(Reason::Fragment);
        }
        if header.destination.is_multicast() && !self.rules.multicast {
            return Err(Reason::NotCarried);
        }
        match Announce::of(header, packet) {
            Some(announce) if !stays_at_home(&self.rules, announce.to_port) => Ok(announce),
            _ => Err(Reason::NotCarried),
        }
    }

    /// Whether another announce of this member may go out.
    pub(crate) fn leave(&mut self, now: Instant, length: usize) -> Result<(), Reason> {
        #[cfg(feature = "virtual-time")]
        if self.uncapped {
            return Ok(());
        }
        if self.own.take(now, length, ONE, ONE_BYTES) {
            Ok(())
        } else {
            Err(Reason::Throttled)
        }
    }

    /// Whether a peer's announce may come in. The caps hold here too, as a peer may run a program without any.
    pub(crate) fn enter(
        &mut self,
        now: Instant,
        from: Slot,
        header: &Header,
        packet: &[u8],
    ) -> Result<Announce, Reason> {
        let announce = self.carries(header, packet)?;
        let each = &mut self.each[usize::from(from.get())];
        let fits = each.take(now, header.length, ONE, ONE_BYTES)
            && self.all.take(now, header.length, ALL, ALL_BYTES);
        if !fits {
            return Err(Reason::Throttled);
        }
        if self.is_new(now, from, header, packet) {
            Ok(announce)
        } else {
            Err(Reason::Duplicate)
        }
    }

    fn is_new(&mut self, now: Instant, from: Slot, header: &Header, packet: &[u8]) -> bool {
        let mut hasher = std::hash::DefaultHasher::new();
        hasher.write_u8(from.get());
        hasher.write_u16(header.id);
        hasher.write(&header.destination.octets());
        // What stands between may change on the way: time to live, checksum.
        hasher.write(header.content(packet));
        let hash = hasher.finish();
        let memory = if header.atomic && header.id == 0 {
            SHORT_MEMORY
        } else {
            MEMORY
        };
        let place = &mut self.seen[hash as usize % REMEMBERED];
        let known =
            place.is_some_and(|(seen, at)| seen == hash && now.saturating_duration_since(at) < memory);
        if !known {
            *place = Some((hash, now));
        }
        !known
    }
}

#[cfg(test)]
mod tests;
