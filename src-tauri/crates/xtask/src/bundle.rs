//! `cargo xtask bundle`: the installers of this system.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::programs::{self, Profile};
use crate::{frontend, packages, shell, toolchain};

/// Tauri would build the frontend by itself, which is done here, offline and from the lock file.
///
/// What NSIS packs beside the window is named here and not in `tauri.windows.conf.json`: every build of the window asks
/// for the files named there, and these are there only when installers are made.
const CONFIG: &str = if cfg!(windows) {
    r#"{"build":{"beforeBuildCommand":""},"bundle":{"resources":{
        "../target/release/lanrage-engine.exe":"lanrage-engine.exe",
        "../target/release/wintun.dll":"wintun.dll",
        "../target/release/wintun-LICENSE.txt":"wintun-LICENSE.txt"}}}"#
} else {
    r#"{"build":{"beforeBuildCommand":""}}"#
};

/// Build this system's installers: deb and rpm, NSIS's, or dmg. They lie in target/release/bundle.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Install packages without asking.
    #[arg(long)]
    yes: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    toolchain::check()?;
    packages::ensure(packages::For::Building, arguments.yes)?;
    frontend::build()?;
    let engine = programs::build("lanrage-engine", Profile::Release)?;
    let release = engine.parent().context("the engine lies nowhere")?;
    // The bundle's configuration names it by this path.
    let named = shell::root()?.join("target/release");
    ensure!(
        release == named,
        "the target directory is {}; bundles are made from {}",
        release.display(),
        named.display()
    );
    if cfg!(windows) {
        copy_wintun(release)?;
    }
    let tauri = shell::root()?.join("ui/node_modules/@tauri-apps/cli/tauri.js");
    shell::run(shell::command("node")?.arg(tauri).args([
        "build",
        "--bundles",
        bundles(),
        "--config",
        CONFIG,
    ]))?;
    for path in made(&release.join("bundle"))? {
        println!("{}", path.display());
    }
    Ok(())
}

/// What can be made on this system without fetching anything.
fn bundles() -> &'static str {
    if cfg!(windows) {
        "nsis"
    } else if cfg!(target_os = "macos") {
        "app,dmg"
    } else {
        "deb,rpm"
    }
}

/// The adapter's driver, signed by its makers, lies in its crate with its licence; the engine looks for it beside itself.
fn copy_wintun(release: &Path) -> Result<()> {
    let text = shell::output(shell::cargo()?.args(["metadata", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&text).context("cargo metadata printed no JSON")?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let wintun = packages
        .iter()
        .find(|package| package["name"] == "wintun")
        .and_then(|package| package["manifest_path"].as_str())
        .context("the crate wintun is not among the packages")?;
    let files = Path::new(wintun).with_file_name("wintun");
    let system = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    for (from, to) in [
        (files.join("bin").join(system).join("wintun.dll"), "wintun.dll"),
        (files.join("LICENSE.txt"), "wintun-LICENSE.txt"),
    ] {
        fs::copy(&from, release.join(to)).with_context(|| format!("{} can't be copied", from.display()))?;
    }
    Ok(())
}

/// The installers, newest last.
fn made(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for kind in ["deb", "rpm", "nsis", "dmg"] {
        let Ok(entries) = fs::read_dir(folder.join(kind)) else {
            continue;
        };
        let files = entries.flatten().map(|entry| entry.path());
        found.extend(files.filter(|path| {
            path.extension().is_some_and(|extension| {
                ["deb", "rpm", "exe", "dmg"]
                    .iter()
                    .any(|known| extension == *known)
            })
        }));
    }
    found.sort_by_key(|path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok());
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the configuration names has to be there, or the bundle fails after minutes of compiling.
    #[test]
    fn every_file_that_the_configuration_names_is_there() {
        let folder = shell::root().unwrap().join("src-tauri");
        for system in ["linux", "windows", "macos"] {
            let path = folder.join(format!("tauri.{system}.conf.json"));
            let config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            let mut named = Vec::new();
            strings(&config["bundle"], &mut named);
            let files = named
                .iter()
                .filter(|text| text.starts_with("installer/") || text.starts_with("../"))
                .filter(|text| !text.starts_with("../target/"));
            let mut count = 0;
            for file in files {
                assert!(folder.join(file).is_file(), "{system}: {file}");
                count += 1;
            }
            assert!(count > 0, "{system} names no file");
        }
    }

    fn strings(value: &Value, out: &mut Vec<String>) {
        match value {
            Value::String(text) => out.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| strings(item, out)),
            Value::Object(fields) => fields.values().for_each(|value| strings(value, out)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// `sh -n` reads a script without running it.
    #[cfg(unix)]
    #[test]
    fn the_scripts_of_the_packages_are_scripts() {
        let folder = shell::root().unwrap().join("src-tauri/installer");
        let mut count = 0;
        for system in ["linux", "macos"] {
            for entry in fs::read_dir(folder.join(system)).unwrap().flatten() {
                let path = entry.path();
                if path.extension().is_some_and(|extension| extension == "sh") {
                    assert!(
                        shell::succeeds(std::process::Command::new("sh").arg("-n").arg(&path)),
                        "{}",
                        path.display()
                    );
                    count += 1;
                }
            }
        }
        assert_eq!(count, 5);
    }
}
