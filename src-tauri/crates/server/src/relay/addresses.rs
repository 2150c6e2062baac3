//! Which addresses this machine has, and which of them others are told.

use super::settings::RelaySettings;
use lanrage_relay::{RelayAddress, Service};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Somewhere on the internet, in each family; nothing is ever sent there.
const FAR: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1)), 9),
    SocketAddr::new(
        IpAddr::V6(Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1111)),
        9,
    ),
];

/// All addresses of this machine.
pub(super) fn own() -> Vec<IpAddr> {
    match if_addrs::get_if_addrs() {
        Ok(interfaces) => interfaces.iter().map(|interface| interface.ip()).collect(),
        Err(error) => {
            tracing::warn!(%error, "this machine's addresses can't be listed");
            Vec::new()
        }
    }
}

/// Where relays are, at most one address of each family.
pub(super) fn relays(settings: &RelaySettings) -> Vec<RelayAddress> {
    [true, false]
        .into_iter()
        .filter_map(|ipv4| relay(settings, ipv4))
        .collect()
}

fn relay(settings: &RelaySettings, ipv4: bool) -> Option<RelayAddress> {
    let turn = settings.udp.iter().chain(&settings.tcp);
    let mut listening = turn
        .filter(|door| door.service == Service::Turn && door.at.is_ipv4() == ipv4)
        .map(|door| door.at.ip());
    let public = settings
        .public_ips
        .iter()
        .find(|ip| ip.is_ipv4() == ipv4)
        .copied();
    let certain = listening.clone().find(|ip| !ip.is_unspecified());
    let bind = match (public, certain) {
        // One of ours, which is then where packets come from as well.
        (Some(public), _) if is_ours(public) => Some(public),
        (_, Some(certain)) => Some(certain),
        (Some(_), None) => Some(unspecified(ipv4)),
        (None, None) => listening.next().and_then(|_| outward(ipv4)),
    }?;
    Some(RelayAddress {
        bind,
        announced: public.unwrap_or(bind),
    })
}

fn unspecified(ipv4: bool) -> IpAddr {
    if ipv4 {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    }
}

fn is_ours(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

/// The address that this machine shows the internet, or its only other one.
fn outward(ipv4: bool) -> Option<IpAddr> {
    let routed = || {
        let socket = UdpSocket::bind((unspecified(ipv4), 0)).ok()?;
        let far = FAR.iter().find(|far| far.is_ipv4() == ipv4)?;
        socket.connect(far).ok()?;
        let ip = socket.local_addr().ok()?.ip();
        (!ip.is_unspecified()).then_some(ip)
    };
    let link_local = |ip: &IpAddr| matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    routed().or_else(|| {
        own()
            .into_iter()
            .find(|ip| ip.is_ipv4() == ipv4 && !ip.is_loopback() && !link_local(ip))
    })
}
