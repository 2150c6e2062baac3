//! What `doctor` tells: all that is known of the ways between this computer and its friends, with its evidence.
//!
//! Each word is stable: scripts read it as `lanrage-engine doctor --json`. Times are milliseconds. Addresses of peers
//! and ways to them are absent for callers to whom the party does not belong.

use crate::fault::Fault;
use crate::ipc::{EngineStatus, NatType, PathKind, PeerState};
use crate::turn_uri::TurnTransport;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct Report {
    /// The engine, and the control plane it uses.
    pub engine: EngineStatus,
    /// Where the control plane is.
    pub control: ControlReport,
    /// Whether UDP gets through to the internet.
    pub udp: UdpState,
    /// What stands between this computer and the internet, by IPv4.
    pub ipv4: FamilyReport,
    /// Likewise, by IPv6.
    pub ipv6: FamilyReport,
    /// The relays in use, best first; none without a party.
    pub relays: Vec<RelayReport>,
    /// Ports that the router in front was asked for.
    pub mapping: MappingReport,
    /// Whether friends elsewhere reach the party's home; absent where that is not this computer.
    pub hosting: Option<HostingReport>,
    /// The network adapter, and the right to make one.
    pub adapter: AdapterReport,
    /// What is different in the system and in the router while this engine runs its party.
    pub changes: Vec<Change>,
    /// The other members.
    pub peers: Vec<PeerReport>,
    /// What is wrong, each with its sentence and its action in the language catalogue. Conditions are among them.
    pub findings: Vec<Fault>,
}

impl Report {
    /// Without what belongs to the party's owner alone.
    #[must_use]
    pub fn for_strangers(mut self) -> Self {
        self.control.at = None;
        if let Some(hosting) = &mut self.hosting {
            hosting.via.clear();
        }
        for pair in self.peers.iter_mut().flat_map(|peer| &mut peer.pairs) {
            (pair.remote, pair.relay) = (None, None);
        }
        self
    }
}

/// Where the control plane is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct ControlReport {
    /// Its address: the party's home, or the server that the next party would be created on.
    pub at: Option<String>,
    /// Whether it answers; absent where nobody asked it lately.
    pub answers: Option<bool>,
}

/// Whether UDP gets through to the internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum UdpState {
    /// Something beyond the local network answered by it.
    Open,
    /// Nothing answers by it, while TCP gets through to the same networks.
    Blocked,
    /// Nothing proves either.
    Unknown,
}

/// One address family.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct FamilyReport {
    /// Whether this computer has an address of it that is not for local networks alone.
    pub public_address: bool,
    /// Whether it has any that leads out.
    pub address: bool,
    /// The NAT's type.
    #[serde(rename = "type")]
    pub kind: NatType,
    /// Why that is not known; absent exactly when it is.
    pub reason: Option<Unproven>,
    /// The address and port that others see.
    pub mapped: Option<String>,
    /// Whether that is another than this computer's own.
    pub translated: Option<bool>,
    /// What a mapping depends on.
    pub mapping: Option<Mapping>,
    /// Who may send to it.
    pub filtering: Option<Filtering>,
    /// The STUN servers that were asked, and their other addresses, with their answers.
    pub servers: Vec<StunReport>,
    /// The tests of filtering.
    pub tests: Vec<FilterReport>,
    /// It rests partly on what was found earlier, with no sign of a change.
    pub earlier: bool,
}

/// What a mapping depends on (RFC 4787 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum Mapping {
    /// Nothing: all destinations see one address and port.
    EndpointIndependent,
    /// The destination's address.
    AddressDependent,
    /// The destination's address and port.
    AddressAndPortDependent,
    /// The destination's address; whether on its port as well is not known.
    EndpointDependent,
}

/// Who may send to a mapping (RFC 4787 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum Filtering {
    /// Everybody.
    EndpointIndependent,
    /// Addresses that were sent to.
    AddressDependent,
    /// Addresses and ports that were sent to.
    AddressAndPortDependent,
}

