//! What the operator says: on the command line, and in a file with the same names. The command line wins.

use crate::relay::settings::{Address, Addresses, Ports, RelayArgs, RelaySettings, parsed, parsed_list};
use anyhow::{Context, Result, bail};
use clap::Parser;
use lanrage_proto::server_url::is_near;
use lanrage_proto::{ServerUrl, TurnUri, limits};
use lanrage_relay::rules::Network;
use serde::Deserialize;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// The command line.
#[derive(Debug, Clone, Default, Parser)]
#[command(
    name = "lanrage-server",
    version,
    about = "LANrage's control plane, STUN and TURN, for those who host their own",
    after_help = "Engines are pointed at it with --control wss://NAME:PORT, or ws://ADDRESS:PORT where the \
                  server has no certificate: plain connections are served on loopback and private addresses, \
                  and to a proxy that does the TLS.\n\
                  The certificate is read again on SIGHUP."
)]
pub struct Args {
    /// Address and port to listen on [default: all addresses, port 51820]
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// Where parties are kept: memory, or sqlite:PATH [default: memory]
    #[arg(long, value_name = "memory|sqlite:PATH")]
    pub store: Option<StoreChoice>,
    /// Certificate chain, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// A name by which clients dial this server, besides its addresses and the names in its certificate;
    /// repeatable [default port: 443]
    #[arg(long = "name", value_name = "HOST[:PORT]")]
    pub names: Vec<String>,
    /// A proxy does the TLS: serve plain connections, and believe a loopback peer's X-Forwarded-For
    #[arg(long)]
    pub behind_proxy: bool,
    /// Members of one party [default: 64]
    #[arg(long, value_name = "1-250", value_parser = clap::value_parser!(u8).range(1..=250))]
    pub members: Option<u8>,
    /// Read the same settings from a TOML file, named as here (the names are a list, `names`)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<LogLevel>,
    /// STUN and TURN.
    #[command(flatten)]
    pub relay: RelayArgs,
}

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct File {
    listen: Option<SocketAddr>,
    store: Option<StoreChoice>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    names: Vec<String>,
    behind_proxy: bool,
    members: Option<u8>,
    log: Option<LogLevel>,
    #[serde(deserialize_with = "parsed")]
    stun: Option<Addresses>,
    #[serde(deserialize_with = "parsed")]
    turn: Option<Address>,
    #[serde(deserialize_with = "parsed")]
    turn_tcp: Option<Address>,
    #[serde(deserialize_with = "parsed")]
    turn_tls: Option<Address>,
    #[serde(deserialize_with = "parsed")]
    relay_ports: Option<Ports>,
    #[serde(deserialize_with = "parsed_list")]
    public_ip: Vec<IpAddr>,
    #[serde(deserialize_with = "parsed_list")]
    allow_peer: Vec<Network>,
    #[serde(deserialize_with = "parsed_list")]
    turn_uri: Vec<TurnUri>,
    turn_secret_file: Option<PathBuf>,
    member_mbit: Option<u64>,
    relay_mbit: Option<u64>,
    metrics: Option<SocketAddr>,
}

/// Where parties are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "String")]
pub enum StoreChoice {
    /// As long as the process lives. Engines bring their parties and leases back after a restart.
    #[default]
    Memory,
    /// In a file.
    Sqlite(PathBuf),
}

impl FromStr for StoreChoice {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            _ => Err("a store is memory or sqlite:PATH".to_owned()),
        }
    }
}

impl TryFrom<String> for StoreChoice {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// How much is logged, of our own crates; of others only warnings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// We stopped.
    Error,
    /// A surprise that was survived.
    Warn,
    /// What a player could feel.
    #[default]
    Info,
    /// Branches, and addresses.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// As tracing's filters name it.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

/// What holds.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen.
    pub listen: Listen,
    /// Where parties are kept.
    pub store: StoreChoice,
    /// Certificate chain and key; none serves plain connections.
    pub tls: Option<TlsFiles>,
    /// `host:port` names by which clients dial, in their normal form.
    pub names: Vec<String>,
    /// Whether a proxy stands in front.
    pub behind_proxy: bool,
    /// Members of one party.
    pub members: u8,
    /// How much is logged.
    pub log: LogLevel,
    /// STUN and TURN.
    pub relay: RelaySettings,
}

/// Where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// On one address, or on all of one family.
    At(SocketAddr),
    /// On all addresses of the families that the system has.
    Everywhere(u16),
}

impl Listen {
    /// The addresses to try, the first that can be had is it.
    pub fn candidates(self) -> Vec<SocketAddr> {
        match self {
            Listen::At(address) => vec![address],
            Listen::Everywhere(port) => vec![
                (Ipv6Addr::UNSPECIFIED, port).into(),
                (std::net::Ipv4Addr::UNSPECIFIED, port).into(),
            ],
        }
    }
}

/// Where certificate and key lie.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The chain, PEM.
    pub cert: PathBuf,
    /// The key, PEM.
    pub key: PathBuf,
}

