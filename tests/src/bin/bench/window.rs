//! The window: from its start to its being usable, what it costs in a party of eight, and in one of 64 in which every
//! member's ping changes twice a second. On a display of its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context, Result, bail, ensure};
use lanrage_proto::ipc::{PathKind, Status};
use lanrage_tests::lab::{Host, Lab, PATIENCE, Process, eventually, felt, scenario};
use lanrage_tests::scripted::{Scripted, scenes};

use crate::crowd;
use crate::figures::{self, Figure, median_and_worst, millis};
use crate::measure::{cpu_seconds, resident_mib};

/// Starts, after a first one that finds nothing in the system's cache.
const STARTS: usize = 5;

/// How often the window's log is read.
const LOOK: Duration = Duration::from_millis(2);

/// What the window logs when it is on the screen.
const SHOWN: &str = "the window is shown";

/// What it logs when its page has what it shows and hears what changes.
const LISTENS: &str = "the page listens here=true";

/// Players of the party in which the window idles, and of the largest.
const PARTY: usize = 8;
const CROWD: u8 = 64;

/// Between two changes of every ping in the crowd.
const CHANGE: Duration = Duration::from_millis(500);

/// A window that has just been opened still loads, and for a minute its lines grow.
const SETTLES: Duration = Duration::from_secs(75);

/// How long CPU time is counted.
const COUNTED: Duration = Duration::from_secs(20);

/// Measure the window: its start, and what it costs in a party.
#[derive(clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn run(_: &Arguments) -> Result<()> {
    let starts = scenario("window", measure)?;
    let (party, crowd) = (scenario("party", in_party)?, scenario("crowd", in_crowd)?);
    starts.print();
    figures::print(&party);
    figures::print(&crowd);
    Ok(())
}

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
    let program = program()?;
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
    let (window, took) = open(host, desktop, program, socket)?;
    window.terminate(felt::LEAVE * PATIENCE)?;
    Ok(took)
}

/// Opens the window, and returns how long that took.
fn open(host: &Host, desktop: &Desktop, program: &Path, socket: &Path) -> Result<(Process, Duration)> {
    let folders = host.lab().files().join("folders");
    let mut command = host.command(program);
    command
        .env("DISPLAY", &desktop.display)
        .env("DBUS_SESSION_BUS_ADDRESS", &desktop.bus)
        .env("LANRAGE_SOCKET", socket)
        .env("LANRAGE_LOG", "lanrage=debug")
        .env("NO_COLOR", "1");
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
            return Ok((window, started.elapsed()));
        }
        ensure!(window.is_running()?, "the window ended: {log}");
        if started.elapsed() > felt::START * PATIENCE {
            bail!("the window is not usable after {:.1?}: {log}", started.elapsed());
        }
        thread::sleep(LOOK);
    }
}

fn program() -> Result<PathBuf> {
    let program = env::var_os("LANRAGE_WINDOW").context("LANRAGE_WINDOW names no program")?;
    Ok(PathBuf::from(program))
}

/// Window and engine while nothing happens but the pings of seven peers.
fn in_party(lab: &Lab) -> Result<Vec<Figure>> {
    let mut party = crowd::gather(lab, PARTY)?;
    party.create()?;
    for index in 1..PARTY {
        party.join(index)?;
    }
    party.wait_all_up(felt::CONNECT)?;
    let founder = party.founder()?;
    let desktop = Desktop::raise(founder.host())?;
    let (window, _) = open(founder.host(), &desktop, &program()?, &founder.socket())?;
    let engine = founder.id().context("the engine does not run")?;
    thread::sleep(SETTLES);
    let of_window = Cost::counted(&window, COUNTED, || thread::sleep(COUNTED))?;
    let before = cpu_seconds(engine)?;
    thread::sleep(COUNTED);
    let share = (cpu_seconds(engine)? - before) / COUNTED.as_secs_f64();
    window.terminate(felt::LEAVE * PATIENCE)?;
    let what = format!("idle in a party of {PARTY}");
    Ok(of_window
        .figures(&what)
        .into_iter()
        .chain([
            (format!("{what}, the engine: CPU of one core"), percent(share)),
            (
                format!("{what}, the engine: memory (RSS)"),
                mib(resident_mib(engine)?),
            ),
        ])
        .collect())
}

/// The window while 63 pings change twice a second.
fn in_crowd(lab: &Lab) -> Result<Vec<Figure>> {
    let host = lab.host()?;
    let desktop = Desktop::raise(&host)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let socket = lab.files().join("engine.sock");
    let _entered = runtime.enter();
    let engine = Scripted::start(&socket)?;
    engine.show(full(0));
    let (window, _) = open(&host, &desktop, &program()?, &socket)?;
    thread::sleep(SETTLES);
    let changes = COUNTED.as_millis() / CHANGE.as_millis();
    let cost = Cost::counted(&window, COUNTED, || {
        for round in 1..=changes {
            engine.show(full(u8::try_from(round % 250).unwrap_or_default()));
            thread::sleep(CHANGE);
        }
    })?;
    window.terminate(felt::LEAVE * PATIENCE)?;
    Ok(cost.figures(&format!("{CROWD} members, each ping new twice a second")))
}

/// A full party, with pings that are others in each round.
fn full(round: u8) -> Status {
    let peers = (2..=CROWD).map(|slot| {
        let ping =
            f64::from(slot) + f64::from(slot.wrapping_mul(31).wrapping_add(round.wrapping_mul(7)) % 40);
        scenes::peer(slot, &format!("Player {slot}"), PathKind::Direct, ping)
    });
    scenes::in_party([scenes::me(1, "Anna", true)].into_iter().chain(peers).collect())
}

/// What the window and its helpers cost.
struct Cost {
    /// CPU time by time that passed.
    share: f64,
    /// MiB, what they share counted for each.
    memory: f64,
}

impl Cost {
    fn counted(window: &Process, lasting: Duration, what: impl FnOnce()) -> Result<Self> {
        let all = with_children(window.id())?;
        let spent = || all.iter().map(|id| cpu_seconds(*id)).sum::<Result<f64>>();
        let before = spent()?;
        what();
        Ok(Self {
            share: (spent()? - before) / lasting.as_secs_f64(),
            memory: all.iter().map(|id| resident_mib(*id)).sum::<Result<f64>>()?,
        })
    }

    fn figures(&self, what: &str) -> Vec<Figure> {
        vec![
            (
                format!("{what}, the window: CPU of one core"),
                percent(self.share),
            ),
            (format!("{what}, the window: memory (RSS)"), mib(self.memory)),
        ]
    }
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

fn mib(mib: f64) -> String {
    format!("{mib:.1} MiB")
}

/// A process and all that it started, and those started: the web view has processes of its own.
fn with_children(id: u32) -> Result<BTreeSet<u32>> {
    let mut all = BTreeSet::from([id]);
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(child) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // One that ended meanwhile.
        let Ok(text) = fs::read_to_string(format!("/proc/{child}/stat")) else {
            continue;
        };
        // proc_pid_stat(5): after the name, which may hold anything, the state and the parent.
        let parent = text
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
        parents.extend(parent.map(|parent| (child, parent)));
    }
    loop {
        let before = all.len();
        for (child, parent) in &parents {
            if all.contains(parent) {
                all.insert(*child);
            }
        }
        if all.len() == before {
            return Ok(all);
        }
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
