//! Whom an allocation may talk to.

use crate::world::{Out, PUBLIC, Player, World, at, config, data_of, encode, ip, transaction, udp};
use lanrage_relay::Limits;
use std::net::SocketAddr;
use std::time::Duration;
use stun_rs::{MessageClass, StunMessageBuilder, methods};

const MINUTE: Duration = Duration::from_secs(60);

/// Somebody shows itself by asking for its address.
fn show(world: &mut World, remote: &str) {
    let request = StunMessageBuilder::new(methods::BINDING, MessageClass::Request)
        .with_transaction_id(transaction(1))
        .build();
    assert!(world.ask(&udp(remote), &encode(&request)).is_some());
}

#[test]
fn strangers_are_relayed_to_only_while_they_show_themselves() {
    let mut world = World::new(config());
    let mut player = Player::new("p.a", "1.2.3.4:5000");
    player.allocate(&mut world).unwrap();
    assert_eq!(player.permit(&mut world, &[at("8.8.4.4:53")]), Err(403));
    assert_eq!(player.bind(&mut world, 0x4000, at("8.8.4.4:53")), Err(403));
    show(&mut world, "8.8.4.4:9999");
    player.permit(&mut world, &[at("8.8.4.4:53")]).unwrap();
    player.bind(&mut world, 0x4000, at("8.8.4.4:53")).unwrap();
    player.refresh(&mut world, 3600).unwrap();
    world.pass(25 * MINUTE);
    assert_eq!(
        player.permit(&mut world, &[at("8.8.4.4:53")]),
        Err(403),
        "forgotten"
    );
    world.server.seen(world.now, ip("8.8.4.4"));
    player.permit(&mut world, &[at("8.8.4.4:53")]).unwrap();
    assert_eq!(world.server.counters().forbidden_peers, 3);
}

#[test]
fn a_permission_that_is_kept_up_outlives_the_memory_of_its_peer() {
    let mut world = World::new(config());
    let mut player = Player::new("p.a", "1.2.3.4:5000");
    player.allocate(&mut world).unwrap();
    player.refresh(&mut world, 3600).unwrap();
    show(&mut world, "8.8.4.4:9999");
    for _ in 0..10 {
        player.permit(&mut world, &[at("8.8.4.4:53")]).unwrap();
        world.pass(4 * MINUTE);
    }
    let relayed = SocketAddr::new(ip(PUBLIC), world.sockets.values().next().unwrap().port());
    assert!(matches!(
        world.peer(at("8.8.4.4:53"), relayed, b"x"),
        Out::Client(..)
    ));
}

#[test]
fn a_peer_that_is_heard_shows_itself() {
    let mut world = World::new(config());
    let mut player = Player::new("p.a", "1.2.3.4:5000");
    let relayed = player.allocate(&mut world).unwrap();
    player.refresh(&mut world, 3600).unwrap();
    show(&mut world, "8.8.4.4:9999");
    for _ in 0..7 {
        player.permit(&mut world, &[at("8.8.4.4:53")]).unwrap();
        world.pass(4 * MINUTE);
        assert!(matches!(
            world.peer(at("8.8.4.4:53"), relayed, b"x"),
            Out::Client(..)
        ));
    }
    let mut second = Player::new("p.a", "1.2.3.4:5001");
    second.allocate(&mut world).unwrap();
    second.permit(&mut world, &[at("8.8.4.4:53")]).unwrap();
}

#[test]
fn what_is_inside_somebodys_network_is_never_relayed_to() {
    let mut world = World::new(config());
    let mut player = Player::new("p.a", "1.2.3.4:5000");
    player.allocate(&mut world).unwrap();
    for inside in [
        "127.0.0.1:22",
        "10.66.0.1:80",
        "10.0.0.9:5432",
        "192.168.1.1:80",
        "172.16.0.1:80",
        "100.64.0.1:80",
        "169.254.169.254:80",
        "0.0.0.0:80",
        "224.0.0.1:80",
        "255.255.255.255:80",
        "9.9.9.8:22",
    ] {
        world.server.seen(world.now, at(inside).ip());
        assert_eq!(player.permit(&mut world, &[at(inside)]), Err(403), "{inside}");
        assert_eq!(
            player.send(&mut world, at(inside), b"x"),
            Out::Nothing,
            "{inside}"
        );
        // All or none.
        world.server.seen(world.now, ip("8.8.4.4"));
        assert_eq!(
            player.permit(&mut world, &[at("8.8.4.4:1"), at(inside)]),
            Err(403)
        );
        assert_eq!(player.send(&mut world, at("8.8.4.4:1"), b"x"), Out::Nothing);
    }
}

