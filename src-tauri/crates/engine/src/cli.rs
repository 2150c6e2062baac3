//! The command line. `run` is the engine, `restore` cleans up after one; every other verb is a client of one over IPC.
//!
//! Exit status: 0 done, 1 internal, 2 usage, 3 engine not reachable, 4 refused. With `--json` a refusal prints
//! `{"fault","message","action"}` on standard output, otherwise two sentences on standard error.

pub mod args;
mod client;
mod diagnosis;
mod lobby;
mod outside;
mod restore;
mod show;
pub mod text;
mod verbs;

use clap::Parser;
use lanrage_proto::doctor::Outside;
use lanrage_proto::{Fault, FaultCode};
use std::process::ExitCode;

/// What went wrong, as an exit status and a fault.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u8,
    fault: Fault,
    /// What can be seen without an engine, where that was asked.
    outside: Option<Box<Outside>>,
}

impl Failure {
    /// The engine could not be reached.
    fn unreachable(fault: Fault) -> Self {
        Self::new(3, fault)
    }

    /// With what can be seen all the same.
    fn with_outside(mut self, outside: Outside) -> Self {
        self.outside = Some(Box::new(outside));
        self
    }

    fn new(status: u8, fault: Fault) -> Self {
        Self {
            status,
            fault,
            outside: None,
        }
    }

    /// What was typed can't be.
    pub(crate) fn usage(fault: Fault) -> Self {
        Self::new(2, fault)
    }

    /// Something that should not happen.
    pub(crate) fn internal(reason: impl std::fmt::Display) -> Self {
        Self::engine(Fault::new(FaultCode::Internal).with("reason", reason))
    }

    /// The engine itself can't start.
    pub(crate) fn engine(fault: Fault) -> Self {
        Self::new(1, fault)
    }

    /// The engine said no.
    fn refused(fault: Fault) -> Self {
        let status = if fault.code == FaultCode::Internal { 1 } else { 4 };
        Self::new(status, fault)
    }
}

/// Does what the process's arguments say.
pub fn main() -> ExitCode {
    let arguments = match args::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version come this way too. Nobody is left to tell when the terminal is gone.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let (json, result) = match arguments.verb {
        args::Verb::Run(run) => (run.json, crate::run::main(*run)),
        args::Verb::Restore(arguments) => (arguments.json, restore::main(&arguments)),
        verb => verbs::main(verb),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if json {
                show::refusal_json(&failure.fault, failure.outside.as_deref());
            } else {
                show::error(&text::sentences(&failure.fault));
            }
            ExitCode::from(failure.status)
        }
    }
}
