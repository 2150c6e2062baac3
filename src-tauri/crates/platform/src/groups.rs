//! Multicast groups of this host's programs (RFC 1112), joined on another interface in their stead.
//!
//! A program that names no interface joins where the route to the group leads at that moment. One that did so before
//! the adapter was there is deaf on it, and one that does so later is deaf elsewhere, though the system would hand it what arrives there: Linux gives a group's
//! datagrams to every socket on the port once anybody on the host has joined on the interface they come by
//! (`IP_MULTICAST_ALL`, on unless a program switches it off). So joining here, in the program's stead, is enough, and it
//! ends with our socket, however that ends.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

/// Groups joined at most: nobody plays so many games at once, and each costs the kernel a timer.
const MOST: usize = 64;

/// The groups that are joined on an interface through us.
#[derive(Debug)]
pub struct Groups {
    interface: u32,
    joined: BTreeSet<Ipv4Addr>,
    /// One takes 20 groups unless the system is set otherwise.
    sockets: Vec<Socket>,
}

impl Groups {
    /// None yet, on the interface of this index.
    pub fn new(interface: u32) -> Self {
        Self {
            interface,
            joined: BTreeSet::new(),
            sockets: Vec::new(),
        }
    }

    /// What is joined.
    pub fn joined(&self) -> &BTreeSet<Ipv4Addr> {
        &self.joined
    }

    /// Joins what is missing and leaves what is no longer `wanted`. Whether anything changed.
    ///
    /// # Errors
    /// When the system refuses; what was joined stays so.
    pub fn set(&mut self, wanted: &BTreeSet<Ipv4Addr>) -> io::Result<bool> {
        let wanted: BTreeSet<Ipv4Addr> = wanted.iter().copied().take(MOST).collect();
        if wanted == self.joined {
            return Ok(false);
        }
        let gone: Vec<Ipv4Addr> = self.joined.difference(&wanted).copied().collect();
        for group in gone {
            let place = InterfaceIndexOrAddress::Index(self.interface);
            // It is one socket's; the others say that they have not joined it.
            let left = self
                .sockets
                .iter()
                .any(|socket| socket.leave_multicast_v4_n(&group, &place).is_ok());
            if !left {
                tracing::debug!(%group, "a group was not joined");
            }
            self.joined.remove(&group);
        }
        let new: Vec<Ipv4Addr> = wanted.difference(&self.joined).copied().collect();
        for group in new {
            self.join(group)?;
            self.joined.insert(group);
        }
        Ok(true)
    }

    fn join(&mut self, group: Ipv4Addr) -> io::Result<()> {
        let place = InterfaceIndexOrAddress::Index(self.interface);
        if let Some(socket) = self.sockets.last()
            && socket.join_multicast_v4_n(&group, &place).is_ok()
        {
            return Ok(());
        }
        // Full, most likely; if not, a fresh one tells.
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.join_multicast_v4_n(&group, &place)?;
        self.sockets.push(socket);
        Ok(())
    }
}

/// For each interface by its name: which groups are joined on it, by how many sockets.
pub type Memberships = BTreeMap<String, BTreeMap<Ipv4Addr, u32>>;

/// Which groups this host's programs, ourselves included, have joined where; without those of the link itself
/// (224.0.0.0/24, RFC 5771 §4), which serve it and no game.
///
/// # Errors
/// When the system won't list them; `Unsupported` where it has no list.
pub fn memberships() -> io::Result<Memberships> {
    #[cfg(target_os = "linux")]
    {
        // `thread-self`, not `self`: a thread may live in another network namespace than its process.
        let table = std::fs::read_to_string("/proc/thread-self/net/igmp")?;
        Ok(parse(&table))
    }
    #[cfg(not(target_os = "linux"))]
    {
        Err(crate::Unsupported {
            operation: "listing multicast groups",
        }
        .into())
    }
}

/// Reads `/proc/net/igmp`: a line for each interface with its name second, and below it, indented, one for each group
/// with the group first, as one number of the machine's own byte order, and the count of sockets second.
#[cfg(any(test, target_os = "linux"))]
fn parse(table: &str) -> Memberships {
    let mut found = Memberships::new();
    let mut interface = None;
    for line in table.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [first, second, ..] = words[..] else { continue };
        if !line.starts_with(char::is_whitespace) {
            interface = Some(found.entry(second.to_owned()).or_default());
        } else if let Some(groups) = &mut interface
            && let (Ok(number), Ok(sockets)) = (u32::from_str_radix(first, 16), second.parse())
        {
            let group = Ipv4Addr::from(number.to_ne_bytes());
            if group.is_multicast() && group.octets()[..3] != [224, 0, 0] {
                groups.insert(group, sockets);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    // What a little-endian kernel prints.
    #[cfg(target_endian = "little")]
    #[test]
    fn groups_are_read_with_their_sockets_and_those_of_the_link_are_not() {
        const TABLE: &str = "\
Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter
1\tlo        :     1      V3
\t\t\t\t010000E0     1 0:00000000\t\t0
2\teth0      :     3      V3
\t\t\t\t010101E1     2 0:00000000\t\t0
\t\t\t\tFB0000E0     1 0:00000000\t\t0
\t\t\t\t010000E0     1 0:00000000\t\t0
9\tlanrage0  :     2      V3
\t\t\t\t020202E2     1 0:00000000\t\t0
";
        let found = parse(TABLE);
        let of = |name: &str| -> Vec<String> {
            found[name]
                .iter()
                .map(|(group, sockets)| format!("{group} {sockets}"))
                .collect()
        };
        assert_eq!(of("lo"), Vec::<String>::new());
        assert_eq!(of("eth0"), ["225.1.1.1 2"]);
        assert_eq!(of("lanrage0"), ["226.2.2.2 1"]);
        assert!(parse("\n\nnonsense\n\t\tzz yy\n").is_empty());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn more_groups_than_a_socket_takes_are_joined_and_left() {
        let mut groups = Groups::new(1);
        let wanted: BTreeSet<Ipv4Addr> = (0..45).map(|last| Ipv4Addr::new(239, 7, 7, last)).collect();
        assert!(groups.set(&wanted).unwrap());
        assert!(!groups.set(&wanted).unwrap());
        assert_eq!(groups.joined(), &wanted);
        let one: BTreeSet<Ipv4Addr> = wanted.iter().copied().take(1).collect();
        assert!(groups.set(&one).unwrap());
        assert_eq!(groups.joined(), &one);
        assert!(groups.set(&BTreeSet::new()).unwrap());
    }
}
