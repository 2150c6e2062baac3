//! Plays a simulated party in virtual time and prints its transcript and how everybody stands at the end.
//!
//! No adapter, no socket, no rights needed; the same seed prints the same lines.

use clap::Parser;
use lanrage_tests::sim::{Kind, Place, Sim};
use std::time::{Duration, Instant};

/// Plays a simulated party and prints its transcript.
#[derive(Parser)]
struct Arguments {
    /// All chance in it follows from this number.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many are in it, the founder included.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=16))]
    members: u8,
    /// How long it lasts, virtual minutes.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1440))]
    minutes: u16,
    /// Prints probes and every packet as well.
    #[arg(long)]
    all: bool,
}

/// Who comes, in this order.
const NAMES: [&str; 16] = [
    "anna", "tom", "zoe", "ben", "cleo", "dan", "eva", "finn", "gus", "hana", "ida", "jan", "kim", "leo",
    "mia", "nils",
];

fn main() {
    let arguments = Arguments::parse();
    let started = Instant::now();
    let mut sim = Sim::new(arguments.seed);
    if arguments.all {
        sim.transcript.keep(&Kind::ALL);
    }
    let lan = Place::Lan(1);
    let founder = sim.player(NAMES[0], lan);
    let party = sim.create(founder, "Friday night");
    let mut nodes = vec![founder];
    for name in &NAMES[1..usize::from(arguments.members)] {
        let node = sim.player(name, lan);
        sim.join(node, &party.invite);
        nodes.push(node);
    }
    sim.wait_connected(&nodes, Duration::from_secs(10));
    let lasting = Duration::from_secs(60 * u64::from(arguments.minutes));
    for node in &nodes[1..] {
        sim.app_chat(founder, *node, Duration::from_secs(1), lasting);
        sim.app_chat(*node, founder, Duration::from_secs(1), lasting);
    }
    // Half-way the last one's engine dies and is started again: it finds its place.
    let last = nodes[nodes.len() - 1];
    sim.run_for(lasting / 2);
    sim.crash(last);
    sim.run_for(Duration::from_secs(2));
    sim.restart(last);
    sim.run_for(lasting / 2);
    println!("{}", sim.transcript.text());
    println!("{}", sim.table());
    let (sent, arrived) = sim
        .packets_since(Duration::ZERO)
        .fold((0, 0), |(sent, arrived), packet| {
            (sent + 1, arrived + usize::from(!packet.arrived.is_empty()))
        });
    println!(
        "{arrived} of {sent} packets arrived; {} virtual minutes took {:.2} s; seed {}",
        arguments.minutes,
        started.elapsed().as_secs_f64(),
        arguments.seed
    );
}
