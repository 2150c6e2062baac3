//! Which UDP ports programs on this computer have open: whether anybody would hear an announce for one of them, and
//! whether the program that sent one is still there.

use std::collections::BTreeSet;
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

/// UDP ports on which a program here waits for what comes from anywhere: bound to no address in particular and not
/// connected. On Linux: of the calling thread's network namespace.
///
/// # Errors
/// [`crate::Unsupported`] where there is no implementation, else when the system won't list its sockets.
pub fn udp_ports() -> io::Result<BTreeSet<u16>> {
    let sockets = udp_sockets()?;
    let hearing = sockets.iter().filter(|socket| socket.hears_announces());
    Ok(hearing.map(|socket| socket.local.port()).collect())
}

/// All UDP sockets that are bound to a port. On Linux: of the calling thread's network namespace.
///
/// # Errors
/// As [`udp_ports`].
#[cfg(target_os = "linux")]
pub fn udp_sockets() -> io::Result<Vec<OpenSocket>> {
    let mut sockets = table(&std::fs::read_to_string("/proc/thread-self/net/udp")?);
    match std::fs::read_to_string("/proc/thread-self/net/udp6") {
        Ok(text) => sockets.extend(table(&text)),
        // A kernel without IPv6.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(sockets)
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

/// Reads what proc_net_udp(5) describes: a line of titles, then a line for each socket, whose second and third
/// fields are its two ends. What can't be read is left out.
#[cfg(any(target_os = "linux", test))]
fn table(text: &str) -> Vec<OpenSocket> {
    let lines = text.lines().skip(1);
    lines
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace().skip(1);
            let local = end(fields.next()?)?;
            let remote = end(fields.next()?)?;
            Some(OpenSocket {
                local,
                remote: (remote.port() != 0 || !remote.ip().is_unspecified()).then_some(remote),
            })
        })
        .collect()
}

/// `0100007F:0035`, or four such words for IPv6: words of the machine's own byte order, then the port.
#[cfg(any(target_os = "linux", test))]
fn end(field: &str) -> Option<SocketAddr> {
    let (address, port) = field.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let digits = address.get(at..at + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip: IpAddr = match address.len() {
        8 => word(0)?.into(),
        32 => {
            let mut bytes = [0; 16];
            for (number, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(number * 8)?);
            }
            bytes.into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
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
        let sockets = table(text);
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
        let six = end("0000000000000000FFFF00000300420A:0035").unwrap();
        assert_eq!(six.to_string(), "[::ffff:10.66.0.3]:53");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_open_port_is_found_and_a_closed_one_is_not() {
        let any = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        let own = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let six = std::net::UdpSocket::bind("[::]:0").ok();
        let port = |socket: &std::net::UdpSocket| socket.local_addr().unwrap().port();
        let (any_port, own_port) = (port(&any), port(&own));
        let ports = udp_ports().unwrap();
        assert!(ports.contains(&any_port));
        assert!(six.is_none_or(|six| ports.contains(&port(&six))));
        assert!(!ports.contains(&own_port), "it hears nothing from outside");
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
