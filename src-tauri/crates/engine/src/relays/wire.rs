//! The connection to a relay: datagrams, a stream, or a stream within TLS.

use super::framing::Incoming;
use lanrage_proto::{TurnTransport, TurnUri};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How long finding and reaching a relay may take.
const REACHING: Duration = Duration::from_secs(5);
/// Bytes of a stream that wait in the system besides those that are on their way.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 16 * 1024;
/// The longest message there is.
const LONGEST: usize = 64 * 1024 + 4;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection to a relay that carries whole messages.
pub(super) struct Wire {
    kind: Kind,
    buffer: Vec<u8>,
}

/// What comes from a relay.
pub(super) enum Received {
    /// A whole message.
    Message(Vec<u8>),
    /// The word of its computer that nobody listens there.
    Refused,
}

enum Kind {
    Datagrams(UdpSocket),
    Stream {
        read: ReadHalf<Box<dyn Stream>>,
        write: WriteHalf<Box<dyn Stream>>,
        incoming: Incoming,
    },
}

impl Wire {
    /// Finds the relay and connects to it.
    pub(super) async fn connect(uri: &TurnUri, tls: &Arc<ClientConfig>) -> io::Result<Self> {
        timeout(REACHING, Self::reach(uri, tls))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer"))?
    }

    async fn reach(uri: &TurnUri, tls: &Arc<ClientConfig>) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "no address");
        for remote in lookup_host((uri.host(), uri.port())).await? {
            match Self::reach_at(remote, uri, tls).await {
                Ok(wire) => return Ok(wire),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn reach_at(remote: SocketAddr, uri: &TurnUri, tls: &Arc<ClientConfig>) -> io::Result<Self> {
        if uri.transport() == TurnTransport::Udp {
            let any: SocketAddr = match remote {
                SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            let socket = UdpSocket::bind(any).await?;
            socket.connect(remote).await?;
            let kind = Kind::Datagrams(socket);
            return Ok(Self {
                kind,
                buffer: vec![0; LONGEST],
            });
        }
        let tcp = TcpStream::connect(remote).await?;
        tcp.set_nodelay(true)?;
        keep_short(&tcp);
        let stream: Box<dyn Stream> = if uri.transport() == TurnTransport::Tls {
            let name = ServerName::try_from(uri.host().to_owned())
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
            Box::new(TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await?)
        } else {
            Box::new(tcp)
        };
        let (read, write) = split(stream);
        let kind = Kind::Stream {
            read,
            write,
            incoming: Incoming::default(),
        };
        Ok(Self {
            kind,
            buffer: vec![0; LONGEST],
        })
    }

    pub(super) fn is_stream(&self) -> bool {
        matches!(self.kind, Kind::Stream { .. })
    }

    /// What comes next. Safe to cancel.
    pub(super) async fn receive(&mut self) -> io::Result<Received> {
        match &mut self.kind {
            Kind::Datagrams(socket) => match socket.recv(&mut self.buffer).await {
                Ok(length) => Ok(Received::Message(self.buffer[..length].to_vec())),
                Err(error) if is_refusal(&error) => Ok(Received::Refused),
                Err(error) => Err(error),
            },
            Kind::Stream { read, incoming, .. } => loop {
                let message = incoming
                    .next()
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                if let Some(message) = message {
                    return Ok(Received::Message(message));
                }
                match read.read(&mut self.buffer).await? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    length => incoming.fill(&self.buffer[..length]),
                }
            },
        }
    }

    /// Sends a datagram, or whole messages of a stream. `false` when, instead, the relay's computer let know that
    /// nobody listened there before.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<bool> {
        match &mut self.kind {
            Kind::Datagrams(socket) => match socket.send(bytes).await {
                Err(error) if is_refusal(&error) => Ok(false),
                sent => sent.map(|_| true),
            },
            Kind::Stream { write, .. } => {
                write.write_all(bytes).await?;
                write.flush().await?;
                Ok(true)
            }
        }
    }
}

/// What waits in the system can't give way to what is newer, so only little of it does.
#[cfg(target_os = "linux")]
fn keep_short(tcp: &TcpStream) {
    if let Err(error) = socket2::SockRef::from(tcp).set_tcp_notsent_lowat(UNSENT) {
        tracing::debug!(%error, "late packets will wait for each other");
    }
}

#[cfg(not(target_os = "linux"))]
fn keep_short(_tcp: &TcpStream) {}

/// A datagram before was answered by "port unreachable" (on Windows: "reset").
fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
    )
}
