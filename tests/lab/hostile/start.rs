//! Computers on which an engine can't run, or can't make parties.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::{Engine, Lab, Refusal, Server, felt, scenario};

use super::{nothing_left, options, refused};

/// The user `nobody`.
const NOBODY: u32 = 65534;

/// Runs what follows as that user.
const AS_NOBODY: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

#[test]
fn without_rights_it_runs_and_says_what_it_lacks() -> Result<()> {
    scenario("no rights", |lab| {
        let mut engine = Engine::prepare(&lab.host()?, options("local"))?;
        // Root of a namespace, a container or a service may lack the one right that counts.
        engine.set_wrapper(&["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"]);
        engine.start_again()?;
        can_not_make_parties(&mut engine, "no_rights")
    })
}

#[test]
fn an_ordinary_user_may_run_it_and_is_told_what_it_lacks() -> Result<()> {
    scenario("ordinary user", |lab| {
        if !others_can_be_played() {
            return Ok(());
        }
        let mut engine = Engine::prepare(&lab.host()?, options("local"))?;
        let readable = lab.files().join("lanrage-engine");
        fs::copy(engine.program(), &readable)?;
        open_to_all(lab)?;
        for folder in ["", "state", "run"] {
            chown(engine.folder().join(folder), Some(NOBODY), Some(NOBODY))?;
        }
        engine.set_program(&readable);
        // Root itself does not trust an engine that is another user's.
        engine.set_wrapper(&AS_NOBODY);
        engine.set_client_wrapper(&AS_NOBODY);
        engine.start_again()?;
        can_not_make_parties(&mut engine, "no_rights")
    })
}

#[test]
fn without_a_tun_device_it_runs_and_says_so() -> Result<()> {
    scenario("no tun", |lab| {
        let mut engine = Engine::prepare(&lab.host()?, options("local"))?;
        // `ip netns exec` gives each program a mount namespace of its own: nobody else's device is hidden.
        engine.set_wrapper(&["sh", "-c", "mount -t tmpfs none /dev/net && exec \"$0\" \"$@\""]);
        engine.start_again()?;
        can_not_make_parties(&mut engine, "no_tun_device")
    })
}

/// The engine answers, shows the reason as a condition, refuses create and join by it, and leaves nothing.
fn can_not_make_parties(engine: &mut Engine, reason: &str) -> Result<()> {
    let status = engine.status()?;
    ensure!(
        status.0["engine"]["state"] == "no_adapter",
        "{}",
        status.0["engine"]
    );
    ensure!(status.has_condition(reason), "{}", status.summary());
    let said = engine.say(&["status"])?;
    println!("{said}");
    ensure!(said.contains("can't make a network adapter"), "{said}");
    refused(
        engine,
        &[
            (&["create", "Friday night"], reason),
            (&["join", "K7QF-9M2X-RT4B-W8HD-5NC7"], reason),
        ],
    )
}

#[test]
fn a_port_that_is_taken_is_named() -> Result<()> {
    scenario("port taken", |lab| {
        let mut engine = Engine::prepare(&lab.host()?, options("local"))?;
        for address in ["0.0.0.0", "::"] {
            let taken = engine
                .host()
                .inside(|| Ok(std::net::UdpSocket::bind((address, 51820))?))?;
            let refusal = ends(&mut engine, "port_taken", 1)?;
            ensure!(refusal.message.contains("51820"), "{}", refusal.message);
            drop(taken);
        }
        engine.start_again()?;
        // Taken while the engine is idle, by another program.
        let taken = engine
            .host()
            .inside(|| Ok(std::net::UdpSocket::bind(("0.0.0.0", 51820))?))?;
        engine.refuses(&["create", "Friday night"], &[], "port_taken")?;
        drop(taken);
        nothing_left(&mut engine)?;
        engine.cli(&["create", "Friday night"])?;
        Ok(())
    })
}

