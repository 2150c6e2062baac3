use super::*;
use std::net::Ipv4Addr;
use std::time::Duration;

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// The two ends of a tunnel, the one that initiates first.
fn ends(sessions: (u64, u64)) -> (Tunnel, Tunnel) {
    let (anna, tom) = (Door::new(&[1; 32]), Door::new(&[2; 32]));
    let (anna_key, tom_key) = (WgPublic(anna.public.to_bytes()), WgPublic(tom.public.to_bytes()));
    (
        Tunnel::new(&anna, &tom_key, &[9; 32], sessions, true, 0x010203),
        Tunnel::new(
            &tom,
            &anna_key,
            &[9; 32],
            (sessions.1, sessions.0),
            false,
            0x040506,
        ),
    )
}

fn reply(shaken: (Shaken, bool), buffer: &[u8]) -> Vec<u8> {
    match shaken.0 {
        Shaken::Reply { length, .. } => buffer[..length].to_vec(),
        other => panic!("{other:?}"),
    }
}

/// Lets time pass; where time is real it passes by itself, and nothing waits for it.
fn pass(_time: Duration) {
    #[cfg(feature = "virtual-time")]
    virtual_time::advance(_time);
}

fn shake_hands(anna: &mut Tunnel, tom: &mut Tunnel) {
    pass(Duration::from_millis(1));
    let mut buffer = [0; 2000];
    let length = anna.initiate(&mut buffer).unwrap();
    let initiation = buffer[..length].to_vec();
    let shaken = tom.shake(SOURCE, &initiation, &mut buffer);
    assert!(!shaken.1, "nothing arrived in it yet");
    let response = reply(shaken, &buffer);
    assert_eq!(read(&response), Some(Message::Response(0x010203)));
    let shaken = anna.shake(SOURCE, &response, &mut buffer);
    assert!(shaken.1 && anna.has_session());
    let keepalive = reply(shaken, &buffer);
    assert_eq!(read(&keepalive), Some(Message::Data(0x040506)));
    assert_eq!(
        tom.open(SOURCE, &keepalive, &mut buffer),
        (Opened::Keepalive, true)
    );
    assert!(tom.has_session());
}

#[test]
fn a_session_counts_once_something_arrived_in_it() {
    let (mut anna, mut tom) = ends((1, 2));
    shake_hands(&mut anna, &mut tom);
    let mut buffer = [0; 2000];
    let length = anna.seal(&[0x45; 20], &mut buffer).unwrap();
    let sealed = buffer[..length].to_vec();
    // Not news any more.
    assert!(!tom.open(SOURCE, &sealed, &mut buffer).1);
    shake_hands(&mut anna, &mut tom);
}

#[test]
#[cfg(feature = "virtual-time")]
fn many_handshakes_over_a_day_are_not_taken_for_a_flood() {
    let (mut anna, mut tom) = ends((1, 2));
    for _ in 0..720 {
        shake_hands(&mut anna, &mut tom);
        pass(Duration::from_secs(120));
    }
}

#[test]
fn sessions_that_do_not_match_make_no_session() {
    let (mut anna, _) = ends((1, 2));
    let (_, mut tom) = ends((1, 3));
    let mut buffer = [0; 200];
    let length = anna.initiate(&mut buffer).unwrap();
    let initiation = buffer[..length].to_vec();
    let shaken = tom.shake(SOURCE, &initiation, &mut buffer);
    let response = reply(shaken, &buffer);
    assert_eq!(
        anna.shake(SOURCE, &response, &mut buffer),
        (Shaken::Refused, false)
    );
    assert!(!anna.has_session() && !tom.has_session());
}

#[test]
#[cfg(feature = "virtual-time")]
fn a_session_that_ends_while_a_handshake_begins_keeps_no_packet() {
    let (mut anna, mut tom) = ends((1, 2));
    shake_hands(&mut anna, &mut tom);
    pass(Duration::from_secs(181));
    let mut buffer = [0; 2000];
    assert!(anna.initiate(&mut buffer).is_some());
    assert!(!anna.has_session());
    assert_eq!(anna.seal(&[0x45; 1280], &mut buffer), None);
    shake_hands(&mut anna, &mut tom);
    let ticked = anna.tick(&mut buffer);
    assert!(ticked.expired, "it is told all the same");
    assert!(!anna.tick(&mut buffer).expired, "and once");
}

#[test]
#[cfg(feature = "virtual-time")]
fn the_side_that_does_not_initiate_never_does() {
    let (mut anna, mut tom) = ends((1, 2));
    let mut buffer = [0; 2000];
    assert_eq!(tom.initiate(&mut buffer), None);
    assert_eq!(tom.seal(&[0x45; 20], &mut buffer), None);
    shake_hands(&mut anna, &mut tom);
    pass(Duration::from_secs(1));
    tom.tick(&mut buffer);
    assert!(tom.seal(&[0x45; 20], &mut buffer).is_some());
    let mut wanted = 0;
    for _ in 0..120 {
        pass(Duration::from_secs(1));
        let ticked = tom.tick(&mut buffer);
        wanted += u32::from(ticked.wanted);
        assert!(!ticked.initiation && ticked.send.is_none());
    }
    assert!(wanted > 0, "it was never answered");
}

#[test]
fn short_buffers_are_refused_and_not_panicked_at() {
    let (mut anna, mut tom) = ends((1, 2));
    shake_hands(&mut anna, &mut tom);
    let mut buffer = [0; 2000];
    let length = anna.seal(&[0x45; 1000], &mut buffer).unwrap();
    let sealed = buffer[..length].to_vec();
    for room in [0, 1, 31, 147, 500, 1031] {
        let mut short = vec![0; room];
        assert_eq!(anna.seal(&[0x45; 1000], &mut short), None);
        assert_eq!(tom.open(SOURCE, &sealed, &mut short), (Opened::Refused, false));
        if room < ROOM {
            assert_eq!(anna.initiate(&mut short), None);
            assert_eq!(tom.shake(SOURCE, &sealed, &mut short), (Shaken::Refused, false));
            assert_eq!(tom.tick(&mut short), Ticked::default());
        }
    }
}

#[test]
#[cfg(feature = "virtual-time")]
fn a_flood_of_good_initiations_is_asked_for_cookies() {
    let (anna, tom) = (Door::new(&[1; 32]), Door::new(&[2; 32]));
    let key = WgPublic(tom.public.to_bytes());
    let mut buffer = [0; 200];
    let (mut known, mut cookies) = (0, 0);
    for _ in 0..1000 {
        let mut tunnel = Tunnel::new(&anna, &key, &[9; 32], (1, 2), true, 1);
        let length = tunnel.initiate(&mut buffer).unwrap();
        let initiation = buffer[..length].to_vec();
        match tom.admit(SOURCE, &initiation, &mut buffer) {
            Admission::Known(_) => known += 1,
            Admission::Cookie(_) => cookies += 1,
            Admission::Refused => panic!("refused"),
        }
    }
    assert_eq!((known, cookies), (400, 600));
}
