//! What peers may reach on this computer. Strangers who got hold of a party ID must not find its shared files, its
//! printer or its remote desktop: what hosts serve is closed unless the player shares it, all else is a game's.
//!
//! The filter keeps no state. Of TCP it stops the segment that begins a connection (SYN without ACK), so that answers
//! to connections made from here come in, whatever port they go to; anything else for a connection that was never begun
//! is refused by the system itself. Of UDP it stops what goes to a closed port. An answer to a datagram from here goes
//! to the port that was sent from; systems choose those from 32768 up, where nothing is closed. Who sends from a closed
//! port is a service itself (NetBIOS, NFS).
//!
//! A first fragment holds ports and flags whole (`header.rs`), and a later one is nothing without it.

use super::counters::Reason;
use super::header::{Header, TCP, UDP};
use crate::lan::stays_at_home;
use lanrage_proto::lobby::{Rules, Sharing};

/// Group management is the system's own business.
const IGMP: u8 = 2;

/// Whether a peer's packet to this member's address or to all may come in.
pub(super) fn admit(rules: &Rules, header: &Header, packet: &[u8], to_all: bool) -> Result<(), Reason> {
    let Some(port) = header.destination_port(packet) else {
        return if header.protocol == IGMP && !to_all {
            Err(Reason::Closed)
        } else {
            Ok(())
        };
    };
    let closed = match header.protocol {
        TCP => header.opens_tcp(packet) && needs(port, true) > rules.share,
        UDP => needs(port, false) > rules.share || (!to_all && is_home(rules, port)),
        _ => false,
    };
    if closed { Err(Reason::Closed) } else { Ok(()) }
}

/// What lists computers on a real LAN is as closed when it is asked for directly; shared files bring their names along.
fn is_home(rules: &Rules, port: u16) -> bool {
    let names = matches!(port, 137 | 138) && rules.share >= Sharing::Files;
    stays_at_home(rules, port) && !names
}

