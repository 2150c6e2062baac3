//! WireGuard. The only file that names boringtun: its edges are rounded off here.
//!
//! - It starts handshakes from either side as soon as there is something to send. Here a tunnel is only ever asked
//!   to seal while it has a session, the side that does not initiate throws its own initiations away, and the
//!   packets that wait are the data plane's.
//! - Its handshake would complete between engines of different runs, whose timestamps and counters do not fit.
//!   The pre-shared key is mixed with both session numbers, so an established session means that both ends agree.
//! - It panics on short buffers; every one is measured here.
//! - It reads the clock itself, which feature `virtual-time` replaces.

use crate::keys::derive;
use boringtun::noise::handshake::parse_handshake_anon;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Packet, Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use lanrage_proto::WgPublic;
use std::net::IpAddr;
use std::sync::Arc;

/// What WireGuard adds to a packet, bytes.
pub const OVERHEAD: usize = 32;
/// The least that a buffer for anything WireGuard writes may hold: its longest handshake message.
pub const ROOM: usize = 148;

const INITIATION: usize = 148;
const RESPONSE: usize = 92;
/// Handshake messages a second beyond which senders must prove their address by a cookie (each is counted twice).
/// What this costs at most: about 5 % of a core.
const UNDER_LOAD: u64 = 400;

/// Virtual time for boringtun, each thread's own. It has to be turned with the time given to the data plane.
#[cfg(feature = "virtual-time")]
pub mod virtual_time {
    /// Turns this thread's clock on.
    pub fn advance(by: std::time::Duration) {
        mock_instant::MockClock::advance(by);
    }
}

/// A WireGuard message, by its form, with the number of the tunnel it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// Begins a handshake; for whom shows only after a Diffie-Hellman, [`Door::admit`].
    Initiation,
    /// Answers an initiation.
    Response(u32),
    /// Asks for proof of the sender's address.
    Cookie(u32),
    /// Carries a packet.
    Data(u32),
}

/// Reads what kind of message this is; `None` when it is none of WireGuard's.
pub fn read(datagram: &[u8]) -> Option<Message> {
    // Eight bits of an index count a tunnel's sessions.
    match Tunn::parse_incoming_packet(datagram).ok()? {
        Packet::HandshakeInit(_) => Some(Message::Initiation),
        Packet::HandshakeResponse(message) => Some(Message::Response(message.receiver_idx >> 8)),
        Packet::PacketCookieReply(message) => Some(Message::Cookie(message.receiver_idx >> 8)),
        Packet::PacketData(message) => Some(Message::Data(message.receiver_idx >> 8)),
    }
}

/// This member's end of all tunnels: checks initiations before one of them gets them.
pub struct Door {
    secret: StaticSecret,
    public: PublicKey,
    limiter: Arc<RateLimiter>,
}

/// What to do with an initiation.
pub enum Admission {
    /// It is from whoever holds this key; their tunnel may have it.
    Known(WgPublic),
    /// Too much comes in: so many bytes of the reply are to be sent back instead.
    Cookie(usize),
    /// It is broken, or not for this member.
    Refused,
}

impl Door {
    /// The door of the member with this private key.
    pub fn new(secret: &[u8; 32]) -> Self {
        let secret = StaticSecret::from(*secret);
        let public = PublicKey::from(&secret);
        Self {
            limiter: Arc::new(RateLimiter::new(&public, UNDER_LOAD)),
            secret,
            public,
        }
    }

    /// Finds out who sent an initiation; costs one Diffie-Hellman. `reply` holds at least [`ROOM`] bytes.
    pub fn admit(&self, source: IpAddr, initiation: &[u8], reply: &mut [u8]) -> Admission {
        self.limiter.reset_count();
        match self.limiter.verify_packet(Some(source), initiation, reply) {
            Ok(Packet::HandshakeInit(message)) => {
                match parse_handshake_anon(&self.secret, &self.public, &message) {
                    Ok(half) => Admission::Known(WgPublic(half.peer_static_public)),
                    Err(_) => Admission::Refused,
                }
            }
            Err(TunnResult::WriteToNetwork(cookie)) => Admission::Cookie(cookie.len()),
            Ok(_) | Err(_) => Admission::Refused,
        }
    }
}

