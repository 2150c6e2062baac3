//! STUN and TURN, and what the control plane says of them.

use crate::client::{Client, PATIENCE, Person, serve, settings};
use lanrage_proto::control::{RelayOffer, Request, ServerMessage};
use lanrage_relay::Framer;
use lanrage_relay::credentials::Secret;
use lanrage_server::Server;
use std::net::SocketAddr;
use stun_rs::attributes::StunAttribute;
use stun_rs::attributes::stun::{ErrorCode, MessageIntegrity, Nonce, Realm, UserName, XorMappedAddress};
use stun_rs::attributes::turn::{RequestedTrasport, XorRelayedAddress};
use stun_rs::{
    Algorithm, AlgorithmId, HMACKey, MessageClass, MessageDecoder, MessageEncoder, MessageMethod,
    StunMessage, StunMessageBuilder, methods,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

const OURS: [&str; 4] = ["--stun", "127.0.0.1:0", "--allow-peer", "127.0.0.0/8"];

pub(crate) fn request(method: MessageMethod, attributes: &[StunAttribute]) -> Vec<u8> {
    let mut builder = StunMessageBuilder::new(method, MessageClass::Request);
    for attribute in attributes {
        builder = builder.with_attribute(attribute.clone());
    }
    let mut bytes = vec![0; 1024];
    let length = MessageEncoder::default()
        .encode(&mut bytes, &builder.build())
        .unwrap();
    bytes.truncate(length);
    bytes
}

/// Asks over a stream.
pub(crate) async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &[u8]) -> StunMessage {
    stream.write_all(request).await.unwrap();
    let mut framer = Framer::default();
    let mut buffer = [0; 1024];
    loop {
        if let Some(frame) = framer.frame().unwrap() {
            return MessageDecoder::default().decode(frame).unwrap().0;
        }
        let read = timeout(PATIENCE, stream.read(&mut buffer))
            .await
            .expect("an answer")
            .unwrap();
        assert_ne!(read, 0, "the stream ended");
        framer.push(&buffer[..read]);
    }
}

async fn ask_udp(at: SocketAddr, socket: &UdpSocket, request: &[u8]) -> StunMessage {
    socket.send_to(request, at).await.unwrap();
    let mut buffer = [0; 1024];
    let received = timeout(PATIENCE, socket.recv_from(&mut buffer))
        .await
        .expect("an answer");
    let (length, from) = received.unwrap();
    assert_eq!(from, at);
    MessageDecoder::default().decode(&buffer[..length]).unwrap().0
}

fn text<'a>(answer: &'a StunMessage, of: impl Fn(&'a StunAttribute) -> Option<&'a str>) -> &'a str {
    answer.attributes().iter().find_map(of).expect("the attribute")
}

/// What an offer is worth: the relayed address it gets, or the error.
async fn allocate(at: SocketAddr, offer: &RelayOffer) -> Result<SocketAddr, u16> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let transport: StunAttribute = RequestedTrasport::default().into();
    let challenge = ask_udp(
        at,
        &socket,
        &request(methods::ALLOCATE, std::slice::from_ref(&transport)),
    )
    .await;
    let realm = text(&challenge, |found| found.as_realm().ok().map(Realm::as_str));
    let nonce = text(&challenge, |found| found.as_nonce().ok().map(Nonce::as_str));
    let algorithm = Algorithm::from(AlgorithmId::MD5);
    let key = HMACKey::new_long_term(&offer.username, realm, &offer.password, algorithm).unwrap();
    let signed = [
        transport,
        UserName::new(&offer.username).unwrap().into(),
        Realm::new(realm).unwrap().into(),
        Nonce::new(nonce).unwrap().into(),
        MessageIntegrity::new(key).into(),
    ];
    let answer = ask_udp(at, &socket, &request(methods::ALLOCATE, &signed)).await;
    match answer.get::<XorRelayedAddress>() {
        Some(relayed) => Ok(*relayed.expect_xor_relayed_address().socket_address()),
        None => {
            let code = answer.get::<ErrorCode>().expect("an error").expect_error_code();
            Err(code.error_code().error_code())
        }
    }
}

