//! A party of real engines: the start of most lab tests.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::engine::{Engine, EngineOptions};
use super::net::Lab;
use super::server::Server;
use super::traffic::ping;
use super::wait::felt;

/// Players' names, in order of their hosts; the seventh and later are numbered.
const PLAYERS: [&str; 6] = ["Anna", "Tom", "Zoë", "Ben", "Mia", "Jon"];

/// Where a party lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// In its founder's engine; joiners find it by mDNS or the invite.
    Local,
    /// On a `lanrage-server` in a host of its own, known to every engine.
    Server,
}

/// Engines on one switch that are, or were, in one party.
#[derive(Debug)]
pub struct Party {
    /// The founder first, then the joiners in the order of their joining.
    pub engines: Vec<Engine>,
    /// With [`Control::Server`] only.
    pub server: Option<Server>,
    /// The party ID.
    pub id: String,
    /// The invite.
    pub invite: String,
}

/// Runs a lab test and returns what it found. When it fails, the logs of all its programs are printed.
///
/// # Errors
/// The test's.
pub fn scenario<T>(name: &str, test: impl FnOnce(&Lab) -> Result<T>) -> Result<T> {
    let lab = Lab::new(name)?;
    let started = Instant::now();
    let result = test(&lab);
    if result.is_err() {
        lab.mark_failed();
    }
    println!("{name}: {:.1} s in all", started.elapsed().as_secs_f64());
    result
}

impl Party {
    /// Starts `members` engines, each in a host of its own, and no party yet.
    ///
    /// # Errors
    /// When a host, the server or an engine does not start.
    pub fn gather(lab: &Lab, members: usize, control: Control) -> Result<Self> {
        let hosts = lab.hosts(members)?;
        let server = match control {
            Control::Local => None,
            Control::Server => Some(Server::start(&lab.host()?)?),
        };
        let address = server.as_ref().map_or("local".to_owned(), Server::url);
        let engines = hosts
            .iter()
            .enumerate()
            .map(|(index, host)| {
                let player = PLAYERS
                    .get(index)
                    .map_or(format!("Player {index}"), |name| (*name).to_owned());
                Engine::start(
                    host,
                    EngineOptions {
                        player,
                        control: address.clone(),
                    },
                )
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            engines,
            server,
            id: String::new(),
            invite: String::new(),
        })
    }

    /// [`Party::gather`], then the first engine creates a party and the others join in turn: with the ID
    /// alone, with the invite, with a chat line that contains the ID, and so on. Returns when every member
    /// is up for every other.
    ///
    /// # Errors
    /// When a step fails or takes too long.
    pub fn start(lab: &Lab, members: usize, control: Control) -> Result<Self> {
        let mut party = Self::gather(lab, members, control)?;
        party.create()?;
        for index in 1..members {
            party.join(index)?;
        }
        party.wait_all_up(felt::CONNECT)?;
        Ok(party)
    }

    /// The first engine creates the party. Returns how long the command took.
    ///
    /// # Errors
    /// When it is refused, or the answer is not what the contract says.
    pub fn create(&mut self) -> Result<Duration> {
        let started = Instant::now();
        let created = self.founder()?.cli(&["create", "Friday night"])?;
        let took = started.elapsed();
        println!(
            "create: {:.2} s, limit felt {:?}",
            took.as_secs_f64(),
            felt::CREATE
        );
        ensure!(created["party"] == "Friday night", "create printed {created}");
        ensure!(
            created["address"] == "10.66.0.1",
            "the founder is {}",
            created["address"]
        );
        let text = |key: &str| {
            created[key]
                .as_str()
                .map(str::to_owned)
                .with_context(|| format!("no {key}"))
        };
        self.id = text("id")?;
        self.invite = text("invite")?;
        Ok(took)
    }

    /// Lets an engine join, each by another of the three ways. Returns how long the command took.
    ///
    /// # Errors
    /// When it is refused, or the answer is not what the contract says.
    pub fn join(&self, index: usize) -> Result<Duration> {
        let engine = self.engine(index)?;
        let chat = format!("Tom: hey, come over! {} see you at 8 ;-)\n", self.id);
        let started = Instant::now();
        let joined = match index % 3 {
            1 => engine.cli(&["join", &self.id])?,
            2 => engine.cli(&["join", &self.invite])?,
            _ => engine.cli_with_input(&["join", "-"], &chat)?,
        };
        let took = started.elapsed();
        println!(
            "join {index}: {:.2} s, limit felt {:?}",
            took.as_secs_f64(),
            felt::JOIN
        );
        ensure!(
            joined["party"] == "Friday night" && joined["id"] == self.id,
            "join printed {joined}"
        );
        let expected = Ipv4Addr::new(10, 66, 0, u8::try_from(index + 1)?);
        ensure!(
            joined["address"] == expected.to_string(),
            "member {index} is {}",
            joined["address"]
        );
        Ok(took)
    }

    /// Waits until every engine that runs has every other one up.
    ///
    /// # Errors
    /// When one does not in time.
    pub fn wait_all_up(&self, felt: Duration) -> Result<()> {
        let running: Vec<&Engine> = self
            .engines
            .iter()
            .filter(|engine| engine.id().is_some())
            .collect();
        for engine in &running {
            engine.wait_all_up(running.len() - 1, felt)?;
        }
        Ok(())
    }

    /// Pings from every running engine's host to every other's virtual address; each must be answered.
    ///
    /// # Errors
    /// When a ping is lost.
    pub fn ping_all_pairs(&self) -> Result<()> {
        let running: Vec<&Engine> = self
            .engines
            .iter()
            .filter(|engine| engine.id().is_some())
            .collect();
        for from in &running {
            for to in &running {
                if from.host().index() != to.host().index() {
                    ping(from.host(), IpAddr::V4(to.address()?), 3)?;
                }
            }
        }
        Ok(())
    }

    /// The engine that creates the party.
    ///
    /// # Errors
    /// In a party without engines.
    pub fn founder(&self) -> Result<&Engine> {
        self.engine(0)
    }

    /// An engine by its order.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn engine(&self, index: usize) -> Result<&Engine> {
        self.engines
            .get(index)
            .with_context(|| format!("no engine {index}"))
    }

    /// An engine by its order, to stop or start it.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn engine_mut(&mut self, index: usize) -> Result<&mut Engine> {
        self.engines
            .get_mut(index)
            .with_context(|| format!("no engine {index}"))
    }
}
