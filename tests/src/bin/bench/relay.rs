//! `bench relay`: a party through our relay and through coturn, interleaved: throughput, delay added, CPU, memory.

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lanrage_tests::lab::{
    Engine, Flow, Host, Internet, Lab, Nat, Process, PublicServer, Site, SiteOptions, TurnServer, felt,
    scenario,
};

use serde_json::Value;

use crate::figures::median;
use crate::measure::{cpu_seconds, iperf_server, resident_mib, round_trip};

/// Rounds through all that is compared, so that each meets the same machine.
const ROUNDS: usize = 5;

/// Seconds of each stream.
const STREAM: u32 = 4;

/// Pings of each round.
const PINGS: u32 = 15;

/// Until a relay is found, where TCP is named alone.
const FOUND: Duration = Duration::from_secs(6);

/// How long allocations, permissions and channels are seen to be kept: longer than each lives by itself.
const LONG: Duration = Duration::from_secs(12 * 60);

/// Measure a party through our relay beside coturn.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Then let pings run through each for 12 minutes, so that everything is refreshed that has to be.
    #[arg(long)]
    long: bool,
}

/// Two members with one way between them.
struct Pair {
    name: String,
    members: [Engine; 2],
    /// The relay between them, if there is one.
    relay: Option<u32>,
    _sites: Vec<Site>,
    _iperf: Process,
    rates: Vec<f64>,
    trips: Vec<f64>,
    /// CPU seconds of the relay for each GiB that it carried.
    costs: Vec<f64>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    scenario("bench relay", |lab| measure(lab, arguments.long))
}

fn measure(lab: &Lab, long: bool) -> Result<()> {
    let internet = Internet::new(lab)?;
    let server = PublicServer::start(&internet, &["--turn", "none"])?;
    let (ours_site, others_site) = (
        internet.site(&SiteOptions::new(Nat::Open))?,
        internet.site(&SiteOptions::new(Nat::Open))?,
    );
    let ours = TurnServer::ours(ours_site.host()?, &["--member-mbit", "0", "--relay-mbit", "0"])?;
    let coturn = TurnServer::start(others_site.host()?, &[])?;
    server.trust(&(ours.authority()? + &coturn.authority()?))?;

    let mut pairs = vec![pair(&internet, &server, "direct", None)?];
    for (way, name) in [(0, "UDP"), (1, "TCP")] {
        for (relay, program) in [(&ours, "ours"), (&coturn, "coturn")] {
            let uri = &relay.uris()[way];
            pairs.push(pair(
                &internet,
                &server,
                &format!("{name}, {program}"),
                Some((relay, uri)),
            )?);
        }
    }
    for round in 1..=ROUNDS {
        for pair in &mut pairs {
            pair.measure()
                .with_context(|| format!("{}, round {round}", pair.name))?;
        }
    }
    report(&pairs);
    for (name, relay) in [("ours", &ours), ("coturn", &coturn)] {
        let id = relay.id().context("a relay does not run")?;
        println!("memory of {name}: {:.1} MiB", resident_mib(id)?);
    }
    if long { keep(&pairs) } else { Ok(()) }
}

