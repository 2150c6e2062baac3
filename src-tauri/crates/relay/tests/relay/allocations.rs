//! How allocations begin, go on and end.

use crate::world::{
    Out, PUBLIC, Player, World, at, config, decode, encode, error_of, ip, lifetime_of, relayed_of,
    transaction, udp,
};
use lanrage_relay::{Config, Limits, RelayAddress};
use std::collections::BTreeSet;
use std::time::Duration;
use stun_rs::attributes::StunAttribute;
use stun_rs::attributes::stun::XorMappedAddress;
use stun_rs::attributes::turn::{
    DontFragment, EvenPort, LifeTime, RequestedAddressFamily, RequestedTrasport, ReservationToken,
};
use stun_rs::{AddressFamily, MessageClass, StunMessageBuilder, methods};

fn both_families() -> Config {
    let mut config = config();
    config.relays.push(RelayAddress {
        bind: ip("::"),
        announced: ip("2a00::9"),
    });
    config
}

/// Allocates with these attributes beside the transport.
fn allocate(
    world: &mut World,
    player: &mut Player,
    attributes: &[StunAttribute],
) -> Result<stun_rs::StunMessage, u16> {
    let all = [&[RequestedTrasport::default().into()], attributes].concat();
    player.ask(world, methods::ALLOCATE, &all)
}

#[test]
fn an_allocation_has_a_public_address_and_a_socket_behind_it() {
    let mut world = World::new(config());
    let mut player = Player::new("p.a", "198.51.100.1:5000");
    let answer = allocate(&mut world, &mut player, &[]).unwrap();
    let relayed = relayed_of(&answer);
    assert_eq!(relayed.ip(), ip(PUBLIC));
    assert!((50_000..=50_099).contains(&relayed.port()));
    let socket = world.sockets.values().next().unwrap();
    assert_eq!((socket.ip(), socket.port()), (ip("10.0.0.9"), relayed.port()));
    let mapped = answer
        .get::<XorMappedAddress>()
        .unwrap()
        .expect_xor_mapped_address();
    assert_eq!(*mapped.socket_address(), at("198.51.100.1:5000"));
    assert_eq!(lifetime_of(&answer), 600);
}

#[test]
fn a_lifetime_is_between_ten_minutes_and_an_hour() {
    let mut world = World::new(config());
    for (number, (asked, granted)) in [(1, 600), (600, 600), (1800, 1800), (3600, 3600), (999_999, 3600)]
        .into_iter()
        .enumerate()
    {
        let mut player = Player::new(&format!("p.{number}"), &format!("198.51.100.1:{}", 5000 + number));
        let answer = allocate(&mut world, &mut player, &[LifeTime::new(asked).into()]).unwrap();
        assert_eq!(lifetime_of(&answer), granted);
        assert_eq!(player.refresh(&mut world, asked), Ok(granted));
    }
}

#[test]
fn it_ends_by_time_unless_refreshed() {
    let mut world = World::new(config());
    let mut player = Player::new("p.a", "198.51.100.1:5000");
    player.allocate(&mut world).unwrap();
    world.pass(Duration::from_secs(599));
    player.refresh(&mut world, 600).unwrap();
    world.pass(Duration::from_secs(599));
    assert_eq!(world.sockets.len(), 1);
    world.pass(Duration::from_secs(1));
    assert!(world.sockets.is_empty());
    assert_eq!(world.server.allocations(), 0);
    assert_eq!(player.refresh(&mut world, 600), Err(437));
}

#[test]
fn it_ends_when_its_client_says_so() {
    let mut world = World::new(config());
    let mut player = Player::new("p.a", "198.51.100.1:5000");
    player.allocate(&mut world).unwrap();
    assert_eq!(player.refresh(&mut world, 0), Ok(0));
    assert!(world.sockets.is_empty());
    assert_eq!(player.refresh(&mut world, 0), Err(437));
    player.allocate(&mut world).unwrap();
}

#[test]
fn it_ends_with_its_stream() {
    let mut world = World::new(config());
    let mut player = Player::new("p.a", "198.51.100.1:5000").by_stream(4);
    player.allocate(&mut world).unwrap();
    assert!(world.server.serves(&player.client));
    world.server.client_gone(world.now, &player.client);
    world.act();
    assert!(world.sockets.is_empty() && !world.server.serves(&player.client));
    world.server.client_gone(world.now, &player.client);
    world.act();
}