/// What has to be shared for this port to be open.
fn needs(port: u16, tcp: bool) -> Sharing {
    match port {
        // Portmapper, RPC and SMB, NFS: over both.
        111 | 135 | 139 | 445 | 2049 => Sharing::Files,
        // NetBIOS over UDP has a switch of its own.
        136..=138 if tcp => Sharing::Files,
        136 => Sharing::Files,
        // Printing: IPP, which over UDP announces printers.
        631 => Sharing::Files,
        // LPD, AFP, WS-Discovery's metadata, raw printing.
        515 | 548 | 5357 | 5358 | 9100 if tcp => Sharing::Files,
        // SSH, Telnet, VNC and Apple's screen sharing, WinRM.
        22 | 23 | 5900..=5903 | 5985 | 5986 | 47001 if tcp => Sharing::Everything,
        // Remote desktop and Apple's, over both.
        3283 | 3389 => Sharing::Everything,
        5900 => Sharing::Everything,
        _ => Sharing::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SYN: u8 = 0x02;
    const ACK: u8 = 0x10;

    fn packet(protocol: u8, port: u16, flags: u8) -> Vec<u8> {
        let mut packet = vec![
            0x45, 0, 0, 40, 0, 1, 0, 0, 64, protocol, 0, 0, 10, 66, 0, 2, 10, 66, 0, 1,
        ];
        packet.extend([0xC0, 0]);
        packet.extend(port.to_be_bytes());
        packet.extend([0; 9]);
        packet.push(flags);
        packet.extend([0; 6]);
        packet
    }

    fn judged(rules: &Rules, packet: &[u8]) -> Result<(), Reason> {
        admit(rules, &Header::read(packet).unwrap(), packet, false)
    }

    fn open(share: Sharing, protocol: u8, port: u16) -> bool {
        let rules = Rules {
            share,
            ..Rules::default()
        };
        judged(&rules, &packet(protocol, port, SYN)).is_ok()
    }

    #[test]
    fn what_hosts_serve_is_closed_until_it_is_shared() {
        for port in [111, 135, 137, 138, 139, 445, 515, 548, 631, 2049, 5357, 9100] {
            assert!(!open(Sharing::Nothing, TCP, port), "{port}");
            assert!(open(Sharing::Files, TCP, port), "{port}");
        }
        for port in [22, 23, 3283, 3389, 5900, 5901, 5985, 5986, 47001] {
            assert!(!open(Sharing::Nothing, TCP, port), "{port}");
            assert!(!open(Sharing::Files, TCP, port), "{port}");
            assert!(open(Sharing::Everything, TCP, port), "{port}");
        }
        for port in [111, 137, 138, 445, 631, 2049] {
            assert!(!open(Sharing::Nothing, UDP, port), "{port}");
            assert!(open(Sharing::Files, UDP, port), "{port}");
        }
        assert!(!open(Sharing::Files, UDP, 3389) && open(Sharing::Everything, UDP, 3389));
    }

    #[test]
    fn games_are_reachable() {
        for port in [
            1, 80, 443, 2302, 3074, 3724, 4555, 6112, 7777, 8080, 25565, 26000, 27015, 27960, 49152, 65535,
        ] {
            assert!(
                open(Sharing::Nothing, TCP, port) && open(Sharing::Nothing, UDP, port),
                "{port}"
            );
        }
    }

    #[test]
    fn answers_to_what_was_begun_here_come_in() {
        let rules = Rules::default();
        for flags in [SYN | ACK, ACK, ACK | 0x08, 0x04, ACK | 0x01] {
            assert_eq!(judged(&rules, &packet(TCP, 445, flags)), Ok(()), "{flags:#x}");
        }
        for flags in [SYN, SYN | 0xC0, SYN | 0x01, SYN | 0x08] {
            assert_eq!(
                judged(&rules, &packet(TCP, 445, flags)),
                Err(Reason::Closed),
                "{flags:#x}"
            );
        }
        // A file server's or a desktop's answer goes to where it was asked from.
        for port in 32768..=u16::MAX {
            assert_eq!(judged(&rules, &packet(UDP, port, 0)), Ok(()));
        }
    }

    #[test]
    fn a_list_of_computers_is_not_to_be_had_directly_either() {
        for (port, rules) in [
            (
                67,
                Rules {
                    dhcp: true,
                    ..Rules::default()
                },
            ),
            (
                1900,
                Rules {
                    ssdp: true,
                    ..Rules::default()
                },
            ),
            (
                3702,
                Rules {
                    ssdp: true,
                    ..Rules::default()
                },
            ),
            (
                5353,
                Rules {
                    mdns: true,
                    ..Rules::default()
                },
            ),
            (
                5355,
                Rules {
                    mdns: true,
                    ..Rules::default()
                },
            ),
            (
                137,
                Rules {
                    netbios: true,
                    ..Rules::default()
                },
            ),
        ] {
            let packet = packet(UDP, port, 0);
            assert_eq!(judged(&Rules::default(), &packet), Err(Reason::Closed), "{port}");
            assert_eq!(judged(&rules, &packet), Ok(()), "{port}");
        }
    }

    #[test]
    fn fragments_are_judged_by_the_first() {
        let mut first = packet(TCP, 22, SYN);
        // More follow; 20 bytes of content are no multiple of 8.
        first.extend([0; 4]);
        (first[3], first[6]) = (44, 0x20);
        assert_eq!(judged(&Rules::default(), &first), Err(Reason::Closed));
        first[6..8].copy_from_slice(&[0x20, 2]);
        assert_eq!(judged(&Rules::default(), &first), Ok(()), "no ports in it");
        assert_eq!(
            judged(&Rules::default(), &packet(IGMP, 0, 0)),
            Err(Reason::Closed)
        );
        assert_eq!(judged(&Rules::default(), &packet(1, 22, SYN)), Ok(()), "a ping");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn packets_of_any_content_are_judged(rest in prop::collection::vec(any::<u8>(), 0..80), tcp: bool, to_all: bool) {
            let mut packet = packet(if tcp { TCP } else { UDP }, 0, 0);
            packet.truncate(20);
            packet.extend(&rest);
            packet[3] = packet.len() as u8;
            if let Ok(header) = Header::read(&packet) {
                let _ = admit(&Rules::default(), &header, &packet, to_all);
            }
        }
    }
}
