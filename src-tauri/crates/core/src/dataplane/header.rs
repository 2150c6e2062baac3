//! The IPv4 header (RFC 791), as far as it decides where a packet may go.

use super::counters::Reason;
use std::net::Ipv4Addr;

/// The shortest header, bytes.
const SHORTEST: usize = 20;
const UDP: u8 = 17;

/// What a packet's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) source: Ipv4Addr,
    pub(crate) destination: Ipv4Addr,
    /// The packet's length by its header, bytes; the header's own share.
    pub(crate) length: usize,
    pub(crate) header: usize,
    /// Identification; it means nothing while `atomic` (RFC 6864).
    pub(crate) id: u16,
    /// Not a fragment, and not to become one.
    pub(crate) atomic: bool,
    /// A part of a larger packet.
    pub(crate) fragment: bool,
    protocol: u8,
}

impl Header {
    /// Reads the header of a packet, which may be followed by padding.
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
        // Flags and fragment offset: bit 14 forbids fragments, bit 13 says that more follow.
        let flags = short(6);
        let fragment = flags & 0x3FFF != 0;
        Ok(Self {
            source: address(12),
            destination: address(16),
            length,
            header,
            id: short(4),
            atomic: flags & 0x4000 != 0 && !fragment,
            fragment,
            protocol: fixed[9],
        })
    }

    /// The UDP destination port, where the packet is a whole UDP datagram.
    pub(crate) fn udp_port(&self, packet: &[u8]) -> Option<u16> {
        if self.protocol != UDP || self.fragment {
            return None;
        }
        let udp = packet.get(self.header..self.length)?.first_chunk::<8>()?;
        Some(u16::from_be_bytes([udp[2], udp[3]]))
    }
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
        assert_eq!(header.udp_port(&packet), Some(0x6D38));
    }

    #[test]
    fn a_header_that_contradicts_itself_is_refused() {
        let with = |at: usize, byte: u8| {
            let mut packet = packet();
            packet[at] = byte;
            Header::read(&packet)
        };
        assert_eq!(with(0, 0x65), Err(Reason::NotIpv4));
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

    #[test]
    fn a_fragment_has_no_port() {
        for flags in [[0x20, 0], [0, 1], [0x20, 1]] {
            let mut packet = packet();
            packet[6..8].copy_from_slice(&flags);
            let header = Header::read(&packet).unwrap();
            assert!(header.fragment && !header.atomic);
            assert_eq!(header.udp_port(&packet), None);
        }
    }
}
