//! Programs on the player's own computer that speak nonsense to the engine, or nothing, or too much; and an engine
//! that may open no more files.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lanrage_tests::lab::{Control, Engine, Flow, Party, eventually, felt, ping, scenario};
use serde_json::{Value, json};

use super::{Random, engine, memory, nothing_left, run};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn nonsense_on_the_socket_is_named_and_closed() -> Result<()> {
    scenario("nonsense on the socket", |lab| {
        let mut engine = engine(lab)?;
        let version = |ipc: u64, call: Value| json!({"id": 7, "ipc": ipc, "call": call});
        for (said, code, id) in [
            (json!({"hello": "engine"}), "request_invalid", 0),
            (json!([]), "request_invalid", 0),
            (version(1, json!({"verb": "shutdown"})), "request_invalid", 0),
            (
                version(1, json!({"verb": "create", "party": 7})),
                "request_invalid",
                0,
            ),
            (
                version(1, json!({"verb": "join", "file": "/etc/shadow"})),
                "request_invalid",
                0,
            ),
            (version(2, json!({"verb": "status"})), "engine_version", 7),
            (
                version(2, json!({"verb": "teleport", "to": [1, 2]})),
                "engine_version",
                7,
            ),
            (version(70_000, json!({"verb": "status"})), "request_invalid", 0),
        ] {
            let mut stream = connect(&engine)?;
            stream.write_all(&frame(said.to_string().as_bytes())?)?;
            let answer = read_frame(&mut stream)?;
            ensure!(
                answer["id"] == id && answer["result"]["Err"]["code"] == code,
                "{said} was answered by {answer}"
            );
        }
        let deep = frame("[".repeat(900_000).as_bytes())?;
        let too_long = (1_048_577_u32).to_be_bytes();
        for bytes in [&deep[..], &too_long, &[0; 4], b"GET / HTTP/1.1\r\n\r\n"] {
            let mut stream = connect(&engine)?;
            // It may hang up before all is said.
            let _ = stream.write_all(bytes);
            let answer = read_frame(&mut stream)?;
            ensure!(answer["result"]["Err"]["code"] == "request_invalid", "{answer}");
        }
        let mut random = Random::new(3);
        let before = memory(&engine)?;
        for _ in 0..2000 {
            let mut bytes = random.bytes(200);
            if random.below(2) == 0 {
                let length = u32::try_from(bytes.len())? + u32::try_from(random.below(3))?;
                bytes.splice(0..0, length.to_be_bytes());
            }
            let mut stream = connect(&engine)?;
            let _ = stream.write_all(&bytes);
        }
        println!(
            "2000 times garbage: {before} MiB before, {} MiB after",
            memory(&engine)?
        );
        nothing_left(&mut engine)
    })
}

#[test]
fn clients_that_say_nothing_lock_nobody_out() -> Result<()> {
    scenario("silent clients", |lab| {
        let mut engine = engine(lab)?;
        let mut silent = Vec::new();
        for number in 0..200 {
            let mut stream = connect(&engine)?;
            if number % 2 == 0 {
                // An engine that has hung up takes nothing.
                let _ = stream.write_all(b"\0\0\x10\0{\"id\":1,");
            }
            silent.push(stream);
            if number % 20 == 0 {
                engine.status()?;
            }
        }
        engine.cli(&["create", "Friday night"])?;
        engine.cli(&["leave"])?;
        drop(silent);
        nothing_left(&mut engine)
    })
}

#[test]
fn clients_that_never_read_cost_nobody_anything() -> Result<()> {
    scenario("deaf clients", |lab| {
        let mut engine = engine(lab)?;
        let before = memory(&engine)?;
        let watch = frame(
            json!({"id": 1, "ipc": 1, "call": {"verb": "watch"}})
                .to_string()
                .as_bytes(),
        )?;
        let status = frame(
            json!({"id": 2, "ipc": 1, "call": {"verb": "status"}})
                .to_string()
                .as_bytes(),
        )?;
        let flood = status.repeat(10_000);
        let mut deaf = Vec::new();
        for _ in 0..20 {
            let mut stream = connect(&engine)?;
            stream.write_all(&watch)?;
            stream.set_nonblocking(true)?;
            // As much as goes in.
            let _ = stream.write_all(&flood);
            deaf.push(stream);
        }
        let started = Instant::now();
        engine.cli(&["create", "Friday night"])?;
        for _ in 0..20 {
            engine.status()?;
        }
        engine.cli(&["leave"])?;
        let after = memory(&engine)?;
        println!(
            "20 deaf clients: {before} MiB before, {after} MiB after; create, 20 times status, leave: {:.2} s",
            started.elapsed().as_secs_f64()
        );
        ensure!(after < before + 30, "{after} MiB, {before} MiB before");
        nothing_left(&mut engine)
    })
}

