//! A panel without a screen: the tray icon registers here, and its menu is read and clicked over D-Bus.
//!
//! It plays the part of `org.kde.StatusNotifierWatcher` on this test's own session bus, as KDE's and Xfce's panels
//! do; the menu speaks `com.canonical.dbusmenu`. Notifications arrive here as well.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::PATIENCE;
use tokio::sync::{mpsc, watch};
use zbus::message::Header;
use zbus::zvariant::{OwnedObjectPath, OwnedValue, Value};
use zbus::{Connection, connection, interface, proxy};

/// From the app's start, or a change in it, to its being in the tray.
const SHOWN: Duration = Duration::from_secs(1);
/// How often the menu is looked at.
const EVERY: Duration = Duration::from_millis(50);

/// Where an icon lives: its bus name and its object.
type Place = (String, String);

/// The panel; it is gone when dropped.
pub(crate) struct Panel {
    connection: Connection,
    registered: watch::Receiver<Option<Place>>,
    notified: mpsc::UnboundedReceiver<String>,
}

/// A line of the menu, as a desktop would draw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    id: i32,
    pub(crate) text: String,
    pub(crate) enabled: bool,
}

impl Panel {
    /// Opens a panel on the session bus.
    pub(crate) async fn open() -> Result<Self> {
        let (tell, registered) = watch::channel(None);
        let (notify, notified) = mpsc::unbounded_channel();
        let connection = connection::Builder::session()?
            .serve_at("/StatusNotifierWatcher", Watcher { tell })?
            .name("org.kde.StatusNotifierWatcher")?
            .serve_at("/org/freedesktop/Notifications", Notifications { notify })?
            .name("org.freedesktop.Notifications")?
            .build()
            .await?;
        Ok(Self {
            connection,
            registered,
            notified,
        })
    }

    /// Waits for the next notification and returns its text.
    pub(crate) async fn notification(&mut self) -> Result<String> {
        let next = tokio::time::timeout(SHOWN * PATIENCE, self.notified.recv()).await;
        next.context("no notification came")?.context("no notifications")
    }

    /// Waits for the icon. Call it once the app runs.
    pub(crate) async fn icon(&mut self) -> Result<Icon> {
        let wait = self.registered.wait_for(Option::is_some);
        let place = tokio::time::timeout(SHOWN * PATIENCE, wait).await;
        let (service, path) = place.context("no icon came")??.clone().context("no icon")?;
        let item = ItemProxy::builder(&self.connection)
            .destination(service.clone())?
            .path(path)?
            .build()
            .await?;
        let menu = MenuProxy::builder(&self.connection)
            .destination(service)?
            .path(item.menu().await?)?
            .build()
            .await?;
        Ok(Icon { item, menu })
    }
}

/// The app's icon in the panel.
pub(crate) struct Icon {
    item: ItemProxy<'static>,
    menu: MenuProxy<'static>,
}

impl Icon {
    /// The picture that is shown.
    pub(crate) async fn picture(&self) -> Result<Vec<u8>> {
        let path = self.item.icon_name().await?;
        fs::read(&path).with_context(|| format!("the icon {path:?} can't be read"))
    }

    /// The menu without the lines between its groups.
    pub(crate) async fn lines(&self) -> Result<Vec<Line>> {
        let (_, (_, _, children)) = self.menu.get_layout(0, 1, &[]).await?;
        Self::read(children)
    }

    /// The lines of the menu below the line with this text.
    pub(crate) async fn lines_below(&self, text: &str) -> Result<Vec<Line>> {
        let lines = self.lines().await?;
        let above = lines
            .iter()
            .find(|line| line.text == text)
            .with_context(|| format!("no {text:?} in {lines:#?}"))?;
        // As a panel that opens a menu does: it may be filled only then.
        self.menu.about_to_show(above.id).await?;
        let (_, (_, _, children)) = self.menu.get_layout(above.id, 1, &[]).await?;
        Self::read(children)
    }

