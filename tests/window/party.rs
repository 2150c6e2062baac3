//! A party from the window: created, joined by another engine, left; and joined by pasting.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::{Control, Lab, Party, felt};

use crate::browser::{Theme, Window};
use crate::clipboard;

/// From a click to what it does being on the screen.
const CLICK: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_party_is_created_shared_joined_watched_and_left_in_the_window() -> Result<()> {
    for theme in [Theme::Light, Theme::Dark] {
        let lab = Lab::new("window party")?;
        let mut party = Party::gather(&lab, 2, Control::Local)?;
        let window = Window::open(&party.engines[0].socket(), theme).await?;
        window.shows("Create a party", felt::START).await?;
        window.picture("start").await?;
        window.fill("Your name", "Anna").await?;
        window.press("Change").await?;
        window.fill("Party name", "Friday night").await?;
        window.press("Create a party").await?;
        window.shows("Just you so far", felt::CREATE).await?;
        window.shows("The invite is on your clipboard.", CLICK).await?;
        window.picture("party-alone").await?;
        let invite = clipboard::text()?;
        let own = party.engines[0].status()?;
        ensure!(
            own.0["party"]["invite"] == invite.as_str(),
            "the clipboard holds {invite:?}, the invite is {}",
            own.0["party"]["invite"]
        );

        party.engines[1].cli(&["join", &invite])?;
        window
            .becomes("a ping", felt::CONNECT, |page| page.contains("Ping "))
            .await?;
        let row = window.row("Tom").await?;
        ensure!(
            row.contains("10.66.0.2") && row.contains("ms"),
            "Tom's row: {row}"
        );
        window.picture("party-two").await?;

        window.switch("Share files and printers too").await?;
        window
            .shows("Friends reach the files and printers", CLICK)
            .await?;
        let own = party.engines[0].status()?;
        ensure!(
            own.0["party"]["rules"]["share"] == "files",
            "the switch is on, the engine shares {}",
            own.0["party"]["rules"]["share"]
        );

        party.engines[1].kill9()?;
        window.shows("no connection to Tom", felt::LOST).await?;
        let row = window.row("Tom").await?;
        ensure!(row.contains("lost"), "Tom's row: {row}");
        window.picture("party-lost").await?;

        window.press("Leave").await?;
        window.shows("the party ends for everyone", CLICK).await?;
        window.picture("party-leave").await?;
        window.press("End the party").await?;
        window.shows("Create a party", felt::LEAVE).await?;
        let remains = party.engines[0].remains()?;
        ensure!(remains.is_empty(), "after the leave there is still {remains:?}");
        window.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_pasted_chat_line_joins_and_a_mistyped_id_says_what_helps() -> Result<()> {
    let lab = Lab::new("window join")?;
    let mut party = Party::gather(&lab, 2, Control::Local)?;
    party.create()?;
    let window = Window::open(&party.engines[1].socket(), Theme::Light).await?;
    window.shows("Create a party", felt::START).await?;
    window.fill("Your name", "Tom").await?;
    window.press("Join with an ID").await?;

    let wrong = mistyped(&party.id)?;
    window.fill("Party ID or invite", &wrong).await?;
    window.press("Join").await?;
    window.shows("That is not a party ID", felt::JOIN).await?;
    window.picture("join-mistyped").await?;

    window
        .fill("Party ID or invite", &format!("come and play! {}", party.invite))
        .await?;
    window.press("Join").await?;
    window.shows("10.66.0.2", felt::JOIN).await?;
    window
        .becomes("a ping", felt::CONNECT, |page| page.contains("Ping "))
        .await?;
    // Not the host: one click, no question.
    window.press("Leave").await?;
    window.shows("Create a party", felt::LEAVE).await?;
    window.close().await
}

/// The ID with one symbol changed, as a tired player types it.
fn mistyped(id: &str) -> Result<String> {
    let first = id.chars().next().context("an empty party ID")?;
    Ok(id.replacen(first, if first == '7' { "8" } else { "7" }, 1))
}
