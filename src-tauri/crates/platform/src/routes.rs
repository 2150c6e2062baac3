//! Routes of the host: those that clash with the party's range, the one that leads out, and those added for a while.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

#[cfg(target_os = "linux")]
#[path = "routes/linux.rs"]
mod change;
#[cfg(target_os = "macos")]
#[path = "routes/macos_change.rs"]
mod change;
#[cfg(any(test, target_os = "macos"))]
mod dump;
#[cfg(target_os = "macos")]
mod macos;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "macos")]
use macos::system_routes;
#[cfg(windows)]
use windows::system_routes;

/// An IPv4 network: an address and how many of its bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    address: Ipv4Addr,
    prefix: u8,
}

impl Network {
    /// The network that `address` is in; bits beyond `prefix` are cleared, a prefix over 32 counts as 32.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.min(32);
        Self {
            address: Ipv4Addr::from(u32::from(address) & mask(prefix)),
            prefix,
        }
    }

    /// Its lowest address.
    pub fn address(self) -> Ipv4Addr {
        self.address
    }

    /// Length of its prefix in bits, 0–32.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether the two have an address in common, which is so when one lies within the other.
    pub fn overlaps(self, other: Self) -> bool {
        let mask = mask(self.prefix.min(other.prefix));
        u32::from(self.address) & mask == u32::from(other.address) & mask
    }
}

/// Not an address and a number of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no network; one looks like 10.66.0.0/16")]
pub struct NoNetwork;

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let (address, prefix) = text.split_once('/').ok_or(NoNetwork)?;
        let prefix: u8 = prefix.parse().map_err(|_| NoNetwork)?;
        if prefix > 32 {
            return Err(NoNetwork);
        }
        Ok(Self::new(address.parse().map_err(|_| NoNetwork)?, prefix))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// A route, or an address of the host, that lies in the party's range or around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteClash {
    /// The interface it belongs to.
    pub interface: String,
    /// Where it leads, shown as `10.66.1.0/24`.
    pub network: Network,
}

/// A route of the system's.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Route {
    interface: String,
    network: Network,
    /// The router it leads to; none within a network of this host's own.
    gateway: Option<Ipv4Addr>,
    /// Of two to the same network the one with less is used.
    metric: u32,
}

impl From<Route> for RouteClash {
    fn from(route: Route) -> Self {
        Self {
            interface: route.interface,
            network: route.network,
        }
    }
}

/// Whether broadcast and multicast need routes to leave by our adapter. Windows goes by the interface's metric instead.
pub const ANNOUNCES_NEED_ROUTES: bool = cfg!(unix);

/// Adds a route to `network` by the interface named. Another one to the same network stays, and is used again when
/// this one is gone.
///
/// # Errors
/// What the system says; `Unsupported` where routes can't be added.
pub fn add(network: Network, interface: &str) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    return change::add(network, interface);
    #[cfg(not(any(target_os = "linux", target_os = "macos")))]
    {
        let _ = (network, interface);
        Err(unsupported("adding a route"))
    }
}