/// One tunnel.
pub struct Tunnel {
    tunn: Box<Tunn>,
    limiter: Arc<RateLimiter>,
    number: u32,
    initiates: bool,
    /// Whether there is a session to send in. It has to be exact: what boringtun is asked to seal without one, it
    /// keeps.
    alive: bool,
    /// A session ran out, which the next tick has to tell.
    expired: bool,
    /// The newest session that something authentic arrived in: its count among the tunnel's.
    confirmed: Option<u8>,
}

/// What became of a data message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// An IPv4 packet of so many bytes.
    Packet(usize),
    /// An authentic message without a packet.
    Keepalive,
    /// An authentic message with something that is no IPv4 packet.
    Foreign,
    /// The tunnel has no such session.
    NoSession,
    /// Forged, replayed or too old.
    Refused,
}

/// What became of a handshake message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shaken {
    /// So many bytes are to be sent back to where it came from. `authentic` when it proved who sent it.
    Reply {
        /// How many bytes of the buffer.
        length: usize,
        /// Whether the message proved who sent it.
        authentic: bool,
    },
    /// It was taken; there is nothing to send.
    Taken,
    /// Forged, replayed, or an answer to nothing.
    Refused,
}

/// What a tunnel's timers want.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ticked {
    /// So many bytes are to be sent.
    pub send: Option<usize>,
    /// They begin a handshake.
    pub initiation: bool,
    /// The other side should begin one: the session seems dead.
    pub wanted: bool,
    /// The session ran out just now.
    pub expired: bool,
    /// Handshakes were tried in vain for too long; the next has to be asked for.
    pub gave_up: bool,
}

impl Tunnel {
    /// A tunnel without a session yet. `number` (24 bits) is repeated by all that is sent to this end;
    /// `sessions` are the session numbers of the two engines, own first; of the two ends one `initiates`.
    pub fn new(
        door: &Door,
        peer: &WgPublic,
        psk: &[u8; 32],
        sessions: (u64, u64),
        initiates: bool,
        number: u32,
    ) -> Self {
        let (own, other) = (sessions.0.to_le_bytes(), sessions.1.to_le_bytes());
        let (first, second) = if initiates { (own, other) } else { (other, own) };
        let psk = derive("LANrage 2026-11 tunnel pre-shared key", &[psk, &first, &second]);
        let tunn = Tunn::new(
            door.secret.clone(),
            PublicKey::from(peer.0),
            Some(*psk),
            None,
            number,
            Some(Arc::clone(&door.limiter)),
        );
        Self {
            tunn: Box::new(tunn),
            limiter: Arc::clone(&door.limiter),
            expired: false,
            number,
            initiates,
            alive: false,
            confirmed: None,
        }
    }

    /// By which messages for this end find the tunnel.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Whether packets can be sealed now.
    pub fn has_session(&self) -> bool {
        self.alive
    }

    /// Seals a packet; returns the length. `None` without a session, or when `out` is shorter than the packet and
    /// [`OVERHEAD`] or than [`ROOM`].
    pub fn seal(&mut self, packet: &[u8], out: &mut [u8]) -> Option<usize> {
        if !self.alive || out.len() < (packet.len() + OVERHEAD).max(ROOM) {
            return None;
        }
        match self.tunn.encapsulate(packet, out) {
            TunnResult::WriteToNetwork(sealed) if sealed.len() == packet.len() + OVERHEAD => {
                Some(sealed.len())
            }
            _ => None,
        }
    }

    /// Opens a data message into `out`, which must be as long as the message and [`ROOM`]. The flag tells that
    /// with it a new session became good for sending.
    pub fn open(&mut self, source: IpAddr, datagram: &[u8], out: &mut [u8]) -> (Opened, bool) {
        if out.len() < datagram.len().max(ROOM) {
            return (Opened::Refused, false);
        }
        let opened = match self.tunn.decapsulate(Some(source), datagram, out) {
            TunnResult::WriteToTunnelV4(packet, _) => Opened::Packet(packet.len()),
            TunnResult::WriteToTunnelV6(..) => Opened::Foreign,
            TunnResult::Done => Opened::Keepalive,
            TunnResult::Err(boringtun::noise::errors::WireGuardError::NoCurrentSession) => Opened::NoSession,
            TunnResult::Err(_) | TunnResult::WriteToNetwork(_) => Opened::Refused,
        };
        let authentic = matches!(opened, Opened::Packet(_) | Opened::Keepalive | Opened::Foreign);
        // Bytes 4 to 8 are the receiver's index, little-endian; its lowest byte counts the sessions.
        let fresh = authentic && datagram.get(4).is_some_and(|count| self.confirm(*count));
        (opened, fresh)
    }