#[test]
fn it_ends_after_a_day_however_often_it_is_refreshed() {
    let mut world = World::new(config());
    let mut player = Player::new("p.a", "198.51.100.1:5000");
    player.allocate(&mut world).unwrap();
    for _ in 0..47 {
        world.pass(Duration::from_secs(590));
        player.refresh(&mut world, 3600).unwrap();
        world.pass(Duration::from_secs(1210));
    }
    // 1,800 s of the day are left.
    assert_eq!(player.refresh(&mut world, 3600), Ok(1800));
    world.pass(Duration::from_secs(1800));
    assert_eq!(world.server.allocations(), 0);
}

#[test]
fn a_repeated_request_gets_the_same_answer_and_another_one_is_refused() {
    let mut world = World::new(config());
    let mut player = Player::new("p.a", "198.51.100.1:5000");
    assert_eq!(player.ask(&mut world, methods::ALLOCATE, &[]).map(drop), Err(400));
    let request = player.request(methods::ALLOCATE, &[RequestedTrasport::default().into()]);
    let first = world.ask(&player.client, &request).unwrap();
    world.pass(Duration::from_secs(3));
    assert_eq!(world.ask(&player.client, &request).unwrap(), first);
    assert_eq!(world.server.allocations(), 1);
    assert_eq!(player.allocate(&mut world), Err(437));
}

#[test]
fn only_udp_is_relayed() {
    let mut world = World::new(config());
    let mut player = Player::new("p.a", "198.51.100.1:5000");
    assert_eq!(player.ask(&mut world, methods::ALLOCATE, &[]).map(drop), Err(400));
    // REQUESTED-TRANSPORT: TCP.
    let request = player.signed(0x0003, &[0, 0x19, 0, 4, 6, 0, 0, 0]);
    let answer = world.ask(&player.client, &request).unwrap();
    assert_eq!(error_of(&player.read(&answer)), 442);
}

#[test]
fn the_family_is_as_asked_for() {
    let mut world = World::new(both_families());
    let family = |family| StunAttribute::from(RequestedAddressFamily::new(family));
    let mut one = Player::new("p.a", "198.51.100.1:5000");
    let answer = allocate(&mut world, &mut one, &[family(AddressFamily::IPv6)]).unwrap();
    assert_eq!(relayed_of(&answer).ip(), ip("2a00::9"));
    let refresh = [LifeTime::new(600).into(), family(AddressFamily::IPv4)];
    assert_eq!(
        one.ask(&mut world, methods::REFRESH, &refresh).map(drop),
        Err(443)
    );
    let mut two = Player::new("p.a", "198.51.100.1:5001");
    let answer = allocate(&mut world, &mut two, &[family(AddressFamily::IPv4)]).unwrap();
    assert_eq!(relayed_of(&answer).ip(), ip(PUBLIC));
    let mut world = World::new(config());
    let mut three = Player::new("p.a", "198.51.100.1:5000");
    assert_eq!(
        allocate(&mut world, &mut three, &[family(AddressFamily::IPv6)]).map(drop),
        Err(440)
    );
}

#[test]
fn an_even_port_can_be_had_and_a_pair_can_not() {
    let mut world = World::new(config());
    for number in 0..20 {
        let mut player = Player::new(&format!("p.{number}"), &format!("198.51.100.1:{}", 5000 + number));
        let answer = allocate(&mut world, &mut player, &[EvenPort::new(false).into()]).unwrap();
        assert_eq!(relayed_of(&answer).port() % 2, 0);
    }
    let mut player = Player::new("p.x", "198.51.100.1:4000");
    assert_eq!(
        allocate(&mut world, &mut player, &[EvenPort::new(true).into()]).map(drop),
        Err(508)
    );
    let token = ReservationToken::from([1; 8]);
    assert_eq!(
        allocate(&mut world, &mut player, &[token.into()]).map(drop),
        Err(508)
    );
    assert_eq!(
        allocate(&mut world, &mut player, &[DontFragment::default().into()]).map(drop),
        Err(420)
    );
}

#[test]
fn requests_need_an_allocation() {
    let mut world = World::new(config());
    let mut player = Player::new("p.a", "198.51.100.1:5000");
    assert_eq!(player.refresh(&mut world, 600), Err(437));
    assert_eq!(player.permit(&mut world, &[at("1.2.3.4:5")]), Err(437));
    assert_eq!(player.bind(&mut world, 0x4000, at("1.2.3.4:5")), Err(437));
    assert_eq!(player.send(&mut world, at("1.2.3.4:5"), b"x"), Out::Nothing);
    assert_eq!(player.channel(&mut world, 0x4000, b"x"), Out::Nothing);
}

