//! Profiles of games: what tells that one runs, and by which port friends join it.
//!
//! A profile is a small TOML file. Those in `profiles/` are part of the program; a player's own lie as `*.toml` in the
//! folder `profiles` of the state directory and win over one of the same file name.

use lanrage_platform::programs::{Listening, Program, Transport};
use lanrage_proto::games::Game;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;

macro_rules! built_in {
    ($($name:literal,)+) => {
        /// File names and texts of the profiles that come with the program.
        const BUILT_IN: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../../profiles/", $name, ".toml"))),)+
        ];
    };
}

built_in! {
    "0ad",
    "armagetron",
    "assaultcube",
    "battlefield-1942",
    "bzflag",
    "call-of-duty",
    "chocolate-doom",
    "cnc-generals",
    "counter-strike",
    "diablo-2",
    "factorio",
    "freeciv",
    "garrys-mod",
    "hedgewars",
    "jedi-academy",
    "left-4-dead-2",
    "luanti",
    "mindustry",
    "minecraft",
    "minecraft-bedrock",
    "openarena",
    "openra",
    "openttd",
    "palworld",
    "project-zomboid",
    "quake",
    "quake-2",
    "quake-3",
    "red-eclipse",
    "sauerbraten",
    "seven-days-to-die",
    "starcraft",
    "stardew-valley",
    "supertuxkart",
    "teeworlds",
    "terraria",
    "tremulous",
    "unreal-tournament",
    "urban-terror",
    "valheim",
    "warcraft-3",
    "warzone-2100",
    "wesnoth",
    "widelands",
    "wolfenstein-et",
    "xonotic",
    "zandronum",
}

/// A file that is larger is no profile.
const LIMIT: u64 = 16 * 1024;
/// Profiles of one's own that are read at most.
const MOST: usize = 200;

/// What is known of a game.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    /// What players call it.
    name: String,
    /// Its programs' file names, in lower case.
    processes: Vec<String>,
    /// Where a program of that name runs many things: words of which one occurs in this game's command line, in lower
    /// case.
    #[serde(default)]
    arguments: Vec<String>,
    /// Ports by which it waits for players: the first that is open is the one to copy.
    #[serde(default)]
    udp: Vec<Ports>,
    #[serde(default)]
    tcp: Vec<Ports>,
    keepalive: Option<u16>,
    notes: Option<String>,
}

/// A port, or the first and the last of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
struct Ports(u16, u16);

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    One(u16),
    Several(String),
}

impl TryFrom<Written> for Ports {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let (first, last) = match &written {
            Written::One(port) => (*port, *port),
            Written::Several(text) => text
                .split_once('-')
                .and_then(|(first, last)| Some((first.trim().parse().ok()?, last.trim().parse().ok()?)))
                .ok_or_else(|| format!("{text} is no range of ports; one looks like 27960-27963"))?,
        };
        if first == 0 || last < first {
            return Err(format!("{first}-{last} is no range of ports"));
        }
        Ok(Self(first, last))
    }
}

/// All profiles.
#[derive(Debug, Clone)]
pub(crate) struct Profiles(Vec<Profile>);

impl Profiles {
    /// Those of the program, and those in `folder`. One that can't be read is passed over and said in the log.
    pub(crate) fn read(folder: &Path) -> Self {
        let mut profiles = BTreeMap::new();
        let texts = BUILT_IN
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .chain(own(folder));
        for (name, text) in texts {
            match toml::from_str::<Profile>(&text) {
                Ok(profile) => {
                    profiles.insert(name, profile);
                }
                Err(error) => tracing::warn!(name, error = error.message(), "a game's profile can't be read"),
            }
        }
        // The more a profile asks for, the more it says when it fits.
        let mut profiles: Vec<Profile> = profiles.into_values().collect();
        profiles.sort_by_key(|profile| profile.arguments.is_empty());
        Self(profiles)
    }

    /// Whether some profile may be about this program.
    pub(crate) fn concern(&self, program: &Program) -> bool {
        self.0.iter().any(|profile| profile.fits(program))
    }

    /// The games among what runs, seen by friends at `address`.
    pub(crate) fn games(&self, running: &[Listening], address: Ipv4Addr) -> Vec<Game> {
        let mut games = BTreeMap::new();
        for listening in running {
            let Some(profile) = self.0.iter().find(|profile| profile.fits(&listening.program)) else {
                continue;
            };
            let game = profile.game(listening, address);
            // One game is often several processes: the one that friends can join says most.
            let known: Option<&Game> = games.get(&game.name);
            if known.is_none_or(|known| known.address.is_none()) {
                games.insert(game.name.clone(), game);
            }
        }
        games.into_values().collect()
    }
}

impl Profile {
    fn fits(&self, program: &Program) -> bool {
        let named = self.processes.iter().any(|name| program.names.contains(name));
        let said = || self.arguments.iter().any(|word| program.command.contains(word));
        named && (self.arguments.is_empty() || said())
    }

