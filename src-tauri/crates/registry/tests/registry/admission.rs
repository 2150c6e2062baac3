//! Proof before lookup.

use crate::world::{AUTHORITY, Person, World, hello, seconds, slot_of, source};
use lanrage_proto::admission::{self, Proof};
use lanrage_proto::control::{Request, ServerMessage, Versions};
use lanrage_proto::{FaultCode, Tag};
use lanrage_registry::{Config, Source};

#[test]
fn a_stranger_cannot_tell_a_known_tag_from_an_unknown_one() {
    let mut world = World::new();
    let founder = Person::new(0);
    world.found(&founder);
    let stranger = Person::new(9);
    let tags = [admission::tag(&founder.party_id()), Tag([9; 32])];
    let seen: Vec<_> = tags
        .into_iter()
        .map(|tag| {
            let connection = world.connect();
            let challenge = world.challenge(connection, tag);
            // The seen tag with a proof of another party.
            let proof = Proof::make(&stranger.party_id(), &stranger.key, &challenge, AUTHORITY);
            let fault = world.fault(connection, Request::Prove { proof });
            (fault, world.closed.contains(&connection))
        })
        .collect();
    assert_eq!(seen, [(FaultCode::NotAdmitted, true); 2]);
}

#[test]
fn a_proof_counts_for_its_own_connection_only() {
    let mut world = World::new();
    let founder = Person::new(0);
    let id = founder.party_id();
    let first = world.connect();
    let challenge = world.challenge(first, admission::tag(&id));
    let proof = Proof::make(&id, &founder.key, &challenge, AUTHORITY);
    let second = world.connect();
    assert_ne!(world.challenge(second, admission::tag(&id)), challenge);
    let replayed = Request::Prove { proof };
    assert_eq!(world.fault(second, replayed), FaultCode::NotAdmitted);
}

#[test]
fn who_dialled_another_name_is_not_admitted() {
    let mut world = World::new();
    let connection = world.connect();
    let request = Request::Hello {
        versions: Versions::OURS,
        tag: Tag([1; 32]),
        authority: "evil.example.org:443".to_owned(),
    };
    assert_eq!(world.fault(connection, request), FaultCode::NotAdmitted);
    assert!(world.closed.contains(&connection));

    let nameless = world.connect_from(Source::default());
    assert_eq!(world.fault(nameless, hello(Tag([1; 32]))), FaultCode::NotAdmitted);
}

#[test]
fn a_welcome_tells_the_address_seen() {
    let mut world = World::new();
    let founder = Person::new(0);
    let id = founder.party_id();
    let connection = world.connect();
    let challenge = world.challenge(connection, admission::tag(&id));
    let proof = Proof::make(&id, &founder.key, &challenge, AUTHORITY);
    let welcome = ServerMessage::Welcome {
        version: 1,
        heartbeat_seconds: 30,
        seen_as: source().address,
        stun: Vec::new(),
    };
    assert_eq!(world.ask(connection, Request::Prove { proof }), welcome);
}

#[test]
fn versions_that_do_not_meet_are_named() {
    let mut world = World::new();
    let connection = world.connect();
    let request = Request::Hello {
        versions: Versions { min: 200, max: 300 },
        tag: Tag([1; 32]),
        authority: AUTHORITY.to_owned(),
    };
    let versions = Versions::OURS;
    assert_eq!(
        world.ask(connection, request),
        ServerMessage::VersionUnsupported { versions }
    );
    assert!(world.closed.contains(&connection));
}

#[test]
fn speaking_out_of_turn_ends_the_connection() {
    let founder = Person::new(0);
    let id = founder.party_id();
    let join = || Request::JoinParty { resume: None };
    let early: [fn(&mut World, &Person) -> lanrage_registry::ConnId; 4] = [
        // A join before hello.
        |world, _| world.connect(),
        // A join before the proof.
        |world, founder| {
            let connection = world.connect();
            world.challenge(connection, admission::tag(&founder.party_id()));
            connection
        },
        // A proof after the proof, and a second hello, below.
        |world, founder| world.prove(founder, &founder.party_id()),
        |world, founder| world.found(founder),
    ];
    for (turn, reach) in early.into_iter().enumerate() {
        let mut world = World::new();
        let connection = reach(&mut world, &founder);
        let request = if turn < 2 {
            join()
        } else {
            hello(admission::tag(&id))
        };
        assert_eq!(
            world.fault(connection, request),
            FaultCode::ControlMalformed,
            "{turn}"
        );
        assert!(world.closed.contains(&connection));
        let silent = world.send(connection, join());
        assert!(world.news(connection).is_empty(), "{silent} is not answered");
    }
}

#[test]
fn what_is_no_frame_ends_the_connection() {
    let mut world = World::new();
    let connection = world.connect();
    world.registry.malformed(world.now, connection);
    world.drain();
    assert!(world.closed.contains(&connection));
    let fault = ServerMessage::Fault {
        code: FaultCode::ControlMalformed,
    };
    assert_eq!(world.news(connection), [fault]);
}

#[test]
fn who_does_not_prove_or_join_is_not_kept() {
    let mut world = World::new();
    let founder = Person::new(0);
    let silent = world.connect();
    let idle = world.prove(&founder, &founder.party_id());
    world.pass(seconds(9), &[]);
    assert!(world.closed.is_empty());
    world.pass(seconds(1), &[]);
    assert!(world.closed.contains(&silent) && !world.closed.contains(&idle));
    world.pass(seconds(50), &[]);
    assert!(world.closed.contains(&idle));
    assert_eq!(world.registry.next_wake(), None);
}

#[test]
fn local_mode_serves_one_party() {
    let founder = Person::new(0);
    let mut world = World::with(Config {
        only: Some(admission::tag(&founder.party_id())),
        ..Config::default()
    });
    let other = Person::new(1);
    let connection = world.prove(&other, &other.party_id());
    let founding = other.word(0);
    let code = world.fault(connection, Request::RegisterParty { founding });
    assert_eq!(code, FaultCode::PartyUnknown);
    let discovered = world.fault(connection, Request::Discover {});
    assert_eq!(discovered, FaultCode::PartyUnknown);
    world.found(&founder);
}

#[test]
fn discovering_shows_the_founding_and_takes_no_slot() {
    let mut world = World::new();
    let founder = Person::new(0);
    let id = founder.party_id();
    let guest = Person::new(1);
    let early = world.prove(&guest, &id);
    assert_eq!(world.fault(early, Request::Discover {}), FaultCode::PartyUnknown);
    let host = world.found(&founder);
    let seen = world.ask(early, Request::Discover {});
    assert_eq!(slot_of(&seen), None);
    assert!(matches!(seen, ServerMessage::Party { founding, .. } if founding == founder.word(0)));
    assert_eq!(world.members(host).len(), 1);
    let beat = world.fault(early, Request::Heartbeat {});
    assert_eq!(beat, FaultCode::NotAMember);
}
