//! How many connections one public source holds. Near addresses are not counted: in a LAN people know each other.

use lanrage_proto::server_url::is_near;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Connections that one public source (an IPv4 address, an IPv6 network of 64 bits) may hold: many households
/// share one address behind a carrier's NAT.
pub(crate) const PER_SOURCE: usize = 512;

/// The count for each source that has connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

/// One connection of a source, counted until dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    sources: Sources,
    network: Option<IpAddr>,
}

impl Sources {
    /// Counts one more from `address`; none when it has as many as it may.
    pub(crate) fn enter(&self, address: IpAddr) -> Option<Counted> {
        let network = (!is_near(address)).then(|| network(address));
        if let Some(network) = network {
            let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(network).or_default();
            if *count >= PER_SOURCE {
                return None;
            }
            *count += 1;
        }
        Some(Counted {
            sources: self.clone(),
            network,
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Some(network) = self.network else {
            return;
        };
        let mut counts = self.sources.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&network);
            }
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let mut segments = v6.segments();
            segments[4..].fill(0);
            IpAddr::V6(segments.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_so_many_connections_until_some_end() {
        let sources = Sources::default();
        let host = |number| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, number]);
        let mut held: Vec<_> = (0..PER_SOURCE)
            .map(|n| sources.enter(host(n as u16)).unwrap())
            .collect();
        assert!(sources.enter(host(9999)).is_none());
        assert!(sources.enter([203, 0, 113, 7].into()).is_some());
        held.pop();
        assert!(sources.enter(host(9999)).is_some());
        drop(held);
        assert!(sources.0.lock().unwrap().is_empty());
    }

    #[test]
    fn near_sources_are_not_counted() {
        let sources = Sources::default();
        let held: Vec<_> = (0..PER_SOURCE * 2)
            .map(|_| sources.enter([127, 0, 0, 1].into()))
            .collect();
        assert!(held.iter().all(Option::is_some));
    }
}
