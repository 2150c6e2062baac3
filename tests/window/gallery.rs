//! A picture of every state, from the scripted engine, in both themes.

use std::time::Duration;

use anyhow::{Result, ensure};
use lanrage_proto::{Fault, FaultCode};
use lanrage_tests::scripted::{Scripted, scenes};

use crate::browser::{Theme, Window};

/// From a change in the engine to its being on the screen.
const SHOWN: Duration = Duration::from_secs(1);

/// A text by which each scene is known to be on the screen.
const TELLTALE: [(&str, &str); 12] = [
    ("idle", "Create a party"),
    ("no-rights", "The engine lacks the rights"),
    ("creating", "Creating Friday night"),
    ("joining", "Joining the party"),
    ("alone", "Just you so far"),
    ("direct", "4 players, all direct. Worst ping 38 ms."),
    ("mixed", "7 players, no connection to Ben and new player."),
    ("crowd", "14 players, 3 through a relay. Worst ping 102 ms."),
    ("long-names", "no connection to xxx"),
    ("control-away", "The place where the party meets is away."),
    ("liar", "The key of Tom"),
    ("another-user", "belongs to another user"),
];

/// The scenes that also have a picture in the smallest window and in a wide one.
const SHAPED: [&str; 5] = ["idle", "creating", "mixed", "crowd", "long-names"];

/// Checks that nothing is cut off at the sides.
async fn fits(window: &Window, name: &str) -> Result<()> {
    let overflow = window
        .evaluate("return document.documentElement.scrollWidth - document.documentElement.clientWidth;")
        .await?;
    ensure!(overflow == 0, "{name} is {overflow} px too wide");
    Ok(())
}

#[tokio::test]
async fn every_state_is_shown_and_none_overflows_its_column() -> Result<()> {
    let place = tempfile::tempdir()?;
    let socket = place.path().join("engine.sock");
    let engine = Scripted::start(&socket)?;
    for theme in [Theme::Light, Theme::Dark] {
        let window = Window::open(&socket, theme).await?;
        for ((name, status), (known, telltale)) in scenes::all().into_iter().zip(TELLTALE) {
            ensure!(name == known, "scene {name} has no telltale");
            engine.show(status);
            window.shows(telltale, SHOWN).await?;
            fits(&window, name).await?;
            window.picture(&format!("scene-{name}")).await?;
        }
        for (width, height, shape) in [(340, 480, "small"), (1000, 680, "wide")] {
            window.resize(width, height).await?;
            for ((name, status), (_, telltale)) in scenes::all().into_iter().zip(TELLTALE) {
                engine.show(status);
                window.shows(telltale, SHOWN).await?;
                fits(&window, &format!("{shape} {name}")).await?;
                if SHAPED.contains(&name) {
                    window.picture(&format!("{shape}-{name}")).await?;
                }
            }
        }
        engine.show(scenes::idle());
        window.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_create_can_be_cancelled_and_a_refusal_says_what_helps() -> Result<()> {
    let place = tempfile::tempdir()?;
    let socket = place.path().join("engine.sock");
    let engine = Scripted::start(&socket)?;
    let window = Window::open(&socket, Theme::Light).await?;
    window.shows("Create a party", SHOWN).await?;

    window.press("Create a party").await?;
    window.shows("Opening the party on this computer", SHOWN).await?;
    window.press("Cancel").await?;
    window.shows("Join your friends", SHOWN).await?;
    let text = window.text().await?;
    ensure!(
        !text.contains("Something failed"),
        "a cancel is shown as a failure:\n{text}"
    );

    window.fill("Your name", &"x".repeat(200)).await?;
    window.press("Create a party").await?;
    window.shows("This player name can't be used", SHOWN).await?;
    window.picture("refused-name").await?;

    window.fill("Your name", "Anna").await?;
    engine.refuse(
        Fault::new(FaultCode::AddressClash)
            .with("network", "10.66.1.0/24")
            .with("interface", "br-1"),
    );
    window.press("Create a party").await?;
    window
        .shows("already used by the network 10.66.1.0/24 on br-1", SHOWN)
        .await?;
    window.close().await
}
