//! Embeds ui/dist and writes the permissions of the commands that the page may call.

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
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manifest = tauri_build::AppManifest::new().commands(COMMANDS);
    tauri_build::try_build(tauri_build::Attributes::new().app_manifest(manifest))?;
    Ok(())
}
