//! The verbs' end of the IPC.

use super::Failure;
use crate::frames::{FrameError, Frames};
use lanrage_platform::ipc::{self, IpcError, Stream};
use lanrage_proto::ipc::{Call, Frame, Message, Reply, Status, VERSION};
use lanrage_proto::{Fault, FaultCode};
use std::path::{Path, PathBuf};

/// A connection to an engine.
pub(super) struct Client {
    frames: Frames<Stream>,
    path: PathBuf,
    last_id: u64,
}

impl Client {
    /// Connects, having checked that the engine is root's or the caller's own.
    pub(super) async fn connect(socket: Option<&Path>) -> Result<Self, Failure> {
        let path = socket.map_or_else(ipc::default_socket_path, Path::to_path_buf);
        let stream = ipc::connect(&path).await.map_err(|error| {
            let code = match error {
                IpcError::UntrustedServer { .. } => FaultCode::EngineUntrusted,
                _ => FaultCode::EngineNotRunning,
            };
            Failure::unreachable(Fault::new(code).with("path", path.display()))
        })?;
        Ok(Self {
            frames: Frames::new(stream),
            path,
            last_id: 0,
        })
    }

    /// Asks and waits for the answer, for as long as it takes.
    pub(super) async fn ask(&mut self, call: Call) -> Result<Reply, Failure> {
        self.last_id += 1;
        let frame = Frame {
            id: self.last_id,
            ipc: VERSION,
            call,
        };
        // An engine that refuses the connection answers and closes without reading: its answer says why.
        let sent = self.frames.send(&frame).await;
        loop {
            match self.message().await? {
                Some(Message::Answer(answer)) if answer.id == self.last_id || answer.id == 0 => {
                    return answer.result.map_err(Failure::refused);
                }
                Some(_) => {}
                None => return Err(self.gone(sent.err())),
            }
        }
    }

    /// The next status after `watch`; `None` when the engine has ended.
    pub(super) async fn event(&mut self) -> Result<Option<Status>, Failure> {
        loop {
            match self.message().await? {
                Some(Message::Event(event)) => return Ok(Some(event.status)),
                Some(Message::Answer(_)) => {}
                None => return Ok(None),
            }
        }
    }

    async fn message(&mut self) -> Result<Option<Message>, Failure> {
        match self.frames.next().await {
            Ok(message) => Ok(message),
            // Killed in mid-sentence: as good as an end.
            Err(FrameError::Io(_)) => Ok(None),
            Err(error) => Err(Failure::internal(error)),
        }
    }

    fn gone(&self, cause: Option<FrameError>) -> Failure {
        tracing::debug!(?cause, "the engine went away before it answered");
        Failure::unreachable(Fault::new(FaultCode::EngineNotRunning).with("path", self.path.display()))
    }
}
