//! Trying whether a control plane answers, before anything rests on it.

use super::{CONNECT, describe, open, telling};
use futures_util::{SinkExt, StreamExt};
use lanrage_proto::control::{ClientFrame, Request, ServerFrame, ServerMessage, Versions};
use lanrage_proto::settings::ControlTest;
use lanrage_proto::{Fault, FaultCode, PartyRange, ServerUrl, Tag};
use rand_core::{OsRng, RngCore};
use rustls::ClientConfig;
use std::sync::Arc;
use std::time::Instant;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

/// Connects and begins a conversation about a party that does not exist: a server asks for proof before it looks
/// anything up, so it learns nothing and says all that is to be known.
///
/// # Errors
/// `control_unreachable`, `control_untrusted`, `control_malformed`, `version_unsupported`, or what the server says.
pub(crate) async fn try_out(
    url: ServerUrl,
    tls: Arc<ClientConfig>,
    range: PartyRange,
) -> Result<ControlTest, Fault> {
    let unreachable = || Fault::new(FaultCode::ControlUnreachable);
    let mut socket = match timeout(CONNECT, open(&url, tls, range)).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => {
            tracing::debug!(error = %describe(&error), "a control plane that is tried can't be reached");
            return Err(telling(&error).unwrap_or_else(unreachable));
        }
        Err(_) => return Err(unreachable()),
    };
    let malformed = || Fault::new(FaultCode::ControlMalformed);
    let mut tag = [0; 32];
    OsRng.fill_bytes(&mut tag);
    let hello = ClientFrame {
        id: 1,
        request: Request::Hello {
            versions: Versions::OURS,
            tag: Tag(tag),
            authority: url.authority(),
        },
    };
    let text = serde_json::to_string(&hello)
        .map_err(|error| Fault::new(FaultCode::Internal).with("reason", error))?;
    let asked = Instant::now();
    let conversation = async {
        socket
            .send(Message::text(text))
            .await
            .map_err(|_| unreachable())?;
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    return serde_json::from_str::<ServerFrame>(&text).map_err(|_| malformed());
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_))) | None => return Err(unreachable()),
                Some(Ok(Message::Binary(_) | Message::Frame(_)) | Err(_)) => return Err(malformed()),
            }
        }
    };
    let answer = timeout(CONNECT, conversation)
        .await
        .unwrap_or_else(|_| Err(unreachable()))?;
    match answer.message {
        ServerMessage::Challenge { .. } => Ok(ControlTest {
            encrypted: url.is_tls(),
            rtt_ms: asked.elapsed().as_secs_f64() * 1000.0,
            address: url.to_string(),
        }),
        ServerMessage::VersionUnsupported { versions } => Err(Fault::new(FaultCode::VersionUnsupported)
            .with("theirs", versions)
            .with("ours", Versions::OURS)),
        ServerMessage::Fault { code } => Err(code.into()),
        _ => Err(malformed()),
    }
}
