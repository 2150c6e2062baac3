//! The tray: what its menu offers, what a click does, and what closing the window means.

use std::time::Duration;

use anyhow::{Result, ensure};
use lanrage_tests::lab::felt;
use lanrage_tests::scripted::Scripted;
use lanrage_tests::scripted::scenes::{self, ID};

use crate::browser::{Theme, Window};
use crate::panel::{Icon, Line, Panel};
use crate::{clipboard, desktop};

/// From a click, or a change in the engine, to its being on the screen.
const SHOWN: Duration = Duration::from_secs(1);

const JOIN: &str = "Join from clipboard…";
const START: &str = "Start at login";

/// The texts of the lines that can be chosen.
fn choices(lines: &[Line]) -> Vec<&str> {
    let enabled = lines.iter().filter(|line| line.enabled);
    enabled.map(|line| line.text.as_str()).collect()
}

async fn offers(icon: &Icon, wanted: &[&str]) -> Result<()> {
    icon.becomes(&format!("{wanted:?}"), |lines| choices(lines) == wanted)
        .await
}

#[tokio::test]
async fn the_menu_follows_the_party_and_its_clicks_copy_and_leave() -> Result<()> {
    let mut panel = Panel::open().await?;
    let place = tempfile::tempdir()?;
    let socket = place.path().join("engine.sock");
    let engine = Scripted::start(&socket)?;
    let window = Window::open(&socket, Theme::Light).await?;
    let icon = panel.icon().await?;
    offers(&icon, &["Open LANrage", JOIN, START, "Quit"]).await?;
    let idle = icon.picture().await?;

    let mut status = scenes::mixed();
    if let Some(party) = &mut status.party {
        party.name = "Tom & Zoë_2".to_owned();
    }
    engine.show(status);
    let state = "Tom & Zoë_2: 7 players, 2 not connected";
    icon.becomes(state, |lines| lines[0].text == state && !lines[0].enabled)
        .await?;
    let all = [
        "Open LANrage",
        "Players",
        "Copy invite",
        "Copy party ID",
        "Leave",
        START,
        "Quit (you stay in the party)",
    ];
    offers(&icon, &all).await?;
    ensure!(
        icon.picture().await? != idle,
        "the icon does not tell a party from none"
    );

    icon.choose("Copy party ID").await?;
    clipboard::becomes(ID, SHOWN).await?;
    icon.choose("Copy invite").await?;
    clipboard::becomes(&format!("lanrage://join/{ID}"), SHOWN).await?;

    icon.choose("Leave").await?;
    // Whoever was there may come again.
    let again = ["Open LANrage", JOIN, "Join Tom & Zoë_2", START, "Quit"];
    offers(&icon, &again).await?;
    window.shows("Create a party", felt::LEAVE).await?;
    ensure!(
        icon.picture().await? == idle,
        "the icon does not tell that the party is left"
    );

    drop(engine);
    offers(&icon, &["Open LANrage", START, "Quit"]).await?;
    window.close().await
}

#[tokio::test]
async fn a_host_who_leaves_by_the_tray_is_asked_in_the_window() -> Result<()> {
    let mut panel = Panel::open().await?;
    let place = tempfile::tempdir()?;
    let socket = place.path().join("engine.sock");
    let engine = Scripted::start(&socket)?;
    engine.show(scenes::direct());
    let window = Window::open(&socket, Theme::Light).await?;
    let icon = panel.icon().await?;
    icon.becomes("Leave…", |lines| choices(lines).contains(&"Leave…"))
        .await?;
    desktop::is_visible(true).await?;
    desktop::close()?;
    desktop::is_visible(false).await?;

    icon.choose("Leave…").await?;
    desktop::is_visible(true).await?;
    window.shows("the party ends for everyone", SHOWN).await?;
    window.press("Stay").await?;
    window
        .becomes("no question", SHOWN, |page| !page.contains("ends for everyone"))
        .await?;
    window.shows("4 players", SHOWN).await?;
    window.close().await
}

#[tokio::test]
async fn join_from_the_clipboard_fills_the_form_says_whom_it_dials_and_joins_nothing_by_itself() -> Result<()>
{
    let mut panel = Panel::open().await?;
    let place = tempfile::tempdir()?;
    let socket = place.path().join("engine.sock");
    let engine = Scripted::start(&socket)?;
    let window = Window::open(&socket, Theme::Light).await?;
    window.shows("Create a party", SHOWN).await?;
    let icon = panel.icon().await?;
    offers(&icon, &["Open LANrage", JOIN, START, "Quit"]).await?;

    let secret = clipboard::Owner::holding("correct horse battery staple")?;
    icon.choose(JOIN).await?;
    window
        .shows("There is no invite on the clipboard.", SHOWN)
        .await?;
    ensure!(
        !window.text().await?.contains("Party ID or invite"),
        "the form is open"
    );
    let page = window
        .evaluate("return document.documentElement.outerHTML;")
        .await?;
    ensure!(
        !page.to_string().contains("horse"),
        "the clipboard is on the page"
    );
    drop(secret);

    let invite = format!("lanrage://join/{ID}?via=192.168.1.5:51820");
    let _friend = clipboard::Owner::holding(&format!("tonight at 8? {invite} :)"))?;
    desktop::close()?;
    desktop::is_visible(false).await?;
    icon.choose(JOIN).await?;
    desktop::is_visible(true).await?;
    window
        .shows("Joining connects to 192.168.1.5:51820.", SHOWN)
        .await?;
    ensure!(
        window.value("Party ID or invite").await? == invite,
        "the form holds something else"
    );
    ensure!(engine.status().party.is_none(), "it joined without being told to");
    window.picture("join-from-clipboard").await?;

    window.press("Join").await?;
    window.shows("Finding the party", SHOWN).await?;
    window.close().await
}

#[tokio::test]
async fn closing_hides_the_window_where_there_is_a_tray_and_quitting_leaves_the_party_alone() -> Result<()> {
    let mut panel = Panel::open().await?;
    let place = tempfile::tempdir()?;
    let socket = place.path().join("engine.sock");
    let engine = Scripted::start(&socket)?;
    engine.show(scenes::mixed());
    let window = Window::open(&socket, Theme::Light).await?;
    let icon = panel.icon().await?;
    desktop::is_visible(true).await?;
    desktop::close()?;
    desktop::is_visible(false).await?;
    icon.choose("Open LANrage").await?;
    desktop::is_visible(true).await?;
    window.shows("Friday night", SHOWN).await?;

    icon.choose("Quit (you stay in the party)").await?;
    window.is_gone().await?;
    ensure!(engine.status().party.is_some(), "the party went with the window");
    Ok(())
}

#[tokio::test]
async fn closing_ends_the_app_where_no_tray_would_bring_it_back() -> Result<()> {
    let place = tempfile::tempdir()?;
    let socket = place.path().join("engine.sock");
    let _engine = Scripted::start(&socket)?;
    let window = Window::open(&socket, Theme::Light).await?;
    window.shows("Create a party", SHOWN).await?;
    desktop::is_visible(true).await?;
    desktop::close()?;
    window.is_gone().await
}
