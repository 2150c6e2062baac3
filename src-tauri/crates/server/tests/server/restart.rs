//! A server that stops, and one that starts again.

use crate::client::{Client, Person, serve};
use lanrage_proto::control::{Request, ServerMessage};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread")]
async fn leases_and_records_survive_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("parties.db").display());
    let (founder, guests) = (Person::new(1), [Person::new(2), Person::new(3)]);
    let server = serve(&["--store", &store]).await;
    let (mut host, _) = Client::member(server.address(), &founder, &founder).await;
    let record = founder.word(3);
    assert_eq!(
        host.ask(Request::UpdatePeer { record }).await,
        ServerMessage::Done {}
    );
    for (guest, expected) in guests.iter().zip(2..) {
        let (_, slot) = Client::member(server.address(), guest, &founder).await;
        assert_eq!(slot, expected);
    }
    server.stop().await;

    let server = serve(&["--store", &store]).await;
    for (guest, expected) in guests.iter().zip(2..=3).rev() {
        let (mut client, slot) = Client::member(server.address(), guest, &founder).await;
        assert_eq!(slot, expected);
        match client.ask(Request::Snapshot { page: 0 }).await {
            ServerMessage::Snapshot { members, .. } => {
                assert_eq!(members.len(), 3);
                assert_eq!(members[0].record, Some(founder.word(3)));
                assert!(!members[0].online);
            }
            other => panic!("{other:?}"),
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_connected_is_told_that_the_server_goes_away() {
    let server = serve(&[]).await;
    let founder = Person::new(1);
    let (mut host, _) = Client::member(server.address(), &founder, &founder).await;
    let mut stranger = Client::connect(server.address()).await;
    // One that never says anything, and one that never reads.
    let silent = TcpStream::connect(server.address()).await.unwrap();
    let address = server.address();
    let (stopped, codes) = tokio::join!(server.stop(), async {
        (host.close().await, stranger.close().await)
    });
    assert_eq!((stopped, codes), ((), (Some(1001), Some(1001))));
    TcpStream::connect(address).await.unwrap_err();
    drop(silent);
}
