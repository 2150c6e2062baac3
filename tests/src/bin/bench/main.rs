//! What a party costs, how fast it is and how it connects, measured with release builds in a lab: `cargo xtask bench`.
//!
//! One file per verb ([`party`], [`connect`], [`relay`], [`roam`]) and per thing that is measured ([`crowd`], [`link`], [`window`]); what
//! they share: [`tunnel`] (ways between two hosts), [`measure`] (processes, streams, round trips) and [`figures`]
//! (medians and tables).

#[cfg(target_os = "linux")]
mod connect;
#[cfg(target_os = "linux")]
mod crowd;
#[cfg(target_os = "linux")]
mod figures;
#[cfg(target_os = "linux")]
mod link;
#[cfg(target_os = "linux")]
mod measure;
#[cfg(target_os = "linux")]
mod party;
#[cfg(target_os = "linux")]
mod relay;
#[cfg(target_os = "linux")]
mod roam;
#[cfg(target_os = "linux")]
mod tunnel;
#[cfg(target_os = "linux")]
mod window;

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

    use crate::{connect, party, relay, roam, window};

    /// Measure what a party costs, how fast it is and how it connects.
    #[derive(Parser)]
    struct Arguments {
        #[command(subcommand)]
        verb: Verb,
    }

    #[derive(Subcommand)]
    enum Verb {
        Party(party::Arguments),
        Connect(connect::Arguments),
        Relay(relay::Arguments),
        Roam(roam::Arguments),
        Ui(window::Arguments),
    }

    pub(super) fn main() -> Result<()> {
        match Arguments::parse().verb {
            Verb::Party(arguments) => party::run(&arguments),
            Verb::Connect(arguments) => connect::run(&arguments),
            Verb::Relay(arguments) => relay::run(&arguments),
            Verb::Roam(arguments) => roam::run(&arguments),
            Verb::Ui(arguments) => window::run(&arguments),
        }
    }
}