#[test]
fn damaged_files_are_named_with_their_place_and_left_as_they_are() -> Result<()> {
    scenario("damaged files", |lab| {
        let mut engine = Engine::start(&lab.host()?, options("local"))?;
        engine.terminate()?;
        let (seed, settings) = (
            engine.folder().join("state/device.seed"),
            engine.folder().join("engine.toml"),
        );
        let good = fs::read(&seed)?;
        for damaged in [&good[..10], &[], &[7; 40], &[7; 100_000]] {
            fs::write(&seed, damaged)?;
            let refusal = ends(&mut engine, "seed_damaged", 1)?;
            ensure!(refusal.message.contains("device.seed"), "{}", refusal.message);
            ensure!(fs::read(&seed)? == damaged, "the damaged seed was replaced");
        }
        fs::write(&seed, good)?;

        for (text, line) in [
            (&b"port = 4000\ncolour = 1\n"[..], "line 2"),
            (b"\n\ncontrol = \"http://x\"\n", "line 3"),
            (b"name = \"\"\n", "line 1"),
            (b"name = \"Anna\"\nlog = \"\xff\"\n", "line 2"),
            (b"port = 1\n\n\n[[[[", "line 4"),
            (b"port = 1\nlog = \"a=b=c\"\n", "line 2"),
        ] {
            fs::write(&settings, text)?;
            let refusal = ends(&mut engine, "settings_unreadable", 1)?;
            ensure!(
                refusal.message.contains("engine.toml") && refusal.message.contains(line),
                "{:?}: {}",
                String::from_utf8_lossy(text),
                refusal.message
            );
        }
        fs::write(&settings, vec![b'#'; 100_000])?;
        ends(&mut engine, "settings_unreadable", 1)?;
        fs::remove_file(&settings)?;
        ends(&mut engine, "settings_unreadable", 1)?;
        fs::write(&settings, "")?;

        // A party that can't be read any more is put aside; the engine goes on without it.
        fs::write(engine.folder().join("state/intent.json"), [b'{'; 5000])?;
        fs::write(engine.folder().join("state/control.json"), [0; 5000])?;
        engine.start_again()?;
        engine.unharmed()?;
        ensure!(engine.status()?.is_idle());
        ensure!(engine.folder().join("state/intent.json.damaged").exists());
        engine.cli(&["create", "Friday night"])?;
        Ok(())
    })
}

#[test]
fn arguments_and_directories_that_can_not_be_are_named() -> Result<()> {
    scenario("bad arguments", |lab| {
        let mut engine = Engine::prepare(&lab.host()?, options("local"))?;
        let long = "x".repeat(200);
        for (arguments, code, exit) in [
            (&["--name", ""][..], "name_invalid", 2),
            (&["--name", long.as_str()], "name_invalid", 2),
            (&["--control", "http://example.org"], "control_address", 2),
            (&["--control", "ws://203.0.113.7"], "control_address", 2),
            (&["--control", "wss://"], "control_address", 2),
            (&["--control-ca", "/nowhere.pem"], "control_untrusted", 1),
            (&["--state-dir", "/proc/nowhere"], "state_unusable", 1),
            (&["--state-dir", "/dev/null"], "state_unusable", 1),
            (&["--socket", "/proc/nowhere/x.sock"], "state_unusable", 1),
            (&["--socket", "/dev/null"], "state_unusable", 1),
        ] {
            engine.set_arguments(arguments);
            let refusal = ends(&mut engine, code, exit)?;
            println!("{code}: {} {}", refusal.message, refusal.action);
        }
        engine.set_arguments(&["--tun", "no/such:name"]);
        engine.start_again()?;
        refused(&mut engine, &[(&["create", "Friday night"], "adapter_failed")])?;
        engine.terminate()?;
        // There is one such interface in every host.
        engine.set_arguments(&["--tun", "eth0"]);
        engine.start_again()?;
        refused(&mut engine, &[(&["create", "Friday night"], "adapter_busy")])
    })
}

#[test]
fn a_process_that_may_open_too_few_files_does_not_start() -> Result<()> {
    scenario("few files", |lab| {
        let mut engine = Engine::prepare(&lab.host()?, options("local"))?;
        // With some of these a library would panic.
        for files in [4, 6, 8, 9, 12, 40] {
            let limit = format!("--nofile={files}:{files}");
            engine.set_wrapper(&["prlimit", &limit]);
            ends(&mut engine, "too_many_files", 1)?;
        }
        let server = Server::program()?;
        for files in [8, 9, 40] {
            let output = Command::new("prlimit")
                .arg(format!("--nofile={files}:{files}"))
                .arg(&server)
                .args(["--listen", "127.0.0.1:0"])
                .output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(
                output.status.code() == Some(1) && said.contains("open files") && !said.contains("panicked"),
                "with {files} files: {}: {said}",
                output.status
            );
        }
        Ok(())
    })
}

