//! The primary UDP sockets: one for IPv4 and, where the system has it, one for IPv6, on the same port.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use crate::rights::is_out_of_files;

#[cfg(windows)]
mod windows;

/// Buffer asked for in each direction, in bytes: several milliseconds of a fast link, so that a data thread
/// that had to wait for the CPU loses nothing.
const BUFFER: usize = 7 << 20;

/// How often a port that the system chose for IPv4 may turn out taken for IPv6.
const FREE_ATTEMPTS: usize = 16;

/// Which port to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortChoice {
    /// This one or none (0: any free one).
    Explicit(u16),
    /// The first of these that is free, else any free one.
    Preferred(Vec<u16>),
}

/// Why there are no sockets.
#[derive(Debug, thiserror::Error)]
pub enum UdpError {
    /// Another program uses the explicitly chosen port.
    #[error("UDP port {0} is taken by another program")]
    PortTaken(u16),
    /// Anything else.
    #[error("opening the UDP socket failed")]
    Io(#[from] io::Error),
}

/// The sockets, bound to all addresses of the host; they do not block. IPv4 datagrams longer than a link's MTU
/// are fragmented rather than refused.
#[derive(Debug)]
pub struct Sockets {
    /// For IPv4.
    pub v4: UdpSocket,
    /// For IPv6 alone; `None` where the system has no IPv6.
    pub v6: Option<UdpSocket>,
    /// The port of both.
    pub port: u16,
}

/// Opens the sockets.
///
/// # Errors
/// [`UdpError::PortTaken`] only for [`PortChoice::Explicit`].
pub fn bind(choice: &PortChoice) -> Result<Sockets, UdpError> {
    match choice {
        PortChoice::Explicit(0) => bind_free(),
        PortChoice::Explicit(port) => bind_pair(*port).map_err(|error| match is_taken(&error) {
            true => UdpError::PortTaken(*port),
            false => error.into(),
        }),
        PortChoice::Preferred(ports) => {
            for &port in ports.iter().filter(|&&port| port != 0) {
                match bind_pair(port) {
                    Ok(sockets) => return Ok(sockets),
                    Err(error) => tracing::debug!(port, %error, "preferred UDP port not available"),
                }
            }
            bind_free()
        }
    }
}

/// Opens a socket for IPv4 besides the primary ones, on all addresses of the host; it does not block. Port 0 is any.
///
/// # Errors
/// What the system says.
pub fn bind_short_lived(port: u16) -> io::Result<UdpSocket> {
    open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
}

fn bind_free() -> Result<Sockets, UdpError> {
    let mut last = None;
    for _ in 0..FREE_ATTEMPTS {
        match bind_pair(0) {
            Ok(sockets) => return Ok(sockets),
            Err(error) if is_taken(&error) => last = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()).into())
}

/// Windows also refuses permission for ports that another program has to itself, or that it has set aside.
fn is_taken(error: &io::Error) -> bool {
    match error.kind() {
        io::ErrorKind::AddrInUse => true,
        io::ErrorKind::PermissionDenied => cfg!(windows),
        _ => false,
    }
}

fn bind_pair(port: u16) -> io::Result<Sockets> {
    let v4 = open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))?;
    let port = v4.local_addr()?.port();
    let v6 = match open(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))) {
        Ok(v6) => Some(v6),
        // Half a pair would look right and leave IPv6 to another program.
        Err(error) if is_taken(&error) || is_out_of_files(&error) => return Err(error),
        Err(error) => {
            tracing::debug!(%error, "no IPv6 socket");
            None
        }
    };
    Ok(Sockets { v4, v6, port })
}

fn open(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    enlarge_buffers(&socket);
    if address.is_ipv4() {
        allow_fragments(&socket);
    }
    #[cfg(windows)]
    windows::behave(&socket)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// As much buffer as the system grants: the forced variants exceed its limit, the plain ones are cut to it.
fn enlarge_buffers(socket: &Socket) {
    #[cfg(target_os = "linux")]
    {
        use rustix::net::sockopt::{set_socket_recv_buffer_size_force, set_socket_send_buffer_size_force};
        let forced = set_socket_recv_buffer_size_force(socket, BUFFER)
            .and_then(|()| set_socket_send_buffer_size_force(socket, BUFFER));
        if forced.is_ok() {
            return;
        }
    }
    let sizes = socket
        .set_recv_buffer_size(BUFFER)
        .and_then(|()| socket.set_send_buffer_size(BUFFER));
    if let Err(error) = sizes {
        tracing::debug!(%error, "UDP buffers keep their default size");
    }
}

/// Never sets "don't fragment": an outer datagram may exceed a path's MTU, and a lost one is worse than one in
/// two pieces.
fn allow_fragments(socket: &Socket) {
    #[cfg(target_os = "linux")]
    {
        use rustix::net::sockopt::{Ipv4PathMtuDiscovery, set_ip_mtu_discover};
        if let Err(error) = set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::DONT) {
            tracing::debug!(%error, "path MTU discovery stays on");
        }
    }
    // Elsewhere fragmentation is the default.
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_share_the_port_and_do_not_block() {
        let sockets = bind(&PortChoice::Explicit(0)).unwrap();
        assert_ne!(sockets.port, 0);
        assert_eq!(sockets.v4.local_addr().unwrap().port(), sockets.port);
        let mut buffer = [0; 1];
        assert_eq!(
            sockets.v4.recv_from(&mut buffer).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        if let Some(v6) = &sockets.v6 {
            assert_eq!(v6.local_addr().unwrap().port(), sockets.port);
            assert_eq!(
                v6.recv_from(&mut buffer).unwrap_err().kind(),
                io::ErrorKind::WouldBlock
            );
        }
    }

    #[test]
    fn an_explicit_port_in_use_is_named() {
        let taken = bind(&PortChoice::Explicit(0)).unwrap();
        assert!(
            matches!(bind(&PortChoice::Explicit(taken.port)), Err(UdpError::PortTaken(port)) if port == taken.port)
        );
    }

    #[test]
    fn an_explicit_port_taken_on_ipv6_alone_is_named_too() {
        let Ok(taken) = open(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))) else {
            panic!("this test needs a system with IPv6");
        };
        let port = taken.local_addr().unwrap().port();
        assert!(matches!(bind(&PortChoice::Explicit(port)), Err(UdpError::PortTaken(p)) if p == port));
    }

    #[test]
    fn preferred_ports_are_tried_in_order_and_then_any() {
        let (taken, free) = (
            bind(&PortChoice::Explicit(0)).unwrap(),
            bind(&PortChoice::Explicit(0)).unwrap().port,
        );
        assert_eq!(
            bind(&PortChoice::Preferred(vec![taken.port, free])).unwrap().port,
            free
        );
        let any = bind(&PortChoice::Preferred(vec![taken.port])).unwrap().port;
        assert!(any != taken.port && any != 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn ipv4_datagrams_may_be_fragmented() {
        let sockets = bind(&PortChoice::Explicit(0)).unwrap();
        let mode = rustix::net::sockopt::ip_mtu_discover(&sockets.v4).unwrap();
        assert_eq!(mode, rustix::net::sockopt::Ipv4PathMtuDiscovery::DONT);
    }
}
