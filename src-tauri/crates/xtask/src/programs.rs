//! Building LANrage's programs, one package at a time.
//!
//! Never several at once: cargo would unify their features, and an engine built together with the simulations
//! carries a clock that stands still.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::shell;

/// With or without optimisation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build.
    Debug,
    /// Quick to run.
    Release,
}

/// A target directory of their own for everything that is built with the simulations' clock.
pub(crate) const SIM_TARGET: &str = "target/sim";

/// Builds one package of ours and returns the path of its program, which has the same name.
///
/// # Errors
/// When it does not compile.
pub(crate) fn build(package: &str, profile: Profile) -> Result<PathBuf> {
    let mut cargo = shell::cargo()?;
    cargo.args(["build", "--package", package]);
    let folder = match profile {
        Profile::Debug => "debug",
        Profile::Release => {
            cargo.arg("--release");
            "release"
        }
    };
    shell::run(&mut cargo)?;
    Ok(target()?
        .join(folder)
        .join(format!("{package}{}", std::env::consts::EXE_SUFFIX)))
}

/// The directory that cargo builds into.
///
/// # Errors
/// When cargo can't say.
pub(crate) fn target() -> Result<PathBuf> {
    let text = shell::output(shell::cargo()?.args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&text).context("cargo metadata printed no JSON")?;
    let folder = metadata["target_directory"]
        .as_str()
        .context("cargo metadata names no target directory")?;
    Ok(Path::new(folder).to_owned())
}
