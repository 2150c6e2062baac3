//! Which way dependencies may point, where `unsafe` may stand, and what lies at the top of the tree.
//!
//! The directions: shell → proto, platform; engine → core, registry, platform; server → registry,
//! relay; core and registry → proto. What decides (core, registry, relay) reaches no runtime, no socket and no clock.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lanrage_proto::fault::FaultCode;
use serde_json::Value;

/// Crates that bring a runtime, sockets or a clock of their own.
const EDGES: [&str; 12] = [
    "async-io",
    "async-std",
    "chrono",
    "if-addrs",
    "mio",
    "polling",
    "quanta",
    "quinn-udp",
    "smol",
    "socket2",
    "time",
    "tokio",
];

/// Words in a source file that reach for a socket or a clock without any crate.
const EDGE_WORDS: [&str; 6] = [
    "Instant::now",
    "SystemTime::now",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "thread::sleep",
];

/// What may lie at the top beside dot-files, dot-folders and lock files. `target` is cargo's output.
const TOP: [&str; 8] = [
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "icons",
    "src-tauri",
    "target",
    "tests",
    "ui",
];

#[test]
fn the_deciding_halves_reach_no_runtime_socket_or_clock() -> Result<()> {
    for package in [
        "lanrage-core",
        "lanrage-registry",
        "lanrage-relay",
        "lanrage-proto",
    ] {
        let reached = reached_by(package)?;
        let edges: Vec<&str> = EDGES.into_iter().filter(|edge| reached.contains(*edge)).collect();
        ensure!(
            edges.is_empty(),
            "{package} reaches {edges:?}: `cargo tree -p {package} -i {}`",
            edges[0]
        );
    }
    Ok(())
}

#[test]
fn the_deciding_halves_take_time_as_an_argument() -> Result<()> {
    for folder in ["core", "registry", "relay", "proto"] {
        for path in sources(&root().join("src-tauri/crates").join(folder).join("src"))? {
            if is_test(&path) {
                continue;
            }
            let text = fs::read_to_string(&path)?;
            // Test modules come last in a file.
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            for (number, line) in text.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                let found: Vec<_> = EDGE_WORDS.iter().filter(|word| code.contains(**word)).collect();
                ensure!(found.is_empty(), "{}:{}: {found:?}", path.display(), number + 1);
            }
        }
    }
    Ok(())
}

#[test]
fn the_programs_reach_no_window_toolkit() -> Result<()> {
    for package in ["lanrage-engine", "lanrage-server"] {
        let reached = reached_by(package)?;
        let toolkit: Vec<_> = reached
            .iter()
            .filter(|name| name.starts_with("tauri") || *name == "wry")
            .collect();
        ensure!(toolkit.is_empty(), "{package} reaches {toolkit:?}");
    }
    Ok(())
}

#[test]
fn dependencies_within_the_workspace_point_one_way() -> Result<()> {
    let allowed: &[(&str, &[&str])] = &[
        ("lanrage-proto", &[]),
        ("lanrage-platform", &["lanrage-proto"]),
        ("lanrage-core", &["lanrage-proto"]),
        ("lanrage-registry", &["lanrage-proto"]),
        ("lanrage-relay", &[]),
        (
            "lanrage-server",
            &["lanrage-proto", "lanrage-registry", "lanrage-relay"],
        ),
        (
            "lanrage-engine",
            &[
                "lanrage-core",
                "lanrage-platform",
                "lanrage-proto",
                "lanrage-registry",
            ],
        ),
        ("lanrage", &["lanrage-platform", "lanrage-proto"]),
        ("xtask", &[]),
    ];
    for package in packages()? {
        let name = package["name"].as_str().context("a package without a name")?;
        if name == "lanrage-tests" {
            continue;
        }
        let (_, allowed) = allowed
            .iter()
            .find(|(known, _)| *known == name)
            .with_context(|| format!("{name} has no place in the architecture yet: give it one here"))?;
        let dependencies = package["dependencies"].as_array().context("no dependencies")?;
        for dependency in dependencies
            .iter()
            .filter(|dependency| !dependency["path"].is_null())
        {
            let on = dependency["name"]
                .as_str()
                .context("a dependency without a name")?;
            // What only a test needs may point anywhere but to the programs.
            let test_only = dependency["kind"] == "dev";
            ensure!(
                test_only || allowed.contains(&on),
                "{name} may not depend on {on}"
            );
        }
    }
    Ok(())
}

