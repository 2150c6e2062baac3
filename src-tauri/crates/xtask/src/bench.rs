//! `cargo xtask bench`: what a party costs, measured in a lab.

use anyhow::Result;

use crate::programs::{self, Profile};
use crate::{lab, shell, toolchain};

/// Measure release builds in a lab: time to a party, throughput and delay against the bare link, memory, CPU.
///
/// Takes about two minutes after the build.
#[derive(clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn run(_: &Arguments) -> Result<()> {
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
    shell::run_to_its_end(&mut bench)
}
