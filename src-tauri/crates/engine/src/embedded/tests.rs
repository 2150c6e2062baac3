use super::*;
use futures_util::{SinkExt, StreamExt};
use lanrage_proto::admission::{self, Proof};
use lanrage_proto::control::{ClientFrame, PATH, Request, Sealed, ServerFrame, ServerMessage, Versions};
use lanrage_proto::ids::Epoch;
use lanrage_proto::party_id::FoundingNonce;
use lanrage_proto::{Bytes, MemberId, PartyId, Seq, Slot};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

static LOOPBACK: [IpAddr; 1] = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
const PATIENCE: Duration = Duration::from_secs(5);

/// Somebody with keys; nothing but signatures is looked at here.
struct Player(lanrage_core::keys::MemberKeys);

impl Player {
    fn new(seed: u8) -> Self {
        let seed = lanrage_core::keys::DeviceSeed::from_bytes([seed; 32]);
        Self(lanrage_core::keys::MemberKeys::founder(
            &seed,
            &FoundingNonce([9; 32]),
        ))
    }

    fn sealed(&self, seq: u64) -> Sealed {
        Sealed {
            author: self.0.id(),
            epoch: Epoch(0),
            seq: Seq(seq),
            body: Bytes(vec![7; 40]),
        }
    }
}

struct Scene {
    _dir: tempfile::TempDir,
    state: Arc<StateDir>,
    id: PartyId,
    embedded: Option<Embedded>,
    happened: mpsc::Receiver<Happening>,
    happenings: Happenings,
    port: u16,
}

impl Scene {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = Arc::new(StateDir::open(&dir.path().join("state")).unwrap());
        let (happenings, happened) = mpsc::channel(8);
        let mut scene = Self {
            _dir: dir,
            state,
            id: PartyId::of_founding(&MemberId([1; 32]), &FoundingNonce([2; 32])),
            embedded: None,
            happened,
            happenings,
            port: 0,
        };
        scene.start().await;
        scene
    }

    async fn start(&mut self) {
        self.embedded = Some(Embedded::start_on(
            &LOOPBACK,
            admission::tag(&self.id),
            Arc::clone(&self.state),
            vec![self.port],
            self.happenings.clone(),
        ));
        match timeout(PATIENCE, self.happened.recv()).await.unwrap() {
            Some(Happening::Hosting(Ok(hosting))) => self.port = hosting.port,
            _ => panic!("it does not host"),
        }
    }

    async fn stop(&mut self) {
        timeout(PATIENCE, self.embedded.take().unwrap().stop())
            .await
            .unwrap();
    }

    async fn client(&self) -> Client {
        let authority = format!("127.0.0.1:{}", self.port);
        let (socket, _) = connect_async(format!("ws://{authority}{PATH}")).await.unwrap();
        Client {
            socket,
            authority,
            last: 0,
            told: Vec::new(),
        }
    }

    async fn proven(&self, player: &Player) -> Client {
        let mut client = self.client().await;
        let hello = Request::Hello {
            versions: Versions::OURS,
            tag: admission::tag(&self.id),
            authority: client.authority.clone(),
        };
        let ServerMessage::Challenge { challenge } = client.ask(hello).await else {
            panic!("no challenge");
        };
        let proof = Proof::make(&self.id, player.0.signing(), &challenge, &client.authority);
        let ServerMessage::Welcome { seen_as, .. } = client.ask(Request::Prove { proof }).await else {
            panic!("not welcome");
        };
        assert_eq!(seen_as, Some(LOOPBACK[0]));
        client
    }
}

struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    authority: String,
    last: u64,
    told: Vec<ServerMessage>,
}

impl Client {
    async fn ask(&mut self, request: Request) -> ServerMessage {
        self.last += 1;
        let frame = ClientFrame {
            id: self.last,
            request,
        };
        self.socket
            .send(Message::text(serde_json::to_string(&frame).unwrap()))
            .await
            .unwrap();
        loop {
            let frame = self.frame().await.unwrap();
            if frame.re == Some(self.last) {
                return frame.message;
            }
            self.told.push(frame.message);
        }
    }

