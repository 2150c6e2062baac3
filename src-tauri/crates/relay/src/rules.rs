//! Which peers may be relayed to at all. A relay is a machine inside its operator's network that strangers steer:
//! what only that network reaches is refused (RFC 8656 §21.1.7).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network: an address and how many of its bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// What is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a network is ADDRESS or ADDRESS/BITS, as 192.168.0.0/16 or fd00::/8")]
pub struct NoNetwork;

impl Network {
    const fn v4(octets: [u8; 4], bits: u8) -> Self {
        let [a, b, c, d] = octets;
        Self {
            address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            bits,
        }
    }

    const fn v6(first: u16, second: u16, third: u16, bits: u8) -> Self {
        Self {
            address: IpAddr::V6(Ipv6Addr::new(first, second, third, 0, 0, 0, 0, 0)),
            bits,
        }
    }

    /// Whether an address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                same(ours.to_bits().into(), theirs.to_bits().into(), self.bits, 32)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => same(ours.to_bits(), theirs.to_bits(), self.bits, 128),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

fn same(ours: u128, theirs: u128, bits: u8, all: u8) -> bool {
    // None for a network of no bits, which has everything.
    (ours ^ theirs).checked_shr(u32::from(all - bits)).unwrap_or(0) == 0
}

impl FromStr for Network {
    type Err = NoNetwork;
    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NoNetwork)?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().map_err(|_| NoNetwork)?,
            None => all,
        };
        (bits <= all).then_some(Self { address, bits }).ok_or(NoNetwork)
    }
}

/// IPv4 networks that no public peer has (the IANA special-purpose registry, RFC 6890, and multicast).
const NEVER_V4: [Network; 14] = [
    Network::v4([0, 0, 0, 0], 8),
    Network::v4([10, 0, 0, 0], 8),
    Network::v4([100, 64, 0, 0], 10),
    Network::v4([127, 0, 0, 0], 8),
    Network::v4([169, 254, 0, 0], 16),
    Network::v4([172, 16, 0, 0], 12),
    Network::v4([192, 0, 0, 0], 24),
    Network::v4([192, 0, 2, 0], 24),
    // 6to4 relays (RFC 7526).
    Network::v4([192, 88, 99, 0], 24),
    Network::v4([192, 168, 0, 0], 16),
    Network::v4([198, 18, 0, 0], 15),
    Network::v4([198, 51, 100, 0], 24),
    Network::v4([203, 0, 113, 0], 24),
    // Multicast, reserved, broadcast.
    Network::v4([224, 0, 0, 0], 3),
];

/// All of IPv6 that is global unicast; and in it what is not, or stands for an IPv4 address.
const GLOBAL_V6: Network = Network::v6(0x2000, 0, 0, 3);
const NEVER_V6: [Network; 4] = [
    // Teredo, ORCHID, benchmarks, …: IETF protocol assignments.
    Network::v6(0x2001, 0, 0, 23),
    Network::v6(0x2001, 0xdb8, 0, 32),
    // 6to4.
    Network::v6(0x2002, 0, 0, 16),
    // Documentation (RFC 9637).
    Network::v6(0x3fff, 0, 0, 20),
];

/// Whether an address is one that the whole internet reaches. IPv4 addresses inside IPv6 ones (mapped, NAT64, 6to4)
/// are not.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => !NEVER_V4.iter().any(|network| network.contains(address)),
        IpAddr::V6(v6) => {
            v6.to_ipv4_mapped().is_none()
                && GLOBAL_V6.contains(address)
                && !NEVER_V6.iter().any(|network| network.contains(address))
        }
    }
}

/// Whether an address can be a peer's at all, whatever an operator allows.
pub fn is_unicast(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !address.is_unspecified() && !address.is_multicast() && !broadcast
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_only_some_networks_reach_is_not_public() {
        for public in [
            "1.1.1.1",
            "9.255.255.255",
            "100.63.255.255",
            "100.128.0.0",
            "172.32.0.1",
            "223.255.255.255",
            "2a00::1",
            "2606:4700::1111",
            "2001:200::1",
        ] {
            assert!(is_public(ip(public)), "{public}");
        }
        for not in [
            "0.0.0.0",
            "0.1.2.3",
            "10.66.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.1.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "198.19.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:1.1.1.1",
            "::1.1.1.1",
            "64:ff9b::1.1.1.1",
            "64:ff9b:1::1",
            "100::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:101:101::1",
            "3fff::1",
        ] {
            assert!(!is_public(ip(not)), "{not}");
        }
    }

    #[test]
    fn a_network_has_what_its_bits_say() {
        let network = |text: &str| text.parse::<Network>().unwrap();
        assert!(network("192.168.0.0/16").contains(ip("192.168.255.1")));
        assert!(network("192.168.0.0/16").contains(ip("::ffff:192.168.255.1")));
        assert!(!network("192.168.0.0/16").contains(ip("192.169.0.1")));
        assert!(
            network("10.1.2.3").contains(ip("10.1.2.3")) && !network("10.1.2.3").contains(ip("10.1.2.4"))
        );
        assert!(network("0.0.0.0/0").contains(ip("8.8.8.8")) && !network("0.0.0.0/0").contains(ip("::1")));
        assert!(network("fd00::/8").contains(ip("fdff::1")) && !network("fd00::/8").contains(ip("fe80::1")));
        assert!(network("::/0").contains(ip("fe80::1")) && network("::1").contains(ip("::1")));
        for wrong in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0/8",
            "host/8",
            "10.0.0.0/-1",
        ] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
