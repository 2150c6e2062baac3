//! `cargo xtask bench`: what a party costs and how fast it is, measured in a lab.

use anyhow::Result;
use clap::Subcommand;

use crate::programs::{self, Profile};
use crate::{lab, shell, toolchain};

/// Measure release builds in a lab: what a party costs, how fast it connects.
///
/// Needs what `cargo xtask lab` needs. Nothing leaves the machine.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// Each is a verb of the program `bench` as well.
#[derive(Subcommand)]
enum Verb {
    /// Time to a party, throughput and delay against the bare link, memory, CPU; what is measured without a verb.
    Party,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match arguments.verb.as_ref().unwrap_or(&Verb::Party) {
        Verb::Party => measure(&["party"]),
    }
}

/// Builds what is measured and what measures, and runs the latter with these arguments.
fn measure(arguments: &[&str]) -> Result<()> {
    toolchain::check_rust()?;
    lab::check()?;
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
    shell::run_to_its_end(bench.args(arguments))
}
