//! Announces between data planes: captured ones, newcomers, groups, closed services.

use super::party::{Party, udp};
use super::*;
use crate::lan::{Announce, Interface, SlotSet};
use lanrage_proto::lobby::{Rules, Sharing};
use std::net::Ipv4Addr;
use std::sync::Arc;

const EVERYBODY: [u8; 4] = [255; 4];
const GROUP: [u8; 4] = [225, 1, 1, 1];

fn announce(from: u8, id: u16, content: &[u8]) -> Vec<u8> {
    udp([10, 66, 0, from], EVERYBODY, 6112, id, content)
}

/// What is inside the datagrams that a member was given.
fn contents(party: &mut Party, member: usize) -> Vec<Vec<u8>> {
    let packets = party.delivered(member);
    packets.iter().map(|packet| packet[28..].to_vec()).collect()
}

fn interface(address: &str) -> Arc<Interface> {
    Arc::new(Interface {
        name: "eth0".into(),
        addresses: vec![(address.parse().unwrap(), 24)],
    })
}

fn captured(party: &mut Party, member: usize, on: &Arc<Interface>, packet: &[u8]) {
    let now = party.now;
    let node = party.node(member);
    node.plane.captured(now, on, packet, &mut node.outbox);
    party.settle();
}

fn announced(reports: &[Report]) -> Vec<crate::io::Announced> {
    let known = |report: &Report| match report {
        Report::Announced(known) => Some((**known).clone()),
        _ => None,
    };
    reports.iter().filter_map(known).collect()
}

fn slots(numbers: &[u8]) -> SlotSet {
    let mut set = SlotSet::default();
    for number in numbers {
        set.insert(Slot::try_from(*number).unwrap());
    }
    set
}

#[test]
fn what_a_game_sent_elsewhere_arrives_under_the_lease() {
    let mut party = Party::connected(3);
    let home = interface("192.168.1.5");
    for (to, arrives_at) in [
        (EVERYBODY, EVERYBODY),
        ([192, 168, 1, 255], [10, 66, 255, 255]),
        (GROUP, GROUP),
    ] {
        captured(
            &mut party,
            1,
            &home,
            &udp([192, 168, 1, 5], to, 6112, 7, b"a game"),
        );
        for member in [2, 3] {
            let got = party.delivered(member);
            assert_eq!(got.len(), 1, "{to:?}");
            let header = Header::read(&got[0]).unwrap();
            assert_eq!(header.source, Ipv4Addr::new(10, 66, 0, 1));
            assert_eq!(header.destination, Ipv4Addr::from(arrives_at));
            assert_eq!(&got[0][28..], b"a game");
        }
        party.jump(Duration::from_secs(3));
    }
}

#[test]
fn nothing_goes_round() {
    let mut party = Party::connected(2);
    let home = interface("192.168.1.5");
    let drops = |party: &mut Party, reason| party.counters(1).dropped(reason);
    // Somebody else's, ours come back, nobody's broadcast, what stays at home.
    for (from, to, port, reason) in [
        ([192, 168, 1, 6], EVERYBODY, 6112, Reason::WrongSource),
        ([10, 66, 0, 1], EVERYBODY, 6112, Reason::WrongSource),
        ([10, 66, 0, 2], EVERYBODY, 6112, Reason::WrongSource),
        ([192, 168, 1, 5], [192, 168, 1, 6], 6112, Reason::WrongDestination),
        (
            [192, 168, 1, 5],
            [192, 168, 2, 255],
            6112,
            Reason::WrongDestination,
        ),
        ([192, 168, 1, 5], [10, 66, 0, 2], 6112, Reason::WrongDestination),
        ([192, 168, 1, 5], EVERYBODY, 67, Reason::NotCarried),
    ] {
        let before = drops(&mut party, reason);
        captured(&mut party, 1, &home, &udp(from, to, port, 1, b"x"));
        assert_eq!(drops(&mut party, reason), before + 1, "{from:?} to {to:?}:{port}");
    }
    assert!(contents(&mut party, 2).is_empty());
    // A program here passes on what a peer sent.
    party.out(2, &announce(2, 9, b"from a friend"));
    party.settle();
    assert_eq!(contents(&mut party, 1), [b"from a friend"]);
    captured(
        &mut party,
        1,
        &home,
        &udp([192, 168, 1, 5], EVERYBODY, 6112, 1, b"from a friend"),
    );
    assert!(contents(&mut party, 2).is_empty());
    // A game that sends on every interface.
    party.out(1, &announce(1, 10, b"mine"));
    party.settle();
    captured(
        &mut party,
        1,
        &home,
        &udp([192, 168, 1, 5], [192, 168, 1, 255], 6112, 1, b"mine"),
    );
    assert_eq!(contents(&mut party, 2), [b"mine"]);
    assert_eq!(drops(&mut party, Reason::Duplicate), 2);
}

