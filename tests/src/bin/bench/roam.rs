//! `bench roam`: how long a game hears nothing when networks change, for each kind of way between two members.

use std::time::Duration;

use anyhow::{Context, Result};
use lanrage_tests::lab::{Line, Nat, Roaming, Trouble, scenario};

use crate::figures::print_table;

/// Measure how long a game is silent when networks change.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Give each line 20 ms of delay, 2 ms of jitter and 1 % loss.
    #[arg(long)]
    far: bool,
}

/// Two members, and the way that is between them.
struct Pair {
    name: &'static str,
    nats: [Nat; 2],
    way: &'static str,
    /// For their engines: a hole would lead past the relay.
    flags: &'static [&'static str],
}

const PAIRS: [Pair; 4] = [
    Pair {
        name: "direct",
        nats: [Nat::PortRestrictedCone; 2],
        way: "direct",
        flags: &[],
    },
    Pair {
        name: "a hole",
        nats: [Nat::PortRestrictedCone, Nat::SymmetricRandom],
        way: "direct",
        flags: &[],
    },
    Pair {
        name: "relayed",
        nats: [Nat::SymmetricRandom; 2],
        way: "relayed",
        flags: &["--no-punching"],
    },
    Pair {
        name: "relayed by TCP",
        nats: [Nat::UdpBlocked, Nat::PortRestrictedCone],
        way: "relayed",
        flags: &["--no-punching"],
    },
];

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let line = match arguments.far {
        true => Line {
            delay: Duration::from_millis(20),
            jitter: Duration::from_millis(2),
            loss: 0.01,
        },
        false => Line::default(),
    };
    let silences: Vec<Vec<Duration>> = PAIRS
        .iter()
        .map(|pair| silences(pair, line).with_context(|| pair.name))
        .collect::<Result<_>>()?;
    let head = ["silent for, s".to_owned(), "deadline".to_owned()];
    let names = PAIRS.iter().map(|pair| pair.name.to_owned());
    let mut table = vec![head.into_iter().chain(names).collect::<Vec<_>>()];
    for (number, trouble) in Trouble::ALL.into_iter().enumerate() {
        let start = [trouble.name().to_owned(), seconds(trouble.deadline())];
        let measured = silences.iter().map(|silences| seconds(silences[number]));
        table.push(start.into_iter().chain(measured).collect());
    }
    print_table(&table);
    Ok(())
}

fn silences(pair: &Pair, line: Line) -> Result<Vec<Duration>> {
    let mut silences = Vec::new();
    scenario(&format!("bench roam, {}", pair.name), |lab| {
        let mut game = Roaming::begin(lab, pair.nats, line, pair.way, pair.flags)?;
        for trouble in Trouble::ALL {
            silences.push(game.through(trouble)?);
        }
        game.end()
    })?;
    Ok(silences)
}

fn seconds(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64())
}
