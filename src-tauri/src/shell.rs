//! The window and what belongs to it: one instance, one window, events to the page.

use crate::commands;
use crate::controller::Controller;
use crate::dial::SocketDial;
use anyhow::Context;
use tauri::webview::PageLoadEvent;
use tauri::{App, AppHandle, Emitter, Manager, Url, WebviewUrl, WebviewWindowBuilder};

/// The only window.
const WINDOW: &str = "main";

/// Shows the window and stays until it is closed.
pub(crate) fn run(dial: SocketDial) -> anyhow::Result<()> {
    tauri::Builder::default()
        .plugin(tauri_plugin_single_instance::init(|app, _args, _cwd| show(app)))
        .plugin(tauri_plugin_clipboard_manager::init())
        .invoke_handler(tauri::generate_handler![
            commands::status,
            commands::create,
            commands::join,
            commands::leave,
            commands::cancel,
            commands::copy,
        ])
        .setup(move |app| {
            follow_engine(app, dial);
            open_window(app)?;
            Ok(())
        })
        .run(tauri::generate_context!())
        .context("the window could not be opened")
}

/// Connects to the engine and tells the page of each change.
fn follow_engine(app: &App, dial: SocketDial) {
    let (controller, task) = Controller::new(dial);
    let mut changes = controller.changes();
    app.manage(controller);
    tauri::async_runtime::spawn(task);
    let handle = app.handle().clone();
    tauri::async_runtime::spawn(async move {
        while changes.changed().await.is_ok() {
            let view = changes.borrow_and_update().clone();
            if let Err(error) = handle.emit_to(WINDOW, "engine", view) {
                tracing::warn!(%error, "the page could not be told");
            }
        }
    });
}

fn open_window(app: &App) -> tauri::Result<()> {
    WebviewWindowBuilder::new(app, WINDOW, WebviewUrl::default())
        .title("LANrage")
        .inner_size(400.0, 680.0)
        .min_inner_size(340.0, 480.0)
        // Shown when there is something to see, so that it never flashes empty.
        .visible(false)
        .on_page_load(|window, load| {
            if load.event() == PageLoadEvent::Finished
                && let Err(error) = window.show()
            {
                tracing::error!(%error, "the window could not be shown");
            }
        })
        .on_navigation(is_own_page)
        .build()?;
    Ok(())
}

/// Brings the window to the front: what a second start of the app does.
fn show(app: &AppHandle) {
    if let Some(window) = app.get_webview_window(WINDOW) {
        let shown = window
            .unminimize()
            .and_then(|()| window.show())
            .and_then(|()| window.set_focus());
        if let Err(error) = shown {
            tracing::warn!(%error, "the window could not be brought to the front");
        }
    }
}

/// The page never leaves itself: no link and no script may show anything else in this window.
fn is_own_page(url: &Url) -> bool {
    let own = url.scheme() == "tauri" || url.host_str() == Some("tauri.localhost");
    own || url.as_str() == "about:blank" || (tauri::is_dev() && url.host_str() == Some("localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_can_not_be_led_elsewhere() {
        let own = |url: &str| is_own_page(&url.parse().unwrap());
        assert!(own("tauri://localhost/index.html"));
        assert!(own("http://tauri.localhost/"));
        assert!(!own("https://example.org/"));
        assert!(!own("file:///etc/passwd"));
        assert!(!own("http://tauri.localhost.example.org/"));
    }
}
