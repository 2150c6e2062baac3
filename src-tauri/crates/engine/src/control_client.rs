//! WebSockets to control planes: one task for each connection the member dials. What is said on them, when to
//! dial again and whom to believe is the member's business; this file moves frames.

mod trial;

use crate::happening::{Happening, Happenings};
use futures_util::{SinkExt, StreamExt};
use lanrage_core::io::{ConnId, ControlEvent};
use lanrage_platform::rights::is_out_of_files;
use lanrage_proto::control::{self, ClientFrame, ServerFrame};
use lanrage_proto::limits::CONTROL_FRAME;
use lanrage_proto::settings::ControlTest;
use lanrage_proto::{Fault, FaultCode, PartyRange, ServerUrl, Why};
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// How long name, TCP, TLS and WebSocket may take together.
const CONNECT: Duration = Duration::from_secs(5);
/// A host's next address is tried after this long, beside the ones before (RFC 8305 §5).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);
/// Addresses of one host that are tried.
const ADDRESSES: usize = 6;
/// How long a frame may take to leave; a connection that takes none for so long is dead.
const SEND: Duration = Duration::from_secs(10);
/// How long a polite end may take.
const GOODBYE: Duration = Duration::from_secs(1);
/// Frames that wait to be sent: a signal to each member of the largest party, and some.
const QUEUE: usize = 512;

/// How WebSockets behave at both ends: frames no longer than the protocol's, small buffers.
pub(crate) fn socket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(4096)
        .write_buffer_size(0)
        .max_write_buffer_size(4 * CONTROL_FRAME)
        .max_message_size(Some(CONTROL_FRAME))
        .max_frame_size(Some(CONTROL_FRAME))
}

/// The connections that the member holds.
pub(crate) struct ControlClients {
    tls: Arc<ClientConfig>,
    range: PartyRange,
    happenings: Happenings,
    queues: BTreeMap<ConnId, mpsc::Sender<ClientFrame>>,
    tasks: JoinSet<()>,
}

impl ControlClients {
    /// None yet. Nothing within `range` is ever dialled: a control plane reached through the tunnels would go
    /// away with them.
    pub(crate) fn new(tls: Arc<ClientConfig>, range: PartyRange, happenings: Happenings) -> Self {
        Self {
            tls,
            range,
            happenings,
            queues: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Tries whether a control plane answers, apart from all connections.
    pub(crate) fn try_out(
        &self,
        url: ServerUrl,
    ) -> impl Future<Output = Result<ControlTest, Fault>> + Send + use<> {
        trial::try_out(url, Arc::clone(&self.tls), self.range)
    }

    /// Opens a connection; news of it come as [`Happening::Control`].
    pub(crate) fn dial(&mut self, conn: ConnId, url: ServerUrl) {
        let (queue, frames) = mpsc::channel(QUEUE);
        self.queues.insert(conn, queue);
        let (tls, range, happenings) = (Arc::clone(&self.tls), self.range, self.happenings.clone());
        // Ended ones leave their results behind until they are taken.
        while self.tasks.try_join_next().is_some() {}
        self.tasks.spawn(async move {
            let fault = Box::pin(serve(conn, &url, tls, range, frames, &happenings)).await;
            // The loop is gone only when the engine ends.
            let _ = happenings
                .send(Happening::Control(conn, ControlEvent::Closed(fault)))
                .await;
        });
    }

    /// Sends a frame. A connection that can't take any more is given up, which the member is told.
    pub(crate) fn say(&mut self, conn: ConnId, frame: ClientFrame) {
        if let Some(queue) = self.queues.get(&conn)
            && queue.try_send(frame).is_err()
        {
            tracing::debug!(?conn, "a control plane takes no more frames");
            self.queues.remove(&conn);
        }
    }

    /// Closes a connection once what was said is on its way.
    pub(crate) fn hang_up(&mut self, conn: ConnId) {
        self.queues.remove(&conn);
    }

    /// Whether news of this connection still concern the member; the last news end it.
    pub(crate) fn concerns(&mut self, conn: ConnId, event: &ControlEvent) -> bool {
        match event {
            ControlEvent::Closed(_) => self.queues.remove(&conn).is_some(),
            ControlEvent::Open | ControlEvent::Frame(_) => self.queues.contains_key(&conn),
        }
    }

    /// Closes all connections, after what was said, within a second.
    pub(crate) async fn close(&mut self) {
        self.queues.clear();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(GOODBYE, ended).await.is_err() {
            self.tasks.abort_all();
        }
    }
}

/// Lives through one connection. Returns a fault where it says more than "closed".
async fn serve(
    conn: ConnId,
    url: &ServerUrl,
    tls: Arc<ClientConfig>,
    range: PartyRange,
    mut frames: mpsc::Receiver<ClientFrame>,
    happenings: &Happenings,
) -> Option<Fault> {
    let opened = tokio::select! {
        opened = timeout(CONNECT, open(url, tls, range)) => opened,
        // Hung up before it was open.
        () = hung_up(&mut frames) => return None,
    };
    let mut socket = match opened {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => {
            tracing::debug!(?conn, error = %describe(&error), "a control plane can't be reached");
            return telling(&error);
        }
        Err(_) => {
            tracing::debug!(?conn, "a control plane did not answer in time");
            return None;
        }
    };
    let happen = |event| happenings.send(Happening::Control(conn, event));
    happen(ControlEvent::Open).await.ok()?;
    loop {
        tokio::select! {
            frame = frames.recv() => {
                let Some(frame) = frame else {
                    // A close frame, then the end of TCP's stream: what was said is on its way before.
                    let _ = timeout(GOODBYE, socket.close(None)).await;
                    return None;
                };
                let text = match serde_json::to_string(&frame) {
                    Ok(text) => text,
                    Err(error) => {
                        tracing::error!(%error, "a frame can't be written");
                        continue;
                    }
                };
                match timeout(SEND, socket.send(Message::text(text))).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        tracing::debug!(?conn, error = %describe(&error), "a control plane's connection broke");
                        return None;
                    }
                    Err(_) => return None,
                }
            }
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => match serde_json::from_str::<ServerFrame>(&text) {
                    Ok(frame) => happen(ControlEvent::Frame(Box::new(frame))).await.ok()?,
                    Err(error) => {
                        tracing::debug!(?conn, %error, "a control plane sent what is no message");
                        return Some(FaultCode::ControlMalformed.into());
                    }
                },
                Some(Ok(Message::Binary(_) | Message::Frame(_))) => {
                    return Some(FaultCode::ControlMalformed.into());
                }
                // Answered by the library.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_))) => {}
                Some(Err(WsError::Capacity(_))) => return Some(FaultCode::ControlMalformed.into()),
                Some(Err(error)) => {
                    tracing::debug!(?conn, error = %describe(&error), "a control plane's connection broke");
                    return None;
                }
                None => return None,
            }
        }
    }
}

