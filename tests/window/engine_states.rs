//! The window without an engine, and as one comes and goes.

use std::net::TcpListener;
use std::process::Command;

use anyhow::{Result, ensure};
use lanrage_tests::lab::{Engine, EngineOptions, Lab, PATIENCE, felt};

use crate::browser::{Theme, Window};

#[tokio::test]
async fn without_an_engine_the_window_says_so_and_loads_nothing_from_elsewhere() -> Result<()> {
    let place = tempfile::tempdir()?;
    let outside = TcpListener::bind("127.0.0.1:0")?;
    outside.set_nonblocking(true)?;
    for theme in [Theme::Light, Theme::Dark] {
        let window = Window::open(&place.path().join("engine.sock"), theme).await?;
        window
            .shows("The LANrage engine is not running.", felt::START)
            .await?;
        window
            .shows(
                "Start the service lanrage-engine, or restart this computer.",
                felt::START,
            )
            .await?;
        window.picture("engine-not-running").await?;
        let foreign = window
            .evaluate(
                "return performance.getEntriesByType('resource').map(entry => entry.name)\
                 .filter(name => !name.startsWith(location.origin) && !name.startsWith('ipc:'));",
            )
            .await?;
        ensure!(
            foreign == serde_json::json!([]),
            "loaded from elsewhere: {foreign}"
        );
        let fetch = format!(
            "return fetch('http://{}/', {{ mode: 'no-cors' }}).then(() => 'fetched', () => 'refused');",
            outside.local_addr()?
        );
        ensure!(
            window.evaluate(&fetch).await? == "refused",
            "the page could fetch"
        );
        ensure!(outside.accept().is_err(), "the page's request left the window");
        window.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_engine_that_starts_under_the_open_window_is_found_and_its_end_is_seen() -> Result<()> {
    let lab = Lab::new("engine states")?;
    let host = lab.host()?;
    let options = EngineOptions {
        player: "Anna".to_owned(),
        control: "local".to_owned(),
    };
    let mut engine = Engine::start(&host, options)?;
    let socket = engine.socket();
    engine.terminate()?;

    let window = Window::open(&socket, Theme::Light).await?;
    window
        .shows("The LANrage engine is not running.", felt::START)
        .await?;
    engine.start_again()?;
    window.shows("Create a party", felt::START).await?;
    engine.kill9()?;
    window
        .shows("The LANrage engine is not running.", felt::START)
        .await?;
    engine.start_again()?;
    window.shows("Create a party", felt::START).await?;
    window.close().await
}

#[tokio::test]
async fn a_second_start_leaves_it_to_the_first() -> Result<()> {
    let place = tempfile::tempdir()?;
    let socket = place.path().join("engine.sock");
    let window = Window::open(&socket, Theme::Light).await?;
    window
        .shows("The LANrage engine is not running.", felt::START)
        .await?;
    let limit = (felt::START * PATIENCE).as_secs().to_string();
    let second = Command::new("timeout")
        .arg(limit)
        .arg(window.program())
        .arg("--socket")
        .arg(&socket)
        .status()?;
    ensure!(second.success(), "the second start ended with {second}");
    window
        .shows("The LANrage engine is not running.", felt::START)
        .await?;
    window.close().await
}
