//! The toolchains that a build needs, checked before anything else.

use std::env;
use std::process::Command;

use anyhow::{Result, bail};

/// A program and the oldest version of it that works.
struct Need {
    program: &'static str,
    what: &'static str,
    at_least: (u32, u32),
    get_it: &'static str,
}

const RUST: Need = Need {
    program: "rustc",
    what: "Rust",
    at_least: (1, 95),
    get_it: "`rustup update stable`, or https://rustup.rs",
};

const NODE: Need = Need {
    program: "node",
    what: "Node.js",
    at_least: (20, 19),
    get_it: "your system's package manager, or https://nodejs.org",
};

/// Checks both toolchains.
///
/// # Errors
/// One sentence for the first that is missing or too old.
pub(crate) fn check() -> Result<()> {
    check_rust()?;
    check_node()
}

/// Checks Rust alone.
///
/// # Errors
/// One sentence when it is missing or too old.
pub(crate) fn check_rust() -> Result<()> {
    let program = env::var("RUSTC").unwrap_or_else(|_| RUST.program.to_owned());
    check_one(&RUST, version_of(&program).as_deref())
}

/// Checks Node alone.
///
/// # Errors
/// One sentence when it is missing or too old.
pub(crate) fn check_node() -> Result<()> {
    check_one(&NODE, version_of(NODE.program).as_deref())
}

fn check_one(need: &Need, printed: Option<&str>) -> Result<()> {
    let (what, (major, minor)) = (need.what, need.at_least);
    let Some(printed) = printed else {
        bail!(
            "LANrage needs {what} {major}.{minor} or newer, and there is none: {}.",
            need.get_it
        );
    };
    match parse(printed) {
        Some(found) if found >= need.at_least => Ok(()),
        Some((a, b)) => {
            bail!(
                "LANrage needs {what} {major}.{minor} or newer, and this is {a}.{b}: {}.",
                need.get_it
            )
        }
        None => bail!("LANrage needs {what} {major}.{minor} or newer, and this one says {printed:?}."),
    }
}

/// The first line of `PROGRAM --version`; none when it can't be run.
fn version_of(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output
        .status
        .success()
        .then(|| text.lines().next().unwrap_or_default().to_owned())
}

/// Major and minor version in `rustc 1.95.0 (59807616e 2026-04-14)` or `v20.19.2`.
fn parse(printed: &str) -> Option<(u32, u32)> {
    let version = printed.split_whitespace().find_map(|word| {
        let word = word.trim_start_matches('v');
        word.starts_with(|c: char| c.is_ascii_digit()).then_some(word)
    })?;
    let mut parts = version.split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{NODE, RUST, check_one, parse};

    #[test]
    fn versions_are_read_as_the_programs_print_them() {
        assert_eq!(parse("rustc 1.95.0 (59807616e 2026-04-14)"), Some((1, 95)));
        assert_eq!(parse("rustc 1.96.0-nightly (abc 2026-05-01)"), Some((1, 96)));
        assert_eq!(parse("v20.19.2"), Some((20, 19)));
        assert_eq!(parse("what?"), None);
    }

    #[test]
    fn an_old_or_missing_toolchain_is_one_clear_sentence() {
        assert!(check_one(&RUST, Some("rustc 1.95.0 (x)")).is_ok());
        assert!(check_one(&NODE, Some("v22.0.0")).is_ok());
        let old = check_one(&NODE, Some("v20.18.9")).unwrap_err().to_string();
        assert!(
            old.starts_with("LANrage needs Node.js 20.19 or newer, and this is 20.18"),
            "{old}"
        );
        let none = check_one(&RUST, None).unwrap_err().to_string();
        assert!(
            none.starts_with("LANrage needs Rust 1.95 or newer, and there is none"),
            "{none}"
        );
    }
}