/// The relays that a member of a party is offered, and its connection.
async fn offers(server: &Server) -> (Client, Vec<RelayOffer>) {
    let founder = Person::new(1);
    let mut client = Client::connect(server.address()).await;
    client
        .prove(&founder, &founder.party_id(), &server.address().to_string())
        .await;
    let founding = founder.word(0);
    match client.ask(Request::RegisterParty { founding }).await {
        ServerMessage::Party { relays, .. } => (client, relays),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_let_in_with_what_it_was_offered() {
    let server = serve(&OURS).await;
    let [at] = server.relay_addresses() else {
        panic!("one listener");
    };
    let (mut client, relays) = offers(&server).await;
    assert_eq!(relays[0].uri, format!("turn:{at}"));
    assert!(relays[1].uri.ends_with("?transport=tcp"), "{relays:?}");
    let relayed = allocate(*at, &relays[0]).await.unwrap();
    assert!(
        relayed.ip().is_loopback() && relayed.port() >= 49_152,
        "{relayed}"
    );
    match client.ask(Request::RenewCredentials {}).await {
        ServerMessage::Relays { relays } => assert!(allocate(*at, &relays[0]).await.is_ok()),
        other => panic!("{other:?}"),
    }
    let forged = RelayOffer {
        password: "guess".to_owned(),
        ..relays[0].clone()
    };
    assert_eq!(allocate(*at, &forged).await, Err(401));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_proven_is_told_of_stun() {
    let server = serve(&OURS).await;
    let founder = Person::new(1);
    let (client, _) = Client::member(server.address(), &founder, &founder).await;
    let Some(ServerMessage::Welcome { stun, .. }) = client.welcome else {
        panic!("no welcome");
    };
    let at: SocketAddr = stun[0].parse().unwrap();
    assert_eq!(server.relay_addresses(), [at]);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let answer = ask_udp(at, &socket, &request(methods::BINDING, &[])).await;
    let mapped = answer
        .get::<XorMappedAddress>()
        .unwrap()
        .expect_xor_mapped_address();
    assert_eq!(*mapped.socket_address(), socket.local_addr().unwrap());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_own_relay_is_handed_out_instead() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "as in coturn's configuration\n").unwrap();
    let uri = "turns:relay.example.org:443";
    let args = ["--stun", "none", "--turn-uri", uri, "--turn-secret-file"];
    let server = serve(&[&args[..], &[file.to_str().unwrap()]].concat()).await;
    let (_client, relays) = offers(&server).await;
    assert_eq!(relays.len(), 1);
    assert_eq!(relays[0].uri, uri);
    let secret = Secret::new("as in coturn's configuration");
    assert_eq!(relays[0].password, secret.password(&relays[0].username));
    assert!(server.relay_addresses().is_empty());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_stun_and_turn_nothing_is_said_of_them() {
    let server = serve(&["--stun", "none", "--turn", "none"]).await;
    let (_client, relays) = offers(&server).await;
    assert!(relays.is_empty());
    server.stop().await;
}

async fn get(at: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut text))
        .await
        .expect("an answer")
        .unwrap();
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_shown_to_this_machine_and_where_the_operator_wants_them() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let metrics = free.local_addr().unwrap();
    drop(free);
    let at = metrics.to_string();
    let server = serve(&[&OURS[..], &["--metrics", &at]].concat()).await;
    let (_client, relays) = offers(&server).await;
    allocate(server.relay_addresses()[0], &relays[0]).await.unwrap();
    for at in [server.address(), metrics] {
        let text = get(at, "/metrics").await;
        for row in [
            "lanrage_relay_allocations 1\n",
            "lanrage_relay_challenges_total 1\n",
        ] {
            assert!(text.contains(row), "{at}: {text}");
        }
    }
    assert!(get(metrics, "/healthz").await.contains("404"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_frame_ends_a_stream_and_nothing_else() {
    let server = serve(&OURS).await;
    let (_client, relays) = offers(&server).await;
    let tcp = relays[1].uri.trim_start_matches("turn:");
    let tcp: SocketAddr = tcp.trim_end_matches("?transport=tcp").parse().unwrap();
    let mut other = TcpStream::connect(tcp).await.unwrap();
    let mut stream = TcpStream::connect(tcp).await.unwrap();
    // A TLS handshake.
    stream
        .write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03")
        .await
        .unwrap();
    let mut rest = Vec::new();
    // Closed or reset, as it had more to say.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .expect("an end");
    assert!(rest.is_empty());
    let answer = ask(&mut other, &request(methods::BINDING, &[])).await;
    assert_eq!(answer.class(), MessageClass::SuccessResponse);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_gives_its_ports_back() {
    let server = serve(&OURS).await;
    let at = server.relay_addresses()[0];
    let (client, relays) = offers(&server).await;
    let relayed = allocate(at, &relays[0]).await.unwrap();
    drop(client);
    server.stop().await;
    for at in [at, relayed] {
        let again = async {
            while UdpSocket::bind(at).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, again).await.expect("the port to be free");
    }
}

#[tokio::test]
async fn a_taken_port_matters_only_where_it_was_named() {
    let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = taken.local_addr().unwrap().to_string();
    let error = Server::start(settings(&["--stun", &at])).await.unwrap_err();
    assert!(format!("{error:#}").contains(&at), "{error:#}");
}
