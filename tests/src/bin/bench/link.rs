//! Throughput, CPU time and round trips: a party beside a bare cable and others that tunnel, in turns.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use lanrage_tests::lab::{Lab, Process};

use crate::figures::{median, print_table};
use crate::measure::{cpu_seconds, iperf_server, round_trip, stream};
use crate::tunnel::Tunnel;

/// Rounds; in each every way has its turn, so that all meet the same machine.
const ROUNDS: usize = 5;

/// Seconds of each stream.
const STREAM: u32 = 4;

/// Pings of each round, alone and again beside a stream; at five a second they end before it does.
const PINGS: u32 = 15;

/// From the stream's start until pings beside it begin.
const WARM: Duration = Duration::from_millis(500);

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// What one way showed in one round.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Mbit/s of TCP.
    rate: f64,
    /// CPU seconds of both ends for each GiB.
    cpu: f64,
    /// Round trip of an idle way, milliseconds.
    ping: f64,
    /// Round trip beside a stream, milliseconds; not a number when pings were lost.
    busy: f64,
}

/// All ways, the bare cable first and the party second.
pub(crate) struct Report {
    mtu: String,
    missing: Vec<String>,
    ways: Vec<(String, Vec<Sample>)>,
}

pub(crate) fn measure(lab: &Lab) -> Result<Report> {
    let mut tunnels = vec![
        Tunnel::bare(lab)?,
        // Real-time priority for one of many is unfair.
        Tunnel::party(lab, "party, ordinary priority", false)?,
        Tunnel::party(lab, "party, as it comes", true)?,
    ];
    let mtu = tunnels[1].mtu("lanrage0")?;
    let mut missing = Vec::new();
    for (name, neighbour) in [
        ("boringtun-cli", Tunnel::boringtun(lab, &mtu)),
        ("wireguard-go", Tunnel::wireguard_go(lab, &mtu)),
    ] {
        match neighbour {
            Ok(tunnel) => tunnels.push(tunnel),
            Err(error) => missing.push(format!("{name} is not measured: {error:#}")),
        }
    }
    let servers = tunnels.iter().map(|tunnel| iperf_server(&tunnel.hosts[1]));
    let _servers: Vec<Process> = servers.collect::<Result<_>>()?;
    let mut ways: Vec<(String, Vec<Sample>)> = tunnels
        .iter()
        .map(|tunnel| (tunnel.name.clone(), Vec::new()))
        .collect();
    for round in 0..ROUNDS {
        // Whoever comes first meets a cooler machine.
        for turn in 0..tunnels.len() {
            let index = (turn + round) % tunnels.len();
            let sample = sample(&tunnels[index]).with_context(|| tunnels[index].name.clone())?;
            println!("{}: {sample:.2?}", tunnels[index].name);
            ways[index].1.push(sample);
        }
    }
    Ok(Report { mtu, missing, ways })
}

fn sample(tunnel: &Tunnel) -> Result<Sample> {
    let ([from, _], to) = (&tunnel.hosts, tunnel.target);
    let ping = round_trip(from, to, PINGS)?;
    let used = || -> Result<f64> { tunnel.carriers.iter().map(|id| cpu_seconds(*id)).sum() };
    let before = used()?;
    let (stream, busy) = thread::scope(|scope| {
        let beside = scope.spawn(|| {
            thread::sleep(WARM);
            round_trip(from, to, PINGS)
        });
        let stream = stream(from, to, STREAM);
        (stream, beside.join())
    });
    let stream = stream?;
    Ok(Sample {
        rate: stream.rate,
        cpu: (used()? - before) / (stream.bytes / GIB),
        ping,
        // A full queue may drop some, and then the rest says too little.
        busy: busy.ok().and_then(Result::ok).unwrap_or(f64::NAN),
    })
}

impl Report {
    pub(crate) fn print(&self) {
        println!(
            "\nTwo hosts on a cable, all on this machine; inside packets of {} bytes; medians of {ROUNDS} rounds in turns:",
            self.mtu
        );
        let head = [
            "",
            "TCP Mbit/s",
            "(least, most)",
            "× bare",
            "CPU s/GiB",
            "ping added",
            "beside TCP",
        ];
        let mut lines = vec![head.map(str::to_owned).to_vec()];
        let Some((_, bare)) = self.ways.first() else {
            return;
        };
        for (name, samples) in &self.ways {
            lines.push(row(name, samples, bare));
        }
        print_table(&lines);
        self.print_ratios();
        for missing in &self.missing {
            println!("{missing}");
        }
    }

    /// The party with ordinary priority over each neighbour, round by round.
    fn print_ratios(&self) {
        let Some((_, party)) = self.ways.get(1) else {
            return;
        };
        let head = [
            "party, ordinary priority, over",
            "TCP",
            "CPU for a GiB",
            "ping added",
        ];
        let mut lines = vec![head.map(str::to_owned).to_vec()];
        let bare = self.ways.first().map_or(&[][..], |(_, bare)| bare);
        for (name, samples) in self.ways.iter().skip(3) {
            let ratio = |of: fn(&Sample) -> f64| {
                format!(
                    "{:.2}",
                    median(party.iter().zip(samples).map(|(own, other)| of(own) / of(other)))
                )
            };
            let added = median(added(party, bare)) / median(added(samples, bare));
            lines.push(vec![
                name.clone(),
                ratio(|sample| sample.rate),
                ratio(|sample| sample.cpu),
                format!("{added:.2}"),
            ]);
        }
        print_table(&lines);
    }
}

fn row(name: &str, samples: &[Sample], bare: &[Sample]) -> Vec<String> {
    let rates = || samples.iter().map(|sample| sample.rate);
    let (least, most) = (rates().fold(f64::INFINITY, f64::min), rates().fold(0.0, f64::max));
    let share = samples.iter().zip(bare).map(|(own, bare)| own.rate / bare.rate);
    let busy = samples
        .iter()
        .map(|sample| sample.busy)
        .filter(|ping| !ping.is_nan());
    vec![
        name.to_owned(),
        format!("{:.0}", median(rates())),
        format!("({least:.0}, {most:.0})"),
        format!("{:.3}", median(share)),
        format!("{:.1}", median(samples.iter().map(|sample| sample.cpu))),
        format!("{:.3} ms", median(added(samples, bare))),
        format!("{:.2} ms", median(busy)),
    ]
}

/// What each round's ping took longer than the bare one.
fn added<'a>(samples: &'a [Sample], bare: &'a [Sample]) -> impl Iterator<Item = f64> + 'a {
    samples.iter().zip(bare).map(|(own, bare)| own.ping - bare.ping)
}
