//! Probes: the datagrams by which two members find paths to each other and measure them, and the telling apart of
//! all that arrives on a UDP socket.
//!
//! A probe is index (8 bytes) ‖ counter (8 bytes, little-endian) ‖ ChaCha20-Poly1305 of the message under the
//! pair's key of that direction, with the index as associated data. The receiver chose the index
//! ([`PairKeys::probe_index`]), so it knows the sender before any cryptography, and an onlooker sees no fixed
//! pattern. The counter is a [`Seq`]: it never repeats, across restarts either, and so is the nonce.

use crate::keys::PairKeys;
use crate::lan::Announce;
use crate::lobby::{RECEIPTS, Receipt};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce};
use lanrage_proto::control::Sealed;
use lanrage_proto::ids::Epoch;
use lanrage_proto::lobby::Listens;
use lanrage_proto::{Bytes, MemberId, Seq, limits};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use thiserror::Error;

/// Index and counter.
const HEADER: usize = 16;
/// The authenticator's.
const OVERHEAD: usize = 16;
/// Type, id, session, view, family, address, port: a pong, and what pings are padded to, so that an answer is
/// never longer than its question and nobody can be flooded by way of us.
const PING: usize = 1 + 12 + 8 + 8 + 1 + 16 + 2;
/// Longer ones are refused before decryption; padded probes that measure a path's MTU stay below.
const LONGEST: usize = 1500;

const TYPE_PING: u8 = 1;
const TYPE_PONG: u8 = 2;
const TYPE_WORD: u8 = 3;
const TYPE_RECEIPTS: u8 = 4;

/// A ping's flags.
const WANTS_HANDSHAKE: u8 = 1;
const MOVED: u8 = 2;
const READY: u8 = 4;

/// What a probe says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// "Are you there?"
    Ping {
        /// Drawn afresh for each ping; repeated by its pong.
        id: [u8; 12],
        /// The sender's session number.
        session: u64,
        /// A hash of the signed records the sender holds.
        view: u64,
        /// The sender has something for the tunnel but no session, and the receiver is the one who starts it.
        wants_handshake: bool,
        /// The sender is elsewhere now: what goes to where it was before may reach nobody.
        moved: bool,
        /// The sender has an adapter: games' announces can be delivered to it.
        ready: bool,
    },
    /// "Yes."
    Pong {
        /// The ping's.
        id: [u8; 12],
        /// The sender's session number.
        session: u64,
        /// A hash of the signed records the sender holds.
        view: u64,
        /// Where the ping came from, as the sender of the pong saw it.
        seen: SocketAddr,
    },
    /// A signed leave, dissolve or record, for when the control plane can't carry it.
    Word(Sealed),
    /// Which of the receiver's announces arrived here: all of them, at most [`RECEIPTS`].
    Receipts(Vec<Receipt>),
}

/// Why a datagram is no probe of this peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProbeError {
    /// Too short or too long.
    #[error("its length is no probe's")]
    Length,
    /// It does not open with the pair's key.
    #[error("it is not from this peer")]
    Seal,
    /// It opens, but what it says can't be read.
    #[error("its content can't be read")]
    Form,
}

/// The index of a datagram that may be a probe.
pub fn index_of(datagram: &[u8]) -> Option<[u8; 8]> {
    let long_enough = datagram.len() > HEADER + OVERHEAD && datagram.len() <= LONGEST;
    datagram.first_chunk().copied().filter(|_| long_enough)
}

