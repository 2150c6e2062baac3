//! A party that grows to nine: how long creating and joining take, and what an engine costs that only keeps it.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use lanrage_tests::lab::{Engine, EngineOptions, Lab, Party, echo, felt, first_contact};

use crate::figures::{self, Figure, median_and_worst};
use crate::measure::{cpu_seconds, resident_mib};

/// Members in the end.
const MEMBERS: usize = 9;

/// Parties that are created.
const CREATED: usize = 5;

/// How long the CPU time of an idle engine is counted.
const IDLE: Duration = Duration::from_secs(20);

/// Before each join. A new party is announced for two seconds, and no answer goes to everybody twice in a second
/// (RFC 6762 §6, §8.3): who asks the local network sooner after another waits for it, as the second of two friends that
/// press the button together.
const APART: Duration = Duration::from_secs(3);

/// What was measured.
pub(crate) struct Report(Vec<Figure>);

impl Report {
    pub(crate) fn print(&self) {
        figures::print(&self.0);
    }
}

pub(crate) fn measure(lab: &Lab) -> Result<Report> {
    let mut party = gather(lab, MEMBERS)?;
    let mut created = Vec::new();
    for round in 1..=CREATED {
        created.push(party.create()?);
        if round < CREATED {
            party.founder()?.cli(&["leave"])?;
        }
    }
    let mut report = vec![(
        format!("create to active, of {CREATED}"),
        median_and_worst(&created),
    )];
    let mut joins: [(&str, Vec<Duration>, Vec<Duration>); 2] = [
        ("by ID, on the local network", Vec::new(), Vec::new()),
        ("by invite", Vec::new(), Vec::new()),
    ];
    let mut costs = Vec::new();
    for index in 1..MEMBERS {
        thread::sleep(APART);
        let (joined, answered) = join(&party, index)?;
        // The second of three ways: `Party::join`.
        let (_, verbs, answers) = &mut joins[usize::from(index % 3 == 2)];
        verbs.push(joined);
        answers.push(answered);
        if index == 1 {
            costs.extend(idle(party.founder()?, 1)?);
        }
    }
    party.wait_all_up(felt::CONNECT)?;
    costs.extend(idle(party.founder()?, MEMBERS - 1)?);
    for (way, verbs, answers) in joins {
        let count = verbs.len();
        report.push((
            format!("join {way}, to lease, of {count}"),
            median_and_worst(&verbs),
        ));
        report.push((
            format!("join {way}, to first packet, of {count}"),
            median_and_worst(&answers),
        ));
    }
    report.extend(costs);
    Ok(Report(report))
}

/// Engines that log as they do at home: what a lab logs costs time.
pub(crate) fn gather(lab: &Lab, members: usize) -> Result<Party> {
    let hosts = lab.hosts(members)?;
    let engines = hosts.iter().enumerate().map(|(index, host)| {
        let options = EngineOptions {
            player: format!("Player {index}"),
            control: "local".to_owned(),
        };
        let mut engine = Engine::prepare(host, options)?;
        engine.set_arguments(&["--log", "info"]);
        engine.start_again()?;
        Ok(engine)
    });
    Ok(Party {
        engines: engines.collect::<Result<_>>()?,
        server: None,
        id: String::new(),
        invite: String::new(),
    })
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
fn idle(engine: &Engine, peers: usize) -> Result<Vec<Figure>> {
    engine.wait_all_up(peers, felt::CONNECT)?;
    let id = engine.id().context("the engine does not run")?;
    let before = cpu_seconds(id)?;
    thread::sleep(IDLE);
    let share = (cpu_seconds(id)? - before) / IDLE.as_secs_f64() * 100.0;
    let with = if peers == 1 {
        "idle with 1 peer".to_owned()
    } else {
        format!("idle with {peers} peers")
    };
    Ok(vec![
        (
            format!("{with}, {} s: CPU of one core", IDLE.as_secs()),
            format!("{share:.2} %"),
        ),
        (
            format!("{with}: memory (RSS)"),
            format!("{:.1} MiB", resident_mib(id)?),
        ),
    ])
}
