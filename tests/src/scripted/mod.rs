//! A scripted engine: it speaks the real IPC, moves no packet and needs no rights. With it the window can be
//! seen and tested in any state, on any system.
//!
//! [`Scripted::show`] sets a state and [`Scripted::stage`] a whole scene, refusals included; the verbs play one: `create` and
//! `join` take their steps, friends drop in, pings wander, `leave` ends it.

mod desk;
mod play;
pub mod scenes;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use futures_util::{SinkExt, StreamExt};
use lanrage_platform::ipc::{Listener, Stream};
use lanrage_proto::ipc::{Answer, Call, Event, Frame, Message, Reply, Status, VERSION};
use lanrage_proto::settings::SettingsReport;
use lanrage_proto::{Fault, FaultCode, limits};
use scenes::Scene;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

/// The id of answers about the connection itself, which ends with them.
const CONNECTION: u64 = 0;

type Frames = Framed<Stream, LengthDelimitedCodec>;

/// A running scripted engine. It ends when dropped.
#[derive(Debug)]
pub struct Scripted {
    engine: Arc<Engine>,
    door: JoinHandle<()>,
}

impl Scripted {
    /// Listens on `socket` and shows [`scenes::idle`]. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the socket can't be had.
    pub fn start(socket: &Path) -> Result<Self> {
        let listener = Listener::bind(socket).with_context(|| format!("no socket {}", socket.display()))?;
        let engine = Arc::new(Engine {
            status: watch::Sender::new(scenes::idle()),
            refusal: Mutex::default(),
            playing: Mutex::default(),
            settings: Mutex::new(desk::settings()),
        });
        let door = tokio::spawn(accept(listener, Arc::clone(&engine)));
        Ok(Self { engine, door })
    }

    /// Shows this state to everyone who watches, and refuses nothing.
    pub fn show(&self, status: Status) {
        self.engine.stop_playing();
        self.engine.refuse(None);
        self.engine.status.send_replace(status);
    }

    /// Sets a scene.
    pub fn stage(&self, scene: &Scene) {
        match scene {
            Scene::Shows(status) => self.show((**status).clone()),
            Scene::Refuses(fault) => {
                self.show(scenes::idle());
                self.engine.refuse(Some(Refusal::Entering(fault.clone())));
            }
            Scene::Away(fault) => {
                self.engine.stop_playing();
                self.engine.refuse(Some(Refusal::Everything(fault.clone())));
                // Who watches is told as well.
                self.engine.status.send_modify(|_| {});
            }
        }
    }

    /// What it shows now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.engine.status.borrow().clone()
    }

    /// Refuses every create and join from now on.
    pub fn refuse(&self, fault: Fault) {
        self.engine.refuse(Some(Refusal::Entering(fault)));
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.engine.stop_playing();
        self.door.abort();
    }
}

/// What is refused, and why.
#[derive(Debug, Clone)]
enum Refusal {
    /// Every create and join.
    Entering(Fault),
    /// Every call, those that go on as well: for who asks there is no engine.
    Everything(Fault),
}

#[derive(Debug)]
struct Engine {
    status: watch::Sender<Status>,
    refusal: Mutex<Option<Refusal>>,
    playing: Mutex<Option<JoinHandle<()>>>,
    settings: Mutex<SettingsReport>,
}

impl Engine {
    fn stop_playing(&self) {
        if let Some(play) = self.playing.lock().unwrap_or_else(PoisonError::into_inner).take() {
            play.abort();
        }
    }

    fn play(&self, play: impl Future<Output = ()> + Send + 'static) {
        self.stop_playing();
        *self.playing.lock().unwrap_or_else(PoisonError::into_inner) = Some(tokio::spawn(play));
    }

    fn refuse(&self, refusal: Option<Refusal>) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = refusal;
    }

    /// Why this is refused, if it is.
    fn refusal(&self, frame: &Frame) -> Option<Fault> {
        if frame.ipc != VERSION {
            let fault = Fault::new(FaultCode::EngineVersion);
            return Some(fault.with("theirs", frame.ipc).with("ours", VERSION));
        }
        match self.refused()? {
            Refusal::Everything(fault) => Some(fault),
            Refusal::Entering(fault) => {
                matches!(frame.call, Call::Create { .. } | Call::Join { .. }).then_some(fault)
            }
        }
    }

    fn refused(&self) -> Option<Refusal> {
        self.refusal
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Takes callers for as long as the engine lives; the connections end with it.
async fn accept(listener: Listener, engine: Arc<Engine>) {
    let mut callers = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { return };
                let codec = LengthDelimitedCodec::builder().max_frame_length(limits::IPC_FRAME).new_codec();
                let engine = Arc::clone(&engine);
                // A caller that goes away or sends nonsense ends its own connection only.
                callers.spawn(async move { drop(serve(Framed::new(stream, codec), &engine).await) });
            }
            Some(_) = callers.join_next() => {}
        }
    }
}

async fn serve(mut frames: Frames, engine: &Arc<Engine>) -> Result<()> {
    while let Some(bytes) = frames.next().await {
        let frame: Frame = serde_json::from_slice(&bytes?)?;
        let id = frame.id;
        if let Some(fault) = engine.refusal(&frame) {
            say(
                &mut frames,
                Message::Answer(Answer {
                    id,
                    result: Err(fault),
                }),
            )
            .await?;
            continue;
        }
        let result = match frame.call {
            Call::Watch => {
                say(
                    &mut frames,
                    Message::Answer(Answer {
                        id,
                        result: Ok(Reply::Done),
                    }),
                )
                .await?;
                return watch(frames, engine).await;
            }
            Call::Doctor => Ok(engine.doctor()),
            Call::Settings => Ok(engine.settings()),
            Call::Change { change } => engine.change(change),
            Call::TestControl { address } => desk::test_control(&address),
            Call::Log { from } => Ok(desk::log(from)),
            Call::Status => Ok(Reply::Status(engine.status.borrow().clone())),
            Call::Create { party, player } => play::create(engine, &party, player).await,
            Call::Join { text, player } => play::join(engine, &text, player).await,
            Call::Leave => play::leave(engine).await,
            Call::Rules { change } => play::rules(engine, change),
        };
        say(&mut frames, Message::Answer(Answer { id, result })).await?;
    }
    Ok(())
}

async fn watch(mut frames: Frames, engine: &Engine) -> Result<()> {
    let mut changes = engine.status.subscribe();
    loop {
        let status = changes.borrow_and_update().clone();
        if let Some(Refusal::Everything(fault)) = engine.refused() {
            let answer = Answer {
                id: CONNECTION,
                result: Err(fault),
            };
            return say(&mut frames, Message::Answer(answer)).await;
        }
        say(&mut frames, Message::Event(Event { status })).await?;
        tokio::select! {
            changed = changes.changed() => changed?,
            // A caller that is gone is noticed at once; one that talks on is not for this engine.
            _ = frames.next() => return Ok(()),
        }
    }
}

async fn say(frames: &mut Frames, message: Message) -> Result<()> {
    frames.send(serde_json::to_vec(&message)?.as_slice()).await?;
    Ok(())
}
