//! A real `lanrage-engine` in a host, spoken to by its command line.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

use super::net::Host;
use super::process::Process;
use super::programs;
use super::refusal::Refusal;
use super::status::Status;
use super::wait::{PATIENCE, eventually, felt};

/// The adapter's name in every host: each has a namespace of its own.
const ADAPTER: &str = "lanrage0";

/// The engine's UDP port in every host.
const PORT: u16 = 51820;

/// Seconds after which a verb that does not come back is ended.
const VERB_LIMIT: &str = "60";

/// How an engine is started.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The player's name.
    pub player: String,
    /// The value of `--control`.
    pub control: String,
}

/// A running engine, or a stopped one between [`Engine::kill9`] and [`Engine::start_again`].
#[derive(Debug)]
pub struct Engine {
    host: Host,
    options: EngineOptions,
    program: PathBuf,
    folder: PathBuf,
    wrapper: Vec<String>,
    client_wrapper: Vec<String>,
    arguments: Vec<String>,
    process: Option<Process>,
}

impl Engine {
    /// Starts an engine with an empty state directory and waits for its first answer.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub fn start(host: &Host, options: EngineOptions) -> Result<Self> {
        let mut engine = Self::prepare(host, options)?;
        engine.start_again()?;
        Ok(engine)
    }

    /// One with an empty state directory that does not run yet.
    ///
    /// # Errors
    /// When its directories can't be made, or its program is not built.
    pub fn prepare(host: &Host, options: EngineOptions) -> Result<Self> {
        let folder = host.lab().files().join(format!("h{}", host.index()));
        fs::create_dir_all(folder.join("state"))?;
        fs::create_dir_all(folder.join("run"))?;
        // The engine and its clients distrust a socket in a directory that others may write to.
        fs::set_permissions(folder.join("run"), fs::Permissions::from_mode(0o755))?;
        fs::write(folder.join("engine.toml"), "")?;
        Ok(Self {
            host: host.clone(),
            options,
            program: programs::engine()?,
            folder,
            wrapper: Vec::new(),
            client_wrapper: Vec::new(),
            arguments: Vec::new(),
            process: None,
        })
    }

    /// Starts it with the state it left, and waits for its first answer. Returns how long that took.
    ///
    /// # Errors
    /// When it still runs, or does not answer in time.
    pub fn start_again(&mut self) -> Result<Duration> {
        ensure!(self.process.is_none(), "engine {} still runs", self.host.index());
        let name = format!("engine-{}", self.host.index());
        let process = self.spawn(&name, &[])?;
        self.process = Some(process);
        eventually(&format!("{name} answers"), felt::START, || {
            let running = self.process.as_mut().map_or(Ok(false), Process::is_running)?;
            ensure!(running, "{name} ended by itself");
            Ok(self.status().map(drop).map_err(|error| format!("{error:#}")))
        })
    }

    /// Starts it where it can't run, and waits for its end. Returns what a user sees of it.
    ///
    /// # Errors
    /// When it still runs, or ends well, or does not end in time.
    pub fn fail_to_start(&mut self) -> Result<Refusal> {
        ensure!(self.process.is_none(), "engine {} still runs", self.host.index());
        let started = |more: &[&str]| -> Result<(Option<i32>, String)> {
            let mut process = self.spawn("engine-that-fails", more)?;
            let limit = felt::START * PATIENCE;
            let status = process.ends_within(limit)?;
            Ok((status.code(), process.log()))
        };
        let (exit, plain) = started(&[])?;
        let (exit_json, json) = started(&["--json"])?;
        ensure!(
            exit == exit_json,
            "exit status {exit:?}, and {exit_json:?} with --json"
        );
        let line = json
            .lines()
            .find(|line| line.starts_with('{'))
            .unwrap_or_default();
        let refusal = Refusal::new(exit, line, &plain);
        refusal.holds_both_sentences(&plain)?;
        Ok(refusal)
    }

    fn spawn(&self, name: &str, more: &[&str]) -> Result<Process> {
        let mut words = self
            .wrapper
            .iter()
            .map(AsRef::as_ref)
            .chain([self.program.as_path()]);
        let mut command = self.host.command(words.next().context("no program")?);
        command.args(words).arg("run");
        let usual: [(&str, OsString); 10] = [
            ("--socket", self.socket().into()),
            ("--state-dir", self.folder.join("state").into()),
            ("--config", self.folder.join("engine.toml").into()),
            ("--tun", ADAPTER.into()),
            ("--port", PORT.to_string().into()),
            ("--log", "debug".into()),
            // Public servers are none of a lab's.
            ("--stun", "none".into()),
            ("--port-mapping", "off".into()),
            ("--control", self.options.control.clone().into()),
            ("--name", self.options.player.clone().into()),
        ];
        for (argument, value) in usual {
            if !self.arguments.iter().any(|own| own == argument) {
                command.arg(argument).arg(value);
            }
        }
        command.args(&self.arguments).args(more);
        self.host.spawn(name, &mut command)
    }

    /// Puts a program and its arguments in front of the engine's from the next start on, as `setpriv --reuid=1000`.
    pub fn set_wrapper(&mut self, wrapper: &[&str]) {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
    }

    /// As [`Engine::set_wrapper`], for the verbs.
    pub fn set_client_wrapper(&mut self, wrapper: &[&str]) {
        self.client_wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
    }

    /// Takes the program from here from now on, as one who can't read where it was built needs.
    pub fn set_program(&mut self, program: &Path) {
        program.clone_into(&mut self.program);
    }

    /// Adds arguments to `run` from the next start on, in the place of the usual ones of the same name.
    pub fn set_arguments(&mut self, arguments: &[&str]) {
        self.arguments = arguments.iter().map(|&word| word.to_owned()).collect();
    }

    /// The host it runs in.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The name of its adapter.
    #[must_use]
    pub fn adapter(&self) -> &'static str {
        ADAPTER
    }

    /// The UDP port it was told to use.
    #[must_use]
    pub fn port(&self) -> u16 {
        PORT
    }

    /// Its process id while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// The directory of its state, its settings and its socket's directory.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its IPC socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("run/engine.sock")
    }

    /// The program that is under test.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// What it logged since its last start.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// Changes `--control` for the next start.
    pub fn set_control(&mut self, control: &str) {
        control.clone_into(&mut self.options.control);
    }

    /// Runs a verb with `--json` and returns what it printed.
    ///
    /// # Errors
    /// A [`Refusal`] when its exit status is not 0.
    pub fn cli(&self, arguments: &[&str]) -> Result<Value> {
        self.cli_with_input(arguments, "")
    }

    /// As [`Engine::cli`], with something on standard input.
    ///
    /// # Errors
    /// As [`Engine::cli`].
    pub fn cli_with_input(&self, arguments: &[&str], input: &str) -> Result<Value> {
        let mut arguments = arguments.to_vec();
        arguments.push("--json");
        let output = self.verb(&arguments, input.as_bytes())?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return serde_json::from_str(&printed)
                .with_context(|| format!("{arguments:?} printed {printed:?}"));
        }
        let refusal = Refusal::new(
            output.status.code(),
            &printed,
            &String::from_utf8_lossy(&output.stderr),
        );
        Err(anyhow!(refusal).context(format!("engine {}: {}", self.host.index(), arguments.join(" "))))
    }

    /// Lets it refuse a verb, once with `--json` and once in sentences, and checks what both have to have in common:
    /// exit status 4, this fault code, one sentence and one action without gaps, nothing else printed.
    ///
    /// # Errors
    /// When it is not refused so.
    pub fn refuses(&self, arguments: &[&str], input: &[u8], code: &str) -> Result<Refusal> {
        let json = self.verb(&[arguments, &["--json"]].concat(), input)?;
        let refusal = Refusal::new(
            json.status.code(),
            &String::from_utf8_lossy(&json.stdout),
            &String::from_utf8_lossy(&json.stderr),
        );
        ensure!(
            refusal.exit == Some(4) && refusal.fault.as_deref() == Some(code),
            "{arguments:?} should be refused as {code}: {refusal}"
        );
        ensure!(
            json.stderr.is_empty(),
            "with --json it also says {:?}",
            refusal.printed
        );
        let plain = self.verb(arguments, input)?;
        ensure!(
            plain.status.code() == Some(4) && plain.stdout.is_empty(),
            "{arguments:?}: {} and standard output {:?}",
            plain.status,
            String::from_utf8_lossy(&plain.stdout)
        );
        refusal.holds_both_sentences(&String::from_utf8_lossy(&plain.stderr))?;
        Ok(refusal)
    }

    /// Runs a verb as a user types it and returns the sentences it printed, errors included.
    ///
    /// # Errors
    /// When its exit status is not 0.
    pub fn say(&self, arguments: &[&str]) -> Result<String> {
        let output = self.verb(arguments, &[])?;
        let printed = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        ensure!(
            output.status.success(),
            "{arguments:?}: {}: {printed}",
            output.status
        );
        Ok(printed)
    }

    fn verb(&self, arguments: &[&str], input: &[u8]) -> Result<Output> {
        let mut child = Command::new("timeout")
            .arg(VERB_LIMIT)
            .args(&self.client_wrapper)
            .arg(&self.program)
            .args(arguments.first())
            .args([OsStr::new("--socket"), self.socket().as_os_str()])
            .args(arguments.iter().skip(1))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("the command line can't be started")?;
        if let Some(mut pipe) = child.stdin.take() {
            // A verb that reads no input may have closed it already.
            let _ = pipe.write_all(input);
        }
        Ok(child.wait_with_output()?)
    }

    /// Its status now.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn status(&self) -> Result<Status> {
        self.cli(&["status"]).map(Status)
    }

    /// Its own virtual address.
    ///
    /// # Errors
    /// When it does not answer or is in no party.
    pub fn address(&self) -> Result<Ipv4Addr> {
        self.status()?.own_address()
    }

    /// Waits until its status satisfies `holds`. Returns how long it took. While it gives no status, as an engine
    /// that just starts, it is asked again.
    ///
    /// # Errors
    /// When it does not within [`PATIENCE`] × `felt`; the message carries the last status. When `holds` fails:
    /// at once.
    pub fn wait_until(
        &self,
        what: &str,
        felt: Duration,
        mut holds: impl FnMut(&Status) -> Result<bool>,
    ) -> Result<Duration> {
        let what = format!("{}: {what}", self.options.player);
        eventually(&what, felt, || {
            let status = match self.status() {
                Ok(status) => status,
                Err(error) => return Ok(Err(format!("{error:#}"))),
            };
            Ok(if holds(&status)? {
                Ok(())
            } else {
                Err(status.summary())
            })
        })
    }

    /// Waits until the party is active and `others` other members are up.
    ///
    /// # Errors
    /// As [`Engine::wait_until`].
    pub fn wait_all_up(&self, others: usize, felt: Duration) -> Result<Duration> {
        self.wait_until(&format!("{others} peers up"), felt, |status| {
            status.all_up(others)
        })
    }

    /// Follows its changes from now on.
    ///
    /// # Errors
    /// When `watch` can't be started.
    pub fn watch(&self) -> Result<Watch> {
        Watch::start(self)
    }

    /// Kills it as a crash would.
    ///
    /// # Errors
    /// When it had already ended.
    pub fn kill9(&mut self) -> Result<()> {
        self.process.take().context("the engine does not run")?.kill9()
    }

    /// Stops it as a reboot would (SIGTERM) and waits for its end.
    ///
    /// # Errors
    /// When it had already ended, fails or takes too long.
    pub fn terminate(&mut self) -> Result<()> {
        let status = self
            .process
            .take()
            .context("the engine does not run")?
            .terminate(felt::LEAVE * PATIENCE)?;
        ensure!(status.success(), "the engine ended with {status} after SIGTERM");
        Ok(())
    }

    /// What is left in its host of being in a party: the adapter, routes, the bound port.
    ///
    /// # Errors
    /// When the host can't be looked at.
    pub fn remains(&self) -> Result<Vec<String>> {
        let mut remains: Vec<String> = self
            .host
            .adapters()?
            .into_iter()
            .map(|name| format!("adapter {name}"))
            .collect();
        remains.extend(
            self.host
                .party_routes(ADAPTER)?
                .into_iter()
                .map(|route| format!("route {route}")),
        );
        if self.host.udp_ports()?.contains(&PORT) {
            remains.push(format!("UDP port {PORT}"));
        }
        Ok(remains)
    }

    /// [`Engine::remains`], and what else an engine in no party must not have: listening TCP ports, a party in its
    /// state directory.
    ///
    /// # Errors
    /// When the host or the directory can't be looked at.
    pub fn traces(&self) -> Result<Vec<String>> {
        let mut traces = self.remains()?;
        traces.extend(
            self.host
                .tcp_ports()?
                .into_iter()
                .map(|port| format!("TCP port {port}")),
        );
        for entry in fs::read_dir(self.folder.join("state"))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let known = ["device.seed", "boot", "ports.json", "engine.lock", "log"];
            if !known.contains(&name.as_str()) {
                traces.push(format!("state file {name}"));
            }
        }
        Ok(traces)
    }

    /// Whether it went through whatever was done to it: it runs, answers, and nothing in it panicked.
    ///
    /// # Errors
    /// When it does not.
    pub fn unharmed(&mut self) -> Result<()> {
        let running = self.process.as_mut().map_or(Ok(false), Process::is_running)?;
        ensure!(running, "the engine ended: {}", self.log());
        self.status()?;
        let log = self.log();
        let panic = log.lines().find(|line| line.contains("panicked"));
        ensure!(panic.is_none(), "in its log: {}", panic.unwrap_or_default());
        Ok(())
    }
}