impl Settings {
    /// Puts command line and file together.
    ///
    /// # Errors
    /// One sentence for the operator: the file can't be read or understood, or the settings don't go together.
    pub fn read(args: Args) -> Result<Self> {
        let file = match &args.config {
            Some(path) => read_file(path)?,
            None => File::default(),
        };
        let tls = match (args.tls_cert.or(file.tls_cert), args.tls_key.or(file.tls_key)) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
            (None, None) => None,
            _ => bail!("tls-cert and tls-key go together"),
        };
        let names = [args.names, file.names].concat();
        let names = names.iter().map(|name| authority(name)).collect::<Result<_>>()?;
        let listen = match args.listen.or(file.listen) {
            Some(address) => Listen::At(address),
            None => Listen::Everywhere(limits::DEFAULT_PORT),
        };
        let members = args.members.or(file.members).unwrap_or(limits::PARTY_MEMBERS);
        if !(1..=250).contains(&members) {
            bail!("members is a number from 1 to 250");
        }
        let relay = args.relay.or(RelayArgs {
            stun: file.stun,
            turn: file.turn,
            turn_tcp: file.turn_tcp,
            turn_tls: file.turn_tls,
            relay_ports: file.relay_ports,
            public_ip: file.public_ip,
            allow_peer: file.allow_peer,
            turn_uri: file.turn_uri,
            turn_secret_file: file.turn_secret_file,
            member_mbit: file.member_mbit,
            relay_mbit: file.relay_mbit,
            metrics: file.metrics,
        });
        let settings = Self {
            relay: RelaySettings::read(relay, listen, tls.is_some())?,
            listen,
            store: args.store.or(file.store).unwrap_or_default(),
            tls,
            names,
            behind_proxy: args.behind_proxy || file.behind_proxy,
            members,
            log: args.log.or(file.log).unwrap_or_default(),
        };
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<()> {
        if self.behind_proxy && self.names.is_empty() {
            bail!("behind a proxy, give the name that clients dial with --name HOST[:PORT]");
        }
        if let Listen::At(address) = self.listen
            && self.tls.is_none()
            && !self.behind_proxy
            && !address.ip().is_unspecified()
            && !is_near(address.ip())
        {
            bail!(
                "{address} is a public address: give --tls-cert and --tls-key, or --behind-proxy when \
                 something in front does the TLS"
            );
        }
        Ok(())
    }
}

fn read_file(path: &PathBuf) -> Result<File> {
    let text = std::fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start].lines().count().max(1));
        let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
        anyhow::anyhow!("{}{line}: {}", path.display(), error.message().replace('\n', " "))
    })
}

/// A name as clients sign it.
fn authority(name: &str) -> Result<String> {
    let url = ServerUrl::parse(&format!("wss://{name}"));
    Ok(url
        .with_context(|| format!("{name:?} is no HOST[:PORT]"))?
        .authority())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(args: &[&str]) -> Result<Settings> {
        Settings::read(Args::try_parse_from([&["lanrage-server"], args].concat())?)
    }

    fn file(text: &str) -> Result<Settings> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), text)?;
        settings(&["--config", &file.path().display().to_string()])
    }

    #[test]
    fn plain_is_for_near_addresses_and_proxies() {
        for near in ["127.0.0.1:1", "192.168.1.5:1", "[::1]:1", "0.0.0.0:1", "[::]:1"] {
            assert!(settings(&["--listen", near]).is_ok(), "{near}");
        }
        let public = ["--listen", "203.0.113.7:443"];
        let error = settings(&public).unwrap_err().to_string();
        assert!(error.contains("--tls-cert"), "{error}");
        let proxied = [&public[..], &["--behind-proxy", "--name", "party.example.org"]].concat();
        assert_eq!(settings(&proxied).unwrap().names, ["party.example.org:443"]);
        assert!(settings(&["--behind-proxy"]).is_err(), "nobody could dial it");
    }

    #[test]
    fn the_file_has_the_same_names_and_the_command_line_wins() {
        let settings = file(
            "listen = \"127.0.0.1:9\"\nstore = \"sqlite:/tmp/a b.db\"\nnames = [\"Party.Example.org:8443\"]\n\
             members = 8\nlog = \"debug\"\n",
        )
        .unwrap();
        assert_eq!(settings.listen, Listen::At("127.0.0.1:9".parse().unwrap()));
        assert_eq!(settings.store, StoreChoice::Sqlite("/tmp/a b.db".into()));
        assert_eq!(settings.names, ["party.example.org:8443"]);
        assert_eq!((settings.members, settings.log), (8, LogLevel::Debug));
    }

    #[test]
    fn stun_and_turn_have_their_names_in_the_file_too() {
        let settings = file(
            "listen = \"10.0.0.1:9\"\nstun = \"10.0.0.1,10.0.0.2\"\nturn-tcp = \"none\"\nrelay-ports = \"50000-50009\"\n\
             public-ip = \"203.0.113.7\"\nallow-peer = [\"10.0.0.0/8\", \"fd00::/8\"]\nmember-mbit = 5\n",
        )
        .unwrap()
        .relay;
        assert_eq!((settings.udp.len(), settings.tcp.len()), (4, 0));
        assert_eq!(settings.ports, 50_000..=50_009);
        assert_eq!(settings.public_ips, [IpAddr::from([203, 0, 113, 7])]);
        assert_eq!(settings.allow_peers.len(), 2);
        let error = file("listen = \"10.0.0.1:9\"\nrelay-ports = \"9\"\n")
            .unwrap_err()
            .to_string();
        assert!(error.contains("line 2") && error.contains("FROM-TO"), "{error}");
    }

    #[test]
    fn a_mistake_in_the_file_is_named_with_its_line() {
        let error = file("listen = \"127.0.0.1:9\"\n\nstore = \"postgres\"\n")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("line 3") && error.contains("sqlite:PATH"),
            "{error}"
        );
        let error = file("lisen = \"127.0.0.1:9\"\n").unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("lisen"), "{error}");
        let error = settings(&["--config", "/nowhere/x.toml"])
            .unwrap_err()
            .to_string();
        assert!(error.contains("/nowhere/x.toml"), "{error}");
        assert!(file("tls-cert = \"a.pem\"\n").is_err());
        assert!(file("members = 0\n").is_err());
    }
}
