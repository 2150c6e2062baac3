//! Bad input wherever it comes in: it is named in words, nothing crashes, and nothing is left behind.

mod network;
mod start;
mod typed;

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
