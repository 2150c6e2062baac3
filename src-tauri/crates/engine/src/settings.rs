//! The engine's settings: a TOML file, and the command line over it.

use crate::logging;
use crate::stun::StunSetting;
use lanrage_core::relays::RelayServer;
use lanrage_platform::process;
use lanrage_proto::lobby::{Rules, Sharing};
use lanrage_proto::name::NameError;
use lanrage_proto::server_url::ServerUrlError;
use lanrage_proto::settings::Secret;
use lanrage_proto::{Fault, FaultCode, PlayerName, ServerUrl, TurnUri, Why};
use serde::Deserialize;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Where the settings of the system's engine are, unless its state directory holds some.
pub const SYSTEM_FILE: &str = "/etc/lanrage/engine.toml";
/// The settings' name in a state directory.
pub const FILE_NAME: &str = "engine.toml";

/// A file that is larger is no settings file.
const LIMIT: u64 = 64 * 1024;

/// Where parties are created.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Control {
    /// On this computer.
    #[default]
    Local,
    /// On a server.
    Server(ServerUrl),
}

/// What can be set. Everything has a default; the command line wins over the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where parties are created, and whom joiners ask first: `"local"`, or a `wss://` or `ws://` address.
    pub control: Option<Control>,
    /// A PEM file of certificates to trust besides the public ones.
    pub control_ca: Option<PathBuf>,
    /// The UDP port. One that is set and taken is a fault.
    pub port: Option<NonZeroU16>,
    /// The adapter's name.
    pub tun: Option<String>,
    /// What the player is called.
    pub name: Option<PlayerName>,
    /// Users who may use the engine besides root and who sits at the screen.
    #[serde(default)]
    pub allow_uid: Vec<u32>,
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, or a tracing filter.
    #[serde(default, deserialize_with = "log_level")]
    pub log: Option<String>,
    /// Whether parties are looked for and announced on the local network; so unless switched off.
    pub mdns: Option<bool>,
    /// STUN servers of your own, asked besides those of a control plane: `"host:port"` or a list; `"none"` leaves the
    /// public ones unasked.
    pub stun: Option<StunSetting>,
    /// Relays of your own: `turn:` and `turns:` addresses (RFC 7065), used before those of a control plane.
    #[serde(default)]
    pub turn: Vec<TurnUri>,
    /// The user name for them.
    pub turn_user: Option<String>,
    /// A file that holds their password.
    pub turn_password_file: Option<PathBuf>,
    /// The password itself, where a caller set it; it wins over the file's.
    #[serde(skip)]
    pub turn_password: Option<Secret>,
    /// Whether holes are made through NATs where nothing else leads to a friend but a relay; so unless switched off.
    pub punching: Option<bool>,
    /// Whether the router in front is asked to lead ports here (PCP, NAT-PMP, UPnP); so unless `"off"`.
    pub port_mapping: Option<Switch>,
    /// What peers may reach on this computer beside games: `"nothing"`, `"files"` (and printers), `"everything"` (remote
    /// control too). Said for one party it holds for that one.
    pub share: Option<Share>,
    /// What is carried that otherwise stays at home: `"dhcp"`, `"mdns"`, `"ssdp"`, `"netbios"`.
    #[serde(default)]
    pub carry: Vec<Carry>,
    /// Whether multicast is carried; so unless switched off.
    pub multicast: Option<bool>,
    /// Whether multicast that names no interface goes to the party rather than to the local network; so unless `"off"`,
    /// which leaves casting to a television as it is. Programs' multicast reaches the party either way while
    /// `capture` is on.
    pub multicast_route: Option<Switch>,
    /// Whether what programs broadcast on this computer's other interfaces goes to the party too; so unless `"off"`.
    pub capture: Option<Switch>,
    /// Whether the thread that moves packets asks for real-time priority; so unless switched off.
    pub realtime: Option<bool>,
}

/// On or off, as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Switch {
    /// It is done.
    On,
    /// It is not.
    Off,
}

/// What peers may reach on this computer, as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    /// Games and their kind alone.
    Nothing,
    /// Shared files and printers too.
    Files,
    /// SSH, remote desktop and the like too.
    Everything,
}

impl From<Share> for Sharing {
    fn from(share: Share) -> Self {
        match share {
            Share::Nothing => Sharing::Nothing,
            Share::Files => Sharing::Files,
            Share::Everything => Sharing::Everything,
        }
    }
}

/// What stays at home unless it is to be carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Carry {
    /// DHCP.
    Dhcp,
    /// Multicast DNS and LLMNR.
    Mdns,
    /// SSDP and WS-Discovery.
    Ssdp,
    /// NetBIOS names and datagrams.
    Netbios,
}

