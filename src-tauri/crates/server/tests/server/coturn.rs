//! coturn's own test clients against our server: STUN, behaviour discovery, TURN over UDP, TCP and TLS.
//!
//! Each test runs in a network namespace of its own, so that ports are free and no packet leaves this machine.
//! Without `unshare` or coturn's tools (Debian's package `coturn`) they fail, unless `LANRAGE_WITHOUT_COTURN` is
//! set.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_lanrage-server");
const INSIDE: &str = "LANRAGE_TEST_NAMESPACE";
const WITHOUT: &str = "LANRAGE_WITHOUT_COTURN";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The server's two addresses, and the peers'.
const ONE: &str = "198.51.100.1";
const TWO: &str = "198.51.100.2";
const CLIENT: &str = "198.51.100.3";
const PEER: &str = "198.51.100.4";

/// How long a program may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a test by itself in a new namespace, where it has these addresses.
fn in_a_namespace(test: &str, body: impl FnOnce()) {
    if std::env::var(INSIDE).as_deref() == Ok(test) {
        run("ip", &["link", "set", "lo", "up"]);
        for address in [ONE, TWO, CLIENT, PEER] {
            run("ip", &["address", "add", &format!("{address}/32"), "dev", "lo"]);
        }
        return body();
    }
    if std::env::var_os(WITHOUT).is_some() {
        return;
    }
    for tool in [
        "unshare",
        "ip",
        "turnutils_uclient",
        "turnutils_natdiscovery",
        "timeout",
    ] {
        let found = Command::new("sh")
            .args(["-c", &format!("command -v {tool}")])
            .output()
            .unwrap();
        assert!(
            found.status.success(),
            "{tool} is missing: install coturn, iproute2 and util-linux, or set {WITHOUT}"
        );
    }
    let ours = std::env::current_exe().unwrap();
    let tried = |arguments: &[&str]| {
        let trial = Command::new("unshare")
            .args(arguments)
            .arg("true")
            .output()
            .unwrap();
        trial.status.success()
    };
    let arguments: &[&str] = if tried(&["--net"]) {
        &["--net"]
    } else {
        &["--map-root-user", "--net"]
    };
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new("unshare")
        .args(arguments)
        .arg(ours)
        .args([&format!("coturn::{test}"), "--exact", "--nocapture"])
        .env(INSIDE, test)
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&stdout);
    assert!(
        status.success() && shown.contains("1 passed"),
        "{shown}\n{}",
        String::from_utf8_lossy(&stderr)
    );
}

fn run(program: &str, args: &[&str]) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(program).args(args).output().unwrap();
    let text = [stdout, stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(status.success(), "{program} {args:?}: {text}");
    text
}

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The server, once it listens.
fn server(folder: &Path, args: &[&str]) -> Running {
    let secret = folder.join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let secret = secret.display().to_string();
    let mut child = Command::new(PROGRAM)
        .args([
            "--turn-secret-file",
            &secret,
            "--allow-peer",
            &format!("{PEER}/32"),
        ])
        .args(args)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.contains("listens"), "{line:?}");
    Running(child)
}

/// coturn's echo server.
fn peer() -> Running {
    let peer = Command::new("turnutils_peer")
        .args(["-L", PEER, "-p", "3480"])
        .stdout(Stdio::null())
        .spawn();
    let peer = Running(peer.unwrap());
    // Asked, not bound to: a port that is tried out would be taken when the peer wants it.
    let asking = std::net::UdpSocket::bind((CLIENT, 0)).unwrap();
    asking.connect((PEER, 3480)).unwrap();
    asking.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let started = Instant::now();
    while asking.send(b"there?").is_err() || asking.recv(&mut [0; 64]).is_err() {
        assert!(started.elapsed() < PATIENCE, "the peer does not answer");
        std::thread::yield_now();
    }
    peer
}

/// Packets that coturn's client sent, and that came back.
fn uclient(args: &[&str]) -> (u32, u32) {
    let mut child = Command::new("timeout")
        .args([
            "60",
            "turnutils_uclient",
            "-W",
            SECRET,
            "-c",
            "-n",
            "40",
            "-m",
            "2",
            "-z",
            "5",
            "-L",
            CLIENT,
        ])
        .args(args)
        .arg(ONE)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    let number = |key: &str| {
        let at = text
            .rfind(key)
            .unwrap_or_else(|| panic!("uclient {args:?}: {text}"));
        let digits = text[at + key.len()..].split(|c: char| !c.is_ascii_digit()).next();
        digits.unwrap().parse::<u32>().unwrap()
    };
    (number("tot_send_msgs="), number("tot_recv_msgs="))
}

