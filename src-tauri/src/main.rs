//! LANrage's desktop app: a window that shows what the engine says and passes on what the player wants.
//!
//! It runs with the user's rights and does no networking. [`controller`] talks to the engine, [`tray_model`] decides
//! what the tray says and [`found`] what a pasted text holds: none of them knows of windows. [`shell`], [`tray`] and
//! [`commands`] are the thin layer between them and the system.

// Without this a console opens beside the window.
#![cfg_attr(not(debug_assertions), windows_subsystem = "windows")]

mod clipboard;
mod commands;
mod controller;
mod desktop;
mod dial;
mod found;
mod page;
mod shell;
mod tray;
mod tray_model;
mod view;
mod words;

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
