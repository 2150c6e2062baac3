//! What a desktop does with a window: sees whether it is there, and asks it to close.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::PATIENCE;
use x11rb::connection::Connection;
use x11rb::protocol::xproto::{
    AtomEnum, ClientMessageEvent, ConnectionExt, EventMask, ImageFormat, InputFocus, MapState, Window,
};

/// From a click to the window's being there or gone.
const CLICK: Duration = Duration::from_secs(1);
/// How often is looked.
const EVERY: Duration = Duration::from_millis(50);
/// So many looks in a row have to see the same. Nobody acts on what is there for an instant, and a request to close
/// that meets a window while the toolkit still shows it is lost.
const STEADY: u32 = 6;

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
    let mut seen = 0;
    while seen < STEADY {
        seen = match visible(&connection)?.is_some() == wanted {
            true => seen + 1,
            false => 0,
        };
        ensure!(
            started.elapsed() < CLICK * PATIENCE,
            "visible never became {wanted}"
        );
        tokio::time::sleep(EVERY).await;
    }
    Ok(())
}

/// Takes a picture of the window as it is on the display now. Returns the program that writes it.
pub(crate) fn photograph(path: &Path) -> Result<Child> {
    let (connection, _) = x11rb::connect(None)?;
    let window = visible(&connection)?.context("there is no window to be seen")?;
    let size = connection.get_geometry(window)?.reply()?;
    let image = connection
        .get_image(
            ImageFormat::Z_PIXMAP,
            window,
            0,
            0,
            size.width,
            size.height,
            u32::MAX,
        )?
        .reply()?;
    // At 24 bits of depth a pixel is four bytes, the last of which says nothing (X protocol, byte order of this computer).
    let mut convert = Command::new("convert")
        .args(["-size", &format!("{}x{}", size.width, size.height), "-depth", "8"])
        .args(["bgra:-", "-alpha", "off"])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .context("ImageMagick's convert can't be started")?;
    convert.stdin.take().context("no input")?.write_all(&image.data)?;
    Ok(convert)
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
