//! Packets that are passed on under another address or identification: checksums made right again.

use std::net::Ipv4Addr;

const HEADER: usize = 20;
const UDP_HEADER: usize = 8;

/// Makes a whole UDP datagram in an IPv4 packet without options one from `source` to `destination`.
///
/// The UDP checksum is made anew from all bytes, not adjusted: what is seen of a packet before its interface finished
/// it may hold only the sum of the addresses.
pub(crate) fn readdress(packet: &mut [u8], source: Ipv4Addr, destination: Ipv4Addr) {
    if packet.len() < HEADER + UDP_HEADER {
        return;
    }
    packet[12..16].copy_from_slice(&source.octets());
    packet[16..20].copy_from_slice(&destination.octets());
    sum_header(packet);
    packet[26..28].fill(0);
    let length = (packet.len() - HEADER) as u32;
    let pseudo = add(0, &packet[12..20]) + 17 + length;
    let sum = !fold(add(pseudo, &packet[HEADER..]));
    // Zero would say that there is none (RFC 768).
    let sum = if sum == 0 { 0xFFFF } else { sum };
    packet[26..28].copy_from_slice(&sum.to_be_bytes());
}

/// Gives a packet without options this identification.
pub(crate) fn identify(packet: &mut [u8], id: u16) {
    if packet.len() >= HEADER {
        packet[4..6].copy_from_slice(&id.to_be_bytes());
        sum_header(packet);
    }
}

fn sum_header(packet: &mut [u8]) {
    packet[10..12].fill(0);
    let sum = checksum(&packet[..HEADER]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// The Internet checksum (RFC 1071).
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    !fold(add(0, bytes))
}

/// Adds up words of 16 bits; an odd byte is the upper half of one. Packets are short enough that 32 bits hold the sum.
fn add(sum: u32, bytes: &[u8]) -> u32 {
    let (words, odd) = bytes.as_chunks::<2>();
    let words: u32 = words
        .iter()
        .map(|word| u32::from(u16::from_be_bytes(*word)))
        .sum();
    let odd = odd.first().map_or(0, |byte| u32::from(*byte) << 8);
    sum + words + odd
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(content: &[u8]) -> Vec<u8> {
        let length = (28 + content.len()) as u16;
        let mut packet = vec![0x45, 0];
        packet.extend(length.to_be_bytes());
        packet.extend([
            0, 7, 0x40, 0, 64, 17, 0xAB, 0xCD, 192, 168, 1, 5, 192, 168, 1, 255,
        ]);
        packet.extend([0x10, 0, 0x17, 0xE0]);
        packet.extend((length - 20).to_be_bytes());
        packet.extend([0x12, 0x34]);
        packet.extend(content);
        packet
    }

    /// A receiver's check: everything with its checksum adds up to all ones.
    fn is_right(packet: &[u8]) -> bool {
        let length = (packet.len() - 20) as u32;
        let pseudo = add(0, &packet[12..20]) + 17 + length;
        checksum(&packet[..20]) == 0 && fold(add(pseudo, &packet[20..])) == 0xFFFF
    }

    #[test]
    fn a_receiver_finds_both_checksums_right() {
        for content in [&b""[..], b"a", b"ab", b"abc", &[0xFF; 1001], &[0; 33]] {
            let mut packet = packet(content);
            readdress(&mut packet, [10, 66, 0, 1].into(), [10, 66, 255, 255].into());
            assert!(is_right(&packet), "{} bytes", content.len());
            assert_eq!(&packet[12..20], [10, 66, 0, 1, 10, 66, 255, 255]);
            assert_eq!(&packet[28..], content);
            identify(&mut packet, 0xBEEF);
            assert!(is_right(&packet) && packet[4..6] == [0xBE, 0xEF]);
        }
    }

    #[test]
    fn a_sum_of_zero_is_written_as_its_other_form() {
        // The content makes the sum of all else come out as all ones.
        let mut packet = packet(&[0, 0]);
        readdress(&mut packet, [10, 66, 0, 1].into(), [255; 4].into());
        let sum = u16::from_be_bytes([packet[26], packet[27]]);
        packet[28..30].copy_from_slice(&sum.to_be_bytes());
        readdress(&mut packet, [10, 66, 0, 1].into(), [255; 4].into());
        assert_eq!(packet[26..28], [0xFF, 0xFF]);
        assert!(is_right(&packet));
    }

    #[test]
    fn what_is_too_short_is_left_alone() {
        for length in 0..28 {
            let mut short = vec![7; length];
            readdress(&mut short, [1; 4].into(), [2; 4].into());
            assert_eq!(short, vec![7; length]);
        }
    }
}
