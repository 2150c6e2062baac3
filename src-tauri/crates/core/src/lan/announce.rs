//! What an announce is known by, and who got it.

use crate::dataplane::header::Header;
use lanrage_proto::Slot;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// A kind of announce: what one program sends from one port to one place, again and again. Both ends know it by the
/// same three things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Announce {
    /// The program's own UDP port.
    pub port: u16,
    /// The UDP port it sends to.
    pub to_port: u16,
    /// The broadcast address or group it sends to.
    pub destination: Ipv4Addr,
}

impl Announce {
    /// The first and the last in their order.
    pub(crate) const FIRST: Self = Self {
        port: 0,
        to_port: 0,
        destination: Ipv4Addr::UNSPECIFIED,
    };
    pub(crate) const LAST: Self = Self {
        port: u16::MAX,
        to_port: u16::MAX,
        destination: Ipv4Addr::BROADCAST,
    };

    /// Of a packet that is a whole UDP datagram.
    pub(crate) fn of(header: &Header, packet: &[u8]) -> Option<Self> {
        let (port, to_port) = header.udp_ports(packet)?;
        Some(Self {
            port,
            to_port,
            destination: header.destination,
        })
    }
}

/// Where a program's announce was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// On the party's adapter.
    Adapter,
    /// On another network interface.
    Interface(Arc<Interface>),
}

/// A network interface of this computer, other than the party's adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// What the system calls it.
    pub name: String,
    /// Its addresses with the lengths of their on-link prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
}

impl Interface {
    /// Whether the address is this computer's own there.
    pub(crate) fn has(&self, address: Ipv4Addr) -> bool {
        self.addresses.iter().any(|(own, _)| *own == address)
    }

    /// Whether the address is that of everybody on one of its networks.
    pub(crate) fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        self.addresses.iter().any(|(own, prefix)| match own {
            IpAddr::V4(own) if *prefix < 31 => {
                let hosts = u32::MAX.checked_shr(u32::from(*prefix)).unwrap_or(0);
                u32::from(*own) | hosts == u32::from(address)
            }
            IpAddr::V4(_) | IpAddr::V6(_) => false,
        })
    }

    /// Whether the address is on one of its networks.
    pub(crate) fn reaches(&self, address: IpAddr) -> bool {
        let same = |(own, prefix): &(IpAddr, u8)| crate::context::same_network(*own, address, *prefix);
        self.addresses.iter().any(same)
    }
}

/// Some of the party's slots.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct SlotSet([u64; 4]);

impl SlotSet {
    /// Adds one; whether it was missing.
    pub fn insert(&mut self, slot: Slot) -> bool {
        let (word, bit) = place(slot);
        let missing = self.0[word] & bit == 0;
        self.0[word] |= bit;
        missing
    }

    /// Takes one away.
    pub fn remove(&mut self, slot: Slot) {
        let (word, bit) = place(slot);
        self.0[word] &= !bit;
    }

    /// Whether it is among them.
    pub fn contains(&self, slot: Slot) -> bool {
        let (word, bit) = place(slot);
        self.0[word] & bit != 0
    }
}

impl std::fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let slots = (1..=Slot::MAX.get()).filter_map(|number| Slot::try_from(number).ok());
        f.debug_set()
            .entries(slots.filter(|slot| self.contains(*slot)).map(Slot::get))
            .finish()
    }
}

fn place(slot: Slot) -> (usize, u64) {
    (usize::from(slot.get() / 64), 1 << (slot.get() % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_kept_apart() {
        let mut set = SlotSet::default();
        for number in [1, 63, 64, 250] {
            assert!(set.insert(Slot::try_from(number).unwrap()));
            assert!(!set.insert(Slot::try_from(number).unwrap()));
        }
        set.remove(Slot::try_from(64).unwrap());
        assert_eq!(format!("{set:?}"), "{1, 63, 250}");
    }

    #[test]
    fn an_interface_knows_its_networks() {
        let interface = Interface {
            name: "eth0".into(),
            addresses: vec![
                ("192.168.1.5".parse().unwrap(), 24),
                ("10.0.0.1".parse().unwrap(), 31),
                ("2001:db8::5".parse().unwrap(), 64),
            ],
        };
        assert!(interface.has([192, 168, 1, 5].into()) && !interface.has([192, 168, 1, 6].into()));
        assert!(interface.is_broadcast([192, 168, 1, 255].into()));
        assert!(!interface.is_broadcast([192, 168, 2, 255].into()));
        assert!(
            !interface.is_broadcast([10, 0, 0, 1].into()),
            "a network of two has none"
        );
        assert!(interface.reaches("192.168.1.77".parse().unwrap()));
        assert!(interface.reaches("2001:db8::7".parse().unwrap()));
        assert!(!interface.reaches("192.168.2.77".parse().unwrap()));
    }
}
