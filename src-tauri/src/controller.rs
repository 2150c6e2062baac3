//! Keeps the window's picture of the engine true and carries the player's commands to it.
//!
//! One connection watches for as long as the engine lives and is opened again, with growing pauses, when it ends.
//! Each command has a connection of its own, so that a `leave` never waits behind the `create` it cancels.
//! Nothing here knows of windows: a scripted engine on a socket is all a test needs.

use crate::dial::Dial;
use crate::view::EngineView;
use futures_util::{SinkExt, StreamExt};
use lanrage_proto::doctor::Report;
use lanrage_proto::ipc::{self, Answer, Call, Frame, Message, Reply};
use lanrage_proto::settings::{ControlTest, LogPage, SettingChange, SettingsReport};
use lanrage_proto::{Fault, FaultCode, limits};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

/// The pause after the first failed connection.
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// The longest pause: an engine that was just started should show at once.
const RETRY_LONGEST: Duration = Duration::from_secs(2);
/// How long an engine that took the connection may say nothing before it counts as away.
const FIRST_NEWS: Duration = Duration::from_secs(5);

/// The window's side of the engine.
pub(crate) struct Controller<D> {
    dial: Arc<D>,
    view: watch::Receiver<EngineView>,
}

impl<D: Dial> Controller<D> {
    /// A controller, and the task that keeps its view true until every receiver of the view is gone.
    pub(crate) fn new(dial: D) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let dial = Arc::new(dial);
        let (tell, view) = watch::channel(EngineView::Connecting);
        let task = follow(Arc::clone(&dial), tell);
        (Self { dial, view }, task)
    }

    /// How it stands with the engine now.
    pub(crate) fn view(&self) -> EngineView {
        self.view.borrow().clone()
    }

    /// Every change of it from now on; changes that come faster than they are read are merged.
    pub(crate) fn changes(&self) -> watch::Receiver<EngineView> {
        self.view.clone()
    }

    /// Asks the engine for something and waits for as long as it works on it.
    pub(crate) async fn call(&self, call: Call) -> Result<Reply, Fault> {
        let mut link = Link::open(&*self.dial).await?;
        link.ask(call).await?;
        loop {
            if let Message::Answer(Answer { id: ASKED, result }) = link.hear().await? {
                return result;
            }
        }
    }

    /// Joins the party whose ID or invite is in `text`; answers when the lease is there.
    pub(crate) async fn join(&self, text: String, player: Option<String>) -> Result<(), Fault> {
        self.call(Call::Join { text, player }).await.map(drop)
    }

    /// How the engine is set.
    pub(crate) async fn settings(&self) -> Result<SettingsReport, Fault> {
        match self.call(Call::Settings).await? {
            Reply::Settings(report) => Ok(*report),
            other => Err(unexpected(kind(&other))),
        }
    }

    /// Changes a setting of the engine's. Returns how it is set then.
    pub(crate) async fn change(&self, change: SettingChange) -> Result<SettingsReport, Fault> {
        match self.call(Call::Change { change }).await? {
            Reply::Settings(report) => Ok(*report),
            other => Err(unexpected(kind(&other))),
        }
    }

    /// Lets the engine try whether a control plane answers.
    pub(crate) async fn test_control(&self, address: String) -> Result<ControlTest, Fault> {
        match self.call(Call::TestControl { address }).await? {
            Reply::ControlTest(test) => Ok(test),
            other => Err(unexpected(kind(&other))),
        }
    }

    /// All that the engine knows of the ways to friends.
    pub(crate) async fn doctor(&self) -> Result<Report, Fault> {
        match self.call(Call::Doctor).await? {
            Reply::Doctor(report) => Ok(*report),
            other => Err(unexpected(kind(&other))),
        }
    }

    /// The engine's log from line `from` on, as much as fits.
    pub(crate) async fn log(&self, from: u64) -> Result<LogPage, Fault> {
        match self.call(Call::Log { from }).await? {
            Reply::Log(page) => Ok(page),
            other => Err(unexpected(kind(&other))),
        }
    }

    /// Leaves the party, or stops a create or join that is going on. That there is nothing to stop is no failure.
    pub(crate) async fn cancel(&self) -> Result<(), Fault> {
        match self.call(Call::Leave).await {
            Err(fault) if fault.code != FaultCode::NotInParty => Err(fault),
            _ => Ok(()),
        }
    }
}

