//! The engine's end of the IPC: who may call, what can be read, and how much at once. What is asked goes to the
//! control loop; this file decides nothing about parties.
//!
//! An answer with id 0 is about the connection itself: who is not allowed, came when there was no room, or sent
//! what can't be read is told so, and the connection is closed.

use crate::frames::{FrameError, Frames};
use crate::happening::{Asked, Happening, Happenings};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lanrage_platform::caller::{self, Caller};
use lanrage_platform::ipc::{Listener, Stream};
use lanrage_proto::ipc::{Answer, Call, Event, Frame, Message, Reply, Status, VERSION};
use lanrage_proto::{Fault, FaultCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Clients at once: a window, a tray, some scripts, and those that forget to close.
const CLIENTS: usize = 64;
/// Requests of one client that are being carried out.
const OUTSTANDING: usize = 8;
/// A client that takes nothing for so long is gone.
const SEND: Duration = Duration::from_secs(10);
/// After a failed accept, as when files ran out, it rests for this long.
const REST: Duration = Duration::from_millis(200);

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
    let mut clients = JoinSet::new();
    loop {
        let (stream, caller) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a client could not be accepted");
                    tokio::time::sleep(REST).await;
                    continue;
                }
            },
            Some(_) = clients.join_next() => continue,
        };
        let refusal = if !caller::may_use(&caller, &allowed) {
            tracing::info!(uid = caller.uid, "a user who is not allowed to was refused");
            Some(FaultCode::NotAllowed)
        } else if clients.len() >= CLIENTS {
            tracing::warn!("too many clients; one was refused");
            Some(FaultCode::TooMany)
        } else {
            None
        };
        match refusal {
            // Beside the others, as it may take its time; and few at once, as it costs them nothing.
            Some(code) if clients.len() < 2 * CLIENTS => {
                clients.spawn(refuse(Frames::new(stream), code.into()));
            }
            Some(_) => {}
            None => {
                let desk = desk.clone();
                clients.spawn(async move { attend(Frames::<Stream>::new(stream), caller, desk).await });
            }
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

/// Serves one client until it goes away.
async fn attend<S: AsyncRead + AsyncWrite + Unpin>(mut frames: Frames<S>, caller: Caller, mut desk: Desk) {
    let mut answers = FuturesUnordered::new();
    let mut watching = false;
    loop {
        let message = tokio::select! {
            frame = frames.next::<Frame>() => match frame {
                Ok(Some(frame)) => {
                    if frame.ipc != VERSION {
                        Some(answer(frame.id, Err(wrong_version(frame.ipc))))
                    } else if frame.call == Call::Watch {
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
    let asked = Happening::Asked(Asked {
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
