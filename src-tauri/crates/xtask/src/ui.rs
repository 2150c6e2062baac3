//! `cargo xtask ui`: the real window on a scripted engine.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};

use crate::programs::{self, Profile};
use crate::{frontend, packages, shell, toolchain};

/// Open the real window on a scripted engine: nothing is networked, no rights are needed.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The state to begin with, such as idle, joining, alone, mixed or control-away; any other name lists them all.
    #[arg(long, value_name = "NAME", default_value = "idle")]
    scene: String,
    /// Install packages without asking.
    #[arg(long)]
    yes: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    toolchain::check()?;
    packages::ensure(packages::For::Building, arguments.yes)?;
    frontend::build()?;
    let window = programs::build("lanrage", Profile::Debug)?;
    shell::run(shell::cargo()?.args(["build", "--package", "lanrage-tests", "--bin", "scripted"]))?;
    let target = programs::target()?;
    let folder = target.join("ui");
    fs::create_dir_all(&folder)?;
    let socket = folder.join("engine.sock");
    if socket.exists() {
        fs::remove_file(&socket)?;
    }
    let _engine = Scripted::start(&target.join("debug/scripted"), &socket, &arguments.scene)?;
    shell::run_to_its_end(shell::command(window)?.env("LANRAGE_SOCKET", &socket))
}

/// The scripted engine; ended when dropped.
struct Scripted(Child);

impl Scripted {
    fn start(program: &Path, socket: &Path, scene: &str) -> Result<Self> {
        let mut command = Command::new(program);
        command
            .arg("--socket")
            .arg(socket)
            .args(["--scene", scene])
            .stdin(Stdio::null());
        shell::say(&command);
        let mut scripted = Self(command.spawn().context("the scripted engine can't be started")?);
        // Elsewhere the socket is no file; the window asks until somebody answers.
        while cfg!(unix) && !socket.exists() {
            if let Some(status) = scripted.0.try_wait()? {
                bail!("the scripted engine ended with {status}");
            }
            thread::sleep(shell::LOOK);
        }
        Ok(scripted)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        // Fails only for a child that has ended, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