impl Settings {
    /// Reads the file given, else the one in the state directory, else the system's; none of them is no error
    /// unless it was given.
    ///
    /// # Errors
    /// `settings_unreadable` with the file, the line and the reason.
    pub fn read(given: Option<&Path>, state_dir: &Path) -> Result<Self, Fault> {
        if let Some(path) = given {
            return Self::read_file(path)?.ok_or_else(|| unreadable(path, None, "there is no such file"));
        }
        for path in [&state_dir.join(FILE_NAME), Path::new(SYSTEM_FILE)] {
            if let Some(settings) = Self::read_file(path)? {
                return Ok(settings);
            }
        }
        Ok(Self::default())
    }

    fn read_file(path: &Path) -> Result<Option<Self>, Fault> {
        let metadata = match std::fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(path, None, error)),
        };
        if !metadata.is_file() || metadata.len() > LIMIT {
            return Err(unreadable(path, None, "it is no settings file"));
        }
        let bytes = std::fs::read(path).map_err(|error| unreadable(path, None, error))?;
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let line = line_of(&bytes, error.valid_up_to());
            unreadable(path, Some(line), "it is not UTF-8 text")
        })?;
        Self::parse(text)
            .map(Some)
            .map_err(|(line, reason)| unreadable(path, Some(line), reason))
    }

    /// Reads settings; a mistake comes with its line, from 1.
    fn parse(text: &str) -> Result<Self, (usize, String)> {
        toml::from_str(text).map_err(|error| {
            let line = line_of(text.as_bytes(), error.span().map_or(0, |span| span.start));
            (line, error.message().trim().replace('\n', " "))
        })
    }

    /// These settings where `over` has none of its own.
    #[must_use]
    pub fn under(mut self, over: Settings) -> Settings {
        self.allow_uid.extend(over.allow_uid);
        Settings {
            control: over.control.or(self.control),
            control_ca: over.control_ca.or(self.control_ca),
            port: over.port.or(self.port),
            tun: over.tun.or(self.tun),
            name: over.name.or(self.name),
            allow_uid: self.allow_uid,
            log: over.log.or(self.log),
            mdns: over.mdns.or(self.mdns),
            stun: over.stun.or(self.stun),
            turn: if over.turn.is_empty() {
                self.turn
            } else {
                over.turn
            },
            turn_user: over.turn_user.or(self.turn_user),
            turn_password_file: over.turn_password_file.or(self.turn_password_file),
            turn_password: over.turn_password.or(self.turn_password),
            punching: over.punching.or(self.punching),
            port_mapping: over.port_mapping.or(self.port_mapping),
            share: over.share.or(self.share),
            carry: if over.carry.is_empty() {
                self.carry
            } else {
                over.carry
            },
            multicast: over.multicast.or(self.multicast),
            multicast_route: over.multicast_route.or(self.multicast_route),
            capture: over.capture.or(self.capture),
            realtime: over.realtime.or(self.realtime),
        }
    }

    /// What peers may reach here and which announces are carried, in new parties.
    pub fn rules(&self) -> Rules {
        let carried = |kind| self.carry.contains(&kind);
        Rules {
            share: self.share.map(Sharing::from).unwrap_or_default(),
            multicast: self.multicast.unwrap_or(true),
            dhcp: carried(Carry::Dhcp),
            mdns: carried(Carry::Mdns),
            ssdp: carried(Carry::Ssdp),
            netbios: carried(Carry::Netbios),
        }
    }

    /// The server, when there is one.
    pub fn server(&self) -> Option<ServerUrl> {
        match &self.control {
            Some(Control::Server(url)) => Some(url.clone()),
            Some(Control::Local) | None => None,
        }
    }

    /// The relays of one's own, with their password read.
    ///
    /// # Errors
    /// `settings_unreadable` when the password file can't be read.
    pub fn relays(&self) -> Result<Vec<RelayServer>, Fault> {
        let password = match (&self.turn_password, &self.turn_password_file) {
            (Some(password), _) => password.0.clone(),
            (None, Some(path)) => {
                std::fs::read_to_string(path).map_err(|error| unreadable(path, None, error))?
            }
            (None, None) => String::new(),
        };
        let password = Zeroizing::new(password);
        let user = self.turn_user.clone().unwrap_or_default();
        let way = |uri: &TurnUri| {
            (
                uri.clone(),
                user.clone(),
                Zeroizing::new(password.trim_end().to_owned()),
            )
        };
        Ok(RelayServer::grouped(self.turn.iter().map(way)))
    }

    /// The player's name as set, else the user's, else the computer's, else `Player`.
    ///
    /// # Errors
    /// None that can happen: `Player` is a good name.
    pub fn player(&self) -> Result<PlayerName, NameError> {
        let usable = |name: Option<String>| PlayerName::parse(&name?).ok();
        self.name
            .clone()
            .or_else(|| usable(process::current_user_name()))
            .or_else(|| usable(process::host_name()))
            .map_or_else(|| PlayerName::parse("Player"), Ok)
    }
}

