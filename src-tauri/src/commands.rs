//! What the page may ask of the shell. Each is one call to the controller.

use crate::app::{AppSettings, AppState};
use crate::controller::Controller;
use crate::dial::SocketDial;
use crate::found::Found;
use crate::memory::Memory;
use crate::page::Page;
use crate::view::{EngineView, Welcome, suggested_name};
use crate::{autostart, clipboard, links, news, words};
use lanrage_proto::doctor::Report;
use lanrage_proto::ipc::Call;
use lanrage_proto::settings::{ControlTest, LogPage, SettingChange, SettingsReport};
use lanrage_proto::{Fault, FaultCode};
use tauri::{AppHandle, State};

type Engine<'a> = State<'a, Controller<SocketDial>>;

/// How it stands with the engine now, what the app remembers, and a name to begin with. The page asks once, when it hears
/// events.
#[tauri::command]
pub(crate) fn status(app: AppHandle, engine: Engine<'_>, page: State<'_, Page>) -> Welcome {
    let view = engine.view();
    // The last that a start is waited for.
    tracing::debug!(here = matches!(view, EngineView::Here { .. }), "the page listens");
    let state = news::app_state(&app);
    Welcome {
        suggested_name: state.settings.player.clone().unwrap_or_else(suggested_name),
        app: state,
        wish: page.listens().map(|wish| links::still(&view, wish)),
        view,
    }
}

/// Founds a party; answers when it is active.
#[tauri::command]
pub(crate) async fn create(
    engine: Engine<'_>,
    memory: State<'_, Memory>,
    party: String,
    player: String,
) -> Result<(), Fault> {
    memory.called(&player);
    engine
        .call(Call::Create {
            party,
            player: Some(player),
        })
        .await
        .map(drop)
}

/// Joins the party whose ID or invite is in `text`; answers when the lease is there.
#[tauri::command]
pub(crate) async fn join(
    engine: Engine<'_>,
    memory: State<'_, Memory>,
    text: String,
    player: String,
) -> Result<(), Fault> {
    memory.called(&player);
    engine.join(text, Some(player)).await
}

/// Joins a party that the player was in before, under the name used last.
#[tauri::command]
pub(crate) async fn join_recent(app: AppHandle, key: String) -> Result<(), Fault> {
    news::join_again(&app, &key).await
}

/// Takes a party off the list of those to join again.
#[tauri::command]
pub(crate) fn forget_recent(memory: State<'_, Memory>, key: String) {
    memory.forget(&key);
}

/// What the app remembers.
#[tauri::command]
pub(crate) fn app_state(app: AppHandle) -> AppState {
    news::app_state(&app)
}

/// Sets the app. The event `app` tells of it.
#[tauri::command]
pub(crate) fn change_app(memory: State<'_, Memory>, settings: AppSettings) -> Result<(), Fault> {
    memory.set(settings)
}

/// Starts the app when the user signs in, or no longer.
#[tauri::command]
pub(crate) fn start_at_login(app: AppHandle, on: bool) -> Result<(), Fault> {
    autostart::set(&app, on)
}

/// The page shows this language; tray and notifications follow.
#[tauri::command]
pub(crate) fn speak(memory: State<'_, Memory>, language: String) {
    words::speak(&language);
    memory.nudge();
}

/// How the engine is set.
#[tauri::command]
pub(crate) async fn engine_settings(engine: Engine<'_>) -> Result<SettingsReport, Fault> {
    engine.settings().await
}

/// Changes a setting of the engine's; returns how it is set then.
#[tauri::command]
pub(crate) async fn change_setting(
    engine: Engine<'_>,
    change: SettingChange,
) -> Result<SettingsReport, Fault> {
    engine.change(change).await
}

/// Lets the engine try whether a control plane answers.
#[tauri::command]
pub(crate) async fn test_control(engine: Engine<'_>, address: String) -> Result<ControlTest, Fault> {
    engine.test_control(address).await
}

/// All that the engine knows of the ways to friends.
#[tauri::command]
pub(crate) async fn doctor(engine: Engine<'_>) -> Result<Report, Fault> {
    engine.doctor().await
}

/// The engine's log from line `from` on, as much as fits; 0 is the oldest line kept.
#[tauri::command]
pub(crate) async fn log(engine: Engine<'_>, from: u64) -> Result<LogPage, Fault> {
    engine.log(from).await
}

/// Writes an archive for who helps into the downloads; returns where it is.
#[tauri::command]
pub(crate) async fn export(engine: Engine<'_>) -> Result<String, Fault> {
    let path = crate::export::export(&*engine).await?;
    Ok(path.display().to_string())
}

/// What a text holds, and whom joining by it would dial; for the form, before the player says "join".
#[tauri::command]
pub(crate) fn find_invite(text: String) -> Found {
    Found::within(&text)
}

/// Leaves the party; answers when everything is taken down.
#[tauri::command]
pub(crate) async fn leave(engine: Engine<'_>) -> Result<(), Fault> {
    engine.call(Call::Leave).await.map(drop)
}

/// Stops a create or join that is going on.
#[tauri::command]
pub(crate) async fn cancel(engine: Engine<'_>) -> Result<(), Fault> {
    engine.cancel().await
}

/// Puts what friends need to join on the clipboard: the invite, or the ID where there is no invite.
#[tauri::command]
pub(crate) fn copy(app: AppHandle, engine: Engine<'_>) -> Result<(), Fault> {
    let EngineView::Here { status } = engine.view() else {
        return Err(FaultCode::EngineNotRunning.into());
    };
    let text = status
        .party
        .and_then(|party| party.invite.or(party.id))
        .ok_or_else(|| Fault::new(FaultCode::NotInParty))?;
    clipboard::put(&app, text)
}

/// Puts a member's address on the clipboard. Nothing else can be put there by the page.
#[tauri::command]
pub(crate) fn copy_address(app: AppHandle, engine: Engine<'_>, address: String) -> Result<(), Fault> {
    let EngineView::Here { status } = engine.view() else {
        return Err(FaultCode::EngineNotRunning.into());
    };
    let party = status.party.ok_or_else(|| Fault::new(FaultCode::NotInParty))?;
    if !party.members.iter().any(|member| member.address == address) {
        return Err(FaultCode::MemberAway.into());
    }
    clipboard::put(&app, address)
}
