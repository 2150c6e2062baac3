//! `bench party`: what a party costs, next to a bare switch.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use lanrage_tests::lab::{Control, Engine, Lab, Party, echo, felt, first_contact, scenario};

use crate::figures::{median, millis};
use crate::measure::{cpu_seconds, iperf_server, resident_mib, round_trip, stream};

/// Rounds of bare and tunnelled measurements; they alternate, so that both meet the same machine.
const ROUNDS: usize = 4;

/// Seconds of each throughput run.
const STREAM: u32 = 4;

/// Pings of each round.
const PINGS: u32 = 15;

/// How long CPU time of idle engines is counted.
const IDLE: Duration = Duration::from_secs(15);

/// Measure what a party costs.
#[derive(clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn run(_: &Arguments) -> Result<()> {
    scenario("bench", measure)
}

fn measure(lab: &Lab) -> Result<()> {
    let mut party = Party::gather(lab, 4, Control::Local)?;
    let created = party.create()?;
    let mut report = vec![(
        "create to active".to_owned(),
        format!("{:.0} ms", millis(created)),
    )];

    let (joined, contact) = join(&party, 1)?;
    report.push(("join by ID: verb".to_owned(), format!("{:.0} ms", millis(joined))));
    report.push((
        "join by ID: first answer from the founder".to_owned(),
        format!("{:.0} ms", millis(contact)),
    ));

    report.extend(idle(party.founder()?, 1)?);
    report.extend(link(&party)?);

    for index in 2..4 {
        let (joined, contact) = join(&party, index)?;
        let way = if index == 2 { "invite" } else { "chat line" };
        let times = format!("{:.0} ms, {:.0} ms", millis(joined), millis(contact));
        report.push((format!("join by {way}: verb, first answer"), times));
    }
    party.wait_all_up(felt::CONNECT)?;
    report.extend(idle(party.founder()?, 3)?);

    println!();
    for (what, value) in report {
        println!("{what:<44} {value:>20}");
    }
    Ok(())
}

/// Lets an engine join and returns how long the verb took, and how long from its start until a packet to the
/// founder was answered.
fn join(party: &Party, index: usize) -> Result<(Duration, Duration)> {
    let founder = party.founder()?;
    let target = echo(founder.host(), founder.address()?)?;
    let host = party.engine(index)?.host();
    thread::scope(|scope| {
        let contact = scope.spawn(move || first_contact(host, target, felt::JOIN + felt::CONNECT));
        let joined = party.join(index);
        let contact = contact.join().ok().context("the first contact panicked")?;
        Ok((joined?, contact?))
    })
}

/// Memory and CPU time of an engine that only keeps its party.
fn idle(engine: &Engine, peers: usize) -> Result<Vec<(String, String)>> {
    engine.wait_all_up(peers, felt::CONNECT)?;
    let id = engine.id().context("the engine does not run")?;
    let before = cpu_seconds(id)?;
    thread::sleep(IDLE);
    let share = (cpu_seconds(id)? - before) / IDLE.as_secs_f64() * 100.0;
    let plural = if peers == 1 { "peer" } else { "peers" };
    Ok(vec![
        (
            format!("idle with {peers} {plural}: CPU of one core"),
            format!("{share:.2} %"),
        ),
        (
            format!("idle with {peers} {plural}: memory (RSS)"),
            format!("{:.1} MiB", resident_mib(id)?),
        ),
    ])
}

/// Throughput and round trips between the first two members: on the bare switch and through the party.
fn link(party: &Party) -> Result<Vec<(String, String)>> {
    let (founder, member) = (party.founder()?, party.engine(1)?);
    let (bare, inside) = (founder.host().address(), founder.address()?);
    let _server = iperf_server(founder.host())?;
    let mut streams = (Vec::new(), Vec::new());
    let mut pings = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        streams.0.push(stream(member.host(), bare, STREAM)?);
        streams.1.push(stream(member.host(), inside, STREAM)?);
        pings.0.push(round_trip(member.host(), bare, PINGS)?);
        pings.1.push(round_trip(member.host(), inside, PINGS)?);
    }
    let (bare_stream, party_stream) = (median(streams.0), median(streams.1));
    let (bare_ping, party_ping) = (median(pings.0), median(pings.1));
    Ok(vec![
        ("TCP, bare switch".to_owned(), format!("{bare_stream:.0} Mbit/s")),
        ("TCP, party".to_owned(), format!("{party_stream:.0} Mbit/s")),
        (
            "TCP, party / bare".to_owned(),
            format!("{:.3}", party_stream / bare_stream),
        ),
        ("ping, bare switch".to_owned(), format!("{bare_ping:.3} ms")),
        ("ping, party".to_owned(), format!("{party_ping:.3} ms")),
        (
            "ping, added".to_owned(),
            format!("{:.3} ms", party_ping - bare_ping),
        ),
    ])
}
