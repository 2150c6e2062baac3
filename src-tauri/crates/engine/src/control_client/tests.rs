use super::*;
use crate::happening::ROOM;
use lanrage_proto::control::{Request, ServerMessage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const CONN: ConnId = ConnId(1);

struct Scene {
    listener: TcpListener,
    clients: ControlClients,
    news: mpsc::Receiver<Happening>,
}

impl Scene {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (happenings, news) = mpsc::channel(ROOM);
        let tls = crate::trust::client_config(None).unwrap();
        let mut clients = ControlClients::new(tls, PartyRange::DEFAULT, happenings);
        clients.dial(CONN, ServerUrl::plain(listener.local_addr().unwrap()));
        Self {
            listener,
            clients,
            news,
        }
    }

    async fn accept(&self) -> WebSocketStream<TcpStream> {
        let (stream, _) = self.listener.accept().await.unwrap();
        tokio_tungstenite::accept_async(stream).await.unwrap()
    }

    async fn event(&mut self) -> ControlEvent {
        match self.news.recv().await {
            Some(Happening::Control(CONN, event)) => event,
            _ => panic!("not of the connection"),
        }
    }
}

fn heartbeat(id: u64) -> ClientFrame {
    ClientFrame {
        id,
        request: Request::Heartbeat {},
    }
}

#[tokio::test]
async fn frames_go_both_ways_and_what_was_said_leaves_before_the_end() {
    let mut scene = Scene::new().await;
    let mut server = scene.accept().await;
    assert!(matches!(scene.event().await, ControlEvent::Open));
    server
        .send(Message::text(r#"{"re":1,"type":"done"}"#))
        .await
        .unwrap();
    match scene.event().await {
        ControlEvent::Frame(frame) => assert_eq!(frame.message, ServerMessage::Done {}),
        other => panic!("{other:?}"),
    }
    scene.clients.say(CONN, heartbeat(1));
    scene.clients.say(CONN, heartbeat(2));
    scene.clients.hang_up(CONN);
    for id in 1..=2 {
        let text = server.next().await.unwrap().unwrap().into_text().unwrap();
        assert_eq!(serde_json::from_str::<ClientFrame>(&text).unwrap(), heartbeat(id));
    }
    assert!(matches!(server.next().await, Some(Ok(Message::Close(_)))));
    let last = scene.event().await;
    assert!(matches!(last, ControlEvent::Closed(None)));
    assert!(
        !scene.clients.concerns(CONN, &last),
        "the member hung up and expects nothing more"
    );
}

#[tokio::test]
async fn garbage_ends_the_connection_with_a_name() {
    for garbage in [
        Message::text("hello"),
        Message::binary(vec![1]),
        Message::text("x".repeat(CONTROL_FRAME + 1)),
    ] {
        let mut scene = Scene::new().await;
        let mut server = scene.accept().await;
        assert!(matches!(scene.event().await, ControlEvent::Open));
        server.send(garbage).await.unwrap();
        match scene.event().await {
            ControlEvent::Closed(Some(fault)) => assert_eq!(fault.code, FaultCode::ControlMalformed),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn something_else_than_a_websocket_is_closed_without_open() {
    let mut scene = Scene::new().await;
    let (mut stream, _) = scene.listener.accept().await.unwrap();
    let mut request = [0; 512];
    let length = stream.read(&mut request).await.unwrap();
    let request = String::from_utf8_lossy(&request[..length]).into_owned();
    let authority = scene.listener.local_addr().unwrap();
    assert!(request.starts_with("GET /v1/party HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("Host: {authority}\r\n")), "{request}");
    stream
        .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        .await
        .unwrap();
    assert!(matches!(scene.event().await, ControlEvent::Closed(None)));
}

#[tokio::test]
async fn a_plain_server_where_tls_is_expected_is_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (happenings, mut news) = mpsc::channel(ROOM);
    let tls = crate::trust::client_config(None).unwrap();
    let mut clients = ControlClients::new(tls, PartyRange::DEFAULT, happenings);
    let url = format!("wss://{}", listener.local_addr().unwrap());
    clients.dial(CONN, ServerUrl::parse(&url).unwrap());
    let (mut stream, _) = listener.accept().await.unwrap();
    stream
        .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        .await
        .unwrap();
    assert!(matches!(
        news.recv().await,
        Some(Happening::Control(CONN, ControlEvent::Closed(None)))
    ));
}

#[test]
fn the_partys_own_addresses_are_never_dialled() {
    for never in [
        "10.66.0.1",
        "::ffff:10.66.3.4",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "ff02::1",
    ] {
        assert!(!may_dial(never.parse().unwrap(), PartyRange::DEFAULT), "{never}");
    }
    for fine in [
        "127.0.0.1",
        "192.168.1.5",
        "10.67.0.1",
        "8.8.8.8",
        "fd00::1",
        "::1",
    ] {
        assert!(may_dial(fine.parse().unwrap(), PartyRange::DEFAULT), "{fine}");
    }
}

/// A server's own certificate, as an operator without a domain makes one: its file and the acceptor for it.
fn self_signed(dir: &std::path::Path, name: &str) -> (std::path::PathBuf, tokio_rustls::TlsAcceptor) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let path = dir.join("server.pem");
    std::fs::write(&path, made.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (path, tokio_rustls::TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn a_servers_own_certificate_is_trusted_when_it_was_given_and_only_then() {
    let dir = tempfile::tempdir().unwrap();
    // Another name than the one dialled: whoever has this certificate's key is the server that was meant.
    let (given, acceptor) = self_signed(dir.path(), "party.lan");
    let (other, _) = {
        let elsewhere = dir.path().join("other");
        std::fs::create_dir(&elsewhere).unwrap();
        self_signed(&elsewhere, "127.0.0.1")
    };
    for (trusted, opens) in [(Some(&given), true), (None, false), (Some(&other), false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (happenings, mut news) = mpsc::channel(ROOM);
        let tls = crate::trust::client_config(trusted.map(|path| path.as_path())).unwrap();
        let mut clients = ControlClients::new(tls, PartyRange::DEFAULT, happenings);
        let url = format!("wss://{}", listener.local_addr().unwrap());
        clients.dial(CONN, ServerUrl::parse(&url).unwrap());
        let (stream, _) = listener.accept().await.unwrap();
        let server = async {
            let stream = acceptor.accept(stream).await.ok()?;
            tokio_tungstenite::accept_async(stream).await.ok()
        };
        let (_server, news) = tokio::join!(server, news.recv());
        match news {
            Some(Happening::Control(CONN, ControlEvent::Open)) => assert!(opens),
            Some(Happening::Control(CONN, ControlEvent::Closed(Some(fault)))) => {
                assert!(!opens, "{:?}", fault.details);
                assert_eq!(fault.code, FaultCode::ControlUntrusted);
            }
            _ => panic!("neither opened nor refused"),
        }
    }
}
