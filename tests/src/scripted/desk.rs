//! What the scripted engine says of itself: its settings, its log, and what `doctor` finds.

use std::sync::PoisonError;

use lanrage_proto::doctor::{
    AdapterReport, Change, ControlReport, Expected, FamilyReport, Filtering, HostingReport, Mapping,
    MappingProtocol, MappingReport, MappingState, PairBy, PairKind, PairReport, PairState, PeerReport,
    Report, UdpState,
};
use lanrage_proto::ipc::{MemberStatus, NatType, PathKind, PeerState, Reply, Status};
use lanrage_proto::settings::{
    ControlTest, EngineSettings, LogPage, RelayView, SettingChange, SettingKey, SettingsReport, StunChoice,
};
use lanrage_proto::{Fault, FaultCode, PlayerName, ServerUrl};

use super::Engine;

/// The port that is in use by another program, whatever runs on this computer.
const TAKEN: u16 = 4242;
/// A line of the log a moment, from the start.
const LINES: u64 = 120;

/// How it is set before anybody changes anything.
pub(super) fn settings() -> SettingsReport {
    SettingsReport {
        settings: EngineSettings {
            player: None,
            control: "local".to_owned(),
            stun: StunChoice::Public,
            relays: RelayView::default(),
            port: None,
            port_mapping: true,
            punching: true,
        },
        pending: Vec::new(),
        fixed: Vec::new(),
    }
}

impl Engine {
    pub(super) fn settings(&self) -> Reply {
        let settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        Reply::Settings(Box::new(settings.clone()))
    }

    /// Changes what a window may change, as the real one does.
    pub(super) fn change(&self, change: SettingChange) -> Result<Reply, Fault> {
        let invalid = |reason: String| Fault::new(FaultCode::RequestInvalid).with("reason", reason);
        let key = change.key();
        let in_party = self.status.borrow().party.is_some();
        {
            let mut report = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
            if report.fixed.contains(&key) {
                return Err(invalid("the engine's command line says otherwise".to_owned()));
            }
            let set = &mut report.settings;
            match change {
                SettingChange::Player(player) => {
                    if let Some(player) = &player {
                        PlayerName::parse(player)
                            .map_err(|error| Fault::new(FaultCode::NameInvalid).with("reason", error))?;
                    }
                    set.player = player;
                }
                SettingChange::Control(control) => {
                    if control != "local" {
                        url(&control)?;
                    }
                    set.control = control;
                }
                SettingChange::Stun(stun) => set.stun = stun,
                SettingChange::Relays(relays) => {
                    let known = set.relays.has_password;
                    set.relays = RelayView {
                        servers: relays.servers,
                        user: relays.user,
                        has_password: relays.password.map_or(known, |password| !password.0.is_empty()),
                    };
                }
                SettingChange::Port(Some(TAKEN)) => {
                    return Err(Fault::new(FaultCode::PortTaken).with("port", TAKEN));
                }
                SettingChange::Port(port) => set.port = port,
                SettingChange::PortMapping(on) => set.port_mapping = on,
                SettingChange::Punching(on) => set.punching = on,
            }
            let waits = !matches!(key, SettingKey::Player | SettingKey::Stun);
            if in_party && waits && !report.pending.contains(&key) {
                report.pending.push(key);
            }
        }
        Ok(self.settings())
    }

    /// As `doctor` of an engine in this state would say.
    pub(super) fn doctor(&self) -> Reply {
        Reply::Doctor(Box::new(report(&self.status.borrow())))
    }
}

/// A control plane of that address answers, unless its name says that it does not.
pub(super) fn test_control(address: &str) -> Result<Reply, Fault> {
    let url = url(address)?;
    if url.host().starts_with("away") {
        return Err(FaultCode::ControlUnreachable.into());
    }
    Ok(Reply::ControlTest(ControlTest {
        encrypted: url.is_tls(),
        address: url.to_string(),
        rtt_ms: 23.4,
    }))
}

fn url(address: &str) -> Result<ServerUrl, Fault> {
    ServerUrl::parse(address).map_err(|error| Fault::new(FaultCode::ControlAddress).with("reason", error))
}

/// A log that never changes.
pub(super) fn log(from: u64) -> Reply {
    let from = from.min(LINES);
    let line = |number: u64| {
        format!(
            "2026-11-27T20:{:02}:{:02}.000000Z  INFO lanrage_engine: line {number} of a scripted log",
            number / 60,
            number % 60
        )
    };
    Reply::Log(LogPage {
        lines: (from..LINES).map(line).collect(),
        next: LINES,
        more: false,
    })
}