/// Writes a probe to the peer. `index` is the peer's [`PairKeys::probe_index`]; `counter` must be one that was
/// never used with these keys before. Only a `Word` longer than records may be makes it one that is refused.
pub fn encode(pair: &PairKeys, index: [u8; 8], counter: Seq, message: &Message) -> Vec<u8> {
    let mut plain = Vec::with_capacity(PING);
    match message {
        Message::Ping {
            id,
            session,
            view,
            wants_handshake,
            moved,
            ready,
        } => {
            start(&mut plain, TYPE_PING, id, *session, *view);
            let flag = |set: bool, flag: u8| if set { flag } else { 0 };
            plain.push(flag(*wants_handshake, WANTS_HANDSHAKE) | flag(*moved, MOVED) | flag(*ready, READY));
            plain.resize(PING, 0);
        }
        Message::Pong {
            id,
            session,
            view,
            seen,
        } => {
            start(&mut plain, TYPE_PONG, id, *session, *view);
            match seen.ip() {
                IpAddr::V4(ip) => {
                    plain.push(4);
                    plain.extend(ip.octets());
                    plain.extend([0; 12]);
                }
                IpAddr::V6(ip) => {
                    plain.push(6);
                    plain.extend(ip.octets());
                }
            }
            plain.extend(seen.port().to_le_bytes());
        }
        Message::Word(sealed) => {
            plain.push(TYPE_WORD);
            plain.extend(sealed.author.as_bytes());
            plain.extend(sealed.epoch.0.to_le_bytes());
            plain.extend(sealed.seq.0.to_le_bytes());
            plain.extend(sealed.body.as_slice());
        }
        Message::Receipts(receipts) => {
            plain.push(TYPE_RECEIPTS);
            for Receipt { announce, listens } in receipts.iter().take(RECEIPTS) {
                plain.extend(announce.port.to_le_bytes());
                plain.extend(announce.to_port.to_le_bytes());
                plain.extend(announce.destination.octets());
                plain.push(match listens {
                    Listens::Unknown => 0,
                    Listens::Yes => 1,
                    Listens::No => 2,
                });
            }
        }
    }
    let mut datagram = Vec::with_capacity(HEADER + plain.len() + OVERHEAD);
    datagram.extend(index);
    datagram.extend(counter.0.to_le_bytes());
    // Encryption fails only beyond 256 GiB.
    let sealed = ChaCha20Poly1305::new((&*pair.to_peer.probe).into())
        .encrypt(
            &nonce(counter),
            Payload {
                msg: &plain,
                aad: &index,
            },
        )
        .unwrap_or_default();
    datagram.extend(sealed);
    datagram
}

fn start(plain: &mut Vec<u8>, kind: u8, id: &[u8; 12], session: u64, view: u64) {
    plain.push(kind);
    plain.extend(id);
    plain.extend(session.to_le_bytes());
    plain.extend(view.to_le_bytes());
}

/// Reads a probe from the peer. That its counter is fresh is for a [`ReplayWindow`] to say, afterwards.
pub fn decode(pair: &PairKeys, datagram: &[u8]) -> Result<(Seq, Message), ProbeError> {
    let index = index_of(datagram).ok_or(ProbeError::Length)?;
    let mut rest = Reader(&datagram[index.len()..]);
    let counter = Seq(rest.u64().ok_or(ProbeError::Length)?);
    let plain = ChaCha20Poly1305::new((&*pair.from_peer.probe).into())
        .decrypt(
            &nonce(counter),
            Payload {
                msg: rest.0,
                aad: &index,
            },
        )
        .map_err(|_| ProbeError::Seal)?;
    message(&mut Reader(&plain))
        .map(|message| (counter, message))
        .ok_or(ProbeError::Form)
}

fn message(plain: &mut Reader<'_>) -> Option<Message> {
    // What stands behind a ping is padding.
    match plain.u8()? {
        TYPE_PING if plain.0.len() >= PING - 1 => {
            let (id, session, view) = (plain.take()?, plain.u64()?, plain.u64()?);
            let flags = plain.u8()?;
            Some(Message::Ping {
                id,
                session,
                view,
                wants_handshake: flags & WANTS_HANDSHAKE != 0,
                moved: flags & MOVED != 0,
                ready: flags & READY != 0,
            })
        }
        TYPE_PONG => {
            let (id, session, view) = (plain.take()?, plain.u64()?, plain.u64()?);
            let (family, address) = (plain.u8()?, plain.take::<16>()?);
            let port = u16::from_le_bytes(plain.take()?);
            let ip = match (family, address) {
                (4, [a, b, c, d, ..]) => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
                (6, address) => IpAddr::V6(Ipv6Addr::from(address)),
                _ => return None,
            };
            Some(Message::Pong {
                id,
                session,
                view,
                seen: SocketAddr::new(ip, port),
            })
        }
        TYPE_WORD => {
            let author = MemberId(plain.take()?);
            let epoch = Epoch(u32::from_le_bytes(plain.take()?));
            let seq = Seq(plain.u64()?);
            let fits = plain.0.len() <= limits::SEALED_RECORD;
            fits.then(|| {
                Message::Word(Sealed {
                    author,
                    epoch,
                    seq,
                    body: Bytes(plain.0.to_vec()),
                })
            })
        }
        TYPE_RECEIPTS => {
            let mut receipts = Vec::new();
            while !plain.0.is_empty() {
                if receipts.len() == RECEIPTS {
                    return None;
                }
                receipts.push(receipt(plain)?);
            }
            Some(Message::Receipts(receipts))
        }
        _ => None,
    }
}

