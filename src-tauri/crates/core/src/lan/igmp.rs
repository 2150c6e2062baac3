//! Which multicast groups programs here joined: the system says so on the adapter by IGMP (RFC 1112, 2236, 3376).
//!
//! What this member's system reports stays here and decides here. A peer sends what its programs announce to all, at a
//! capped rate, and the receiver lets in what its programs joined: that needs no word between members that could be
//! late or lost, and a game that joins its group is heard at once. Groups of the local network control block
//! (224.0.0.0/24) always pass, as systems need not report them (RFC 3376 §6), and so does everything while the system
//! reported nothing at all: some don't on an adapter like ours.
//!
//! A report may be lost on its way through a full adapter. So a packet for a group that nobody joined makes us ask, as
//! a router would, and the system repeats all its reports.

use super::rewrite::checksum;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

const IGMP: u8 = 2;
const QUERY: u8 = 0x11;
const REPORT_V1: u8 = 0x12;
const REPORT_V2: u8 = 0x16;
const LEAVE_V2: u8 = 0x17;
const REPORT_V3: u8 = 0x22;
/// Group record types of RFC 3376 §4.2.12.
const IS_INCLUDE: u8 = 1;
const IS_EXCLUDE: u8 = 2;
const TO_INCLUDE: u8 = 3;
const TO_EXCLUDE: u8 = 4;
const ALLOW: u8 = 5;

/// Groups that are kept apart: no computer is in as many (Linux allows 20 a socket).
const GROUPS: usize = 512;
/// It is asked no more often than this; the answer comes within a second.
const ASK: Duration = Duration::from_secs(5);
/// A general query for IGMPv3 in a packet with the Router Alert option.
pub(crate) const QUERY_LENGTH: usize = 36;

/// What is known of the groups that programs here joined.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// The system reports groups at all.
    reports: bool,
    joined: BTreeSet<Ipv4Addr>,
    asked: Option<Instant>,
}

impl Groups {
    /// Whether a packet to the group is worth delivering.
    pub(crate) fn wants(&self, group: Ipv4Addr) -> bool {
        let [a, b, c, _] = group.octets();
        !self.reports || (a, b, c) == (224, 0, 0) || self.joined.contains(&group)
    }

    /// Takes in what the system sent on the adapter; whether anything changed.
    pub(crate) fn heed(&mut self, packet: &[u8]) -> bool {
        let mut changed = false;
        read(packet, |group, member| {
            self.reports = true;
            if member && self.joined.len() < GROUPS {
                changed |= self.joined.insert(group);
            } else if !member {
                changed |= self.joined.remove(&group);
            }
        });
        changed
    }

    /// A question to the system which groups there are, when it is time for one.
    pub(crate) fn ask(&mut self, now: Instant) -> Option<[u8; QUERY_LENGTH]> {
        let recent = |asked: Instant| now.saturating_duration_since(asked) < ASK;
        if self.asked.is_some_and(recent) {
            return None;
        }
        self.asked = Some(now);
        Some(query())
    }
}

/// Whether a packet is IGMP, by its header alone: it stays on this computer.
pub(crate) fn is_igmp(packet: &[u8]) -> bool {
    matches!(packet, [version, _, _, _, _, _, _, _, _, IGMP, ..] if version >> 4 == 4)
}