    /// Takes a handshake message; the reply goes into `out`, of at least [`ROOM`] bytes. The flag tells that with
    /// it a new session became good for sending.
    pub fn shake(&mut self, source: IpAddr, datagram: &[u8], out: &mut [u8]) -> (Shaken, bool) {
        if out.len() < ROOM {
            return (Shaken::Refused, false);
        }
        self.limiter.reset_count();
        let reply = match self.tunn.decapsulate(Some(source), datagram, out) {
            TunnResult::WriteToNetwork(reply) => reply.len(),
            TunnResult::Done => return (Shaken::Taken, false),
            _ => return (Shaken::Refused, false),
        };
        // A response to an initiation, or the keepalive that follows a response; else a cookie.
        let authentic = reply == RESPONSE || reply == OVERHEAD;
        let fresh = reply == OVERHEAD && datagram.get(8).is_some_and(|count| self.confirm(*count));
        if fresh {
            self.drop_queued();
        }
        (
            Shaken::Reply {
                length: reply,
                authentic,
            },
            fresh,
        )
    }

    /// Begins a handshake now, whether one is going on or not. Returns the length; `None` for the side that does
    /// not initiate.
    pub fn initiate(&mut self, out: &mut [u8]) -> Option<usize> {
        if !self.initiates || out.len() < ROOM {
            return None;
        }
        // boringtun counts its patience from when its timers last looked at the clock.
        let initiated = matches!(self.tunn.update_timers(out), TunnResult::WriteToNetwork([1, ..]));
        self.notice_expiry();
        if initiated {
            return Some(INITIATION);
        }
        match self.tunn.format_handshake_initiation(out, true) {
            TunnResult::WriteToNetwork(initiation) => Some(initiation.len()),
            _ => None,
        }
    }

    /// Runs the timers: sessions end, keepalives and initiations become due. To be called about every second.
    pub fn tick(&mut self, out: &mut [u8]) -> Ticked {
        let mut ticked = Ticked::default();
        if out.len() < ROOM {
            return ticked;
        }
        match self.tunn.update_timers(out) {
            TunnResult::WriteToNetwork(message) if message.len() == INITIATION => {
                if self.initiates {
                    ticked.send = Some(INITIATION);
                    ticked.initiation = true;
                } else {
                    ticked.wanted = true;
                }
            }
            TunnResult::WriteToNetwork(keepalive) => ticked.send = Some(keepalive.len()),
            TunnResult::Err(_) => ticked.gave_up = true,
            _ => {}
        }
        self.notice_expiry();
        ticked.expired = std::mem::take(&mut self.expired);
        ticked
    }

    /// To be called whenever boringtun's timers ran: only then do sessions end.
    fn notice_expiry(&mut self) {
        // A session that nothing arrived in yet may stand in the current one's place; it is none to send in.
        let alive = self.confirmed.is_some() && self.tunn.time_since_last_handshake().is_some();
        self.expired |= self.alive && !alive;
        self.alive = alive;
        if !alive {
            self.confirmed = None;
        }
    }

    /// Something authentic arrived in the session of this count. Whether that is news.
    fn confirm(&mut self, count: u8) -> bool {
        self.alive = true;
        // Counts wrap; what lags behind belongs to a session that was replaced. While one lives, there are not
        // enough handshakes to get around.
        let newer = self
            .confirmed
            .is_none_or(|confirmed| (1..128).contains(&count.wrapping_sub(confirmed)));
        if newer {
            self.confirmed = Some(count);
        }
        newer
    }

    /// A keepalive that came due without a session waits in boringtun; the handshake has said as much.
    fn drop_queued(&mut self) {
        let mut scratch = [0; ROOM];
        while let TunnResult::WriteToNetwork(_) = self.tunn.decapsulate(None, &[], &mut scratch) {}
    }
}

#[cfg(test)]
mod tests;