    fn game(&self, listening: &Listening, address: Ipv4Addr) -> Game {
        let open = |transport, ports: &[Ports]| {
            let (transport, open): (Transport, &BTreeSet<_>) = (transport, &listening.ports);
            ports.iter().find_map(|Ports(first, last)| {
                let range = (transport, *first)..=(transport, *last);
                open.range(range).next().map(|(_, port)| *port)
            })
        };
        let port = open(Transport::Udp, &self.udp).or_else(|| open(Transport::Tcp, &self.tcp));
        let process = listening
            .program
            .names
            .iter()
            .find(|name| self.processes.contains(name));
        Game {
            name: self.name.clone(),
            address: port.map(|port| format!("{address}:{port}")),
            process: process.cloned().unwrap_or_default(),
            keepalive: self.keepalive,
            notes: self.notes.clone(),
        }
    }
}

/// File names, without their end, and texts of the profiles in a folder; it need not exist.
fn own(folder: &Path) -> Vec<(String, String)> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut texts = Vec::new();
    for entry in entries.flatten().take(MOST) {
        let path = entry.path();
        let name = path.file_stem().and_then(|name| name.to_str());
        let (Some(name), true) = (name, path.extension().is_some_and(|end| end == "toml")) else {
            continue;
        };
        match entry.metadata() {
            Ok(metadata) if metadata.is_file() && metadata.len() <= LIMIT => {}
            _ => {
                tracing::warn!(path = %path.display(), "this is no profile of a game");
                continue;
            }
        }
        match std::fs::read_to_string(&path) {
            Ok(text) => texts.push((name.to_owned(), text)),
            Err(error) => tracing::warn!(%error, path = %path.display(), "a game's profile can't be read"),
        }
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 1);

    fn built_in() -> Profiles {
        Profiles::read(Path::new("/no/such/folder"))
    }

    fn running(name: &str, command: &str, ports: &[(Transport, u16)]) -> Listening {
        Listening {
            program: Program {
                id: 7,
                names: [name.to_owned()].into(),
                command: command.to_owned(),
            },
            ports: ports.iter().copied().collect(),
        }
    }

    #[test]
    fn every_profile_in_the_folder_is_built_in_and_says_how_it_is_known() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles");
        let mut files: Vec<String> = own(&folder).into_iter().map(|(name, _)| name).collect();
        files.sort();
        let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
        assert_eq!(files, names);
        for (name, text) in BUILT_IN {
            let profile: Profile = toml::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(
                !profile.name.is_empty() && !profile.processes.is_empty(),
                "{name}"
            );
            assert!(!(profile.udp.is_empty() && profile.tcp.is_empty()), "{name}");
            for word in profile.processes.iter().chain(&profile.arguments) {
                assert_eq!(*word, word.to_lowercase(), "{name}");
            }
            if let Some(notes) = profile.notes {
                assert_ne!(crate::cli::text::notes(&notes), notes, "{name}: has no words");
            }
        }
    }

    #[test]
    fn a_game_is_known_by_its_program_and_copied_by_its_port() {
        let found = built_in().games(
            &[running(
                "openttd",
                "openttd -d",
                &[(Transport::Udp, 3979), (Transport::Tcp, 3979)],
            )],
            HERE,
        );
        let [game] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!(
            (game.name.as_str(), game.process.as_str()),
            ("OpenTTD", "openttd")
        );
        assert_eq!(game.address.as_deref(), Some("10.66.0.1:3979"));
        // Its window without a server.
        let found = built_in().games(&[running("openttd", "openttd", &[(Transport::Udp, 40000)])], HERE);
        assert_eq!(found[0].address, None);
    }

    #[test]
    fn programs_that_run_several_games_are_told_apart_by_their_command_line() {
        let ports = [(Transport::Udp, 27961)];
        let name = |command: &str| {
            built_in().games(&[running("ioq3ded", command, &ports)], HERE)[0]
                .name
                .clone()
        };
        assert_eq!(name("ioq3ded +set com_basegame baseoa"), "OpenArena");
        assert_eq!(name("ioq3ded"), "Quake III Arena");
        assert!(
            built_in()
                .games(&[running("java", "java -jar editor.jar", &ports)], HERE)
                .is_empty()
        );
    }

    #[test]
    fn of_several_processes_of_a_game_the_one_that_friends_can_join_counts() {
        let found = built_in().games(
            &[
                running("terraria.exe", "terraria.exe", &[]),
                running(
                    "terrariaserver.exe",
                    "terrariaserver.exe",
                    &[(Transport::Tcp, 7777)],
                ),
                running("terraria.exe", "terraria.exe", &[]),
            ],
            HERE,
        );
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].address.as_deref(), Some("10.66.0.1:7777"));
    }

    #[test]
    fn own_profiles_win_and_broken_ones_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write(
            "openttd.toml",
            "name = \"Trains\"\nprocesses = [\"openttd\"]\nudp = [\"4000-4001\"]\n",
        );
        write("broken.toml", "name = ");
        write(
            "range.toml",
            "name = \"x\"\nprocesses = [\"y\"]\nudp = [\"9-1\"]\n",
        );
        write("notes.txt", "not a profile");
        let profiles = Profiles::read(folder.path());
        assert_eq!(profiles.0.len(), BUILT_IN.len());
        let found = profiles.games(&[running("openttd", "openttd", &[(Transport::Udp, 4001)])], HERE);
        assert_eq!(found[0].name, "Trains");
        assert_eq!(found[0].address.as_deref(), Some("10.66.0.1:4001"));
    }
}
