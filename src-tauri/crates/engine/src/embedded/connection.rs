//! One connection to the embedded control plane.

use super::Word;
use crate::control_client::socket_config;
use futures_util::{SinkExt, StreamExt};
use lanrage_proto::control;
use lanrage_registry::{ConnId, Source};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{StatusCode, header};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

/// How long the WebSocket's handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long a frame may take to leave; a connection that takes none for so long is dead.
const SEND: Duration = Duration::from_secs(10);
/// How long a polite end may take.
const GOODBYE: Duration = Duration::from_millis(500);
/// Frames that wait to be sent: the news of a full party's evening, twice.
const QUEUE: usize = 512;

/// What a connection needs to know.
pub(super) struct Conversation {
    pub(super) id: ConnId,
    pub(super) address: IpAddr,
    /// Where the router in front leads here from.
    pub(super) mapped: Option<SocketAddr>,
    pub(super) words: mpsc::Sender<Word>,
}

/// Lives through one connection and always says that it is gone.
pub(super) async fn converse(stream: TcpStream, conversation: Conversation) {
    if let Ok(Some(socket)) = timeout(HANDSHAKE, shake_hands(stream)).await {
        exchange(socket, &conversation).await;
    }
    // The registry is gone only when the control plane ends.
    let _ = conversation.words.send(Word::Gone(conversation.id)).await;
}

async fn shake_hands(stream: TcpStream) -> Option<WebSocketStream<TcpStream>> {
    stream.set_nodelay(true).ok()?;
    match accept_hdr_async_with_config(stream, judge, Some(socket_config())).await {
        Ok(socket) => Some(socket),
        Err(error) => {
            tracing::debug!(%error, "no WebSocket");
            None
        }
    }
}

/// Members' engines send no `Origin`; browsers always do, for whatever page is open in them.
#[expect(clippy::result_large_err, reason = "the library's own type")]
fn judge(request: &Request, response: Response) -> Result<Response, ErrorResponse> {
    let status = if request.headers().contains_key(header::ORIGIN) {
        StatusCode::FORBIDDEN
    } else if request.uri().path() != control::PATH || request.uri().query().is_some() {
        StatusCode::NOT_FOUND
    } else {
        return Ok(response);
    };
    let mut refusal = ErrorResponse::new(None);
    *refusal.status_mut() = status;
    Err(refusal)
}

async fn exchange(mut socket: WebSocketStream<TcpStream>, conversation: &Conversation) {
    let Conversation {
        id,
        address,
        mapped,
        words,
    } = conversation;
    let Ok(reached) = socket.get_ref().local_addr() else {
        return;
    };
    let source = Source {
        address: Some(*address),
        // Under no other name can it have been dialled: there is none.
        authorities: [SocketAddr::new(reached.ip().to_canonical(), reached.port())]
            .into_iter()
            .chain(*mapped)
            .map(|at| at.to_string())
            .collect(),
    };
    let (queue, mut outgoing) = mpsc::channel(QUEUE);
    if words.send(Word::Open(*id, source, queue)).await.is_err() {
        return;
    }
    loop {
        tokio::select! {
            text = outgoing.recv() => match text {
                Some(text) => match timeout(SEND, socket.send(Message::text(text))).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) => return,
                },
                None => {
                    // What was queued has been sent; wait until the other side has it.
                    let goodbye = async {
                        if socket.close(None).await.is_ok() {
                            while let Some(Ok(_)) = socket.next().await {}
                        }
                    };
                    let _ = timeout(GOODBYE, goodbye).await;
                    return;
                }
            },
            message = socket.next() => {
                let word = match message {
                    Some(Ok(Message::Text(text))) => Word::Text(*id, text.as_str().to_owned()),
                    Some(Ok(Message::Binary(_) | Message::Frame(_))) => Word::Malformed(*id),
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_))) => continue,
                    Some(Err(_)) | None => return,
                };
                if words.send(word).await.is_err() {
                    return;
                }
            }
        }
    }
}
