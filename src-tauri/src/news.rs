//! Carries news where they belong: notifications to the system, parties into the memory, the memory to the page.

use crate::app::AppState;
use crate::controller::Controller;
use crate::dial::SocketDial;
use crate::memory::Memory;
use crate::notices::{Notice, Passage, Watcher};
use crate::shell::{is_looked_at, tell};
use crate::{autostart, words};
use lanrage_proto::{Fault, FaultCode};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tauri::{AppHandle, Manager};
use tauri_plugin_notification::NotificationExt;

/// Follows the engine and the memory for as long as the app lives.
pub(crate) fn follow(app: &AppHandle) {
    let mut engine = app.state::<Controller<SocketDial>>().changes();
    let news = app.clone();
    tauri::async_runtime::spawn(async move {
        let mut watcher = Watcher::default();
        while engine.changed().await.is_ok() {
            let seen = watcher.see(Instant::now(), &engine.borrow_and_update());
            match seen.passage {
                Some(Passage::Entered { id, invite, name }) => {
                    news.state::<Memory>()
                        .entered(&id, invite.as_deref(), &name, seconds_since_1970());
                }
                Some(Passage::Ended { id }) => news.state::<Memory>().ended(&id),
                None => {}
            }
            seen.notices.iter().for_each(|notice| notify(&news, notice));
        }
    });
    let mut memory = app.state::<Memory>().changes();
    let app = app.clone();
    tauri::async_runtime::spawn(async move {
        while memory.changed().await.is_ok() {
            memory.mark_unchanged();
            tell(&app, "app", app_state(&app));
        }
    });
}

/// What the app remembers, as the page shows it.
pub(crate) fn app_state(app: &AppHandle) -> AppState {
    let kept = app.state::<Memory>().kept();
    AppState {
        recent: kept.recent(),
        settings: kept.settings,
        start_at_login: autostart::is_on(app),
        languages: words::languages(),
        trouble: kept.trouble,
    }
}

/// Joins a party that the player was in before. One that has ended is forgotten.
pub(crate) async fn join_again(app: &AppHandle, key: &str) -> Result<(), Fault> {
    let memory = app.state::<Memory>();
    let (id, invite) = memory.invite(key).ok_or(FaultCode::PartyUnknown)?;
    let player = memory.kept().settings.player;
    let joined = app.state::<Controller<SocketDial>>().join(invite, player).await;
    if joined
        .as_ref()
        .is_err_and(|fault| fault.code == FaultCode::PartyEnded)
    {
        memory.ended(&id);
    }
    joined
}

/// Tells a player who does not look at the window, if they want to be told.
fn notify(app: &AppHandle, notice: &Notice) {
    let wanted = notice.is_wanted(app.state::<Memory>().kept().settings.notify);
    if !wanted || is_looked_at(app) {
        return;
    }
    let shown = app
        .notification()
        .builder()
        .title("LANrage")
        .body(notice.text())
        .show();
    if let Err(error) = shown {
        tracing::debug!(%error, "the system shows no notification");
    }
}

fn seconds_since_1970() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
