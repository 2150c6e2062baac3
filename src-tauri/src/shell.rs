//! The window and what belongs to it: one instance, one window, events to the page, and what closing it means.

use crate::controller::Controller;
use crate::desktop::Desktop;
use crate::dial::SocketDial;
use crate::memory::Memory;
use crate::page::Page;
use crate::view::Wish;
use crate::{autostart, commands, links, news, tray, words};
use anyhow::Context;
use lanrage_platform::dirs;
use serde::Serialize;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;
use tauri::webview::PageLoadEvent;
use tauri::{
    App, AppHandle, Emitter, Manager, RunEvent, Url, WebviewUrl, WebviewWindow, WebviewWindowBuilder, Window,
    WindowEvent,
};
#[cfg(target_os = "linux")]
use webkit2gtk::{HardwareAccelerationPolicy, SettingsExt, WebViewExt};

/// The only window.
const WINDOW: &str = "main";

/// How a hidden start waits for a tray before it gives up and shows the window: the desktop may still be starting.
const TRAY: Duration = Duration::from_secs(10);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(250);

/// How the app was started.
#[derive(Debug)]
pub(crate) struct Start {
    /// The way to the engine.
    pub(crate) dial: SocketDial,
    /// Without a window, where there is a tray.
    pub(crate) hidden: bool,
    /// A link that was opened.
    pub(crate) link: Option<String>,
}

/// Shows the window and stays until the player quits; without a tray closing the window is quitting.
pub(crate) fn run(start: Start) -> anyhow::Result<()> {
    let mut context = tauri::generate_context!();
    let own = &mut context.config_mut().identifier;
    let folder = folder(&start.dial);
    *own = identifier(own, &start.dial);
    if let Some(language) = words::of_system() {
        words::speak(&language);
    }
    let memory = Memory::open(
        dirs::user_config_dir().map(|own| own.join(&folder)),
        dirs::user_data_dir().map(|own| own.join(&folder)),
    );
    if let Some(language) = memory.kept().settings.language {
        words::speak(&language);
    }
    let app = tauri::Builder::default()
        .plugin(tauri_plugin_single_instance::init(
            |app, arguments, _cwd| match links::in_arguments(&arguments) {
                Some(link) => open_link(app, link),
                None => show(app),
            },
        ))
        .plugin(tauri_plugin_clipboard_manager::init())
        .plugin(tauri_plugin_notification::init())
        .plugin(autostart::plugin())
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
            commands::app_state,
            commands::change_app,
            commands::start_at_login,
            commands::speak,
            commands::join_recent,
            commands::forget_recent,
            commands::engine_settings,
            commands::change_setting,
            commands::change_rules,
            commands::test_control,
            commands::doctor,
            commands::log,
            commands::export,
        ])
        .setup(move |app| {
            app.manage(Desktop::new());
            app.manage(Page::default());
            app.manage(memory);
            follow_engine(app, start.dial);
            news::follow(app.handle());
            open_window(app, start.hidden)?;
            tray::open(app.handle());
            if let Some(link) = start.link {
                // The page asks for it when it is there; until then there is nothing to show.
                let view = app.state::<Controller<SocketDial>>().view();
                app.state::<Page>().tell_now(links::opened(&view, &link));
            }
            Ok(())
        })
        .on_window_event(|window, event| {
            if let WindowEvent::CloseRequested { api, .. } = event
                && hide(window)
            {
                api.prevent_close();
            }
        })
        .build(context)
        .context("the window could not be opened")?;
    app.run(|app, event| match event {
        // The last window is closed, and no tray would bring it back.
        RunEvent::ExitRequested { code: None, api, .. } if tray::leaves_by_quit(app) => {
            api.prevent_exit();
            tray::leave_and_quit(app);
        }
        #[cfg(target_os = "macos")]
        RunEvent::Opened { urls } => {
            if let Some(link) = urls.first() {
                open_link(app, link.as_str());
            }
        }
        _ => {}
    });
    Ok(())
}

/// What is remembered of this engine's parties lies in this folder of the app's own: nowhere below it for the system's.
fn folder(dial: &SocketDial) -> String {
    if dial.is_systems() {
        String::new()
    } else {
        identifier("engine", dial)
    }
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
            tell(&handle, "engine", view);
        }
    });
}

fn open_window(app: &App, hidden: bool) -> tauri::Result<()> {
    let window = WebviewWindowBuilder::new(app, WINDOW, WebviewUrl::default())
        .title("LANrage")
        .inner_size(400.0, 680.0)
        .min_inner_size(340.0, 480.0)
        // Shown when there is something to see, so that it never flashes empty.
        .visible(false)
        .on_page_load(move |window, load| {
            if load.event() != PageLoadEvent::Finished {
                return;
            }
            if hidden {
                show_without_tray(window);
                return;
            }
            match window.show() {
                Ok(()) => tracing::debug!("the window is shown"),
                Err(error) => tracing::error!(%error, "the window could not be shown"),
            }
        })
        .on_navigation(is_own_page)
        .build()?;
    #[cfg(target_os = "linux")]
    window.with_webview(|page| paint_here(&page.inner()))?;
    Ok(())
}

/// The page is a small one whose numbers change: painted by the processor it costs a third of what it costs where the
/// graphics card's work is done in software, and it shows where a card's driver would leave it blank.
#[cfg(target_os = "linux")]
fn paint_here(page: &webkit2gtk::WebView) {
    if let Some(settings) = page.settings() {
        settings.set_hardware_acceleration_policy(HardwareAccelerationPolicy::Never);
    }
}

/// A hidden start is one in the tray: where none comes, the window is all there is.
fn show_without_tray(window: WebviewWindow) {
    tauri::async_runtime::spawn(async move {
        let mut waited = Duration::ZERO;
        while !window.state::<Desktop>().shows_icon() {
            if waited >= TRAY {
                return show(window.app_handle());
            }
            tokio::time::sleep(LOOK).await;
            waited += LOOK;
        }
    });
}

/// A link was opened: it fills the form, and the player decides.
fn open_link(app: &AppHandle, link: &str) {
    let view = app.state::<Controller<SocketDial>>().view();
    wish(app, links::opened(&view, link));
}

/// Whether the player looks at the window.
pub(crate) fn is_looked_at(app: &AppHandle) -> bool {
    app.get_webview_window(WINDOW)
        .is_some_and(|window| window.is_focused().unwrap_or(false))
}

/// Tells the page.
pub(crate) fn tell<T: Serialize + Clone>(app: &AppHandle, event: &str, payload: T) {
    if let Err(error) = app.emit_to(WINDOW, event, payload) {
        tracing::warn!(%error, event, "the page could not be told");
    }
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
    if let Some(wish) = app.state::<Page>().tell_now(wish) {
        tell(app, "wish", wish);
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
