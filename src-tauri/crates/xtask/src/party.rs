//! `cargo xtask party`: a simulated party and its transcript.

use anyhow::Result;

use crate::programs::SIM_TARGET;
use crate::{shell, toolchain};

/// Play a simulated party in virtual time and print its transcript. Needs no rights and no network.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Seed of everything that is random; the same seed gives the same transcript.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How many members.
    #[arg(long, value_name = "N")]
    members: Option<u32>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    toolchain::check_rust()?;
    let mut cargo = shell::cargo()?;
    cargo.args([
        "run",
        "--quiet",
        "--package",
        "lanrage-tests",
        "--features",
        "sim",
        "--bin",
        "party",
    ]);
    cargo.args(["--target-dir", SIM_TARGET, "--"]);
    if let Some(seed) = arguments.seed {
        cargo.args(["--seed", &seed.to_string()]);
    }
    if let Some(members) = arguments.members {
        cargo.args(["--members", &members.to_string()]);
    }
    shell::run(&mut cargo)
}
