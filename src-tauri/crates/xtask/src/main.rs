//! `cargo xtask`: LANrage's build, run, test, lab and bench commands, the same on every system.
//!
//! One file per verb; what they share: [`packages`] (the system's packages, listed once), [`toolchain`] (the
//! versions of Rust and Node), [`programs`] (building ours), [`frontend`] (the page in the window), [`lab`] (rights for network
//! namespaces) and [`shell`] (running other programs).

mod bench;
mod bundle;
mod cross;
mod frontend;
mod lab;
mod packages;
mod party;
mod programs;
mod run;
mod shell;
mod test;
mod toolchain;
mod ui;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// LANrage's build, run, test, lab and bench commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Run(run::Arguments),
    Test(test::Arguments),
    Party(party::Arguments),
    Ui(ui::Arguments),
    Cross(cross::Arguments),
    Lab(lab::Arguments),
    Bench(bench::Arguments),
    Bundle(bundle::Arguments),
}

fn main() -> ExitCode {
    match run(Arguments::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Run(arguments) => run::run(&arguments),
        Verb::Test(arguments) => test::run(&arguments),
        Verb::Party(arguments) => party::run(&arguments),
        Verb::Ui(arguments) => ui::run(&arguments),
        Verb::Cross(arguments) => cross::run(&arguments),
        Verb::Lab(arguments) => lab::run(&arguments),
        Verb::Bench(arguments) => bench::run(&arguments),
        Verb::Bundle(arguments) => bundle::run(&arguments),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
