//! What members learn of each other.

use crate::world::{Person, World, seconds};
use lanrage_proto::control::{MemberEntry, Request, ServerMessage};
use lanrage_proto::ids::Version;
use lanrage_proto::{Bytes, FaultCode, Slot, limits};
use lanrage_registry::{Config, ConnId};

struct Party {
    world: World,
    founder: Person,
    guest: Person,
    host: ConnId,
    peer: ConnId,
}

fn party_of_two() -> Party {
    let mut world = World::new();
    let (founder, guest) = (Person::new(0), Person::new(1));
    let host = world.found(&founder);
    let (peer, _) = world.join(&guest, &founder.party_id());
    Party {
        world,
        founder,
        guest,
        host,
        peer,
    }
}

fn entry_of(news: &[ServerMessage]) -> (&'static str, Version, MemberEntry) {
    match news {
        [ServerMessage::PeerJoined { version, member }] => ("joined", *version, member.clone()),
        [ServerMessage::PeerUpdated { version, member }] => ("updated", *version, member.clone()),
        other => panic!("expected one entry, got {other:?}"),
    }
}

#[test]
fn the_others_see_who_joins_goes_away_and_returns() {
    let Party {
        mut world,
        founder,
        guest,
        host,
        peer,
    } = party_of_two();
    let (what, first, member) = entry_of(&world.news(host));
    let expected = MemberEntry {
        member: guest.identity(),
        slot: Slot::try_from(2).unwrap(),
        online: true,
        record: None,
    };
    assert_eq!((what, member), ("joined", expected.clone()));

    world.disconnect(peer);
    let (what, second, member) = entry_of(&world.news(host));
    let away = MemberEntry {
        online: false,
        ..expected.clone()
    };
    assert_eq!((what, member), ("updated", away));

    world.join(&guest, &founder.party_id());
    let (what, third, member) = entry_of(&world.news(host));
    assert_eq!((what, member), ("updated", expected));
    assert_eq!([first.bumped(), second.bumped()], [second, third]);
}

#[test]
fn records_reach_the_others_and_never_go_back() {
    let Party {
        mut world,
        founder,
        guest,
        host,
        peer,
    } = party_of_two();
    world.news(host);
    let record = guest.word(5);
    world.done(peer, Request::UpdatePeer { record });
    let (what, _, member) = entry_of(&world.news(host));
    assert_eq!((what, member.record), ("updated", Some(guest.word(5))));
    for seq in [5, 4] {
        let record = guest.word(seq);
        assert_eq!(
            world.fault(peer, Request::UpdatePeer { record }),
            FaultCode::RecordOld
        );
    }
    let record = founder.word(6);
    assert_eq!(
        world.fault(peer, Request::UpdatePeer { record }),
        FaultCode::RecordInvalid
    );
    let mut record = guest.word(6);
    record.body = Bytes(vec![0; limits::SEALED_RECORD + 1]);
    assert_eq!(
        world.fault(peer, Request::UpdatePeer { record }),
        FaultCode::RecordInvalid
    );
    assert!(world.news(host).is_empty());
    assert_eq!(world.members(host)[1].record, Some(guest.word(5)));
}

#[test]
fn signals_reach_whom_they_are_for() {
    let Party {
        mut world,
        founder,
        guest,
        host,
        peer,
    } = party_of_two();
    let (third, _) = world.join(&Person::new(2), &founder.party_id());
    for connection in [host, peer, third] {
        world.news(connection);
    }
    let signal = guest.word(1);
    let to = founder.identity();
    world.done(peer, Request::Signal { to, signal });
    let signal = guest.word(1);
    assert_eq!(world.news(host), [ServerMessage::Signal { signal }]);
    assert!(world.news(third).is_empty());

    world.disconnect(third);
    for nobody in [Person::new(2), Person::new(3)] {
        let (to, signal) = (nobody.identity(), guest.word(2));
        assert_eq!(
            world.fault(peer, Request::Signal { to, signal }),
            FaultCode::MemberAway
        );
    }
    let signal = founder.word(1);
    assert_eq!(
        world.fault(peer, Request::Signal { to, signal }),
        FaultCode::RecordInvalid
    );
    let mut signal = guest.word(3);
    signal.body = Bytes(vec![0; limits::SEALED_SIGNAL + 1]);
    assert_eq!(
        world.fault(peer, Request::Signal { to, signal }),
        FaultCode::RecordInvalid
    );
}

