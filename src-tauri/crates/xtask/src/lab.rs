//! `cargo xtask lab`, and the rights that anything with network namespaces needs.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail, ensure};

use crate::programs::{self, Profile};
use crate::{shell, toolchain};

/// Raise real engines in network namespaces of this machine, make a party of them and print their pings.
///
/// Needs Linux, and root or the right to make user namespaces. Nothing leaves the machine.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many members.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=20))]
    members: u32,
    /// Let the party live on a lanrage-server instead of its founder's engine.
    #[arg(long)]
    server: bool,
    /// Keep everything up until Enter or Ctrl-C, and print how to step into each host.
    #[arg(long)]
    keep: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    toolchain::check_rust()?;
    check()?;
    let mut cargo = shell::cargo()?;
    let programs = Programs::build(Profile::Debug)?;
    shell::run(cargo.args(["build", "--package", "lanrage-tests", "--bin", "lab"]))?;
    let mut lab = with_rights(&programs::target()?.join("debug/lab"))?;
    programs.tell(&mut lab);
    lab.args(["--members", &arguments.members.to_string()]);
    if arguments.server {
        lab.arg("--server");
    }
    if arguments.keep {
        lab.arg("--keep");
    }
    shell::run_to_its_end(&mut lab)
}

/// The programs that a lab puts into its hosts.
pub(crate) struct Programs {
    engine: std::path::PathBuf,
    server: std::path::PathBuf,
}

impl Programs {
    /// Builds them.
    ///
    /// # Errors
    /// When one does not compile.
    pub(crate) fn build(profile: Profile) -> Result<Self> {
        Ok(Self {
            engine: programs::build("lanrage-engine", profile)?,
            server: programs::build("lanrage-server", profile)?,
        })
    }

    /// Tells a command where they are.
    pub(crate) fn tell(&self, command: &mut Command) {
        command
            .env("LANRAGE_ENGINE", &self.engine)
            .env("LANRAGE_SERVER", &self.server);
    }
}

/// Checks that network namespaces can be made here.
///
/// # Errors
/// One sentence that says what is missing.
pub(crate) fn check() -> Result<()> {
    ensure!(
        cfg!(target_os = "linux"),
        "A lab is made of network namespaces, which only Linux has."
    );
    ensure!(
        shell::exists("ip"),
        "A lab needs the program `ip` (package iproute2)."
    );
    if !shell::is_root() && !shell::succeeds(&mut unshare(Path::new("true"))?) {
        bail!(
            "A lab needs root or user namespaces, and this system forbids the latter: run it with sudo, or allow \
             them (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0)."
        );
    }
    Ok(())
}

/// A command that runs `program` with the right to make network namespaces: as it is for root, else as root of a
/// user namespace with nothing to reach and a `/run` of its own, where `ip netns` keeps its names.
pub(crate) fn with_rights(program: &Path) -> Result<Command> {
    if shell::is_root() {
        shell::command(program)
    } else {
        unshare(program)
    }
}

/// A command that runs `program` with a network of its own that reaches nothing.
pub(crate) fn isolated(program: &Path) -> Result<Command> {
    if !shell::is_root() {
        return unshare(program);
    }
    let mut command = shell::command("unshare")?;
    command
        .args([
            "--net",
            "--",
            "sh",
            "-c",
            "ip link set lo up && exec \"$@\"",
            "sh",
        ])
        .arg(program);
    Ok(command)
}

fn unshare(program: &Path) -> Result<Command> {
    // The process id stays the same through both execs, so others can step in beside it.
    let script = "mount -t tmpfs lab /run && ip link set lo up && \
                  export LANRAGE_LAB_ENTER=\"nsenter --preserve-credentials -U -n -m -t $$\" && exec \"$@\"";
    let mut command = shell::command("unshare")?;
    command
        .args([
            "--map-root-user",
            "--net",
            "--mount",
            "--",
            "sh",
            "-c",
            script,
            "sh",
        ])
        .arg(program);
    Ok(command)
}
