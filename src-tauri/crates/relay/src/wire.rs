//! Bytes of STUN messages (RFC 8489 §5) and ChannelData (RFC 8656 §12.4), read in place and written by hand.

use crate::credentials::{self, Key};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A STUN header.
pub const HEADER: usize = 20;
/// A ChannelData header.
pub const CHANNEL_HEADER: usize = 4;
/// The magic cookie.
pub const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// The longest that a Data indication is than its payload.
pub const DATA_OVERHEAD: usize = HEADER + 24 + 4 + 3;

/// Message types: method and class in one (RFC 8489 §5, RFC 8656 §17).
pub mod kind {
    /// Binding request.
    pub const BINDING: u16 = 0x0001;
    /// Allocate request.
    pub const ALLOCATE: u16 = 0x0003;
    /// Refresh request.
    pub const REFRESH: u16 = 0x0004;
    /// Send indication.
    pub const SEND: u16 = 0x0016;
    /// Data indication.
    pub const DATA: u16 = 0x0017;
    /// CreatePermission request.
    pub const CREATE_PERMISSION: u16 = 0x0008;
    /// ChannelBind request.
    pub const CHANNEL_BIND: u16 = 0x0009;
}

/// Attribute types (RFC 8489 §18.3, RFC 8656 §18, RFC 5780 §9).
pub mod attribute {
    /// CHANGE-REQUEST.
    pub const CHANGE_REQUEST: u16 = 0x0003;
    /// USERNAME.
    pub const USERNAME: u16 = 0x0006;
    /// MESSAGE-INTEGRITY.
    pub const MESSAGE_INTEGRITY: u16 = 0x0008;
    /// CHANNEL-NUMBER.
    pub const CHANNEL_NUMBER: u16 = 0x000c;
    /// LIFETIME.
    pub const LIFETIME: u16 = 0x000d;
    /// XOR-PEER-ADDRESS.
    pub const XOR_PEER_ADDRESS: u16 = 0x0012;
    /// DATA.
    pub const DATA: u16 = 0x0013;
    /// REALM.
    pub const REALM: u16 = 0x0014;
    /// NONCE.
    pub const NONCE: u16 = 0x0015;
    /// REQUESTED-ADDRESS-FAMILY.
    pub const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
    /// EVEN-PORT.
    pub const EVEN_PORT: u16 = 0x0018;
    /// REQUESTED-TRANSPORT.
    pub const REQUESTED_TRANSPORT: u16 = 0x0019;
    /// RESERVATION-TOKEN.
    pub const RESERVATION_TOKEN: u16 = 0x0022;
    /// PADDING.
    pub const PADDING: u16 = 0x0026;
    /// RESPONSE-PORT.
    pub const RESPONSE_PORT: u16 = 0x0027;
    /// FINGERPRINT.
    pub const FINGERPRINT: u16 = 0x8028;
}

/// What a first byte announces (RFC 8656 §12.4, Table 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A STUN message.
    Message,
    /// ChannelData.
    Channel,
    /// Neither.
    Other,
}

impl Form {
    /// By a first byte.
    pub fn of(first: u8) -> Self {
        match first {
            0x00..=0x3f => Self::Message,
            0x40..=0x7f => Self::Channel,
            _ => Self::Other,
        }
    }
}

/// A well-formed STUN message, by reference.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    bytes: &'a [u8],
    /// Where the attributes end that count: at MESSAGE-INTEGRITY, at FINGERPRINT, or at the end.
    counted: usize,
    integrity: Option<usize>,
    fingerprint: Option<usize>,
}

