//! What the operator says about STUN and TURN, and what is made of it.

use crate::config::Listen;
use anyhow::{Context, Result, bail};
use clap::Args;
use lanrage_proto::TurnUri;
use lanrage_relay::config::Pace;
use lanrage_relay::credentials::Secret;
use lanrage_relay::rules::Network;
use lanrage_relay::{Behaviour, Service};
use serde::{Deserialize, Deserializer};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The port of STUN and TURN (RFC 8489 §9.4, RFC 8656 §18.6).
const PORT: u16 = 3478;
/// Ports for relays when none are named: those that the system hands to nobody who asks for a certain one.
const RELAY_PORTS: RangeInclusive<u16> = 49_152..=65_535;
/// The shortest secret that is not a mistake, bytes.
const SHORTEST_SECRET: usize = 16;

/// The command line's part, and the file's.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "STUN and TURN")]
pub struct RelayArgs {
    /// Where STUN is; with a second address and port also NAT behaviour discovery (RFC 5780)
    /// [default: port 3478, on the addresses of --listen]
    #[arg(long, value_name = "ADDR[,ADDR2]|none")]
    pub stun: Option<Addresses>,
    /// Where TURN is, over UDP [default: as --stun]
    #[arg(long, value_name = "ADDR|none")]
    pub turn: Option<Address>,
    /// Where STUN and TURN are, over TCP [default: as --turn]
    #[arg(long, value_name = "ADDR|none")]
    pub turn_tcp: Option<Address>,
    /// Where TURN is, over TLS [default with a certificate: as --listen, which it shares]
    #[arg(long, value_name = "ADDR|none")]
    pub turn_tls: Option<Address>,
    /// UDP ports for relays [default: 49152-65535]
    #[arg(long, value_name = "FROM-TO")]
    pub relay_ports: Option<Ports>,
    /// The address by which others reach this machine, where it is not one of its own or there are several;
    /// one for each family
    #[arg(long = "public-ip", value_name = "ADDR")]
    pub public_ip: Vec<IpAddr>,
    /// Relay to this network though it is not public, or though nobody of it was ever seen; repeatable
    #[arg(long = "allow-peer", value_name = "CIDR")]
    pub allow_peer: Vec<Network>,
    /// Hand out this TURN server instead of serving TURN; repeatable
    #[arg(long = "turn-uri", value_name = "URI")]
    pub turn_uri: Vec<TurnUri>,
    /// The secret shared with that server (coturn's static-auth-secret) [default for our own: a new one each start]
    #[arg(long, value_name = "FILE")]
    pub turn_secret_file: Option<PathBuf>,
    /// Megabits a second for each member's relays, 0 for no limit [default: 100]
    #[arg(long, value_name = "N")]
    pub member_mbit: Option<u64>,
    /// Megabits a second for all relays, 0 for no limit [default: 1000]
    #[arg(long, value_name = "N")]
    pub relay_mbit: Option<u64>,
    /// Serve /metrics here as well, in plain HTTP [default: only on --listen, for loopback]
    #[arg(long, value_name = "ADDR:PORT")]
    pub metrics: Option<SocketAddr>,
}

impl RelayArgs {
    /// What is said here, and elsewhere where nothing is said here.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let either = |ours: Vec<_>, theirs| if ours.is_empty() { theirs } else { ours };
        Self {
            stun: self.stun.or(other.stun),
            turn: self.turn.or(other.turn),
            turn_tcp: self.turn_tcp.or(other.turn_tcp),
            turn_tls: self.turn_tls.or(other.turn_tls),
            relay_ports: self.relay_ports.or(other.relay_ports),
            public_ip: either(self.public_ip, other.public_ip),
            allow_peer: [self.allow_peer, other.allow_peer].concat(),
            turn_uri: [self.turn_uri, other.turn_uri].concat(),
            turn_secret_file: self.turn_secret_file.or(other.turn_secret_file),
            member_mbit: self.member_mbit.or(other.member_mbit),
            relay_mbit: self.relay_mbit.or(other.relay_mbit),
            metrics: self.metrics.or(other.metrics),
        }
    }
}

/// `none`, or an address with or without a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address(pub Option<SocketAddr>);

/// `none`, or one or two addresses with or without ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses(pub Option<(SocketAddr, Option<SocketAddr>)>);

/// A range of ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports(pub RangeInclusive<u16>);

fn address(text: &str, port: u16) -> Result<SocketAddr, String> {
    text.parse()
        .or_else(|_| text.parse().map(|ip: IpAddr| SocketAddr::new(ip, port)))
        .map_err(|_| format!("{text:?} is no ADDRESS or ADDRESS:PORT"))
}

