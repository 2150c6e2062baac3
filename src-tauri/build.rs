//! Embeds ui/dist, writes the permissions of the commands that the page may call, and lists the languages.

use std::error::Error;
use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

/// Naming the commands here makes each of them closed unless a capability opens it.
const COMMANDS: &[&str] = &[
    "status",
    "create",
    "join",
    "leave",
    "cancel",
    "copy",
    "copy_message",
    "copy_address",
    "look_at_clipboard",
    "find_invite",
    "app_state",
    "change_app",
    "start_at_login",
    "speak",
    "join_recent",
    "forget_recent",
    "engine_settings",
    "change_setting",
    "change_rules",
    "test_control",
    "doctor",
    "log",
    "export",
];

fn main() -> Result<(), Box<dyn Error>> {
    languages()?;
    let manifest = tauri_build::AppManifest::new().commands(COMMANDS);
    tauri_build::try_build(tauri_build::Attributes::new().app_manifest(manifest))?;
    Ok(())
}

/// Each file of texts is a language, here as on the page.
fn languages() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../ui/src/lang");
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
    let mut list = String::from("static LANGUAGES: &[(&str, &str)] = &[\n");
    for path in files {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        writeln!(
            list,
            "({name:?}, include_str!({:?})),",
            path.display().to_string()
        )?;
    }
    list += "];\n";
    fs::write(Path::new(&env::var("OUT_DIR")?).join("languages.rs"), list)?;
    Ok(())
}
