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
use lanrage_proto::games::Game;
use lanrage_proto::ipc::{Call, PartyStatus, Status};
use lanrage_proto::lobby::RulesChange;
use lanrage_proto::settings::{ControlTest, LogPage, SettingChange, SettingsReport};
use lanrage_proto::{Fault, FaultCode};
use serde::Deserialize;
use tauri::{AppHandle, State};

/// How a link to a party begins.
const LINK: &str = "lanrage://join/";

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

/// In this party, lets friends reach something else on this computer, or carries other announces.
#[tauri::command]
pub(crate) async fn change_rules(engine: Engine<'_>, change: RulesChange) -> Result<(), Fault> {
    engine.call(Call::Rules { change }).await.map(drop)
}

/// What of the invite is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Share {
    /// The ID with where to find it, as the engine writes it.
    Invite,
    /// The ID alone.
    Id,
    /// The invite as a link, also where the ID alone would do.
    Link,
}

/// Puts what friends need to join on the clipboard.
#[tauri::command]
pub(crate) fn copy(app: AppHandle, engine: Engine<'_>, what: Share) -> Result<(), Fault> {
    clipboard::put(&app, shared(&party(&engine)?, what)?)
}

/// Puts a sentence around the invite on the clipboard. A sentence without it is refused: the page can put nothing
/// there that is not about its party.
#[tauri::command]
pub(crate) fn copy_message(app: AppHandle, engine: Engine<'_>, message: String) -> Result<(), Fault> {
    let link = shared(&party(&engine)?, Share::Link)?;
    if !message.contains(&link) {
        return Err(Fault::new(FaultCode::RequestInvalid).with("reason", "the message holds no invite"));
    }
    clipboard::put(&app, message)
}

/// The invite that lies on the clipboard. Nothing else of it, and nothing damaged: nobody has asked.
#[tauri::command]
pub(crate) async fn look_at_clipboard(app: AppHandle) -> Found {
    let look = tauri::async_runtime::spawn_blocking(move || Found::within(&clipboard::text(&app)));
    match look.await {
        Ok(found @ Found::Invite { .. }) => found,
        Ok(_) | Err(_) => Found::Nothing,
    }
}

/// Puts a member's or a running game's address on the clipboard. Nothing else can be put there by the page.
#[tauri::command]
pub(crate) fn copy_address(app: AppHandle, engine: Engine<'_>, address: String) -> Result<(), Fault> {
    let status = here(&engine)?;
    let party = status.party.as_ref().ok_or(FaultCode::NotInParty)?;
    if !is_address(party, &status.games, &address) {
        return Err(FaultCode::MemberAway.into());
    }
    clipboard::put(&app, address)
}

/// What the engine says.
fn here(engine: &Engine<'_>) -> Result<Box<Status>, Fault> {
    let EngineView::Here { status } = engine.view() else {
        return Err(FaultCode::EngineNotRunning.into());
    };
    Ok(status)
}

/// The party that the player is in.
fn party(engine: &Engine<'_>) -> Result<PartyStatus, Fault> {
    here(engine)?.party.ok_or_else(|| FaultCode::NotInParty.into())
}

/// Whether friends or games of the party are reached at this address.
fn is_address(party: &PartyStatus, games: &[Game], address: &str) -> bool {
    let members = party.members.iter().map(|member| member.address.as_str());
    let games = games.iter().filter_map(|game| game.address.as_deref());
    members.chain(games).any(|known| known == address)
}

/// The text of a part of the invite.
fn shared(party: &PartyStatus, what: Share) -> Result<String, Fault> {
    // Another user's party comes without its ID.
    let id = party.id.clone().ok_or(FaultCode::PartyOfAnotherUser)?;
    let invite = party.invite.clone().unwrap_or_else(|| id.clone());
    Ok(match what {
        Share::Invite => invite,
        Share::Id => id,
        Share::Link if invite.starts_with(LINK) => invite,
        Share::Link => format!("{LINK}{id}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lanrage_proto::ipc::{MemberStatus, NatType, PartyState, PeerState};

    fn party(id: Option<&str>, invite: Option<&str>) -> PartyStatus {
        PartyStatus {
            name: "Friday night".to_owned(),
            id: id.map(str::to_owned),
            invite: invite.map(str::to_owned),
            state: PartyState::Active,
            version: 1,
            members: Vec::new(),
            rules: Default::default(),
            lobby: Default::default(),
        }
    }

    #[test]
    fn the_invite_is_shared_as_it_is_as_an_id_and_as_a_link() {
        let at_home = party(Some("K7QF"), Some("lanrage://join/K7QF?via=192.0.2.1:7"));
        let all = |party| [Share::Invite, Share::Id, Share::Link].map(|what| shared(party, what).unwrap());
        let link = "lanrage://join/K7QF?via=192.0.2.1:7";
        assert_eq!(all(&at_home), [link, "K7QF", link]);
        let known = party(Some("K7QF"), Some("K7QF"));
        assert_eq!(all(&known), ["K7QF", "K7QF", "lanrage://join/K7QF"]);
    }

    #[test]
    fn a_games_address_is_copied_as_a_members_is_and_no_other_text() {
        let game = |name: &str, address: Option<&str>| Game {
            name: name.to_owned(),
            address: address.map(str::to_owned),
            process: String::new(),
            keepalive: None,
            notes: None,
        };
        let mut party = party(None, None);
        party.members.push(MemberStatus {
            name: "Tom".to_owned(),
            address: "10.66.0.2".to_owned(),
            is_self: false,
            host: false,
            state: PeerState::Connected,
            path: None,
            relay: None,
            rtt_ms: None,
            jitter_ms: None,
            loss: None,
            trouble: None,
            nat: NatType::Unknown,
        });
        let games = [game("Quake III", Some("10.66.0.1:27960")), game("Doom", None)];
        let known = |text| is_address(&party, &games, text);
        assert!(known("10.66.0.2") && known("10.66.0.1:27960"));
        assert!(!known("10.66.0.3") && !known("10.66.0.1") && !known("Doom"));
    }

    #[test]
    fn of_another_users_party_nothing_is_shared() {
        let fault = shared(&party(None, None), Share::Id).unwrap_err();
        assert_eq!(fault.code, FaultCode::PartyOfAnotherUser);
    }
}
