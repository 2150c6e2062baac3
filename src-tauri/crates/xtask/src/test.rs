//! `cargo xtask test`: everything that is checked, in steps.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::programs::{self, Profile, SIM_TARGET};
use crate::{frontend, lab, packages, shell, toolchain};

/// When all steps together take longer than this, it is said aloud: twenty minutes before a runner gives up.
const ALARM: Duration = Duration::from_secs(70 * 60);

/// A cargo-deny that compiles with the oldest Rust we support.
const CARGO_DENY: &str = "^0.19";

/// Runs a command on a virtual display and a session bus of its own. What those say goes to the file named first, lest
/// it tears the command's lines apart.
const DESKTOP: &str = r#"exec 9>&2 2>"$0"
exec xvfb-run -a -s "-screen 0 1280x900x24" dbus-run-session -- sh -c 'exec "$@" 2>&9 9>&-' sh "$@""#;

/// Check everything: packages, frontend, format, lints, licences, unit tests, simulations, labs and the window.
///
/// Stops at the first step that fails.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only this step; may be repeated.
    #[arg(long, value_name = "STEP", value_enum)]
    only: Vec<Step>,
    /// All but this step; may be repeated.
    #[arg(long, value_name = "STEP", value_enum)]
    skip: Vec<Step>,
    /// Install packages without asking.
    #[arg(long)]
    yes: bool,
}

/// A part of the checks, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Install the system's packages and cargo-deny where missing.
    Packages,
    /// The frontend: packages, types, tests, build.
    Ui,
    /// cargo fmt.
    Fmt,
    /// cargo clippy, warnings denied.
    Clippy,
    /// cargo deny: bans, licences, sources.
    Deny,
    /// Unit tests of every crate, and the architecture.
    Unit,
    /// Parties in virtual time.
    Sim,
    /// Build the programs.
    Build,
    /// Real engines in network namespaces.
    Lab,
    /// The real window on a virtual display.
    Window,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    toolchain::check()?;
    let started = Instant::now();
    let mut done: Vec<(Step, Duration)> = Vec::new();
    let mut failure = None;
    for step in arguments.steps() {
        let step_started = Instant::now();
        println!("\n=== {} ===", step.name());
        let result = step.perform(arguments.yes);
        let took = step_started.elapsed();
        done.push((step, took));
        if let Err(error) = result {
            println!("=== {}: FAILED after {} ===", step.name(), minutes(took));
            failure = Some(error.context(format!("step {} failed", step.name())));
            break;
        }
        println!("=== {}: passed in {} ===", step.name(), minutes(took));
    }
    println!("\nStep       Duration");
    for (index, (step, took)) in done.iter().enumerate() {
        let failed = failure.is_some() && index + 1 == done.len();
        println!(
            "{:<10} {:>8}{}",
            step.name(),
            minutes(*took),
            if failed { "  FAILED" } else { "" }
        );
    }
    println!("{:<10} {:>8}", "total", minutes(started.elapsed()));
    if started.elapsed() > ALARM {
        println!(
            "ALARM: this took more than {}: make something quicker before it is stopped.",
            minutes(ALARM)
        );
    }
    failure.map_or(Ok(()), Err)
}

impl Arguments {
    fn steps(&self) -> Vec<Step> {
        let wanted = |step: &Step| self.only.is_empty() || self.only.contains(step);
        Step::value_variants()
            .iter()
            .copied()
            .filter(|step| wanted(step) && !self.skip.contains(step))
            .collect()
    }
}

impl Step {
    fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }

    fn perform(self, yes: bool) -> Result<()> {
        match self {
            Self::Packages => {
                packages::ensure(packages::For::Testing, yes)?;
                ensure_cargo_deny()
            }
            Self::Ui => frontend::test(),
            Self::Fmt => cargo(&["fmt", "--all", "--", "--check"]),
            Self::Clippy => {
                cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
                let sim = [
                    "clippy",
                    "--package",
                    "lanrage-tests",
                    "--features",
                    "sim",
                    "--all-targets",
                ];
                cargo(&[&sim[..], &["--target-dir", SIM_TARGET, "--", "-D", "warnings"]].concat())
            }
            Self::Deny => {
                // Offline from here on, and it looks at the packages of every system.
                cargo(&["fetch", "--locked"])?;
                cargo(&["deny", "--offline", "check", "bans", "licenses", "sources"])
            }
            Self::Unit => {
                cargo(&["test"])?;
                cargo(&["test", "--package", "lanrage"])?;
                cargo(&[
                    "test",
                    "--package",
                    "lanrage-tests",
                    "--lib",
                    "--bin",
                    "bench",
                    "--test",
                    "architecture",
                ])
            }
            Self::Sim => {
                let sim = [
                    "test",
                    "--package",
                    "lanrage-tests",
                    "--features",
                    "sim",
                    "--lib",
                    "--test",
                    "sim",
                ];
                cargo(&[&sim[..], &["--target-dir", SIM_TARGET]].concat())
            }
            Self::Build => ["lanrage-engine", "lanrage-server", "lanrage"]
                .into_iter()
                .try_for_each(|package| programs::build(package, Profile::Debug).map(drop)),
            Self::Lab => test_lab(),
            Self::Window => test_window(),
        }
    }
}

