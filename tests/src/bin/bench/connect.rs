//! `bench connect`: how soon two players reach each other, for one pair of NATs after the other with nothing beside.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lanrage_tests::lab::{
    Engine, Host, Internet, Lab, Line, Nat, PublicServer, Site, SiteOptions, Watch, echo, felt,
    first_contact, scenario,
};

use crate::figures::{median, millis, print_table};

/// How often each pair meets.
const ROUNDS: usize = 3;

/// A founder usually waits a while for friends: until its NAT is named, or this long.
const FOUNDER_WAITS: Duration = Duration::from_secs(6);

/// How long a direct path is waited for: what a symmetric NAT and a port-restricted one are given, and a little more.
const PATIENT: Duration = Duration::from_secs(13);

/// Where one side has no UDP there is none to wait for.
const RELAYED: Duration = Duration::from_secs(2);

/// How often is looked whether a direct path is there.
const LOOK: Duration = Duration::from_millis(20);

/// No pair begins later than this, unless all are asked for.
const BUDGET: Duration = Duration::from_secs(9 * 60);

/// Measure how soon two players reach each other, pair by pair of NATs.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Every pair of NATs instead of one of each kind, without a limit in time.
    #[arg(long)]
    all: bool,
    /// Only pairs with this in their names.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Give each line 20 ms of delay, 2 ms of jitter and 1 % loss.
    #[arg(long)]
    far: bool,
}

/// Where a player is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Behind(Nat),
    /// At home behind a port-restricted cone, whose carrier has another.
    Carrier(Nat),
    /// In one home with the other, behind a port-restricted cone that does not lead back in.
    Home,
}

use Nat::{
    FullCone, Open, PortRestrictedCone, RestrictedCone, SymmetricRandom, SymmetricSequential, UdpBlocked,
};
use Place::{Behind, Carrier, Home};

/// Every place.
const PLACES: [Place; 9] = [
    Behind(Open),
    Behind(FullCone),
    Behind(RestrictedCone),
    Behind(PortRestrictedCone),
    Carrier(FullCone),
    Behind(SymmetricRandom),
    Behind(SymmetricSequential),
    Carrier(SymmetricRandom),
    Behind(UdpBlocked),
];

/// A pair of each kind: by what a direct path takes, or that there is none.
const USUAL: [(Place, Place); 16] = [
    (Home, Home),
    (Behind(Open), Behind(Open)),
    (Behind(Open), Behind(PortRestrictedCone)),
    (Behind(Open), Behind(SymmetricRandom)),
    (Behind(FullCone), Behind(FullCone)),
    (Behind(RestrictedCone), Behind(RestrictedCone)),
    (Behind(PortRestrictedCone), Behind(PortRestrictedCone)),
    (Behind(PortRestrictedCone), Carrier(FullCone)),
    (Behind(FullCone), Behind(SymmetricRandom)),
    (Behind(RestrictedCone), Behind(SymmetricSequential)),
    (Behind(PortRestrictedCone), Behind(SymmetricRandom)),
    (Behind(PortRestrictedCone), Behind(SymmetricSequential)),
    (Behind(PortRestrictedCone), Carrier(SymmetricRandom)),
    (Behind(SymmetricRandom), Behind(SymmetricRandom)),
    (Behind(SymmetricSequential), Behind(SymmetricSequential)),
    (Behind(PortRestrictedCone), Behind(UdpBlocked)),
];

/// One meeting. Times count from the joiner's lease.
#[derive(Clone, Copy, Debug)]
struct Meeting {
    /// From the joiner's "join" to its lease.
    join: Duration,
    /// To the first answer to a packet, whichever way it took.
    answer: Option<Duration>,
    /// Until both sides have a direct path.
    direct: Option<Duration>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let line = if arguments.far {
        Line {
            delay: Duration::from_millis(20),
            jitter: Duration::from_millis(2),
            loss: 0.01,
        }
    } else {
        Line::default()
    };
    let (pairs, budget) = if arguments.all {
        (every_pair(), Duration::MAX)
    } else {
        (USUAL.to_vec(), BUDGET)
    };
    let started = Instant::now();
    let mut results: Vec<((Place, Place), Vec<Meeting>)> = Vec::new();
    let mut skipped = Vec::new();
    for pair in pairs {
        let name = format!("{} with {}", pair.0, pair.1);
        if arguments.only.as_ref().is_some_and(|only| !name.contains(only)) {
            continue;
        }
        if started.elapsed() > budget {
            skipped.push(name);
            continue;
        }
        // A lab of its own for each: nothing is left of the pair before.
        results.push((pair, scenario(&name, |lab| meet(lab, pair, line))?));
    }
    print(&results, arguments.far);
    if !skipped.is_empty() {
        println!("Time was up before these had their turn: {}", skipped.join("; "));
    }
    Ok(())
}