#[test]
fn an_operator_may_allow_a_network() {
    let mut config = config();
    config.allow_peers = vec!["192.168.0.0/16".parse().unwrap(), "224.0.0.0/4".parse().unwrap()];
    let mut world = World::new(config);
    let mut player = Player::new("p.a", "1.2.3.4:5000");
    player.allocate(&mut world).unwrap();
    player.permit(&mut world, &[at("192.168.7.1:80")]).unwrap();
    assert_eq!(player.permit(&mut world, &[at("10.0.0.1:80")]), Err(403));
    assert_eq!(
        player.permit(&mut world, &[at("224.0.0.1:80")]),
        Err(403),
        "multicast never"
    );
}

#[test]
fn families_do_not_mix() {
    let mut world = World::new(config());
    let mut player = Player::new("p.a", "1.2.3.4:5000");
    player.allocate(&mut world).unwrap();
    world.server.seen(world.now, ip("2a00::1"));
    assert_eq!(player.permit(&mut world, &[at("[2a00::1]:1")]), Err(443));
    assert_eq!(player.bind(&mut world, 0x4000, at("[2a00::1]:1")), Err(443));
    assert_eq!(
        player.permit(&mut world, &[at("[::ffff:127.0.0.1]:1")]),
        Err(403),
        "an IPv4 address in disguise"
    );
}

#[test]
fn a_permission_is_for_an_address_with_all_its_ports_and_five_minutes() {
    let mut world = World::new(config());
    let mut player = Player::new("p.a", "1.2.3.4:5000");
    let relayed = player.allocate(&mut world).unwrap();
    world.server.seen(world.now, ip("8.8.4.4"));
    assert_eq!(world.peer(at("8.8.4.4:53"), relayed, b"x"), Out::Nothing);
    player.permit(&mut world, &[at("8.8.4.4:53")]).unwrap();
    world.pass(5 * MINUTE - Duration::from_secs(1));
    match world.peer(at("8.8.4.4:1111"), relayed, b"hello") {
        Out::Client(to, bytes) => {
            assert_eq!(to, player.client);
            assert_eq!(data_of(&bytes), (at("8.8.4.4:1111"), b"hello".to_vec()));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(world.peer(at("8.8.4.5:53"), relayed, b"x"), Out::Nothing);
    let out = player.send(&mut world, at("8.8.4.4:2222"), b"hi");
    let socket = at(&format!("10.0.0.9:{}", relayed.port()));
    assert_eq!(out, Out::Peer(socket, at("8.8.4.4:2222"), b"hi".to_vec()));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.peer(at("8.8.4.4:53"), relayed, b"x"), Out::Nothing);
    assert_eq!(player.send(&mut world, at("8.8.4.4:53"), b"x"), Out::Nothing);
    assert_eq!(world.server.counters().unpermitted_packets, 4);
}

#[test]
fn there_are_so_many_permissions_and_expired_ones_make_room() {
    let mut config = config();
    config.allow_peers = vec!["192.168.0.0/16".parse().unwrap()];
    config.limits = Limits {
        permissions: 3,
        ..config.limits
    };
    let mut world = World::new(config);
    let mut player = Player::new("p.a", "1.2.3.4:5000");
    player.allocate(&mut world).unwrap();
    let peer = |number: u8| at(&format!("192.168.0.{number}:1"));
    player.permit(&mut world, &[peer(1), peer(2), peer(3)]).unwrap();
    player.permit(&mut world, &[peer(3), peer(1)]).unwrap();
    assert_eq!(player.permit(&mut world, &[peer(4)]), Err(508));
    world.pass(5 * MINUTE);
    player.permit(&mut world, &[peer(4)]).unwrap();
}

#[test]
fn a_permission_names_somebody() {
    let mut world = World::new(config());
    let mut player = Player::new("p.a", "1.2.3.4:5000");
    player.allocate(&mut world).unwrap();
    assert_eq!(player.permit(&mut world, &[]), Err(400));
}