impl<'a> Message<'a> {
    /// Reads a datagram or a stream's frame that has to be exactly one message.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let header = bytes.first_chunk::<HEADER>()?;
        let well = Form::of(header[0]) == Form::Message
            && header[4..8] == COOKIE
            && bytes.len().is_multiple_of(4)
            && usize::from(u16::from_be_bytes([header[2], header[3]])) == bytes.len() - HEADER;
        if !well {
            return None;
        }
        let mut message = Self {
            bytes,
            counted: bytes.len(),
            integrity: None,
            fingerprint: None,
        };
        let mut at = HEADER;
        while at < bytes.len() {
            let (kind, value, next) = attribute_at(bytes, at)?;
            // After the integrity only the fingerprint counts, and it is the last (RFC 8489 §14.5, §14.7).
            match kind {
                attribute::MESSAGE_INTEGRITY if message.integrity.is_none() => {
                    (value.len() == 20).then_some(())?;
                    message.integrity = Some(at);
                    message.counted = at;
                }
                attribute::FINGERPRINT => {
                    (value.len() == 4 && next == bytes.len()).then_some(())?;
                    message.fingerprint = Some(at);
                    message.counted = message.counted.min(at);
                }
                _ => {}
            }
            at = next;
        }
        Some(message)
    }

    /// All of it.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Its type: method and class, one of [`kind`].
    pub fn kind(&self) -> u16 {
        u16::from_be_bytes([self.bytes[0], self.bytes[1]])
    }

    /// Its transaction ID.
    pub fn transaction(&self) -> [u8; 12] {
        let mut transaction = [0; 12];
        transaction.copy_from_slice(&self.bytes[8..HEADER]);
        transaction
    }

    /// The attributes that count, in order: those after the integrity do not (RFC 8489 §14.5).
    pub fn attributes(&self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let (bytes, counted) = (self.bytes, self.counted);
        let mut at = HEADER;
        std::iter::from_fn(move || {
            if at >= counted {
                return None;
            }
            let (kind, value, next) = attribute_at(bytes, at)?;
            at = next;
            Some((kind, value))
        })
    }

    /// The first attribute of a type.
    pub fn attribute(&self, wanted: u16) -> Option<&'a [u8]> {
        self.attributes()
            .find_map(|(kind, value)| (kind == wanted).then_some(value))
    }

    /// The address in the first XOR-PEER-ADDRESS.
    pub fn peer(&self) -> Option<SocketAddr> {
        xored(self.attribute(attribute::XOR_PEER_ADDRESS)?, &self.transaction())
    }

    /// The attributes that one has to understand (RFC 8489 §14) and that are neither in `known` nor part of the
    /// long-term credentials.
    pub fn unknown(&self, known: &[u16]) -> Vec<u16> {
        const CREDENTIALS: [u16; 6] = [
            attribute::USERNAME,
            attribute::REALM,
            attribute::NONCE,
            // MESSAGE-INTEGRITY-SHA256, PASSWORD-ALGORITHM, USERHASH: clients may send them beside what we want.
            0x001c,
            0x001d,
            0x001e,
        ];
        let mut unknown: Vec<u16> = self
            .attributes()
            .map(|(kind, _)| kind)
            .filter(|kind| *kind < 0x8000 && !known.contains(kind) && !CREDENTIALS.contains(kind))
            .collect();
        unknown.sort_unstable();
        unknown.dedup();
        unknown
    }

    /// Whether it has a MESSAGE-INTEGRITY.
    pub fn has_integrity(&self) -> bool {
        self.integrity.is_some()
    }

    /// Whether it has a FINGERPRINT.
    pub fn has_fingerprint(&self) -> bool {
        self.fingerprint.is_some()
    }

    /// Whether its MESSAGE-INTEGRITY was made with this key (RFC 8489 §14.5). Takes the same time for any value.
    pub fn was_signed_with(&self, key: &Key) -> bool {
        let Some(at) = self.integrity else {
            return false;
        };
        // The length counts the integrity itself, and nothing behind it. Both fit: `bytes` has a 16-bit length.
        let length = ((at - HEADER + 24) as u16).to_be_bytes();
        let signed = [&self.bytes[..2], &length, &self.bytes[4..at]];
        credentials::verify(key, &signed, &self.bytes[at + 4..at + 24])
    }
}