impl Control {
    /// `local`, or a control plane's address.
    ///
    /// # Errors
    /// `control_address` with the reason.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        Self::read(text)
            .map_err(|error| Fault::new(FaultCode::ControlAddress).with("reason", Why::from(error)))
    }

    fn read(text: &str) -> Result<Self, ServerUrlError> {
        if text.trim().eq_ignore_ascii_case("local") {
            return Ok(Self::Local);
        }
        ServerUrl::parse(text).map(Self::Server)
    }
}

impl<'de> Deserialize<'de> for Control {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::read(&text).map_err(serde::de::Error::custom)
    }
}

fn log_level<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    logging::level(&text).map(Some).map_err(serde::de::Error::custom)
}

/// The line, from 1, in which the byte `at` stands.
fn line_of(text: &[u8], at: usize) -> usize {
    1 + text.iter().take(at).filter(|byte| **byte == b'\n').count()
}

fn unreadable(path: &Path, line: Option<usize>, reason: impl std::fmt::Display) -> Fault {
    let fault = Fault::new(FaultCode::SettingsUnreadable).with("path", path.display());
    match line {
        Some(line) => fault
            .with("line", line)
            .with("reason", format!("line {line}: {reason}")),
        None => fault.with("reason", reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_read() {
        let settings = Settings::parse(
            "control = \"wss://party.example.org\"\nport = 4000\nport_mapping = \"off\"\nname = \"Zoë\"\nallow_uid = [1000]\nmdns = false\n\
             punching = false\n",
        )
        .unwrap();
        assert_eq!(settings.server().unwrap().authority(), "party.example.org:443");
        assert_eq!(settings.port, NonZeroU16::new(4000));
        assert_eq!(settings.port_mapping, Some(Switch::Off));
        assert_eq!(settings.player().unwrap().as_str(), "Zoë");
        assert_eq!((settings.allow_uid, settings.mdns), (vec![1000], Some(false)));
        assert_eq!(settings.punching, Some(false));
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, line, part) in [
            ("port = 4000\ncolour = 1\n", 2, "colour"),
            ("\n\ncontrol = \"http://x\"\n", 3, "wss://"),
            ("control = \"ws://8.8.8.8\"", 1, "private"),
            ("name = \"\"", 1, "empty"),
            ("port = 0", 1, ""),
            ("a = [", 1, ""),
            ("port = 1\nlog = \"a=b=c\"", 2, "log level"),
        ] {
            let (at, reason) = Settings::parse(text).unwrap_err();
            assert!(
                at == line && reason.contains(part),
                "{text:?}: line {at}, {reason}"
            );
        }
    }

    #[test]
    fn the_fault_names_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        std::fs::write(&path, "port = 1\nport = \"x\"\n").unwrap();
        let fault = Settings::read(None, dir.path()).unwrap_err();
        assert_eq!(fault.code, FaultCode::SettingsUnreadable);
        assert_eq!(fault.details["line"], "2");
        assert_eq!(fault.details["path"], path.display().to_string());
        let missing = Settings::read(Some(&dir.path().join("none")), dir.path()).unwrap_err();
        assert_eq!(missing.code, FaultCode::SettingsUnreadable);
    }

    #[test]
    fn nothing_is_shared_or_carried_unless_set() {
        assert_eq!(Settings::default().rules(), Rules::default());
        let set =
            Settings::parse("share = \"files\"\ncarry = [\"mdns\", \"netbios\"]\nmulticast = false").unwrap();
        let wanted = Rules {
            share: Sharing::Files,
            multicast: false,
            mdns: true,
            netbios: true,
            ..Rules::default()
        };
        assert_eq!(set.rules(), wanted);
        assert!(Settings::parse("share = \"smb\"").is_err() && Settings::parse("carry = [\"smb\"]").is_err());
    }

    #[test]
    fn the_command_line_wins_and_users_add_up() {
        let file = Settings::parse("port = 1000\nlog = \"debug\"\nallow_uid = [1]").unwrap();
        let line = Settings {
            port: NonZeroU16::new(2000),
            allow_uid: vec![2],
            ..Settings::default()
        };
        let both = file.under(line);
        assert_eq!(both.port, NonZeroU16::new(2000));
        assert_eq!((both.log.as_deref(), both.allow_uid), (Some("debug"), vec![1, 2]));
    }
}
