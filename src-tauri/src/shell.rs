//! The window and what belongs to it: one instance, one window, events to the page, and what closing it means.

use crate::commands;
use crate::controller::Controller;
use crate::desktop::Desktop;
use crate::dial::SocketDial;
use crate::page::Page;
use crate::tray;
use crate::view::Wish;
use anyhow::Context;
use std::hash::{DefaultHasher, Hash, Hasher};
use tauri::webview::PageLoadEvent;
use tauri::{App, AppHandle, Emitter, Manager, Url, WebviewUrl, WebviewWindowBuilder, Window, WindowEvent};

/// The only window.
const WINDOW: &str = "main";

/// Shows the window and stays until the player quits; without a tray closing the window is quitting.
pub(crate) fn run(dial: SocketDial) -> anyhow::Result<()> {
    let mut context = tauri::generate_context!();
    let own = &mut context.config_mut().identifier;
    *own = identifier(own, &dial);
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
            commands::copy_message,
            commands::copy_address,
            commands::look_at_clipboard,
            commands::find_invite,
        ])
        .setup(move |app| {
            app.manage(Desktop::new());
            app.manage(Page::default());
            follow_engine(app, dial);
            open_window(app)?;
            tray::open(app.handle());
            Ok(())
        })
        .on_window_event(|window, event| {
            if let WindowEvent::CloseRequested { api, .. } = event
                && hide(window)
            {
                api.prevent_close();
            }
        })
        .run(context)
        .context("the window could not be opened")
}

/// Who this app is to the system. A window on another engine than the system's, a scripted one say, is another app:
/// it starts beside the first, and what is remembered in it stays in it.
fn identifier(own: &str, dial: &SocketDial) -> String {
    if dial.is_systems() {
        return own.to_owned();
    }
    let mut hasher = DefaultHasher::new();
    dial.hash(&mut hasher);
    format!("{own}.at-{:016x}", hasher.finish())
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
            if load.event() != PageLoadEvent::Finished {
                return;
            }
            match window.show() {
                Ok(()) => tracing::debug!("the window is shown"),
                Err(error) => tracing::error!(%error, "the window could not be shown"),
            }
        })
        .on_navigation(is_own_page)
        .build()?;
    Ok(())
}

/// Hides the window, if there is a way to get it back. Says whether it did.
fn hide(window: &Window) -> bool {
    window.state::<Desktop>().shows_icon()
        && window
            .hide()
            .inspect_err(|error| tracing::warn!(%error, "the window could not be hidden"))
            .is_ok()
}

/// Brings the window to the front and tells the page what the player wants there.
pub(crate) fn wish(app: &AppHandle, wish: Wish) {
    show(app);
    if let Some(wish) = app.state::<Page>().tell_now(wish)
        && let Err(error) = app.emit_to(WINDOW, "wish", wish)
    {
        tracing::warn!(%error, "the page could not be told");
    }
}

/// Brings the window to the front: what a second start of the app does, and the tray.
pub(crate) fn show(app: &AppHandle) {
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
    fn a_window_on_another_engine_is_another_app() {
        let of = |path: Option<&str>| identifier("app.lanrage", &SocketDial::new(path.map(Into::into)));
        assert_eq!(of(None), "app.lanrage");
        assert_eq!(of(Some("/tmp/a.sock")), of(Some("/tmp/a.sock")));
        assert_ne!(of(Some("/tmp/a.sock")), of(Some("/tmp/b.sock")));
        assert!(of(Some("/tmp/a.sock")).starts_with("app.lanrage."));
    }

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
