//! The kinds of NAT a lab's router can be, as rules for the kernel's own NAT, and what each claims to do.
//!
//! The words are RFC 4787's (mapping, filtering) and RFC 3489's (cones). Linux's `masquerade` keeps using a source's
//! mapping for every destination, so that it is a port-restricted cone by itself; the wider cones let strangers in by
//! a table that outgoing packets fill, and the symmetric ones take a new port for each destination.

use std::fmt;
use std::time::Duration;

/// Interfaces of a router that lead outwards: the line, and the loop by which it reaches its own public address.
const OUTWARDS: &str = "{ \"wan\", \"loop0\" }";

/// The same, as packets come in.
const INWARDS: &str = "{ \"wan\", \"loop1\" }";

/// Ports that a NAT with a range of its own uses at a time, and where its first range begins. None is one that a
/// program gets by itself on Linux (32768 and up): a port within the range would be kept.
const PORTS: u16 = 5_000;
const FIRST_PORT: u16 = 10_000;

/// Ranges that take turns each time the NAT forgets everything.
const RANGES: u16 = 4;

/// Ports that a sequential NAT deals before it begins anew.
const SEQUENCE: u16 = 4_096;

/// A kind of NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nat {
    /// None: hosts have public addresses, and nothing is filtered.
    Open,
    /// One mapping per source, open to everyone.
    FullCone,
    /// One mapping per source, open to addresses it has sent to.
    RestrictedCone,
    /// One mapping per source, open to addresses and ports it has sent to. Keeps port numbers where it can.
    PortRestrictedCone,
    /// A mapping per destination, at a random port.
    SymmetricRandom,
    /// A mapping per destination, each at the port after the last.
    SymmetricSequential,
    /// A port-restricted cone for TCP; UDP vanishes.
    UdpBlocked,
}

/// What a mapping or a filter depends on (RFC 4787 §4.1, §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependence {
    /// On nothing.
    EndpointIndependent,
    /// On the other side's address.
    AddressDependent,
    /// On the other side's address and port.
    AddressAndPortDependent,
}

/// What a host sees of the NATs between itself and the public network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// No answer to any datagram.
    Blocked,
    /// Datagrams pass.
    Passing {
        /// Whether a source is seen as another address than its own.
        translated: bool,
        /// What decides the port it is seen as.
        mapping: Dependence,
        /// Whether each mapping is at the port after the last.
        sequential: bool,
        /// What decides whose datagrams come in.
        filtering: Dependence,
    },
}

