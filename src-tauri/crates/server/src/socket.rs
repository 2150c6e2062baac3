//! One connection: HTTP, then a WebSocket.

use crate::hub::Hub;
use crate::relay::Entrance;
use crate::sources::{Counted, Sources};
use axum::Router;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::{SinkExt, StreamExt};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use lanrage_proto::control::PATH;
use lanrage_proto::limits;
use lanrage_registry::Source;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::timeout;

/// How long a client may take for its TLS handshake, and again for its request.
pub(crate) const HASTE: Duration = Duration::from_secs(10);
/// How long a client may take to read what it was sent.
const WRITE: Duration = Duration::from_secs(10);
/// How long a client may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);
/// tungstenite takes 128 KiB for each connection unless told otherwise; records and signals are under 2 KiB.
const READ_BUFFER: usize = 4 * 1024;
/// Frames are gathered up to here before they are written.
const WRITE_BUFFER: usize = 4 * 1024;
/// The least that hyper takes; a request for an upgrade is far smaller.
const REQUEST: usize = 8 * 1024;

/// A connection and what holds for it.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) hub: Hub,
    pub(crate) source: Source,
    /// Whether it comes from a proxy on this machine that tells for whom.
    pub(crate) proxied: bool,
    /// Where the relays learn who is here.
    pub(crate) relay: Entrance,
    pub(crate) sources: Sources,
    /// Turns true when the server stops.
    pub(crate) stopping: watch::Receiver<bool>,
    pub(crate) _held: Held,
}

/// What a connection holds until it ends.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) _place: OwnedSemaphorePermit,
    pub(crate) _counted: Counted,
    /// The server waits until all of these are gone.
    pub(crate) _alive: mpsc::Sender<()>,
}

/// Serves requests, one of which may become a WebSocket.
pub(crate) async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, client: Client) {
    let mut stopping = client.stopping.clone();
    let router = Router::new()
        .route(PATH, get(upgrade))
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(client));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HASTE)
        .max_buf_size(REQUEST)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    tokio::select! {
        result = connection => {
            if let Err(error) = result {
                tracing::trace!(%error, "a request failed");
            }
        }
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
}

async fn health(State(client): State<Arc<Client>>) -> Response {
    if client.hub.check().await {
        "ok".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the store does not work").into_response()
    }
}

/// Numbers are the operator's business; others have `--metrics` shown to them or nothing.
async fn metrics(State(client): State<Arc<Client>>) -> Response {
    let local = !client.proxied && client.source.address.is_some_and(|address| address.is_loopback());
    if local {
        client.relay.metrics().text().into_response()
    } else {
        StatusCode::NOT_FOUND.into_response()
    }
}

async fn upgrade(
    State(client): State<Arc<Client>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    // Engines send none; a web page that a player visits has no business here.
    if headers.contains_key(header::ORIGIN) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let mut source = client.source.clone();
    let mut counted = None;
    if client.proxied
        && let Some(address) = forwarded_for(&headers)
    {
        counted = client.sources.enter(address);
        if counted.is_none() {
            return StatusCode::TOO_MANY_REQUESTS.into_response();
        }
        source.address = Some(address);
    }
    if let Some(address) = source.address {
        client.relay.seen(address);
    }
    upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(limits::CONTROL_FRAME)
        .max_frame_size(limits::CONTROL_FRAME)
        .on_upgrade(move |socket| async move {
            talk(socket, source, &client).await;
            drop(counted);
        })
}

/// For whom a proxy speaks: the last address, which is the one that the proxy itself saw.
fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?;
    let address = last.to_str().ok()?.rsplit(',').next()?.trim();
    Some(address.parse::<IpAddr>().ok()?.to_canonical())
}

/// Carries frames between a client and the registry until one of them ends it.
async fn talk(mut socket: WebSocket, source: Source, client: &Client) {
    let Ok((id, mut frames)) = client.hub.connected(source).await else {
        return;
    };
    let code = loop {
        tokio::select! {
            frame = frames.recv() => {
                let Some(frame) = frame else {
                    let stopping = *client.stopping.borrow();
                    break Some(if stopping { close_code::AWAY } else { close_code::NORMAL });
                };
                if !in_time(socket.feed(Message::Text(frame))).await {
                    break None;
                }
                let mut fed = true;
                while fed && let Ok(frame) = frames.try_recv() {
                    fed = in_time(socket.feed(Message::Text(frame))).await;
                }
                if !fed || !in_time(socket.flush()).await {
                    break None;
                }
            }
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    if client.hub.text(id, text).await.is_err() {
                        break Some(close_code::AWAY);
                    }
                }
                Some(Ok(Message::Binary(_))) => {
                    if client.hub.malformed(id).await.is_err() {
                        break Some(close_code::AWAY);
                    }
                }
                // Answered by the WebSocket itself.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_))) | None => break None,
                Some(Err(error)) => {
                    tracing::debug!(connection = id.0, %error, "a connection broke");
                    // Told to who sent too much or nonsense; who is gone does not hear it.
                    break Some(close_code::POLICY);
                }
            }
        }
    };
    client.hub.gone(id).await;
    if let Some(code) = code {
        say_goodbye(socket, code).await;
    }
}

/// Closes a connection and gives the client a moment to agree: a TCP connection closed with unread data is
/// reset, and what was sent last would be lost.
async fn say_goodbye(mut socket: WebSocket, code: u16) {
    let frame = CloseFrame {
        code,
        reason: "".into(),
    };
    let goodbye = async {
        if socket.send(Message::Close(Some(frame))).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    let _ = timeout(GOODBYE, goodbye).await;
}

async fn in_time<E>(write: impl Future<Output = Result<(), E>>) -> bool {
    matches!(timeout(WRITE, write).await, Ok(Ok(())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_what_the_proxy_itself_saw_counts() {
        let seen = |values: &[&str]| forwarded_for(&headers(values));
        assert_eq!(seen(&["203.0.113.7"]), Some([203, 0, 113, 7].into()));
        assert_eq!(seen(&["10.0.0.1, 203.0.113.7"]), Some([203, 0, 113, 7].into()));
        assert_eq!(
            seen(&["10.0.0.1", "::ffff:203.0.113.7"]),
            Some([203, 0, 113, 7].into())
        );
        assert_eq!(seen(&["203.0.113.7, unknown"]), None);
        assert_eq!(seen(&[]), None);
    }
}
