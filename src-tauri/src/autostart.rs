//! Starting the app when the user signs in. Whether it does is the system's to know: nothing of it is remembered here.

use crate::memory::Memory;
use lanrage_proto::{Fault, FaultCode};
use tauri::plugin::TauriPlugin;
use tauri::{AppHandle, Manager, Wry};
use tauri_plugin_autostart::{MacosLauncher, ManagerExt};

/// The plugin that knows how each system does it. Such a start is in the tray: nobody asked for a window.
pub(crate) fn plugin() -> TauriPlugin<Wry> {
    tauri_plugin_autostart::init(MacosLauncher::LaunchAgent, Some(vec!["--hidden"]))
}

/// Whether it does; none where the system can't be asked.
pub(crate) fn is_on(app: &AppHandle) -> Option<bool> {
    let asked = app.autolaunch().is_enabled();
    asked
        .inspect_err(|error| tracing::debug!(%error, "whether the app starts at login is not known"))
        .ok()
}

/// Has it do so, or no longer.
///
/// # Errors
/// `not_saved`.
pub(crate) fn set(app: &AppHandle, on: bool) -> Result<(), Fault> {
    let failed = |reason: &dyn std::fmt::Display| {
        Fault::new(FaultCode::NotSaved)
            .with("path", "autostart")
            .with("reason", reason)
    };
    // The plugin makes the last folder of the path alone.
    #[cfg(target_os = "linux")]
    if on && let Some(home) = std::env::home_dir() {
        std::fs::create_dir_all(home.join(".config")).map_err(|error| failed(&error))?;
    }
    let manager = app.autolaunch();
    let set = if on { manager.enable() } else { manager.disable() };
    set.map_err(|error| failed(&error))?;
    app.state::<Memory>().nudge();
    Ok(())
}