/// Why a NAT's type is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum Unproven {
    /// Nobody was asked: no party, no address of this family.
    Untried,
    /// There is no STUN server to ask.
    NoServers,
    /// It is being found out.
    InProgress,
    /// No server answered: UDP is blocked, or all of them are away.
    NoAnswer,
    /// Only one destination answered; a mapping can't be compared.
    OneDestination,
    /// No server can answer from another address; filtering can't be tested.
    NoSecondAddress,
    /// The other address of the server was sent to before; its answers prove nothing now.
    AlternateContacted,
    /// The other address of the server does not answer at all.
    AlternateSilent,
    /// So much was lost that silence proves nothing.
    Lossy,
    /// The mapping changed in between.
    Changed,
}

impl Unproven {
    /// Its stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Unproven::Untried => "untried",
            Unproven::NoServers => "no_servers",
            Unproven::InProgress => "in_progress",
            Unproven::NoAnswer => "no_answer",
            Unproven::OneDestination => "one_destination",
            Unproven::NoSecondAddress => "no_second_address",
            Unproven::AlternateContacted => "alternate_contacted",
            Unproven::AlternateSilent => "alternate_silent",
            Unproven::Lossy => "lossy",
            Unproven::Changed => "changed",
        }
    }
}

/// A STUN server, or another address of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct StunReport {
    /// Address and port.
    pub server: String,
    /// The address and port that it saw; absent when it did not answer.
    pub saw: Option<String>,
    /// Round-trip time.
    pub rtt_ms: Option<f64>,
}

/// A server that was asked to answer from elsewhere (RFC 5780 §4.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct FilterReport {
    /// Which.
    pub server: String,
    /// Its other address and port.
    pub other: String,
    /// Asked to change both, it answered from here.
    pub both: Option<String>,
    /// Asked to change the port, it answered from here.
    pub port: Option<String>,
    /// Of so many plain requests beside, none where a fresh socket asked, …
    pub asked: u8,
    /// … so many were answered.
    pub answered: u8,
}

/// A relay (RFC 8656).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct RelayReport {
    /// The server's name or address.
    pub server: String,
    /// Whether there is an allocation.
    pub up: bool,
    /// What peers see of it.
    pub relayed: Option<String>,
    /// To the relay and back.
    pub rtt_ms: Option<f64>,
    /// The ways to it, best first.
    pub ways: Vec<WayReport>,
}

/// A way to a relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct WayReport {
    /// As RFC 7065 writes it.
    pub uri: String,
    /// What it is carried by.
    pub transport: TurnTransport,
    /// What came of it.
    pub state: WayState,
    /// Why it failed, as the system or the server says.
    pub reason: Option<String>,
}

/// What came of a way to a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum WayState {
    /// It carries the allocation.
    Used,
    /// It was tried and failed.
    Failed,
    /// It was not needed, or not reached yet.
    Untried,
}

/// Ports that the router in front was asked for (UPnP, NAT-PMP, PCP).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct MappingReport {
    /// How far it is.
    pub state: MappingState,
    /// What the router speaks.
    pub protocol: Option<MappingProtocol>,
    /// The router.
    pub gateway: Option<String>,
    /// The public address and port that lead to the engine's UDP port.
    pub udp: Option<String>,
    /// The ones that lead to the control plane in this engine.
    pub tcp: Option<String>,
    /// Why there is none, or not all.
    pub reason: Option<String>,
}

impl MappingReport {
    /// Nothing is wanted.
    pub fn idle() -> Self {
        Self {
            state: MappingState::Idle,
            protocol: None,
            gateway: None,
            udp: None,
            tcp: None,
            reason: None,
        }
    }
}

/// How far the request for ports is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum MappingState {
    /// Switched off.
    Off,
    /// Nothing is wanted: no party.
    Idle,
    /// The router is being asked.
    Asking,
    /// The router granted it.
    Mapped,
    /// There is nobody to ask: no router, or none in front of a public address.
    Needless,
    /// The router does not speak any of the protocols, or refuses.
    Refused,
}

