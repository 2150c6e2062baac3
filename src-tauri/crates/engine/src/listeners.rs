//! Watching UDP ports of this computer: whether programs have them, while the member wants to know.

use crate::happening::{Happening, Happenings};
use lanrage_core::lobby::Ports;
use lanrage_platform::listeners;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How often the system is asked. Listing its sockets takes well under a millisecond, and who starts a game does not
/// wait for it this closely.
const LOOK: Duration = Duration::from_millis(500);

/// What is watched.
pub(crate) struct Listeners {
    happenings: Happenings,
    watch: Option<JoinHandle<()>>,
}

impl Listeners {
    /// Watches nothing.
    pub(crate) fn new(happenings: Happenings) -> Self {
        Self {
            happenings,
            watch: None,
        }
    }

    /// Watches these ports from now on.
    pub(crate) fn wish(&mut self, ports: BTreeSet<u16>) {
        if let Some(watch) = self.watch.take() {
            watch.abort();
        }
        if !ports.is_empty() {
            self.watch = Some(tokio::spawn(watch(ports, self.happenings.clone())));
        }
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
    }
}

async fn watch(wanted: BTreeSet<u16>, happenings: Happenings) {
    let mut told: Option<Option<Ports>> = None;
    loop {
        let asked = wanted.clone();
        let Ok(now) = tokio::task::spawn_blocking(move || look(&asked)).await else {
            return;
        };
        if told.as_ref() != Some(&now) {
            if happenings.send(Happening::Ports(now.clone())).await.is_err() {
                return;
            }
            told = Some(now);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn look(wanted: &BTreeSet<u16>) -> Option<Ports> {
    let sockets = match listeners::udp_sockets() {
        Ok(sockets) => sockets,
        Err(error) => {
            tracing::trace!(%error, "the UDP ports in use can't be listed");
            return None;
        }
    };
    let mut ports = Ports {
        asked: wanted.clone(),
        ..Ports::default()
    };
    for socket in sockets
        .iter()
        .filter(|socket| wanted.contains(&socket.local.port()))
    {
        ports.open.insert(socket.local.port());
        if socket.hears_announces() {
            ports.hearing.insert(socket.local.port());
        }
    }
    Some(ports)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn a_port_that_opens_and_closes_is_told() {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let (happenings, mut happened) = mpsc::channel(8);
        let mut listeners = Listeners::new(happenings);
        listeners.wish([port].into());
        let next = async |happened: &mut mpsc::Receiver<Happening>| match timeout(LOOK * 5, happened.recv())
            .await
            .expect("told in time")
        {
            Some(Happening::Ports(ports)) => ports.expect("Linux tells"),
            _ => panic!("something else"),
        };
        let open = next(&mut happened).await;
        assert!(open.open.contains(&port) && open.hearing.contains(&port));
        drop(socket);
        let closed = Ports {
            asked: [port].into(),
            ..Ports::default()
        };
        assert_eq!(next(&mut happened).await, closed);
    }
}
