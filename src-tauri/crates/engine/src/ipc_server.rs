//! The engine's end of the IPC: who may call, what can be read, and how much at once. What is asked goes to the
//! control loop; this file decides nothing about parties.
//!
//! An answer with id 0 is about the connection itself: who is not allowed, came when there was no room, or sent
//! what can't be read is told so, and the connection is closed.

mod guests;

use crate::frames::{FrameError, Frames};
use crate::happening::{self, Happening, Happenings};
use crate::spare::Spare;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use guests::{Asked, Guests};
use lanrage_platform::caller::{self, Caller};
use lanrage_platform::ipc::{Listener, Stream};
use lanrage_platform::rights::is_out_of_files;
use lanrage_proto::ipc::{Answer, Call, Event, Frame, Message, Reply, Status, VERSION};
use lanrage_proto::{Fault, FaultCode};
use serde::Deserialize;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Clients that are being told why they are not served.
const REFUSED: usize = 64;
/// A client that has asked nothing for so long forgot why it came.
const FIRST: Duration = Duration::from_secs(10);
/// Requests of one client that are being carried out.
const OUTSTANDING: usize = 8;
/// A client that takes nothing for so long is gone.
const SEND: Duration = Duration::from_secs(10);
/// After a failed accept, as when files ran out, it rests for this long.
const REST: Duration = Duration::from_millis(200);
/// Refusals are worth a line in the log so often: whoever may knock could fill the disk with them.
const TOLD: Duration = Duration::from_secs(60);

/// The status as all clients may see it, and to whom the rest belongs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Published {
    /// All of it.
    pub(crate) status: Status,
    /// Whose party it is.
    pub(crate) owner: Option<u32>,
}

impl Published {
    /// What this caller may see: the ID and the invite are their party's owner's.
    pub(crate) fn seen_by(&self, caller: &Caller) -> Status {
        let mut status = self.status.clone();
        if let Some(party) = &mut status.party
            && !owns(caller, self.owner)
        {
            (party.id, party.invite) = (None, None);
            status.games.clear();
        }
        status
    }
}

/// Whether the party is the caller's. Root's are all; where there are no users everything is everybody's.
pub(crate) fn owns(caller: &Caller, owner: Option<u32>) -> bool {
    caller.uid == 0 || owner.is_none_or(|owner| owner == caller.uid)
}

/// What a client's connection needs.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) happenings: Happenings,
    pub(crate) published: watch::Receiver<Arc<Published>>,
}

/// Accepts clients for as long as the engine runs.
pub(crate) async fn serve(listener: Listener, allowed: Vec<u32>, desk: Desk) {
    let (mut guests, mut spare) = (Guests::default(), Spare::new());
    let (mut clients, mut refused) = (JoinSet::new(), JoinSet::new());
    let mut told: Option<Instant> = None;
    loop {
        let (stream, caller) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) if is_out_of_files(&error) => {
                    out_of_files(&listener, &mut spare, &desk.happenings).await;
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%error, "a client could not be accepted");
                    tokio::time::sleep(REST).await;
                    continue;
                }
            },
            Some(_) = clients.join_next() => continue,
            Some(_) = refused.join_next() => continue,
        };
        let room = if caller::may_use(&caller, &allowed) {
            guests.make_room(caller.uid)
        } else {
            Err(FaultCode::NotAllowed)
        };
        let Err(code) = room else {
            let (desk, asked) = (desk.clone(), Asked::default());
            let client = attend(Frames::<Stream>::new(stream), caller, desk, Arc::clone(&asked));
            guests.welcome(caller.uid, asked, clients.spawn(client));
            continue;
        };
        if told.is_none_or(|at| at.elapsed() >= TOLD) {
            told = Some(Instant::now());
            tracing::warn!(uid = caller.uid, %code, "a client was refused");
        }
        // Beside the others, as it may take its time; and few at once, as it costs them nothing.
        if refused.len() < REFUSED {
            refused.spawn(refuse(Frames::new(stream), code.into()));
        }
    }
}

/// No client can be let in any more: they are told so, one after the other, until they can again.
async fn out_of_files(listener: &Listener, spare: &mut Spare, happenings: &Happenings) {
    tracing::error!("the engine may open no more files; clients are turned away");
    // A full queue: then the next client's try tells it.
    let _ = happenings.try_send(Happening::OutOfFiles(true));
    loop {
        spare.give();
        if let Ok(Ok((stream, _))) = timeout(REST, listener.accept()).await {
            let refusal = refuse(Frames::new(stream), FaultCode::TooManyFiles.into());
            let _ = timeout(REST, refusal).await;
        }
        if spare.keep() {
            tracing::info!("the engine may open files again");
            let _ = happenings.send(Happening::OutOfFiles(false)).await;
            return;
        }
    }
}

