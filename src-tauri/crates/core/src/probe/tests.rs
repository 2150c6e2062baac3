use super::*;
use crate::keys::{DeviceSeed, MemberKeys, PartyKeys};
use lanrage_proto::PartyId;
use lanrage_proto::party_id::FoundingNonce;
use proptest::prelude::*;

const INDEX: [u8; 8] = *b"an index";

/// The keys of one pair, at each of its ends.
fn pair() -> (PairKeys, PairKeys) {
    let party = PartyKeys::of(&PartyId::of_founding(&MemberId([1; 32]), &FoundingNonce([1; 32])));
    let member = |n| MemberKeys::joiner(&DeviceSeed::from_bytes([n; 32]), &party.tag);
    let (anna, tom) = (member(1), member(2));
    let derive = |own: &MemberKeys, peer: &MemberKeys| {
        PairKeys::derive(
            &party,
            own,
            &peer.id(),
            &peer.seal_public(),
            &peer.wg_public(),
            Epoch(0),
        )
        .unwrap()
    };
    (derive(&anna, &tom), derive(&tom, &anna))
}

fn ping() -> Message {
    Message::Ping {
        id: [7; 12],
        session: 1,
        view: u64::MAX,
        wants_handshake: true,
        moved: false,
        ready: true,
    }
}

fn pong(seen: &str) -> Message {
    Message::Pong {
        id: [7; 12],
        session: 1,
        view: 2,
        seen: seen.parse().unwrap(),
    }
}

fn word(length: usize) -> Message {
    Message::Word(Sealed {
        author: MemberId([9; 32]),
        epoch: Epoch(3),
        seq: Seq(u64::MAX),
        body: Bytes(vec![5; length]),
    })
}

fn receipts(count: usize) -> Message {
    let receipt = |number: usize| Receipt {
        announce: Announce {
            port: number as u16,
            to_port: u16::MAX,
            destination: Ipv4Addr::new(239, 255, 255, number as u8),
        },
        listens: [Listens::Unknown, Listens::Yes, Listens::No][number % 3],
    };
    Message::Receipts((0..count).map(receipt).collect())
}

#[test]
fn what_one_end_says_the_other_reads() {
    let (anna, tom) = pair();
    for message in [
        ping(),
        pong("192.0.2.7:51820"),
        pong("[2001:db8::7]:65535"),
        word(0),
        word(700),
        receipts(0),
        receipts(RECEIPTS),
    ] {
        let datagram = encode(&anna, INDEX, Seq(77), &message);
        assert_eq!(index_of(&datagram), Some(INDEX));
        assert_eq!(decode(&tom, &datagram), Ok((Seq(77), message)));
        // Not its author's own direction, so nothing can be reflected.
        assert_eq!(decode(&anna, &datagram), Err(ProbeError::Seal));
    }
}

#[test]
fn an_answer_is_never_longer_than_its_question() {
    let (anna, _) = pair();
    let length = |message| encode(&anna, INDEX, Seq(1), &message).len();
    assert!(length(pong("[2001:db8::7]:65535")) <= length(ping()));
    assert!(length(pong("192.0.2.7:1")) <= length(ping()));
}

#[test]
fn a_word_longer_than_records_is_refused() {
    let (anna, tom) = pair();
    let datagram = encode(&anna, INDEX, Seq(1), &word(limits::SEALED_RECORD + 1));
    assert_eq!(decode(&tom, &datagram), Err(ProbeError::Form));
    let datagram = encode(&anna, INDEX, Seq(1), &word(LONGEST));
    assert_eq!(decode(&tom, &datagram), Err(ProbeError::Length));
}

#[test]
fn receipts_are_as_many_as_may_be_and_whole() {
    let read = |plain: &[u8]| message(&mut Reader(plain));
    let one = [TYPE_RECEIPTS, 1, 0, 2, 0, 225, 1, 1, 1, 2];
    assert!(matches!(read(&one), Some(Message::Receipts(receipts)) if receipts.len() == 1));
    assert_eq!(read(&one[..9]), None);
    let unknown = [TYPE_RECEIPTS, 1, 0, 2, 0, 225, 1, 1, 1, 3];
    assert_eq!(read(&unknown), None);
    let many = |count| [&[TYPE_RECEIPTS][..], &one[1..].repeat(count)].concat();
    assert!(read(&many(RECEIPTS)).is_some());
    assert_eq!(read(&many(RECEIPTS + 1)), None);
}