/// What a router speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum MappingProtocol {
    /// RFC 6887.
    Pcp,
    /// RFC 6886.
    NatPmp,
    /// UPnP's Internet Gateway Device.
    Upnp,
}

/// The party's home in this engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct HostingReport {
    /// Whether friends elsewhere reach it; absent until it is known.
    pub reachable: Option<bool>,
    /// Where they do.
    pub via: Vec<String>,
}

/// The network adapter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct AdapterReport {
    /// Whether this engine can make one; a finding says why not.
    pub possible: bool,
    /// Its name while there is one.
    pub name: Option<String>,
    /// Its address.
    pub address: Option<String>,
    /// Bytes in a packet on it.
    pub mtu: Option<u16>,
}

/// Something that is different while the party lasts. All of it goes with the party.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Change {
    /// A network adapter.
    Adapter {
        /// Its name.
        name: String,
        /// Its address.
        address: String,
    },
    /// A route by the adapter.
    Route {
        /// To this network.
        network: String,
        /// By this adapter.
        adapter: String,
    },
    /// A multicast group is joined on an interface in the stead of a program, which joined it on another: so the program
    /// hears both the party and the local network.
    Group {
        /// The group.
        group: String,
        /// On this interface, the adapter or another.
        adapter: String,
    },
    /// The system's firewall lets in what comes by the adapter.
    FirewallRule {
        /// The rule's name.
        name: String,
        /// By this adapter alone.
        adapter: String,
    },
    /// What programs broadcast by these addresses is sent to the party as well.
    Capture {
        /// Of this computer's other interfaces.
        addresses: Vec<String>,
    },
    /// A port of the router's leads here.
    PortMapping {
        /// `udp` or `tcp`.
        protocol: String,
        /// The router's address and port.
        external: String,
        /// The port on this computer.
        internal: u16,
    },
}

/// Another member.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct PeerReport {
    /// The player's name.
    pub name: String,
    /// The virtual address.
    pub address: String,
    /// How the connection is.
    pub state: PeerState,
    /// Which way packets go.
    pub path: Option<PathKind>,
    /// Round-trip time on it.
    pub rtt_ms: Option<f64>,
    /// Its NAT, as it says.
    pub nat: NatType,
    /// What the two NATs let expect.
    pub expected: Expected,
    /// The ways tried, best first.
    pub pairs: Vec<PairReport>,
}

/// What two NATs let expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// Datagrams go straight.
    Direct,
    /// They do through a hole that is made for the two, usually, within some seconds.
    Hole,
    /// They do with luck.
    Perhaps,
    /// They need a relay.
    Relayed,
}

/// A way to a member: an end here and an end there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct PairReport {
    /// What it leaves by.
    pub by: PairBy,
    /// Our address on the relay, where it leaves by one.
    pub relay: Option<String>,
    /// The peer's address and port.
    pub remote: Option<String>,
    /// How that address was learnt.
    pub kind: PairKind,
    /// What came of it.
    pub state: PairState,
    /// Why it is not the one in use.
    pub reason: Option<PairReason>,
    /// Probes sent.
    pub probes: u32,
    /// Probes answered.
    pub answers: u32,
    /// Round-trip time, smoothed, while it answers.
    pub rtt_ms: Option<f64>,
}

/// What a pair's datagrams leave by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum PairBy {
    /// The engine's own UDP port.
    Udp,
    /// A relay.
    Relay,
}

/// How a peer's address was learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum PairKind {
    /// An address of its computer.
    Host,
    /// A port that its router granted.
    Mapped,
    /// What STUN servers saw.
    Reflexive,
    /// Its datagrams came from there.
    PeerReflexive,
    /// What the control plane saw, with a guessed port.
    Guess,
    /// An address on its relay.
    Relayed,
}

/// What came of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum PairState {
    /// Packets go this way.
    Chosen,
    /// It answers, and another is better.
    Answered,
    /// It is being tried.
    Trying,
    /// It answered once, and does so no more.
    FellSilent,
    /// It never answered; it is tried again now and then.
    NeverAnswered,
    /// It is not tried, by rule.
    Refused,
}

