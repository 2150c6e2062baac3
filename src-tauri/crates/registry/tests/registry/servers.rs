//! STUN servers and relays: who is told of them.

use crate::world::{AUTHORITY, Person, World};
use lanrage_proto::control::{RelayOffer, Request, ServerMessage};
use lanrage_proto::{FaultCode, MemberId, Tag, admission};
use lanrage_registry::{Config, Registry, Servers};

#[derive(Debug)]
struct Desk;

impl Servers for Desk {
    fn stun(&self, authority: &str) -> Vec<String> {
        vec![format!("stun of {authority}")]
    }

    fn relays(&self, authority: &str, tag: &Tag, member: &MemberId) -> Vec<RelayOffer> {
        vec![offer(authority, tag, member)]
    }
}

fn offer(authority: &str, tag: &Tag, member: &MemberId) -> RelayOffer {
    RelayOffer {
        uri: format!("turn of {authority}"),
        username: format!("{tag:?} {member:?}"),
        password: "secret".to_owned(),
        ttl_seconds: 60,
    }
}

fn world() -> World {
    let mut world = World::new();
    let now = world.now;
    world.registry = Registry::new(Config::default(), [5; 32], now, Vec::new()).with_servers(Box::new(Desk));
    world
}

#[test]
fn who_has_proven_learns_of_stun_and_who_has_joined_of_relays() {
    let mut world = world();
    let (founder, guest) = (Person::new(1), Person::new(2));
    let id = founder.party_id();
    world.found(&founder);
    let connection = world.connect();
    let challenge = world.challenge(connection, admission::tag(&id));
    let proof = admission::Proof::make(&id, &guest.key, &challenge, AUTHORITY);
    match world.ask(connection, Request::Prove { proof }) {
        ServerMessage::Welcome { stun, .. } => assert_eq!(stun, [format!("stun of {AUTHORITY}")]),
        other => panic!("{other:?}"),
    }
    match world.ask(connection, Request::Discover {}) {
        ServerMessage::Party { relays, .. } => assert!(relays.is_empty()),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        world.fault(connection, Request::RenewCredentials {}),
        FaultCode::NotAMember
    );
    let ours = [offer(AUTHORITY, &admission::tag(&id), &guest.identity())];
    match world.ask(connection, Request::JoinParty { resume: None }) {
        ServerMessage::Party { relays, .. } => assert_eq!(relays, ours),
        other => panic!("{other:?}"),
    }
    match world.ask(connection, Request::RenewCredentials {}) {
        ServerMessage::Relays { relays } => assert_eq!(relays, ours),
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_has_left_gets_no_more_relays() {
    let mut world = world();
    let (founder, guest) = (Person::new(1), Person::new(2));
    world.found(&founder);
    let (connection, _) = world.join(&guest, &founder.party_id());
    let statement = guest.word(1);
    world.done(connection, Request::LeaveParty { statement });
    assert_eq!(
        world.fault(connection, Request::RenewCredentials {}),
        FaultCode::NotAMember
    );
}
