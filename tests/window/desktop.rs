//! What a desktop does with a window: sees whether it is there, and asks it to close.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::PATIENCE;
use x11rb::connection::Connection;
use x11rb::protocol::xproto::{
    AtomEnum, ClientMessageEvent, ConnectionExt, EventMask, InputFocus, MapState, Window,
};

/// From a click to the window's being there or gone.
const CLICK: Duration = Duration::from_secs(1);
/// How often is looked.
const EVERY: Duration = Duration::from_millis(50);

/// The window on the screen, if it is to be seen. There is no window manager here, so it lies right on the root.
fn visible(connection: &impl Connection) -> Result<Option<Window>> {
    for screen in &connection.setup().roots {
        for window in connection.query_tree(screen.root)?.reply()?.children {
            // A window may go between the two questions.
            let Ok(attributes) = connection.get_window_attributes(window)?.reply() else {
                continue;
            };
            let Ok(name) = connection
                .get_property(false, window, AtomEnum::WM_NAME, AtomEnum::ANY, 0, 64)?
                .reply()
            else {
                continue;
            };
            // The system's stand-in for a tray icon is a window as well, with the program's name.
            if attributes.map_state == MapState::VIEWABLE && name.value == b"LANrage" {
                return Ok(Some(window));
            }
        }
    }
    Ok(None)
}

/// Waits until the window is on the screen, or no longer is.
pub(crate) async fn is_visible(wanted: bool) -> Result<()> {
    let (connection, _) = x11rb::connect(None)?;
    let started = Instant::now();
    while visible(&connection)?.is_some() != wanted {
        ensure!(
            started.elapsed() < CLICK * PATIENCE,
            "visible never became {wanted}"
        );
        tokio::time::sleep(EVERY).await;
    }
    Ok(())
}

/// Gives the window the keyboard, as a click on it does.
pub(crate) fn focus() -> Result<()> {
    let (connection, _) = x11rb::connect(None)?;
    let window = visible(&connection)?.context("no window to focus")?;
    connection
        .set_input_focus(InputFocus::PARENT, window, x11rb::CURRENT_TIME)?
        .check()?;
    Ok(())
}

/// Asks the window to close, as the cross in its title bar does.
pub(crate) fn close() -> Result<()> {
    let (connection, _) = x11rb::connect(None)?;
    let window = visible(&connection)?.context("no window to close")?;
    let atom =
        |name: &str| -> Result<u32> { Ok(connection.intern_atom(false, name.as_bytes())?.reply()?.atom) };
    // ICCCM 4.2.8.1
    let data = [atom("WM_DELETE_WINDOW")?, x11rb::CURRENT_TIME, 0, 0, 0];
    let message = ClientMessageEvent::new(32, window, atom("WM_PROTOCOLS")?, data);
    // Checked: what is still under way when a connection closes is lost.
    connection
        .send_event(false, window, EventMask::NO_EVENT, message)?
        .check()?;
    Ok(())
}
