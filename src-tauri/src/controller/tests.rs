//! The controller against an engine that follows a script, on a real socket.

use super::*;
use crate::dial::SocketDial;
use lanrage_proto::ipc::{
    ControlMode, ControlState, ControlStatus, EngineState, EngineStatus, Event, NatStatus, NatType, Status,
};
use serde::Serialize;
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

const PATIENCE: Duration = Duration::from_secs(10);

/// A place for a socket, with or without an engine behind it.
struct Place {
    _dir: TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("engine.sock");
        Self { _dir: dir, path }
    }

    fn engine(&self) -> UnixListener {
        if self.path.exists() {
            std::fs::remove_file(&self.path).unwrap();
        }
        UnixListener::bind(&self.path).unwrap()
    }

    fn controller(&self) -> Controller<SocketDial> {
        let (controller, task) = Controller::new(SocketDial::new(Some(self.path.clone())));
        tokio::spawn(task);
        controller
    }
}

fn status(player: &str) -> Status {
    Status {
        engine: EngineStatus {
            version: "0.1.0".into(),
            state: EngineState::Ready,
            player: player.into(),
            control: ControlStatus {
                mode: ControlMode::Local,
                state: ControlState::Idle,
            },
        },
        nat: NatStatus {
            kind: NatType::Unknown,
            mapped: None,
        },
        party: None,
        games: Vec::new(),
        conditions: Vec::new(),
    }
}

async fn heard(stream: &mut UnixStream) -> Frame {
    let length = stream.read_u32().await.unwrap();
    let mut bytes = vec![0; length as usize];
    stream.read_exact(&mut bytes).await.unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

async fn say(stream: &mut UnixStream, message: &impl Serialize) {
    let bytes = serde_json::to_vec(message).unwrap();
    stream.write_u32(bytes.len() as u32).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
}

async fn answer(stream: &mut UnixStream, result: Result<Reply, Fault>) {
    say(stream, &Answer { id: ASKED, result }).await;
}

/// Takes the watcher's connection and gives it its first news.
async fn watched(engine: &UnixListener, player: &str) -> UnixStream {
    let (mut stream, _) = engine.accept().await.unwrap();
    assert_eq!(
        heard(&mut stream).await,
        Frame {
            id: ASKED,
            ipc: ipc::VERSION,
            call: Call::Watch
        }
    );
    answer(&mut stream, Ok(Reply::Done)).await;
    say(
        &mut stream,
        &Event {
            status: status(player),
        },
    )
    .await;
    stream
}

async fn sees(controller: &Controller<SocketDial>, wanted: impl FnMut(&EngineView) -> bool) -> EngineView {
    let mut changes = controller.changes();
    let seen = timeout(PATIENCE, changes.wait_for(wanted)).await;
    seen.expect("the view never came to that").unwrap().clone()
}

fn away(code: FaultCode) -> impl FnMut(&EngineView) -> bool {
    move |view| matches!(view, EngineView::Away { fault } if fault.code == code)
}

fn here(player: &str) -> impl FnMut(&EngineView) -> bool {
    move |view| matches!(view, EngineView::Here { status } if status.engine.player == player)
}

#[tokio::test]
async fn an_engine_that_starts_late_is_found_and_its_end_is_seen_and_its_return() {
    let place = Place::new();
    let controller = place.controller();
    sees(&controller, away(FaultCode::EngineNotRunning)).await;

    let engine = place.engine();
    let mut stream = watched(&engine, "Anna").await;
    sees(&controller, here("Anna")).await;
    say(
        &mut stream,
        &Event {
            status: status("Tom"),
        },
    )
    .await;
    sees(&controller, here("Tom")).await;

    drop((stream, engine));
    sees(&controller, away(FaultCode::EngineNotRunning)).await;

    let engine = place.engine();
    let _stream = watched(&engine, "Zoë").await;
    sees(&controller, here("Zoë")).await;
}

#[tokio::test]
async fn an_engine_of_another_version_is_shown_as_such() {
    let place = Place::new();
    let engine = place.engine();
    let controller = place.controller();
    let (mut stream, _) = engine.accept().await.unwrap();
    heard(&mut stream).await;
    let fault = Fault::new(FaultCode::EngineVersion)
        .with("theirs", 2)
        .with("ours", 1);
    answer(&mut stream, Err(fault.clone())).await;
    let view = sees(&controller, away(FaultCode::EngineVersion)).await;
    assert_eq!(view, EngineView::Away { fault });
}

#[tokio::test]
async fn garbage_and_oversize_frames_end_the_connection_and_the_next_one_works() {
    let place = Place::new();
    let engine = place.engine();
    let controller = place.controller();
    let (mut stream, _) = engine.accept().await.unwrap();
    stream.write_all(b"\0\0\0\x05hello").await.unwrap();
    sees(&controller, away(FaultCode::Internal)).await;

    let (mut stream, _) = engine.accept().await.unwrap();
    stream.write_u32(limits::IPC_FRAME as u32 + 1).await.unwrap();
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .expect("the connection stayed open")
        .ok();

    let _stream = watched(&engine, "Anna").await;
    sees(&controller, here("Anna")).await;
}

#[tokio::test]
async fn a_leave_overtakes_the_create_it_cancels() {
    let place = Place::new();
    let engine = place.engine();
    let controller = Arc::new(place.controller());
    let _watcher = watched(&engine, "Anna").await;

    let creating = {
        let controller = Arc::clone(&controller);
        let call = Call::Create {
            party: "Friday".into(),
            player: Some("Anna".into()),
        };
        tokio::spawn(async move { controller.call(call).await })
    };
    let (mut create, _) = engine.accept().await.unwrap();
    assert!(matches!(heard(&mut create).await.call, Call::Create { party, .. } if party == "Friday"));

    let cancelling = {
        let controller = Arc::clone(&controller);
        tokio::spawn(async move { controller.cancel().await })
    };
    let (mut leave, _) = engine.accept().await.unwrap();
    assert_eq!(heard(&mut leave).await.call, Call::Leave);
    answer(&mut create, Err(FaultCode::Cancelled.into())).await;
    answer(&mut leave, Ok(Reply::Done)).await;

    assert_eq!(creating.await.unwrap(), Err(FaultCode::Cancelled.into()));
    assert_eq!(cancelling.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn cancelling_when_nothing_goes_on_is_no_failure() {
    let place = Place::new();
    let engine = place.engine();
    let (controller, _never_run) = Controller::new(SocketDial::new(Some(place.path.clone())));
    let script = async {
        let (mut stream, _) = engine.accept().await.unwrap();
        heard(&mut stream).await;
        answer(&mut stream, Err(FaultCode::NotInParty.into())).await;
    };
    let (cancelled, ()) = tokio::join!(controller.cancel(), script);
    assert_eq!(cancelled, Ok(()));
}

#[tokio::test]
async fn an_engine_that_dies_in_a_command_is_a_fault_of_that_command() {
    let place = Place::new();
    let engine = place.engine();
    let (controller, _never_run) = Controller::new(SocketDial::new(Some(place.path.clone())));
    let script = async {
        let (mut stream, _) = engine.accept().await.unwrap();
        heard(&mut stream).await;
    };
    let (answer, ()) = tokio::join!(controller.call(Call::Leave), script);
    assert_eq!(
        answer.map_err(|fault| fault.code),
        Err(FaultCode::EngineNotRunning)
    );
}
