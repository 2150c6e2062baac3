//! `cargo xtask run`: from a clean clone to the open window.

use std::env;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use anyhow::{Context, Result, bail, ensure};

use crate::programs::{self, Profile};
use crate::{frontend, packages, shell, toolchain};

/// The engine's exit status for a client that reaches no engine.
const NOT_REACHABLE: i32 = 3;

/// Runs a program until it ends, its input does, or a signal comes: the last two send it SIGTERM and wait for it.
///
/// The input is a pipe that this program holds, so that an engine with root's rights can be ended without having
/// them, and ends even when this program is killed.
const KEEPER: &str = r#"
exec 3<&0
"$@" 3<&- &
program=$!
trap 'kill -TERM $program 2>/dev/null' INT TERM HUP
( trap '' INT TERM HUP; cat <&3 >/dev/null; kill -TERM $program 2>/dev/null ) &
watcher=$!
exec 3<&-
wait $program; status=$?
while kill -0 $program 2>/dev/null; do wait $program; status=$?; done
kill -KILL $watcher 2>/dev/null
exit $status
"#;

/// Install what a build needs, build, start the engine with the rights it needs, and open the window.
///
/// Without a display the engine is started and the commands to go on are printed. Ctrl-C ends everything.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Install packages without asking.
    #[arg(long)]
    yes: bool,
    /// Further arguments of `lanrage-engine run`.
    #[arg(last = true, value_name = "ENGINE ARGS")]
    engine: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    toolchain::check()?;
    packages::ensure(packages::For::Building, arguments.yes)?;
    frontend::build()?;
    let engine = programs::build("lanrage-engine", Profile::Debug)?;
    let window = programs::build("lanrage", Profile::Debug)?;

    let stopped = shell::on_stop()?;
    let mut running = Engine::start(&engine, &arguments.engine)?;
    if !running.wait_until_reachable(&engine, &arguments.engine, &stopped)? {
        return running.stop();
    }
    let mut window = if has_display() {
        let mut command = shell::command(&window)?;
        command.args(socket_of(&arguments.engine));
        shell::say(&command);
        Some(Window(command.spawn().context("the window can't be opened")?))
    } else {
        print_how_to_go_on(&engine, &arguments.engine);
        None
    };
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(shell::LOOK) {
        running.check()?;
        if let Some(Window(child)) = &mut window {
            if let Some(status) = child.try_wait()? {
                println!("The window was closed ({status}).");
                break;
            }
        }
    }
    drop(window);
    running.stop()
}

/// The open window; closed when dropped.
struct Window(Child);

impl Drop for Window {
    fn drop(&mut self) {
        // Fails only for a child that has ended, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The running engine, or what keeps it.
struct Engine {
    child: Child,
    /// Closing it ends the engine.
    leash: Option<ChildStdin>,
}

impl Engine {
    fn start(program: &Path, arguments: &[String]) -> Result<Self> {
        let mut command = with_rights(program)?;
        command.arg("run");
        // The window and the verbs below run as the user who typed this.
        if let Some(user) = shell::user_id().filter(|user| *user != 0) {
            command.args(["--allow-uid", &user.to_string()]);
        }
        command.args(arguments);
        println!(
            "Starting the engine: {} run {}",
            program.display(),
            arguments.join(" ")
        );
        let mut child = command
            .stdin(Stdio::piped())
            .spawn()
            .context("the engine can't be started")?;
        let leash = child.stdin.take();
        Ok(Self { child, leash })
    }

    /// Waits until the engine answers: as long as it takes, since someone may be typing a password. False when the
    /// user stopped it meanwhile.
    fn wait_until_reachable(
        &mut self,
        program: &Path,
        arguments: &[String],
        stopped: &Receiver<()>,
    ) -> Result<bool> {
        loop {
            self.check()?;
            let mut status = Command::new(program);
            status.arg("status").args(socket_of(arguments));
            let status = status
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()?;
            // A refusal is an answer as well.
            if status.code() != Some(NOT_REACHABLE) {
                return Ok(true);
            }
            match stopped.recv_timeout(shell::LOOK) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(false),
            }
        }
    }

    /// Fails when the engine has ended by itself.
    fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the engine has ended ({status}); its last words are above"),
        }
    }

    fn stop(mut self) -> Result<()> {
        println!("Stopping the engine.");
        let status = self.end()?;
        // Windows has no signal to end a program by: it was killed.
        ensure!(
            status.success() || cfg!(windows),
            "the engine ended with {status}"
        );
        Ok(())
    }

    fn end(&mut self) -> std::io::Result<ExitStatus> {
        drop(self.leash.take());
        if cfg!(windows) {
            self.child.kill()?;
        }
        self.child.wait()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // An engine that has ended and was waited for says so again.
        let _ = self.end();
    }
}