/// Comes back when nothing can be said any more.
async fn hung_up(frames: &mut mpsc::Receiver<ClientFrame>) {
    // Nothing is said before the connection is open; what is would be lost with it anyway.
    while frames.recv().await.is_some() {}
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

async fn open(
    url: &ServerUrl,
    tls: Arc<ClientConfig>,
    range: PartyRange,
) -> Result<WebSocketStream<Box<dyn Stream>>, WsError> {
    let tcp = connect(url, range).await?;
    tcp.set_nodelay(true)?;
    let stream: Box<dyn Stream> = if url.is_tls() {
        let name = ServerName::try_from(url.host().to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        Box::new(tokio_rustls::TlsConnector::from(tls).connect(name, tcp).await?)
    } else {
        Box::new(tcp)
    };
    // The Host header is the address's authority, which proofs of admission sign.
    let request = format!("ws://{}{}", url.authority(), control::PATH).into_client_request()?;
    let (socket, _) = client_async_with_config(request, stream, Some(socket_config())).await?;
    Ok(socket)
}

/// TCP to the first of the host's addresses that takes it.
async fn connect(url: &ServerUrl, range: PartyRange) -> io::Result<TcpStream> {
    let found: Vec<SocketAddr> = match url.address() {
        Some(address) => vec![SocketAddr::new(address, url.port())],
        None => tokio::net::lookup_host((url.host(), url.port())).await?.collect(),
    };
    let mut attempts = JoinSet::new();
    for (turn, address) in (0..).zip(
        found
            .into_iter()
            .filter(|at| may_dial(at.ip(), range))
            .take(ADDRESSES),
    ) {
        attempts.spawn(async move {
            tokio::time::sleep(NEXT_ADDRESS * turn).await;
            TcpStream::connect(address).await
        });
    }
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "no address that may be dialled");
    while let Some(attempt) = attempts.join_next().await {
        match attempt {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(error) => last = io::Error::other(error),
        }
    }
    Err(last)
}

fn may_dial(address: IpAddr, range: PartyRange) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            !(range.contains(v4) || v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast())
        }
        IpAddr::V6(v6) => !(v6.is_unspecified() || v6.is_multicast()),
    }
}

/// The fault of a failure that says more than "not reached": a certificate that was not accepted, no room for
/// another connection.
fn telling(error: &WsError) -> Option<Fault> {
    let WsError::Io(error) = error else {
        return None;
    };
    if is_out_of_files(error) {
        return Some(FaultCode::TooManyFiles.into());
    }
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(error) => {
            let reason = why(error).map_or_else(|| error.to_string(), |why| why.to_string());
            Some(Fault::new(FaultCode::ControlUntrusted).with("reason", reason))
        }
        rustls::Error::NoCertificatesPresented => {
            Some(Fault::new(FaultCode::ControlUntrusted).with("reason", Why::CertificateNone))
        }
        _ => None,
    }
}

/// What is wrong with a certificate.
fn why(error: &CertificateError) -> Option<Why> {
    Some(match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Why::CertificateExpired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Why::CertificateEarly,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Why::CertificateName
        }
        CertificateError::UnknownIssuer => Why::CertificateIssuer,
        // A server's own certificate, which only --control-ca makes a known one.
        CertificateError::Other(_) => Why::CertificateOwn,
        _ => return None,
    })
}

/// Without addresses, which are not for the log.
fn describe(error: &WsError) -> String {
    match error {
        WsError::Io(error) => format!("{:?}: {error}", error.kind()),
        WsError::Http(response) => format!("HTTP status {}", response.status()),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