impl FromStr for Address {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(None)),
            _ => Ok(Self(Some(address(text, PORT)?))),
        }
    }
}

impl FromStr for Addresses {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(',') {
            None if text == "none" => Ok(Self(None)),
            None => Ok(Self(Some((address(text, PORT)?, None)))),
            Some((one, two)) => Ok(Self(Some((address(one, PORT)?, Some(address(two, PORT + 1)?))))),
        }
    }
}

impl FromStr for Ports {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let ends = text.split_once('-');
        let ends = ends.and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
        match ends {
            Some((from, to)) if 1024 <= from && from <= to => Ok(Self(from..=to)),
            _ => Err("ports are FROM-TO, from 1024 up".to_owned()),
        }
    }
}

/// Reads in a file what the command line parses.
pub(crate) fn parsed<'de, D: Deserializer<'de>, T: FromStr>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T::Err: std::fmt::Display,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

/// The same for one of it, or a list.
pub(crate) fn parsed_list<'de, D: Deserializer<'de>, T: FromStr>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T::Err: std::fmt::Display,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Texts {
        One(String),
        Many(Vec<String>),
    }
    let texts = match Texts::deserialize(deserializer)? {
        Texts::One(text) => vec![text],
        Texts::Many(texts) => texts,
    };
    let parse = |text: &String| text.parse().map_err(serde::de::Error::custom);
    texts.iter().map(parse).collect()
}

/// What holds.
#[derive(Debug, Clone)]
pub struct RelaySettings {
    /// UDP listeners.
    pub udp: Vec<Door>,
    /// TCP listeners.
    pub tcp: Vec<Door>,
    /// Where TURN over TLS is.
    pub tls: TurnTls,
    /// Two addresses, each with its own port.
    pub behaviour: Option<Behaviour>,
    /// Ports for relays.
    pub ports: RangeInclusive<u16>,
    /// At most one of each family.
    pub public_ips: Vec<IpAddr>,
    /// Peers that are relayed to in any case.
    pub allow_peers: Vec<Network>,
    /// Another server that is handed out.
    pub turn_uris: Vec<TurnUri>,
    /// Shared with it, or with other control planes; none draws one.
    pub secret: Option<Secret>,
    /// For each member.
    pub member_bytes: Pace,
    /// For all.
    pub bytes: Pace,
    /// Where else metrics are.
    pub metrics: Option<SocketAddr>,
}

/// Something to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Door {
    /// Where.
    pub at: SocketAddr,
    /// What is offered there.
    pub service: Service,
    /// Whether the operator named it: then it has to be had.
    pub named: bool,
}

/// Where TURN over TLS is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnTls {
    /// Nowhere.
    None,
    /// Where the control plane is.
    Shared,
    /// Somewhere else.
    At(SocketAddr),
}

impl RelaySettings {
    /// Whether TURN is served.
    pub fn turn(&self) -> bool {
        let turn = |door: &Door| door.service == Service::Turn;
        self.udp.iter().chain(&self.tcp).any(turn) || self.tls != TurnTls::None
    }

