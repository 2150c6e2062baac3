//! Ways between two hosts that are measured side by side: a bare cable, a party, and others that tunnel.
//!
//! Each has two hosts and a cable of its own, so that no route or address of one is in another's way.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::{Engine, EngineOptions, Host, Lab, Process, eventually, felt};

/// The tunnels' addresses at either end, where an engine deals none.
const INSIDE: [[u8; 4]; 2] = [[10, 99, 0, 1], [10, 99, 0, 2]];

/// The UDP port of other tunnels.
const PORT: u16 = 51_820;

/// What tunnels of this kind listen for `wg` with, beside `NAME.sock`.
const SOCKETS: &str = "/var/run/wireguard";

/// A way from one host to another.
pub(crate) struct Tunnel {
    pub(crate) name: String,
    pub(crate) hosts: [Host; 2],
    /// The second host's address in it.
    pub(crate) target: std::net::Ipv4Addr,
    /// The processes that carry its packets.
    pub(crate) carriers: Vec<u32>,
    // What carries them; each ends with this.
    _engines: Vec<Engine>,
    _ends: Vec<End>,
}

/// One end of another's tunnel.
struct End {
    process: Option<Process>,
    interface: String,
}

impl Tunnel {
    /// The cable itself.
    pub(crate) fn bare(lab: &Lab) -> Result<Self> {
        let hosts = lab.cable()?;
        Ok(Self {
            name: "bare cable".to_owned(),
            target: hosts[1].address(),
            hosts,
            carriers: Vec::new(),
            _engines: Vec::new(),
            _ends: Vec::new(),
        })
    }

    /// A party of two, as it comes or without the priority that its data thread usually gets.
    pub(crate) fn party(lab: &Lab, name: &str, realtime: bool) -> Result<Self> {
        let hosts = lab.cable()?;
        let start = |host: &Host, player: &str| {
            let options = EngineOptions {
                player: player.to_owned(),
                control: "local".to_owned(),
            };
            let mut engine = Engine::prepare(host, options)?;
            fs::write(
                engine.folder().join("engine.toml"),
                format!("realtime = {realtime}\n"),
            )?;
            engine.set_arguments(&["--log", "info"]);
            engine.start_again()?;
            Ok::<_, anyhow::Error>(engine)
        };
        let engines = [start(&hosts[0], "Anna")?, start(&hosts[1], "Tom")?];
        let created = engines[0].cli(&["create", "Friday night"])?;
        let invite = created["invite"].as_str().context("no invite")?;
        engines[1].cli(&["join", invite])?;
        for engine in &engines {
            engine.wait_all_up(1, felt::CONNECT)?;
        }
        Ok(Self {
            name: name.to_owned(),
            target: engines[1].address()?,
            hosts,
            carriers: engines.iter().filter_map(Engine::id).collect(),
            _engines: engines.into(),
            _ends: Vec::new(),
        })
    }

    /// The size of packets inside.
    pub(crate) fn mtu(&self, interface: &str) -> Result<String> {
        let file = format!("/sys/class/net/{interface}/mtu");
        Ok(self.hosts[0].output("cat", &[&file])?.trim().to_owned())
    }

    /// boringtun's own program, where it was built: `$LANRAGE_BORINGTUN`.
    ///
    /// # Errors
    /// When it is missing or does not start.
    pub(crate) fn boringtun(lab: &Lab, mtu: &str) -> Result<Self> {
        let program = env::var_os("LANRAGE_BORINGTUN").context("LANRAGE_BORINGTUN names no boringtun-cli")?;
        let program = PathBuf::from(program);
        let options = ["--foreground", "--disable-drop-privileges"];
        Self::other(lab, "boringtun-cli", &program, &options, mtu)
    }

    /// Debian's wireguard-go.
    ///
    /// # Errors
    /// As [`Tunnel::boringtun`].
    pub(crate) fn wireguard_go(lab: &Lab, mtu: &str) -> Result<Self> {
        let program = Path::new("wireguard-go");
        Self::other(lab, "wireguard-go", program, &["--foreground"], mtu)
    }

