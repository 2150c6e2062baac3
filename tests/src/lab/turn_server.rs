//! A relay on a computer of its own, coturn as Debian ships it or ours: UDP and TCP at one port, TLS at another.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use lanrage_relay::credentials::Secret;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::internet_server::NETWORKS;
use super::net::Host;
use super::process::Process;
use super::programs;
use super::wait::{eventually, felt};

/// The port of TURN over UDP and TCP (RFC 8656 §18.6).
const PORT: u16 = 3478;

/// The port of TURN over TLS: the one that every firewall lets through.
const TLS_PORT: u16 = 443;

/// Whom it knows.
const USER: &str = "anna";
const PASSWORD: &str = "not a secret in a lab";

/// What ours shares with those who hand out credentials, and for whom these are.
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const MEMBER: &str = "lab.anna";

/// How long they last, seconds.
const DAY: u64 = 24 * 60 * 60;

/// A running relay, or a stopped one between [`TurnServer::kill9`] and [`TurnServer::start_again`].
#[derive(Debug)]
pub struct TurnServer {
    host: Host,
    folder: PathBuf,
    ours: bool,
    user: String,
    arguments: Vec<String>,
    process: Option<Process>,
}

impl TurnServer {
    /// Starts coturn in a host with a public address and waits until it listens. Its certificate is signed by an
    /// authority of its own.
    ///
    /// # Errors
    /// When it is not installed, does not listen in time, or no certificate can be made.
    pub fn start(host: &Host, arguments: &[&str]) -> Result<Self> {
        Self::begin(host, false, arguments)
    }

    /// Starts a `lanrage-server` that relays for whoever has credentials from elsewhere.
    ///
    /// # Errors
    /// As [`TurnServer::start`].
    pub fn ours(host: &Host, arguments: &[&str]) -> Result<Self> {
        Self::begin(host, true, arguments)
    }

    fn begin(host: &Host, ours: bool, arguments: &[&str]) -> Result<Self> {
        let folder = host.lab().files().join(format!("turn-{}", host.index()));
        fs::create_dir_all(&folder)?;
        certify(host.address(), &folder).context("no certificate")?;
        fs::write(folder.join("secret"), SECRET)?;
        let (user, password) = if ours {
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
            let credentials = Secret::new(SECRET).credentials(now + DAY, MEMBER);
            (credentials.username, credentials.password)
        } else {
            (USER.to_owned(), PASSWORD.to_owned())
        };
        fs::write(folder.join("password"), password)?;
        let mut server = Self {
            host: host.clone(),
            folder,
            ours,
            user,
            arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
            process: None,
        };
        server.start_again()?;
        Ok(server)
    }

    /// Starts it anew; it remembers nothing.
    ///
    /// # Errors
    /// When it still runs, or does not listen in time.
    pub fn start_again(&mut self) -> Result<Duration> {
        ensure!(self.process.is_none(), "the relay still runs");
        let mut command = if self.ours {
            self.our_command()?
        } else {
            self.coturn_command()
        };
        let mut process = self.host.spawn(
            &format!("relay-{}", self.host.index()),
            command.args(&self.arguments),
        )?;
        let at = [PORT, TLS_PORT].map(|port| SocketAddr::from((self.host.address(), port)));
        let took = eventually("the relay listens", felt::START, || {
            ensure!(process.is_running()?, "the relay ended: {}", process.log());
            let dialled = self.host.inside(|| {
                for at in at {
                    TcpStream::connect_timeout(&at, Duration::from_secs(1))?;
                }
                Ok(())
            });
            Ok(dialled.map_err(|error| format!("{error:#}")))
        })?;
        self.process = Some(process);
        Ok(took)
    }

    fn coturn_command(&self) -> Command {
        let mut command = self.host.command("turnserver".as_ref());
        let own = self.host.address().to_string();
        command.args(["-n", "--no-cli", "--no-dtls", "--verbose", "--simple-log"]);
        command.args(["--log-file", "stdout", "--lt-cred-mech", "--realm", "lab"]);
        command.args(["--user", &format!("{USER}:{PASSWORD}")]);
        command.args(["--listening-ip", &own, "--relay-ip", &own]);
        command.args(["--listening-port", &PORT.to_string()]);
        command.args(["--tls-listening-port", &TLS_PORT.to_string()]);
        for (option, name) in [
            ("--pidfile", "pid"),
            ("--userdb", "db"),
            ("--cert", "cert.pem"),
            ("--pkey", "key.pem"),
        ] {
            command.arg(option).arg(self.folder.join(name));
        }
        command
    }

    fn our_command(&self) -> Result<Command> {
        let mut command = self.host.command(&programs::server()?);
        let own = self.host.address();
        command.args(["--listen", "127.0.0.1:7700", "--log", "info"]);
        command.args(["--stun", &format!("{own}:{PORT}")]);
        command.args(["--turn-tls", &format!("{own}:{TLS_PORT}")]);
        for (option, name) in [
            ("--turn-secret-file", "secret"),
            ("--tls-cert", "cert.pem"),
            ("--tls-key", "key.pem"),
        ] {
            command.arg(option).arg(self.folder.join(name));
        }
        // What is kept for documentation and tests is no peer outside a lab.
        for network in NETWORKS {
            command.args(["--allow-peer", network]);
        }
        Ok(command)
    }

    /// Its host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its process id while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// The ways to it (RFC 7065): UDP, TCP, TLS.
    #[must_use]
    pub fn uris(&self) -> [String; 3] {
        let own = self.host.address();
        [
            format!("turn:{own}:{PORT}"),
            format!("turn:{own}:{PORT}?transport=tcp"),
            format!("turns:{own}:{TLS_PORT}"),
        ]
    }

    /// What engines are given so that it lets them in.
    #[must_use]
    pub fn login(&self) -> [String; 4] {
        [
            "--turn-user".to_owned(),
            self.user.clone(),
            "--turn-password-file".to_owned(),
            self.folder.join("password").display().to_string(),
        ]
    }

    /// The certificate of the authority that signed its own.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn authority(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.join("authority.pem"))?)
    }

    /// Kills it as a crash would.
    ///
    /// # Errors
    /// When it had already ended.
    pub fn kill9(&mut self) -> Result<()> {
        self.process.take().context("the relay does not run")?.kill9()
    }

    /// What it logged since its last start.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// Bytes that came to and went from its host so far.
    ///
    /// # Errors
    /// When the host can't be looked at.
    pub fn carried(&self) -> Result<u64> {
        let read = |what: &str| -> Result<u64> {
            let file = format!("/sys/class/net/eth0/statistics/{what}");
            // The file system shows the adapters of the namespace that mounted it: `ip netns exec` mounts its own.
            Ok(self.host.output("cat", &[&file])?.trim().parse()?)
        };
        Ok(read("rx_bytes")? + read("tx_bytes")?)
    }
}

fn certify(address: Ipv4Addr, folder: &Path) -> Result<()> {
    let authority_key = KeyPair::generate()?;
    let mut authority = CertificateParams::new(Vec::<String>::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&authority_key)?;
    fs::write(folder.join("authority.pem"), certificate.pem())?;
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate()?;
    let own = CertificateParams::new(vec![address.to_string()])?.signed_by(&key, &issuer)?;
    fs::write(folder.join("cert.pem"), own.pem())?;
    fs::write(folder.join("key.pem"), key.serialize_pem())?;
    Ok(())
}
