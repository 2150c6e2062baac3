//! Founding, joining and coming back.

use crate::world::{Person, World, seconds, slot_of};
use lanrage_proto::control::{Request, ServerMessage};
use lanrage_proto::{FaultCode, Slot};
use lanrage_registry::Config;

#[test]
fn founding_again_is_harmless_and_another_founding_is_refused() {
    let mut world = World::new();
    let founder = Person::new(0);
    let connection = world.found(&founder);
    let founding = founder.word(0);
    let again = world.ask(connection, Request::RegisterParty { founding });
    assert_eq!(slot_of(&again), Some(1));
    let founding = founder.word(1);
    let other = world.fault(connection, Request::RegisterParty { founding });
    assert_eq!(other, FaultCode::PartyExists);

    // Who holds the ID but is not the founder.
    let guest = Person::new(1);
    let connection = world.prove(&guest, &founder.party_id());
    let founding = guest.word(0);
    let taken = world.fault(connection, Request::RegisterParty { founding });
    assert_eq!(taken, FaultCode::PartyExists);
    let founding = founder.word(0);
    let stolen = world.fault(connection, Request::RegisterParty { founding });
    assert_eq!(stolen, FaultCode::RecordInvalid);
}

#[test]
fn who_comes_back_finds_the_same_slot() {
    let mut world = World::new();
    let founder = Person::new(0);
    let id = founder.party_id();
    let host = world.found(&founder);
    let (anna, anna_slot) = world.join(&Person::new(1), &id);
    let (tom, tom_slot) = world.join(&Person::new(2), &id);
    assert_eq!((anna_slot, tom_slot), (2, 3));
    world.disconnect(anna);
    assert_eq!(world.join(&Person::new(1), &id).1, 2, "after being away");
    let statement = Person::new(2).word(1);
    world.done(tom, Request::LeaveParty { statement });
    assert_eq!(world.join(&Person::new(3), &id).1, 4, "a slot stays reserved");
    assert_eq!(world.join(&Person::new(2), &id).1, 3, "after leaving");
    assert_eq!(world.members(host).len(), 4);
}

#[test]
fn a_party_has_room_for_so_many() {
    let mut world = World::with(Config {
        members: 3,
        ..Config::default()
    });
    let founder = Person::new(0);
    let id = founder.party_id();
    let host = world.found(&founder);
    let (first, _) = world.join(&Person::new(1), &id);
    world.join(&Person::new(2), &id);
    let late = world.prove(&Person::new(3), &id);
    let join = || Request::JoinParty { resume: None };
    assert_eq!(world.fault(late, join()), FaultCode::PartyFull);
    assert_eq!(world.members(host).len(), 3);
    let statement = Person::new(1).word(1);
    world.done(first, Request::LeaveParty { statement });
    assert_eq!(slot_of(&world.ask(late, join())), Some(4));
    assert_eq!(world.fault(first, join()), FaultCode::PartyFull);
}

#[test]
fn leases_survive_a_control_plane_that_lost_its_memory() {
    let mut world = World::new();
    let founder = Person::new(0);
    let id = founder.party_id();
    let early = world.prove(&Person::new(5), &id);
    let resume = |slot| Request::JoinParty {
        resume: Slot::try_from(slot).ok(),
    };
    assert_eq!(world.fault(early, resume(7)), FaultCode::PartyUnknown);
    world.found(&founder);
    assert_eq!(slot_of(&world.ask(early, resume(7))), Some(7));
    let late = world.prove(&Person::new(6), &id);
    assert_eq!(slot_of(&world.ask(late, resume(7))), Some(2));
}

#[test]
fn the_newer_connection_of_an_identity_wins() {
    let mut world = World::new();
    let founder = Person::new(0);
    let guest = Person::new(1);
    let id = founder.party_id();
    let host = world.found(&founder);
    let (older, slot) = world.join(&guest, &id);
    world.news(host);
    let newer = world.prove(&guest, &id);
    world.ask(newer, Request::Discover {});
    assert!(world.closed.is_empty(), "to look is not to join");
    let answer = world.ask(newer, Request::JoinParty { resume: None });
    assert_eq!(slot_of(&answer), Some(slot));
    assert_eq!(world.news(older), [ServerMessage::Superseded {}]);
    assert!(world.closed.contains(&older));
    world.disconnect(older);
    assert!(world.news(host).is_empty(), "nothing changed for the others");
    assert!(world.members(newer).iter().all(|entry| entry.online));
}

#[test]
fn joining_twice_on_one_connection_is_harmless() {
    let mut world = World::new();
    let founder = Person::new(0);
    let host = world.found(&founder);
    let (guest, slot) = world.join(&Person::new(1), &founder.party_id());
    world.news(host);
    let again = world.ask(guest, Request::JoinParty { resume: None });
    assert_eq!(slot_of(&again), Some(slot));
    assert!(world.news(host).is_empty() && world.closed.is_empty());
}

#[test]
fn a_dissolved_party_is_remembered_for_a_day() {
    let mut world = World::new();
    let founder = Person::new(0);
    let guest = Person::new(1);
    let id = founder.party_id();
    let host = world.found(&founder);
    let (present, _) = world.join(&guest, &id);
    let (away, _) = world.join(&Person::new(2), &id);
    world.disconnect(away);
    world.news(present);

    let statement = guest.word(1);
    let code = world.fault(present, Request::DissolveParty { statement });
    assert_eq!(code, FaultCode::HostOnly);
    let statement = guest.word(1);
    let code = world.fault(host, Request::DissolveParty { statement });
    assert_eq!(code, FaultCode::RecordInvalid, "not the founder's word");
    let statement = founder.word(9);
    world.done(host, Request::DissolveParty { statement });
    let dissolved = || ServerMessage::PartyDissolved {
        statement: Some(founder.word(9)),
    };
    assert_eq!(world.news(present), [dissolved()]);
    let beat = world.fault(present, Request::Heartbeat {});
    assert_eq!(beat, FaultCode::NotAMember);

    // Who was away is told with the host's word.
    let back = world.prove(&Person::new(2), &id);
    assert_eq!(world.ask(back, Request::JoinParty { resume: None }), dissolved());
    assert_eq!(world.ask(back, Request::Discover {}), dissolved());
    let again = world.prove(&founder, &id);
    let founding = founder.word(0);
    let code = world.fault(again, Request::RegisterParty { founding });
    assert_eq!(code, FaultCode::PartyEnded);

    world.pass(seconds(24 * 3600 + 60), &[]);
    assert_eq!(world.mirror.parties().count(), 0);
    world.found(&founder);
}