/// Why a pair is not the one in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum PairReason {
    /// The way in use is shorter: local before direct before relayed.
    LongerWay,
    /// The way in use is as fast, or nearly so.
    NoFaster,
    /// It has to be better for a while first.
    NotYet,
    /// Nobody may send there: an address of one computer, of everybody, or of the party itself.
    Unroutable,
    /// Ports of well-known services are nobody's game.
    ServicePort,
    /// It is an address of this computer.
    Ourselves,
    /// This computer has no address of that family.
    NoFamily,
    /// A relay of another family can't send there.
    RelayFamily,
    /// A public relay does not send into somebody's home.
    RelayIntoHome,
    /// It is our own address on a relay.
    OwnRelay,
}

/// What can be seen of this computer without an engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Outside {
    /// Where the engine's socket would be.
    pub socket: String,
    /// Whether something is there: an engine that hangs, or was killed.
    pub socket_exists: bool,
    /// Whether an adapter could be made by who asks; a finding says why not, except that only root can.
    pub adapter_possible: bool,
    /// Whether the computer has an IPv4 address that leads out.
    pub ipv4: bool,
    /// Whether it has a public IPv6 address.
    pub ipv6: bool,
    /// What stands in the way.
    pub findings: Vec<Fault>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FaultCode;
    use crate::ipc::{ControlMode, ControlState, ControlStatus, EngineState};

    fn family() -> FamilyReport {
        FamilyReport {
            public_address: false,
            address: true,
            kind: NatType::Symmetric,
            reason: None,
            mapped: Some("192.0.2.9:51820".into()),
            translated: Some(true),
            mapping: Some(Mapping::AddressAndPortDependent),
            filtering: None,
            servers: Vec::new(),
            tests: Vec::new(),
            earlier: false,
        }
    }

    fn report() -> Report {
        Report {
            engine: EngineStatus {
                version: "0.1.0".into(),
                state: EngineState::Ready,
                player: "Anna".into(),
                control: ControlStatus {
                    mode: ControlMode::Local,
                    state: ControlState::Connected,
                },
            },
            control: ControlReport {
                at: Some("ws://192.0.2.3:51820".into()),
                answers: Some(true),
            },
            udp: UdpState::Open,
            ipv4: family(),
            ipv6: family(),
            relays: Vec::new(),
            mapping: MappingReport::idle(),
            hosting: Some(HostingReport {
                reachable: Some(true),
                via: vec!["192.0.2.4:51820".into()],
            }),
            adapter: AdapterReport {
                possible: true,
                name: None,
                address: None,
                mtu: None,
            },
            changes: Vec::new(),
            peers: vec![PeerReport {
                name: "Tom".into(),
                address: "10.66.0.2".into(),
                state: PeerState::Connected,
                path: Some(PathKind::Relayed),
                rtt_ms: Some(12.0),
                nat: NatType::Symmetric,
                expected: Expected::Relayed,
                pairs: vec![PairReport {
                    by: PairBy::Relay,
                    relay: Some("192.0.2.1:5000".into()),
                    remote: Some("192.0.2.2:5000".into()),
                    kind: PairKind::Reflexive,
                    state: PairState::Chosen,
                    reason: None,
                    probes: 1,
                    answers: 1,
                    rtt_ms: Some(12.0),
                }],
            }],
            findings: vec![FaultCode::NotInParty.into()],
        }
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let text = serde_json::to_string(&report()).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report());
        assert!(text.contains(r#""type":"symmetric""#) && text.contains(r#""state":"chosen""#));
    }

    #[test]
    fn strangers_see_that_there_are_ways_and_not_where_they_lead() {
        let text = serde_json::to_string(&report().for_strangers()).unwrap();
        for address in ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"] {
            assert!(!text.contains(address), "{address} in {text}");
        }
        assert!(text.contains("192.0.2.9") && text.contains(r#""state":"chosen""#));
    }
}
