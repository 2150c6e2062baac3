//! The tray as the system draws it. What it shows and what a click means is decided in [`crate::tray_model`].

use crate::controller::Controller;
use crate::desktop::Desktop;
use crate::dial::SocketDial;
use crate::found::Found;
use crate::memory::Memory;
use crate::shell::{show, wish};
use crate::tray_model::{Deed, Entry, Facts, Item, Sign, Tray};
use crate::view::Wish;
use crate::{autostart, clipboard, news};
use lanrage_proto::Fault;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tauri::image::Image;
use tauri::menu::{CheckMenuItem, IsMenuItem, Menu, MenuEvent, MenuItem, PredefinedMenuItem, Submenu};
use tauri::tray::{MouseButton, MouseButtonState, TrayIcon, TrayIconBuilder, TrayIconEvent};
use tauri::{AppHandle, Manager, Wry, include_image};
use tokio::time::timeout;

/// How long a leave may take before the app ends nonetheless; the engine goes on leaving.
const LEAVE: Duration = Duration::from_secs(5);

/// Puts the icon into the tray and keeps it true. Where the system can't have one the app is a window and no more.
pub(crate) fn open(app: &AppHandle) {
    // Without its library the indicator's crate panics; a missing package must not cost the window.
    let drawn = match catch_unwind(AssertUnwindSafe(|| Drawn::new(app))) {
        Ok(Ok(drawn)) => drawn,
        Ok(Err(error)) => return tracing::warn!(%error, "there is no tray"),
        Err(_) => return tracing::warn!("there is no tray: the system's indicator library is missing"),
    };
    app.state::<Desktop>().has_icon();
    follow(app, drawn);
}

/// Whether quitting leaves the party now, without asking.
pub(crate) fn leaves_by_quit(app: &AppHandle) -> bool {
    Item::Quit.chosen(&facts(app)) == Deed::LeaveAndQuit
}

/// Leaves the party and ends the app.
pub(crate) fn leave_and_quit(app: &AppHandle) {
    let app = app.clone();
    tauri::async_runtime::spawn(async move {
        let engine = app.state::<Controller<SocketDial>>();
        match timeout(LEAVE, engine.cancel()).await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => tracing::warn!(%fault, "the party was not left"),
            Err(_) => tracing::warn!("the engine still leaves the party"),
        }
        app.exit(0);
    });
}

fn facts(app: &AppHandle) -> Facts {
    let kept = app.state::<Memory>().kept();
    Facts {
        view: app.state::<Controller<SocketDial>>().view(),
        recent: kept.recent(),
        leave_on_quit: kept.settings.leave_on_quit,
        start_at_login: autostart::is_on(app),
    }
}

