//! Among clients, and how much.

use crate::world::{Out, Player, World, at, config, data_of, udp};
use lanrage_relay::Limits;
use lanrage_relay::config::Pace;
use std::time::Duration;

/// Two members with allocations that let each other in.
fn two() -> (World, [Player; 2], [std::net::SocketAddr; 2]) {
    let mut world = World::new(config());
    let mut one = Player::new("p.a", "1.2.3.4:5000");
    let mut two = Player::new("p.b", "5.6.7.8:5000").by_stream(7);
    let relayed = [
        one.allocate(&mut world).unwrap(),
        two.allocate(&mut world).unwrap(),
    ];
    one.permit(&mut world, &relayed[1..]).unwrap();
    two.permit(&mut world, &relayed[..1]).unwrap();
    (world, [one, two], relayed)
}

#[test]
fn relayed_members_reach_each_other_without_a_socket() {
    let (mut world, [mut one, mut two], relayed) = two();
    match one.send(&mut world, relayed[1], b"hello") {
        Out::Client(to, bytes) => {
            assert_eq!(to, two.client);
            assert_eq!(data_of(&bytes), (relayed[0], b"hello".to_vec()));
        }
        other => panic!("{other:?}"),
    }
    one.bind(&mut world, 0x4000, relayed[1]).unwrap();
    two.bind(&mut world, 0x4abc, relayed[0]).unwrap();
    assert_eq!(
        one.channel(&mut world, 0x4000, b"12345"),
        Out::Client(two.client, b"\x4a\xbc\x00\x0512345\0\0\0".to_vec())
    );
    assert_eq!(
        two.channel(&mut world, 0x4abc, b"123"),
        Out::Client(one.client, b"\x40\x00\x00\x03123".to_vec())
    );
}

#[test]
fn the_other_side_has_to_want_it() {
    let mut world = World::new(config());
    let mut one = Player::new("p.a", "1.2.3.4:5000");
    let mut two = Player::new("p.b", "5.6.7.8:5000");
    let _ = one.allocate(&mut world).unwrap();
    let relayed = two.allocate(&mut world).unwrap();
    one.permit(&mut world, &[relayed]).unwrap();
    assert_eq!(one.send(&mut world, relayed, b"x"), Out::Nothing);
}

#[test]
fn our_own_address_has_no_ports_but_relayed_ones() {
    let (mut world, [mut one, _], relayed) = two();
    for port in [22u16, 3478, 9_999] {
        let own = std::net::SocketAddr::new(relayed[0].ip(), port);
        assert_eq!(one.send(&mut world, own, b"x"), Out::Nothing, "{own}");
        one.bind(&mut world, 0x4000 + port, own).unwrap();
        assert_eq!(
            one.channel(&mut world, 0x4000 + port, b"x"),
            Out::Nothing,
            "{own}"
        );
    }
}

#[test]
fn nobody_outside_pretends_to_be_a_relayed_member() {
    let (mut world, _, relayed) = two();
    assert_eq!(world.peer(relayed[1], relayed[0], b"forged"), Out::Nothing);
}

#[test]
fn a_client_that_moves_takes_nothing_along() {
    let (mut world, [one, _], relayed) = two();
    let moved = Player {
        client: udp("1.2.3.4:5001"),
        ..one
    };
    assert_eq!(moved.send(&mut world, relayed[1], b"x"), Out::Nothing);
}

#[test]
fn a_member_has_so_many_bytes_a_second() {
    let mut config = config();
    config.allow_peers = vec!["192.168.0.0/16".parse().unwrap()];
    config.limits = Limits {
        member_bytes: Pace {
            each_second: 10_000,
            burst: 5_000,
        },
        ..config.limits
    };
    let mut world = World::new(config);
    let mut one = Player::new("p.a", "1.2.3.4:5000");
    let mut two = Player::new("p.b", "1.2.3.4:5001");
    let relayed = one.allocate(&mut world).unwrap();
    two.allocate(&mut world).unwrap();
    let peer = at("192.168.0.1:7");
    one.bind(&mut world, 0x4000, peer).unwrap();
    two.bind(&mut world, 0x4000, peer).unwrap();
    let mut through = 0;
    for _ in 0..100 {
        if one.channel(&mut world, 0x4000, &[0; 1000]) != Out::Nothing {
            through += 1;
        }
        if world.peer(peer, relayed, &[0; 1000]) != Out::Nothing {
            through += 1;
        }
        world.pass(Duration::from_millis(10));
    }
    assert!(
        (13..=15).contains(&through),
        "{through} of 200 packets of 1,000 bytes in a second"
    );
    assert_ne!(
        two.channel(&mut world, 0x4000, &[0; 1000]),
        Out::Nothing,
        "others have their own"
    );
    assert_eq!(world.server.counters().packets_over_rate, 200 - through);
}

#[test]
fn what_passes_is_counted() {
    let (mut world, [one, _], relayed) = two();
    one.send(&mut world, relayed[1], b"hello");
    let counters = world.server.counters();
    assert_eq!((counters.packets_to_peers, counters.bytes_to_peers), (1, 5));
    assert_eq!((counters.packets_to_clients, counters.bytes_to_clients), (1, 5));
    let names: Vec<_> = counters.rows().map(|(name, _)| name).collect();
    assert!(names.contains(&"bytes_to_peers") && names.contains(&"challenges"));
}
