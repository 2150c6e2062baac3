//! What this host's programs broadcast on its other interfaces: a copy of each such packet as it leaves.
//!
//! A game that chose an interface, by binding to its address or by sending to its network's broadcast address, never
//! comes by our adapter. Linux gives a copy to a packet socket (packet(7)), and a filter in the kernel (socket(7),
//! `SO_ATTACH_FILTER`) sees to it that nothing else costs more than a look. No driver, nothing to install, nothing that
//! stays behind.

use std::io;
use std::net::Ipv4Addr;

use crate::poll::{Handle, Source};
use crate::routes::Network;

#[cfg(target_os = "linux")]
#[path = "capture/linux.rs"]
mod system;
#[cfg(not(target_os = "linux"))]
#[path = "capture/unsupported.rs"]
mod system;

/// Own addresses that are looked for at most: the filter has a place for each.
pub const MOST: usize = 24;

/// An address of this host on an interface that is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Own {
    /// The address; what is captured has it as its source.
    pub address: Ipv4Addr,
    /// The network it is in; what goes to this one's broadcast address counts.
    pub network: Network,
}

impl Own {
    /// Where a broadcast to its network goes (RFC 919); none in networks too small to have one.
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        let host = u32::MAX.checked_shr(self.network.prefix().into()).unwrap_or(0);
        (self.network.prefix() <= 30).then(|| Ipv4Addr::from(u32::from(self.network.address()) | host))
    }
}

/// An open capture.
#[derive(Debug)]
pub struct Capture(system::Socket);

impl Capture {
    /// Captures from now on what leaves with one of these addresses as its source, by any interface but the one of the
    /// index `except` (our adapter), to 255.255.255.255, to their networks' broadcast addresses, or to a multicast group:
    /// whole UDP datagrams over IPv4 without options. More than [`MOST`] addresses are not looked for.
    ///
    /// # Errors
    /// When the system refuses; `Unsupported` where there is no way to capture.
    pub fn open(own: &[Own], except: u32) -> io::Result<Self> {
        system::Socket::open(&own[..own.len().min(MOST)], except).map(Self)
    }

    /// Reads one packet from its IPv4 header on. Its checksum may be left to the interface and wrong here. Where the
    /// host's interfaces stand behind one another, as the ports of a bridge do, there may be a copy for each.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; anything else means that the capture is worth nothing any more.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Source for Capture {
    fn handle(&self) -> Handle<'_> {
        self.0.handle()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_networks_broadcast_address_is_its_last_one() {
        let own = |address: &str, prefix| {
            let address = address.parse().unwrap();
            Own {
                address,
                network: Network::new(address, prefix),
            }
        };
        for (address, prefix, expected) in [
            ("192.168.77.5", 24, Some("192.168.77.255")),
            ("10.1.2.3", 8, Some("10.255.255.255")),
            ("10.1.2.3", 30, Some("10.1.2.3")),
            ("10.1.2.3", 31, None),
            ("10.1.2.3", 32, None),
        ] {
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(own(address, prefix).broadcast(), expected, "{address}/{prefix}");
        }
    }
}