/// A report that fits the status.
fn report(status: &Status) -> Report {
    let party = status.party.as_ref();
    let members = party.map_or(&[][..], |party| &party.members);
    let own = members.iter().find(|member| member.is_self);
    let adapter = own.map(|own| ("lanrage0".to_owned(), own.address.clone()));
    let mut changes = Vec::new();
    if let Some((name, address)) = &adapter {
        changes.push(Change::Adapter {
            name: name.clone(),
            address: address.clone(),
        });
        changes.push(Change::Route {
            network: "10.66.0.0/16".to_owned(),
            adapter: name.clone(),
        });
        changes.push(Change::Route {
            network: "255.255.255.255/32".to_owned(),
            adapter: name.clone(),
        });
        changes.push(Change::Group {
            group: "239.255.255.250".to_owned(),
            adapter: name.clone(),
        });
        changes.push(Change::FirewallRule {
            name: "LANrage".to_owned(),
            adapter: name.clone(),
        });
        changes.push(Change::Capture {
            addresses: vec!["192.168.1.5".to_owned(), "172.17.0.1".to_owned()],
        });
        changes.push(Change::PortMapping {
            protocol: "udp".to_owned(),
            external: "203.0.113.7:51820".to_owned(),
            internal: 51820,
        });
    }
    Report {
        engine: status.engine.clone(),
        control: ControlReport {
            at: None,
            answers: None,
        },
        udp: UdpState::Open,
        ipv4: ipv4(),
        ipv6: FamilyReport {
            public_address: false,
            address: false,
            kind: NatType::Unknown,
            reason: Some(lanrage_proto::doctor::Unproven::Untried),
            mapped: None,
            translated: None,
            mapping: None,
            filtering: None,
            servers: Vec::new(),
            tests: Vec::new(),
            earlier: false,
        },
        relays: Vec::new(),
        mapping: match party {
            None => MappingReport::idle(),
            Some(_) => MappingReport {
                state: MappingState::Mapped,
                protocol: Some(MappingProtocol::Upnp),
                gateway: Some("192.168.1.1".to_owned()),
                udp: Some("203.0.113.7:51820".to_owned()),
                tcp: None,
                reason: None,
            },
        },
        hosting: own.filter(|own| own.host).map(|_| HostingReport {
            reachable: Some(true),
            via: vec!["192.168.1.5:51820".to_owned()],
        }),
        adapter: AdapterReport {
            possible: true,
            mtu: adapter.as_ref().map(|_| 1280),
            address: adapter.as_ref().map(|(_, address)| address.clone()),
            name: adapter.map(|(name, _)| name),
        },
        changes,
        peers: members
            .iter()
            .filter(|member| !member.is_self)
            .map(peer)
            .collect(),
        findings: status.conditions.clone(),
    }
}

fn ipv4() -> FamilyReport {
    FamilyReport {
        public_address: false,
        address: true,
        kind: NatType::PortRestrictedCone,
        reason: None,
        mapped: Some("203.0.113.7:51820".to_owned()),
        translated: Some(true),
        mapping: Some(Mapping::EndpointIndependent),
        filtering: Some(Filtering::AddressAndPortDependent),
        servers: Vec::new(),
        tests: Vec::new(),
        earlier: false,
    }
}

fn peer(member: &MemberStatus) -> PeerReport {
    let up = matches!(member.state, PeerState::Connected | PeerState::Degraded);
    PeerReport {
        name: member.name.clone(),
        address: member.address.clone(),
        state: member.state,
        path: member.path,
        rtt_ms: member.rtt_ms,
        nat: member.nat,
        expected: match member.path {
            Some(PathKind::Relayed) => Expected::Relayed,
            _ => Expected::Direct,
        },
        pairs: vec![PairReport {
            by: PairBy::Udp,
            relay: None,
            remote: Some("198.51.100.9:51820".to_owned()),
            kind: PairKind::Reflexive,
            state: if up {
                PairState::Chosen
            } else {
                PairState::NeverAnswered
            },
            reason: None,
            probes: 12,
            answers: if up { 12 } else { 0 },
            rtt_ms: member.rtt_ms,
        }],
    }
}
