//! What can be typed.

use crate::settings::{Carry, Share, Switch};
use crate::stun::StunSetting;
use clap::{Args, Parser, Subcommand};
use lanrage_proto::TurnUri;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::str::FromStr;

const EXAMPLES: &str = "\
Examples:
  sudo lanrage-engine run                    start the engine (usually the system does)
  lanrage-engine create 'Friday night'       found a party; prints the invite for your friends
  lanrage-engine join K7QF-9M2X-RT4B-W8HD-5NC7
  lanrage-engine status                      who is there, by which path, with what ping
  lanrage-engine doctor                      what stands between you and your friends
  lanrage-engine leave

Exit status: 0 done, 1 internal error, 2 wrong usage, 3 no engine answers, 4 refused.";

/// LANrage puts you and your friends on one LAN, wherever they are.
#[derive(Debug, Parser)]
#[command(name = "lanrage-engine", version, after_help = EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the engine; it needs the right to make a network adapter
    Run(Box<Run>),
    /// Found a party and print the invite for your friends
    #[command(after_help = "\
Examples:
  lanrage-engine create 'Friday night'
  lanrage-engine create 'Friday night' --name Anna --json")]
    Create(Create),
    /// Join a party by its ID or an invite
    #[command(after_help = "\
Examples:
  lanrage-engine join K7QF-9M2X-RT4B-W8HD-5NC7
  lanrage-engine join 'lanrage://join/K7QF-9M2X-RT4B-W8HD-5NC7?via=192.168.1.5:51820'
  xclip -o | lanrage-engine join -         keeps the ID out of the shell's history")]
    Join(Join),
    /// Leave the party; as its host, end it for everyone
    Leave(Verbose),
    /// Let friends in this party reach more on your computer than games, or no longer
    #[command(after_help = "\
Examples:
  lanrage-engine share files                 shared files and printers, for this party
  lanrage-engine share everything            SSH and remote desktop too
  lanrage-engine share nothing               games alone, which is what a party begins with")]
    Share(ShareVerb),
    /// Carry a kind of announce to friends in this party that otherwise stays at home, or stop to
    #[command(after_help = "\
Examples:
  lanrage-engine carry mdns on               games that find each other by multicast DNS
  lanrage-engine carry multicast off         broadcasts only")]
    Carry(CarryVerb),
    /// Show the party, its members and what is wrong, if anything
    Status(Verbose),
    /// Show the status, and again after each change
    #[command(after_help = "With --json each line is one status as `status --json` prints it.")]
    Watch(Verbose),
    /// Find out what stands between you and your friends
    #[command(after_help = "\
Without a party STUN servers are asked for it, which takes some seconds; inside one all is known already.
With --json it is one object; without an engine it is the refusal with what can be seen from outside.")]
    Doctor(Verbose),
    /// Undo what an engine that no longer runs left changed in the system; uninstallers call it
    #[command(after_help = "\
An engine undoes its changes itself, when a party ends and when it starts. While one runs this is refused.")]
    Restore(Restore),
}

/// Undo what was changed.
#[derive(Debug, Args)]
pub struct Restore {
    /// Where that engine kept its state
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Print JSON instead of sentences
    #[arg(long)]
    pub json: bool,
}

/// What every verb but `run` takes.
#[derive(Debug, Args)]
pub struct Verbose {
    /// The engine's socket
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Print JSON instead of sentences
    #[arg(long)]
    pub json: bool,
}

/// Found a party.
#[derive(Debug, Args)]
pub struct Create {
    /// What the party is called
    #[arg(value_name = "PARTY_NAME")]
    pub party: String,
    /// What you are called in it
    #[arg(long, value_name = "PLAYER")]
    pub name: Option<String>,
    /// Which engine, and how to print.
    #[command(flatten)]
    pub common: Verbose,
}

/// Join a party.
#[derive(Debug, Args)]
pub struct Join {
    /// The ID, an invite, a message that holds one, or - to read it from standard input
    #[arg(value_name = "ID|INVITE|-", allow_hyphen_values = true)]
    pub text: String,
    /// What you are called in it
    #[arg(long, value_name = "PLAYER")]
    pub name: Option<String>,
    /// Which engine, and how to print.
    #[command(flatten)]
    pub common: Verbose,
}

/// Let friends reach more.
#[derive(Debug, Args)]
pub struct ShareVerb {
    /// nothing, files or everything
    #[arg(value_name = "nothing|files|everything", hide_possible_values = true)]
    pub what: Share,
    /// Which engine, and how to print.
    #[command(flatten)]
    pub common: Verbose,
}

/// Carry a kind of announce.
#[derive(Debug, Args)]
pub struct CarryVerb {
    /// dhcp, mdns, ssdp, netbios or multicast
    #[arg(value_name = "KIND", hide_possible_values = true)]
    pub what: Kind,
    /// on or off
    #[arg(value_name = "on|off", hide_possible_values = true)]
    pub switch: Switch,
    /// Which engine, and how to print.
    #[command(flatten)]
    pub common: Verbose,
}

/// A kind of announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// DHCP.
    Dhcp,
    /// Multicast DNS and LLMNR.
    Mdns,
    /// SSDP and WS-Discovery.
    Ssdp,
    /// NetBIOS names and datagrams.
    Netbios,
    /// All multicast.
    Multicast,
}

