//! The frames of the IPC: a 32-bit big-endian length and that many bytes of JSON (see `lanrage_proto::ipc`).

use futures_util::{SinkExt, StreamExt};
use lanrage_proto::limits::IPC_FRAME;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::bytes::Bytes;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

/// One end of a connection.
pub struct Frames<S>(Framed<S, LengthDelimitedCodec>);

/// Why there is no frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other end went away in mid-frame, or the system refused.
    #[error("the connection broke")]
    Io(#[source] std::io::Error),
    /// Longer than [`IPC_FRAME`].
    #[error("a frame is longer than {IPC_FRAME} bytes")]
    TooLong,
    /// Not the JSON that was expected.
    #[error("a frame can't be read: {0}")]
    Malformed(#[source] serde_json::Error),
}

impl From<std::io::Error> for FrameError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            // The codec's own word for a length beyond its limit.
            std::io::ErrorKind::InvalidData | std::io::ErrorKind::InvalidInput => Self::TooLong,
            _ => Self::Io(error),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    /// Frames over a stream.
    pub fn new(stream: S) -> Self {
        let codec = LengthDelimitedCodec::builder()
            .max_frame_length(IPC_FRAME)
            .new_codec();
        Self(Framed::new(stream, codec))
    }

    /// The next frame; `None` at the stream's end. Safe to cancel.
    ///
    /// # Errors
    /// [`FrameError`]; after [`FrameError::Malformed`] the next frame may be good.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let Some(bytes) = self.0.next().await else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes?)
            .map(Some)
            .map_err(FrameError::Malformed)
    }

    /// Sends a frame and waits until the system has it.
    ///
    /// # Errors
    /// [`FrameError`].
    pub async fn send(&mut self, message: &impl Serialize) -> Result<(), FrameError> {
        let bytes = serde_json::to_vec(message).map_err(FrameError::Malformed)?;
        Ok(self.0.send(Bytes::from(bytes)).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lanrage_proto::ipc::{Call, Frame};
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn frames_arrive_as_they_were_sent() {
        let (one, other) = tokio::io::duplex(64);
        let (mut one, mut other) = (Frames::new(one), Frames::new(other));
        let frame = Frame {
            id: 7,
            ipc: 1,
            call: Call::Leave,
        };
        let (sent, got) = tokio::join!(one.send(&frame), other.next::<Frame>());
        sent.unwrap();
        assert_eq!(got.unwrap(), Some(frame));
        drop(one);
        assert!(other.next::<Frame>().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_length_beyond_the_limit_is_refused_before_it_is_read() {
        let (mut one, other) = tokio::io::duplex(64);
        let mut other = Frames::new(other);
        one.write_all(&(IPC_FRAME as u32 + 1).to_be_bytes())
            .await
            .unwrap();
        assert!(matches!(other.next::<Frame>().await, Err(FrameError::TooLong)));
    }

    #[tokio::test]
    async fn garbage_is_told_from_a_broken_connection() {
        let (mut one, other) = tokio::io::duplex(64);
        let mut other = Frames::new(other);
        one.write_all(b"\0\0\0\x03{]}").await.unwrap();
        assert!(matches!(
            other.next::<Frame>().await,
            Err(FrameError::Malformed(_))
        ));
        one.write_all(b"\0\0\0\x03{").await.unwrap();
        drop(one);
        assert!(matches!(other.next::<Frame>().await, Err(FrameError::Io(_))));
    }
}
