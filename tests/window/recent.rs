//! What the app remembers and what goes on without its window: parties to join again, quitting, notifications.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lanrage_proto::ipc::PeerState;
use lanrage_tests::lab::{Control, Lab, Party, felt};
use lanrage_tests::scripted::{Scripted, scenes};

use crate::browser::{Theme, Window};
use crate::desktop;
use crate::panel::{Icon, Panel};

/// From a click to what it does being on the screen.
const CLICK: Duration = Duration::from_secs(1);

/// Waits until the menu has this line, and it can be chosen.
async fn offers(icon: &Icon, text: &str) -> Result<()> {
    icon.becomes(text, |lines| {
        lines.iter().any(|line| line.enabled && line.text == text)
    })
    .await
}

/// Calls a command of the shell's as the page does.
async fn invoke(window: &Window, command: &str, arguments: &str) -> Result<serde_json::Value> {
    let script = format!("return window.__TAURI_INTERNALS__.invoke('{command}', {arguments});");
    window.evaluate(&script).await
}

#[tokio::test]
async fn a_click_on_a_recent_party_joins_it_with_the_window_closed_and_the_menu_lists_its_members()
-> Result<()> {
    let lab = Lab::new("recent")?;
    let mut panel = Panel::open().await?;
    let mut party = Party::gather(&lab, 2, Control::Local)?;
    party.create()?;
    let window = Window::open(&party.engines[1].socket(), Theme::Light).await?;
    let icon = panel.icon().await?;
    window.shows("Create a party", felt::START).await?;
    let arguments = format!("{{ text: {:?}, player: 'Tom' }}", party.invite);
    invoke(&window, "join", &arguments).await?;
    offers(&icon, "Players").await?;
    let started = std::time::Instant::now();
    loop {
        let members = icon.lines_below("Players").await?;
        let anna = members.iter().find(|line| line.text.starts_with("Anna: "));
        if anna.is_some_and(|line| line.text.ends_with(" ms, LAN")) {
            break;
        }
        ensure!(
            started.elapsed() < felt::CONNECT * lanrage_tests::lab::PATIENCE,
            "the menu never listed Anna with a ping: {members:#?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    window.press("Leave").await?;
    offers(&icon, "Join Friday night").await?;

    desktop::is_visible(true).await?;
    desktop::close()?;
    desktop::is_visible(false).await?;
    icon.choose("Join Friday night").await?;
    party.engines[1].wait_until("back in the party", felt::JOIN, |status| {
        Ok(status.0["party"]["state"] == "active")
    })?;
    // Under the name of before.
    let status = party.engines[1].status()?;
    let members = status.0["party"]["members"].as_array().context("no members")?;
    ensure!(
        members
            .iter()
            .any(|member| member["self"] == true && member["name"] == "Tom"),
        "joined under another name: {members:?}"
    );
    offers(&icon, "Leave").await?;
    icon.choose("Leave").await?;
    offers(&icon, "Join Friday night").await?;
    window.close().await
}

#[tokio::test]
async fn quitting_leaves_the_party_to_the_engine_unless_that_is_set_otherwise() -> Result<()> {
    let lab = Lab::new("quit")?;
    let mut panel = Panel::open().await?;
    let mut party = Party::gather(&lab, 2, Control::Local)?;
    party.create()?;
    party.join(1)?;
    let socket = party.engines[1].socket();
    let window = Window::open(&socket, Theme::Light).await?;
    let icon = panel.icon().await?;
    offers(&icon, "Quit (you stay in the party)").await?;
    icon.choose("Quit (you stay in the party)").await?;
    window.is_gone().await?;
    ensure!(
        party.engines[1].status()?.0["party"]["state"] == "active",
        "the party went with the window"
    );
    drop(window);

    let mut panel = Panel::open().await?;
    let window = Window::open(&socket, Theme::Light).await?;
    let icon = panel.icon().await?;
    window.shows("Friday night", felt::START).await?;
    invoke(&window, "change_app", "{ settings: { leaveOnQuit: true } }").await?;
    offers(&icon, "Leave and quit").await?;
    icon.choose("Leave and quit").await?;
    window.is_gone().await?;
    ensure!(
        party.engines[1].status()?.0["party"].is_null(),
        "the party goes on after leaving it"
    );
    Ok(())
}

#[tokio::test]
async fn an_engine_that_is_killed_in_a_party_brings_it_back_under_the_open_window() -> Result<()> {
    let lab = Lab::new("engine party")?;
    let mut party = Party::start(&lab, 2, Control::Local)?;
    let window = Window::open(&party.engines[1].socket(), Theme::Light).await?;
    window.shows("Friday night", felt::START).await?;
    party.engines[1].kill9()?;
    window
        .shows("The LANrage engine is not running.", felt::START)
        .await?;
    party.engines[1].start_again()?;
    window.shows("Friday night", felt::START).await?;
    window
        .becomes("a ping", felt::RETURN, |page| page.contains("Ping "))
        .await?;
    window.close().await
}

#[tokio::test]
async fn who_does_not_look_is_notified_of_what_they_want_to_know() -> Result<()> {
    let mut panel = Panel::open().await?;
    let place = tempfile::tempdir()?;
    let socket = place.path().join("engine.sock");
    let engine = Scripted::start(&socket)?;
    engine.show(scenes::direct());
    let window = Window::open(&socket, Theme::Light).await?;
    let _icon = panel.icon().await?;
    window.shows("4 players", CLICK).await?;
    desktop::is_visible(true).await?;
    desktop::close()?;
    desktop::is_visible(false).await?;

    let silent = |name: &str, state: PeerState| {
        let mut status = engine.status();
        let members = status.party.iter_mut().flat_map(|party| &mut party.members);
        for member in members.filter(|member| member.name == name) {
            member.state = state;
        }
        engine.show(status);
    };
    silent("Tom", PeerState::Lost);
    let text = panel.notification().await?;
    ensure!(text == "No connection to Tom.", "{text}");

    // Of the next only one is wanted.
    let settings = "{ settings: { notify: { lost: false } } }";
    invoke(&window, "change_app", settings).await?;
    silent("Zoë", PeerState::Lost);
    window.shows("no connection to Tom and Zoë", CLICK).await?;
    silent("Ben", PeerState::Disconnected);
    let text = panel.notification().await?;
    ensure!(text == "Ben left Friday night.", "{text}");
    window.close().await
}