/// Run the engine.
#[derive(Debug, Args)]
pub struct Run {
    /// Where to listen for the window and the other verbs
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Where keys, the party to go on with and logs are kept
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Settings to read instead of DIR/engine.toml or /etc/lanrage/engine.toml
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The network adapter's name [default: the first free of lanrage0, lanrage1, …]
    #[arg(long, value_name = "NAME")]
    pub tun: Option<String>,
    /// The UDP port; a fault if it is taken [default: 51820, else the last one, else a free one]
    #[arg(long, value_name = "N")]
    pub port: Option<NonZeroU16>,
    /// Where parties are created: on this computer, or on a lanrage-server [default: local]
    #[arg(long, value_name = "local|ws://…|wss://…")]
    pub control: Option<String>,
    /// Certificates (PEM) to trust besides the public ones, such as a self-hosted server's own
    #[arg(long, value_name = "FILE")]
    pub control_ca: Option<PathBuf>,
    /// What you are called [default: your user name]
    #[arg(long, value_name = "PLAYER")]
    pub name: Option<String>,
    /// A user who may use this engine besides root and who sits at the screen; may be repeated
    #[arg(long, value_name = "UID")]
    pub allow_uid: Vec<u32>,
    /// What to log: error, warn, info, debug, trace, or a filter such as info,lanrage_core=debug
    #[arg(long, value_name = "LEVEL", value_parser = crate::logging::level)]
    pub log: Option<String>,
    /// Neither look for parties on the local network nor announce one there
    #[arg(long)]
    pub no_mdns: bool,
    /// Make no holes through NATs: where only a relay leads to a friend, play by it
    #[arg(long)]
    pub no_punching: bool,
    /// STUN servers of your own, besides those of the control plane; none leaves the public ones unasked
    #[arg(long, value_name = "HOST:PORT,…|none", value_parser = StunSetting::from_str, overrides_with = "stun")]
    pub stun: Option<StunSetting>,
    /// Whether the router in front is asked to open ports for the party (UPnP, NAT-PMP, PCP) [default: on]
    #[arg(long, value_name = "on|off", hide_possible_values = true)]
    pub port_mapping: Option<Switch>,
    /// Whether multicast goes to the party rather than to the local network; off leaves Chromecast and AirPlay alone [default: on]
    #[arg(long, value_name = "on|off", hide_possible_values = true)]
    pub multicast_route: Option<Switch>,
    /// Whether what games broadcast on other network interfaces goes to the party too [default: on]
    #[arg(long, value_name = "on|off", hide_possible_values = true)]
    pub capture: Option<Switch>,
    /// A relay of your own, besides those of the control plane: turn:HOST:PORT, turn:HOST:PORT?transport=tcp or turns:HOST:PORT; may be repeated
    #[arg(long, value_name = "URI", value_parser = TurnUri::parse)]
    pub turn: Vec<TurnUri>,
    /// The user name for those relays
    #[arg(long, value_name = "NAME")]
    pub turn_user: Option<String>,
    /// A file that holds their password
    #[arg(long, value_name = "FILE")]
    pub turn_password_file: Option<PathBuf>,
    /// What peers may reach on this computer beside games, in new parties [default: nothing]
    #[arg(long, value_name = "nothing|files|everything", hide_possible_values = true)]
    pub share: Option<Share>,
    /// Carry what otherwise stays at home: dhcp, mdns, ssdp, netbios; may be repeated
    #[arg(long, value_name = "KIND", hide_possible_values = true)]
    pub carry: Vec<Carry>,
    /// Carry broadcasts only
    #[arg(long)]
    pub no_multicast: bool,
    /// Print why it can't run as JSON instead of sentences
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn verbs_read_as_the_contract_says() {
        let read = |line: &str| Arguments::try_parse_from(line.split(' '));
        for line in [
            "lanrage-engine run --socket /a --state-dir /b --config /c --tun t --port 7 --control local \
             --control-ca /d --name Anna --allow-uid 1 --allow-uid 2 --log debug --no-punching --json",
            "lanrage-engine create Friday --name Anna --json --socket /a",
            "lanrage-engine create --socket /a Friday --json",
            "lanrage-engine join - --json",
            "lanrage-engine join --socket /a - --json",
            "lanrage-engine leave --socket /a --json",
            "lanrage-engine status",
            "lanrage-engine watch --json",
            "lanrage-engine doctor --json --socket /a",
            "lanrage-engine run --port-mapping off",
            "lanrage-engine run --share files --carry mdns --carry ssdp --no-multicast",
            "lanrage-engine share everything --json",
            "lanrage-engine carry multicast off",
            "lanrage-engine run --port-mapping off --multicast-route off --capture on",
            "lanrage-engine restore --state-dir /b --json",
        ] {
            let words = line.split_whitespace();
            assert!(Arguments::try_parse_from(words).is_ok(), "{line}");
        }
        for line in [
            "lanrage-engine",
            "lanrage-engine create",
            "lanrage-engine run --port 0",
            "lanrage-engine run --port 70000",
            "lanrage-engine run --log a=b=c",
            "lanrage-engine run --allow-uid anna",
            "lanrage-engine run --port-mapping perhaps",
            "lanrage-engine share smb",
            "lanrage-engine carry mdns",
            "lanrage-engine run --carry multicast",
            "lanrage-engine dance",
        ] {
            assert_eq!(read(line).unwrap_err().exit_code(), 2, "{line}");
        }
        let Verb::Join(join) = read("lanrage-engine join - --json").unwrap().verb else {
            panic!("not a join");
        };
        assert_eq!((join.text.as_str(), join.common.json), ("-", true));
    }
}