impl Nat {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Open,
        Self::FullCone,
        Self::RestrictedCone,
        Self::PortRestrictedCone,
        Self::SymmetricRandom,
        Self::SymmetricSequential,
        Self::UdpBlocked,
    ];

    /// What a router of this kind does, if it is what it claims to be.
    #[must_use]
    pub fn claim(self) -> Behaviour {
        use Dependence::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
        let (mapping, filtering) = match self {
            Self::UdpBlocked => return Behaviour::Blocked,
            Self::Open | Self::FullCone => (EndpointIndependent, EndpointIndependent),
            Self::RestrictedCone => (EndpointIndependent, AddressDependent),
            Self::PortRestrictedCone => (EndpointIndependent, AddressAndPortDependent),
            Self::SymmetricRandom | Self::SymmetricSequential => {
                (AddressAndPortDependent, AddressAndPortDependent)
            }
        };
        Behaviour::Passing {
            translated: self != Self::Open,
            mapping,
            sequential: self == Self::SymmetricSequential,
            filtering,
        }
    }

    /// What a host sees through this NAT and `outer`, the carrier's beyond it: of each the narrower.
    #[must_use]
    pub fn claim_behind(self, outer: Self) -> Behaviour {
        match (self.claim(), outer.claim()) {
            (
                Behaviour::Passing {
                    translated,
                    mapping,
                    sequential,
                    filtering,
                },
                Behaviour::Passing {
                    translated: outer_translated,
                    mapping: outer_mapping,
                    sequential: outer_sequential,
                    filtering: outer_filtering,
                },
            ) => Behaviour::Passing {
                translated: translated || outer_translated,
                mapping: mapping.narrower(outer_mapping),
                sequential: outer_sequential || (sequential && !outer_translated),
                filtering: filtering.narrower(outer_filtering),
            },
            _ => Behaviour::Blocked,
        }
    }

    /// The rules of a router, as `nft -f` reads them; they replace those that are there, and whatever was remembered.
    /// Each `generation` takes other ports, lest a NAT that forgot everything deals the same ones again.
    pub(super) fn rules(self, generation: u16, remembers: Duration) -> String {
        let mut rules = String::from("table ip nat { }\ndelete table ip nat\n");
        if self == Self::Open {
            return rules;
        }
        rules.push_str(
            "table ip nat {\n\
             map inside { type inet_service : ipv4_addr . inet_service; size 65535; flags dynamic,timeout; }\n\
             set heard { type ipv4_addr . inet_service; size 65535; flags dynamic,timeout; }\n",
        );
        let mut chain = |name: &str, hook: &str, lines: &[String]| {
            let lines = lines.join("\n");
            rules.push_str(&format!("chain {name} {{\ntype {hook};\n{lines}\n}}\n"));
        };
        chain(
            "arriving",
            "nat hook prerouting priority dstnat",
            &self.admission(),
        );
        let translate = [
            format!("oifname {OUTWARDS} meta l4proto udp {}", self.mapping(generation)),
            format!("oifname {OUTWARDS} masquerade"),
        ];
        chain("leaving", "nat hook postrouting priority srcnat", &translate);
        let after = "filter hook postrouting priority srcnat + 10";
        chain("remember", after, &self.memory(remembers));
        let mut passing = vec![
            format!("iifname {INWARDS} ct state established,related accept"),
            format!("iifname {INWARDS} ct status dnat accept"),
            format!("iifname {INWARDS} drop"),
        ];
        if self == Self::UdpBlocked {
            passing.insert(0, "meta l4proto udp drop".to_owned());
        }
        chain("passing", "filter hook forward priority filter", &passing);
        let receiving = [format!("iifname {INWARDS} meta l4proto {{ tcp, udp }} drop")];
        chain("receiving", "filter hook input priority filter", &receiving);
        rules.push_str("}\n");
        rules
    }

    /// Other time-outs for what it remembers from now on, without forgetting anything.
    pub(super) fn memory_rules(self, remembers: Duration) -> Option<String> {
        let rules: String = self
            .memory(remembers)
            .iter()
            .map(|line| format!("add rule ip nat remember {line}\n"))
            .collect();
        (!rules.is_empty()).then(|| format!("flush chain ip nat remember\n{rules}"))
    }

    /// How outgoing datagrams get their port.
    fn mapping(self, generation: u16) -> String {
        let first = FIRST_PORT + (generation % RANGES) * PORTS;
        let last = first + PORTS - 1;
        match self {
            // What blocks UDP does so elsewhere.
            Self::Open | Self::UdpBlocked => "masquerade".to_owned(),
            Self::PortRestrictedCone if generation == 0 => "masquerade".to_owned(),
            Self::FullCone | Self::RestrictedCone | Self::PortRestrictedCone => {
                format!("masquerade to :{first}-{last}")
            }
            Self::SymmetricRandom => "masquerade random,fully-random".to_owned(),
            Self::SymmetricSequential => {
                // By a table: a port is two bytes in network order, which a bare counter is not.
                let ports: Vec<String> = (0..SEQUENCE)
                    .map(|step| format!("{step} : {}", first + step))
                    .collect();
                format!(
                    "masquerade to :numgen inc mod {SEQUENCE} map {{ {} }}",
                    ports.join(", ")
                )
            }
        }
    }

    /// Whom it lets in unasked, and to whom.
    fn admission(self) -> Vec<String> {
        let known = match self {
            Self::FullCone => "",
            Self::RestrictedCone => "ip saddr . udp dport @heard",
            _ => return Vec::new(),
        };
        vec![format!(
            "iifname {INWARDS} meta l4proto udp {known} dnat ip to udp dport map @inside"
        )]
    }

    /// What it writes down of each outgoing datagram.
    fn memory(self, remembers: Duration) -> Vec<String> {
        let seconds = remembers.as_secs().max(1);
        match self {
            Self::FullCone | Self::RestrictedCone => vec![
                format!(
                    "oifname {OUTWARDS} meta l4proto udp update @inside \
                     {{ udp sport timeout {seconds}s : ct original ip saddr . ct original proto-src }}"
                ),
                format!(
                    "oifname {OUTWARDS} meta l4proto udp update @heard {{ ip daddr . udp sport timeout {seconds}s }}"
                ),
            ],
            _ => Vec::new(),
        }
    }
}

