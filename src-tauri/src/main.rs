//! LANrage's desktop app: a window that shows what the engine says and passes on what the player wants.
//!
//! It runs with the user's rights and does no networking. [`controller`] talks to the engine, [`memory`] keeps what is
//! the user's own, [`tray_model`] decides what the tray says, [`notices`] what is worth a notification, [`found`] and
//! [`links`] what a pasted text or an opened link holds, [`export`] makes the archive for who helps: none of them knows
//! of windows. [`shell`], [`tray`], [`news`] and [`commands`] are the thin layer between them and the system.

// Without this a console opens beside the window.
#![cfg_attr(not(debug_assertions), windows_subsystem = "windows")]

mod app;
mod autostart;
mod clipboard;
mod commands;
mod controller;
mod desktop;
mod dial;
mod export;
mod found;
mod links;
mod memory;
mod news;
mod notices;
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
    /// Start in the tray, without a window, where there is a tray.
    #[arg(long)]
    hidden: bool,
    /// A link to a party: it fills the form.
    #[arg(value_name = "lanrage://join/…")]
    link: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_env("LANRAGE_LOG").unwrap_or_else(|_| EnvFilter::new("warn")))
        .with_writer(std::io::stderr)
        .init();
    shell::run(shell::Start {
        dial: dial::SocketDial::new(args.socket),
        hidden: args.hidden,
        link: args.link,
    })
}
