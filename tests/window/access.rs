//! The window without a mouse, and without motion.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use lanrage_tests::scripted::{Scripted, scenes};
use thirtyfour::Key;

use crate::browser::{Theme, Window};
use crate::desktop;

/// From a key, or a change in the engine, to its being on the screen.
const SHOWN: Duration = Duration::from_secs(1);

/// Presses Tab until the focus is on `wanted`, and names what it passed.
async fn tab_to(window: &Window, wanted: &str) -> Result<()> {
    let mut passed = Vec::new();
    for _ in 0..20 {
        window.keys(Key::Tab).await?;
        let at = window.focus().await?;
        if at == wanted {
            return Ok(());
        }
        passed.push(at);
    }
    anyhow::bail!("Tab never came to {wanted:?}, only to {passed:?}")
}

#[tokio::test]
async fn a_party_is_created_shared_and_left_with_the_keyboard_alone() -> Result<()> {
    let place = tempfile::tempdir()?;
    let socket = place.path().join("engine.sock");
    let _engine = Scripted::start(&socket)?;
    let window = Window::open(&socket, Theme::Light).await?;
    window.shows("Create a party", SHOWN).await?;
    // Where the focus is shows only in a window that has the keyboard.
    desktop::focus()?;
    tab_to(&window, "Settings").await?;
    tab_to(&window, "Your name").await?;
    tab_to(&window, "Create a party").await?;
    let ring = "return getComputedStyle(document.activeElement).outlineStyle;";
    ensure!(window.evaluate(ring).await? == "solid", "the focus does not show");
    window.picture("keyboard-focus").await?;
    tab_to(&window, "Join with an ID").await?;
    window.keys(Key::Enter).await?;
    ensure!(
        window.focus().await? == "Party ID or invite",
        "the focus is on {:?}",
        window.focus().await?
    );
    tab_to(&window, "Back").await?;
    window.keys(Key::Enter).await?;
    ensure!(
        window.focus().await? == "Join with an ID",
        "the focus is on {:?}",
        window.focus().await?
    );
    tab_to(&window, "Change").await?;
    tab_to(&window, "Your name").await?;
    window.keys(Key::Control + "a").await?;
    window.keys("Robin" + Key::Enter).await?;

    window.shows("Ben", SHOWN * 10).await?;
    tab_to(&window, "Copy the invite for your friends").await?;
    window.keys(Key::Enter).await?;
    window.shows("Copied. Paste it to your friends.", SHOWN).await?;
    tab_to(&window, "Share").await?;
    tab_to(&window, "Robin (host) you 10.66.0.1").await?;
    window.keys(Key::Space).await?;
    tab_to(&window, "Copy Robin's address 10.66.0.1").await?;
    window.keys(Key::Space).await?;
    window
        .becomes("the address copied", SHOWN, |page| page.contains("Copied"))
        .await?;
    window.picture("keyboard-address").await?;
    tab_to(&window, "Leave").await?;
    window.keys(Key::Enter).await?;
    window.shows("the party ends for everyone", SHOWN).await?;
    ensure!(
        window.focus().await? == "Stay",
        "the focus is on {:?}",
        window.focus().await?
    );
    window.keys(Key::Escape).await?;
    window
        .becomes("no question", SHOWN, |page| !page.contains("ends for everyone"))
        .await?;
    ensure!(
        window.focus().await? == "Leave",
        "the focus is on {:?}",
        window.focus().await?
    );
    window.keys(Key::Enter).await?;
    window.shows("the party ends for everyone", SHOWN).await?;
    tab_to(&window, "End the party").await?;
    window.picture("keyboard-leave").await?;
    window.keys(Key::Enter).await?;
    window.shows("Create a party", SHOWN * 2).await?;
    window.close().await
}

#[tokio::test]
async fn where_the_desktop_wants_no_motion_nothing_glides() -> Result<()> {
    let place = tempfile::tempdir()?;
    let settings = place.path().join("gtk-3.0");
    fs::create_dir(&settings)?;
    fs::write(
        settings.join("settings.ini"),
        "[Settings]\ngtk-enable-animations=0\n",
    )?;
    let socket = place.path().join("engine.sock");
    let engine = Scripted::start(&socket)?;
    let window = Window::open_with(&socket, Theme::Light, &[("XDG_CONFIG_HOME", place.path())]).await?;
    window.shows("Create a party", SHOWN).await?;
    let still = "return matchMedia('(prefers-reduced-motion: reduce)').matches;";
    ensure!(window.evaluate(still).await? == true, "the page was not told");
    engine.show(scenes::creating());
    window.shows("Creating Friday night", SHOWN).await?;
    let gliding = "return document.getAnimations()\
                   .filter(each => !each.effect.getTiming().easing.startsWith('steps')\
                       && !getComputedStyle(each.effect.target).animationTimingFunction.startsWith('steps')).length;";
    ensure!(window.evaluate(gliding).await? == 0, "something glides");
    window.close().await
}
