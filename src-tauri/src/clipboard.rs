//! The desktop's clipboard: written when the player says "copy", read when they say "join from clipboard".

use lanrage_proto::{Fault, FaultCode};
use tauri::AppHandle;
use tauri_plugin_clipboard_manager::ClipboardExt;

/// The text on it; empty when there is none. It may take the program that owns it a moment.
pub(crate) fn text(app: &AppHandle) -> String {
    app.clipboard().read_text().unwrap_or_else(|error| {
        // An empty clipboard and one with a picture are errors as well.
        tracing::debug!(%error, "no text on the clipboard");
        String::new()
    })
}

/// Puts a text on it.
pub(crate) fn put(app: &AppHandle, text: String) -> Result<(), Fault> {
    app.clipboard()
        .write_text(text)
        .map_err(|error| Fault::new(FaultCode::Internal).with("reason", error))
}