    /// Puts together what was said and what follows from it. `tls` says whether there is a certificate.
    ///
    /// # Errors
    /// One sentence for the operator.
    pub fn read(args: RelayArgs, listen: Listen, tls: bool) -> Result<Self> {
        let named = args.stun.is_some();
        let stun = match args.stun {
            None => everywhere(listen),
            Some(Addresses(None)) => Vec::new(),
            Some(Addresses(Some((one, _)))) => vec![one],
        };
        let second = args.stun.and_then(|Addresses(stun)| stun?.1);
        let behaviour = match (stun.first(), second) {
            (Some(one), Some(two)) => Some(Behaviour::new(*one, two).with_context(|| {
                format!("--stun {one},{two}: the two differ in address and port, and neither is a wildcard")
            })?),
            _ => None,
        };
        let ours = args.turn_uri.is_empty() || args.turn.is_some();
        let turn = match args.turn {
            None if !ours => Vec::new(),
            None if stun.is_empty() => everywhere(listen),
            None => stun.clone(),
            Some(Address(at)) => at.into_iter().collect(),
        };
        let doors = |addresses: &[SocketAddr], service, named| {
            let door = |at: &SocketAddr| Door {
                at: *at,
                service,
                named,
            };
            addresses.iter().map(door).collect::<Vec<_>>()
        };
        let turn_udp = doors(
            &turn,
            Service::Turn,
            args.turn.is_some() || named && !stun.is_empty(),
        );
        let (mut udp, mut tcp) = (turn_udp.clone(), Vec::new());
        let plain = behaviour.map_or_else(|| stun.clone(), |pair| pair.all().to_vec());
        let is_new = |at: &SocketAddr| !turn.contains(at);
        let plain: Vec<_> = plain.into_iter().filter(is_new).collect();
        udp.extend(doors(&plain, Service::Stun, named));
        match args.turn_tcp {
            None => {
                tcp.extend(turn_udp);
                let stun: Vec<_> = stun.into_iter().filter(is_new).collect();
                tcp.extend(doors(&stun, Service::Stun, named));
            }
            Some(Address(at)) => tcp.extend(doors(&Vec::from_iter(at), Service::Turn, true)),
        }
        let shared = |at: SocketAddr| listen.candidates().contains(&at);
        let tls = match args.turn_tls {
            None if tls && !turn.is_empty() => TurnTls::Shared,
            None | Some(Address(None)) => TurnTls::None,
            Some(Address(Some(_))) if !tls => bail!("--turn-tls wants --tls-cert and --tls-key"),
            Some(Address(Some(at))) if shared(at) => TurnTls::Shared,
            Some(Address(Some(at))) => TurnTls::At(at),
        };
        let families = [true, false].map(|v4| args.public_ip.iter().filter(|ip| ip.is_ipv4() == v4).count());
        if families.iter().any(|count| *count > 1) {
            bail!("--public-ip is one address of each family");
        }
        let secret = args.turn_secret_file.as_deref().map(read_secret).transpose()?;
        if !args.turn_uri.is_empty() && secret.is_none() {
            bail!("--turn-uri wants --turn-secret-file, with that server's secret");
        }
        Ok(Self {
            udp,
            tcp,
            tls,
            behaviour,
            ports: args.relay_ports.map_or(RELAY_PORTS, |Ports(ports)| ports),
            public_ips: args.public_ip,
            allow_peers: args.allow_peer,
            turn_uris: args.turn_uri,
            secret,
            member_bytes: mbit(args.member_mbit.unwrap_or(100)),
            bytes: mbit(args.relay_mbit.unwrap_or(1000)),
            metrics: args.metrics,
        })
    }
}

fn mbit(number: u64) -> Pace {
    match number {
        0 => Pace::UNLIMITED,
        _ => Pace::bytes(number.saturating_mul(125_000)),
    }
}

/// Port 3478 where the control plane listens.
fn everywhere(listen: Listen) -> Vec<SocketAddr> {
    let all = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()];
    let ips = match listen {
        Listen::At(at) if at.ip().is_ipv4() || !at.ip().is_unspecified() => vec![at.ip()],
        Listen::At(_) | Listen::Everywhere(_) => all.to_vec(),
    };
    ips.into_iter().map(|ip| SocketAddr::new(ip, PORT)).collect()
}