/// Two members in homes of their own, who reach each other by this relay alone, or directly.
fn pair(
    internet: &Internet,
    server: &PublicServer,
    name: &str,
    relay: Option<(&TurnServer, &String)>,
) -> Result<Pair> {
    let sites = internet.sites(&[
        SiteOptions::new(Nat::PortRestrictedCone),
        SiteOptions::new(Nat::PortRestrictedCone),
    ])?;
    let mut arguments = vec!["--log".to_owned(), "info".to_owned()];
    if let Some((relay, uri)) = relay {
        arguments.extend(["--turn".to_owned(), uri.clone()]);
        arguments.extend(relay.login());
        let [first, second] = internet.server_addresses();
        for site in &sites {
            site.allow_udp_only_to(&[first, second, relay.host().address()])?;
        }
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let start = |site: &Site, player: &str| server.engine(site.host()?, player, &arguments);
    let members = [start(&sites[0], "Anna")?, start(&sites[1], "Tom")?];
    let created = members[0].cli(&["create", name])?;
    members[1].cli(&["join", created["id"].as_str().context("no ID")?])?;
    let (wanted, to) = (
        if relay.is_some() { "relayed" } else { "direct" },
        members[1].address()?,
    );
    members[0].wait_until(&format!("{name}: {wanted}"), FOUND, |status| {
        Ok(status
            .peer(to)?
            .is_some_and(|row| row.path.as_deref() == Some(wanted)))
    })?;
    members[1].wait_all_up(1, felt::CONNECT)?;
    Ok(Pair {
        name: name.to_owned(),
        _iperf: iperf_server(members[1].host())?,
        members,
        relay: relay
            .map(|(relay, _)| relay.id().context("the relay does not run"))
            .transpose()?,
        _sites: sites,
        rates: Vec::new(),
        trips: Vec::new(),
        costs: Vec::new(),
    })
}

impl Pair {
    fn measure(&mut self) -> Result<()> {
        let (from, to) = (self.members[0].host(), self.members[1].address()?);
        self.trips.push(round_trip(from, to, PINGS)?);
        let spent = |relay: Option<u32>| relay.map_or(Ok(0.0), cpu_seconds);
        let before = spent(self.relay)?;
        let bytes = stream(from, to)?;
        self.rates.push(bytes * 8.0 / 1e6 / f64::from(STREAM));
        let gib = bytes / f64::from(1 << 30);
        self.costs.push((spent(self.relay)? - before) / gib);
        Ok(())
    }
}

/// What one TCP stream brought, bytes.
fn stream(from: &Host, to: Ipv4Addr) -> Result<f64> {
    let (to, seconds) = (to.to_string(), STREAM.to_string());
    let printed = from.output("iperf3", &["--client", &to, "--time", &seconds, "--json"])?;
    let report: Value = serde_json::from_str(&printed)?;
    let bytes = report["end"]["sum_received"]["bytes"].as_f64();
    bytes.with_context(|| format!("iperf3 printed {printed}"))
}

fn report(pairs: &[Pair]) {
    let direct = pairs.first().map_or(f64::NAN, |pair| median(pair.trips.clone()));
    let head = ["", "TCP Mbit/s", "ping ms", "added ms", "relay's CPU s/GiB"];
    let mut table = vec![head.map(str::to_owned).to_vec()];
    let added = |pair: &Pair| median(pair.trips.clone()) - direct;
    for pair in pairs {
        let mut row = vec![
            pair.name.clone(),
            format!("{:.0}", median(pair.rates.clone())),
            format!("{:.3}", median(pair.trips.clone())),
        ];
        if pair.relay.is_some() {
            row.push(format!("{:.3}", added(pair)));
            row.push(format!("{:.1}", median(pair.costs.clone())));
        }
        table.push(row);
    }
    print(&table);
    let mut ratios = vec![
        ["ours / coturn", "throughput", "added delay", "CPU"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (ours, other) in pairs
        .iter()
        .filter(|pair| pair.relay.is_some())
        .zip(pairs.iter().skip(2))
    {
        let (Some(way), true) = (ours.name.strip_suffix(", ours"), other.name.ends_with("coturn")) else {
            continue;
        };
        // Round by round: neighbours in time met the same machine.
        let ratio = |of: fn(&Pair) -> &Vec<f64>| {
            median(of(ours).iter().zip(of(other)).map(|(ours, other)| ours / other))
        };
        ratios.push(vec![
            way.to_owned(),
            format!("{:.2}", ratio(|pair| &pair.rates)),
            format!("{:.2}", added(ours) / added(other)),
            format!("{:.2}", ratio(|pair| &pair.costs)),
        ]);
    }
    print(&ratios);
}

/// Prints lines of cells, the first one of each to the left.
fn print(lines: &[Vec<String>]) {
    println!();
    for line in lines {
        let (name, cells) = line
            .split_first()
            .map_or(("", &[][..]), |(name, cells)| (name.as_str(), cells));
        let cells: String = cells.iter().map(|cell| format!("{cell:>18}")).collect();
        println!("{name:<16}{cells}");
    }
}

/// Lets pings run until everything was refreshed that has to be, and counts what is lost.
fn keep(pairs: &[Pair]) -> Result<()> {
    let flows: Vec<(&str, Flow)> = pairs
        .iter()
        .map(|pair| {
            let flow = Flow::start(pair.members[0].host(), pair.members[1].address()?)?;
            Ok((pair.name.as_str(), flow))
        })
        .collect::<Result<_>>()?;
    let began = Instant::now();
    println!("\npings for {} minutes", LONG.as_secs() / 60);
    while began.elapsed() < LONG {
        thread::sleep(Duration::from_secs(10));
        for pair in pairs {
            let status = pair.members[0].status()?;
            let up = status
                .members()?
                .iter()
                .all(|row| matches!(row.state.as_str(), "connected" | "degraded"));
            if !up {
                bail!(
                    "{} after {:.0?}: {}",
                    pair.name,
                    began.elapsed(),
                    status.summary()
                );
            }
        }
    }
    let mut table = vec![["", "pings", "lost"].map(str::to_owned).to_vec()];
    for (name, flow) in flows {
        let (lost, sent) = flow.finish()?;
        table.push(vec![name.to_owned(), sent.to_string(), lost.to_string()]);
    }
    print(&table);
    Ok(())
}