/// A command that runs the program under [`KEEPER`] as root. On Windows the engine is started as it is, and says
/// itself when it lacks rights.
fn with_rights(program: &Path) -> Result<Command> {
    if cfg!(windows) {
        return shell::command(program);
    }
    let mut command = if shell::is_root() {
        shell::command("sh")?
    } else if shell::exists("sudo") {
        // The password is asked for now, on the terminal, and not in the middle of the engine's output.
        shell::run(shell::command("sudo")?.arg("--validate"))?;
        let mut command = shell::command("sudo")?;
        command.arg("sh");
        command
    } else if shell::exists("pkexec") {
        let mut command = shell::command("pkexec")?;
        command.arg("sh");
        command
    } else {
        bail!("The engine makes a network adapter and needs root for it: install sudo or run this as root.");
    };
    command.args(["-c", KEEPER, "sh"]).arg(program);
    Ok(command)
}

/// The `--socket` among the engine's arguments, as the verbs and the window take it.
fn socket_of(arguments: &[String]) -> Vec<String> {
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if word == "--socket" {
            return words
                .next()
                .map_or_else(Vec::new, |path| vec![word.clone(), path.clone()]);
        }
        if word.starts_with("--socket=") {
            return vec![word.clone()];
        }
    }
    Vec::new()
}

fn has_display() -> bool {
    let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    !cfg!(target_os = "linux") || set("DISPLAY") || set("WAYLAND_DISPLAY")
}

fn print_how_to_go_on(engine: &Path, arguments: &[String]) {
    let socket: String = socket_of(arguments)
        .iter()
        .map(|word| format!(" {word}"))
        .collect();
    let engine = engine.display();
    println!(
        "\nThere is no display, so no window. The engine runs; in another terminal:\n\
         \x20 {engine} create{socket} \"Friday night\"     create a party and print its ID\n\
         \x20 {engine} join{socket} ID                   join a friend's party\n\
         \x20 {engine} status{socket}                    who is there, and their pings\n\
         \x20 {engine} leave{socket}                     leave it\n\
         Ctrl-C ends the engine.\n"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn verbs_speak_to_the_socket_that_the_engine_was_given() {
        assert_eq!(
            socket_of(&words("--log debug --socket /run/x --tun t0")),
            words("--socket /run/x")
        );
        assert_eq!(socket_of(&words("--socket=/run/x")), words("--socket=/run/x"));
        assert!(socket_of(&words("--tun t0")).is_empty());
    }

    /// What the keeper prints and its exit status when `script` is the program; its input is closed once `ready`
    /// was printed.
    #[cfg(unix)]
    fn keep(script: &str, close: bool) -> (String, Option<i32>) {
        use std::io::{BufRead, BufReader, Read};
        let mut child = Command::new("sh")
            .args(["-c", KEEPER, "sh", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        output.read_line(&mut text).unwrap();
        if close {
            input = None;
        }
        let status = child.wait().unwrap();
        drop(input);
        output.read_to_string(&mut text).unwrap();
        (text, status.code())
    }

    #[test]
    #[cfg(unix)]
    fn closing_the_leash_terminates_the_program_and_waits_for_it() {
        let script = "trap 'echo cleaning; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
        assert_eq!(keep(script, true), ("ready\ncleaning\n".to_owned(), Some(7)));
    }

    #[test]
    #[cfg(unix)]
    fn a_program_that_ends_by_itself_ends_the_keeper_with_its_status() {
        assert_eq!(keep("echo ready; exit 5", false), ("ready\n".to_owned(), Some(5)));
    }
}
