//! The frontend: its packages, checks and build.

use std::fs;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::shell;

/// Installs the frontend's packages when the lock file changed since they were, and builds `ui/dist`, which has to
/// exist before cargo builds the window.
///
/// # Errors
/// When npm fails.
pub(crate) fn build() -> Result<()> {
    install()?;
    shell::run(npm()?.args(["run", "build"]))
}

/// Installs its packages, checks types, runs its tests and builds it.
///
/// # Errors
/// At the first that fails.
pub(crate) fn test() -> Result<()> {
    install()?;
    shell::run(npm()?.args(["run", "check"]))?;
    shell::run(npm()?.args(["run", "test"]))?;
    shell::run(npm()?.args(["run", "build"]))
}

fn install() -> Result<()> {
    let folder = shell::root()?.join("ui");
    let changed =
        |file: &str| -> Option<SystemTime> { fs::metadata(folder.join(file)).ok()?.modified().ok() };
    let lock = changed("package-lock.json").context("ui/package-lock.json is missing")?;
    // npm writes this file at the end of every install.
    if changed("node_modules/.package-lock.json").is_some_and(|installed| installed >= lock) {
        println!("The frontend's packages are up to date.");
        return Ok(());
    }
    shell::run(npm()?.args(["ci", "--no-audit", "--no-fund"]))
}

fn npm() -> Result<Command> {
    // On Windows npm is a script, which only its full name starts.
    let mut npm = shell::command(if cfg!(windows) { "npm.cmd" } else { "npm" })?;
    npm.current_dir(shell::root()?.join("ui"));
    Ok(npm)
}