#[test]
fn who_is_on_that_network_gets_it_there_and_only_there() {
    let mut party = Party::connected(3);
    // Where all members of the test are reached.
    let near = interface("192.0.2.77");
    captured(
        &mut party,
        1,
        &near,
        &udp([192, 0, 2, 77], EVERYBODY, 6112, 7, b"a game"),
    );
    assert!(contents(&mut party, 2).is_empty() && contents(&mut party, 3).is_empty());
    let known = announced(&party.reports(1));
    assert_eq!((known[0].sent, known[0].nearby), (slots(&[]), slots(&[2, 3])));
    assert_eq!(known[0].via, Via::Interface(near));
}

#[test]
fn a_newcomer_gets_what_it_missed_when_it_is_ready() {
    let mut party = Party::connected(3);
    party.set_ready(1, 3, false);
    party.restart(3);
    party.out(1, &announce(1, 5, b"AAAA"));
    party.out(1, &announce(1, 6, b"BBBB"));
    party.settle();
    assert_eq!(contents(&mut party, 2), [b"AAAA", b"BBBB"]);
    party.apply(3);
    party.apply(1);
    party.set_ready(1, 3, false);
    party.connect();
    party.pass(Duration::from_secs(1));
    assert!(contents(&mut party, 3).is_empty(), "it can't take them in");
    party.set_ready(1, 3, true);
    party.settle();
    assert_eq!(contents(&mut party, 3), [b"AAAA", b"BBBB"]);
    assert!(contents(&mut party, 2).is_empty());
    party.set_ready(1, 3, false);
    party.set_ready(1, 3, true);
    party.settle();
    assert!(contents(&mut party, 3).is_empty(), "it has them");
}

#[test]
fn a_copy_of_what_was_replayed_is_dropped_and_a_new_game_is_not() {
    let mut party = Party::connected(2);
    // The other side is ready, which is not known here yet.
    party.set_ready(1, 2, false);
    party.out(1, &announce(1, 5, b"lobby"));
    party.settle();
    assert_eq!(contents(&mut party, 2), [b"lobby"]);
    party.set_ready(1, 2, true);
    party.settle();
    assert!(contents(&mut party, 2).is_empty());
    assert_eq!(party.counters(2).dropped(Reason::Duplicate), 1);
    // Its game starts within the time that copies are known for.
    let known = Announce {
        port: 4000,
        to_port: 6112,
        destination: EVERYBODY.into(),
    };
    let (now, slot) = (party.now, party.slot(2));
    party.node(1).plane.replay(now, slot, &known);
    party.settle();
    assert_eq!(contents(&mut party, 2), [b"lobby"]);
    party.node(1).plane.forget_program(4000);
    party.node(1).plane.replay(now, slot, &known);
    party.settle();
    assert!(contents(&mut party, 2).is_empty());
}

#[test]
fn repetitions_without_identification_all_arrive() {
    let mut party = Party::connected(2);
    let mut packet = announce(1, 0, b"again");
    packet[6] = 0x40;
    for _ in 0..5 {
        party.out(1, &packet);
        party.jump(Duration::from_millis(10));
    }
    party.settle();
    assert_eq!(contents(&mut party, 2).len(), 5);
}

#[test]
fn without_an_adapter_nothing_is_said_to_have_come() {
    let mut party = Party::connected(2);
    party.node(2).table.ready = false;
    party.apply(2);
    party.out(1, &announce(1, 5, b"lobby"));
    party.settle();
    assert!(contents(&mut party, 2).is_empty());
    assert_eq!(party.counters(2).dropped(Reason::NoAdapter), 1);
    assert!(
        party
            .reports(2)
            .iter()
            .all(|report| !matches!(report, Report::Arrived(_)))
    );
}

