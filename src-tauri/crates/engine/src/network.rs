//! How this computer is connected, and word of its change.

use crate::happening::{Happening, Happenings};
use lanrage_core::io::Network;
use lanrage_platform::interfaces::{self, Watcher};
use lanrage_platform::routes::{self, conflicts};
use lanrage_platform::sleep::SleepWatch;
use lanrage_proto::{Fault, FaultCode, PartyRange};
use std::io;
use std::net::IpAddr;
use std::time::Duration;
use tokio::task::JoinHandle;

/// After the watcher failed it is made anew after this long, and the network looked at again.
const RETRY: Duration = Duration::from_secs(5);
/// How often it is looked whether the computer slept.
const LOOK: Duration = Duration::from_millis(500);

/// The addresses of this computer, without those of the adapter named and those of the party's own range.
pub(crate) fn look(adapter: Option<&str>, range: PartyRange, port: u16) -> io::Result<Network> {
    let addresses = interfaces::addresses(adapter)?
        .into_iter()
        // Another engine on this computer has its adapter too.
        .filter(|host| !matches!(host.address, IpAddr::V4(v4) if range.contains(v4)))
        .map(|host| (host.address, host.prefix))
        .collect();
    let outward = interfaces::outward()
        .into_iter()
        .filter(|address| !matches!(address, IpAddr::V4(v4) if range.contains(*v4)))
        .collect();
    Ok(Network {
        addresses,
        outward,
        port,
    })
}

/// The first thing on this computer that already uses the party's addresses, except the adapter named.
///
/// Where routes can't be listed there is no telling, and no refusing either.
pub(crate) fn clash(range: PartyRange, adapter: Option<&str>) -> Option<Fault> {
    let network = routes::Network::new(range.network(), range.prefix());
    let found = conflicts(network, adapter).unwrap_or_else(|error| {
        tracing::debug!(%error, "the routes can't be listed");
        Vec::new()
    });
    let first = found.first()?;
    Some(
        Fault::new(FaultCode::AddressClash)
            .with("network", first.network)
            .with("interface", &first.interface),
    )
}

/// Tells of changes for as long as the engine runs.
pub(crate) fn watch(happenings: Happenings) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            if let Err(error) = follow(&happenings).await {
                tracing::warn!(%error, "changes of the network are not heard of");
            }
            tokio::time::sleep(RETRY).await;
            if happenings.send(Happening::Network).await.is_err() {
                return;
            }
        }
    })
}

/// Tells when the computer woke up, for as long as the engine runs.
pub(crate) fn watch_sleep(happenings: Happenings) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut watch = SleepWatch::new();
        loop {
            tokio::time::sleep(LOOK).await;
            if let Some(slept) = watch.look() {
                tracing::info!(seconds = slept.as_secs(), "this computer slept");
                if happenings.send(Happening::Slept(slept)).await.is_err() {
                    return;
                }
            }
        }
    })
}

async fn follow(happenings: &Happenings) -> io::Result<()> {
    let mut watcher = Watcher::new()?;
    loop {
        watcher.changed().await?;
        if happenings.send(Happening::Network).await.is_err() {
            // The engine ends, and this task with it.
            return std::future::pending().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_partys_own_addresses_are_none_to_be_reached_at() {
        let network = look(None, PartyRange::DEFAULT, 7).unwrap();
        assert_eq!(network.port, 7);
        for (address, _) in network.addresses {
            assert!(!matches!(address, IpAddr::V4(v4) if PartyRange::DEFAULT.contains(v4)));
        }
    }
}
