//! Whether this desktop shows our icon in a tray: only then may the window be closed and the app go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is known about the desktop.
#[derive(Debug, Default)]
pub(crate) struct Desktop {
    has_icon: AtomicBool,
    /// On Linux a desktop may have no tray, or get one later. Elsewhere there always is one.
    has_tray: Arc<AtomicBool>,
}

impl Desktop {
    /// Learns about the desktop from now on.
    pub(crate) fn new() -> Self {
        let desktop = Self::default();
        #[cfg(target_os = "linux")]
        linux::follow(Arc::clone(&desktop.has_tray));
        #[cfg(not(target_os = "linux"))]
        desktop.has_tray.store(true, Ordering::Relaxed);
        desktop
    }

    /// Our icon was made.
    pub(crate) fn has_icon(&self) {
        self.has_icon.store(true, Ordering::Relaxed);
    }

    /// Whether a player can see our icon.
    pub(crate) fn shows_icon(&self) -> bool {
        self.has_icon.load(Ordering::Relaxed) && self.has_tray.load(Ordering::Relaxed)
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use super::{Arc, AtomicBool, Ordering};
    use futures_util::StreamExt;
    use zbus::fdo::DBusProxy;
    use zbus::names::BusName;

    /// Whoever shows trays has this name on the session bus.
    const WATCHER: &str = "org.kde.StatusNotifierWatcher";

    pub(super) fn follow(has_tray: Arc<AtomicBool>) {
        tauri::async_runtime::spawn(async move {
            if let Err(error) = watch(&has_tray).await {
                tracing::warn!(%error, "the session bus can't be asked for a tray");
            }
        });
    }

    /// Keeps `has_tray` true for as long as there is a bus.
    async fn watch(has_tray: &AtomicBool) -> zbus::Result<()> {
        let connection = zbus::Connection::session().await?;
        let bus = DBusProxy::new(&connection).await?;
        // Listens first and asks then, so that no change between the two is missed.
        let mut owners = bus.receive_name_owner_changed_with_args(&[(0, WATCHER)]).await?;
        let there = bus.name_has_owner(BusName::try_from(WATCHER)?).await?;
        has_tray.store(there, Ordering::Relaxed);
        while let Some(change) = owners.next().await {
            has_tray.store(change.args()?.new_owner().is_some(), Ordering::Relaxed);
        }
        has_tray.store(false, Ordering::Relaxed);
        Ok(())
    }
}
