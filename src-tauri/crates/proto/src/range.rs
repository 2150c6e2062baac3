//! The addresses of a party.

use crate::ids::Slot;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use thiserror::Error;

/// The IPv4 network that a party's members live in, fixed in the founding record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(Ipv4Addr, u8)", into = "(Ipv4Addr, u8)")]
pub struct PartyRange {
    network: Ipv4Addr,
    prefix: u8,
}

/// A network that no party can live in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a party's range is a private IPv4 network of prefix length 8 to 24, without host bits")]
pub struct NotARange;

impl PartyRange {
    /// Where parties live unless their founder chose otherwise: 10.66.0.0/16.
    pub const DEFAULT: PartyRange = PartyRange {
        network: Ipv4Addr::new(10, 66, 0, 0),
        prefix: 16,
    };

    /// A range of one's own.
    pub fn new(network: Ipv4Addr, prefix: u8) -> Result<Self, NotARange> {
        let range = Self { network, prefix };
        let fits = (8..=24).contains(&prefix)
            && u32::from(network) & !range.mask() == 0
            && (network.is_private() || is_shared(network));
        if fits { Ok(range) } else { Err(NotARange) }
    }

    /// The network's address.
    pub fn network(self) -> Ipv4Addr {
        self.network
    }

    /// The prefix length, bits.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The virtual address of the member in `slot`: the founder's is 10.66.0.1.
    pub fn address(self, slot: Slot) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network) + u32::from(slot.get()))
    }

    /// Whose address this is, where it is a member's.
    pub fn slot(self, address: Ipv4Addr) -> Option<Slot> {
        let offset = u32::from(address).checked_sub(u32::from(self.network))?;
        u8::try_from(offset).ok().and_then(|n| Slot::try_from(n).ok())
    }

    /// The range's directed broadcast address.
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network) | !self.mask())
    }

    /// Whether the address lies in the range.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & self.mask() == u32::from(self.network)
    }

    fn mask(self) -> u32 {
        u32::MAX << (32 - u32::from(self.prefix))
    }
}

/// Shared address space (RFC 6598), 100.64.0.0/10.
fn is_shared(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    a == 100 && (64..128).contains(&b)
}

impl TryFrom<(Ipv4Addr, u8)> for PartyRange {
    type Error = NotARange;
    fn try_from((network, prefix): (Ipv4Addr, u8)) -> Result<Self, NotARange> {
        if prefix > 32 {
            Err(NotARange)
        } else {
            Self::new(network, prefix)
        }
    }
}

impl From<PartyRange> for (Ipv4Addr, u8) {
    fn from(range: PartyRange) -> Self {
        (range.network, range.prefix)
    }
}

impl std::fmt::Display for PartyRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_and_addresses_are_each_other() {
        for n in 1..=250 {
            let slot = Slot::try_from(n).unwrap();
            assert_eq!(
                PartyRange::DEFAULT.slot(PartyRange::DEFAULT.address(slot)),
                Some(slot)
            );
        }
        assert_eq!(
            PartyRange::DEFAULT.address(Slot::FOUNDER),
            Ipv4Addr::new(10, 66, 0, 1)
        );
        assert_eq!(PartyRange::DEFAULT.slot(Ipv4Addr::new(10, 66, 1, 1)), None);
        assert_eq!(PartyRange::DEFAULT.slot(Ipv4Addr::new(10, 65, 255, 255)), None);
        assert_eq!(PartyRange::DEFAULT.broadcast(), Ipv4Addr::new(10, 66, 255, 255));
    }

    #[test]
    fn public_or_crooked_networks_are_no_range() {
        for (network, prefix) in [
            ([8, 8, 0, 0], 16),
            ([10, 66, 0, 1], 16),
            ([10, 0, 0, 0], 33),
            ([10, 0, 0, 0], 7),
        ] {
            assert!(PartyRange::try_from((Ipv4Addr::from(network), prefix)).is_err());
        }
    }
}
