//! Whatever clients do, in whatever order: what always holds.

use crate::world::{Person, World};
use lanrage_proto::admission;
use lanrage_proto::control::{Request, ServerMessage};
use lanrage_proto::ids::Version;
use lanrage_proto::{Slot, Tag};
use lanrage_registry::{Config, ConnId, StoredState};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const ROOM: u8 = 4;

#[derive(Debug, Clone)]
enum Act {
    Register,
    Join(Option<u8>),
    Leave,
    Dissolve,
    Update(u64),
    Signal(usize),
    Disconnect,
    Reconnect,
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => Just(Act::Register),
        6 => proptest::option::of(1u8..=9).prop_map(Act::Join),
        2 => Just(Act::Leave),
        1 => Just(Act::Dissolve),
        3 => (0u64..6).prop_map(Act::Update),
        2 => (0usize..6).prop_map(Act::Signal),
        3 => Just(Act::Disconnect),
        4 => Just(Act::Reconnect),
        2 => (0u64..400).prop_map(Act::Pass),
    ]
}

/// The stored state holds together.
fn check_stored(world: &World, founder: &Person) {
    assert_eq!(
        world.mirror.to_vec(),
        world.registry.stored(),
        "what is stored is what holds"
    );
    for party in world.mirror.parties() {
        let StoredState::Live { founding, members } = &party.state else {
            continue;
        };
        let slots: BTreeSet<_> = members.iter().map(|row| row.slot).collect();
        assert_eq!(slots.len(), members.len(), "one slot, one holder: {members:?}");
        for row in members {
            assert_eq!(
                row.slot == Slot::FOUNDER,
                row.member == founding.author,
                "{row:?}"
            );
        }
        assert_eq!(founding.author, founder.identity());
        let present = members.iter().filter(|row| row.departed.is_none()).count();
        assert!((1..=usize::from(ROOM)).contains(&present), "{members:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn leases_versions_and_the_store_hold_together(acts in proptest::collection::vec((0usize..6, act()), 1..80)) {
        let people: Vec<_> = (0..6).map(Person::new).collect();
        let founder = &people[0];
        let id = founder.party_id();
        let mut world = World::with(Config { members: ROOM, ..Config::default() });
        let mut connections: Vec<ConnId> = people.iter().map(|person| world.prove(person, &id)).collect();
        let mut versions: BTreeMap<ConnId, Version> = BTreeMap::new();
        let mut slots: BTreeMap<usize, (u64, u8)> = BTreeMap::new();
        for (number, act) in acts {
            let (person, connection) = (&people[number], connections[number]);
            let seq = world.mirror.party(&tag(founder)).map_or(0, |_| 1);
            match act {
                Act::Register => { world.send(connection, Request::RegisterParty { founding: person.word(0) }); }
                Act::Join(resume) => {
                    let resume = resume.and_then(|slot| Slot::try_from(slot).ok());
                    world.send(connection, Request::JoinParty { resume });
                }
                Act::Leave => { world.send(connection, Request::LeaveParty { statement: person.word(seq) }); }
                Act::Dissolve => { world.send(connection, Request::DissolveParty { statement: person.word(seq) }); }
                Act::Update(seq) => { world.send(connection, Request::UpdatePeer { record: person.word(seq) }); }
                Act::Signal(to) => {
                    let to = people[to].identity();
                    world.send(connection, Request::Signal { to, signal: person.word(seq) });
                }
                Act::Disconnect => world.disconnect(connection),
                Act::Reconnect => connections[number] = world.prove(person, &id),
                Act::Pass(seconds) => world.pass(Duration::from_secs(seconds), &[]),
            }
            // People who found first need not be the founder: then the party is theirs until it ends.
            let author = world.mirror.party(&tag(founder)).and_then(|party| match &party.state {
                StoredState::Live { founding, .. } => Some(founding.author),
                StoredState::Ended { .. } => None,
            });
            if let Some(founder) = people.iter().find(|person| Some(person.identity()) == author) {
                check_stored(&world, founder);
            } else {
                prop_assert_eq!(world.mirror.to_vec(), world.registry.stored());
            }
            for (number, connection) in connections.iter().enumerate() {
                for message in world.news(*connection) {
                    match message {
                        ServerMessage::Party { version, slot: Some(slot), .. } => {
                            let (incarnation, known) = *slots
                                .entry(number)
                                .or_insert((version.incarnation.0, slot.get()));
                            if incarnation == version.incarnation.0 {
                                prop_assert_eq!(known, slot.get(), "a slot is for the party's life");
                            }
                            slots.insert(number, (version.incarnation.0, slot.get()));
                        }
                        ServerMessage::PeerJoined { version, .. }
                        | ServerMessage::PeerUpdated { version, .. }
                        | ServerMessage::PeerLeft { version, .. } => {
                            if let Some(last) = versions.insert(*connection, version)
                                && last.incarnation == version.incarnation
                            {
                                prop_assert!(last.counter < version.counter, "news without a change");
                            }
                        }
                        _ => {}
                    }
                }
            }
        }
        // With nobody there, nothing stays.
        for connection in connections {
            world.disconnect(connection);
        }
        world.pass(Duration::from_secs(25 * 3600), &[]);
        prop_assert_eq!(world.mirror.parties().count(), 0);
        prop_assert_eq!(world.registry.next_wake(), None);
    }
}

fn tag(founder: &Person) -> Tag {
    admission::tag(&founder.party_id())
}
