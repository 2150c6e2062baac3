//! A `lanrage-server` on a lab's internet, with a certificate made for the occasion.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::engine::{Engine, EngineOptions};
use super::internet::Internet;
use super::net::Host;
use super::process::Process;
use super::programs;
use super::wait::{PATIENCE, eventually, felt};

/// The port of its control plane.
const PORT: u16 = 443;

/// The port of STUN and TURN on its first address; on the second it is the next.
const STUN: u16 = 3478;

/// The public addresses of a lab.
pub(super) const NETWORKS: [&str; 3] = ["203.0.113.0/24", "198.51.100.0/24", "198.18.0.0/15"];

/// A running server, or a stopped one between [`PublicServer::kill9`] and [`PublicServer::start_again`].
#[derive(Debug)]
pub struct PublicServer {
    host: Host,
    program: PathBuf,
    folder: PathBuf,
    addresses: [Ipv4Addr; 2],
    arguments: Vec<String>,
    process: Option<Process>,
}

impl PublicServer {
    /// Starts one on the internet's server host and waits until it listens: control plane, STUN and TURN at its first
    /// address, STUN at its second as well.
    ///
    /// # Errors
    /// When it does not in time, or no certificate can be made.
    pub fn start(internet: &Internet, arguments: &[&str]) -> Result<Self> {
        let host = internet.server().clone();
        let folder = host.lab().files().join("server");
        fs::create_dir_all(&folder)?;
        let names: Vec<String> = internet
            .server_addresses()
            .iter()
            .map(ToString::to_string)
            .collect();
        let made = rcgen::generate_simple_self_signed(names).context("no certificate")?;
        fs::write(folder.join("cert.pem"), made.cert.pem())?;
        fs::write(folder.join("key.pem"), made.signing_key.serialize_pem())?;
        fs::write(folder.join("trust.pem"), made.cert.pem())?;
        let mut server = Self {
            host,
            program: programs::server()?,
            folder,
            addresses: internet.server_addresses(),
            arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
            process: None,
        };
        server.start_again()?;
        Ok(server)
    }

    /// Starts it with the store it left.
    ///
    /// # Errors
    /// When it still runs, or does not listen in time.
    pub fn start_again(&mut self) -> Result<Duration> {
        ensure!(self.process.is_none(), "the server still runs");
        let mut command = self.host.command(&self.program);
        let at = SocketAddr::from((self.host.address(), PORT));
        command
            .args(["--listen", &at.to_string(), "--log", "debug", "--store"])
            .arg(format!("sqlite:{}", self.folder.join("parties.sqlite").display()))
            .arg("--tls-cert")
            .arg(self.folder.join("cert.pem"))
            .arg("--tls-key")
            .arg(self.folder.join("key.pem"));
        let [first, second] = self.addresses;
        command
            .arg("--stun")
            .arg(format!("{first}:{STUN},{second}:{}", STUN + 1))
            .args(["--public-ip", &first.to_string()]);
        // What is kept for documentation and tests is no peer outside a lab.
        for network in NETWORKS {
            command.args(["--allow-peer", network]);
        }
        command.args(&self.arguments);
        let mut process = self.host.spawn("server", &mut command)?;
        let took = eventually("the server listens", felt::START, || {
            ensure!(process.is_running()?, "the server ended: {}", process.log());
            let dialled = self
                .host
                .inside(|| Ok(TcpStream::connect_timeout(&at, Duration::from_secs(1))?));
            Ok(dialled.map(drop).map_err(|error| format!("{error:#}")))
        })?;
        self.process = Some(process);
        Ok(took)
    }

    /// What engines are given as `--control`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("wss://{}:{PORT}", self.host.address())
    }

    /// What engines are given as `--control-ca`.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("trust.pem")
    }

    /// Lets engines that are started from now on trust another certificate (PEM) as well.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn trust(&self, certificate: &str) -> Result<()> {
        let file = self.certificate();
        let known = fs::read_to_string(&file)?;
        Ok(fs::write(file, known + certificate)?)
    }

    /// Its process id while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// An engine in `host` that knows this server, with further arguments of its own.
    ///
    /// # Errors
    /// When it does not start.
    pub fn engine(&self, host: &Host, player: &str, arguments: &[&str]) -> Result<Engine> {
        let mut engine = Engine::prepare(
            host,
            EngineOptions {
                player: player.to_owned(),
                control: self.url(),
            },
        )?;
        let certificate = self.certificate();
        let trust = ["--control-ca", &certificate.to_string_lossy()];
        engine.set_arguments(&[&trust, arguments].concat());
        engine.start_again()?;
        Ok(engine)
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

    /// What it logged since its last start.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }
}
