//! Darwin's list of routes: messages of route(4), of which each is a `rt_msghdr` and addresses behind it.
//!
//! Numbers are in the machine's own order, as a kernel writes them for its own programs.

use std::net::Ipv4Addr;

use super::{Network, Route};

/// Size of `struct rt_msghdr` (net/route.h).
const HEADER: usize = 92;
/// Where its members are that matter here.
const INDEX: usize = 4;
const FLAGS: usize = 8;
const ADDRESSES: usize = 12;

const VERSION: u8 = 5;
/// The route can be used.
const UP: u32 = 0x1;
/// To one address; there is no mask.
const HOST: u32 = 0x4;
/// A neighbour that was talked to, not a route somebody made.
const WAS_CLONED: u32 = 0x2_0000;

const INET: u8 = 2;

/// The IPv4 routes in a dump; `name` tells an interface's name by its index. What can't be read is passed over.
pub(super) fn parse(mut dump: &[u8], name: impl Fn(u16) -> String) -> Vec<Route> {
    let mut routes = Vec::new();
    while let Some(&length) = dump
        .first_chunk()
        .map(|bytes| u16::from_ne_bytes(*bytes))
        .as_ref()
    {
        let Some((message, rest)) = dump.split_at_checked(usize::from(length)).filter(|_| length > 0) else {
            break;
        };
        routes.extend(route(message, &name));
        dump = rest;
    }
    routes.sort_by_key(|route: &Route| route.network.prefix());
    routes
}

fn route(message: &[u8], name: impl Fn(u16) -> String) -> Option<Route> {
    let (header, addresses) = message.split_at_checked(HEADER)?;
    let flags = number(header, FLAGS)?;
    if header[2] != VERSION || flags & UP == 0 || flags & WAS_CLONED != 0 {
        return None;
    }
    let [destination, gateway, mask] = split(addresses, number(header, ADDRESSES)?);
    let destination = destination.filter(|address| address.get(1) == Some(&INET))?;
    let prefix = if flags & HOST != 0 {
        32
    } else {
        // Cut off after its last byte that isn't zero, and its family not set: only the bits count.
        u8::try_from(bits(mask?).leading_ones()).ok()?
    };
    let gateway = gateway.filter(|address| address.get(1) == Some(&INET));
    Some(Route {
        interface: name(u16::from_ne_bytes([header[INDEX], header[INDEX + 1]])),
        network: Network::new(Ipv4Addr::from(bits(destination)), prefix),
        gateway: gateway.map(|address| Ipv4Addr::from(bits(address))),
        // Darwin has none; the first default route is the one in use.
        metric: 0,
    })
}

/// The first three of the addresses that `present` names by bits: destination, gateway and mask. Each begins with its
/// length and is padded to four bytes; one of length 0 takes four.
fn split(mut bytes: &[u8], present: u32) -> [Option<&[u8]>; 3] {
    [1, 2, 4].map(|bit| {
        if present & bit == 0 {
            return None;
        }
        let length = usize::from(*bytes.first()?);
        let address = bytes.get(..length)?;
        bytes = bytes.get(length.next_multiple_of(4).max(4)..).unwrap_or_default();
        Some(address)
    })
}

/// The IPv4 address in a `sockaddr_in`, which follows length, family and port; bytes that are cut off are zero.
fn bits(address: &[u8]) -> u32 {
    let mut four = [0; 4];
    for (to, from) in four.iter_mut().zip(address.iter().skip(4)) {
        *to = *from;
    }
    u32::from_be_bytes(four)
}

fn number(header: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*header.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: &[u8] = &[8, 18, 0, 0, 4, 0, 0, 0];

    fn message(index: u16, flags: u32, addresses: &[&[u8]]) -> Vec<u8> {
        let body: Vec<u8> = addresses
            .iter()
            .flat_map(|address| {
                let mut padded = address.to_vec();
                padded.resize(address.len().next_multiple_of(4).max(4), 0);
                padded
            })
            .collect();
        let mut message = vec![0; HEADER];
        message[..2].copy_from_slice(&u16::try_from(HEADER + body.len()).unwrap().to_ne_bytes());
        message[2] = VERSION;
        message[INDEX..INDEX + 2].copy_from_slice(&index.to_ne_bytes());
        message[FLAGS..FLAGS + 4].copy_from_slice(&flags.to_ne_bytes());
        let present = (1u32 << addresses.len()) - 1;
        message[ADDRESSES..ADDRESSES + 4].copy_from_slice(&present.to_ne_bytes());
        message.extend(body);
        message
    }

    fn inet(address: [u8; 4]) -> Vec<u8> {
        let mut bytes = vec![16, INET, 0, 0];
        bytes.extend(address);
        bytes.resize(16, 0);
        bytes
    }

    fn read(dump: &[u8]) -> Vec<String> {
        parse(dump, |index| format!("en{index}"))
            .into_iter()
            .map(|route| format!("{} {}", route.network, route.interface))
            .collect()
    }

    #[test]
    fn networks_hosts_and_default_routes_are_read() {
        let dump = [
            message(4, UP | HOST, &[&inet([10, 66, 0, 9]), GATEWAY]),
            message(4, UP, &[&inet([0; 4]), GATEWAY, &[0]]),
            message(
                4,
                UP,
                &[&inet([192, 168, 1, 0]), GATEWAY, &[7, 0, 0, 0, 255, 255, 255]],
            ),
            message(7, UP, &[&inet([10, 0, 0, 0]), GATEWAY, &[5, 255, 0, 0, 255]]),
        ]
        .concat();
        assert_eq!(
            read(&dump),
            [
                "0.0.0.0/0 en4",
                "10.0.0.0/8 en7",
                "192.168.1.0/24 en4",
                "10.66.0.9/32 en4"
            ]
        );
    }

    #[test]
    fn a_router_is_told_from_a_link() {
        let router = inet([192, 168, 1, 1]);
        let by_router = message(4, UP, &[&inet([0; 4]), &router, &[0]]);
        let by_link = message(7, UP, &[&inet([10, 0, 0, 0]), GATEWAY, &[5, 255, 0, 0, 255]]);
        let routes = parse(&[by_router, by_link].concat(), |index| format!("en{index}"));
        let gateways: Vec<_> = routes.iter().map(|route| route.gateway).collect();
        assert_eq!(gateways, [Some(Ipv4Addr::new(192, 168, 1, 1)), None]);
    }

    #[test]
    fn neighbours_and_routes_that_are_down_do_not_count() {
        let dump = [
            message(4, UP | HOST | WAS_CLONED, &[&inet([10, 66, 0, 9]), GATEWAY]),
            message(4, HOST, &[&inet([10, 66, 0, 9]), GATEWAY]),
            message(4, UP | HOST, &[GATEWAY, GATEWAY]),
        ]
        .concat();
        assert!(read(&dump).is_empty());
    }

    #[test]
    fn garbage_is_passed_over_and_never_loops() {
        let whole = message(4, UP, &[&inet([10, 66, 0, 0]), GATEWAY, &[6, 0, 0, 0, 255, 255]]);
        assert_eq!(read(&whole), ["10.66.0.0/16 en4"]);
        for length in 0..whole.len() {
            read(&whole[..length]);
            let mut cut = whole[..length].to_vec();
            if let Some(bytes) = cut.first_chunk_mut() {
                *bytes = u16::try_from(length).unwrap().to_ne_bytes();
            }
            read(&cut);
        }
        read(&[0; 64]);
        read(&[255; 4096]);
    }
}
