//! A party's life.

use crate::client::{Client, Person, fault, serve};
use lanrage_proto::FaultCode;
use lanrage_proto::control::{Request, ServerMessage};
use std::net::IpAddr;

#[tokio::test(flavor = "multi_thread")]
async fn members_meet_talk_and_are_told_the_end() {
    let server = serve(&[]).await;
    let (founder, guest) = (Person::new(1), Person::new(2));
    let (mut host, slot) = Client::member(server.address(), &founder, &founder).await;
    assert_eq!(slot, 1);
    assert!(matches!(
        host.welcome,
        Some(ServerMessage::Welcome { seen_as: Some(IpAddr::V4(seen)), .. }) if seen.is_loopback()
    ));
    let (mut peer, slot) = Client::member(server.address(), &guest, &founder).await;
    assert_eq!(slot, 2);
    assert!(matches!(host.news().await, ServerMessage::PeerJoined { member, .. } if member.slot.get() == 2));

    let record = guest.word(1);
    assert_eq!(
        peer.ask(Request::UpdatePeer { record }).await,
        ServerMessage::Done {}
    );
    let updated = host.news().await;
    assert!(
        matches!(&updated, ServerMessage::PeerUpdated { member, .. } if member.record == Some(guest.word(1)))
    );
    match host.ask(Request::Snapshot { page: 0 }).await {
        ServerMessage::Snapshot {
            members, pages: 1, ..
        } => {
            assert_eq!(
                members.iter().map(|entry| entry.slot.get()).collect::<Vec<_>>(),
                [1, 2]
            );
            assert!(members.iter().all(|entry| entry.online));
        }
        other => panic!("{other:?}"),
    }

    let (to, signal) = (founder.identity(), guest.word(2));
    assert_eq!(
        peer.ask(Request::Signal { to, signal }).await,
        ServerMessage::Done {}
    );
    let signal = guest.word(2);
    assert_eq!(host.news().await, ServerMessage::Signal { signal });

    let statement = founder.word(9);
    assert_eq!(
        host.ask(Request::DissolveParty { statement }).await,
        ServerMessage::Done {}
    );
    let dissolved = ServerMessage::PartyDissolved {
        statement: Some(founder.word(9)),
    };
    assert_eq!(peer.news().await, dissolved);
    assert_eq!(peer.ask(Request::JoinParty { resume: None }).await, dissolved);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_is_seen_by_the_others_and_the_lease_waits() {
    let server = serve(&[]).await;
    let (founder, guest) = (Person::new(1), Person::new(2));
    let (mut host, _) = Client::member(server.address(), &founder, &founder).await;
    let (peer, _) = Client::member(server.address(), &guest, &founder).await;
    assert!(matches!(host.news().await, ServerMessage::PeerJoined { .. }));
    drop(peer);
    assert!(matches!(host.news().await, ServerMessage::PeerUpdated { member, .. } if !member.online));
    let (mut peer, slot) = Client::member(server.address(), &guest, &founder).await;
    assert_eq!(slot, 2);
    assert!(matches!(host.news().await, ServerMessage::PeerUpdated { member, .. } if member.online));

    // The same identity from elsewhere.
    let (_newer, slot) = Client::member(server.address(), &guest, &founder).await;
    assert_eq!((slot, peer.news().await), (2, ServerMessage::Superseded {}));
    assert_eq!(peer.close().await, Some(1000));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_names_of_this_server_are_proof() {
    let server = serve(&["--name", "party.example.org"]).await;
    let founder = Person::new(1);
    let port = server.address().port();
    for (authority, ours) in [
        ("party.example.org:443".to_owned(), true),
        (format!("localhost:{port}"), true),
        (format!("127.0.0.1:{port}"), true),
        ("party.example.com:443".to_owned(), false),
        (format!("127.0.0.2:{port}"), false),
    ] {
        let mut client = Client::connect(server.address()).await;
        let answer = client.prove(&founder, &founder.party_id(), &authority).await;
        let admitted = matches!(answer, ServerMessage::Welcome { .. });
        assert_eq!(admitted, ours, "{authority}");
        if !ours {
            assert_eq!(answer, fault(FaultCode::NotAdmitted));
            assert_eq!(client.close().await, Some(1000));
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_party_comes_at_once() {
    let server = serve(&["--members", "250"]).await;
    let address = server.address();
    let founder = Person::new(255);
    let (mut host, _) = Client::member(address, &founder, &founder).await;
    let joins: Vec<_> = (1..=100)
        .map(|number| {
            let founder = founder.clone();
            tokio::spawn(async move {
                let person = Person::new(number);
                let (mut client, slot) = Client::member(address, &person, &founder).await;
                let record = person.word(1);
                assert_eq!(
                    client.ask(Request::UpdatePeer { record }).await,
                    ServerMessage::Done {}
                );
                (client, slot)
            })
        })
        .collect();
    let mut slots = Vec::new();
    let mut clients = Vec::new();
    for join in joins {
        let (client, slot) = join.await.unwrap();
        clients.push(client);
        slots.push(slot);
    }
    slots.sort_unstable();
    assert_eq!(slots, (2..=101).collect::<Vec<_>>());
    let mut seen = 0;
    for page in 0..4 {
        match host.ask(Request::Snapshot { page }).await {
            ServerMessage::Snapshot {
                members, pages: 4, ..
            } => seen += members.len(),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, 101);
    server.stop().await;
}