    /// A program that makes an interface and is configured by `wg`.
    fn other(lab: &Lab, name: &str, program: &Path, options: &[&str], mtu: &str) -> Result<Self> {
        let hosts = lab.cable()?;
        let version = version(&hosts[0], program)?;
        let start = |host: &Host| -> Result<(End, String)> {
            // Sockets of all namespaces lie in one directory; 15 letters are the most.
            let interface = format!("lr{}i{}", std::process::id(), host.index());
            let mut command = host.command(program);
            command.args(options).arg(&interface).env("LOG_LEVEL", "error");
            let mut end = End {
                process: Some(host.spawn(name, &mut command)?),
                interface,
            };
            let key = lab.files().join(format!("{}.key", end.interface));
            let script = format!("umask 077; wg genkey | tee '{}' | wg pubkey", key.display());
            let public = host.output("sh", &["-c", &script])?.trim().to_owned();
            ensure!(!public.is_empty(), "`wg` is needed (package wireguard-tools)");
            eventually(&format!("{name} listens"), felt::START, || {
                let running = end.process.as_mut().map_or(Ok(false), Process::is_running)?;
                ensure!(running, "{name} ended: {}", end.log());
                let shown = host.output("wg", &["show", &end.interface]);
                Ok(shown.map(drop).map_err(|error| format!("{error:#}")))
            })?;
            let own = ["set", &end.interface, "listen-port", &PORT.to_string()].map(str::to_owned);
            let own = own.iter().map(String::as_str);
            let key = key.to_string_lossy().into_owned();
            let words: Vec<&str> = own.chain(["private-key", &key]).collect();
            host.output("wg", &words)?;
            Ok((end, public))
        };
        let (one, other) = (start(&hosts[0])?, start(&hosts[1])?);
        for ((here, there), (end, peer)) in [(0, 1), (1, 0)]
            .into_iter()
            .zip([(&one.0, &other.1), (&other.0, &one.1)])
        {
            let endpoint = format!("{}:{PORT}", hosts[there].address());
            let theirs = std::net::Ipv4Addr::from(INSIDE[there]).to_string();
            let own = format!("{}/24", std::net::Ipv4Addr::from(INSIDE[here]));
            let (host, interface) = (&hosts[here], end.interface.as_str());
            let allowed = format!("{theirs}/32");
            host.output(
                "wg",
                &[
                    "set",
                    interface,
                    "peer",
                    peer,
                    "endpoint",
                    &endpoint,
                    "allowed-ips",
                    &allowed,
                ],
            )?;
            host.output("ip", &["address", "add", &own, "dev", interface])?;
            host.output("ip", &["link", "set", interface, "mtu", mtu, "up"])?;
        }
        let ends = [one.0, other.0];
        Ok(Self {
            name: format!("{name} {version}"),
            target: INSIDE[1].into(),
            hosts,
            carriers: ends
                .iter()
                .filter_map(|end| Some(end.process.as_ref()?.id()))
                .collect(),
            _engines: Vec::new(),
            _ends: ends.into(),
        })
    }
}

impl End {
    fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // Asked to end, it would take its socket away itself; it may do neither, and must not be in a later one's way.
        if let Some(process) = self.process.take() {
            let _ = process.terminate(Duration::from_secs(1));
        }
        let _ = fs::remove_file(Path::new(SOCKETS).join(format!("{}.sock", self.interface)));
    }
}

/// What the program calls its version: the first word with a digit.
fn version(host: &Host, program: &Path) -> Result<String> {
    let name = program.to_string_lossy();
    let printed = host.output(&name, &["--version"])?;
    let words = printed.split_whitespace();
    let mut numbers = words.filter(|word| word.contains(|c: char| c.is_ascii_digit()));
    Ok(numbers.next().unwrap_or_default().to_owned())
}