fn every_pair() -> Vec<(Place, Place)> {
    let later = |from: usize| PLACES.iter().skip(from).map(move |other| (PLACES[from], *other));
    [(Home, Home)]
        .into_iter()
        .chain((0..PLACES.len()).flat_map(later))
        .collect()
}

/// Lets two players meet several times, each time as strangers.
fn meet(lab: &Lab, pair: (Place, Place), line: Line) -> Result<Vec<Meeting>> {
    let internet = Internet::new(lab)?;
    let server = PublicServer::start(&internet, &[])?;
    let places = if pair.0 == Home {
        vec![Home]
    } else {
        vec![pair.0, pair.1]
    };
    let sites = places.iter().map(|place| place.site(&internet, line));
    let sites: Vec<Site> = sites.collect::<Result<_>>()?;
    let mut hosts = sites.iter().flat_map(Site::hosts);
    // Two behind one router would get one port from it, each for other destinations, as behind a symmetric NAT.
    let mut engine = |player: &str, port: &str| {
        let host = hosts.next().context("a site without hosts")?;
        server.engine(host, player, &["--log", "info", "--port", port])
    };
    let engines = [engine("Anna", "51820")?, engine("Tom", "51821")?];
    let echo = echo(engines[0].host(), Ipv4Addr::UNSPECIFIED)?.port();
    let patience = if [pair.0, pair.1].contains(&Behind(UdpBlocked)) {
        RELAYED
    } else {
        PATIENT
    };
    let mut meetings = Vec::new();
    for _ in 0..ROUNDS {
        let meeting = once(&engines, echo, patience)?;
        println!("{meeting:.3?}");
        meetings.push(meeting);
        for engine in engines.iter().rev() {
            engine.cli(&["leave"])?;
        }
        for site in &sites {
            site.forget()?;
            if let Some(carrier) = &site.options().carrier {
                carrier.router().forget()?;
            }
        }
    }
    Ok(meetings)
}

fn once(engines: &[Engine; 2], echo: u16, patience: Duration) -> Result<Meeting> {
    let [founder, joiner] = engines;
    let created = founder.cli(&["create", "Friday night"])?;
    let id = created["id"].as_str().context("no ID")?;
    let founder_address = founder.address()?;
    await_founder(founder)?;
    let watches = [founder.watch()?, joiner.watch()?];
    for watch in &watches {
        watch.wait_for("a status", felt::TOLD, |_| Ok(true))?;
    }
    let target = SocketAddr::from((founder_address, echo));
    let host: &Host = joiner.host();
    let started = Instant::now();
    let (joined, answered) = thread::scope(|scope| {
        let answered = scope.spawn(move || {
            let answered = first_contact(host, target, felt::JOIN + felt::CONNECT);
            answered.map(|took| started + took)
        });
        let joined = joiner.cli(&["join", id]).map(|_| Instant::now());
        (joined, answered.join())
    });
    let joined = joined?;
    let direct = await_direct(&watches, joined + patience)?;
    let since = |at: Instant| at.saturating_duration_since(joined);
    Ok(Meeting {
        join: joined - started,
        answer: answered.ok().and_then(Result::ok).map(since),
        direct: direct.map(since),
    })
}

