//! Who asks for too much.

use crate::world::{AUTHORITY, Person, World, seconds, source};
use lanrage_proto::FaultCode;
use lanrage_proto::admission::{self, Proof};
use lanrage_proto::control::{Request, ServerMessage};
use lanrage_registry::{Config, Source};
use std::net::IpAddr;

#[test]
fn a_flood_is_slowed_and_then_cut_and_the_others_go_on() {
    let mut world = World::new();
    let founder = Person::new(0);
    let host = world.found(&founder);
    let (flooding, _) = world.join(&Person::new(1), &founder.party_id());
    let mut refused = 0;
    while !world.closed.contains(&flooding) {
        match world.ask(flooding, Request::Heartbeat {}) {
            ServerMessage::Done {} => assert_eq!(refused, 0),
            ServerMessage::Fault { code } => {
                assert_eq!(code, FaultCode::TooMany);
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
        assert!(refused < 1000);
    }
    assert!(refused > 100, "a burst alone is forgiven");
    world.done(host, Request::Heartbeat {});
}

#[test]
fn who_pauses_is_heard_again() {
    let mut world = World::new();
    let host = world.found(&Person::new(0));
    while world.ask(host, Request::Heartbeat {}) == (ServerMessage::Done {}) {}
    world.pass(seconds(1), &[]);
    for _ in 0..15 {
        world.done(host, Request::Heartbeat {});
    }
}

#[test]
fn a_joiner_may_signal_a_whole_party_at_once() {
    let mut world = World::new();
    let founder = Person::new(0);
    world.found(&founder);
    let (guest, _) = world.join(&Person::new(1), &founder.party_id());
    for seq in 0..250 {
        let (to, signal) = (founder.identity(), Person::new(1).word(seq));
        world.done(guest, Request::Signal { to, signal });
    }
}

fn found_from(world: &mut World, address: IpAddr, founder: &Person) -> ServerMessage {
    let connection = world.connect_from(Source {
        address: Some(address),
        ..source()
    });
    let id = founder.party_id();
    let challenge = world.challenge(connection, admission::tag(&id));
    let proof = Proof::make(&id, &founder.key, &challenge, AUTHORITY);
    world.ask(connection, Request::Prove { proof });
    let founding = founder.word(0);
    world.ask(connection, Request::RegisterParty { founding })
}

#[test]
fn one_public_address_founds_so_many_parties_and_a_lan_as_many_as_it_likes() {
    let mut world = World::new();
    let too_many = ServerMessage::Fault {
        code: FaultCode::TooMany,
    };
    let public = [203, 0, 113, 7].into();
    let refused = (0..40)
        .filter(|number| found_from(&mut world, public, &Person::new(*number)) == too_many)
        .count();
    assert_eq!(refused, 20);
    for number in 100..140 {
        let answer = found_from(&mut world, [192, 168, 1, 5].into(), &Person::new(number));
        assert_ne!(answer, too_many);
    }
    let other = [203, 0, 113, 8].into();
    assert_ne!(found_from(&mut world, other, &Person::new(200)), too_many);
}

#[test]
fn a_full_control_plane_founds_nothing_more() {
    let mut world = World::with(Config {
        parties: 1,
        ..Config::default()
    });
    world.found(&Person::new(0));
    let late = Person::new(1);
    let connection = world.prove(&late, &late.party_id());
    let founding = late.word(0);
    let code = world.fault(connection, Request::RegisterParty { founding });
    assert_eq!(code, FaultCode::TooMany);
}
