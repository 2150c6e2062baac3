//! Clients that mean no good: they end, the server and the others go on.

use crate::client::{Client, PATIENCE, Person, fault, serve};
use futures_util::SinkExt;
use lanrage_proto::control::{PATH, Request, ServerMessage};
use lanrage_proto::{FaultCode, limits};
use lanrage_server::Server;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// What plain HTTP gets.
async fn http(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A reset is an answer as well.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn works(server: &Server) {
    let founder = Person::new(9);
    let (mut host, _) = Client::member(server.address(), &founder, &founder).await;
    assert_eq!(host.ask(Request::Heartbeat {}).await, ServerMessage::Done {});
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_named_and_cut() {
    let server = serve(&[]).await;
    let garbage = [
        Message::text("garbage"),
        Message::text("{\"id\":1,\"type\":\"join_party\"}"),
        Message::binary(vec![0; 100]),
        Message::text("[".repeat(limits::CONTROL_FRAME)),
    ];
    for message in garbage {
        let mut client = Client::connect(server.address()).await;
        client.socket.send(message.clone()).await.unwrap();
        assert_eq!(client.close().await, Some(1000), "{message:?}");
        assert_eq!(client.news, [fault(FaultCode::ControlMalformed)], "{message:?}");
    }
    works(&server).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_past_the_limit_are_not_read() {
    let server = serve(&[]).await;
    let mut client = Client::connect(server.address()).await;
    let long = Message::text("x".repeat(limits::CONTROL_FRAME + 1));
    client.socket.send(long).await.unwrap();
    assert_eq!(client.close().await, Some(1008));
    assert!(client.news.is_empty());
    works(&server).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_is_dropped_and_nobody_waits_for_it() {
    let server = serve(&[]).await;
    let founder = Person::new(1);
    let (mut deaf, _) = Client::member(server.address(), &founder, &founder).await;
    let to = founder.identity();
    let mut told = 0;
    let mut away = false;
    // Each talker may send a burst; together they send more than buffers hold.
    for number in 2..60 {
        let talker = Person::new(number);
        let (mut client, _) = Client::member(server.address(), &talker, &founder).await;
        for seq in 0..250 {
            let signal = talker.word(seq);
            match client.ask(Request::Signal { to, signal }).await {
                ServerMessage::Done {} => told += 1,
                answer => {
                    assert_eq!(answer, fault(FaultCode::MemberAway));
                    away = true;
                    break;
                }
            }
        }
        if away {
            break;
        }
    }
    assert!(away, "{told} signals were taken for a client that reads none");
    // What had been on its way may still come, then the end.
    deaf.close().await;
    works(&server).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn web_pages_and_wrong_paths_get_nowhere() {
    let server = serve(&[]).await;
    let address = server.address();
    let stream = TcpStream::connect(address).await.unwrap();
    let mut request = format!("ws://{address}{PATH}").into_client_request().unwrap();
    request
        .headers_mut()
        .insert("origin", "https://evil.example".parse().unwrap());
    let refused = tokio_tungstenite::client_async(request, stream)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("403"), "{refused}");

    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    for (request, status) in [
        (get("/healthz"), "200"),
        (get("/"), "404"),
        (get(PATH), "400"),
        (
            format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
            "405",
        ),
        (get(&format!("/{}", "x".repeat(100_000))), "4"),
        ("\u{16}\u{3}\u{1} not http\r\n\r\n".to_owned(), "400"),
    ] {
        let answer = http(address, &request).await;
        let line = answer.lines().next().unwrap_or_default();
        let start = format!("HTTP/1.1 {status}");
        // A request too long to be read may end in a reset that takes the answer along.
        let lost = request.len() > 100_000 && line.is_empty();
        assert!(line.starts_with(&start) || lost, "{:.40}: {line}", request);
    }
    assert!(http(address, &get("/healthz")).await.ends_with("\r\n\r\nok"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_proxy_on_this_machine_is_believed() {
    for (args, expected) in [
        (
            &["--behind-proxy", "--name", "party.example.org"][..],
            "198.51.100.9",
        ),
        (&["--name", "party.example.org"], "127.0.0.1"),
    ] {
        let server = serve(args).await;
        let address = server.address();
        let stream = TcpStream::connect(address).await.unwrap();
        let mut request = format!("ws://{address}{PATH}").into_client_request().unwrap();
        let forwarded = "10.9.9.9, 198.51.100.9".parse().unwrap();
        request.headers_mut().insert("x-forwarded-for", forwarded);
        let mut client = Client::upgrade(Box::new(stream), request).await;
        let founder = Person::new(1);
        let welcome = client
            .prove(&founder, &founder.party_id(), "party.example.org:443")
            .await;
        let expected = expected.parse().ok();
        assert!(
            matches!(welcome, ServerMessage::Welcome { seen_as, .. } if seen_as == expected),
            "{welcome:?}"
        );
        server.stop().await;
    }
}