/// Tells of each group in a report whether the system is in it. What is damaged tells of none.
fn read(packet: &[u8], mut tell: impl FnMut(Ipv4Addr, bool)) {
    if !is_igmp(packet) || packet.len() < 20 {
        return;
    }
    let header = usize::from(packet[0] & 15) * 4;
    let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    let fragment = u16::from_be_bytes([packet[6], packet[7]]) & 0x3FFF != 0;
    let Some(message) = packet.get(header..length).filter(|_| header >= 20 && !fragment) else {
        return;
    };
    if message.len() < 8 || checksum(message) != 0 {
        return;
    }
    let mut tell = |group: &[u8], member| {
        if let Some([a, b, c, d]) = group.first_chunk() {
            let group = Ipv4Addr::new(*a, *b, *c, *d);
            if group.is_multicast() {
                tell(group, member);
            }
        }
    };
    match message[0] {
        REPORT_V1 | REPORT_V2 => tell(&message[4..], true),
        LEAVE_V2 => tell(&message[4..], false),
        REPORT_V3 => {
            let count = u16::from_be_bytes([message[6], message[7]]);
            let mut rest = &message[8..];
            for _ in 0..count {
                let Some((record, after)) = rest.split_first_chunk::<8>() else {
                    return;
                };
                let sources = usize::from(u16::from_be_bytes([record[2], record[3]]));
                let Some(after) = after.get(sources * 4 + usize::from(record[1]) * 4..) else {
                    return;
                };
                match record[0] {
                    IS_EXCLUDE | TO_EXCLUDE => tell(&record[4..], true),
                    // Nothing more of nobody says nothing.
                    ALLOW if sources == 0 => {}
                    // From these sources only: any of them may be a peer. From nobody is what leaving looks like.
                    IS_INCLUDE | TO_INCLUDE | ALLOW => tell(&record[4..], sources > 0),
                    _ => {}
                }
                rest = after;
            }
        }
        _ => {}
    }
}