#[test]
fn an_engine_out_of_files_says_so_and_goes_on_when_it_may() -> Result<()> {
    scenario("out of files", |lab| {
        let mut engine = engine(lab)?;
        let mut held = exhaust(&engine)?;
        // Who is connected already may ask, and is told.
        let first = held.first_mut().context("no client")?;
        for call in [
            json!({"verb": "create", "party": "Friday night", "player": null}),
            json!({"verb": "join", "text": "K7QF-9M2X-RT4B-W8HD-5NC7", "player": null}),
        ] {
            let answer = ask(first, &call)?;
            ensure!(answer["Err"]["code"] == "too_many_files", "{call}: {answer}");
        }
        let status = ask(first, &json!({"verb": "status"}))?;
        let conditions = status["Ok"]["status"]["conditions"].to_string();
        ensure!(
            conditions.contains("too_many_files") && !conditions.contains("no_tun"),
            "{conditions}"
        );
        // Who comes now is told as well.
        engine.refuses(&["status"], &[], "too_many_files")?;

        unlimited(&engine)?;
        drop(held);
        recovered(&engine)?;
        nothing_left(&mut engine)?;
        engine.cli(&["create", "Friday night"])?;
        engine.cli(&["leave"])?;
        nothing_left(&mut engine)
    })
}

#[test]
fn a_party_outlives_a_member_out_of_files() -> Result<()> {
    scenario("out of files in mid-party", |lab| {
        let mut party = Party::start(lab, 3, Control::Local)?;
        let flow = Flow::start(party.engine(1)?.host(), party.engine(2)?.address()?)?;
        let mut held = exhaust(party.engine(1)?)?;
        // Its own address is asked of the others: nobody gets in to ask it.
        let member = std::net::Ipv4Addr::new(10, 66, 0, 2);
        for other in [0, 2] {
            ping(party.engine(other)?.host(), member.into(), 5)?;
        }
        // Leaving needs files to be written: what could not be is made up for later.
        let first = held.first_mut().context("no client")?;
        let (lost, sent) = flow.finish()?;
        ensure!(lost == 0, "{lost} of {sent} pings were lost");
        let answer = ask(first, &json!({"verb": "leave"}))?;
        ensure!(answer["Ok"] == "done", "{answer}");
        unlimited(party.engine(1)?)?;
        drop(held);
        recovered(party.engine(1)?)?;
        let member = party.engine_mut(1)?;
        nothing_left(member)?;
        member.terminate()?;
        member.start_again()?;
        nothing_left(member)?;
        party.engine_mut(0)?.unharmed()
    })
}

/// Takes the engine's right to open more files than it has, and uses up what is left. Returns the clients that do.
fn exhaust(engine: &Engine) -> Result<Vec<UnixStream>> {
    let id = engine.id().context("the engine does not run")?;
    let open = fs::read_dir(format!("/proc/{id}/fd"))?.count();
    limit(engine, &(open + 6).to_string())?;
    let mut held = Vec::new();
    for _ in 0..60 {
        let mut stream = connect(engine)?;
        let answer = ask(&mut stream, &json!({"verb": "status"}))?;
        if answer["Err"]["code"] == "too_many_files" {
            println!("{open} files open, {} clients let in", held.len());
            return Ok(held);
        }
        held.push(stream);
    }
    bail!("{} clients were let in", held.len())
}

/// Sets how many files the engine may have open; the soft limit, which needs no rights.
fn limit(engine: &Engine, files: &str) -> Result<()> {
    let id = engine.id().context("the engine does not run")?.to_string();
    run("prlimit", &["--pid", &id, &format!("--nofile={files}:")]).map(drop)
}

/// Gives it back all that it had.
fn unlimited(engine: &Engine) -> Result<()> {
    let id = engine.id().context("the engine does not run")?;
    let limits = fs::read_to_string(format!("/proc/{id}/limits"))?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let hard = line
        .and_then(|line| line.split_whitespace().nth(4))
        .context("no limit")?;
    limit(engine, hard)
}

fn recovered(engine: &Engine) -> Result<()> {
    eventually("it may open files again", felt::TOLD, || {
        Ok(match engine.status() {
            Ok(status) if !status.has_condition("too_many_files") => Ok(()),
            Ok(status) => Err(status.summary()),
            Err(error) => Err(format!("{error:#}")),
        })
    })
    .map(drop)
}

fn connect(engine: &Engine) -> Result<UnixStream> {
    let stream = UnixStream::connect(engine.socket())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn frame(content: &[u8]) -> Result<Vec<u8>> {
    let mut frame = u32::try_from(content.len())?.to_be_bytes().to_vec();
    frame.extend(content);
    Ok(frame)
}

fn read_frame(stream: &mut UnixStream) -> Result<Value> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).context("no answer")?;
    let mut content = vec![0; usize::try_from(u32::from_be_bytes(length))?];
    stream.read_exact(&mut content)?;
    Ok(serde_json::from_slice(&content)?)
}

/// Asks, and returns the result of the answer.
fn ask(stream: &mut UnixStream, call: &Value) -> Result<Value> {
    let request = json!({"id": 9, "ipc": 1, "call": call});
    match stream.write_all(&frame(request.to_string().as_bytes())?) {
        // Turned away before it asked: the answer says why.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        other => other?,
    }
    Ok(read_frame(stream)?["result"].clone())
}
