//! From the window's start to its being usable, on a display of its own and a scripted engine.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context, Result, bail, ensure};
use lanrage_tests::lab::{Host, Lab, PATIENCE, Process, eventually, felt};
use lanrage_tests::scripted::Scripted;

use crate::figures::{self, Figure, median_and_worst, millis};

/// Starts, after a first one that finds nothing in the system's cache.
const STARTS: usize = 5;

/// How often the window's log is read.
const LOOK: Duration = Duration::from_millis(2);

/// What the window logs when it is on the screen.
const SHOWN: &str = "the window is shown";

/// What it logs when its page has what it shows and hears what changes.
const LISTENS: &str = "the page listens here=true";

/// What was measured.
pub(crate) struct Report(Vec<Figure>);

impl Report {
    pub(crate) fn print(&self) {
        figures::print(&self.0);
    }
}

/// A display and a session bus.
struct Desktop {
    display: String,
    bus: String,
    _processes: [Process; 2],
}

pub(crate) fn measure(lab: &Lab) -> Result<Report> {
    match starts(lab) {
        Ok((first, more)) => Ok(Report(vec![
            (
                "window's start to usable, the first".to_owned(),
                format!("{:.0} ms", millis(first)),
            ),
            (
                format!("window's start to usable, {STARTS} more"),
                median_and_worst(&more),
            ),
        ])),
        Err(error) => Ok(Report(vec![(
            "the window is not measured".to_owned(),
            format!("{error:#}"),
        )])),
    }
}

fn starts(lab: &Lab) -> Result<(Duration, Vec<Duration>)> {
    let program = env::var_os("LANRAGE_WINDOW").context("LANRAGE_WINDOW names no program")?;
    let program = PathBuf::from(program);
    let host = lab.host()?;
    let desktop = Desktop::raise(&host)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let socket = lab.files().join("engine.sock");
    let _entered = runtime.enter();
    let _engine = Scripted::start(&socket)?;
    let first = start(&host, &desktop, &program, &socket)?;
    let more = (0..STARTS).map(|_| start(&host, &desktop, &program, &socket));
    Ok((first, more.collect::<Result<_>>()?))
}

/// Opens the window, returns how long that took, and ends it.
fn start(host: &Host, desktop: &Desktop, program: &Path, socket: &Path) -> Result<Duration> {
    let folders = host.lab().files().join("folders");
    let mut command = host.command(program);
    command
        .env("DISPLAY", &desktop.display)
        .env("DBUS_SESSION_BUS_ADDRESS", &desktop.bus)
        .env("LANRAGE_SOCKET", socket)
        .env("LANRAGE_LOG", "lanrage=debug");
    for name in [
        "CONFIG_HOME",
        "DATA_HOME",
        "CACHE_HOME",
        "STATE_HOME",
        "RUNTIME_DIR",
    ] {
        let folder = folders.join(name);
        fs::create_dir_all(&folder)?;
        command.env(format!("XDG_{name}"), folder);
    }
    let started = Instant::now();
    let mut window = host.spawn("window", &mut command)?;
    loop {
        let log = window.log();
        if log.contains(SHOWN) && log.contains(LISTENS) {
            let took = started.elapsed();
            window.terminate(felt::LEAVE * PATIENCE)?;
            return Ok(took);
        }
        ensure!(window.is_running()?, "the window ended: {log}");
        if started.elapsed() > felt::START * PATIENCE {
            bail!("the window is not usable after {:.1?}: {log}", started.elapsed());
        }
        thread::sleep(LOOK);
    }
}

impl Desktop {
    fn raise(host: &Host) -> Result<Self> {
        let mut command = host.command("Xvfb".as_ref());
        command.args([
            "-displayfd",
            "1",
            "-screen",
            "0",
            "1280x900x24",
            "-nolisten",
            "tcp",
        ]);
        let server = host.spawn("Xvfb", &mut command)?;
        let display = said(&server, "a display", |line| line.parse::<u16>().is_ok())?;
        let mut command = host.command("dbus-daemon".as_ref());
        command.args(["--session", "--nofork", "--print-address=1"]);
        let bus = host.spawn("dbus-daemon", &mut command)?;
        Ok(Self {
            display: format!(":{display}"),
            bus: said(&bus, "a session bus", |line| line.starts_with("unix:"))?,
            _processes: [server, bus],
        })
    }
}

/// The first line that a program prints of this kind.
fn said(process: &Process, what: &str, is: impl Fn(&str) -> bool) -> Result<String> {
    let mut found = None;
    eventually(what, felt::START, || {
        let log = process.log();
        found = log
            .lines()
            .map(str::trim)
            .find(|line| is(line))
            .map(str::to_owned);
        Ok(if found.is_some() { Ok(()) } else { Err(log) })
    })?;
    found.context("nothing was printed")
}
