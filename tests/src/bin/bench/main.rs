//! What a party costs and how fast it is, measured with release builds in a lab: `cargo xtask bench`.
//!
//! One file per verb; what they share: `measure` (processes, streams, round trips) and `figures` (medians and tables).

#[cfg(target_os = "linux")]
mod figures;
#[cfg(target_os = "linux")]
mod measure;
#[cfg(target_os = "linux")]
mod party;

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> anyhow::Result<()> {
    anyhow::bail!("the bench runs in network namespaces, which only Linux has")
}

#[cfg(target_os = "linux")]
mod linux {
    use anyhow::Result;
    use clap::{Parser, Subcommand};

    use crate::party;

    /// Measure what a party costs and how fast it is.
    #[derive(Parser)]
    struct Arguments {
        #[command(subcommand)]
        verb: Verb,
    }

    #[derive(Subcommand)]
    enum Verb {
        Party(party::Arguments),
    }

    pub(super) fn main() -> Result<()> {
        match Arguments::parse().verb {
            Verb::Party(arguments) => party::run(&arguments),
        }
    }
}
