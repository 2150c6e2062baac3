//! Links to a party: with the app closed, with it open, and while in a party.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use lanrage_tests::lab::{Control, Lab, PATIENCE, Party, felt};
use lanrage_tests::scripted::Scripted;
use lanrage_tests::scripted::scenes::{self, ID};

use crate::browser::{Theme, Window};
use crate::panel::Panel;
use crate::{clipboard, desktop};

/// From a click to what it does being on the screen.
const CLICK: Duration = Duration::from_secs(1);

/// What a desktop does with a link that is clicked while the app runs: it starts the app once more.
fn click(window: &Window, socket: &std::path::Path, link: &str) -> Result<()> {
    let limit = (felt::START * PATIENCE).as_secs().to_string();
    let second = Command::new("timeout")
        .arg(limit)
        .arg(window.program())
        .arg("--socket")
        .arg(socket)
        .arg(link)
        .status()?;
    ensure!(second.success(), "the second start ended with {second}");
    Ok(())
}

/// The form is filled and nothing is joined; one click joins.
async fn confirm(window: &Window, party: &Party, joiner: usize) -> Result<()> {
    window.shows("Party ID or invite", felt::START).await?;
    ensure!(
        window.value("Party ID or invite").await?.contains(&party.id),
        "the form holds something else"
    );
    ensure!(
        party.engines[joiner].status()?.0["party"].is_null(),
        "it joined without being told to"
    );
    window.fill("Your name", "Tom").await?;
    window.press("Join").await?;
    window.shows("10.66.0.2", felt::JOIN).await?;
    window
        .becomes("a ping", felt::CONNECT, |page| page.contains("Ping "))
        .await?;
    Ok(())
}

/// The invite as a link, which the engine writes only where the ID alone would not do.
fn link(party: &Party) -> String {
    if party.invite.starts_with("lanrage://") {
        party.invite.clone()
    } else {
        format!("lanrage://join/{}", party.id)
    }
}

#[tokio::test]
async fn a_link_opens_the_app_with_the_form_filled_and_one_click_joins() -> Result<()> {
    let lab = Lab::new("link closed")?;
    let mut party = Party::gather(&lab, 2, Control::Local)?;
    party.create()?;
    let window = Window::open_by(&party.engines[1].socket(), Theme::Light, &link(&party)).await?;
    confirm(&window, &party, 1).await?;
    window.close().await
}

#[tokio::test]
async fn a_link_brings_the_open_app_to_the_front_with_the_form_filled() -> Result<()> {
    let lab = Lab::new("link open")?;
    let mut panel = Panel::open().await?;
    let mut party = Party::gather(&lab, 2, Control::Local)?;
    party.create()?;
    let socket = party.engines[1].socket();
    let window = Window::open(&socket, Theme::Light).await?;
    let _icon = panel.icon().await?;
    window.shows("Create a party", felt::START).await?;
    // In the tray, as it is for most of an evening.
    desktop::is_visible(true).await?;
    desktop::close()?;
    desktop::is_visible(false).await?;
    click(&window, &socket, &link(&party))?;
    desktop::is_visible(true).await?;
    confirm(&window, &party, 1).await?;
    window.close().await
}

#[tokio::test]
async fn a_link_leads_nobody_out_of_their_party_and_a_damaged_one_says_so() -> Result<()> {
    let place = tempfile::tempdir()?;
    let socket = place.path().join("engine.sock");
    let engine = Scripted::start(&socket)?;
    let window = Window::open(&socket, Theme::Light).await?;
    window.shows("Create a party", CLICK).await?;
    click(&window, &socket, "lanrage://join/K7QF-9M2X")?;
    window.shows("That is not a party ID", CLICK).await?;

    engine.show(scenes::direct());
    window.shows("4 players", CLICK).await?;
    click(&window, &socket, &format!("lanrage://join/{ID}"))?;
    window.shows("already in another party", CLICK).await?;
    window.shows("4 players", CLICK).await?;
    window.close().await
}

#[tokio::test]
async fn join_from_the_clipboard_by_the_tray_joins_after_one_click_in_the_window() -> Result<()> {
    let lab = Lab::new("tray clipboard")?;
    let mut panel = Panel::open().await?;
    let mut party = Party::gather(&lab, 2, Control::Local)?;
    party.create()?;
    let window = Window::open(&party.engines[1].socket(), Theme::Light).await?;
    let icon = panel.icon().await?;
    window.shows("Create a party", felt::START).await?;
    icon.becomes("a way to join", |lines| {
        lines
            .iter()
            .any(|line| line.enabled && line.text == "Join from clipboard…")
    })
    .await?;
    let _friend = clipboard::Owner::holding(&format!("come and play: {}", party.invite))?;
    icon.choose("Join from clipboard…").await?;
    confirm(&window, &party, 1).await?;
    window.close().await
}