/// Watches the engine through one connection after the other.
async fn follow<D: Dial>(dial: Arc<D>, tell: watch::Sender<EngineView>) {
    let mut pause = RETRY_FIRST;
    while !tell.is_closed() {
        let (fault, lived) = watch_once(&*dial, &tell).await;
        if lived {
            tracing::info!(%fault, "the engine went away");
            pause = RETRY_FIRST;
        }
        tell.send_if_modified(|view| {
            let away = EngineView::Away { fault };
            let changed = *view != away;
            *view = away;
            changed
        });
        tokio::select! {
            () = sleep(pause) => {}
            () = tell.closed() => {}
        }
        pause = (pause * 2).min(RETRY_LONGEST);
    }
}

/// One connection from its opening to its end: why it ended, and whether it ever brought news.
async fn watch_once<D: Dial>(dial: &D, tell: &watch::Sender<EngineView>) -> (Fault, bool) {
    let mut lived = false;
    let end = async {
        let mut link = Link::open(dial).await?;
        link.ask(Call::Watch).await?;
        loop {
            let message = if lived {
                link.hear().await?
            } else {
                timeout(FIRST_NEWS, link.hear())
                    .await
                    .map_err(|_| Fault::new(FaultCode::EngineNotRunning))??
            };
            match message {
                Message::Event(event) => {
                    lived = true;
                    tell.send_replace(EngineView::Here {
                        status: Box::new(event.status),
                    });
                }
                Message::Answer(answer) => {
                    answer.result?;
                }
            }
            if tell.is_closed() {
                return Ok(());
            }
        }
    };
    let fault = match end.await {
        Ok(()) => Fault::new(FaultCode::Cancelled),
        Err(fault) => fault,
    };
    (fault, lived)
}

/// The id of the only request on a connection.
const ASKED: u64 = 1;

/// A connection that carries messages.
struct Link<S> {
    frames: Framed<S, LengthDelimitedCodec>,
}

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Link<S> {
    async fn open<D: Dial<Stream = S>>(dial: &D) -> Result<Self, Fault> {
        let codec = LengthDelimitedCodec::builder()
            .max_frame_length(limits::IPC_FRAME)
            .new_codec();
        Ok(Self {
            frames: Framed::new(dial.dial().await?, codec),
        })
    }

    async fn ask(&mut self, call: Call) -> Result<(), Fault> {
        let frame = Frame {
            id: ASKED,
            ipc: ipc::VERSION,
            call,
        };
        let bytes = serde_json::to_vec(&frame).map_err(unexpected)?;
        // An engine that closes at once may still have said why: what it said is read before this counts.
        match self.frames.send(bytes.as_slice()).await {
            Ok(()) => Ok(()),
            Err(_) => match self.hear().await {
                Ok(Message::Answer(Answer {
                    result: Err(fault), ..
                })) => Err(fault),
                _ => Err(gone()),
            },
        }
    }

    async fn hear(&mut self) -> Result<Message, Fault> {
        match self.frames.next().await {
            Some(Ok(bytes)) => serde_json::from_slice(&bytes).map_err(unexpected),
            Some(Err(error)) if error.kind() == std::io::ErrorKind::InvalidData => Err(unexpected(error)),
            Some(Err(_)) | None => Err(gone()),
        }
    }
}

/// What kind of an answer that is, for the log: what is in it may be a party's ID.
fn kind(reply: &Reply) -> &'static str {
    match reply {
        Reply::Created(_) => "an answer to create",
        Reply::Joined(_) => "an answer to join",
        Reply::Status(_) => "a status",
        Reply::Doctor(_) => "a report",
        Reply::Settings(_) => "settings",
        Reply::ControlTest(_) => "a control plane's test",
        Reply::Log(_) => "a log",
        Reply::Done => "nothing",
    }
}

fn gone() -> Fault {
    Fault::new(FaultCode::EngineNotRunning)
}

/// The other end is no engine of this version.
fn unexpected(error: impl std::fmt::Display) -> Fault {
    tracing::warn!(%error, "the engine said something unexpected");
    Fault::new(FaultCode::Internal).with(
        "reason",
        "the engine answered with something this window does not know",
    )
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