    /// The next frame; none at the end.
    async fn frame(&mut self) -> Option<ServerFrame> {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.unwrap()? {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }
}

#[tokio::test]
async fn browsers_and_other_paths_are_refused() {
    let mut scene = Scene::new().await;
    let base = format!("ws://127.0.0.1:{}", scene.port);
    let mut from_a_page = format!("{base}{PATH}").into_client_request().unwrap();
    from_a_page
        .headers_mut()
        .insert("origin", "http://evil.example".parse().unwrap());
    for (request, status) in [
        (from_a_page, 403),
        (format!("{base}/").into_client_request().unwrap(), 404),
        (format!("{base}{PATH}?x=1").into_client_request().unwrap(), 404),
    ] {
        match connect_async(request).await {
            Err(WsError::Http(response)) => assert_eq!(response.status().as_u16(), status),
            other => panic!("{other:?}"),
        }
    }
    scene.stop().await;
}

#[tokio::test]
async fn a_party_is_on_disk_when_it_is_acknowledged_and_there_again_after_a_restart() {
    let mut scene = Scene::new().await;
    let (anna, port) = (Player::new(1), scene.port);
    let mut client = scene.proven(&anna).await;
    let founding = anna.sealed(1);
    let answer = client
        .ask(Request::RegisterParty {
            founding: founding.clone(),
        })
        .await;
    assert!(
        matches!(
            answer,
            ServerMessage::Party {
                slot: Some(Slot::FOUNDER),
                ..
            }
        ),
        "{answer:?}"
    );
    assert!(scene.state.control_memory().unwrap().is_some());
    scene.stop().await;
    assert!(client.frame().await.is_none(), "it closed politely");
    scene.start().await;
    assert_eq!(scene.port, port, "friends' invites still lead here");
    let mut client = scene.proven(&anna).await;
    match client.ask(Request::Discover {}).await {
        ServerMessage::Party { founding: again, .. } => assert_eq!(again, founding),
        other => panic!("{other:?}"),
    }
    scene.stop().await;
}

#[tokio::test]
async fn the_word_that_ends_a_party_leaves_before_the_control_plane_does() {
    let mut scene = Scene::new().await;
    let (anna, tom) = (Player::new(1), Player::new(2));
    let mut host = scene.proven(&anna).await;
    host.ask(Request::RegisterParty {
        founding: anna.sealed(1),
    })
    .await;
    let mut guest = scene.proven(&tom).await;
    let joined = guest.ask(Request::JoinParty { resume: None }).await;
    assert!(
        matches!(joined, ServerMessage::Party { slot: Some(_), .. }),
        "{joined:?}"
    );
    let done = host
        .ask(Request::DissolveParty {
            statement: anna.sealed(2),
        })
        .await;
    assert_eq!(done, ServerMessage::Done {});
    scene.stop().await;
    let mut dissolved = guest
        .told
        .iter()
        .any(|told| matches!(told, ServerMessage::PartyDissolved { .. }));
    while let Some(frame) = guest.frame().await {
        dissolved |= matches!(frame.message, ServerMessage::PartyDissolved { .. });
    }
    assert!(dissolved);
    assert!(
        scene.state.control_memory().unwrap().is_none(),
        "nothing is kept of a party that ended"
    );
}

#[tokio::test]
async fn strangers_learn_nothing_and_garbage_harms_nobody() {
    let mut scene = Scene::new().await;
    let mut stranger = scene.client().await;
    let answer = stranger.ask(Request::Discover {}).await;
    assert!(matches!(answer, ServerMessage::Fault { .. }), "{answer:?}");
    let mut babbler = scene.client().await;
    babbler.socket.send(Message::binary(vec![0; 100])).await.unwrap();
    babbler.socket.send(Message::text("{]")).await.ok();
    let mut shouter = scene.client().await;
    let much = "x".repeat(lanrage_proto::limits::CONTROL_FRAME + 1);
    shouter.socket.send(Message::text(much)).await.ok();
    while shouter.frame().await.is_some() {}
    scene.proven(&Player::new(1)).await;
    scene.stop().await;
}

#[tokio::test]
async fn a_taken_port_is_no_obstacle() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let number = taken.local_addr().unwrap().port();
    let (listeners, port) = listen(&LOOPBACK, &[number]).unwrap();
    assert!(port != number && port != 0);
    assert_eq!(listeners[0].local_addr().unwrap().port(), port);
}

/// Only Linux answers on all of 127.0.0.0/8.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn strangers_from_many_addresses_keep_no_friend_out() {
    let mut scene = Scene::new().await;
    let founder = Player::new(1);
    let mut first = scene.proven(&founder).await;
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, scene.port));
    let mut strangers = Vec::new();
    for number in 0..CONNECTIONS {
        let from = [
            127,
            0,
            1,
            u8::try_from(number / (CONNECTIONS_FROM_ONE - 1)).unwrap(),
        ];
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        strangers.push(socket.connect(target).await.unwrap());
    }
    let started = Instant::now();
    let mut friend = scene.proven(&Player::new(2)).await;
    for client in [&mut first, &mut friend] {
        client.ask(Request::Discover {}).await;
    }
    // Well before the strangers' time to shake hands has run out.
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    drop(strangers);
    scene.stop().await;
}
