//! The real binary in a network namespace of its own: what its callers rely on. Needs root; without it the tests
//! say so and pass.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_lanrage-engine");
const PATIENCE: Duration = Duration::from_secs(10);

/// An engine alone in a namespace; killed when dropped.
struct Engine {
    dir: tempfile::TempDir,
    process: Child,
}

impl Engine {
    /// Starts one with an empty state directory; `None` where namespaces can't be made.
    fn start() -> Option<Self> {
        if !lanrage_platform::rights::is_root() {
            eprintln!("not root: nothing was tested");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("engine.toml"), "mdns = false\nstun = \"none\"\n").unwrap();
        let process = Self::spawn(&dir, &[]);
        let mut engine = Self { dir, process };
        engine.wait();
        Some(engine)
    }

    fn spawn(dir: &tempfile::TempDir, arguments: &[&str]) -> Child {
        // `exec`, so that the child is the engine itself.
        let script = "ip link set lo up && exec \"$0\" \"$@\"";
        Command::new("unshare")
            .args([
                "-n", "--", "sh", "-c", script, PROGRAM, "run", "--name", "Anna", "--socket",
            ])
            .arg(dir.path().join("engine.sock"))
            .arg("--state-dir")
            .arg(dir.path().join("state"))
            .arg("--config")
            .arg(dir.path().join("engine.toml"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn wait(&mut self) {
        let started = Instant::now();
        while self.verb(&["status"]).status.code() != Some(0) {
            assert!(
                self.process.try_wait().unwrap().is_none(),
                "it ended: {}",
                self.said()
            );
            assert!(started.elapsed() < PATIENCE, "it does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn said(&mut self) -> String {
        let mut text = String::new();
        self.process
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        text
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("engine.sock")
    }

    fn verb(&self, arguments: &[&str]) -> Output {
        Command::new(PROGRAM)
            .args(arguments)
            .arg("--socket")
            .arg(self.socket())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// What a verb printed as JSON, and its exit status.
    fn json(&self, arguments: &[&str]) -> (Value, Option<i32>) {
        let output = self.verb(&[arguments, &["--json"]].concat());
        let printed = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
            panic!(
                "{arguments:?} printed {:?}",
                String::from_utf8_lossy(&output.stdout)
            )
        });
        (printed, output.status.code())
    }

    fn done(&self, arguments: &[&str]) -> Value {
        let (printed, status) = self.json(arguments);
        assert_eq!(status, Some(0), "{arguments:?}: {printed}");
        printed
    }

    /// What a window's call, as JSON, is answered by.
    fn ask(&self, call: Value) -> Value {
        let frame = serde_json::json!({ "id": 1, "ipc": 1, "call": call }).to_string();
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = u32::try_from(frame.len()).unwrap();
        stream.write_all(&length.to_be_bytes()).unwrap();
        stream.write_all(frame.as_bytes()).unwrap();
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut answer).unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        answer["result"].clone()
    }

    /// Changes a setting; returns how the engine is set then.
    fn change(&self, key: &str, value: impl Into<Value>) -> Value {
        let change = serde_json::json!({ "key": key, "value": value.into() });
        let result = self.ask(serde_json::json!({ "verb": "change", "change": change }));
        assert!(result["Ok"]["settings"].is_object(), "{key}: {result}");
        result["Ok"]["settings"].clone()
    }

    /// Why a change is refused.
    fn refuses(&self, key: &str, value: impl Into<Value>) -> String {
        let change = serde_json::json!({ "key": key, "value": value.into() });
        let result = self.ask(serde_json::json!({ "verb": "change", "change": change }));
        result["Err"]["code"].as_str().unwrap().to_owned()
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let (printed, status) = self.json(arguments);
        assert_eq!(status, Some(4), "{arguments:?}: {printed}");
        assert!(
            printed["message"].is_string() && printed["action"].is_string(),
            "{printed}"
        );
        printed["fault"].as_str().unwrap().to_owned()
    }

    /// Runs a command in the engine's namespace.
    fn inside(&self, command: &[&str]) -> String {
        let output = Command::new("nsenter")
            .arg(format!("--net=/proc/{}/ns/net", self.process.id()))
            .args(command)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Starts it again in the same directory after it has ended.
    fn start_again(&mut self) {
        self.process.wait().unwrap();
        self.process = Self::spawn(&self.dir, &[]);
        self.wait();
    }

    fn ends(&mut self) -> Option<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status.code();
            }
            assert!(started.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_party_is_created_shown_and_left_without_a_trace() {
    let Some(engine) = Engine::start() else { return };
    let created = engine.done(&["create", "Friday night"]);
    assert_eq!(
        (created["party"].as_str(), created["address"].as_str()),
        (Some("Friday night"), Some("10.66.0.1"))
    );
    let id = created["id"].as_str().unwrap();
    assert!(created["invite"].as_str().unwrap().contains(id));
    let status = engine.done(&["status"]);
    assert_eq!(status["engine"]["state"], "ready");
    assert_eq!(status["engine"]["control"]["mode"], "local");
    assert_eq!(
        (&status["party"]["state"], &status["party"]["id"]),
        (&"active".into(), &created["id"])
    );
    let me = &status["party"]["members"][0];
    assert_eq!(
        (&me["name"], &me["self"], &me["path"]),
        (&"Anna".into(), &true.into(), &Value::Null)
    );
    assert!(engine.inside(&["ip", "-br", "address"]).contains("10.66.0.1/16"));
    assert!(engine.inside(&["ss", "-Hlnu"]).contains(":51820"));

    assert_eq!(
        engine.done(&["join", id])["address"],
        "10.66.0.1",
        "the same party again is no fault"
    );
    assert_eq!(engine.refused(&["create", "Saturday"]), "already_in_party");

    assert_eq!(engine.done(&["leave"]), serde_json::json!({}));
    let left = [
        engine.inside(&["ip", "-br", "address"]),
        engine.inside(&["ip", "route"]),
    ]
    .concat();
    assert!(!left.contains("10.66.") && !left.contains("lanrage"), "{left}");
    assert_eq!(engine.inside(&["ss", "-Hlnut"]), "", "no port is left open");
    assert_eq!(engine.done(&["status"])["party"], Value::Null);
    assert_eq!(engine.refused(&["leave"]), "not_in_party");
}

#[test]
fn a_crash_and_a_stop_are_no_leave() {
    let Some(mut engine) = Engine::start() else { return };
    let created = engine.done(&["create", "Friday night"]);
    for (signal, status) in [("-KILL", None), ("-TERM", Some(0))] {
        engine.signal(signal);
        let told = Instant::now();
        assert_eq!(engine.ends(), status);
        assert!(
            told.elapsed() < Duration::from_secs(2),
            "it took {:?}",
            told.elapsed()
        );
        assert_eq!(
            engine.socket().exists(),
            status.is_none(),
            "a clean end removes the socket"
        );
        engine.start_again();
        let started = Instant::now();
        let status = loop {
            let status = engine.done(&["status"]);
            if status["party"]["state"] == "active" || started.elapsed() > PATIENCE {
                break status;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(status["party"]["state"], "active", "after {signal}: {status}");
        assert_eq!(status["party"]["id"], created["id"]);
        assert_eq!(status["party"]["members"][0]["address"], "10.66.0.1");
    }
}

#[test]
fn what_can_not_work_is_refused_at_once_with_its_reason() {
    let Some(mut engine) = Engine::start() else { return };
    assert_eq!(
        engine.refused(&["join", "K7QF-9M2X-RT4B-W8HD-5NC8"]),
        "party_id_invalid"
    );
    assert_eq!(engine.refused(&["create", " "]), "party_name_invalid");
    assert_eq!(
        engine.refused(&["create", "x", "--name", "a\u{7}"]),
        "name_invalid"
    );
    engine.inside(&["ip", "link", "add", "br-66", "type", "bridge"]);
    engine.inside(&["ip", "address", "add", "10.66.7.1/24", "dev", "br-66"]);
    engine.inside(&["ip", "link", "set", "br-66", "up"]);
    let (clash, status) = engine.json(&["create", "Friday"]);
    assert_eq!(
        (clash["fault"].as_str(), status),
        (Some("address_clash"), Some(4))
    );
    let message = clash["message"].as_str().unwrap();
    assert!(
        message.contains("10.66.7.0/24") && message.contains("br-66"),
        "{message}"
    );
    let plain = engine.verb(&["create", "Friday"]);
    assert!(plain.stdout.is_empty());
    assert!(String::from_utf8_lossy(&plain.stderr).contains("br-66"));

    let mut second = Engine::spawn(&engine.dir, &[]);
    assert_eq!(
        second.wait().unwrap().code(),
        Some(1),
        "one engine has the directory"
    );
    engine.signal("-TERM");
    engine.ends();
    assert_eq!(engine.verb(&["status"]).status.code(), Some(3));
    std::fs::write(
        engine.dir.path().join("engine.toml"),
        "mdns = false\nport = \"x\"\n",
    )
    .unwrap();
    engine.process = Engine::spawn(&engine.dir, &[]);
    assert_eq!(engine.ends(), Some(1));
    let said = engine.said();
    assert!(said.contains("engine.toml") && said.contains("line 2"), "{said}");
}

#[test]
fn a_damaged_seed_is_named_and_never_replaced() {
    let Some(mut engine) = Engine::start() else { return };
    engine.signal("-TERM");
    engine.ends();
    let seed = engine.dir.path().join("state/device.seed");
    std::fs::write(&seed, [7; 40]).unwrap();
    engine.process = Engine::spawn(&engine.dir, &[]);
    assert_eq!(engine.ends(), Some(1));
    assert!(engine.said().contains("device.seed"));
    assert_eq!(std::fs::read(&seed).unwrap(), [7; 40]);
}

#[test]
fn watchers_see_a_party_come_and_go() {
    let Some(engine) = Engine::start() else { return };
    let mut watch = Command::new(PROGRAM)
        .args(["watch", "--json", "--socket"])
        .arg(engine.socket())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut state = || {
        let status: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        status["party"]["state"].as_str().map(str::to_owned)
    };
    assert_eq!(state(), None);
    engine.done(&["create", "Friday night"]);
    while state().as_deref() != Some("active") {}
    engine.done(&["leave"]);
    while state().is_some() {}
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn doctor_tells_what_is_known_with_and_without_a_party_and_without_an_engine() {
    let Some(mut engine) = Engine::start() else { return };
    let idle = engine.done(&["doctor"]);
    assert_eq!(idle["ipv4"]["reason"], "no_servers", "{idle}");
    assert_eq!(idle["udp"], "unknown");
    assert_eq!(idle["mapping"]["state"], "idle");
    assert_eq!(idle["control"], serde_json::json!({"at": null, "answers": null}));
    assert_eq!(idle["findings"], serde_json::json!([{"code": "offline"}]));
    for empty in ["relays", "changes", "peers"] {
        assert_eq!(idle[empty], serde_json::json!([]), "{empty}");
    }
    assert_eq!(idle["adapter"]["possible"], true);

    engine.done(&["create", "Friday night"]);
    let started = Instant::now();
    let party = loop {
        let party = engine.done(&["doctor"]);
        if party["mapping"]["state"] == "needless" || started.elapsed() > PATIENCE {
            break party;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(
        party["mapping"]["state"], "needless",
        "there is no router: {party}"
    );
    assert_eq!(
        party["hosting"],
        serde_json::json!({"reachable": null, "via": []})
    );
    assert_eq!(party["adapter"]["address"], "10.66.0.1");
    let route = &party["changes"][1];
    assert_eq!(
        (&route["what"], &route["network"]),
        (&"route".into(), &"10.66.0.0/16".into())
    );
    let name = route["adapter"].as_str().unwrap();
    assert!(
        engine
            .inside(&["ip", "route"])
            .contains(&format!("10.66.0.0/16 dev {name}"))
    );
    let said = String::from_utf8(engine.verb(&["doctor"]).stdout).unwrap();
    assert!(
        said.contains("What to do") && said.contains("10.66.0.1"),
        "{said}"
    );

    engine.signal("-KILL");
    engine.ends();
    let (without, status) = engine.json(&["doctor"]);
    assert_eq!(
        (without["fault"].as_str(), status),
        (Some("engine_not_running"), Some(3))
    );
    assert_eq!(without["outside"]["socket_exists"], true, "{without}");
    assert_eq!(without["outside"]["adapter_possible"], true);
    let plain = engine.verb(&["doctor"]);
    let said = String::from_utf8(plain.stdout).unwrap();
    assert!(
        plain.status.code() == Some(3) && said.contains("nobody answers on it"),
        "{said}"
    );
}

#[test]
fn settings_are_changed_for_good_and_a_party_keeps_what_it_was_begun_with() {
    let Some(mut engine) = Engine::start() else { return };
    let set = engine.ask(serde_json::json!({ "verb": "settings" }))["Ok"]["settings"].clone();
    assert_eq!(set["settings"]["control"], "local");
    assert_eq!(set["settings"]["stun"], serde_json::json!({ "kind": "none" }));
    // Said on the command line.
    assert_eq!(set["fixed"], serde_json::json!(["player"]));
    assert_eq!(engine.refuses("player", "Tom"), "request_invalid");
    assert_eq!(engine.refuses("control", "http://example.org"), "control_address");
    assert_eq!(engine.refuses("port", 80), "request_invalid");

    let set = engine.change("port", 4000);
    assert_eq!(
        (&set["settings"]["port"], &set["pending"]),
        (&4000.into(), &serde_json::json!([]))
    );
    engine.done(&["create", "Friday night"]);
    assert!(engine.inside(&["ss", "-Hlnu"]).contains(":4000"));
    let set = engine.change("port", 4001);
    assert_eq!(set["pending"], serde_json::json!(["port"]));
    let set = engine.change("punching", false);
    assert_eq!(set["pending"], serde_json::json!(["port", "punching"]));
    let relays =
        serde_json::json!({ "servers": ["turn:192.0.2.1:3478"], "user": "anna", "password": "hunter2" });
    let set = engine.change("relays", relays);
    assert_eq!(set["settings"]["relays"]["has_password"], true);
    assert!(!set.to_string().contains("hunter2"), "{set}");
    engine.done(&["leave"]);
    let set = engine.ask(serde_json::json!({ "verb": "settings" }))["Ok"]["settings"].clone();
    assert_eq!(set["pending"], serde_json::json!([]));
    engine.done(&["create", "Saturday night"]);
    assert!(engine.inside(&["ss", "-Hlnu"]).contains(":4001"));

    engine.signal("-KILL");
    engine.ends();
    engine.start_again();
    let again = engine.ask(serde_json::json!({ "verb": "settings" }))["Ok"]["settings"].clone();
    assert_eq!(again["settings"], set["settings"]);
}

#[test]
fn a_control_plane_is_tried_before_anything_rests_on_it() {
    let Some(engine) = Engine::start() else { return };
    let test = |address: &str| engine.ask(serde_json::json!({ "verb": "test_control", "address": address }));
    assert_eq!(test("local")["Err"]["code"], "control_address");
    assert_eq!(test("nonsense")["Err"]["code"], "control_address");
    assert_eq!(test("ws://127.0.0.1:9")["Err"]["code"], "control_unreachable");
    // The one in this engine, while it hosts a party.
    engine.done(&["create", "Friday night"]);
    let ports = std::fs::read_to_string(engine.dir.path().join("state/ports.json")).unwrap();
    let ports: Value = serde_json::from_str(&ports).unwrap();
    let answer = test(&format!("ws://127.0.0.1:{}", ports["control"]));
    let result = &answer["Ok"]["control_test"];
    assert_eq!(result["encrypted"], false, "{answer}");
    assert!(result["rtt_ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn the_log_is_handed_out_without_what_is_nobody_elses_business() {
    let Some(mut engine) = Engine::start() else { return };
    let created = engine.done(&["create", "Friday night"]);
    let log = |engine: &Engine, from: u64| {
        engine.ask(serde_json::json!({ "verb": "log", "from": from }))["Ok"]["log"].clone()
    };
    let first = log(&engine, 0);
    let lines = first["lines"].as_array().unwrap();
    assert!(
        lines
            .iter()
            .any(|line| line.as_str().unwrap().contains("starting")),
        "{first}"
    );
    assert!(!first.to_string().contains(created["id"].as_str().unwrap()));
    let next = first["next"].as_u64().unwrap();
    engine.done(&["leave"]);
    let second = log(&engine, next);
    assert!(second["next"].as_u64().unwrap() > next, "{second}");
    assert!(!second.to_string().contains("starting"), "{second}");

    // The run before is where the reason of a restart stands.
    engine.signal("-KILL");
    engine.ends();
    engine.start_again();
    let starts = log(&engine, 0).to_string().matches("starting version").count();
    assert_eq!(starts, 2);
}

#[test]
fn garbage_on_the_socket_is_named_and_leaves_the_engine_well() {
    let Some(engine) = Engine::start() else { return };
    for garbage in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), b"\0\0\0\x02{]", &[255; 64]] {
        let mut stream = UnixStream::connect(engine.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(garbage).unwrap();
        let mut answer = Vec::new();
        // What was not read makes the system reset the connection after the answer.
        let _ = stream.read_to_end(&mut answer);
        assert!(
            String::from_utf8_lossy(&answer).contains("request_invalid"),
            "{garbage:?}"
        );
    }
    engine.done(&["status"]);
}

#[test]
fn help_and_wrong_usage_have_their_exit_status() {
    for (arguments, status) in [
        (&["--help"][..], 0),
        (&["join", "--help"], 0),
        (&["--version"], 0),
        (&[], 2),
        (&["create"], 2),
        (&["run", "--control", "http://example.org"], 2),
        (&["status", "--socket", "/nowhere/engine.sock"], 3),
    ] {
        let output = Command::new(PROGRAM).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}");
    }
}