fn test_lab() -> Result<()> {
    lab::check()?;
    let programs = lab::Programs::build(Profile::Debug)?;
    let test = ["test", "--package", "lanrage-tests", "--test", "lab"];
    // Built outside: a user namespace has no network to fetch anything from.
    cargo(&[&test[..], &["--no-run"]].concat())?;
    let mut command = lab::with_rights(cargo_path().as_ref())?;
    programs.tell(&mut command);
    shell::run(
        command
            .args(test)
            .args(["--", "--test-threads=1", "--show-output"]),
    )
}

fn test_window() -> Result<()> {
    lab::check()?;
    let engine = programs::build("lanrage-engine", Profile::Debug)?;
    let window = programs::build("lanrage", Profile::Debug)?;
    let test = ["test", "--package", "lanrage-tests", "--test", "window"];
    cargo(&[&test[..], &["--no-run"]].concat())?;
    let mut command = lab::isolated("sh".as_ref())?;
    command
        .env("LANRAGE_ENGINE", engine)
        .env("LANRAGE_WINDOW", window);
    let folder = programs::target()?.join("window");
    private_folders(&mut command, &folder)?;
    command.args(["-c", DESKTOP]).arg(folder.join("desktop.log"));
    shell::run(
        command
            .arg(cargo_path())
            .args(test)
            .args(["--", "--test-threads=1", "--show-output"]),
    )
}

/// Gives a command empty folders for settings, data and sockets, so that nothing of the user's is read or touched.
fn private_folders(command: &mut Command, folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("{} can't be emptied", folder.display()))?;
    }
    for name in [
        "CONFIG_HOME",
        "DATA_HOME",
        "CACHE_HOME",
        "STATE_HOME",
        "RUNTIME_DIR",
    ] {
        let path = folder.join(name.to_lowercase());
        fs::create_dir_all(&path)?;
        // D-Bus refuses a runtime directory that others may enter.
        #[cfg(unix)]
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        command.env(format!("XDG_{name}"), path);
    }
    Ok(())
}

fn ensure_cargo_deny() -> Result<()> {
    if shell::succeeds(shell::cargo()?.args(["deny", "--version"])) {
        return Ok(());
    }
    cargo(&["install", "--locked", "cargo-deny", "--version", CARGO_DENY])
}

fn cargo(arguments: &[&str]) -> Result<()> {
    shell::run(shell::cargo()?.args(arguments))
}

fn cargo_path() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

fn minutes(duration: Duration) -> String {
    format!("{}:{:02}", duration.as_secs() / 60, duration.as_secs() % 60)
}

#[cfg(test)]
mod tests {
    use super::{Arguments, Step, minutes};
    use std::time::Duration;

    fn steps(only: &[Step], skip: &[Step]) -> Vec<Step> {
        Arguments {
            only: only.to_vec(),
            skip: skip.to_vec(),
            yes: false,
        }
        .steps()
    }

    #[test]
    fn all_steps_run_in_order_unless_said_otherwise() {
        assert_eq!(steps(&[], &[]).len(), 10);
        assert_eq!(steps(&[Step::Lab, Step::Fmt], &[]), [Step::Fmt, Step::Lab]);
        assert!(!steps(&[], &[Step::Window]).contains(&Step::Window));
    }

    #[test]
    fn durations_are_minutes_and_seconds() {
        assert_eq!(minutes(Duration::from_secs(61)), "1:01");
        assert_eq!(minutes(Duration::from_secs(4200)), "70:00");
    }
}
