//! Running other programs: said before, checked after.

use std::env;
use std::ffi::OsStr;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// How often running children are looked at.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

/// The folder that holds the workspace.
pub(crate) fn root() -> Result<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors()
        .nth(3)
        .map(Path::to_owned)
        .context("xtask has been moved out of src-tauri/crates")
}

/// A command that runs at the top of the tree.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Result<Command> {
    let mut command = Command::new(program);
    command.current_dir(root()?);
    Ok(command)
}

/// The cargo that runs this program.
pub(crate) fn cargo() -> Result<Command> {
    let mut cargo = command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))?;
    // What cargo tells this program of its package. Build scripts that look at the same names would run anew whenever
    // one cargo is called from here and the next from a shell.
    let ours = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(ours) {
            cargo.env_remove(name);
        }
    }
    Ok(cargo)
}

/// Prints the command, runs it with this program's input and output, and waits.
///
/// # Errors
/// When it can't be started or does not end with exit status 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    say(command);
    let status = command
        .status()
        .with_context(|| format!("{} can't be started", name(command)))?;
    ensure!(status.success(), "{} ended with {status}", name(command));
    Ok(())
}

/// As [`run`], for a program that takes down what it put up: on Ctrl-C, or when this program is told to end, it is
/// sent SIGTERM and waited for.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_to_its_end(command: &mut Command) -> Result<()> {
    let stopped = on_stop()?;
    say(command);
    let mut child = command
        .spawn()
        .with_context(|| format!("{} can't be started", name(command)))?;
    loop {
        if let Some(status) = child.try_wait()? {
            ensure!(status.success(), "{} ended with {status}", name(command));
            return Ok(());
        }
        if stopped.recv_timeout(LOOK).is_ok() {
            // It may have ended a moment ago, or have heard of Ctrl-C by itself.
            succeeds(Command::new("kill").args(["-TERM", &child.id().to_string()]));
        }
    }
}

/// Receives once somebody presses Ctrl-C or ends this program. From then on the default, dying at once, is off: the
/// engine is to be stopped first.
pub(crate) fn on_stop() -> Result<Receiver<()>> {
    let (stop, stopped) = mpsc::channel();
    ctrlc::set_handler(move || {
        // Fails only when nobody waits any more.
        let _ = stop.send(());
    })
    .context("Ctrl-C can't be caught")?;
    Ok(stopped)
}

/// Runs the command quietly and returns its standard output; its errors are shown.
///
/// # Errors
/// As [`run`].
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{} can't be started", name(command)))?;
    ensure!(
        output.status.success(),
        "{} ended with {}",
        name(command),
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether the command can be started and ends well; nothing is shown.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Prints the command as one could type it.
pub(crate) fn say(command: &Command) {
    let words: Vec<String> = command
        .get_args()
        .map(|word| quote(&word.to_string_lossy()))
        .collect();
    println!(
        "$ {} {}",
        quote(&command.get_program().to_string_lossy()),
        words.join(" ")
    );
}

/// Whether a program of this name lies in `$PATH`.
pub(crate) fn exists(program: &str) -> bool {
    let paths = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&paths).any(|folder| folder.join(program).is_file())
}

/// The user's id; none on systems without such.
pub(crate) fn user_id() -> Option<u32> {
    let output = Command::new("id").arg("-u").output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// Whether this program runs as root.
pub(crate) fn is_root() -> bool {
    user_id() == Some(0)
}

/// Asks a question that `yes` or Enter agrees to.
///
/// # Errors
/// When the answer is no, or nobody is there to answer.
pub(crate) fn ask(question: &str) -> Result<()> {
    ensure!(
        std::io::stdin().is_terminal(),
        "{question} Nobody is there to answer: add --yes to agree."
    );
    print!("{question} [Y/n] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    match answer.trim().to_lowercase().as_str() {
        "" | "y" | "yes" => Ok(()),
        _ => bail!("stopped as you wished"),
    }
}

/// What a message calls a command: its program without the folder, and its first argument.
fn name(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut words = vec![
        program
            .file_name()
            .unwrap_or(program.as_os_str())
            .to_string_lossy(),
    ];
    words.extend(command.get_args().take(1).map(OsStr::to_string_lossy));
    format!("`{}`", words.join(" "))
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::{quote, root};

    #[test]
    fn the_root_holds_the_workspace() {
        assert!(
            root()
                .unwrap()
                .join("src-tauri/crates/xtask/Cargo.toml")
                .is_file()
        );
    }

    #[test]
    fn printed_commands_can_be_pasted() {
        assert_eq!(quote("--tun=lanrage0"), "--tun=lanrage0");
        assert_eq!(quote("Friday night"), "'Friday night'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
    }
}
