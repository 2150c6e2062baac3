//! `lanrage-server`: the command line around the library.

use anyhow::{Context, Result};
use clap::Parser;
use lanrage_server::Server;
use lanrage_server::config::{Args, LogLevel, Settings, StoreChoice};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// What the operator said can't be done as said; clap's own exit status for the same.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let settings = match Settings::read(Args::parse()) {
        Ok(settings) => settings,
        Err(error) => return complain(&error, USAGE),
    };
    log(settings.log);
    match run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error, 1),
    }
}

fn complain(error: &anyhow::Error, status: u8) -> ExitCode {
    // Nothing is left to do when even this can't be written.
    let _ = writeln!(std::io::stderr(), "lanrage-server: {error:#}");
    ExitCode::from(status)
}

fn log(level: LogLevel) {
    let level = level.as_str();
    let filter = EnvFilter::new(format!(
        "warn,lanrage_server={level},lanrage_registry={level},lanrage_relay={level}"
    ));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}

fn run(settings: Settings) -> Result<()> {
    lanrage_server::check_room()?;
    let runtime = tokio::runtime::Runtime::new().context("can't start")?;
    runtime.block_on(async {
        let scheme = if settings.tls.is_some() { "wss" } else { "ws" };
        let store = match &settings.store {
            StoreChoice::Memory => "memory".to_owned(),
            StoreChoice::Sqlite(path) => format!("sqlite:{}", path.display()),
        };
        let mut signals = Signals::new().context("can't listen to signals")?;
        let mut server = Server::start(settings).await?;
        // A closed standard output is no reason not to serve.
        let _ = writeln!(
            std::io::stdout(),
            "lanrage-server {} listens on {scheme}://{} (store: {store})",
            env!("CARGO_PKG_VERSION"),
            server.address(),
        );
        loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    Signal::Stop => {
                        tracing::info!("stopping");
                        server.stop().await;
                        return Ok(());
                    }
                    Signal::Reload => match server.reload_tls() {
                        Ok(()) => tracing::info!("the certificate was read again"),
                        Err(error) => tracing::warn!("the old certificate stays: {error:#}"),
                    },
                },
                () = server.ended() => anyhow::bail!("the registry's thread ended"),
            }
        }
    })
}

enum Signal {
    Stop,
    // Only Unix has a signal for it.
    #[cfg_attr(not(unix), allow(dead_code))]
    Reload,
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.hang_up.recv() => Signal::Reload,
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> Signal {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Signal::Stop,
            Err(_) => std::future::pending().await,
        }
    }
}
