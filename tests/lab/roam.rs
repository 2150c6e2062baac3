//! Members far apart whose networks change in mid-game: a steady stream over TCP goes on through all of it, and how long
//! a game hears nothing is printed. Deadlines are those of the simulation; here they are held against what a busy machine
//! needs.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::{
    Engine, Internet, Lab, Line, Nat, PATIENCE, PublicServer, Site, SiteOptions, Stream, Ticker, echo,
    eventually, scenario,
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

/// A line as somebody far away has it.
const FAR: Line = Line {
    delay: Duration::from_millis(20),
    jitter: Duration::from_millis(2),
    loss: 0.01,
};

#[test]
fn a_direct_pair_goes_on_playing() -> Result<()> {
    roam(
        "roaming, direct",
        [Nat::PortRestrictedCone; 2],
        Line::default(),
        "direct",
    )
}

#[test]
fn a_direct_pair_on_bad_lines_goes_on_playing() -> Result<()> {
    roam(
        "roaming, direct, bad lines",
        [Nat::PortRestrictedCone; 2],
        FAR,
        "direct",
    )
}

#[test]
fn a_pair_of_which_one_is_open_goes_on_playing() -> Result<()> {
    roam(
        "roaming, open",
        [Nat::Open, Nat::PortRestrictedCone],
        FAR,
        "direct",
    )
}

#[test]
fn a_relayed_pair_goes_on_playing() -> Result<()> {
    roam(
        "roaming, relayed",
        [Nat::SymmetricRandom; 2],
        Line::default(),
        "relayed",
    )
}

#[test]
fn a_relayed_pair_on_bad_lines_goes_on_playing() -> Result<()> {
    roam(
        "roaming, relayed, bad lines",
        [Nat::SymmetricRandom; 2],
        FAR,
        "relayed",
    )
}

#[test]
fn a_pair_of_which_one_has_no_udp_goes_on_playing() -> Result<()> {
    let nats = [Nat::UdpBlocked, Nat::PortRestrictedCone];
    roam("roaming, by TCP", nats, FAR, "relayed")
}

/// A hole is lost with either's mapping: the relay carries until there is another.
#[test]
fn a_pair_with_a_hole_goes_on_playing() -> Result<()> {
    scenario("roaming, on a hole", |lab| {
        let nats = [Nat::PortRestrictedCone, Nat::SymmetricRandom];
        let mut game = Game::begin(lab, nats, Line::default(), "direct", &[])?;
        for who in [0, 1] {
            game.through("the NAT forgets", REBOUND, |game| game.sites[who].forget())?;
        }
        game.through("another public address", MOVED, |game| {
            game.sites[1].change_address()
        })?;
        game.through("the engine was killed", REBOUND, |game| {
            game.engines[0].kill9()?;
            game.engines[0].start_again().map(drop)
        })?;
        game.end()
    })
}

fn roam(name: &str, nats: [Nat; 2], line: Line, way: &str) -> Result<()> {
    scenario(name, |lab| {
        // A hole would lead past the relay that is looked at here.
        let mut game = Game::begin(lab, nats, line, way, &["--no-punching"])?;
        for who in [0, 1] {
            game.through("the NAT forgets", REBOUND, |game| game.sites[who].forget())?;
            game.through("another public address", MOVED, |game| {
                game.sites[who].change_address()
            })?;
        }
        game.through("the line was cut for 10 s", MOVED, |game| {
            game.sites[0].set_link(false)?;
            game.wait(CUT)?;
            game.sites[0].set_link(true)?;
            game.mark();
            Ok(())
        })?;
        game.through("the interface was away", MOVED, |game| {
            let host = game.engines[1].host().clone();
            game.sites[1].set_interface(&host, false)?;
            game.wait(AWAY)?;
            game.sites[1].set_interface(&host, true)?;
            game.mark();
            Ok(())
        })?;
        for who in [0, 1] {
            game.through("the engine was killed", REBOUND, |game| {
                game.engines[who].kill9()?;
                game.engines[who].start_again().map(drop)
            })?;
        }
        game.end()
    })
}

/// Two members at a game, with a stream beside it.
struct Game {
    sites: Vec<Site>,
    engines: Vec<Engine>,
    _server: PublicServer,
    tickers: Vec<Ticker>,
    stream: Stream,
    way: String,
    since: Instant,
}

impl Game {
    fn begin(lab: &Lab, nats: [Nat; 2], line: Line, way: &str, flags: &[&str]) -> Result<Self> {
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

    /// Lets something happen in mid-game, and measures how long either hears nothing.
    fn through(
        &mut self,
        what: &str,
        deadline: Duration,
        happen: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        self.mark();
        happen(self)?;
        let limit = deadline * PATIENCE;
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
        println!(
            "{what}: silent for {:.2} s, deadline {deadline:?}",
            silence.as_secs_f64()
        );
        ensure!(silence <= limit, "{what}: silent for {silence:?}");
        self.settle()
    }

    fn end(self) -> Result<()> {
        for ticker in self.tickers {
            let (sent, answered) = ticker.finish();
            println!("{answered} of {sent} datagrams were answered");
        }
        let bytes = self.stream.finish()?;
        println!("{} kB by TCP, unharmed", bytes / 1000);
        Ok(())
    }
}