#[test]
fn a_second_engine_in_the_same_place_is_refused() -> Result<()> {
    scenario("second engine", |lab| {
        let host = lab.host()?;
        let mut first = Engine::start(&host, options("local"))?;
        first.cli(&["create", "Friday night"])?;
        let mut second = Engine::prepare(&host, options("local"))?;
        ends(&mut second, "engine_running", 1)?;
        // Another directory, but the same socket.
        let elsewhere = lab.files().join("elsewhere");
        let elsewhere = elsewhere.to_str().context("no path")?;
        second.set_arguments(&["--state-dir", elsewhere, "--port", "51821"]);
        ends(&mut second, "engine_running", 1)?;
        first.unharmed()?;
        ensure!(first.status()?.party_state() == Some("active"));
        Ok(())
    })
}

#[test]
fn a_user_without_rights_is_refused_and_sees_nothing() -> Result<()> {
    scenario("other user", |lab| {
        if !others_can_be_played() {
            return Ok(());
        }
        let mut engine = Engine::start(&lab.host()?, options("local"))?;
        let readable = lab.files().join("lanrage-engine");
        fs::copy(engine.program(), &readable)?;
        open_to_all(lab)?;
        let created = engine.cli(&["create", "Friday night"])?;
        let id = created["id"].as_str().context("no ID")?.to_owned();
        engine.set_program(&readable);
        engine.set_client_wrapper(&AS_NOBODY);
        for arguments in [
            &["status"][..],
            &["leave"],
            &["create", "x"],
            &["join", &id],
            &["watch"],
        ] {
            let refusal = engine.refuses(arguments, &[], "not_allowed")?;
            ensure!(!refusal.printed.contains(&id), "{}", refusal.printed);
        }
        engine.set_client_wrapper(&[]);
        engine.unharmed()?;
        ensure!(engine.status()?.party_state() == Some("active"));
        engine.terminate()?;

        // Allowed, but the party is root's: a status without its ID, and no way to end it.
        engine.set_arguments(&["--allow-uid", "65534"]);
        engine.start_again()?;
        engine.wait_until("it is back in its party", felt::RETURN, |status| {
            Ok(status.party_state() == Some("active"))
        })?;
        engine.set_client_wrapper(&AS_NOBODY);
        let seen = engine.cli(&["status"])?.to_string();
        ensure!(seen.contains("Friday night") && !seen.contains(&id), "{seen}");
        for arguments in [&["leave"][..], &["create", "x"], &["join", &id]] {
            engine.refuses(arguments, &[], "party_of_another_user")?;
        }
        engine.set_client_wrapper(&[]);
        ensure!(engine.status()?.party_state() == Some("active"));
        Ok(())
    })
}

/// Starts an engine that can't run; it ends with this fault and exit status, and its computer is as before.
fn ends(engine: &mut Engine, code: &str, exit: i32) -> Result<Refusal> {
    let refusal = engine.fail_to_start()?;
    ensure!(
        refusal.fault.as_deref() == Some(code) && refusal.exit == Some(exit),
        "expected {code} with exit status {exit}: {refusal}"
    );
    ensure!(!refusal.printed.contains("panicked"), "{refusal}");
    Ok(refusal)
}

/// Whether this user may act as another; root of a namespace without others may not.
fn others_can_be_played() -> bool {
    let played = Command::new(AS_NOBODY[0])
        .args(&AS_NOBODY[1..])
        .arg("true")
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !played {
        println!("only root can act as another user: nothing was tested");
    }
    played
}

/// Lets other users reach the lab's files.
fn open_to_all(lab: &Lab) -> Result<()> {
    Ok(fs::set_permissions(
        lab.files(),
        fs::Permissions::from_mode(0o755),
    )?)
}
