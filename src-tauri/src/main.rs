//! LANrage's desktop app: a window that shows what the engine says and passes on what the player wants.
//!
//! It runs with the user's rights and does no networking. [`controller`] talks to the engine and knows nothing of
//! windows; [`shell`] makes the window and knows nothing of the engine; [`commands`] is the thin layer between.

// Without this a console opens beside the window.
#![cfg_attr(not(debug_assertions), windows_subsystem = "windows")]

mod commands;
mod controller;
mod dial;
mod shell;
mod view;

use clap::Parser;
use std::path::PathBuf;
use tracing_subscriber::EnvFilter;

/// LANrage's window.
#[derive(Debug, Parser)]
#[command(name = "lanrage", version)]
struct Args {
    /// Where the engine listens; the system's engine when absent.
    #[arg(long, env = "LANRAGE_SOCKET", value_name = "PATH")]
    socket: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_env("LANRAGE_LOG").unwrap_or_else(|_| EnvFilter::new("warn")))
        .with_writer(std::io::stderr)
        .init();
    shell::run(dial::SocketDial::new(args.socket))
}