#[test]
fn counters_are_accepted_once_and_never_from_an_earlier_start() {
    let mut window = ReplayWindow::new();
    let at = |boot, n| Seq(Seq::at_boot(boot).0 + n);
    assert!(window.accept(at(2, 10)));
    assert!(!window.accept(at(2, 10)));
    assert!(window.accept(at(2, 8)));
    assert!(!window.accept(at(2, 8)));
    assert!(window.accept(at(2, 200)));
    assert!(window.accept(at(2, 200 - 127)));
    assert!(!window.accept(at(2, 200 - 128)), "too old to tell");
    assert!(window.accept(at(2, 1_000_000)));
    assert!(!window.accept(at(2, 200)));
    assert!(!window.accept(at(1, 2_000_000)));
    assert!(window.accept(at(3, 0)));
    assert!(!window.accept(at(3, 0)));
    assert!(!window.accept(at(2, 1_000_001)));
    // Counter 0 of the first start is as good as any.
    assert!(ReplayWindow::new().accept(Seq(0)));
}

#[test]
fn what_shares_a_socket_is_told_apart_by_form() {
    let of = |start: &[u8], length: usize| {
        let mut datagram = start.to_vec();
        datagram.resize(length, 0xEE);
        demux(&datagram)
    };
    assert_eq!(of(&[1, 0, 0, 0], 148), Kind::WireGuard);
    assert_eq!(of(&[1, 0, 0, 0], 149), Kind::Other);
    assert_eq!(of(&[2, 0, 0, 0], 92), Kind::WireGuard);
    assert_eq!(of(&[3, 0, 0, 0], 64), Kind::WireGuard);
    assert_eq!(of(&[4, 0, 0, 0], 32), Kind::WireGuard);
    assert_eq!(of(&[4, 0, 0, 0], 31), Kind::Other);
    assert_eq!(of(&[4, 0, 0, 1], 32), Kind::Other);
    assert_eq!(of(&[5, 0, 0, 0], 148), Kind::Other);
    let stun = [0x01, 0x01, 0, 12, 0x21, 0x12, 0xA4, 0x42];
    assert_eq!(of(&stun, 32), Kind::Stun);
    assert_eq!(of(&stun, 33), Kind::Other);
    assert_eq!(of(&[0x41, 0x01, 0, 12, 0x21, 0x12, 0xA4, 0x42], 32), Kind::Other);
    for length in 0..4 {
        assert_eq!(of(&[4, 0, 0][..length.min(3)], length), Kind::Other);
    }
}

#[test]
fn no_probe_passes_for_wireguard() {
    let (anna, tom) = pair();
    for session in 0..2000 {
        let index = anna.probe_index(session, true);
        assert_ne!(index[1..4], [0; 3]);
        let datagram = encode(&anna, index, Seq(1), &ping());
        assert_eq!(demux(&datagram), Kind::Other);
        assert!(decode(&tom, &datagram).is_ok());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_cut_or_altered_probe_is_refused(at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<bool>()) {
        let (anna, tom) = pair();
        let mut datagram = encode(&anna, INDEX, Seq(5), &ping());
        let at = at.index(datagram.len());
        if cut {
            datagram.truncate(at);
        } else {
            datagram[at] ^= 1 << bit;
        }
        prop_assert!(decode(&tom, &datagram).is_err());
    }

    #[test]
    fn content_of_any_kind_is_read_or_refused(plain in prop::collection::vec(any::<u8>(), 0..900), kind in 0u8..6) {
        message(&mut Reader(&plain));
        message(&mut Reader(&[&[kind][..], &plain].concat()));
        demux(&plain);
    }

    #[test]
    fn no_order_of_arrival_lets_a_counter_in_twice(counters in prop::collection::vec(0u64..300, 1..400)) {
        let mut window = ReplayWindow::new();
        let mut taken = std::collections::BTreeSet::new();
        for counter in counters {
            if window.accept(Seq(counter)) {
                prop_assert!(taken.insert(counter), "{} twice", counter);
            } else {
                let highest = taken.last().copied().unwrap_or_default();
                prop_assert!(taken.contains(&counter) || counter + 127 < highest);
            }
        }
    }
}
