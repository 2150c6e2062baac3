//! Two members at a game whose networks change in the middle of it: how long either hears nothing of the other, with a
//! steady stream over TCP beside it that must live through all.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{
    Engine, Internet, Lab, Line, Nat, PublicServer, Site, SiteOptions, Stream, Ticker, echo, eventually,
};

/// What a game gets over after a change of network.
const MOVED: Duration = Duration::from_secs(3);

/// What it gets over where nothing but a mapping or an engine was lost.
const REBOUND: Duration = Duration::from_secs(2);

/// How long a line is cut, and how long an interface is away.
const CUT: Duration = Duration::from_secs(10);
const AWAY: Duration = Duration::from_secs(4);

/// From the join to knowing the NATs and to the way that is kept.
const SETTLED: Duration = Duration::from_secs(10);

/// What happens to one of the two (0 or 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The router forgets all mappings.
    Forgets(usize),
    /// The home gets another public address.
    Moves(usize),
    /// The home has no line for 10 s.
    Cut(usize),
    /// The computer has no interface for 4 s.
    Unplugged(usize),
    /// The engine is killed and started again.
    Killed(usize),
}

impl Trouble {
    /// All of them, one after the other.
    pub const ALL: [Trouble; 8] = [
        Trouble::Forgets(0),
        Trouble::Moves(0),
        Trouble::Forgets(1),
        Trouble::Moves(1),
        Trouble::Cut(0),
        Trouble::Unplugged(1),
        Trouble::Killed(0),
        Trouble::Killed(1),
    ];

    /// What happened, for a reader.
    pub fn name(self) -> &'static str {
        match self {
            Trouble::Forgets(_) => "the NAT forgets",
            Trouble::Moves(_) => "another public address",
            Trouble::Cut(_) => "the line was cut for 10 s",
            Trouble::Unplugged(_) => "the interface was away",
            Trouble::Killed(_) => "the engine was killed",
        }
    }

    /// How long a game may be silent because of it; where something was away, from when it is back.
    pub fn deadline(self) -> Duration {
        match self {
            Trouble::Forgets(_) | Trouble::Killed(_) => REBOUND,
            Trouble::Moves(_) | Trouble::Cut(_) | Trouble::Unplugged(_) => MOVED,
        }
    }
}

/// Two members at a game, with a stream beside it.
pub struct Roaming {
    sites: Vec<Site>,
    engines: Vec<Engine>,
    _server: PublicServer,
    tickers: Vec<Ticker>,
    stream: Stream,
    way: String,
    since: Instant,
}

impl Roaming {
    /// Both are in a party and reach each other by this way ("direct", "relayed"); `flags` are for their engines.
    ///
    /// # Errors
    /// When that did not come to be.
    pub fn begin(lab: &Lab, nats: [Nat; 2], line: Line, way: &str, flags: &[&str]) -> Result<Self> {
        let internet = Internet::new(lab)?;
        let server = PublicServer::start(&internet, &[])?;
        let options = nats.map(|nat| SiteOptions {
            line,
            ..SiteOptions::new(nat)
        });
        let sites = internet.sites(&options)?;
        let engines: Vec<Engine> = ["Anna", "Tom"]
            .iter()
            .zip(&sites)
            .map(|(player, site)| server.engine(site.host()?, player, flags))
            .collect::<Result<_>>()?;
        let created = engines[0].cli(&["create", "Friday night"])?;
        engines[1].cli(&["join", created["id"].as_str().context("no ID")?])?;
        for engine in &engines {
            engine.wait_all_up(1, SETTLED)?;
        }
        let addresses: Vec<Ipv4Addr> = engines.iter().map(Engine::address).collect::<Result<_>>()?;
        let hosts: Vec<_> = engines.iter().map(|engine| engine.host().clone()).collect();
        let mut tickers = Vec::new();
        for (from, to) in [(0, 1), (1, 0)] {
            tickers.push(Ticker::start(&hosts[from], echo(&hosts[to], addresses[to])?)?);
        }
        let mut game = Self {
            stream: Stream::start(&hosts[0], &hosts[1], addresses[1])?,
            sites,
            engines,
            _server: server,
            tickers,
            way: way.to_owned(),
            since: Instant::now(),
        };
        game.settle()?;
        Ok(game)
    }

    /// From here on silence is measured.
    fn mark(&mut self) {
        self.since = Instant::now();
    }

    /// Lets something last, as nobody is told when it is over.
    fn wait(&self, lasting: Duration) -> Result<()> {
        let until = Instant::now() + lasting;
        eventually("it has lasted long enough", lasting, || {
            ensure!(self.stream.goes_on(), "the stream broke");
            Ok(if Instant::now() >= until {
                Ok(())
            } else {
                Err("not yet".to_owned())
            })
        })
        .map(drop)
    }

    /// Until both know each other's way and their own NATs again, and all is quiet.
    fn settle(&mut self) -> Result<()> {
        let way = self.way.clone();
        for engine in &self.engines {
            engine.wait_until("settled", SETTLED, |status| {
                let on_way = status
                    .members()?
                    .iter()
                    .all(|member| member.own || member.path.as_deref() == Some(&way));
                Ok(status.all_up(1)? && on_way)
            })?;
        }
        Ok(())
    }

    /// Lets something happen in mid-game; returns how long either heard nothing, once both are on their way again.
    ///
    /// # Errors
    /// When the stream broke, or they did not get over it within five times the deadline.
    pub fn through(&mut self, trouble: Trouble) -> Result<Duration> {
        let (what, deadline) = (trouble.name(), trouble.deadline());
        self.mark();
        self.happen(trouble)?;
        let started = Instant::now();
        // Heard again, and then for long enough that a second silence would show.
        eventually(&format!("{what}: both hear each other"), deadline, || {
            ensure!(self.stream.goes_on(), "{what}: the stream broke");
            let heard = self.tickers.iter().all(|ticker| ticker.heard_since(started));
            Ok(if heard { Ok(()) } else { Err("silence".to_owned()) })
        })?;
        self.wait(MOVED)?;
        let silence = self
            .tickers
            .iter()
            .map(|ticker| ticker.longest_silence(self.since));
        let silence = silence.max().unwrap_or_default();
        self.settle()?;
        Ok(silence)
    }

    fn happen(&mut self, trouble: Trouble) -> Result<()> {
        match trouble {
            Trouble::Forgets(who) => self.sites[who].forget(),
            Trouble::Moves(who) => self.sites[who].change_address(),
            Trouble::Cut(who) => {
                self.sites[who].set_link(false)?;
                self.wait(CUT)?;
                self.sites[who].set_link(true)?;
                self.mark();
                Ok(())
            }
            Trouble::Unplugged(who) => {
                let host = self.engines[who].host().clone();
                self.sites[who].set_interface(&host, false)?;
                self.wait(AWAY)?;
                self.sites[who].set_interface(&host, true)?;
                self.mark();
                Ok(())
            }
            Trouble::Killed(who) => {
                self.engines[who].kill9()?;
                self.engines[who].start_again().map(drop)
            }
        }
    }

    /// The game is over; prints what arrived.
    ///
    /// # Errors
    /// When the stream lost or changed something.
    pub fn end(self) -> Result<()> {
        for ticker in self.tickers {
            let (sent, answered) = ticker.finish();
            println!("{answered} of {sent} datagrams were answered");
        }
        let bytes = self.stream.finish()?;
        println!("{} kB by TCP, unharmed", bytes / 1000);
        Ok(())
    }
}
