//! The linked programs themselves, run under wine as far as they get without an adapter.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::folder;
use super::windows::Wine;
use crate::shell;

/// So long a program may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The engine runs without an adapter, and its own command reaches it by a named pipe.
pub(super) fn engine_answers(wine: &Wine, program: &Path) -> Result<()> {
    let pipe = format!(r"\\.\pipe\lanrage-cross-{}", std::process::id());
    let state = folder()?.join("engine-state");
    if state.exists() {
        fs::remove_dir_all(&state)?;
    }
    let mut run = wine.command(program)?;
    run.args(["run", "--no-mdns", "--socket", &pipe, "--state-dir"])
        .arg(&state);
    let mut engine = Running::start(&mut run, "engine")?;
    let mut status = wine.command(program)?;
    status.args(["status", "--json", "--socket", &pipe]);
    engine.until(|| {
        printed(&mut status)?
            .contains(r#""state":"no_adapter""#)
            .then_some(())
    })?;
    println!("The engine answers by its pipe.");
    Ok(())
}

/// The server runs and says that it is well.
pub(super) fn server_answers(wine: &Wine, program: &Path) -> Result<()> {
    // A port that is free now; nobody else is likely to take it within the second.
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let mut run = wine.command(program)?;
    run.args(["--listen", &free.to_string(), "--store", "memory"]);
    let mut server = Running::start(&mut run, "server")?;
    server.until(|| {
        let mut connection = TcpStream::connect(free).ok()?;
        connection.set_read_timeout(Some(PATIENCE)).ok()?;
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {free}\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).ok()?;
        let mut answer = [0; 15];
        connection.read_exact(&mut answer).ok()?;
        (answer == *b"HTTP/1.1 200 OK").then_some(())
    })?;
    println!("The server answers by TCP.");
    Ok(())
}

/// What a program prints, by way of a file: services that wine starts beside it inherit a pipe and keep it open.
fn printed(command: &mut Command) -> Option<String> {
    let path = folder().ok()?.join("printed.txt");
    command
        .stdin(Stdio::null())
        .stdout(File::create(&path).ok()?)
        .stderr(Stdio::null())
        .status()
        .ok()?;
    fs::read_to_string(path).ok()
}

/// A program that is ended when dropped.
struct Running {
    child: Child,
    name: &'static str,
}

impl Running {
    fn start(command: &mut Command, name: &'static str) -> Result<Self> {
        shell::say(command);
        let log = File::create(folder()?.join(format!("{name}.log")))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("the {name} can't be started"))?;
        Ok(Self { child, name })
    }

    /// Asks again and again until there is an answer.
    fn until(&mut self, mut ask: impl FnMut() -> Option<()>) -> Result<()> {
        let log = folder()?.join(format!("{}.log", self.name));
        let begin = Instant::now();
        while ask().is_none() {
            let ended = self.child.try_wait()?;
            ensure!(
                ended.is_none() && begin.elapsed() < PATIENCE,
                "the {} does not answer; it said:\n{}",
                self.name,
                fs::read_to_string(&log).unwrap_or_default()
            );
            thread::sleep(shell::LOOK);
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
