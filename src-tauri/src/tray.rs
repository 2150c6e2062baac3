//! The tray as the system draws it. What it shows and what a click means is decided in [`crate::tray_model`].

use crate::clipboard;
use crate::controller::Controller;
use crate::desktop::Desktop;
use crate::dial::SocketDial;
use crate::found::Found;
use crate::shell::{show, wish};
use crate::tray_model::{Deed, Item, Sign, Tray};
use crate::view::Wish;
use lanrage_proto::Fault;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use tauri::image::Image;
use tauri::menu::{Menu, MenuEvent, MenuItem, PredefinedMenuItem};
use tauri::tray::{MouseButton, MouseButtonState, TrayIcon, TrayIconBuilder, TrayIconEvent};
use tauri::{AppHandle, Manager, Wry, include_image};

/// Puts the icon into the tray and keeps it true. Where the system can't have one the app is a window and no more.
pub(crate) fn open(app: &AppHandle) {
    // Without its library the indicator's crate panics; a missing package must not cost the window.
    let drawn = match catch_unwind(AssertUnwindSafe(|| Drawn::new(app))) {
        Ok(Ok(drawn)) => drawn,
        Ok(Err(error)) => return tracing::warn!(%error, "there is no tray"),
        Err(_) => return tracing::warn!("there is no tray: the system's indicator library is missing"),
    };
    app.state::<Desktop>().has_icon();
    follow_engine(app, drawn);
}

fn follow_engine(app: &AppHandle, drawn: Drawn) {
    let mut changes = app.state::<Controller<SocketDial>>().changes();
    let drawn = Arc::new(Mutex::new(drawn));
    let app = app.clone();
    tauri::async_runtime::spawn(async move {
        while changes.changed().await.is_ok() {
            let tray = Tray::of(&changes.borrow_and_update());
            let drawn = Arc::clone(&drawn);
            // Menus belong to the main thread; waiting for it here would block a worker.
            let handed = app.run_on_main_thread(move || {
                if let Err(error) = drawn.lock().unwrap_or_else(PoisonError::into_inner).draw(tray) {
                    tracing::warn!(%error, "the tray could not be drawn");
                }
            });
            if handed.is_err() {
                return;
            }
        }
    });
}

/// The icon and its menu as they are on the screen.
struct Drawn {
    icon: TrayIcon,
    line: MenuItem<Wry>,
    items: Vec<MenuItem<Wry>>,
    now: Tray,
}

impl Drawn {
    fn new(app: &AppHandle) -> tauri::Result<Self> {
        let now = Tray::of(&app.state::<Controller<SocketDial>>().view());
        let menu = Menu::new(app)?;
        let line = MenuItem::new(app, literally(&now.line), false, None::<&str>)?;
        menu.append(&line)?;
        let mut items = Vec::new();
        for entry in &now.entries {
            if entry.item.begins_group() {
                menu.append(&PredefinedMenuItem::separator(app)?)?;
            }
            let text = literally(&entry.text);
            let item = MenuItem::with_id(app, entry.item.id(), text, entry.enabled, None::<&str>)?;
            menu.append(&item)?;
            items.push(item);
        }
        let icon = TrayIconBuilder::with_id("main")
            .icon(image(now.sign))
            .tooltip(&now.line)
            .menu(&menu)
            .show_menu_on_left_click(false)
            .on_menu_event(chosen)
            .on_tray_icon_event(clicked)
            .build(app)?;
        Ok(Self {
            icon,
            line,
            items,
            now,
        })
    }

    /// Draws what has changed, so that an open menu does not flicker.
    fn draw(&mut self, next: Tray) -> tauri::Result<()> {
        if next.sign != self.now.sign {
            self.icon.set_icon(Some(image(next.sign)))?;
        }
        if next.line != self.now.line {
            self.line.set_text(literally(&next.line))?;
            self.icon.set_tooltip(Some(&next.line))?;
        }
        for ((item, old), new) in self.items.iter().zip(&self.now.entries).zip(&next.entries) {
            if new.text != old.text {
                item.set_text(literally(&new.text))?;
            }
            if new.enabled != old.enabled {
                item.set_enabled(new.enabled)?;
            }
        }
        self.now = next;
        Ok(())
    }
}

fn image(sign: Sign) -> Image<'static> {
    match sign {
        Sign::Away => include_image!("../icons/tray/away.png"),
        Sign::Idle => include_image!("../icons/tray/idle.png"),
        Sign::Entering => include_image!("../icons/tray/entering.png"),
        Sign::Party => include_image!("../icons/tray/party.png"),
        Sign::Trouble => include_image!("../icons/tray/trouble.png"),
    }
}

/// A menu takes an ampersand for the mark of a shortcut; in a party's name it is just that.
fn literally(text: &str) -> String {
    text.replace('&', "&&")
}

/// A left click, where the system tells of it: Windows and macOS.
fn clicked(icon: &TrayIcon, event: TrayIconEvent) {
    if let TrayIconEvent::Click {
        button: MouseButton::Left,
        button_state: MouseButtonState::Up,
        ..
    } = event
    {
        show(icon.app_handle());
    }
}

fn chosen(app: &AppHandle, event: MenuEvent) {
    let Some(item) = Item::of_id(event.id().as_ref()) else {
        return;
    };
    let view = app.state::<Controller<SocketDial>>().view();
    let app = app.clone();
    match item.chosen(&view) {
        Deed::Show => show(&app),
        Deed::Quit => app.exit(0),
        Deed::AskToLeave => wish(&app, Wish::AskToLeave),
        Deed::Offer => drop(tauri::async_runtime::spawn_blocking(move || {
            let found = Found::within(&clipboard::text(&app));
            wish(&app, Wish::Join { found });
        })),
        Deed::Copy(text) => drop(tauri::async_runtime::spawn_blocking(move || {
            refused(&app, clipboard::put(&app, text));
        })),
        Deed::Leave => drop(tauri::async_runtime::spawn(async move {
            let left = app.state::<Controller<SocketDial>>().cancel().await;
            refused(&app, left);
        })),
        Deed::Nothing => {}
    }
}

/// A click in the tray that failed is told in the window.
fn refused(app: &AppHandle, result: Result<(), Fault>) {
    if let Err(fault) = result {
        wish(app, Wish::Refused { fault });
    }
}
