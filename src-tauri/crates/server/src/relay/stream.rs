//! Clients that come by TCP and TLS.

use super::shared::Shared;
use super::udp::queue;
use lanrage_relay::{Client, Framer, Queue, Weight};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::timeout;

/// Who has no allocation after so much silence is let go.
const IDLE: Duration = Duration::from_secs(30);
/// How long a client may not read at all; its allocation would soon run out anyway.
const STUCK: Duration = Duration::from_secs(60);
/// Read at a time.
const READ: usize = 16 * 1024;
/// Written at a time.
const WRITE: usize = 16 * 1024;

/// What frames travel in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    /// Bytes without bounds: as many frames at once as there are.
    Tcp,
    /// Records: one for each frame, as there are clients (coturn's among them) that take a record for a message.
    Tls,
}

/// What waits for one stream.
#[derive(Debug)]
pub(super) struct Outlet {
    inner: Mutex<Inner>,
    filled: Notify,
}

#[derive(Debug)]
struct Inner {
    queue: Queue,
    /// The client does not read its answers.
    lost: bool,
}

impl Outlet {
    pub(super) fn new() -> Self {
        Self {
            inner: Mutex::new(Inner {
                queue: queue(),
                lost: false,
            }),
            filled: Notify::new(),
        }
    }

    /// Puts a frame in line; returns how many were dropped.
    pub(super) fn push(&self, weight: Weight, frame: Vec<u8>) -> u64 {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let dropped = match inner.queue.push(weight, frame) {
            Ok(dropped) => dropped as u64,
            Err(_) => {
                inner.lost = true;
                1
            }
        };
        drop(inner);
        self.filled.notify_one();
        dropped
    }

    /// Waits for frames and takes some; none when the client is lost.
    async fn take(&self, out: &mut Vec<u8>, room: usize) -> Option<()> {
        loop {
            {
                let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
                if inner.lost {
                    return None;
                }
                inner.queue.fill(out, room);
            }
            if !out.is_empty() {
                return Some(());
            }
            self.filled.notified().await;
        }
    }
}

/// Serves one stream until it ends. `first` is what was already read of it.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin,
    carrier: Carrier,
    client: Client,
    first: &[u8],
) {
    let outlet = Arc::new(Outlet::new());
    shared.stream_came(&client, outlet.clone());
    // Also when this is cancelled.
    let _gone = Gone { shared, client };
    let (reader, writer) = tokio::io::split(stream);
    tokio::select! {
        () = read(shared, reader, &client, first) => {}
        () = write(writer, carrier, &outlet) => {}
    }
}

struct Gone<'a> {
    shared: &'a Arc<Shared>,
    client: Client,
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.shared.stream_went(&self.client);
    }
}

async fn read(shared: &Arc<Shared>, mut stream: impl AsyncRead + Unpin, client: &Client, first: &[u8]) {
    let mut framer = Framer::default();
    framer.push(first);
    let mut buffer = vec![0; READ];
    loop {
        if shared.frames(client, &mut framer).is_err() {
            tracing::debug!("a stream is neither STUN nor TURN");
            return;
        }
        match timeout(IDLE, stream.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(count)) => framer.push(&buffer[..count]),
            Err(_) if shared.serves(client) => {}
            Err(_) => return,
        }
    }
}

async fn write(mut stream: impl AsyncWrite + Unpin, carrier: Carrier, outlet: &Outlet) {
    let room = match carrier {
        Carrier::Tcp => WRITE,
        Carrier::Tls => 0,
    };
    let mut bytes = Vec::new();
    while outlet.take(&mut bytes, room).await.is_some() {
        let write = async {
            stream.write_all(&bytes).await?;
            stream.flush().await
        };
        if !matches!(timeout(STUCK, write).await, Ok(Ok(()))) {
            return;
        }
        bytes.clear();
    }
}
