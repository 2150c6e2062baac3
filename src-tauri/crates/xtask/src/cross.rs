//! `cargo xtask cross`: our programs for other systems, built on this one.
//!
//! Debian's `rustc-web` brings the sources of its standard library, which cargo builds for the other system on the
//! way: nothing is installed but packages. For Windows programs are compiled, linked, and run under wine where they
//! need no adapter; for macOS, whose linker and libraries are Apple's, they are type-checked.

mod macos;
mod smoke;
mod windows;

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::ValueEnum;

use crate::{frontend, packages, shell};

/// Build the programs for Windows and run their tests under wine; check that they would compile for macOS.
///
/// Needs Debian or Ubuntu. Slow the first time, as the standard library and all dependencies are compiled.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only this system; may be repeated.
    #[arg(long, value_name = "SYSTEM", value_enum)]
    system: Vec<System>,
    /// Install packages without asking.
    #[arg(long)]
    yes: bool,
}

/// A system that is not this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum System {
    /// Windows on x86-64: built, linked, and run under wine.
    Windows,
    /// macOS on Apple's processors: type-checked.
    Macos,
}

/// What is built for each, one by one: together cargo would unify their features.
const PROGRAMS: [&str; 3] = ["lanrage-engine", "lanrage-server", "lanrage"];

/// A target directory of its own: another compiler's work would throw out what lies in the usual one.
const TARGET: &str = "target/cross";

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    ensure!(
        cfg!(target_os = "linux") && shell::exists("apt-get"),
        "Compiling for other systems needs packages of Debian: use Debian or Ubuntu."
    );
    packages::ensure(packages::For::Crossing, arguments.yes)?;
    // The window's code is compiled in.
    frontend::build()?;
    for system in arguments.systems() {
        let begin = Instant::now();
        match system {
            System::Windows => windows::build_and_test()?,
            System::Macos => macos::check()?,
        }
        let minutes = begin.elapsed().as_secs() / 60;
        let seconds = begin.elapsed().as_secs() % 60;
        println!("=== {system:?}: passed in {minutes}:{seconds:02} ===");
    }
    Ok(())
}

impl Arguments {
    fn systems(&self) -> Vec<System> {
        System::value_variants()
            .iter()
            .copied()
            .filter(|system| self.system.is_empty() || self.system.contains(system))
            .collect()
    }
}

/// Debian's cargo with the sources of its standard library, whatever other Rust runs this program.
fn cargo(verb: &str, target: &str) -> Result<Command> {
    let mut cargo = shell::command("/usr/bin/cargo")?;
    for name in ["CARGO", "RUSTC", "RUSTC_WRAPPER", "RUSTDOC", "RUSTUP_TOOLCHAIN"] {
        cargo.env_remove(name);
    }
    cargo
        .env("PATH", "/usr/bin:/bin")
        // Building the standard library is an unstable feature of a compiler that is otherwise a stable one.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", folder()?)
        .args([verb, "-Z", "build-std=std,panic_unwind", "--target", target]);
    Ok(cargo)
}

/// Where all that is made here lies.
fn folder() -> Result<PathBuf> {
    Ok(shell::root()?.join(TARGET))
}

#[cfg(test)]
mod tests {
    use super::{Arguments, System};

    #[test]
    fn both_systems_are_built_for_unless_said_otherwise() {
        let systems = |system: &[System]| {
            Arguments {
                system: system.to_vec(),
                yes: false,
            }
            .systems()
        };
        assert_eq!(systems(&[]), [System::Windows, System::Macos]);
        assert_eq!(systems(&[System::Macos]), [System::Macos]);
    }
}
