//! Floods and forgeries: shed, with memory bounded, while players play on.

use crate::world::{Out, Player, World, at, config, encode, transaction};
use lanrage_relay::{Client, Link, Service};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use stun_rs::attributes::turn::RequestedTrasport;
use stun_rs::{MessageClass, StunMessageBuilder, methods};

fn from(address: [u8; 4], port: u16) -> Client {
    Client {
        link: Link::Datagram,
        service: Service::Turn,
        local: at("9.9.9.9:3478"),
        remote: SocketAddr::new(IpAddr::from(address), port),
    }
}

fn bare(method: stun_rs::MessageMethod) -> Vec<u8> {
    let message = StunMessageBuilder::new(method, MessageClass::Request)
        .with_transaction_id(transaction(1))
        .with_attribute(RequestedTrasport::default());
    encode(&match method {
        methods::BINDING => StunMessageBuilder::new(method, MessageClass::Request).build(),
        _ => message.build(),
    })
}

#[test]
fn one_source_gets_so_many_answers_a_second() {
    for method in [methods::BINDING, methods::ALLOCATE] {
        let mut world = World::new(config());
        let request = bare(method);
        for number in 0..10_000u16 {
            world.client(&from([198, 51, 100, number as u8], number.max(1)), &request);
            world.pass(Duration::from_micros(100));
        }
        let answers = world.answers.len();
        assert!((300..=410).contains(&answers), "{answers} answers in a second");
        let sent: usize = world.answers.iter().map(|(_, _, bytes)| bytes.len()).sum();
        assert!(sent < 10_000 * request.len(), "{sent} bytes");
    }
}

#[test]
fn a_flood_from_everywhere_leaves_players_alone() {
    let mut config = config();
    config.allow_peers = vec!["192.168.0.0/16".parse().unwrap()];
    let mut world = World::new(config);
    let mut player = Player::new("p.a", "1.2.3.4:5000");
    let relayed = player.allocate(&mut world).unwrap();
    player.bind(&mut world, 0x4000, at("192.168.0.1:7")).unwrap();
    let requests = [
        bare(methods::BINDING),
        bare(methods::ALLOCATE),
        bare(methods::REFRESH),
    ];
    for number in 0..200_000u32 {
        let [_, a, b, c] = number.wrapping_mul(2_654_435_761).to_be_bytes();
        world.client(
            &from([20 + (number % 100) as u8, a, b, c], 1000),
            &requests[number as usize % 3],
        );
        world.answers.clear();
        if number % 1000 == 0 {
            assert_ne!(player.channel(&mut world, 0x4000, b"play"), Out::Nothing);
            assert_ne!(world.peer(at("192.168.0.1:7"), relayed, b"on"), Out::Nothing);
            world.pass(Duration::from_millis(10));
        }
    }
    player.refresh(&mut world, 600).unwrap();
    assert_eq!(world.server.allocations(), 1);
}

#[test]
fn a_flood_in_everybodys_name_is_not_answered_to_everybody_but_members_are_let_in() {
    let mut world = World::new(config());
    let request = bare(methods::ALLOCATE);
    let flood = |world: &mut World, from_number: u32| {
        for number in from_number..from_number + 10_000 {
            let [_, a, b, c] = number.wrapping_mul(2_654_435_761).to_be_bytes();
            world.client(&from([20 + (number % 100) as u8, a, b, c], 1000), &request);
            world.pass(Duration::from_micros(100));
        }
    };
    flood(&mut world, 0);
    let answers = world.answers.len();
    assert!(
        (2_000..=2_600).contains(&answers),
        "{answers} answers in the first second"
    );
    // Who came by the control plane is known to be there.
    let mut member = Player::new("p.a", "198.51.100.1:5000");
    world.server.seen(world.now, member.client.remote.ip());
    member.allocate(&mut world).unwrap();
    world.answers.clear();
    flood(&mut world, 10_000);
    let answers = world.answers.len();
    assert!(answers <= 600, "{answers} answers in the next second");
    assert_eq!(world.server.allocations(), 1);
}

#[test]
fn a_replayed_request_does_nothing_new() {
    let mut world = World::new(config());
    let mut player = Player::new("p.a", "1.2.3.4:5000");
    assert_eq!(player.ask(&mut world, methods::ALLOCATE, &[]).map(drop), Err(400));
    let request = player.request(methods::ALLOCATE, &[RequestedTrasport::default().into()]);
    world.ask(&player.client, &request).unwrap();
    for _ in 0..100 {
        world.client(&player.client, &request);
        // From elsewhere the nonce is a stranger's.
        world.client(&from([198, 51, 100, 7], 5000), &request);
    }
    assert_eq!(world.server.allocations(), 1);
    assert_eq!(world.sockets.len(), 1);
}

#[test]
fn one_allocation_can_not_keep_the_server_busy() {
    let mut world = World::new(config());
    let mut player = Player::new("p.a", "1.2.3.4:5000");
    player.allocate(&mut world).unwrap();
    let request = player.request(methods::REFRESH, &[]);
    world.answers.clear();
    for _ in 0..5_000 {
        world.client(&player.client, &request);
    }
    assert!(world.answers.len() <= 600, "{}", world.answers.len());
    world.pass(Duration::from_secs(1));
    player.refresh(&mut world, 600).unwrap();
}

#[test]
fn guessing_passwords_is_slow() {
    let mut world = World::new(config());
    let mut player = Player::new("p.a", "198.51.100.1:5000");
    player.credentials.password = "guess".to_owned();
    assert_eq!(player.allocate(&mut world), Err(401));
    let request = player.request(methods::ALLOCATE, &[RequestedTrasport::default().into()]);
    for _ in 0..10_000 {
        world.client(&player.client, &request);
    }
    assert!(world.server.counters().bad_credentials <= 300);
    assert!(world.server.counters().too_many_requests >= 9_700);
}
