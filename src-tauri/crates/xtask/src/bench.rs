//! `cargo xtask bench`: what a party costs and how fast it is, measured in a lab.

mod neighbours;

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;

use crate::programs::{self, Profile};
use crate::{frontend, lab, packages, shell, toolchain};

/// Measure release builds in a lab: what a party costs, how fast it is, how it connects.
///
/// Needs what `cargo xtask lab` needs. Nothing leaves the machine.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Install packages and build what is compared with, without asking.
    #[arg(long, global = true)]
    yes: bool,
}

/// Each is a verb of the program `bench` as well.
#[derive(Subcommand)]
enum Verb {
    /// Time to a party, memory, CPU, the window's start, and throughput and delay next to a bare cable, boringtun-cli
    /// and wireguard-go; about five minutes after the build. What is measured without a verb.
    Party,
    /// Time to the first packet and to a direct path, for one pair of NATs after the other; ten minutes at most.
    Connect(Connect),
    /// A party through our relay and through coturn (Debian's package), by UDP and TCP: throughput, delay, CPU.
    Relay(Relay),
    /// How long a game is silent when NATs forget, addresses change, lines are cut and engines are killed, by each kind
    /// of way; about seven minutes.
    Roam(Roam),
    /// The window: its start, its CPU time and memory in a party of eight and in one of 64; two minutes.
    Ui,
}

#[derive(clap::Args)]
struct Roam {
    /// Give each line 20 ms of delay, 2 ms of jitter and 1 % loss.
    #[arg(long)]
    far: bool,
}

#[derive(clap::Args)]
struct Relay {
    /// Then let pings run through each for 12 minutes, so that everything is refreshed that has to be.
    #[arg(long)]
    long: bool,
}

#[derive(clap::Args)]
struct Connect {
    /// Every pair of NATs instead of one of each kind, without a limit in time.
    #[arg(long)]
    all: bool,
    /// Only pairs with this in their names, such as "symmetric".
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Give each line 20 ms of delay, 2 ms of jitter and 1 % loss.
    #[arg(long)]
    far: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match arguments.verb.as_ref().unwrap_or(&Verb::Party) {
        Verb::Party => {
            prepare(arguments.yes)?;
            let boringtun = neighbours::boringtun(arguments.yes);
            let mut variables = vec![window()?];
            variables.extend(boringtun.map(|program| ("LANRAGE_BORINGTUN", program)));
            measure_with(&["party"], variables)
        }
        Verb::Connect(connect) => {
            prepare(arguments.yes)?;
            let mut words = vec!["connect"];
            words.extend(connect.all.then_some("--all"));
            words.extend(connect.far.then_some("--far"));
            if let Some(only) = &connect.only {
                words.extend(["--only", only]);
            }
            measure(&words)
        }
        Verb::Relay(relay) => {
            prepare(arguments.yes)?;
            let mut words = vec!["relay"];
            words.extend(relay.long.then_some("--long"));
            measure(&words)
        }
        Verb::Ui => {
            prepare(arguments.yes)?;
            measure_with(&["ui"], vec![window()?])
        }
        Verb::Roam(roam) => {
            prepare(arguments.yes)?;
            let mut words = vec!["roam"];
            words.extend(roam.far.then_some("--far"));
            measure(&words)
        }
    }
}

/// The window, as a release of it would be.
fn window() -> Result<(&'static str, PathBuf)> {
    frontend::build()?;
    Ok(("LANRAGE_WINDOW", programs::build("lanrage", Profile::Release)?))
}

/// Installs what is measured with. Whoever does without is told by the measurement what it lacks.
fn prepare(yes: bool) -> Result<()> {
    toolchain::check()?;
    lab::check()?;
    if let Err(error) = packages::ensure(packages::For::Benching, yes) {
        println!("{error:#}\nGoing on with what is there.");
    }
    Ok(())
}

/// Builds what is measured and what measures, and runs the latter with these arguments.
fn measure(arguments: &[&str]) -> Result<()> {
    measure_with(arguments, Vec::new())
}

/// As [`measure`], with the programs that these variables name.
fn measure_with(arguments: &[&str], variables: Vec<(&str, PathBuf)>) -> Result<()> {
    let programs = lab::Programs::build(Profile::Release)?;
    let mut cargo = shell::cargo()?;
    shell::run(cargo.args([
        "build",
        "--release",
        "--package",
        "lanrage-tests",
        "--bin",
        "bench",
    ]))?;
    let mut bench = lab::with_rights(&programs::target()?.join("release/bench"))?;
    programs.tell(&mut bench);
    shell::run_to_its_end(bench.envs(variables).args(arguments))
}
