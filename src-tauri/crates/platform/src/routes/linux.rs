//! Routes added and removed by rtnetlink(7), in the main table of the calling thread's network namespace.

use std::io;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, netdevice, recv, send, socket_with,
};

use super::Network;

/// Size of `struct nlmsghdr` and `struct rtmsg`.
const HEADER: usize = 16;
const ROUTE: usize = 12;

pub(super) fn add(network: Network, interface: &str) -> io::Result<()> {
    // Without NLM_F_EXCL and NLM_F_REPLACE the kernel puts the route before another one to the same network and leaves
    // that alone.
    let flags = libc::NLM_F_CREATE;
    Ok(ask(libc::RTM_NEWROUTE, flags, network, index(interface)?)?)
}

pub(super) fn remove(network: Network, interface: &str) -> io::Result<bool> {
    let asked = index(interface).and_then(|index| ask(libc::RTM_DELROUTE, 0, network, index));
    match asked {
        Ok(()) => Ok(true),
        Err(Errno::SRCH | Errno::NODEV | Errno::NXIO) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn index(interface: &str) -> Result<u32, Errno> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    netdevice::name_to_index(socket, interface)
}

/// Sends one request and waits for the kernel's answer, which comes at once.
fn ask(kind: u16, flags: i32, network: Network, interface: u32) -> Result<(), Errno> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None,
    )?;
    bind(&socket, &SocketAddrNetlink::new(0, 0))?;
    send(
        &socket,
        &request(kind, flags, network, interface),
        SendFlags::empty(),
    )?;
    let mut answer = [0; 256];
    loop {
        let (_, length) = match recv(&socket, &mut answer, RecvFlags::empty()) {
            Err(Errno::INTR) => continue,
            received => received?,
        };
        return acknowledged(&answer[..length.min(answer.len())]);
    }
}

/// A message of type `kind` about the route to `network` by `interface`. Numbers are in the machine's own order.
fn request(kind: u16, flags: i32, network: Network, interface: u32) -> Vec<u8> {
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK | flags) as u16;
    let mut message = vec![0; HEADER];
    message[4..6].copy_from_slice(&kind.to_ne_bytes());
    message[6..8].copy_from_slice(&flags.to_ne_bytes());
    // Family, lengths of destination and source, type of service, table, origin, scope, type; four bytes of flags.
    message.extend([
        libc::AF_INET as u8,
        network.prefix(),
        0,
        0,
        libc::RT_TABLE_MAIN,
        libc::RTPROT_STATIC,
        libc::RT_SCOPE_LINK,
        libc::RTN_UNICAST,
    ]);
    message.extend([0; 4]);
    debug_assert_eq!(message.len(), HEADER + ROUTE);
    for (name, value) in [
        (libc::RTA_DST, network.address().octets()),
        (libc::RTA_OIF, interface.to_ne_bytes()),
    ] {
        message.extend(8u16.to_ne_bytes());
        message.extend(name.to_ne_bytes());
        message.extend(value);
    }
    let length = u32::try_from(message.len()).unwrap_or_default();
    message[..4].copy_from_slice(&length.to_ne_bytes());
    message
}

/// The kernel's answer is an error message; its number is 0 when all went well and else negative.
fn acknowledged(answer: &[u8]) -> Result<(), Errno> {
    let kind = answer
        .get(4..6)
        .map(|bytes| u16::from_ne_bytes([bytes[0], bytes[1]]));
    let number = answer.get(HEADER..).and_then(|body| body.first_chunk::<4>());
    match (kind.map(i32::from), number) {
        (Some(libc::NLMSG_ERROR), Some(number)) => match i32::from_ne_bytes(*number) {
            0 => Ok(()),
            error => Err(Errno::from_raw_os_error(error.wrapping_neg())),
        },
        _ => Err(Errno::PROTO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn an_interface_that_is_gone_has_no_route_to_remove() {
        let network = Network::new(Ipv4Addr::BROADCAST, 32);
        assert!(!remove(network, "no-such-one").unwrap());
        assert!(add(network, "no-such-one").is_err());
    }

    #[test]
    fn a_request_is_as_long_as_it_says_and_garbage_is_no_acknowledgement() {
        let message = request(
            libc::RTM_NEWROUTE,
            libc::NLM_F_CREATE,
            Network::new(Ipv4Addr::new(224, 0, 0, 0), 4),
            7,
        );
        assert_eq!(message.len(), 44);
        assert_eq!(message[..4], 44u32.to_ne_bytes());
        assert_eq!(message[32..36], [224, 0, 0, 0]);
        assert_eq!(acknowledged(&[]), Err(Errno::PROTO));
        assert_eq!(acknowledged(&message[..20]), Err(Errno::PROTO));
        let mut answer = vec![0; 36];
        answer[4] = libc::NLMSG_ERROR as u8;
        assert_eq!(acknowledged(&answer), Ok(()));
        answer[16..20].copy_from_slice(&(-17i32).to_ne_bytes());
        assert_eq!(acknowledged(&answer), Err(Errno::EXIST));
    }
}