/// The attribute that begins at `at`: type, value, and where the next begins.
fn attribute_at(bytes: &[u8], at: usize) -> Option<(u16, &[u8], usize)> {
    let rest = bytes.get(at..)?;
    let head = rest.first_chunk::<4>()?;
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let value = rest.get(4..4 + length)?;
    let next = at + 4 + length.next_multiple_of(4);
    (next <= bytes.len()).then_some((u16::from_be_bytes([head[0], head[1]]), value, next))
}

/// An address as XOR-MAPPED-ADDRESS writes it (RFC 8489 §14.2).
fn xored(value: &[u8], transaction: &[u8; 12]) -> Option<SocketAddr> {
    let [_, family, rest @ ..] = value else {
        return None;
    };
    let (port, ip) = rest.split_first_chunk::<2>()?;
    let port = u16::from_be_bytes(*port) ^ 0x2112;
    let ip = match family {
        1 => {
            let mut octets: [u8; 4] = ip.try_into().ok()?;
            xor(&mut octets, transaction);
            IpAddr::V4(Ipv4Addr::from(octets))
        }
        2 => {
            let mut octets: [u8; 16] = ip.try_into().ok()?;
            xor(&mut octets, transaction);
            IpAddr::V6(Ipv6Addr::from(octets))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}

fn xor(octets: &mut [u8], transaction: &[u8; 12]) {
    let mask = COOKIE.iter().chain(transaction);
    for (octet, mask) in octets.iter_mut().zip(mask) {
        *octet ^= mask;
    }
}

/// Appends ChannelData. On a stream it is padded (RFC 8656 §12.5). `payload` is at most 65,535 bytes long; what is
/// longer can't have come by UDP.
pub fn put_channel_data(out: &mut Vec<u8>, channel: u16, payload: &[u8], padded: bool) {
    out.extend_from_slice(&channel.to_be_bytes());
    out.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    out.extend_from_slice(payload);
    if padded {
        pad(out, payload.len());
    }
}

/// Appends a Data indication (RFC 8656 §11.4).
pub fn put_data_indication(out: &mut Vec<u8>, transaction: [u8; 12], peer: SocketAddr, payload: &[u8]) {
    let address: u16 = if peer.is_ipv4() { 8 } else { 20 };
    let length = 4 + usize::from(address) + 4 + payload.len().next_multiple_of(4);
    out.extend_from_slice(&kind::DATA.to_be_bytes());
    out.extend_from_slice(&(length as u16).to_be_bytes());
    out.extend_from_slice(&COOKIE);
    out.extend_from_slice(&transaction);
    out.extend_from_slice(&attribute::XOR_PEER_ADDRESS.to_be_bytes());
    out.extend_from_slice(&address.to_be_bytes());
    out.extend_from_slice(&[0, if peer.is_ipv4() { 1 } else { 2 }]);
    out.extend_from_slice(&(peer.port() ^ 0x2112).to_be_bytes());
    match peer.ip() {
        IpAddr::V4(ip) => {
            let mut octets = ip.octets();
            xor(&mut octets, &transaction);
            out.extend_from_slice(&octets);
        }
        IpAddr::V6(ip) => {
            let mut octets = ip.octets();
            xor(&mut octets, &transaction);
            out.extend_from_slice(&octets);
        }
    }
    out.extend_from_slice(&attribute::DATA.to_be_bytes());
    out.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    out.extend_from_slice(payload);
    pad(out, payload.len());
}

fn pad(out: &mut Vec<u8>, length: usize) {
    let padding = length.next_multiple_of(4) - length;
    out.extend_from_slice(&[0; 3][..padding]);
}

/// A ChannelData's channel and payload; padding and whatever else follows is cut off.
pub fn channel_data(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<CHANNEL_HEADER>()?;
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    Some((u16::from_be_bytes([head[0], head[1]]), rest.get(..length)?))
}

/// A whole number of seconds, for LIFETIME.
pub(crate) fn seconds(duration: std::time::Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
