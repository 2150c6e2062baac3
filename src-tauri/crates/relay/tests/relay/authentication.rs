//! Who is let in, and what strangers are told.

use crate::world::{
    Player, REALM, UNIX, World, config, decode, encode, error_of, nonce_of, transaction, udp,
};
use lanrage_relay::credentials::Secret;
use std::time::Duration;
use stun_rs::attributes::stun::{MessageIntegrity, Nonce, Realm, UserName};
use stun_rs::attributes::turn::RequestedTrasport;
use stun_rs::{MessageClass, StunMessageBuilder, methods};

#[test]
fn a_stranger_is_challenged_and_gets_in_with_the_nonce() {
    let mut world = World::new(config());
    let bare = StunMessageBuilder::new(methods::ALLOCATE, MessageClass::Request)
        .with_transaction_id(transaction(1))
        .with_attribute(RequestedTrasport::default())
        .build();
    let bytes = world.ask(&udp("198.51.100.1:5000"), &encode(&bare)).unwrap();
    let answer = decode(&bytes);
    assert_eq!(error_of(&answer), 401);
    assert_eq!(answer.get::<Realm>().unwrap().expect_realm().as_str(), REALM);
    assert!(answer.get::<MessageIntegrity>().is_none());
    let mut player = Player::new("p.a", "198.51.100.1:5000");
    player.nonce = nonce_of(&answer);
    player.allocate(&mut world).unwrap();
    assert_eq!(world.server.counters().challenges, 1);
    assert_eq!(world.server.allocations(), 1);
}

#[test]
fn a_nonce_serves_its_own_client_only_and_is_replaced_when_stale() {
    let mut world = World::new(config());
    let mut player = Player::new("p.a", "198.51.100.1:5000");
    player.allocate(&mut world).unwrap();
    let old = player.nonce.clone();
    let mut thief = Player::new("p.a", "198.51.100.9:5000");
    thief.nonce = old.clone();
    let request = thief.request(methods::ALLOCATE, &[RequestedTrasport::default().into()]);
    assert_eq!(
        error_of(&decode(&world.ask(&thief.client, &request).unwrap())),
        438
    );
    world.pass(Duration::from_secs(599));
    player.refresh(&mut world, 600).unwrap();
    assert_eq!(player.nonce, old);
    world.pass(Duration::from_secs(10));
    player.refresh(&mut world, 600).unwrap();
    assert_ne!(player.nonce, old);
}

#[test]
fn wrong_expired_and_malformed_names_are_refused() {
    let mut world = World::new(config());
    let mut allocate = |username: &str, password: &str| {
        let mut player = Player::new("p.a", "198.51.100.1:5000");
        player.credentials.username = username.to_owned();
        player.credentials.password = password.to_owned();
        player.allocate(&mut world)
    };
    let secret = Secret::new("north");
    let good = format!("{}:p.a", UNIX + 60);
    assert_eq!(allocate(&good, "guess"), Err(401));
    assert_eq!(allocate(&good, &Secret::new("south").password(&good)), Err(401));
    for name in [
        format!("{UNIX}:p.a"),
        format!("{}:p.a", UNIX - 1),
        "p.a".to_owned(),
        "1e99:p.a".to_owned(),
    ] {
        assert_eq!(allocate(&name, &secret.password(&name)), Err(401), "{name}");
    }
    assert!(allocate(&good, &secret.password(&good)).is_ok());
    assert_eq!(world.server.counters().bad_credentials, 6);
    assert_eq!(world.server.allocations(), 1);
}

#[test]
fn what_is_missing_beside_a_signature_is_a_bad_request() {
    let mut world = World::new(config());
    let player = Player::new("p.a", "198.51.100.1:5000");
    let message = StunMessageBuilder::new(methods::ALLOCATE, MessageClass::Request)
        .with_transaction_id(transaction(1))
        .with_attribute(UserName::new(&player.credentials.username).unwrap())
        .with_attribute(Nonce::new("x").unwrap())
        .with_attribute(MessageIntegrity::new(player.key()))
        .build();
    let answer = decode(&world.ask(&player.client, &encode(&message)).unwrap());
    assert_eq!(error_of(&answer), 400);
}

#[test]
fn nothing_counts_that_stands_behind_the_signature() {
    let mut world = World::new(config());
    let mut player = Player::new("p.a", "198.51.100.1:5000");
    player.nonce = "stale".to_owned();
    assert_eq!(
        player.ask(&mut world, methods::ALLOCATE, &[]).map(drop),
        Err(400),
        "no transport"
    );
    // REQUESTED-TRANSPORT, added by somebody on the way.
    let mut request = player.request(methods::ALLOCATE, &[]);
    request.extend([0, 0x19, 0, 4, 17, 0, 0, 0]);
    let length = (request.len() - 20) as u16;
    request[2..4].copy_from_slice(&length.to_be_bytes());
    let answer = player.read(&world.ask(&player.client, &request).unwrap());
    assert_eq!(error_of(&answer), 400);
}

#[test]
fn a_changed_bit_anywhere_is_noticed() {
    let mut world = World::new(config());
    let mut player = Player::new("p.a", "198.51.100.1:5000");
    assert_eq!(player.ask(&mut world, methods::ALLOCATE, &[]).map(drop), Err(400));
    let request = player.request(methods::ALLOCATE, &[RequestedTrasport::default().into()]);
    for at in (0..request.len()).filter(|at| !(4..8).contains(at)) {
        let mut changed = request.clone();
        changed[at] ^= 1;
        world.client(&player.client, &changed);
        assert_eq!(world.server.allocations(), 0, "byte {at}");
        // Not to be slowed down for being a nuisance.
        world.pass(Duration::from_millis(100));
    }
    assert!(world.ask(&player.client, &request).is_some());
    assert_eq!(world.server.allocations(), 1);
}

#[test]
fn play_goes_on_when_the_name_has_expired() {
    let mut world = World::new(config());
    let mut player = Player::new("p.a", "198.51.100.1:5000");
    player.credentials = Secret::new("north").credentials(UNIX + 60, "p.a");
    player.allocate(&mut world).unwrap();
    let mut late = Player {
        client: udp("198.51.100.1:5001"),
        ..player.clone()
    };
    for _ in 0..20 {
        world.pass(Duration::from_secs(500));
        player.refresh(&mut world, 600).unwrap();
    }
    assert_eq!(late.allocate(&mut world), Err(401));
}

#[test]
fn when_the_clock_is_set_names_expire_by_the_new_time() {
    let mut world = World::new(config());
    let mut player = Player::new("p.a", "198.51.100.1:5000");
    world.server.set_clock(world.now, UNIX + 7200);
    assert_eq!(player.allocate(&mut world), Err(401));
    world.server.set_clock(world.now, UNIX);
    player.allocate(&mut world).unwrap();
}

#[test]
fn an_allocation_belongs_to_one_name() {
    let mut world = World::new(config());
    let mut player = Player::new("p.a", "198.51.100.1:5000");
    player.allocate(&mut world).unwrap();
    player.credentials = Secret::new("north").credentials(UNIX + 7200, "p.a");
    assert_eq!(player.refresh(&mut world, 600), Err(441));
    player.credentials.password = "guess".to_owned();
    assert_eq!(player.refresh(&mut world, 600), Err(401));
}