    fn read(children: Vec<OwnedValue>) -> Result<Vec<Line>> {
        let mut lines = Vec::new();
        for child in children {
            let (id, properties, _): (i32, HashMap<String, OwnedValue>, Vec<OwnedValue>) =
                child.try_into()?;
            let Some(label) = properties.get("label") else {
                continue;
            };
            lines.push(Line {
                id,
                // One underscore marks a shortcut, two are one.
                text: String::try_from(label.clone())?.replace("__", "_"),
                // What is not said is true.
                enabled: properties
                    .get("enabled")
                    .is_none_or(|enabled| bool::try_from(enabled.clone()).unwrap_or(true)),
            });
        }
        Ok(lines)
    }

    /// Waits until the menu satisfies `holds`.
    pub(crate) async fn becomes(&self, what: &str, holds: impl Fn(&[Line]) -> bool) -> Result<()> {
        let started = Instant::now();
        loop {
            let lines = self.lines().await?;
            if holds(&lines) {
                return Ok(());
            }
            ensure!(
                started.elapsed() < SHOWN * PATIENCE,
                "the menu never came to {what:?}: {lines:#?}"
            );
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Chooses the line with this text, which has to be one that can be chosen.
    pub(crate) async fn choose(&self, text: &str) -> Result<()> {
        let lines = self.lines().await?;
        let line = lines
            .iter()
            .find(|line| line.text == text)
            .with_context(|| format!("no {text:?} in {lines:#?}"))?;
        ensure!(line.enabled, "{text:?} can't be chosen");
        self.menu.event(line.id, "clicked", Value::from(0), 0).await?;
        Ok(())
    }
}

struct Watcher {
    tell: watch::Sender<Option<Place>>,
}

#[interface(name = "org.kde.StatusNotifierWatcher")]
impl Watcher {
    fn register_status_notifier_item(&self, service: &str, #[zbus(header)] header: Header<'_>) {
        let sender = header.sender().map(ToString::to_string).unwrap_or_default();
        // Some register their object, some their bus name.
        let place = if service.starts_with('/') {
            (sender, service.to_owned())
        } else {
            (service.to_owned(), "/StatusNotifierItem".to_owned())
        };
        self.tell.send_replace(Some(place));
    }

    fn register_status_notifier_host(&self, _service: &str) {}

    #[zbus(property)]
    fn registered_status_notifier_items(&self) -> Vec<String> {
        let place = self.tell.borrow();
        place
            .iter()
            .map(|(service, path)| format!("{service}{path}"))
            .collect()
    }

    #[zbus(property)]
    fn is_status_notifier_host_registered(&self) -> bool {
        true
    }

    #[zbus(property)]
    fn protocol_version(&self) -> i32 {
        0
    }
}

struct Notifications {
    notify: mpsc::UnboundedSender<String>,
}

/// What shows notifications (Desktop Notifications Specification 1.2).
#[interface(name = "org.freedesktop.Notifications")]
impl Notifications {
    #[expect(clippy::too_many_arguments, reason = "the specification's")]
    fn notify(
        &self,
        _app: &str,
        _replaces: u32,
        _icon: &str,
        _summary: &str,
        body: &str,
        _actions: Vec<String>,
        _hints: HashMap<String, OwnedValue>,
        _timeout: i32,
    ) -> u32 {
        // Nobody may wait for any.
        let _ = self.notify.send(body.to_owned());
        1
    }

    fn get_capabilities(&self) -> Vec<String> {
        vec!["body".to_owned()]
    }

    fn get_server_information(&self) -> (String, String, String, String) {
        let text = str::to_owned;
        (text("panel"), text("LANrage's tests"), text("1"), text("1.2"))
    }
}

#[proxy(interface = "org.kde.StatusNotifierItem", assume_defaults = false)]
trait Item {
    #[zbus(property(emits_changed_signal = "false"))]
    fn icon_name(&self) -> zbus::Result<String>;

    #[zbus(property(emits_changed_signal = "false"))]
    fn menu(&self) -> zbus::Result<OwnedObjectPath>;
}

/// A revision, then an item: its id, properties and children.
type Layout = (u32, (i32, HashMap<String, OwnedValue>, Vec<OwnedValue>));

#[proxy(interface = "com.canonical.dbusmenu", assume_defaults = false)]
trait Menu {
    fn get_layout(&self, parent: i32, depth: i32, properties: &[&str]) -> zbus::Result<Layout>;

    fn about_to_show(&self, id: i32) -> zbus::Result<bool>;

    fn event(&self, id: i32, event: &str, data: Value<'_>, timestamp: u32) -> zbus::Result<()>;
}