#[test]
fn only_platform_may_allow_unsafe_code() -> Result<()> {
    for package in packages()? {
        let manifest = Path::new(package["manifest_path"].as_str().context("no manifest")?);
        let folder = manifest.parent().context("a manifest at the root")?;
        let text = fs::read_to_string(manifest)?;
        ensure!(
            text.contains("[lints]\nworkspace = true"),
            "{}: the workspace's lints do not hold here",
            manifest.display()
        );
        if package["name"] == "lanrage-platform" {
            continue;
        }
        for path in sources(folder)? {
            // Nested packages are visited by themselves; this file names the words it looks for.
            let nested = path
                .ancestors()
                .take_while(|above| *above != folder)
                .any(|above| above.join("Cargo.toml").is_file());
            if nested || path.ends_with("tests/architecture.rs") {
                continue;
            }
            let text = fs::read_to_string(&path)?;
            // To forbid it is welcome anywhere.
            let allows = ["allow(unsafe_code", "expect(unsafe_code", "warn(unsafe_code"];
            ensure!(
                !allows.iter().any(|lifted| text.contains(lifted)),
                "{}: unsafe code belongs in platform",
                path.display()
            );
        }
    }
    Ok(())
}

#[test]
fn every_fault_has_a_sentence_and_an_action_in_every_language() -> Result<()> {
    let mut languages = 0;
    for entry in fs::read_dir(root().join("ui/src/lang"))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        languages += 1;
        let texts: Value = serde_json::from_str(&fs::read_to_string(&path)?)
            .with_context(|| format!("{} is no JSON", path.display()))?;
        for code in FaultCode::ALL {
            for part in ["message", "action"] {
                let key = format!("fault.{code}.{part}");
                let text = texts[&key].as_str().unwrap_or_default();
                ensure!(!text.trim().is_empty(), "{} has no {key}", path.display());
            }
        }
        let known: BTreeSet<&str> = FaultCode::ALL.iter().map(|code| code.as_str()).collect();
        for key in texts.as_object().context("no object")?.keys() {
            let code = key
                .strip_prefix("fault.")
                .and_then(|rest| rest.split_once('.'))
                .map(|(code, _)| code);
            ensure!(
                code.is_none_or(|code| known.contains(code)),
                "{}: {key} has no fault",
                path.display()
            );
        }
    }
    ensure!(languages > 0, "there is no language");
    Ok(())
}

#[test]
fn the_top_of_the_tree_holds_nothing_new() -> Result<()> {
    for entry in fs::read_dir(root())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let known = TOP.contains(&name.as_str())
            || name.starts_with('.')
            || name.ends_with(".lock")
            || name == "package-lock.json";
        ensure!(known, "{name} does not belong at the top of the tree");
    }
    Ok(())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The names of all packages that `package` needs when it is built by itself for this machine.
fn reached_by(package: &str) -> Result<BTreeSet<String>> {
    let text = cargo(&[
        "tree", "--locked", "-p", package, "-e", "normal", "--prefix", "none", "-f", "{p}",
    ])?;
    let names: BTreeSet<String> = text
        .lines()
        .filter_map(|line| Some(line.split_whitespace().next()?.to_owned()))
        .collect();
    ensure!(
        names.contains(package),
        "cargo tree does not list {package} itself"
    );
    Ok(names)
}

/// The workspace's packages, as `cargo metadata` describes them.
fn packages() -> Result<Vec<Value>> {
    let text = cargo(&["metadata", "--locked", "--no-deps", "--format-version", "1"])?;
    let metadata: Value = serde_json::from_str(&text)?;
    let packages = metadata["packages"].as_array().context("no packages")?.clone();
    ensure!(packages.len() > 7, "only {} packages", packages.len());
    Ok(packages)
}

fn cargo(arguments: &[&str]) -> Result<String> {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(root())
        .output()?;
    ensure!(
        output.status.success(),
        "cargo {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// All Rust files below `folder`, build output and packages of other ecosystems left out.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("{} can't be read", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default();
            if path.is_dir() && name != "target" && name != "node_modules" {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Files that hold nothing but tests: `tests.rs` beside a module, and what lies in a folder of that name.
fn is_test(path: &Path) -> bool {
    let inside = path.strip_prefix(root()).unwrap_or(path).with_extension("");
    inside.components().any(|part| part.as_os_str() == "tests")
}
