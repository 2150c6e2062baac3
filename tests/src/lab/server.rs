//! A real `lanrage-server` in a host.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::net::Host;
use super::process::Process;
use super::programs;
use super::wait::{PATIENCE, eventually, felt};

/// The port it listens on.
const PORT: u16 = 7700;

/// A running server, or a stopped one between [`Server::kill9`] and [`Server::start_again`].
#[derive(Debug)]
pub struct Server {
    host: Host,
    program: PathBuf,
    arguments: Vec<String>,
    process: Option<Process>,
}

impl Server {
    /// Starts a server with an empty SQLite store and waits until it says that it is well.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn start(host: &Host) -> Result<Self> {
        Self::start_with(host, &[])
    }

    /// [`Server::start`] with further arguments.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_with(host: &Host, arguments: &[&str]) -> Result<Self> {
        let mut server = Self {
            host: host.clone(),
            program: programs::server()?,
            arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
            process: None,
        };
        server.start_again()?;
        Ok(server)
    }

    /// Starts it with the store it left.
    ///
    /// # Errors
    /// When it still runs, or is not well in time.
    pub fn start_again(&mut self) -> Result<Duration> {
        ensure!(self.process.is_none(), "the server still runs");
        let store = self.host.lab().files().join("server.sqlite");
        let mut command = self.host.command(&self.program);
        command
            .args(["--listen", &self.listen().to_string()])
            .arg("--store")
            .arg(format!("sqlite:{}", store.display()))
            .args(&self.arguments);
        self.process = Some(self.host.spawn("server", &mut command)?);
        eventually("the server is well", felt::START, || {
            Ok(match self.host.inside(|| self.health()) {
                Ok(answer) if answer.starts_with("HTTP/1.1 200") => Ok(()),
                Ok(answer) => Err(answer),
                Err(error) => Err(format!("{error:#}")),
            })
        })
    }

    /// What engines are given as `--control`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://{}", self.listen())
    }

    /// Kills it as a crash would.
    ///
    /// # Errors
    /// When it had already ended.
    pub fn kill9(&mut self) -> Result<()> {
        self.process.take().context("the server does not run")?.kill9()
    }

    /// Stops it gracefully (SIGTERM) and waits for its end.
    ///
    /// # Errors
    /// When it had already ended, fails or takes too long.
    pub fn terminate(&mut self) -> Result<()> {
        let process = self.process.take().context("the server does not run")?;
        let status = process.terminate(felt::LEAVE * PATIENCE)?;
        ensure!(status.success(), "the server ended with {status} after SIGTERM");
        Ok(())
    }

    /// The program that is under test.
    ///
    /// # Errors
    /// When it is not built.
    pub fn program() -> Result<PathBuf> {
        programs::server()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listen()
    }

    /// Its process id while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Whether it went through whatever was done to it: it runs, is well, and nothing in it panicked.
    ///
    /// # Errors
    /// When it is not.
    pub fn unharmed(&mut self) -> Result<()> {
        let process = self.process.as_mut().context("the server does not run")?;
        ensure!(process.is_running()?, "the server ended: {}", process.log());
        let log = process.log();
        let panic = log.lines().find(|line| line.contains("panicked"));
        ensure!(panic.is_none(), "in its log: {}", panic.unwrap_or_default());
        let health = self.host.inside(|| self.health())?;
        ensure!(health.starts_with("HTTP/1.1 200"), "its health: {health}");
        Ok(())
    }

    fn listen(&self) -> SocketAddr {
        (self.host.address(), PORT).into()
    }

    fn health(&self) -> Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.listen(), Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        write!(
            stream,
            "GET /healthz HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.listen()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}