/// Waits until the founder's NAT is named. Behind one that can't be it is simply later.
fn await_founder(founder: &Engine) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < FOUNDER_WAITS {
        if founder.status()?.nat_type().is_some_and(|kind| kind != "unknown") {
            return Ok(());
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

/// When the later of both sides had a path that needs no relay.
fn await_direct(watches: &[Watch; 2], until: Instant) -> Result<Option<Instant>> {
    loop {
        let first = |watch: &Watch| {
            watch.first(|status| {
                let members = status.members()?;
                let direct = |path: &Option<String>| matches!(path.as_deref(), Some("direct" | "lan"));
                Ok(members
                    .iter()
                    .any(|member| !member.own && member.is_up() && direct(&member.path)))
            })
        };
        if let (Some(one), Some(other)) = (first(&watches[0])?, first(&watches[1])?) {
            return Ok(Some(one.max(other)));
        }
        if Instant::now() > until {
            return Ok(None);
        }
        thread::sleep(LOOK);
    }
}

fn print(results: &[((Place, Place), Vec<Meeting>)], far: bool) {
    let lines = if far {
        "lines of 20 ms, 2 ms jitter and 1 % loss"
    } else {
        "lines without delay"
    };
    println!(
        "\nEach pair {ROUNDS} times, alone, {lines}; median and worst in seconds, from the joiner's lease.\n\
         Beside them the best neighbour (EasyTier 2.6.4) in such a lab, from its start: first packet by relay 0.2 (0.5 \
         far), 6 of 96\npairs over 1, worst 14.6; direct as in the last column."
    );
    let head = [
        "founder",
        "joiner",
        "join",
        "first packet",
        "direct",
        "direct, neighbour",
    ];
    let mut table = vec![head.map(str::to_owned).to_vec()];
    for ((founder, joiner), meetings) in results {
        let joins: Vec<_> = meetings.iter().map(|meeting| Some(meeting.join)).collect();
        let answers: Vec<_> = meetings.iter().map(|meeting| meeting.answer).collect();
        let direct: Vec<_> = meetings.iter().map(|meeting| meeting.direct).collect();
        table.push(vec![
            founder.to_string(),
            joiner.to_string(),
            spread(&joins),
            spread(&answers),
            spread(&direct),
            neighbour(*founder, *joiner).to_owned(),
        ]);
    }
    print_table(&table);
    let answers = results.iter().flat_map(|(_, meetings)| meetings);
    let answers: Vec<Option<Duration>> = answers.map(|meeting| meeting.answer).collect();
    println!("\nFirst packet of all meetings: {} s", spread(&answers));
}

/// Median and worst of those that came, and how many did where not all.
fn spread(times: &[Option<Duration>]) -> String {
    let came: Vec<Duration> = times.iter().flatten().copied().collect();
    let Some(worst) = came.iter().max() else {
        return "never".to_owned();
    };
    let median = median(came.iter().copied().map(millis)) / 1000.0;
    let all = if came.len() == times.len() {
        String::new()
    } else {
        format!(" ({} of {})", came.len(), times.len())
    };
    format!("{median:.2}, {:.2}{all}", worst.as_secs_f64())
}

/// How soon the neighbour was direct.
fn neighbour(founder: Place, joiner: Place) -> &'static str {
    let pair = [founder, joiner];
    let both = |is: fn(Place) -> bool| pair.into_iter().all(is);
    let any = |place: Place| pair.contains(&place);
    if any(Home) {
        "not told"
    } else if any(Behind(UdpBlocked)) {
        "by TCP only"
    } else if any(Behind(Open)) {
        "5"
    } else if both(|place| !place.is_symmetric()) {
        "11–14"
    } else if both(Place::is_symmetric) {
        "never"
    } else if any(Behind(PortRestrictedCone)) {
        "24–51"
    } else {
        "not told"
    }
}

impl Place {
    fn is_symmetric(self) -> bool {
        match self {
            Behind(nat) | Carrier(nat) => matches!(nat, SymmetricRandom | SymmetricSequential),
            Home => false,
        }
    }

    fn site(self, internet: &Internet, line: Line) -> Result<Site> {
        let mut options = match self {
            Behind(nat) => SiteOptions::new(nat),
            Carrier(outer) => {
                let mut options = SiteOptions::new(PortRestrictedCone);
                options.carrier = Some(internet.carrier(outer, false)?);
                options
            }
            Home => {
                let mut options = SiteOptions::new(PortRestrictedCone);
                options.hosts = 2;
                options
            }
        };
        options.line = line;
        internet.site(&options)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Behind(nat) => nat.fmt(f),
            Carrier(nat) => write!(f, "a carrier's {nat}"),
            Home => f.write_str("the same home"),
        }
    }
}
