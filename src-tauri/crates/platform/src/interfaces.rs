//! The host's own addresses that peers might reach, and word of their change.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use if_addrs::IfAddr;

#[cfg(target_os = "linux")]
#[path = "interfaces/linux.rs"]
mod watcher;
#[cfg(windows)]
#[path = "interfaces/windows.rs"]
mod watcher;
#[cfg(not(any(target_os = "linux", windows)))]
#[path = "interfaces/portable.rs"]
mod watcher;

pub use watcher::Watcher;

/// One change of network comes as a burst of notices: it is over when it was quiet for this long …
#[cfg(any(target_os = "linux", windows))]
const QUIET: std::time::Duration = std::time::Duration::from_millis(100);
/// … or has lasted this long, so that a flapping link can't hide the change for ever.
#[cfg(any(target_os = "linux", windows))]
const LONGEST: std::time::Duration = std::time::Duration::from_millis(500);

/// An address of this host on one of its interfaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostAddress {
    /// The interface's name.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// Length of its network's prefix in bits.
    pub prefix: u8,
}

/// The addresses of interfaces that are up, in a fixed order, without loopback, link-local (RFC 3927, RFC 4291
/// §2.5.6) and those of the interface named (our own adapter). On Linux: of the calling thread's network
/// namespace.
///
/// # Errors
/// When the system won't list them.
pub fn addresses(except_interface: Option<&str>) -> io::Result<Vec<HostAddress>> {
    let mut found: Vec<HostAddress> = if_addrs::get_if_addrs()?
        .into_iter()
        .filter(|interface| interface.is_oper_up() && Some(interface.name.as_str()) != except_interface)
        .map(|interface| HostAddress {
            address: interface.ip(),
            prefix: match &interface.addr {
                IfAddr::V4(v4) => v4.prefixlen,
                IfAddr::V6(v6) => v6.prefixlen,
            },
            interface: interface.name,
        })
        .filter(|host| may_be_reached(host.address))
        .collect();
    found.sort();
    found.dedup();
    Ok(found)
}

/// The number by which the system knows the interface of this name; none where there is no such interface, or no such
/// number to be had.
pub fn index(name: &str) -> Option<u32> {
    #[cfg(target_os = "linux")]
    {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};
        let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
        netdevice::name_to_index(socket.ok()?, name).ok()
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = name;
        None
    }
}

/// Where a packet to the internet would go: addresses kept for documentation (RFC 5737, RFC 3849), which are nobody's.
const ELSEWHERE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// The own address that leads out, for each family that has a way there: another one when the default route moved. Asks
/// the system for its choice; nothing is sent.
pub fn outward() -> Vec<IpAddr> {
    ELSEWHERE
        .into_iter()
        .filter_map(|there| {
            let any: IpAddr = if there.is_ipv4() {
                Ipv4Addr::UNSPECIFIED.into()
            } else {
                Ipv6Addr::UNSPECIFIED.into()
            };
            let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
            socket.connect(SocketAddr::new(there, 9)).ok()?;
            Some(socket.local_addr().ok()?.ip())
        })
        .filter(|address| !address.is_unspecified())
        .collect()
}

fn may_be_reached(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !(v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || v4.is_multicast())
        }
        IpAddr::V6(v6) => {
            !(v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_only_this_machine_or_link_can_use_are_left_out() {
        for out in [
            "127.0.0.1",
            "127.8.8.8",
            "169.254.7.7",
            "0.0.0.0",
            "::1",
            "fe80::1",
            "febf::1",
            "::",
        ] {
            assert!(!may_be_reached(out.parse().unwrap()), "{out}");
        }
        for fine in ["192.168.1.5", "10.0.0.1", "100.64.0.1", "2001:db8::1", "fd00::1"] {
            assert!(may_be_reached(fine.parse().unwrap()), "{fine}");
        }
    }

    #[test]
    fn loopback_is_never_listed() {
        assert!(
            addresses(None)
                .unwrap()
                .iter()
                .all(|host| !host.address.is_loopback())
        );
    }
}