fn receipt(plain: &mut Reader<'_>) -> Option<Receipt> {
    let announce = Announce {
        port: u16::from_le_bytes(plain.take()?),
        to_port: u16::from_le_bytes(plain.take()?),
        destination: plain.take::<4>()?.into(),
    };
    let listens = match plain.u8()? {
        0 => Listens::Unknown,
        1 => Listens::Yes,
        2 => Listens::No,
        _ => return None,
    };
    Some(Receipt { announce, listens })
}

fn nonce(counter: Seq) -> Nonce {
    let mut nonce = Nonce::default();
    nonce[4..].copy_from_slice(&counter.0.to_le_bytes());
    nonce
}

/// Takes fields off the front of bytes.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take().map(|[byte]| byte)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

/// Which counters of a peer were seen: each is accepted once, those of an earlier start of its engine or more than
/// 127 behind the highest never.
#[derive(Debug, Clone, Default)]
pub struct ReplayWindow {
    highest: Seq,
    /// Bit n: `highest − n` was seen.
    seen: u128,
}

impl ReplayWindow {
    /// One that saw nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether an authentic probe's counter is fresh; from then on it is not.
    pub fn accept(&mut self, counter: Seq) -> bool {
        if self.seen == 0 || counter.boot() > self.highest.boot() {
            self.highest = counter;
            self.seen = 1;
            return true;
        }
        if counter.boot() < self.highest.boot() {
            return false;
        }
        if counter > self.highest {
            let ahead = counter.0 - self.highest.0;
            self.seen = u32::try_from(ahead)
                .ok()
                .and_then(|n| self.seen.checked_shl(n))
                .unwrap_or(0)
                | 1;
            self.highest = counter;
            return true;
        }
        let bit = u32::try_from(self.highest.0 - counter.0)
            .ok()
            .and_then(|n| 1u128.checked_shl(n));
        match bit {
            Some(bit) if self.seen & bit == 0 => {
                self.seen |= bit;
                true
            }
            _ => false,
        }
    }
}

/// What a datagram is, by its form alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A WireGuard message.
    WireGuard,
    /// A STUN message (RFC 8489).
    Stun,
    /// Something else: a probe, or nothing of ours.
    Other,
}

/// Tells what shares a UDP socket apart. WireGuard's data messages may have any length from 32 on: boringtun does
/// not pad to 16. Nothing fits two kinds: with zeros where WireGuard has them a STUN message would be 20 bytes
/// long, and [`PairKeys::probe_index`] avoids those zeros.
pub fn demux(datagram: &[u8]) -> Kind {
    match datagram {
        [1, 0, 0, 0, ..] if datagram.len() == 148 => Kind::WireGuard,
        [2, 0, 0, 0, ..] if datagram.len() == 92 => Kind::WireGuard,
        [3, 0, 0, 0, ..] if datagram.len() == 64 => Kind::WireGuard,
        [4, 0, 0, 0, ..] if datagram.len() >= 32 => Kind::WireGuard,
        [first, _, high, low, 0x21, 0x12, 0xA4, 0x42, ..]
            if first & 0xC0 == 0 && usize::from(u16::from_be_bytes([*high, *low])) + 20 == datagram.len() =>
        {
            Kind::Stun
        }
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests;