/// Removes what [`add`] added. That it is gone already, or its interface is, counts as done: then the answer is `false`.
///
/// # Errors
/// As [`add`].
pub fn remove(network: Network, interface: &str) -> io::Result<bool> {
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    return change::remove(network, interface);
    #[cfg(not(any(target_os = "linux", target_os = "macos")))]
    {
        let _ = (network, interface);
        Err(unsupported("removing a route"))
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn unsupported(operation: &'static str) -> io::Error {
    crate::Unsupported { operation }.into()
}

/// The router that packets to the internet go to. None where there is no default route, or it leads into an interface
/// without a router, as a VPN's does.
///
/// # Errors
/// As [`conflicts`].
pub fn default_gateway() -> io::Result<Option<Ipv4Addr>> {
    Ok(gateway(system_routes()?))
}

fn gateway(routes: Vec<Route>) -> Option<Ipv4Addr> {
    let out = routes.into_iter().filter(|route| route.network.prefix == 0);
    out.min_by_key(|route| route.metric)?.gateway
}

/// Everything on this host that overlaps `range`, more specific and wider routes alike, except on the interface
/// named (our own adapter). Default routes do not count, nor do the two halves `0.0.0.0/1` and `128.0.0.0/1`
/// by which VPNs replace them. On Linux: the main routing table of the calling thread's network namespace.
///
/// # Errors
/// When the system won't list its routes or addresses; `Unsupported` on systems where routes can't be listed.
pub fn conflicts(range: Network, except_interface: Option<&str>) -> io::Result<Vec<RouteClash>> {
    let mut found: Vec<RouteClash> = system_routes()?.into_iter().map(RouteClash::from).collect();
    // An address can be configured without a route to its network.
    found.extend(if_addrs::get_if_addrs()?.into_iter().filter_map(|interface| {
        let IpAddr::V4(address) = interface.ip() else {
            return None;
        };
        Some(RouteClash {
            interface: interface.name,
            network: Network::new(address, 32),
        })
    }));
    Ok(clashes(found, range, except_interface))
}

fn clashes(found: Vec<RouteClash>, range: Network, except: Option<&str>) -> Vec<RouteClash> {
    let mut clashes: Vec<RouteClash> = Vec::new();
    for route in found {
        let counts = route.network.prefix > 1 && route.network.overlaps(range);
        // The route to a network says all that an address in it would say again.
        let known = clashes
            .iter()
            .any(|clash| clash.interface == route.interface && clash.network.contains(route.network));
        if counts && !known && Some(route.interface.as_str()) != except {
            clashes.push(route);
        }
    }
    clashes
}

impl Network {
    fn contains(self, other: Self) -> bool {
        self.prefix <= other.prefix && self.overlaps(other)
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

/// `thread-self`, not `self`: a thread may live in another network namespace than its process.
#[cfg(target_os = "linux")]
fn system_routes() -> io::Result<Vec<Route>> {
    Ok(parse(&std::fs::read_to_string("/proc/thread-self/net/route")?))
}

#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
fn system_routes() -> io::Result<Vec<Route>> {
    Err(crate::Unsupported {
        operation: "listing routes",
    }
    .into())
}

/// Reads `/proc/net/route` (proc_net(5)): a heading, then one route a line in tab-separated columns, of which
/// the first is the interface, the second the destination, the third the gateway, the fourth the flags, the seventh the
/// metric and the eighth the mask.
/// Lines that can't be read are passed over: a future kernel may add some.
#[cfg(any(test, target_os = "linux"))]
fn parse(table: &str) -> Vec<Route> {
    const UP: u32 = 1;
    const GATEWAY: u32 = 2;
    table
        .lines()
        .filter_map(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let [interface, destination, gateway, flags, _, _, metric, netmask, ..] = columns[..] else {
                return None;
            };
            let flags = u32::from_str_radix(flags, 16).ok()?;
            if flags & UP == 0 {
                return None;
            }
            let prefix = u32::from(hex_address(netmask)?).leading_ones();
            let network = Network::new(hex_address(destination)?, u8::try_from(prefix).ok()?);
            Some(Route {
                interface: interface.to_owned(),
                network,
                gateway: hex_address(gateway).filter(|_| flags & GATEWAY != 0),
                metric: metric.parse().unwrap_or(u32::MAX),
            })
        })
        .collect()
}

/// The kernel prints the address's four bytes as one number of the machine's own byte order.
#[cfg(any(test, target_os = "linux"))]
fn hex_address(hex: &str) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(u32::from_str_radix(hex, 16).ok()?.to_ne_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0
tun0\t00000080\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0
eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
br-1\t0001420A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
down\t0002420A\t00000000\t0000\t0\t0\t0\t00FFFFFF\t0\t0\t0
corp\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0
lanrage0\t0000420A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
odd line
x\tnothex\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
";

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    fn clash(interface: &str, network_text: &str) -> RouteClash {
        RouteClash {
            interface: interface.into(),
            network: network(network_text),
        }
    }

    fn clashing(table: &str) -> Vec<RouteClash> {
        parse(table).into_iter().map(RouteClash::from).collect()
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn the_way_out_is_the_default_route_with_the_least_metric_unless_it_has_no_router() {
        let table = TABLE.replace("tun0", "odd0");
        assert_eq!(gateway(parse(&table)), Some(Ipv4Addr::new(192, 168, 1, 1)));
        let cable = "eth1\t00000000\t0102A8C0\t0003\t0\t0\t50\t00000000\t0\t0\t0\n";
        let both = parse(&(table.clone() + cable));
        assert_eq!(gateway(both), Some(Ipv4Addr::new(192, 168, 2, 1)));
        let vpn = "wg0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n";
        assert_eq!(gateway(parse(&(table + vpn))), None);
        assert_eq!(gateway(Vec::new()), None);
    }

    // The samples are what a little-endian kernel prints.
    #[cfg(target_endian = "little")]
    #[test]
    fn more_specific_and_wider_routes_clash_and_default_routes_do_not() {
        let found = clashes(clashing(TABLE), network("10.66.0.0/16"), Some("lanrage0"));
        assert_eq!(
            found,
            [clash("br-1", "10.66.1.0/24"), clash("corp", "10.0.0.0/8")]
        );
        assert_eq!(found[0].network.to_string(), "10.66.1.0/24");
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn our_own_adapter_clashes_only_when_not_excepted() {
        assert!(
            clashes(clashing(TABLE), network("10.66.0.0/16"), None)
                .contains(&clash("lanrage0", "10.66.0.0/16"))
        );
    }

    #[test]
    fn a_range_elsewhere_has_no_clash() {
        assert_eq!(clashes(clashing(TABLE), network("172.20.0.0/16"), None), []);
    }

    #[test]
    fn a_network_is_read_as_it_is_shown() {
        for text in ["0.0.0.0/0", "10.66.0.0/16", "255.255.255.255/32"] {
            assert_eq!(network(text).to_string(), text);
        }
        for text in ["", "10.66.0.0", "10.66.0.0/33", "10.66/16", "10.66.0.0/a"] {
            assert_eq!(text.parse::<Network>(), Err(NoNetwork), "{text}");
        }
    }

    #[test]
    fn garbage_and_emptiness_are_passed_over() {
        assert_eq!(parse(""), []);
        assert_eq!(parse("\0\n\t\t\n\u{fffd}\neth0\t1"), []);
    }

    #[test]
    fn an_address_is_told_only_when_its_route_is_not() {
        let range = network("10.66.0.0/16");
        let found = vec![
            clash("a", "10.66.1.0/24"),
            clash("a", "10.66.1.9/32"),
            clash("b", "10.66.1.9/32"),
        ];
        assert_eq!(
            clashes(found, range, None),
            [clash("a", "10.66.1.0/24"), clash("b", "10.66.1.9/32")]
        );
    }

    #[test]
    fn networks_overlap_when_one_lies_in_the_other() {
        for (one, other, expected) in [
            ("10.66.0.0/16", "10.66.255.0/24", true),
            ("10.66.0.0/16", "10.64.0.0/14", true),
            ("10.66.0.0/16", "10.67.0.0/16", false),
            ("10.66.0.0/16", "0.0.0.0/0", true),
            ("10.66.0.1/32", "10.66.0.1/32", true),
            ("10.66.0.1/32", "10.66.0.2/32", false),
        ] {
            assert_eq!(network(one).overlaps(network(other)), expected, "{one} {other}");
            assert_eq!(network(other).overlaps(network(one)), expected, "{other} {one}");
        }
        assert_eq!(
            Network::new(Ipv4Addr::new(10, 66, 7, 9), 16),
            network("10.66.0.0/16")
        );
    }
}
