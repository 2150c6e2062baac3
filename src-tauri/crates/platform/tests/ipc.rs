//! The local socket as an engine and its clients use it.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use lanrage_platform::caller::{self, Caller};
use lanrage_platform::ipc::{self, IpcError, Listener, Stream};
use lanrage_platform::rights;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn directory() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lanrage/engine.sock");
    (dir, path)
}

async fn connected(listener: &Listener, path: &Path) -> (Stream, Stream, Caller) {
    let (client, accepted) = tokio::join!(ipc::connect(path), listener.accept());
    let (server, caller) = accepted.unwrap();
    (client.unwrap(), server, caller)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[tokio::test]
async fn bytes_go_both_ways_and_the_system_names_the_caller() {
    let (_dir, path) = directory();
    let listener = Listener::bind(&path).unwrap();
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o666, 0o755));

    let (mut client, mut server, caller) = connected(&listener, &path).await;
    assert_eq!(Some(caller.uid), rights::effective_uid());
    assert_eq!(caller.pid, Some(std::process::id()));
    assert!(caller::may_use(&caller, &[]));

    client.write_all(b"ping").await.unwrap();
    let mut buffer = [0; 4];
    server.read_exact(&mut buffer).await.unwrap();
    server.write_all(b"pong").await.unwrap();
    server.shutdown().await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!((&buffer, answer.as_slice()), (b"ping", &b"pong"[..]));
}

#[tokio::test]
async fn a_second_engine_is_refused_and_the_first_stays_reachable() {
    let (_dir, path) = directory();
    let listener = Listener::bind(&path).unwrap();
    assert!(matches!(Listener::bind(&path), Err(IpcError::InUse { .. })));
    connected(&listener, &path).await;
}

#[tokio::test]
async fn a_listener_of_another_program_is_not_pushed_aside() {
    let (_dir, path) = directory();
    fs::create_dir(path.parent().unwrap()).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    assert!(matches!(Listener::bind(&path), Err(IpcError::InUse { .. })));
    assert!(path.exists());
}

#[tokio::test]
async fn a_dead_engines_socket_is_replaced() {
    let (_dir, path) = directory();
    fs::create_dir(path.parent().unwrap()).unwrap();
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "the test needs a dead socket");
    let listener = Listener::bind(&path).unwrap();
    connected(&listener, &path).await;
}

#[tokio::test]
async fn what_is_not_a_socket_is_never_removed() {
    let (_dir, path) = directory();
    fs::create_dir(path.parent().unwrap()).unwrap();
    fs::write(&path, "precious").unwrap();
    assert!(matches!(Listener::bind(&path), Err(IpcError::Io { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[tokio::test]
async fn a_stopped_engine_leaves_an_empty_directory_and_is_not_running() {
    let (_dir, path) = directory();
    assert!(matches!(
        ipc::connect(&path).await,
        Err(IpcError::NotRunning { .. })
    ));
    drop(Listener::bind(&path).unwrap());
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
    drop(UnixListener::bind(&path).unwrap());
    assert!(matches!(
        ipc::connect(&path).await,
        Err(IpcError::NotRunning { .. })
    ));
}

#[tokio::test]
async fn a_stopping_engine_spares_a_socket_that_is_not_its_own() {
    let (_dir, path) = directory();
    let listener = Listener::bind(&path).unwrap();
    fs::rename(&path, path.with_extension("old")).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    drop(listener);
    assert!(path.exists());
}

#[tokio::test]
async fn an_existing_directory_keeps_its_mode() {
    let (_dir, path) = directory();
    let parent = path.parent().unwrap();
    fs::create_dir(parent).unwrap();
    fs::set_permissions(parent, PermissionsExt::from_mode(0o700)).unwrap();
    let _listener = Listener::bind(&path).unwrap();
    assert_eq!(mode(parent), 0o700);
}

/// Another user's program on our socket's path: only root can make one here.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn another_users_engine_is_not_trusted() {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};
    use rustix::process::Uid;

    const STRANGER: u32 = 4711;
    if !rights::is_root() {
        eprintln!("skipped: only root can act as another user");
        return;
    }
    let (_dir, path) = directory();
    fs::create_dir(path.parent().unwrap()).unwrap();
    let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    // The system notes who listens; this thread alone becomes someone else, and ends.
    let socket = std::thread::spawn(move || {
        rustix::thread::set_thread_uid(Uid::from_raw(STRANGER)).unwrap();
        listen(&socket, 1).unwrap();
        socket
    });
    let _socket = socket.join().unwrap();
    assert!(matches!(
        ipc::connect(&path).await,
        Err(IpcError::UntrustedServer { uid: STRANGER, .. })
    ));
}
