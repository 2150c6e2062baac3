//! Logs: to standard error, and to a file a day in the state directory, of which a week is kept.
//!
//! Never keys, party IDs or invites; no public addresses above `debug`.

use crate::log_tail::LogTail;
use lanrage_platform::dirs;
use lanrage_proto::{Fault, FaultCode};
use std::path::Path;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::fmt::writer::MakeWriterExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

/// Files kept, one a day.
const KEPT: usize = 7;
const DEFAULT: &str = "info";

/// Starts logging. What was logged is on disk when the guard is dropped, and its last lines are in the returned tail.
///
/// # Errors
/// `state_unusable` when the directory can't be written to.
pub(crate) fn start(level: Option<&str>, state_dir: &Path) -> Result<(WorkerGuard, LogTail), Fault> {
    let directory = dirs::log_dir(state_dir);
    let unusable = |reason: &dyn std::fmt::Display| {
        Fault::new(FaultCode::StateUnusable)
            .with("path", directory.display())
            .with("reason", reason)
    };
    lanrage_platform::files::create_private_dir(&directory).map_err(|error| unusable(&error))?;
    let log_tail = LogTail::after(&directory);
    let file = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix("engine")
        .filename_suffix("log")
        .max_log_files(KEPT)
        .build(&directory)
        .map_err(|error| unusable(&error))?;
    let (file, guard) = tracing_appender::non_blocking(file);
    let started = tracing_subscriber::registry()
        .with(filter(level))
        .with(fmt::layer().with_writer(std::io::stderr).with_ansi(false))
        .with(
            fmt::layer()
                .with_writer(file.and(log_tail.clone()))
                .with_ansi(false),
        )
        .try_init();
    if let Err(error) = started {
        return Err(Fault::new(FaultCode::Internal).with("reason", error));
    }
    Ok((guard, log_tail))
}

/// Libraries that say more than a reader of the engine's log wants: ordinary expiry of sessions as errors.
const QUIETER: &str = "boringtun=off,mdns_sd=off";

/// A level for our own crates, with the libraries kept down; or any filter, as written.
fn filter(level: Option<&str>) -> EnvFilter {
    let level = level.unwrap_or(DEFAULT);
    let quieter = format!("{level},{QUIETER}");
    let directives = if level.contains(['=', ',']) {
        level
    } else {
        &quieter
    };
    EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new(DEFAULT))
}

/// A level or a filter, as written, if it can be one.
///
/// # Errors
/// As the end of a sentence.
pub(crate) fn level(text: &str) -> Result<String, &'static str> {
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("there is no such log level"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_filters_are_told_from_nonsense() {
        for good in ["error", "debug", "info,lanrage_core=trace"] {
            assert_eq!(level(good).as_deref(), Ok(good));
        }
        for bad in ["a=b=c", "info,lanrage_core=loud"] {
            assert!(level(bad).is_err(), "{bad}");
        }
    }
}
