//! The IPv4 header (RFC 791), as far as it decides where a packet may go.

use super::counters::Reason;
use std::net::Ipv4Addr;

/// The shortest header, bytes; a longer one holds options.
const SHORTEST: usize = 20;
/// The longest packet, bytes.
const LONGEST: usize = 65535;
/// The least that a first fragment holds of what is inside, bytes: no link's MTU makes it cut ports and flags apart
/// (RFC 1858, RFC 791 §3.2).
const FIRST_FRAGMENT: usize = 16;
/// Protocol numbers.
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;

/// What a packet's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) source: Ipv4Addr,
    pub(crate) destination: Ipv4Addr,
    /// The packet's length by its header, bytes.
    pub(crate) length: usize,
    /// Identification; it means nothing while `atomic` (RFC 6864).
    pub(crate) id: u16,
    /// Not a fragment, and not to become one.
    pub(crate) atomic: bool,
    /// A part of a larger packet.
    pub(crate) fragment: bool,
    /// It holds what the packet's content begins with: ports and flags.
    pub(crate) first: bool,
    pub(crate) protocol: u8,
}

impl Header {
    /// Reads the header of a packet, which may be followed by padding.
    ///
    /// Options are refused whole. No game needs one, and a source route (RFC 791 §3.1) would lead a packet on, past
    /// the check of its destination, where the receiver's system obeys it.
    pub(crate) fn read(packet: &[u8]) -> Result<Self, Reason> {
        let Some(fixed) = packet.first_chunk::<SHORTEST>() else {
            return Err(Reason::Malformed);
        };
        if fixed[0] >> 4 != 4 {
            return Err(Reason::NotIpv4);
        }
        let short = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let address = |at: usize| Ipv4Addr::new(fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]);
        let header = usize::from(fixed[0] & 15) * 4;
        let length = usize::from(short(2));
        let is_sane = header >= SHORTEST && header <= length && length <= packet.len() && fixed[8] != 0;
        if !is_sane {
            return Err(Reason::Malformed);
        }
        if header != SHORTEST {
            return Err(Reason::Options);
        }
        // Flags and fragment offset: bit 14 forbids fragments, bit 13 says that more follow.
        let flags = short(6);
        let fragment = flags & 0x3FFF != 0;
        if fragment && !is_sound_fragment(flags, length - header) {
            return Err(Reason::Malformed);
        }
        Ok(Self {
            source: address(12),
            destination: address(16),
            length,
            id: short(4),
            atomic: flags & 0x4000 != 0 && !fragment,
            fragment,
            first: flags & 0x1FFF == 0,
            protocol: fixed[9],
        })
    }

    /// The UDP ports, from and to, where the packet is a whole UDP datagram.
    pub(crate) fn udp_ports(&self, packet: &[u8]) -> Option<(u16, u16)> {
        if self.protocol != UDP || self.fragment {
            return None;
        }
        let [a, b, c, d, ..] = self.content(packet).first_chunk::<8>()?;
        Some((u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])))
    }

    /// The port that a UDP datagram or TCP segment goes to, where this part of it holds it.
    pub(crate) fn destination_port(&self, packet: &[u8]) -> Option<u16> {
        if !self.first || (self.protocol != UDP && self.protocol != TCP) {
            return None;
        }
        let [_, _, c, d] = self.content(packet).first_chunk::<4>()?;
        Some(u16::from_be_bytes([*c, *d]))
    }

    /// Whether this begins a TCP connection: SYN without ACK (RFC 9293 §3.5).
    pub(crate) fn opens_tcp(&self, packet: &[u8]) -> bool {
        let flags = self
            .content(packet)
            .get(13)
            .filter(|_| self.protocol == TCP && self.first);
        flags.is_some_and(|flags| flags & 0x12 == 0x02)
    }

    /// What is inside a whole UDP datagram.
    pub(crate) fn udp_content<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        self.content(packet).get(8..).unwrap_or_default()
    }

    /// What is inside the packet.
    pub(crate) fn content<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        packet.get(SHORTEST..self.length).unwrap_or_default()
    }
}

