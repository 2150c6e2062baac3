//! Where the programs under test are.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// `lanrage-engine`: `$LANRAGE_ENGINE`, else the one of this build's target directory.
pub(super) fn engine() -> Result<PathBuf> {
    find("LANRAGE_ENGINE", "lanrage-engine")
}

/// `lanrage-server`: `$LANRAGE_SERVER`, else the one of this build's target directory.
pub(super) fn server() -> Result<PathBuf> {
    find("LANRAGE_SERVER", "lanrage-server")
}

fn find(variable: &str, program: &str) -> Result<PathBuf> {
    if let Some(path) = env::var_os(variable) {
        let path = PathBuf::from(path);
        return path
            .canonicalize()
            .with_context(|| format!("{variable} names {}", path.display()));
    }
    // target/debug/lab, or target/debug/deps/lab-0123456789abcdef for a test.
    let own = env::current_exe().context("the path of this program is unknown")?;
    match own
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
    {
        Some(path) => Ok(path),
        None => bail!(
            "{program} is not built beside {}: run `cargo build -p {program}` or set {variable}",
            own.parent().unwrap_or(Path::new("?")).display()
        ),
    }
}
