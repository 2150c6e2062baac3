//! Bad input wherever it comes in: it is named in words, nothing crashes, and nothing is left behind.

mod clients;
mod control;
mod datagrams;
mod floods;
mod forge;
mod inner;
mod liar;
mod network;
mod relay;
mod start;
mod storm;
mod typed;

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::{Engine, EngineOptions, Lab, Refusal};

/// An engine on a host of its own that hosts its parties itself.
fn engine(lab: &Lab) -> Result<Engine> {
    Engine::start(&lab.host()?, options("local"))
}

fn options(control: &str) -> EngineOptions {
    EngineOptions {
        player: "Anna".to_owned(),
        control: control.to_owned(),
    }
}

/// Lets each verb be refused with its code and looks that the engine is as it was: well, in no party, without a
/// trace of one.
fn refused(engine: &mut Engine, cases: &[(&[&str], &str)]) -> Result<()> {
    for (arguments, code) in cases {
        let refusal = engine.refuses(arguments, &[], code)?;
        println!("{code}: {} {}", refusal.message, refusal.action);
    }
    nothing_left(engine)
}

/// What a verb that takes its time is refused with; once, with `--json`.
fn refusal_of(engine: &Engine, arguments: &[&str]) -> Result<Refusal> {
    let error = engine.cli(arguments).err().context("it was not refused")?;
    error.downcast::<Refusal>()
}

/// Whether the engine is well and in no party, and its computer shows no trace of one.
fn nothing_left(engine: &mut Engine) -> Result<()> {
    engine.unharmed()?;
    let status = engine.status()?;
    ensure!(status.is_idle(), "in a party: {}", status.summary());
    let traces = engine.traces()?;
    ensure!(traces.is_empty(), "left behind: {traces:?}");
    Ok(())
}

/// The memory in use by an engine, MiB.
fn memory(engine: &Engine) -> Result<u64> {
    memory_of(engine.id().context("the engine does not run")?)
}

/// The memory in use by a process, MiB.
fn memory_of(id: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line
        .and_then(|line| line.split_whitespace().next())
        .context("no VmRSS")?;
    Ok(kib.parse::<u64>()? / 1024)
}

fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output()?;
    ensure!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The same bytes for the same seed: xorshift64*, good enough for garbage.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `limit`.
    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }

    /// Up to `longest` bytes.
    fn bytes(&mut self, longest: u64) -> Vec<u8> {
        let length = usize::try_from(self.below(longest + 1)).unwrap_or_default();
        let mut bytes = vec![0; length];
        self.fill(&mut bytes);
        bytes
    }
}