fn read_secret(path: &Path) -> Result<Secret> {
    let text = std::fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
    let text = text.trim();
    if text.len() < SHORTEST_SECRET {
        bail!(
            "the secret in {} is shorter than {SHORTEST_SECRET} characters",
            path.display()
        );
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        relay: RelayArgs,
    }

    fn read(listen: &str, tls: bool, args: &[&str]) -> Result<RelaySettings> {
        let line = Line::try_parse_from([&["server"], args].concat())?;
        let listen = match listen {
            "" => Listen::Everywhere(51820),
            at => Listen::At(at.parse()?),
        };
        RelaySettings::read(line.relay, listen, tls)
    }

    fn shown(doors: &[Door]) -> Vec<String> {
        let show = |door: &Door| {
            let named = if door.named { "" } else { "?" };
            format!("{:?} {}{named}", door.service, door.at)
        };
        doors.iter().map(show).collect()
    }

    #[test]
    fn without_a_word_everything_is_on_3478() {
        let all = ["Turn 0.0.0.0:3478?", "Turn [::]:3478?"];
        let settings = read("", false, &[]).unwrap();
        assert_eq!(shown(&settings.udp), all);
        assert_eq!(shown(&settings.tcp), all);
        assert_eq!((settings.tls, settings.behaviour), (TurnTls::None, None));
        assert_eq!(read("", true, &[]).unwrap().tls, TurnTls::Shared);
        assert_eq!(shown(&read("[::]:443", true, &[]).unwrap().udp), all);
        let near = read("192.168.1.5:51820", false, &[]).unwrap();
        assert_eq!(shown(&near.udp), ["Turn 192.168.1.5:3478?"]);
    }

    #[test]
    fn a_second_address_makes_four_and_turn_stays_on_the_first() {
        let settings = read("", false, &["--stun", "203.0.113.1,203.0.113.2"]).unwrap();
        assert_eq!(
            shown(&settings.udp),
            [
                "Turn 203.0.113.1:3478",
                "Stun 203.0.113.2:3479",
                "Stun 203.0.113.1:3479",
                "Stun 203.0.113.2:3478"
            ]
        );
        assert_eq!(shown(&settings.tcp), ["Turn 203.0.113.1:3478"]);
        for wrong in [
            "203.0.113.1,203.0.113.1",
            "0.0.0.0,203.0.113.2",
            "203.0.113.1:1,203.0.113.2:1",
            "203.0.113.1,[2a00::1]",
        ] {
            assert!(read("", false, &["--stun", wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn each_part_can_be_elsewhere_or_nowhere() {
        let settings = read("", false, &["--stun", "none", "--turn", "none"]).unwrap();
        assert!(settings.udp.is_empty() && settings.tcp.is_empty() && !settings.turn());
        let settings = read(
            "",
            false,
            &[
                "--stun",
                "10.0.0.1:1",
                "--turn",
                "10.0.0.1:2",
                "--turn-tcp",
                "10.0.0.1:3",
            ],
        )
        .unwrap();
        assert_eq!(shown(&settings.udp), ["Turn 10.0.0.1:2", "Stun 10.0.0.1:1"]);
        assert_eq!(shown(&settings.tcp), ["Turn 10.0.0.1:3"]);
        let settings = read("", false, &["--turn", "none", "--turn-tcp", "10.0.0.1"]).unwrap();
        assert!(settings.turn());
        assert_eq!(shown(&settings.udp), ["Stun 0.0.0.0:3478?", "Stun [::]:3478?"]);
    }

    #[test]
    fn turn_over_tls_wants_a_certificate_and_may_share_its_port() {
        let at = |at: &str| read("10.0.0.1:443", true, &["--turn-tls", at]).unwrap().tls;
        assert_eq!(at("10.0.0.1:443"), TurnTls::Shared);
        assert_eq!(at("10.0.0.1:5349"), TurnTls::At("10.0.0.1:5349".parse().unwrap()));
        assert_eq!(at("none"), TurnTls::None);
        assert!(read("10.0.0.1:443", false, &["--turn-tls", "10.0.0.1:443"]).is_err());
    }

    #[test]
    fn another_server_is_handed_out_with_its_secret_and_ours_stays_off() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a secret of some length\n").unwrap();
        let path = file.path().display().to_string();
        let uri = [
            "--turn-uri",
            "turn:relay.example.org",
            "--turn-secret-file",
            &path,
        ];
        let settings = read("", true, &uri).unwrap();
        assert!(!settings.turn());
        let password = settings.secret.unwrap().password("1:a");
        assert_eq!(password, Secret::new("a secret of some length").password("1:a"));
        assert_eq!(shown(&settings.udp), ["Stun 0.0.0.0:3478?", "Stun [::]:3478?"]);
        let both = read("", false, &[&uri[..], &["--turn", "10.0.0.1"]].concat()).unwrap();
        assert!(both.turn());
        assert!(read("", false, &uri[..2]).is_err(), "no secret");
        std::fs::write(file.path(), "short").unwrap();
        assert!(read("", false, &uri).is_err());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in [
            ["--relay-ports", "5000-4000"],
            ["--relay-ports", "80-90"],
            ["--relay-ports", "50000"],
            ["--allow-peer", "10.0.0.0/33"],
            ["--turn-uri", "https://relay.example.org"],
            ["--stun", "host"],
            ["--turn", "10.0.0.1,10.0.0.2"],
        ] {
            assert!(read("", false, &wrong).is_err(), "{wrong:?}");
        }
        assert!(read("", false, &["--public-ip", "1.1.1.1", "--public-ip", "2.2.2.2"]).is_err());
        assert!(read("", false, &["--public-ip", "1.1.1.1", "--public-ip", "2a00::1"]).is_ok());
        let settings = read(
            "",
            false,
            &[
                "--relay-ports",
                "50000-50009",
                "--member-mbit",
                "8",
                "--relay-mbit",
                "0",
            ],
        )
        .unwrap();
        assert_eq!(settings.ports, 50_000..=50_009);
        assert_eq!(
            (settings.member_bytes.each_second, settings.bytes),
            (1_000_000, Pace::UNLIMITED)
        );
    }
}
