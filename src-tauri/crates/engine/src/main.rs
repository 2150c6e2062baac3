//! `lanrage-engine`: the engine and the verbs that speak to it. See [`lanrage_engine::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    lanrage_engine::cli::main()
}
