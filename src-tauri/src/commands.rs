//! What the page may ask of the shell. Each is one call to the controller.

use crate::clipboard;
use crate::controller::Controller;
use crate::dial::SocketDial;
use crate::found::Found;
use crate::page::Page;
use crate::view::{EngineView, Welcome, suggested_name};
use lanrage_proto::ipc::Call;
use lanrage_proto::{Fault, FaultCode};
use tauri::{AppHandle, State};

type Engine<'a> = State<'a, Controller<SocketDial>>;

/// How it stands with the engine now, and a name to begin with. The page asks once, when it hears events.
#[tauri::command]
pub(crate) fn status(engine: Engine<'_>, page: State<'_, Page>) -> Welcome {
    let view = engine.view();
    // The last that a start is waited for.
    tracing::debug!(here = matches!(view, EngineView::Here { .. }), "the page listens");
    Welcome {
        view,
        suggested_name: suggested_name(),
        wish: page.listens(),
    }
}

/// Founds a party; answers when it is active.
#[tauri::command]
pub(crate) async fn create(engine: Engine<'_>, party: String, player: String) -> Result<(), Fault> {
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
pub(crate) async fn join(engine: Engine<'_>, text: String, player: String) -> Result<(), Fault> {
    engine
        .call(Call::Join {
            text,
            player: Some(player),
        })
        .await
        .map(drop)
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
