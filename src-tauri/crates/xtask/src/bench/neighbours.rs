//! Programs that LANrage is compared with and no system has a package of.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::{programs, shell};

/// The version whose library the engine uses.
const BORINGTUN: &str = "0.7.1";

/// Builds boringtun-cli into `target/neighbours`, once. Asks first unless run by root or told `yes`. Without it the
/// comparison goes on, so that nothing here is an error.
pub(super) fn boringtun(yes: bool) -> Option<PathBuf> {
    match build(yes) {
        Ok(program) => Some(program),
        Err(error) => {
            println!("{error:#}\nGoing on without boringtun-cli.");
            None
        }
    }
}

fn build(yes: bool) -> Result<PathBuf> {
    let folder = programs::target()?.join("neighbours");
    let program = folder.join("bin/boringtun-cli");
    if program.is_file() {
        return Ok(program);
    }
    println!(
        "To compare with: boringtun-cli {BORINGTUN}, built from crates.io into {}",
        folder.display()
    );
    if !yes && !shell::is_root() {
        shell::ask("Build it?")?;
    }
    let mut cargo = shell::cargo()?;
    cargo.args([
        "install",
        "--locked",
        "boringtun-cli",
        "--version",
        BORINGTUN,
        "--root",
    ]);
    // A target directory of its own: cargo would build in one that goes, and begin anew when it was interrupted.
    cargo.arg(&folder).arg("--target-dir").arg(folder.join("build"));
    shell::run(&mut cargo).context("boringtun-cli can't be built")?;
    Ok(program)
}