fn follow(app: &AppHandle, drawn: Drawn) {
    let mut engine = app.state::<Controller<SocketDial>>().changes();
    let mut memory = app.state::<Memory>().changes();
    let drawn = Arc::new(Mutex::new(drawn));
    let app = app.clone();
    tauri::async_runtime::spawn(async move {
        loop {
            let changed = tokio::select! {
                changed = engine.changed() => changed,
                changed = memory.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
            engine.mark_unchanged();
            memory.mark_unchanged();
            let tray = Tray::of(&facts(&app));
            let (drawn, handle) = (Arc::clone(&drawn), app.clone());
            // Menus belong to the main thread; waiting for it here would block a worker.
            let handed = app.run_on_main_thread(move || {
                let mut drawn = drawn.lock().unwrap_or_else(PoisonError::into_inner);
                if let Err(error) = drawn.draw(&handle, tray) {
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
    menu: Menu<Wry>,
    line: MenuItem<Wry>,
    items: Vec<Drawable>,
    recent: Vec<MenuItem<Wry>>,
    /// Where in the menu the parties to join again begin.
    recent_at: usize,
    players: Submenu<Wry>,
    members: Vec<MenuItem<Wry>>,
    now: Tray,
}

/// An item that is always there.
enum Drawable {
    Plain(MenuItem<Wry>),
    Check(CheckMenuItem<Wry>),
}

impl Drawable {
    fn new(app: &AppHandle, entry: &Entry) -> tauri::Result<Self> {
        let text = literally(&entry.text);
        match entry.checked {
            None => plain(app, entry).map(Self::Plain),
            Some(checked) => {
                CheckMenuItem::with_id(app, entry.item.id(), text, entry.enabled, checked, None::<&str>)
                    .map(Self::Check)
            }
        }
    }

    fn item(&self) -> &dyn IsMenuItem<Wry> {
        match self {
            Self::Plain(item) => item,
            Self::Check(item) => item,
        }
    }

    fn draw(&self, old: &Entry, new: &Entry) -> tauri::Result<()> {
        match self {
            Self::Plain(item) => draw(item, old, new),
            Self::Check(item) => {
                if new.text != old.text {
                    item.set_text(literally(&new.text))?;
                }
                if new.enabled != old.enabled {
                    item.set_enabled(new.enabled)?;
                }
                // A click ticks it by itself, whatever came of it.
                let checked = new.checked == Some(true);
                if item.is_checked()? != checked {
                    item.set_checked(checked)?;
                }
                Ok(())
            }
        }
    }
}

fn plain(app: &AppHandle, entry: &Entry) -> tauri::Result<MenuItem<Wry>> {
    MenuItem::with_id(
        app,
        entry.item.id(),
        literally(&entry.text),
        entry.enabled,
        None::<&str>,
    )
}

fn draw(item: &MenuItem<Wry>, old: &Entry, new: &Entry) -> tauri::Result<()> {
    if new.text != old.text {
        item.set_text(literally(&new.text))?;
    }
    if new.enabled != old.enabled {
        item.set_enabled(new.enabled)?;
    }
    Ok(())
}

/// Draws a list whose length changes: what stays is drawn in its place, so that an open menu does not flicker.
fn draw_list(
    app: &AppHandle,
    items: &mut Vec<MenuItem<Wry>>,
    old: &[Entry],
    new: &[Entry],
    insert: impl Fn(&MenuItem<Wry>, usize) -> tauri::Result<()>,
    remove: impl Fn(&MenuItem<Wry>) -> tauri::Result<()>,
) -> tauri::Result<()> {
    for ((item, old), new) in items.iter().zip(old).zip(new) {
        draw(item, old, new)?;
    }
    while items.len() > new.len() {
        if let Some(item) = items.pop() {
            remove(&item)?;
        }
    }
    for entry in &new[items.len()..] {
        let item = plain(app, entry)?;
        insert(&item, items.len())?;
        items.push(item);
    }
    Ok(())
}

impl Drawn {
    fn new(app: &AppHandle) -> tauri::Result<Self> {
        let now = Tray::of(&facts(app));
        let menu = Menu::new(app)?;
        let line = MenuItem::new(app, literally(&now.line), false, None::<&str>)?;
        menu.append(&line)?;
        let players = Submenu::new(app, literally(&now.players), !now.members.is_empty())?;
        let (mut items, mut recent_at) = (Vec::new(), 0);
        for entry in &now.entries {
            if entry.item.begins_group() {
                menu.append(&PredefinedMenuItem::separator(app)?)?;
            }
            let item = Drawable::new(app, entry)?;
            menu.append(item.item())?;
            items.push(item);
            if entry.item == Item::JoinFromClipboard {
                recent_at = menu.items()?.len();
                menu.append(&players)?;
            }
        }
        let icon = TrayIconBuilder::with_id("main")
            .icon(image(now.sign))
            .tooltip(&now.line)
            .menu(&menu)
            .show_menu_on_left_click(false)
            .on_menu_event(chosen)
            .on_tray_icon_event(clicked)
            .build(app)?;
        let mut drawn = Self {
            icon,
            menu,
            line,
            items,
            recent: Vec::new(),
            recent_at,
            players,
            members: Vec::new(),
            now: Tray {
                recent: Vec::new(),
                members: Vec::new(),
                ..now.clone()
            },
        };
        drawn.draw(app, now)?;
        Ok(drawn)
    }

    /// Draws what has changed.
    fn draw(&mut self, app: &AppHandle, next: Tray) -> tauri::Result<()> {
        if next.sign != self.now.sign {
            self.icon.set_icon(Some(image(next.sign)))?;
        }
        if next.line != self.now.line {
            self.line.set_text(literally(&next.line))?;
            self.icon.set_tooltip(Some(&next.line))?;
        }
        for ((item, old), new) in self.items.iter().zip(&self.now.entries).zip(&next.entries) {
            item.draw(old, new)?;
        }
        let (menu, at) = (&self.menu, self.recent_at);
        draw_list(
            app,
            &mut self.recent,
            &self.now.recent,
            &next.recent,
            |item, place| menu.insert(item, at + place),
            |item| menu.remove(item),
        )?;
        let players = &self.players;
        draw_list(
            app,
            &mut self.members,
            &self.now.members,
            &next.members,
            |item, place| players.insert(item, place),
            |item| players.remove(item),
        )?;
        if next.players != self.now.players {
            players.set_text(literally(&next.players))?;
        }
        if next.members.is_empty() != self.now.members.is_empty() {
            players.set_enabled(!next.members.is_empty())?;
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
    let app = app.clone();
    match item.chosen(&facts(&app)) {
        Deed::Show => show(&app),
        Deed::Quit => app.exit(0),
        Deed::LeaveAndQuit => leave_and_quit(&app),
        Deed::AskToLeave => wish(&app, Wish::AskToLeave),
        Deed::Offer => drop(tauri::async_runtime::spawn_blocking(move || {
            let found = Found::within(&clipboard::text(&app));
            wish(&app, Wish::Join { found });
        })),
        Deed::Join(key) => drop(tauri::async_runtime::spawn(async move {
            let joined = news::join_again(&app, &key).await;
            refused(&app, joined);
        })),
        Deed::Copy(text) => drop(tauri::async_runtime::spawn_blocking(move || {
            refused(&app, clipboard::put(&app, text));
        })),
        Deed::Leave => drop(tauri::async_runtime::spawn(async move {
            let left = app.state::<Controller<SocketDial>>().cancel().await;
            refused(&app, left);
        })),
        Deed::StartAtLogin(on) => refused(&app, autostart::set(&app, on)),
        Deed::Nothing => {}
    }
}

/// A click in the tray that failed is told in the window.
fn refused(app: &AppHandle, result: Result<(), Fault>) {
    if let Err(fault) = result {
        wish(app, Wish::Refused { fault });
    }
}