#[test]
fn who_leaves_is_gone_with_its_word() {
    let Party {
        mut world,
        founder,
        guest,
        host,
        peer,
    } = party_of_two();
    world.news(host);
    let statement = founder.word(1);
    let foreign = world.fault(peer, Request::LeaveParty { statement });
    assert_eq!(foreign, FaultCode::RecordInvalid);
    let statement = guest.word(1);
    world.done(peer, Request::LeaveParty { statement });
    let news = world.news(host);
    assert!(
        matches!(&news[..], [ServerMessage::PeerLeft { member, statement, .. }]
            if *member == guest.identity() && *statement == Some(guest.word(1))),
        "{news:?}"
    );
    assert_eq!(world.members(host).len(), 1);
    let after = world.fault(peer, Request::Snapshot { page: 0 });
    assert_eq!(after, FaultCode::NotAMember);
}

#[test]
fn a_party_ends_with_its_last_member_and_can_be_founded_again() {
    let Party {
        mut world,
        founder,
        guest,
        host,
        peer,
    } = party_of_two();
    let statement = founder.word(1);
    world.done(host, Request::LeaveParty { statement });
    assert_eq!(world.mirror.parties().count(), 1, "the founder alone may go");
    let statement = guest.word(1);
    world.done(peer, Request::LeaveParty { statement });
    assert_eq!(world.mirror.parties().count(), 0);
    let gone = world.fault(peer, Request::Discover {});
    assert_eq!(gone, FaultCode::PartyUnknown, "nobody ended it");
    world.found(&founder);
}

#[test]
fn who_is_silent_for_five_minutes_is_removed() {
    let Party {
        mut world,
        guest,
        host,
        peer,
        ..
    } = party_of_two();
    world.disconnect(peer);
    world.news(host);
    world.pass(seconds(299), &[host]);
    assert_eq!(world.members(host).len(), 2);
    world.pass(seconds(61), &[host]);
    let news = world.news(host);
    assert!(
        matches!(&news[..], [ServerMessage::PeerLeft { member, statement: None, .. }]
            if *member == guest.identity()),
        "{news:?}"
    );
    assert_eq!(world.members(host).len(), 1);
    world.disconnect(host);
    world.pass(seconds(361), &[]);
    assert_eq!(world.mirror.parties().count(), 0);
}

#[test]
fn a_connection_that_misses_three_heartbeats_is_dead() {
    let Party {
        mut world,
        host,
        peer,
        ..
    } = party_of_two();
    world.news(host);
    world.pass(seconds(90), &[host]);
    assert!(world.closed.contains(&peer) && !world.closed.contains(&host));
    let (what, _, member) = entry_of(&world.news(host));
    assert_eq!((what, member.online), ("updated", false));
}

#[test]
fn a_large_party_is_paged_in_order_of_the_slots() {
    let mut world = World::with(Config {
        members: 250,
        ..Config::default()
    });
    let founder = Person::new(0);
    let host = world.found(&founder);
    for number in 1..70 {
        world.join(&Person::new(number), &founder.party_id());
    }
    let mut slots = Vec::new();
    for page in 0..4 {
        match world.ask(host, Request::Snapshot { page }) {
            ServerMessage::Snapshot {
                members,
                page: same,
                pages,
                ..
            } => {
                assert_eq!((same, pages), (page, 3));
                assert!(members.len() <= limits::SNAPSHOT_PAGE);
                slots.extend(members.iter().map(|entry| entry.slot.get()));
            }
            other => panic!("expected a snapshot, got {other:?}"),
        }
    }
    assert_eq!(slots, (1..=70).collect::<Vec<_>>());
}
