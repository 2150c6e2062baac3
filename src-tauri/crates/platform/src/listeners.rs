//! Which UDP ports programs on this computer have open: whether anybody would hear an announce for one of them, and
//! whether the program that sent one is still there.

use std::io;
use std::net::{IpAddr, SocketAddr};

/// A UDP socket of some program on this computer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpenSocket {
    /// Where it is bound; an unspecified address takes what comes for any of this computer's.
    pub local: SocketAddr,
    /// The only one it hears, where it is connected.
    pub remote: Option<SocketAddr>,
}

impl OpenSocket {
    /// Whether broadcasts and multicast from others reach it: it is bound to no particular unicast address, and not
    /// connected. Groups have to be joined besides.
    pub fn hears_announces(&self) -> bool {
        let bound_to = match self.local.ip().to_canonical() {
            IpAddr::V4(ip) => ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast(),
            // A socket for IPv6 takes IPv4 as well unless told otherwise, which the system does not show.
            IpAddr::V6(ip) => ip.is_unspecified(),
        };
        bound_to && self.remote.is_none()
    }
}

/// All UDP sockets that are bound to a port. On Linux: of the calling thread's network namespace.
///
/// # Errors
/// [`crate::Unsupported`] where there is no implementation, else when the system won't list its sockets.
#[cfg(target_os = "linux")]
pub fn udp_sockets() -> io::Result<Vec<OpenSocket>> {
    let entries = crate::proc_net::sockets("udp")?;
    Ok(entries.iter().map(OpenSocket::from).collect())
}

/// All UDP sockets that are bound to a port.
///
/// # Errors
/// Always [`crate::Unsupported`].
#[cfg(not(target_os = "linux"))]
pub fn udp_sockets() -> io::Result<Vec<OpenSocket>> {
    Err(crate::Unsupported {
        operation: "listing the UDP ports in use",
    }
    .into())
}

#[cfg(target_os = "linux")]
impl From<&crate::proc_net::Entry> for OpenSocket {
    fn from(entry: &crate::proc_net::Entry) -> Self {
        let remote = entry.remote;
        Self {
            local: entry.local,
            remote: (remote.port() != 0 || !remote.ip().is_unspecified()).then_some(remote),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(all(target_os = "linux", target_endian = "little"))]
    fn the_systems_table_is_read() {
        let text = "\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
 5230: 00000000:17E0 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 7 2 0000000000000000 0
 9999: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 7 2 0000000000000000 0
 1: 0200420A:1234 0300420A:0035 01 00000000:00000000 00:00000000 00000000     0        0 7 2 0000000000000000 0
 garbage
 2: 0200420A 0300420A:0035 01
 3: 0200420A:12345 0300420A:0035 01
";
        let entries = crate::proc_net::table(text);
        let sockets: Vec<OpenSocket> = entries.iter().map(OpenSocket::from).collect();
        let shown: Vec<_> = sockets
            .iter()
            .map(|socket| (socket.local.to_string(), socket.hears_announces()))
            .collect();
        assert_eq!(
            shown,
            [
                ("0.0.0.0:6112".into(), true),
                ("127.0.0.1:53".into(), false),
                ("10.66.0.2:4660".into(), false)
            ]
        );
        assert_eq!(sockets[2].remote, Some("10.66.0.3:53".parse().unwrap()));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_open_port_is_found_and_a_closed_one_is_not() {
        let any = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        let own = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let six = std::net::UdpSocket::bind("[::]:0").ok();
        let port = |socket: &std::net::UdpSocket| socket.local_addr().unwrap().port();
        let (any_port, own_port) = (port(&any), port(&own));
        let hears = |wanted| {
            let sockets = udp_sockets().unwrap();
            let mut its = sockets.iter().filter(|socket| socket.local.port() == wanted);
            its.any(OpenSocket::hears_announces)
        };
        assert!(hears(any_port));
        assert!(six.is_none_or(|six| hears(port(&six))));
        assert!(!hears(own_port), "it hears nothing from outside");
        let bound = |wanted| {
            udp_sockets()
                .unwrap()
                .iter()
                .any(|socket| socket.local.port() == wanted)
        };
        assert!(bound(own_port));
        drop(any);
        assert!(!bound(any_port));
    }
}