/// A general query (RFC 3376 §4.1) from nobody, answered within a second.
fn query() -> [u8; QUERY_LENGTH] {
    let mut packet = [0; QUERY_LENGTH];
    packet[..10].copy_from_slice(&[0x46, 0xC0, 0, QUERY_LENGTH as u8, 0, 0, 0, 0, 1, IGMP]);
    packet[16..20].copy_from_slice(&[224, 0, 0, 1]);
    packet[20..24].copy_from_slice(&[0x94, 4, 0, 0]);
    let sum = checksum(&packet[..24]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    // Robustness 2, asked every 125 s: the values that systems assume anyway.
    packet[24..].copy_from_slice(&[QUERY, 10, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0]);
    let sum = checksum(&packet[24..]);
    packet[26..28].copy_from_slice(&sum.to_be_bytes());
    packet
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GAME: Ipv4Addr = Ipv4Addr::new(225, 1, 1, 1);
    const OTHER: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);

    /// A message as Linux sends it: with Router Alert, to where reports go.
    fn packet(message: &[u8]) -> Vec<u8> {
        let mut message = message.to_vec();
        message[2..4].fill(0);
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut packet = vec![
            0x46,
            0xC0,
            0,
            (24 + message.len()) as u8,
            0,
            0,
            0x40,
            0,
            1,
            IGMP,
            0,
            0,
        ];
        packet.extend([10, 66, 0, 1, 224, 0, 0, 22, 0x94, 4, 0, 0]);
        packet.extend(message);
        packet
    }

    fn short(kind: u8, group: Ipv4Addr) -> Vec<u8> {
        packet(&[&[kind, 0, 0, 0][..], &group.octets()].concat())
    }

    /// A report of version 3: type, group and sources of each record.
    fn report(records: &[(u8, Ipv4Addr, u16)]) -> Vec<u8> {
        let mut message = vec![REPORT_V3, 0, 0, 0, 0, 0, 0, records.len() as u8];
        for (kind, group, sources) in records {
            message.extend([*kind, 0]);
            message.extend(sources.to_be_bytes());
            message.extend(group.octets());
            message.extend(vec![9; usize::from(*sources) * 4]);
        }
        packet(&message)
    }

    #[test]
    fn joining_and_leaving_is_told_in_every_version() {
        for (join, leave) in [
            (short(REPORT_V1, GAME), short(LEAVE_V2, GAME)),
            (short(REPORT_V2, GAME), short(LEAVE_V2, GAME)),
            (report(&[(IS_EXCLUDE, GAME, 0)]), report(&[(IS_INCLUDE, GAME, 0)])),
            (report(&[(TO_EXCLUDE, GAME, 0)]), report(&[(TO_INCLUDE, GAME, 0)])),
            (report(&[(TO_EXCLUDE, GAME, 2)]), report(&[(TO_INCLUDE, GAME, 0)])),
            (report(&[(ALLOW, GAME, 1)]), report(&[(TO_INCLUDE, GAME, 0)])),
            (report(&[(TO_INCLUDE, GAME, 1)]), report(&[(TO_INCLUDE, GAME, 0)])),
            (
                report(&[(TO_INCLUDE, OTHER, 3), (TO_EXCLUDE, GAME, 0)]),
                report(&[(IS_EXCLUDE, OTHER, 0), (TO_INCLUDE, GAME, 0)]),
            ),
        ] {
            let mut groups = Groups::default();
            assert!(groups.heed(&short(REPORT_V2, Ipv4Addr::new(239, 9, 9, 9))));
            assert!(!groups.wants(GAME));
            assert!(groups.heed(&join), "{join:02x?}");
            assert!(groups.wants(GAME));
            assert!(!groups.heed(&join), "said again");
            groups.heed(&report(&[(6, GAME, 1)]));
            assert!(groups.wants(GAME), "blocking a source is not leaving");
            assert!(groups.heed(&leave));
            assert!(!groups.wants(GAME));
        }
    }

    #[test]
    fn a_system_that_reports_nothing_gets_everything() {
        let mut groups = Groups::default();
        assert!(groups.wants(GAME));
        groups.heed(&short(REPORT_V2, OTHER));
        assert!(!groups.wants(GAME) && groups.wants(OTHER));
        assert!(
            groups.wants(Ipv4Addr::new(224, 0, 0, 107)),
            "need not be reported"
        );
        assert!(!groups.wants(Ipv4Addr::new(224, 0, 1, 107)));
    }

    #[test]
    fn what_is_damaged_changes_nothing() {
        let good = report(&[(TO_EXCLUDE, GAME, 0)]);
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let mut fragment = good.clone();
        fragment[7] = 1;
        let mut too_many = vec![REPORT_V3, 0, 0, 0, 0, 0, 0xFF, 0xFF];
        too_many.extend([TO_EXCLUDE, 0, 0xFF, 0xFF, 225, 1, 1, 1]);
        for bad in [
            flipped,
            fragment,
            packet(&too_many),
            short(REPORT_V2, Ipv4Addr::LOCALHOST),
        ] {
            let mut groups = Groups::default();
            assert!(!groups.heed(&bad), "{bad:02x?}");
            assert!(!groups.reports);
        }
        for cut in 0..good.len() {
            assert!(!Groups::default().heed(&good[..cut]));
        }
    }

    #[test]
    fn the_question_is_a_sound_packet_and_asked_in_turn() {
        let (mut groups, now) = (Groups::default(), Instant::now());
        let packet = groups.ask(now).unwrap();
        assert_eq!((checksum(&packet[..24]), checksum(&packet[24..])), (0, 0));
        assert!(is_igmp(&packet));
        assert!(groups.ask(now + ASK / 2).is_none());
        assert!(groups.ask(now + ASK).is_some());
        assert!(!groups.heed(&packet), "a question tells of no group");
    }

    #[test]
    fn groups_are_bounded() {
        let mut groups = Groups::default();
        for number in 0..2 * GROUPS as u32 {
            groups.heed(&short(REPORT_V2, Ipv4Addr::from(0xE100_0000 + number)));
        }
        assert_eq!(groups.joined.len(), GROUPS);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_message_is_read(kind in prop::sample::select(vec![0x11u8, 0x12, 0x16, 0x17, 0x22, 0x30]),
                               rest in prop::collection::vec(any::<u8>(), 7..120)) {
            let message = [&[kind][..], &rest].concat();
            Groups::default().heed(&packet(&message));
        }

        #[test]
        fn any_packet_is_read(packet in prop::collection::vec(any::<u8>(), 0..80)) {
            Groups::default().heed(&packet);
        }
    }
}