/// Every way of sending: channels or Send, to a peer or among clients, lengths that need padding and that don't.
fn everything_comes_back(transport: &[&str]) {
    let peer = &["-e", PEER, "-r", "3480"][..];
    let each_other = &["-y"][..];
    let ways = [
        (&[][..], peer, "1001"),
        (&[], each_other, "100"),
        (&["-s"], peer, "100"),
        (&["-s"], each_other, "1001"),
    ];
    for (number, (way, peer, length)) in ways.into_iter().enumerate() {
        // A name for each run: it leaves its allocations behind.
        let name = format!("p{number}.member");
        let args = [transport, way, peer, &["-l", length, "-u", &name]].concat();
        let (sent, back) = uclient(&args);
        assert!(sent >= 80 && sent == back, "{args:?}: {back} of {sent} came back");
    }
}

#[test]
fn behaviour_discovery_sees_no_nat_where_there_is_none() {
    in_a_namespace("behaviour_discovery_sees_no_nat_where_there_is_none", || {
        let folder = tempfile::tempdir().unwrap();
        let _server = server(
            folder.path(),
            &["--listen", "127.0.0.1:7000", "--stun", &format!("{ONE},{TWO}")],
        );
        let text = run(
            "timeout",
            &["30", "turnutils_natdiscovery", "-m", "-f", "-L", CLIENT, ONE],
        );
        assert!(
            text.contains("No NAT detected") || text.contains("Endpoint Independent Mapping"),
            "{text}"
        );
        assert!(text.contains("Endpoint Independent Filtering"), "{text}");
        let text = run("timeout", &["20", "turnutils_stunclient", "-L", CLIENT, ONE]);
        assert!(text.contains(&format!("reflexive addr: {CLIENT}")), "{text}");
        assert!(text.contains("RFC 5780 response 3"), "{text}");
    });
}

#[test]
fn turn_over_udp() {
    in_a_namespace("turn_over_udp", || {
        let folder = tempfile::tempdir().unwrap();
        let _server = server(folder.path(), &["--listen", "127.0.0.1:7000", "--stun", ONE]);
        let _peer = peer();
        everything_comes_back(&[]);
    });
}

#[test]
fn turn_over_tcp() {
    in_a_namespace("turn_over_tcp", || {
        let folder = tempfile::tempdir().unwrap();
        let _server = server(folder.path(), &["--listen", "127.0.0.1:7000", "--stun", ONE]);
        let _peer = peer();
        everything_comes_back(&["-t"]);
    });
}

#[test]
fn turn_over_tls_on_the_control_planes_port() {
    in_a_namespace("turn_over_tls_on_the_control_planes_port", || {
        let folder = tempfile::tempdir().unwrap();
        crate::tls::certificate(folder.path(), &["party.example.org"]);
        let file = |name: &str| folder.path().join(name).display().to_string();
        let listen = format!("{ONE}:443");
        let (cert, key) = (file("cert.pem"), file("key.pem"));
        let _server = server(
            folder.path(),
            &[
                "--listen",
                &listen,
                "--tls-cert",
                &cert,
                "--tls-key",
                &key,
                "--stun",
                ONE,
            ],
        );
        let _peer = peer();
        everything_comes_back(&["-t", "-S", "-p", "443"]);
    });
}

#[test]
fn wrong_secrets_and_forbidden_peers_get_nothing() {
    in_a_namespace("wrong_secrets_and_forbidden_peers_get_nothing", || {
        let folder = tempfile::tempdir().unwrap();
        let _server = server(folder.path(), &["--listen", "127.0.0.1:7000", "--stun", ONE]);
        let refused = |args: &[&str], code: &str| {
            let all = [
                &[
                    "10",
                    "turnutils_uclient",
                    "-c",
                    "-n",
                    "5",
                    "-m",
                    "1",
                    "-u",
                    "a",
                    "-L",
                    CLIENT,
                ],
                args,
                &[ONE],
            ];
            let Output { stdout, .. } = Command::new("timeout").args(all.concat()).output().unwrap();
            let text = String::from_utf8_lossy(&stdout);
            assert!(text.contains(code), "{args:?}: {text}");
        };
        refused(
            &["-W", "another secret", "-e", PEER, "-r", "3480"],
            "Cannot complete Allocation",
        );
        for peer in ["127.0.0.1", CLIENT, TWO, "10.66.0.1"] {
            refused(&["-W", SECRET, "-e", peer, "-r", "3480"], "403");
        }
    });
}