/// A system's IGMPv2 report or leave for the group.
fn igmp(kind: u8, group: [u8; 4]) -> Vec<u8> {
    let mut packet = vec![0x46, 0xC0, 0, 32, 0, 0, 0x40, 0, 1, 2, 0, 0, 10, 66, 0, 2];
    packet.extend(group);
    packet.extend([0x94, 4, 0, 0, kind, 0, 0, 0]);
    packet.extend(group);
    let sum = crate::lan::rewrite::checksum(&packet[24..]);
    packet[26..28].copy_from_slice(&sum.to_be_bytes());
    packet
}

#[test]
fn groups_that_nobody_here_joined_stay_out_and_are_asked_for() {
    let mut party = Party::connected(2);
    let mut id = 0;
    let mut send = |party: &mut Party, group| {
        id += 1;
        party.out(1, &udp([10, 66, 0, 1], group, 4555, id, b"where?"));
        party.settle();
        party.delivered(2)
    };
    assert_eq!(
        send(&mut party, GROUP).len(),
        1,
        "the system reported nothing yet"
    );
    party.out(2, &igmp(0x16, [239, 1, 1, 1]));
    let asked = send(&mut party, GROUP);
    assert_eq!((asked.len(), asked[0][9]), (1, 2), "a question to the system");
    assert!(send(&mut party, GROUP).is_empty(), "asked once");
    assert_eq!(party.counters(2).dropped(Reason::NotJoined), 2);
    assert_eq!(send(&mut party, [224, 0, 0, 200]).len(), 1);
    party.reports(2);
    party.out(2, &igmp(0x16, GROUP));
    let joined = |reports: Vec<Report>| -> Vec<bool> {
        let joined = |report: &Report| match report {
            Report::Arrived(arrived) if arrived.announce.destination == Ipv4Addr::from(GROUP) => {
                Some(arrived.joined)
            }
            _ => None,
        };
        reports.iter().filter_map(joined).collect()
    };
    assert_eq!(joined(party.reports(2)), [true]);
    assert_eq!(send(&mut party, GROUP)[0][28..], *b"where?");
    party.out(2, &igmp(0x17, GROUP));
    assert_eq!(joined(party.reports(2)), [false]);
    // A report never leaves, nor does one from a peer say anything here.
    assert!(party.sent_kinds(2).is_empty());
    party.forge(1, 2, &igmp(0x16, GROUP));
    party.settle();
    assert!(send(&mut party, GROUP).is_empty());
}

#[test]
fn closed_services_are_closed_by_both_protocols() {
    let mut party = Party::connected(2);
    let tcp = |to: u16, flags: u8| {
        let mut packet = udp([10, 66, 0, 1], [10, 66, 0, 2], to, 1, &[0; 12]);
        packet[9] = 6;
        packet[33] = flags;
        packet
    };
    let arrives = |party: &mut Party, packet: &[u8]| {
        party.out(1, packet);
        party.settle();
        party.delivered(2).len() == 1
    };
    assert!(!arrives(&mut party, &tcp(22, 0x02)), "a connection to SSH");
    assert!(arrives(&mut party, &tcp(22, 0x12)), "an answer");
    assert!(arrives(&mut party, &tcp(25565, 0x02)), "a game");
    let smb = udp([10, 66, 0, 1], [10, 66, 0, 2], 445, 1, b"");
    assert!(!arrives(&mut party, &smb));
    let printers = udp([10, 66, 0, 1], EVERYBODY, 631, 1, b"printer");
    assert!(!arrives(&mut party, &printers), "to everybody as well");
    assert_eq!(party.counters(2).dropped(Reason::Closed), 3);
    party.node(2).table.rules = Rules {
        share: Sharing::Files,
        ..Rules::default()
    };
    party.apply(2);
    assert!(arrives(&mut party, &smb) && !arrives(&mut party, &tcp(22, 0x02)));
}

#[test]
fn who_answers_is_told() {
    let mut party = Party::connected(3);
    party.out(1, &announce(1, 5, b"who plays?"));
    party.settle();
    let known = announced(&party.reports(1));
    assert_eq!((known[0].sent, known[0].answered), (slots(&[2, 3]), slots(&[])));
    // From any port, to the one that was announced from.
    party.out(3, &udp([10, 66, 0, 3], [10, 66, 0, 1], 4000, 1, b"I do"));
    party.out(2, &udp([10, 66, 0, 2], [10, 66, 0, 1], 4001, 1, b"unrelated"));
    party.pass(Duration::from_secs(1));
    let known = announced(&party.reports(1));
    assert_eq!(known.len(), 1);
    assert_eq!(known[0].answered, slots(&[3]));
}
