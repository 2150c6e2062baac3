//! Windows: compiled and linked by mingw, run by wine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{PROGRAMS, cargo, folder, smoke};
use crate::shell;

const TARGET: &str = "x86_64-pc-windows-gnu";

/// Whose tests run under wine.
const TESTED: [&str; 6] = [
    "lanrage-proto",
    "lanrage-core",
    "lanrage-registry",
    "lanrage-platform",
    "lanrage-server",
    "lanrage-engine",
];

/// Tests of what wine lacks, by package and a part of their names, each with what that is.
const BEYOND_WINE: [(&str, &str, &str); 5] = [
    (
        "lanrage-platform",
        "a_second_engine_is_refused_and_the_first_stays_reachable",
        "a pipe's first instance is like any other",
    ),
    (
        "lanrage-platform",
        "an_anonymous_caller_is_refused",
        "callers of a pipe can't be anonymous",
    ),
    (
        "lanrage-server",
        "udp::tests::",
        "a UDP socket has not all options, without which no relay starts",
    ),
    (
        "lanrage-server",
        "turn::",
        "a UDP socket has not all options, without which no relay starts",
    ),
    (
        "lanrage-server",
        "turn_shares_the_port_by_name_or_by_its_first_bytes",
        "a UDP socket has not all options, without which no relay starts",
    ),
];

/// Every Rust program draws its randomness by this library of Windows', which older wines don't have. An aid for tests
/// and part of nothing that is shipped.
const PROCESS_PRNG: &str = "\
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T length) {
    return SystemFunction036(data, (ULONG)length);
}
";

pub(super) fn build_and_test() -> Result<()> {
    for package in PROGRAMS {
        shell::run(cargo("build", TARGET)?.args(["--package", package]))?;
    }
    let wine = Wine::prepare()?;
    let programs = folder()?.join(TARGET).join("debug");
    smoke::engine_answers(&wine, &programs.join("lanrage-engine.exe"))?;
    smoke::server_answers(&wine, &programs.join("lanrage-server.exe"))?;
    for package in TESTED {
        let lacking = BEYOND_WINE.iter().filter(|(whose, ..)| *whose == package);
        for (_, test, lack) in lacking.clone() {
            println!("Skipped, as under wine {lack}: {test}");
        }
        for test in tests_of(package)? {
            let mut command = wine.command(&test.program)?;
            command.current_dir(&test.folder);
            for (_, name, _) in lacking.clone() {
                command.args(["--skip", name]);
            }
            shell::run(&mut command)?;
        }
    }
    Ok(())
}

/// A program full of tests.
struct Test {
    program: PathBuf,
    /// Of its package, where tests expect to be run.
    folder: PathBuf,
}

fn tests_of(package: &str) -> Result<Vec<Test>> {
    let mut command = cargo("test", TARGET)?;
    command.args(["--no-run", "--package", package]);
    shell::say(&command);
    let printed = shell::output(command.arg("--message-format=json-render-diagnostics"))?;
    let tests: Vec<Test> = printed.lines().filter_map(test).collect();
    ensure!(!tests.is_empty(), "{package} has no tests");
    Ok(tests)
}

/// The program that a line of cargo's tells of, if it does.
fn test(line: &str) -> Option<Test> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message["profile"]["test"] != Value::Bool(true) {
        return None;
    }
    Some(Test {
        program: message["executable"].as_str()?.into(),
        folder: Path::new(message["manifest_path"].as_str()?).parent()?.into(),
    })
}

/// A wine with a system of its own, so that nothing of the user's is read or touched. Its helpers end with it.
pub(super) struct Wine {
    prefix: PathBuf,
}

impl Wine {
    fn prepare() -> Result<Self> {
        let wine = Self {
            prefix: folder()?.join("wine"),
        };
        let system = wine.prefix.join("drive_c/windows/system32");
        if !system.is_dir() {
            fs::create_dir_all(&wine.prefix)?;
            shell::run(wine.start("wineboot")?.arg("--init"))?;
        }
        let library = system.join("bcryptprimitives.dll");
        if !library.exists() {
            let source = folder()?.join("process_prng.c");
            fs::write(&source, PROCESS_PRNG)?;
            let mut compile = shell::command("x86_64-w64-mingw32-gcc")?;
            compile.args(["-shared", "-o"]).arg(&library).arg(&source);
            shell::run(compile.arg("-ladvapi32")).context("wine's missing library can't be made")?;
        }
        Ok(wine)
    }

    pub(super) fn command(&self, program: &Path) -> Result<Command> {
        let mut command = self.start("wine")?;
        command.arg(program);
        Ok(command)
    }

    fn start(&self, program: &str) -> Result<Command> {
        let mut command = shell::command(program)?;
        command
            .env("WINEPREFIX", &self.prefix)
            .env("WINEDEBUG", "-all")
            // It would offer to download what no program of ours needs.
            .env("WINEDLLOVERRIDES", "mscoree,mshtml=")
            .env_remove("DISPLAY");
        Ok(command)
    }
}

impl Drop for Wine {
    fn drop(&mut self) {
        if let Ok(mut server) = self.start("wineserver") {
            shell::succeeds(server.arg("-k"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::test;

    #[test]
    fn only_programs_of_tests_are_run() {
        let line = r#"{"reason":"compiler-artifact","profile":{"test":true},
            "manifest_path":"/a/core/Cargo.toml","executable":"/t/core-1.exe"}"#;
        let found = test(line).unwrap();
        assert_eq!(found.program.to_str(), Some("/t/core-1.exe"));
        assert_eq!(found.folder.to_str(), Some("/a/core"));
        assert!(test(&line.replace("true", "false")).is_none());
        assert!(test(&line.replace("\"/t/core-1.exe\"", "null")).is_none());
        assert!(test("Compiling").is_none());
    }
}