/// Whether a fragment with so many bytes of content is one that honest systems make: what they cut off is a multiple
/// of 8 bytes, never nothing, ports and flags stay together, and all of them fit one packet (RFC 791 §3.2, RFC 1858).
fn is_sound_fragment(flags: u16, content: usize) -> bool {
    let (more, offset) = (flags & 0x2000 != 0, usize::from(flags & 0x1FFF) * 8);
    let is_cut_well = !more || content.is_multiple_of(8);
    let holds_ports = (offset == 0 || offset >= FIRST_FRAGMENT) && (offset > 0 || content >= FIRST_FRAGMENT);
    content > 0 && is_cut_well && holds_ports && SHORTEST + offset + content <= LONGEST
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet() -> Vec<u8> {
        let mut packet = vec![
            0x45, 0, 0, 30, 0x12, 0x34, 0x40, 0, 64, UDP, 0, 0, 10, 66, 0, 1, 10, 66, 0, 2,
        ];
        packet.extend([0xC0, 0, 0x6D, 0x38, 0, 10, 0, 0, 1, 2]);
        packet
    }

    #[test]
    fn a_sound_header_is_read() {
        let packet = packet();
        let header = Header::read(&packet).unwrap();
        assert_eq!(header.source, Ipv4Addr::new(10, 66, 0, 1));
        assert_eq!(header.destination, Ipv4Addr::new(10, 66, 0, 2));
        assert_eq!(
            (header.length, header.id, header.atomic, header.fragment),
            (30, 0x1234, true, false)
        );
        assert_eq!(header.udp_ports(&packet), Some((0xC000, 0x6D38)));
    }

    #[test]
    fn a_header_that_contradicts_itself_is_refused() {
        let with = |at: usize, byte: u8| {
            let mut packet = packet();
            packet[at] = byte;
            Header::read(&packet)
        };
        assert_eq!(with(0, 0x65), Err(Reason::NotIpv4));
        assert_eq!(with(0, 0x46), Err(Reason::Options));
        assert_eq!(
            with(0, 0x44),
            Err(Reason::Malformed),
            "shorter than a header can be"
        );
        assert_eq!(with(0, 0x4F), Err(Reason::Malformed), "longer than the packet");
        assert_eq!(with(3, 19), Err(Reason::Malformed), "a length below the header's");
        assert_eq!(with(3, 31), Err(Reason::Malformed), "a length beyond the packet");
        assert_eq!(with(8, 0), Err(Reason::Malformed), "no time to live");
        for cut in 0..20 {
            assert_eq!(Header::read(&packet()[..cut]), Err(Reason::Malformed));
        }
    }

    fn fragment(flags: u16, content: usize) -> Result<Header, Reason> {
        let mut packet = packet();
        packet.resize(SHORTEST + content, 7);
        packet[2..4].copy_from_slice(&((SHORTEST + content) as u16).to_be_bytes());
        packet[6..8].copy_from_slice(&flags.to_be_bytes());
        let header = Header::read(&packet)?;
        assert_eq!((header.fragment, header.udp_ports(&packet)), (true, None));
        Ok(header)
    }

    #[test]
    fn a_fragment_has_no_port() {
        for (flags, content) in [(0x2000, 1256), (0x2000 | 157, 1256), (314, 1), (0x4000 | 157, 9)] {
            let header = fragment(flags, content).unwrap();
            assert!(header.fragment && !header.atomic, "{flags:#x}");
        }
    }

    #[test]
    fn fragments_that_nobody_cuts_are_refused() {
        for (flags, content, why) in [
            (0x2000, 1255, "more follow, at no multiple of 8"),
            (0x2000, 0, "nothing inside"),
            (157, 0, "nothing inside"),
            (0x2000, 8, "the flags are in the next one"),
            (0x2001, 1256, "over the ports of the first"),
            (1, 40, "over the ports of the first"),
            (0x1FFF, 1000, "more than a packet holds"),
            (0x1FF0, 200, "more than a packet holds"),
        ] {
            assert_eq!(fragment(flags, content), Err(Reason::Malformed), "{why}");
        }
    }
}
