//! A control plane that dies and starts again.

use crate::world::{Person, World, seconds};
use lanrage_proto::control::{Request, ServerMessage};
use lanrage_proto::ids::{Incarnation, Version};
use lanrage_registry::{snapshot_from_bytes, snapshot_to_bytes};

fn version(world: &mut World, connection: lanrage_registry::ConnId) -> Version {
    match world.ask(connection, Request::Snapshot { page: 0 }) {
        ServerMessage::Snapshot { version, .. } => version,
        other => panic!("expected a snapshot, got {other:?}"),
    }
}

#[test]
fn everybody_is_back_with_the_same_leases_and_a_new_incarnation() {
    let mut world = World::new();
    let founder = Person::new(0);
    let id = founder.party_id();
    let host = world.found(&founder);
    let (first, _) = world.join(&Person::new(1), &id);
    world.join(&Person::new(2), &id);
    let statement = Person::new(1).word(1);
    world.done(first, Request::LeaveParty { statement });
    let record = founder.word(3);
    world.done(host, Request::UpdatePeer { record });
    let before: Incarnation = version(&mut world, host).incarnation;

    world.restart(seconds(3600));
    let (back, slot) = world.join(&Person::new(2), &id);
    assert_eq!(slot, 3);
    assert_ne!(version(&mut world, back).incarnation, before);
    let members = world.members(back);
    assert_eq!(members.len(), 2, "{members:?}");
    assert!(!members[0].online && members[0].record == Some(founder.word(3)));
    assert_eq!(
        world.join(&Person::new(3), &id).1,
        4,
        "reservations survive as well"
    );
    assert_eq!(world.join(&Person::new(1), &id).1, 2);
    world.found(&founder);
}

#[test]
fn an_outage_deletes_nobody() {
    let mut world = World::new();
    let founder = Person::new(0);
    world.found(&founder);
    world.restart(seconds(3600));
    world.pass(seconds(290), &[]);
    assert_eq!(world.registry.live_parties(), 1);
    world.pass(seconds(71), &[]);
    assert_eq!(world.registry.live_parties(), 0);
    assert_eq!(world.mirror.parties().count(), 0);
}

#[test]
fn an_ended_party_stays_ended() {
    let mut world = World::new();
    let founder = Person::new(0);
    let host = world.found(&founder);
    let statement = founder.word(9);
    world.done(host, Request::DissolveParty { statement });
    world.restart(seconds(10));
    let connection = world.prove(&Person::new(1), &founder.party_id());
    let dissolved = ServerMessage::PartyDissolved {
        statement: Some(founder.word(9)),
    };
    assert_eq!(
        world.ask(connection, Request::JoinParty { resume: None }),
        dissolved
    );
}

#[test]
fn a_snapshot_file_carries_a_party_over() {
    let mut world = World::new();
    let founder = Person::new(0);
    world.found(&founder);
    world.join(&Person::new(1), &founder.party_id());
    let bytes = snapshot_to_bytes(&world.mirror.to_vec()).unwrap();
    assert_eq!(snapshot_from_bytes(&bytes).unwrap(), world.registry.stored());
}
