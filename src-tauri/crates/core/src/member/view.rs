//! What a window shows of a member.

use super::Member;
use crate::connection::Peer;
use crate::io::Home;
use crate::latency::milliseconds;
use crate::nat::NatReport;
use crate::party::{Active, Ident, Party, Phase, Reach};
use lanrage_proto::ipc::{
    ControlMode, ControlState, ControlStatus, MemberStatus, NatStatus, PartyState, PartyStatus, PathKind,
    PeerState,
};
use lanrage_proto::lobby::LobbyStatus;
use lanrage_proto::{Fault, Slot};
use std::collections::BTreeMap;
use std::time::Instant;

/// What a member shows; the engine adds what it alone knows.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberView {
    /// The control plane.
    pub control: ControlStatus,
    /// The NAT.
    pub nat: NatStatus,
    /// All that is known of it, with why.
    pub nat_report: NatReport,
    /// The party.
    pub party: Option<PartyStatus>,
    /// Lasting troubles.
    pub conditions: Vec<Fault>,
}

impl Member {
    /// The status as it is now.
    pub fn status(&self, now: Instant) -> MemberView {
        MemberView {
            control: self.control_status(),
            nat: self.nat_status(),
            nat_report: self.desk.nat.report().clone(),
            party: self.party_status(now),
            conditions: self.conditions.list(),
        }
    }

    fn nat_status(&self) -> NatStatus {
        let leading = self.desk.nat.report().leading();
        NatStatus {
            kind: leading.kind,
            mapped: leading.mapped.map(|mapped| mapped.to_string()),
        }
    }

    pub(super) fn control_status(&self) -> ControlStatus {
        let of_home = |home: &Home| match home {
            Home::Here | Home::Founder(_) => ControlMode::Local,
            Home::Server(_) => ControlMode::Remote,
        };
        let configured = if self.config.server.is_some() {
            ControlMode::Remote
        } else {
            ControlMode::Local
        };
        let (mode, state) = match &self.party {
            Party::Idle => (configured, ControlState::Idle),
            Party::Creating(creating) => (of_home(&creating.home), ControlState::Connecting),
            Party::Joining(_) => (configured, ControlState::Connecting),
            Party::Active(active) => (
                of_home(&active.home),
                match active.reach {
                    Reach::Home(_) => ControlState::Connected,
                    Reach::Starting => ControlState::Connecting,
                    Reach::Seeking(_) | Reach::Superseded => ControlState::Away,
                },
            ),
            Party::Leaving(_) => (configured, ControlState::Connected),
        };
        ControlStatus { mode, state }
    }

    fn party_status(&self, now: Instant) -> Option<PartyStatus> {
        let entering = |ident: &Ident, name: String, state| {
            let id = ident.keys.id.to_string();
            PartyStatus {
                name,
                id: Some(id),
                invite: None,
                state,
                version: 0,
                members: Vec::new(),
                rules: self.config.rules,
                lobby: LobbyStatus::default(),
            }
        };
        match &self.party {
            Party::Idle => None,
            Party::Creating(creating) => Some(entering(
                &creating.ident,
                creating.opened.name.to_string(),
                PartyState::Creating,
            )),
            Party::Joining(joining) => Some(entering(&joining.ident, String::new(), PartyState::Joining)),
            Party::Active(active) => Some(self.active_status(now, active)),
            Party::Leaving(leaving) => match &leaving.phase {
                Phase::Saying { active, .. } => Some(PartyStatus {
                    state: PartyState::Leaving,
                    ..self.active_status(now, active)
                }),
                Phase::Closing { .. } => Some(PartyStatus {
                    name: String::new(),
                    id: None,
                    invite: None,
                    state: PartyState::Leaving,
                    version: 0,
                    members: Vec::new(),
                    rules: self.config.rules,
                    lobby: LobbyStatus::default(),
                }),
            },
        }
    }

    fn active_status(&self, now: Instant, active: &Active) -> PartyStatus {
        let state = match active.name() {
            "creating" => PartyState::Creating,
            "joining" => PartyState::Joining,
            "rejoining" => PartyState::Rejoining,
            _ => PartyState::Active,
        };
        let host = active.founding.author;
        let relayed = !self.desk.relays.up().is_empty();
        let mut members: BTreeMap<Slot, MemberStatus> = active
            .roster
            .rows()
            .map(|(member, row)| {
                let peer = row.peer.as_deref();
                let slot = peer.map_or(row.slot, Peer::slot);
                let path = peer.and_then(Peer::path_kind);
                let relay = (path == Some(PathKind::Relayed)).then(|| peer.and_then(Peer::chosen));
                let status = MemberStatus {
                    name: peer.map(|peer| peer.record.name.to_string()).unwrap_or_default(),
                    address: active.opened.range.address(slot).to_string(),
                    is_self: false,
                    host: *member == host,
                    state: peer.map_or(PeerState::Connecting, Peer::shown),
                    path,
                    relay: relay.flatten().map(|path| self.desk.relays.name(path)),
                    rtt_ms: peer.and_then(|peer| peer.latency().rtt()).map(milliseconds),
                    jitter_ms: peer.and_then(|peer| peer.latency().jitter()).map(milliseconds),
                    loss: peer.and_then(|peer| peer.latency().loss(now)).map(f64::from),
                    trouble: peer.and_then(|peer| peer.trouble(relayed)),
                    nat: peer.map(|peer| peer.record.nat).unwrap_or_default(),
                };
                (slot, status)
            })
            .collect();
        let own = MemberStatus {
            name: active.ident.player.to_string(),
            address: active.address().to_string(),
            is_self: true,
            host: active.is_host(),
            state: PeerState::Connected,
            path: None,
            relay: None,
            rtt_ms: None,
            jitter_ms: None,
            loss: None,
            trouble: None,
            nat: self.desk.nat.report().leading().kind,
        };
        members.insert(active.slot, own);
        PartyStatus {
            name: active.opened.name.to_string(),
            id: Some(active.ident.keys.id.to_string()),
            invite: Some(self.invite(active).to_string()),
            state,
            version: active.version.counter,
            members: members.into_values().collect(),
            rules: active.rules,
            lobby: self.lobby_status(active),
        }
    }
}
