//! The program: its words, its exit status, and what happens when it is killed.

use crate::client::{Client, Person};
use lanrage_proto::control::{Request, ServerMessage};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_lanrage-server");

/// A running program, killed when dropped.
struct Running {
    child: Child,
    address: SocketAddr,
}

impl Running {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["--listen", "127.0.0.1:0"])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.split("://").nth(1).and_then(|rest| rest.split(' ').next());
        let address = address.and_then(|address| address.parse().ok());
        Self {
            child,
            address: address.unwrap_or_else(|| panic!("no address in {line:?}")),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn fails(args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = Command::new(PROGRAM).args(args).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_comes_back_with_every_acknowledged_lease() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("parties.db").display());
    let founder = Person::new(1);
    let mut server = Running::start(&["--store", &store]);
    let (_host, _) = Client::member(server.address, &founder, &founder).await;
    for number in 2..6 {
        let (_, slot) = Client::member(server.address, &Person::new(number), &founder).await;
        assert_eq!(slot, number);
    }
    server.child.kill().unwrap();
    server.child.wait().unwrap();

    let server = Running::start(&["--store", &store]);
    for number in (2..6).rev() {
        let (mut client, slot) = Client::member(server.address, &Person::new(number), &founder).await;
        assert_eq!(slot, number);
        assert_eq!(client.ask(Request::Heartbeat {}).await, ServerMessage::Done {});
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn asked_to_stop_it_says_goodbye_and_ends_well() {
    for signal in ["TERM", "INT"] {
        let mut server = Running::start(&[]);
        let founder = Person::new(1);
        let (mut host, _) = Client::member(server.address, &founder, &founder).await;
        let pid = server.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", signal, &pid])
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(host.close().await, Some(1001));
        assert_eq!(server.child.wait().unwrap().code(), Some(0), "{signal}");
    }
}

#[test]
fn what_cannot_start_says_why_in_a_sentence() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (args, status, words) in [
        (&["--listen", &taken][..], 1, "can't listen on"),
        (
            &["--listen", "127.0.0.1:0", "--store", "sqlite:/nowhere/at/all.db"],
            1,
            "/nowhere/at/all.db",
        ),
        (&["--listen", "203.0.113.7:443"], 2, "--tls-cert"),
        (&["--listen", "here"], 2, "--listen"),
        (&["--config", "/nowhere.toml"], 2, "/nowhere.toml"),
        (&["--tls-cert", "a.pem"], 2, "--tls-key"),
    ] {
        let (code, text) = fails(args);
        assert_eq!(code, Some(status), "{args:?}: {text}");
        assert!(text.contains(words), "{args:?}: {text}");
    }
}