#[test]
fn ports_that_others_have_are_passed_over() {
    let mut config = config();
    config.ports = 50_000..=50_003;
    let mut world = World::new(config);
    world.taken = (50_000..50_003)
        .map(|port| at(&format!("10.0.0.9:{port}")))
        .collect();
    let mut player = Player::new("p.a", "198.51.100.1:5000");
    assert_eq!(
        player.allocate(&mut world).map(|relayed| relayed.port()),
        Ok(50_003)
    );
    let mut other = Player::new("p.b", "198.51.100.1:5001");
    assert_eq!(other.allocate(&mut world), Err(508));
    assert_eq!(world.server.allocations(), 1);
    assert!(world.server.counters().no_capacity > 0);
}

#[test]
fn a_port_rests_before_another_gets_it() {
    let mut config = config();
    config.ports = 50_000..=50_001;
    let mut world = World::new(config);
    let mut player = Player::new("p.a", "198.51.100.1:5000");
    let mut ports = BTreeSet::new();
    for _ in 0..2 {
        ports.insert(player.allocate(&mut world).unwrap().port());
        player.refresh(&mut world, 0).unwrap();
    }
    assert_eq!(ports.len(), 2);
    assert_eq!(player.allocate(&mut world), Err(508));
    world.pass(Duration::from_secs(120));
    player.allocate(&mut world).unwrap();
}

#[test]
fn members_have_their_share_and_the_server_its_end() {
    let mut config = config();
    config.limits = Limits {
        member_allocations: 2,
        allocations: 3,
        ..config.limits
    };
    let mut world = World::new(config);
    let mut allocate =
        |id: &str, port: u16| Player::new(id, &format!("198.51.100.1:{port}")).allocate(&mut world);
    allocate("p.a", 1).unwrap();
    allocate("p.a", 2).unwrap();
    assert_eq!(allocate("p.a", 3), Err(486));
    allocate("p.b", 4).unwrap();
    assert_eq!(allocate("p.c", 5), Err(508));
    let counters = world.server.counters();
    assert_eq!(
        (counters.over_quota, counters.no_capacity, counters.allocations),
        (1, 1, 3)
    );
}

#[test]
fn tcp_relays_are_not_even_listened_to() {
    let mut world = World::new(config());
    let mut player = Player::new("p.a", "198.51.100.1:5000").by_stream(1);
    player.allocate(&mut world).unwrap();
    // Connect and ConnectionBind (RFC 6062).
    for method in [0x000au16, 0x000b] {
        let message =
            StunMessageBuilder::new(stun_rs::MessageType::from(method).method(), MessageClass::Request)
                .with_transaction_id(transaction(1))
                .build();
        assert_eq!(world.ask(&player.client, &encode(&message)), None);
    }
}

#[test]
fn a_socket_that_opens_too_late_is_closed_again() {
    use lanrage_relay::Action;
    let mut world = World::new(config());
    let mut player = Player::new("p.a", "198.51.100.1:5000").by_stream(1);
    assert_eq!(player.ask(&mut world, methods::ALLOCATE, &[]).map(drop), Err(400));
    let request = player.request(methods::ALLOCATE, &[RequestedTrasport::default().into()]);
    let (now, client) = (world.now, player.client);
    world.server.from_client(now, &client, &request, &mut Vec::new());
    let Some(Action::Open { relay, .. }) = world.server.poll() else {
        panic!("no socket is asked for");
    };
    world.server.from_client(now, &client, &request, &mut Vec::new());
    assert_eq!(
        world.server.poll(),
        None,
        "a repetition waits for the same socket"
    );
    world.server.client_gone(now, &client);
    world.server.relay_opened(now, relay, true);
    assert_eq!(world.server.poll(), Some(Action::Close { relay }));
    assert_eq!(world.server.poll(), None);
    assert_eq!(world.server.allocations(), 0);
}

#[test]
fn a_stun_server_without_relays_allocates_nothing() {
    let mut config = config();
    config.relays.clear();
    let mut world = World::new(config);
    let mut player = Player::new("p.a", "198.51.100.1:5000");
    assert_eq!(player.allocate(&mut world), Err(440));
    let bare = StunMessageBuilder::new(methods::BINDING, MessageClass::Request).build();
    let answer = decode(&world.ask(&udp("198.51.100.1:5000"), &encode(&bare)).unwrap());
    assert_eq!(answer.class(), MessageClass::SuccessResponse);
    let bare = StunMessageBuilder::new(methods::ALLOCATE, MessageClass::Request).build();
    let answer = decode(&world.ask(&udp("198.51.100.1:5000"), &encode(&bare)).unwrap());
    assert_eq!(error_of(&answer), 401);
}