/// A running `lanrage-engine watch --json`.
#[derive(Debug)]
pub struct Watch {
    player: String,
    child: Child,
    seen: Arc<Mutex<Vec<(Instant, Status)>>>,
}

impl Watch {
    fn start(engine: &Engine) -> Result<Self> {
        let mut child = Command::new(&engine.program)
            .arg("watch")
            .args([OsStr::new("--socket"), engine.socket().as_os_str()])
            .arg("--json")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("watch can't be started")?;
        let output = child.stdout.take().context("watch has no output")?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&seen);
        // Ends with the child's output.
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Ok(value) = serde_json::from_str(&line) {
                    shared
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((Instant::now(), Status(value)));
                }
            }
        });
        Ok(Self {
            player: engine.options.player.clone(),
            child,
            seen,
        })
    }

    /// Waits until one of the statuses printed since the start satisfies `holds`.
    ///
    /// # Errors
    /// When none does within [`PATIENCE`] × `felt`.
    pub fn wait_for(
        &self,
        what: &str,
        felt: Duration,
        holds: impl Fn(&Status) -> Result<bool>,
    ) -> Result<Duration> {
        eventually(&format!("{} watches: {what}", self.player), felt, || {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            for (_, status) in seen.iter() {
                if holds(status)? {
                    return Ok(Ok(()));
                }
            }
            let last = seen.last().map(|(_, status)| status.summary());
            Ok(Err(last.unwrap_or_else(|| "nothing".to_owned())))
        })
    }

    /// When the first status that satisfies `holds` was printed, if one was.
    ///
    /// # Errors
    /// When `holds` fails.
    pub fn first(&self, holds: impl Fn(&Status) -> Result<bool>) -> Result<Option<Instant>> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for (at, status) in seen.iter() {
            if holds(status)? {
                return Ok(Some(*at));
            }
        }
        Ok(None)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Fails only for a child that has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