async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(mut frames: Frames<S>, fault: Fault) {
    let answer = Message::Answer(Answer {
        id: 0,
        result: Err(fault),
    });
    // It went away, or does not listen: nothing is lost.
    let _ = timeout(SEND, frames.send(&answer)).await;
}

/// Serves one client until it goes away, or has asked nothing for too long.
async fn attend<S: AsyncRead + AsyncWrite + Unpin>(
    mut frames: Frames<S>,
    caller: Caller,
    mut desk: Desk,
    asked: Asked,
) {
    let mut answers = FuturesUnordered::new();
    let mut watching = false;
    let mut first = pin!(sleep(FIRST));
    loop {
        let message = tokio::select! {
            envelope = frames.next::<Envelope>() => match envelope.and_then(Envelope::open) {
                Ok(Some(Opened::Foreign { id, version })) => {
                    asked.store(true, Ordering::Relaxed);
                    Some(answer(id, Err(wrong_version(version))))
                }
                Ok(Some(Opened::Frame(frame))) => {
                    asked.store(true, Ordering::Relaxed);
                    if frame.call == Call::Watch {
                        watching = true;
                        // The status now is the first event.
                        desk.published.mark_changed();
                        Some(answer(frame.id, Ok(Reply::Done)))
                    } else if answers.len() >= OUTSTANDING {
                        Some(answer(frame.id, Err(FaultCode::TooMany.into())))
                    } else {
                        answers.push(ask(&desk.happenings, caller, frame));
                        None
                    }
                }
                Ok(None) | Err(FrameError::Io(_)) => return,
                Err(error @ (FrameError::TooLong | FrameError::Malformed(_))) => {
                    // What stands in the frame may be a party ID; the log gets where it broke, at most.
                    tracing::debug!(uid = caller.uid, "a client sent what is no request");
                    let reason = match error {
                        FrameError::Malformed(error) => format!("column {}", error.column()),
                        error => error.to_string(),
                    };
                    return refuse(frames, Fault::new(FaultCode::RequestInvalid).with("reason", reason)).await;
                }
            },
            Some(answered) = answers.next() => Some(answered),
            () = &mut first, if !asked.load(Ordering::Relaxed) => {
                let fault = Fault::new(FaultCode::RequestInvalid).with("reason", "nothing was asked");
                return refuse(frames, fault).await;
            }
            changed = desk.published.changed(), if watching => {
                if changed.is_err() {
                    return;
                }
                let status = desk.published.borrow_and_update().seen_by(&caller);
                Some(Message::Event(Event { status }))
            }
        };
        if let Some(message) = message
            && !matches!(timeout(SEND, frames.send(&message)).await, Ok(Ok(())))
        {
            return;
        }
    }
}

/// Puts a request to the control loop, which carries it out whether or not this client waits for the answer.
fn ask(happenings: &Happenings, caller: Caller, frame: Frame) -> impl Future<Output = Message> + use<> {
    let (sender, receiver) = oneshot::channel();
    let asked = Happening::Asked(happening::Asked {
        caller,
        call: frame.call,
        answer: sender,
    });
    // Before anything is awaited: a client that goes away now has asked nonetheless.
    let refused = happenings.try_send(asked).is_err();
    async move {
        let result = if refused {
            Err(FaultCode::TooMany.into())
        } else {
            receiver.await.unwrap_or_else(|_| {
                Err(Fault::new(FaultCode::Internal).with("reason", "the engine is ending"))
            })
        };
        answer(frame.id, result)
    }
}

/// A request whose version is looked at before its content: that of another version may be one we can't read.
#[derive(Deserialize)]
struct Envelope {
    id: u64,
    ipc: u16,
    call: serde_json::Value,
}

enum Opened {
    Frame(Frame),
    Foreign { id: u64, version: u16 },
}

impl Envelope {
    fn open(envelope: Option<Self>) -> Result<Option<Opened>, FrameError> {
        let Some(Self { id, ipc, call }) = envelope else {
            return Ok(None);
        };
        if ipc != VERSION {
            return Ok(Some(Opened::Foreign { id, version: ipc }));
        }
        let call = serde_json::from_value(call).map_err(FrameError::Malformed)?;
        Ok(Some(Opened::Frame(Frame { id, ipc, call })))
    }
}

fn answer(id: u64, result: Result<Reply, Fault>) -> Message {
    Message::Answer(Answer { id, result })
}

fn wrong_version(theirs: u16) -> Fault {
    Fault::new(FaultCode::EngineVersion)
        .with("theirs", VERSION)
        .with("ours", theirs)
}

#[cfg(test)]
mod tests;
