//! A member as the server sees one.

use ed25519_dalek::SigningKey;
use futures_util::{SinkExt, StreamExt};
use lanrage_proto::admission::{self, Proof};
use lanrage_proto::control::{ClientFrame, PATH, Request, Sealed, ServerFrame, ServerMessage, Versions};
use lanrage_proto::ids::Epoch;
use lanrage_proto::party_id::FoundingNonce;
use lanrage_proto::{Bytes, FaultCode, MemberId, PartyId, Seq, Slot};
use lanrage_server::{Server, Settings};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// Long enough for a slow machine; nothing waits for it unless it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// With STUN and TURN only where a test asks for them: their usual port is there only once.
pub(crate) fn settings(args: &[&str]) -> Settings {
    use clap::Parser;
    let off = ["--stun", "none", "--turn", "none"];
    let off = if args.contains(&"--stun") { &[] } else { &off[..] };
    let args = [&["lanrage-server", "--listen", "127.0.0.1:0"], off, args].concat();
    Settings::read(lanrage_server::Args::parse_from(args)).unwrap()
}

pub(crate) async fn serve(args: &[&str]) -> Server {
    Server::start(settings(args)).await.unwrap()
}

#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) key: SigningKey,
}

impl Person {
    pub(crate) fn new(number: u8) -> Self {
        Self {
            key: SigningKey::from_bytes(&[number; 32]),
        }
    }

    pub(crate) fn identity(&self) -> MemberId {
        MemberId(self.key.verifying_key().to_bytes())
    }

    pub(crate) fn party_id(&self) -> PartyId {
        PartyId::of_founding(&self.identity(), &FoundingNonce([1; 32]))
    }

    pub(crate) fn word(&self, seq: u64) -> Sealed {
        Sealed {
            author: self.identity(),
            epoch: Epoch(0),
            seq: Seq(seq),
            body: Bytes(vec![seq as u8; 700]),
        }
    }
}

pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<Box<dyn Stream>>,
    pub(crate) news: VecDeque<ServerMessage>,
    pub(crate) welcome: Option<ServerMessage>,
    id: u64,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self::over(Box::new(stream), &format!("ws://{address}{PATH}")).await
    }

    pub(crate) async fn over(stream: Box<dyn Stream>, url: &str) -> Self {
        Self::upgrade(stream, url.into_client_request().unwrap()).await
    }

    pub(crate) async fn upgrade(
        stream: Box<dyn Stream>,
        request: tokio_tungstenite::tungstenite::handshake::client::Request,
    ) -> Self {
        let upgrade = tokio_tungstenite::client_async(request, stream);
        let (socket, _) = timeout(PATIENCE, upgrade).await.unwrap().unwrap();
        Self {
            socket,
            news: VecDeque::new(),
            welcome: None,
            id: 0,
        }
    }

    /// The next frame, or how the server closed the connection.
    pub(crate) async fn next(&mut self) -> Result<ServerFrame, Option<CloseFrame>> {
        loop {
            match timeout(PATIENCE, self.socket.next())
                .await
                .expect("an answer in time")
            {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(text.as_str()).unwrap()),
                Some(Ok(Message::Close(frame))) => return Err(frame),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    pub(crate) async fn send(&mut self, request: Request) -> u64 {
        self.id += 1;
        let frame = ClientFrame { id: self.id, request };
        let text = serde_json::to_string(&frame).unwrap();
        self.socket.send(Message::text(text)).await.unwrap();
        self.id
    }

    pub(crate) async fn ask(&mut self, request: Request) -> ServerMessage {
        let id = self.send(request).await;
        loop {
            match self.next().await.expect("an answer, not a close") {
                ServerFrame {
                    re: Some(re),
                    message,
                } if re == id => return message,
                ServerFrame { message, .. } => self.news.push_back(message),
            }
        }
    }

    pub(crate) async fn news(&mut self) -> ServerMessage {
        match self.news.pop_front() {
            Some(message) => message,
            None => self.next().await.expect("news, not a close").message,
        }
    }

    /// How the server ends the connection, after whatever it still says.
    pub(crate) async fn close(&mut self) -> Option<u16> {
        loop {
            match self.next().await {
                Ok(frame) => self.news.push_back(frame.message),
                Err(frame) => {
                    // Agrees, so that the server need not wait.
                    while let Some(Ok(_)) = timeout(PATIENCE, self.socket.next()).await.unwrap() {}
                    return frame.map(|frame| frame.code.into());
                }
            }
        }
    }

    pub(crate) async fn prove(&mut self, person: &Person, id: &PartyId, authority: &str) -> ServerMessage {
        let hello = Request::Hello {
            versions: Versions::OURS,
            tag: admission::tag(id),
            authority: authority.to_owned(),
        };
        match self.ask(hello).await {
            ServerMessage::Challenge { challenge } => {
                let proof = Proof::make(id, &person.key, &challenge, authority);
                self.ask(Request::Prove { proof }).await
            }
            other => other,
        }
    }

    /// A member of the party that `founder` has founded or founds by this.
    pub(crate) async fn member(address: SocketAddr, person: &Person, founder: &Person) -> (Self, u8) {
        let mut client = Self::connect(address).await;
        let welcome = client
            .prove(person, &founder.party_id(), &address.to_string())
            .await;
        assert!(matches!(welcome, ServerMessage::Welcome { .. }), "{welcome:?}");
        client.welcome = Some(welcome);
        let request = if person.identity() == founder.identity() {
            let founding = founder.word(0);
            Request::RegisterParty { founding }
        } else {
            Request::JoinParty { resume: None }
        };
        match client.ask(request).await {
            ServerMessage::Party { slot: Some(slot), .. } => (client, Slot::get(slot)),
            other => panic!("expected a slot, got {other:?}"),
        }
    }
}

pub(crate) fn fault(code: FaultCode) -> ServerMessage {
    ServerMessage::Fault { code }
}
