//! Channels.

use crate::world::{Out, Player, World, at, config, data_of};
use lanrage_relay::{Config, Limits};
use std::time::Duration;
use stun_rs::attributes::turn::{ChannelNumber, XorPeerAddress};
use stun_rs::methods;

const MINUTE: Duration = Duration::from_secs(60);

fn in_a_lan() -> Config {
    Config {
        allow_peers: vec!["192.168.0.0/16".parse().unwrap()],
        ..config()
    }
}

#[test]
fn a_channel_carries_both_ways() {
    let mut world = World::new(in_a_lan());
    let mut player = Player::new("p.a", "1.2.3.4:5000");
    let relayed = player.allocate(&mut world).unwrap();
    let peer = at("192.168.0.1:7");
    player.bind(&mut world, 0x4001, peer).unwrap();
    let socket = at(&format!("10.0.0.9:{}", relayed.port()));
    assert_eq!(
        player.channel(&mut world, 0x4001, b"hello"),
        Out::Peer(socket, peer, b"hello".to_vec())
    );
    assert_eq!(
        player.channel(&mut world, 0x4001, b""),
        Out::Peer(socket, peer, Vec::new())
    );
    assert_eq!(
        world.peer(peer, relayed, b"back"),
        Out::Client(player.client, [&[0x40, 1, 0, 4][..], b"back"].concat())
    );
    match world.peer(at("192.168.0.1:8"), relayed, b"other port") {
        Out::Client(_, bytes) => assert_eq!(data_of(&bytes).0, at("192.168.0.1:8")),
        other => panic!("{other:?}"),
    }
    assert_eq!(player.channel(&mut world, 0x4002, b"x"), Out::Nothing);
}

#[test]
fn on_a_stream_frames_are_padded() {
    let mut world = World::new(in_a_lan());
    let mut player = Player::new("p.a", "1.2.3.4:5000").by_stream(1);
    let relayed = player.allocate(&mut world).unwrap();
    let peer = at("192.168.0.1:7");
    player.bind(&mut world, 0x4001, peer).unwrap();
    assert_eq!(
        world.peer(peer, relayed, b"12345"),
        Out::Client(player.client, b"\x40\x01\x00\x0512345\0\0\0".to_vec())
    );
    match player.channel(&mut world, 0x4001, b"12345") {
        Out::Peer(_, _, bytes) => assert_eq!(bytes, b"12345", "and padding is cut off"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn numbers_and_peers_belong_together() {
    let mut world = World::new(in_a_lan());
    let mut player = Player::new("p.a", "1.2.3.4:5000");
    player.allocate(&mut world).unwrap();
    player.refresh(&mut world, 3600).unwrap();
    let (one, two) = (at("192.168.0.1:7"), at("192.168.0.1:8"));
    player.bind(&mut world, 0x4001, one).unwrap();
    player.bind(&mut world, 0x4001, one).unwrap();
    assert_eq!(player.bind(&mut world, 0x4001, two), Err(400));
    assert_eq!(player.bind(&mut world, 0x4002, one), Err(400));
    player.bind(&mut world, 0x4002, two).unwrap();
    world.pass(10 * MINUTE);
    player.bind(&mut world, 0x4001, two).unwrap();
    player.bind(&mut world, 0x4002, one).unwrap();
    match player.channel(&mut world, 0x4002, b"x") {
        Out::Peer(_, peer, _) => assert_eq!(peer, one),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_channel_lasts_ten_minutes_and_lets_its_peer_in_for_five() {
    let mut world = World::new(in_a_lan());
    let mut player = Player::new("p.a", "1.2.3.4:5000");
    let relayed = player.allocate(&mut world).unwrap();
    player.refresh(&mut world, 3600).unwrap();
    let peer = at("192.168.0.1:7");
    player.bind(&mut world, 0x4001, peer).unwrap();
    world.pass(5 * MINUTE);
    assert_eq!(world.peer(peer, relayed, b"x"), Out::Nothing);
    assert!(matches!(player.channel(&mut world, 0x4001, b"x"), Out::Peer(..)));
    player.permit(&mut world, &[peer]).unwrap();
    world.pass(4 * MINUTE);
    assert!(matches!(world.peer(peer, relayed, b"x"), Out::Client(_, bytes) if bytes[0] == 0x40));
    world.pass(MINUTE);
    assert_eq!(player.channel(&mut world, 0x4001, b"x"), Out::Nothing);
    player.permit(&mut world, &[peer]).unwrap();
    assert!(
        matches!(world.peer(peer, relayed, b"x"), Out::Client(_, bytes) if bytes[0] == 0),
        "a Data indication"
    );
}

#[test]
fn numbers_outside_the_range_and_half_requests_are_refused() {
    let mut world = World::new(in_a_lan());
    let mut player = Player::new("p.a", "1.2.3.4:5000");
    player.allocate(&mut world).unwrap();
    for number in [0, 0x3fff, 0x7fff, 0x8000, 0xffff] {
        assert_eq!(
            player.bind(&mut world, number, at("192.168.0.1:7")),
            Err(400),
            "{number:x}"
        );
    }
    let number = ChannelNumber::new(0x4000).into();
    let peer = XorPeerAddress::from(at("192.168.0.1:7")).into();
    assert_eq!(
        player.ask(&mut world, methods::CHANNEL_BIND, &[number]).map(drop),
        Err(400)
    );
    assert_eq!(
        player.ask(&mut world, methods::CHANNEL_BIND, &[peer]).map(drop),
        Err(400)
    );
}

#[test]
fn there_are_so_many_channels() {
    let mut config = in_a_lan();
    config.limits = Limits {
        permissions: 3,
        ..config.limits
    };
    let mut world = World::new(config);
    let mut player = Player::new("p.a", "1.2.3.4:5000");
    player.allocate(&mut world).unwrap();
    player.refresh(&mut world, 3600).unwrap();
    let peer = |port: u16| at(&format!("192.168.0.1:{port}"));
    for number in 1..4 {
        player.bind(&mut world, 0x4000 + number, peer(number)).unwrap();
    }
    assert_eq!(player.bind(&mut world, 0x4009, peer(9)), Err(508));
    world.pass(10 * MINUTE);
    player.bind(&mut world, 0x4009, peer(9)).unwrap();
    player.bind(&mut world, 0x4008, peer(1)).unwrap();
}

#[test]
fn a_short_frame_is_dropped() {
    let mut world = World::new(in_a_lan());
    let mut player = Player::new("p.a", "1.2.3.4:5000");
    player.allocate(&mut world).unwrap();
    player.bind(&mut world, 0x4001, at("192.168.0.1:7")).unwrap();
    for short in [&b"\x40"[..], b"\x40\x01\x00", b"\x40\x01\x00\x05hell"] {
        assert_eq!(world.client(&player.client, short), Out::Nothing);
    }
}
