//! The named pipe as an engine and its clients use it.

#![cfg(windows)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use lanrage_platform::caller::{self, Caller};
use lanrage_platform::ipc::{self, IpcError, Listener, Stream};
use lanrage_platform::rights;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn name(test: &str) -> PathBuf {
    PathBuf::from(format!(r"\\.\pipe\lanrage-test-{}-{test}", std::process::id()))
}

async fn connected(listener: &Listener, path: &Path) -> (Stream, Stream, Caller) {
    let (client, accepted) = tokio::join!(ipc::connect(path), listener.accept());
    let (server, caller) = accepted.unwrap();
    (client.unwrap(), server, caller)
}

#[tokio::test]
async fn bytes_go_both_ways_and_the_system_names_the_caller() {
    let path = name("both-ways");
    let listener = Listener::bind(&path).unwrap();
    let (mut client, mut server, caller) = connected(&listener, &path).await;
    assert_eq!(Some(caller.uid), rights::effective_uid());
    assert_eq!(caller.pid, Some(std::process::id()));
    assert!(caller::may_use(&caller, &[]));

    client.write_all(b"ping").await.unwrap();
    let mut buffer = [0; 4];
    server.read_exact(&mut buffer).await.unwrap();
    server.write_all(b"pong").await.unwrap();
    drop(server);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!((&buffer, answer.as_slice()), (b"ping", &b"pong"[..]));
}

#[tokio::test]
async fn several_clients_are_served_side_by_side() {
    let path = name("several");
    let listener = Listener::bind(&path).unwrap();
    let mut ends = Vec::new();
    for _ in 0..3 {
        ends.push(connected(&listener, &path).await);
    }
    for (number, (client, server, _)) in ends.iter_mut().enumerate() {
        let number = u8::try_from(number).unwrap();
        client.write_all(&[number]).await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), number);
    }
}

#[tokio::test]
async fn a_client_that_comes_between_two_accepts_waits_for_its_turn() {
    let path = name("between");
    let listener = Listener::bind(&path).unwrap();
    // The first takes the instance that is open, the second finds none until the engine gets round to it.
    let clients = async { tokio::join!(ipc::connect(&path), ipc::connect(&path)) };
    let server = async {
        let first = listener.accept().await.unwrap();
        (first, listener.accept().await.unwrap())
    };
    let ((first, second), _servers) = tokio::join!(clients, server);
    assert!(first.is_ok() && second.is_ok());
}

#[tokio::test]
async fn a_client_that_went_away_again_is_passed_over() {
    let path = name("gone");
    let listener = Listener::bind(&path).unwrap();
    drop(ipc::connect(&path).await.unwrap());
    let (mut client, mut server, _) = connected_after(&listener, &path).await;
    client.write_all(b"x").await.unwrap();
    assert_eq!(server.read_u8().await.unwrap(), b'x');
}

/// As [`connected`], past a client that is there no more, whether the system still reports it or not.
async fn connected_after(listener: &Listener, path: &Path) -> (Stream, Stream, Caller) {
    let server = async {
        loop {
            let (mut stream, caller) = listener.accept().await.unwrap();
            stream.write_all(b"?").await.ok();
            if stream.read_u8().await.is_ok() {
                return (stream, caller);
            }
        }
    };
    let client = async {
        let mut client = ipc::connect(path).await.unwrap();
        client.read_u8().await.unwrap();
        client.write_all(b"!").await.unwrap();
        client
    };
    let (client, (server, caller)) = tokio::join!(client, server);
    (client, server, caller)
}

#[tokio::test]
async fn a_second_engine_is_refused_and_the_first_stays_reachable() {
    let path = name("second");
    let listener = Listener::bind(&path).unwrap();
    let second = Listener::bind(&path);
    assert!(matches!(second, Err(IpcError::InUse { .. })), "{second:?}");
    connected(&listener, &path).await;
}

#[tokio::test]
async fn a_stopped_engine_is_not_running_and_its_name_is_free() {
    let path = name("stopped");
    assert!(matches!(
        ipc::connect(&path).await,
        Err(IpcError::NotRunning { .. })
    ));
    drop(Listener::bind(&path).unwrap());
    assert!(matches!(
        ipc::connect(&path).await,
        Err(IpcError::NotRunning { .. })
    ));
    Listener::bind(&path).unwrap();
}

#[tokio::test]
async fn what_is_no_pipe_of_this_computer_is_not_opened() {
    for path in [r"\\other\pipe\lanrage", r"C:\windows\system.ini", "engine.sock"] {
        let refused = |error: IpcError| matches!(error, IpcError::Io { source, .. } if source.kind() == ErrorKind::InvalidInput);
        assert!(
            refused(ipc::connect(Path::new(path)).await.unwrap_err()),
            "{path}"
        );
        assert!(refused(Listener::bind(Path::new(path)).unwrap_err()), "{path}");
    }
}

/// A program that does not let the engine ask who it is gets no further than the door, and the next caller is served.
#[tokio::test]
async fn an_anonymous_caller_is_refused() {
    use std::os::windows::fs::OpenOptionsExt;
    const SECURITY_ANONYMOUS: u32 = 0;
    const CLIENT_RIGHTS: u32 = 0x0012_019b;

    let path = name("anonymous");
    let listener = Listener::bind(&path).unwrap();
    let _stranger = OpenOptions::new()
        .access_mode(CLIENT_RIGHTS)
        .security_qos_flags(SECURITY_ANONYMOUS)
        .open(&path)
        .unwrap();
    assert!(listener.accept().await.is_err());
    connected(&listener, &path).await;
}
