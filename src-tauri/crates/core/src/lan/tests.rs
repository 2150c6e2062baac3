use super::*;
use proptest::prelude::*;

fn announce(from: u8, to: [u8; 4], port: u16, id: u16, content: &[u8]) -> Vec<u8> {
    let length = (28 + content.len()) as u16;
    let mut packet = vec![0x45, 0];
    packet.extend(length.to_be_bytes());
    packet.extend(id.to_be_bytes());
    // Without an identification fragments are forbidden, as Linux sends it.
    packet.extend([if id == 0 { 0x40 } else { 0 }, 0, 64, 17, 0, 0, 10, 66, 0, from]);
    packet.extend(to);
    packet.extend([0x10, 0]);
    packet.extend(port.to_be_bytes());
    packet.extend((length - 20).to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(content);
    packet
}

fn slot(n: u8) -> Slot {
    Slot::try_from(n).unwrap()
}

fn enter(gate: &mut Gate, now: Instant, from: u8, packet: &[u8]) -> Result<(), Reason> {
    let header = Header::read(packet).unwrap();
    gate.enter(now, slot(from), &header, packet).map(drop)
}

#[test]
fn announces_are_told_by_their_destination() {
    let is = |to: [u8; 4]| is_announce(PartyRange::DEFAULT, to.into());
    assert!(is([255; 4]) && is([10, 66, 255, 255]) && is([224, 0, 0, 1]) && is([239, 255, 255, 250]));
    assert!(!is([10, 66, 0, 255]) && !is([192, 168, 255, 255]) && !is([240, 0, 0, 1]));
}

#[test]
fn what_concerns_a_real_lan_stays_at_home() {
    let (mut gate, now) = (Gate::new(), Instant::now());
    for port in [67, 68, 137, 138, 1900, 3702, 5353, 5355] {
        let packet = announce(2, [255; 4], port, 1, b"");
        assert_eq!(enter(&mut gate, now, 2, &packet), Err(Reason::NotCarried));
        let header = Header::read(&packet).unwrap();
        assert_eq!(gate.carries(&header, &packet), Err(Reason::NotCarried));
    }
    let mut not_udp = announce(2, [224, 0, 0, 22], 6112, 1, b"");
    not_udp[9] = 2;
    assert_eq!(enter(&mut gate, now, 2, &not_udp), Err(Reason::NotCarried));
    let mut fragment = announce(2, [255; 4], 6112, 1, &[0; 8]);
    fragment[6] = 0x20;
    assert_eq!(enter(&mut gate, now, 2, &fragment), Err(Reason::Fragment));
}

#[test]
fn each_kind_has_a_switch() {
    let now = Instant::now();
    let off = Rules::default();
    for (rules, carried) in [
        (Rules { dhcp: true, ..off }, [67, 68]),
        (Rules { netbios: true, ..off }, [137, 138]),
        (Rules { ssdp: true, ..off }, [1900, 3702]),
        (Rules { mdns: true, ..off }, [5353, 5355]),
    ] {
        for (id, port) in [67, 68, 137, 138, 1900, 3702, 5353, 5355].into_iter().enumerate() {
            let mut gate = Gate::new();
            gate.rules = rules;
            let packet = announce(2, [255; 4], port, id as u16 + 1, b"");
            assert_eq!(
                enter(&mut gate, now, 2, &packet).is_ok(),
                carried.contains(&port),
                "{port}"
            );
        }
    }
}

#[test]
fn multicast_can_be_switched_off_and_broadcast_not() {
    let (mut gate, now) = (Gate::new(), Instant::now());
    let multicast = announce(2, [225, 1, 1, 1], 4555, 1, b"");
    assert_eq!(enter(&mut gate, now, 2, &multicast), Ok(()));
    gate.rules.multicast = false;
    assert_eq!(enter(&mut gate, now, 2, &multicast), Err(Reason::NotCarried));
    assert_eq!(
        enter(&mut gate, now, 2, &announce(2, [255; 4], 4555, 2, b"")),
        Ok(())
    );
}

#[test]
fn one_member_cannot_use_up_the_others_share() {
    let (mut gate, now) = (Gate::new(), Instant::now());
    let mut passed = [0; 8];
    for id in 1..2000u16 {
        for from in 2..8u8 {
            let honest = from != 2;
            if honest && id > 20 {
                continue;
            }
            passed[usize::from(from)] +=
                u32::from(enter(&mut gate, now, from, &announce(from, [255; 4], 6112, id, b"x")).is_ok());
        }
    }
    assert_eq!(passed, [0, 0, 200, 20, 20, 20, 20, 20]);
}

#[test]
fn bytes_are_capped_as_packets_are() {
    let (mut gate, now) = (Gate::new(), Instant::now());
    let passed = (1..200u16)
        .filter(|id| enter(&mut gate, now, 2, &announce(2, [255; 4], 6112, *id, &[0; 1200])).is_ok())
        .map(|_| 1228)
        .sum::<u32>();
    assert!((120_000..=128 * 1024).contains(&passed), "{passed}");
}

#[test]
fn a_copy_is_dropped_for_two_seconds() {
    let (mut gate, start) = (Gate::new(), Instant::now());
    let at = |ms| start + Duration::from_millis(ms);
    let mut packet = announce(2, [255; 4], 6112, 7, b"a game");
    assert_eq!(enter(&mut gate, at(0), 2, &packet), Ok(()));
    packet[8] -= 1;
    assert_eq!(
        enter(&mut gate, at(1900), 2, &packet),
        Err(Reason::Duplicate),
        "another way, one hop more"
    );
    assert_eq!(enter(&mut gate, at(1900), 3, &packet), Ok(()), "another member's");
    assert_eq!(
        enter(&mut gate, at(1900), 2, &announce(2, [255; 4], 6112, 8, b"a game")),
        Ok(())
    );
    assert_eq!(
        enter(
            &mut gate,
            at(1900),
            2,
            &announce(2, [10, 66, 255, 255], 6112, 7, b"a game")
        ),
        Ok(())
    );
    assert_eq!(enter(&mut gate, at(2000), 2, &packet), Ok(()));
}

#[test]
fn a_game_that_repeats_itself_without_identification_is_heard_each_time() {
    let (mut gate, start) = (Gate::new(), Instant::now());
    let packet = announce(2, [255; 4], 6112, 0, b"a game");
    assert_eq!(enter(&mut gate, start, 2, &packet), Ok(()));
    assert_eq!(
        enter(&mut gate, start + Duration::from_millis(20), 2, &packet),
        Err(Reason::Duplicate)
    );
    assert_eq!(
        enter(&mut gate, start + Duration::from_millis(500), 2, &packet),
        Ok(())
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn packets_of_any_content_are_judged(packet in prop::collection::vec(any::<u8>(), 0..80)) {
        let mut packet = packet;
        if let Some(first) = packet.first_mut() {
            *first = 0x40 | (*first & 15);
        }
        if let Ok(header) = Header::read(&packet) {
            let packet = &packet[..header.length];
            let _ = Gate::new().enter(Instant::now(), slot(2), &header, packet);
        }
    }
}