impl Behaviour {
    /// Whether plain simultaneous punching connects a host here with one there: both send to where a third sees the
    /// other, and answer to where they hear from.
    #[must_use]
    pub fn meets(self, other: Self) -> bool {
        match (self, other) {
            (
                Self::Passing {
                    mapping, filtering, ..
                },
                Self::Passing {
                    mapping: other_mapping,
                    filtering: other_filtering,
                    ..
                },
            ) => {
                // The side that is elsewhere than it is thought to be gets in where ports don't matter.
                let found = |mapping, filtering| {
                    mapping == Dependence::EndpointIndependent
                        || filtering != Dependence::AddressAndPortDependent
                };
                found(mapping, other_filtering) && found(other_mapping, filtering)
            }
            _ => false,
        }
    }
}

impl Behaviour {
    /// What an engine calls NATs that do this.
    #[must_use]
    pub fn word(self) -> &'static str {
        use Dependence::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
        match self {
            Self::Blocked => "unknown",
            Self::Passing {
                translated: false, ..
            } => "open",
            Self::Passing {
                mapping, filtering, ..
            } => match (mapping, filtering) {
                (EndpointIndependent, EndpointIndependent) => "full_cone",
                (EndpointIndependent, AddressDependent) => "restricted_cone",
                (EndpointIndependent, AddressAndPortDependent) => "port_restricted_cone",
                _ => "symmetric",
            },
        }
    }
}

impl fmt::Display for Nat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::FullCone => "full cone",
            Self::RestrictedCone => "restricted cone",
            Self::PortRestrictedCone => "port-restricted cone",
            Self::SymmetricRandom => "symmetric, random ports",
            Self::SymmetricSequential => "symmetric, sequential ports",
            Self::UdpBlocked => "UDP blocked",
        })
    }
}

impl Dependence {
    fn narrower(self, other: Self) -> Self {
        let rank = |dependence| match dependence {
            Self::EndpointIndependent => 0,
            Self::AddressDependent => 1,
            Self::AddressAndPortDependent => 2,
        };
        if rank(self) >= rank(other) { self } else { other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_kinds_claim_the_same() {
        for (index, one) in Nat::ALL.iter().enumerate() {
            for other in &Nat::ALL[index + 1..] {
                assert_ne!(one.claim(), other.claim(), "{one} and {other}");
            }
        }
    }

    #[test]
    fn of_two_nats_the_narrower_shows() {
        let cone = Nat::PortRestrictedCone;
        assert_eq!(cone.claim_behind(Nat::FullCone), cone.claim());
        assert_eq!(
            cone.claim_behind(Nat::SymmetricRandom),
            Nat::SymmetricRandom.claim()
        );
        assert_eq!(cone.claim_behind(Nat::UdpBlocked), Behaviour::Blocked);
        // The carrier deals a port of its own to each port in the row.
        let sequential = Nat::SymmetricSequential;
        assert_eq!(sequential.claim_behind(Nat::Open), sequential.claim());
        assert_eq!(
            sequential.claim_behind(Nat::FullCone),
            Nat::SymmetricRandom.claim()
        );
    }

    #[test]
    fn a_nat_that_forgot_deals_other_ports() {
        for kind in [Nat::FullCone, Nat::PortRestrictedCone, Nat::SymmetricSequential] {
            let [before, after] = [0, 1].map(|generation| kind.rules(generation, Duration::from_secs(9)));
            assert_ne!(before, after, "{kind}");
        }
    }
}
