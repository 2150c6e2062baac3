//! What the verbs print.

use super::{Failure, lobby, text};
use lanrage_proto::Fault;
use lanrage_proto::doctor::Outside;
use lanrage_proto::ipc::{
    ControlMode, ControlState, EngineState, MemberStatus, NatStatus, NatType, PartyState, PartyStatus,
    PathKind, PeerState, PeerTrouble, Status,
};
use serde::Serialize;
use std::fmt::Write as _;
use std::io::Write;

/// Prints a value as one line of JSON.
pub(super) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let line = serde_json::to_string(value).map_err(Failure::internal)?;
    self::line(&line)
}

/// Prints a line.
pub(super) fn line(line: &str) -> Result<(), Failure> {
    text(&format!("{line}\n"))
}

/// Prints text that ends its own lines.
pub(super) fn text(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::internal(format!("nothing can be printed: {error}")))
}

/// Prints a sentence on standard error.
pub(super) fn error(sentence: &str) {
    // Where even that fails the exit status has to tell.
    let _ = writeln!(std::io::stderr(), "{sentence}");
}

#[derive(Serialize)]
struct Refusal<'a> {
    fault: &'a str,
    message: String,
    action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    outside: Option<&'a Outside>,
}

/// Prints a refusal for programs.
pub(super) fn refusal_json(fault: &Fault, outside: Option<&Outside>) {
    let advice = text::advice(fault);
    let refusal = Refusal {
        fault: fault.code.as_str(),
        message: advice.message,
        action: advice.action,
        outside,
    };
    if json(&refusal).is_err() {
        error(&text::sentences(fault));
    }
}

/// The status as a person reads it: a line on each thing, and the members as a table.
pub(super) fn status(status: &Status) -> String {
    let mut out = String::new();
    match &status.party {
        Some(party) => {
            party_lines(&mut out, party, status);
            members_table(&mut out, &party.members);
            lobby::lines(&mut out, party);
        }
        None => {
            let _ = writeln!(out, "In no party. {}", engine_sentence(status));
        }
    }
    for game in &status.games {
        let notes = game.notes.iter().map(|notes| format!(". {}", text::notes(notes)));
        let notes = notes.collect::<String>();
        let _ = match &game.address {
            Some(address) => writeln!(out, "{} can be joined at {address}{notes}", game.name),
            None => writeln!(out, "{} runs{notes}", game.name),
        };
    }
    for fault in &status.conditions {
        let _ = writeln!(out, "! {}", text::sentences(fault));
    }
    out
}

fn party_lines(out: &mut String, party: &PartyStatus, status: &Status) {
    let name = if party.name.is_empty() {
        "The party"
    } else {
        &party.name
    };
    let state = match party.state {
        PartyState::Creating => "being created",
        PartyState::Joining => "joining",
        PartyState::Active => "active",
        PartyState::Rejoining => "getting back in",
        PartyState::Leaving => "leaving",
    };
    let _ = writeln!(out, "{name}: {state}, {}", control_words(status));
    if let Some(nat) = nat_words(&status.nat) {
        let _ = writeln!(out, "{nat}");
    }
    match (&party.id, &party.invite) {
        (Some(id), Some(invite)) if invite != id => {
            let _ = writeln!(out, "ID {id}\nInvite {invite}");
        }
        (Some(id), _) => {
            let _ = writeln!(out, "ID {id}");
        }
        (None, _) => {}
    }
}

fn engine_sentence(status: &Status) -> &'static str {
    match status.engine.state {
        EngineState::Ready => "The engine is ready.",
        EngineState::Degraded => "The engine works, but something is not as it should be.",
        EngineState::NoAdapter => "The engine can't make a network adapter.",
    }
}

fn control_words(status: &Status) -> String {
    let whose = match status.engine.control.mode {
        ControlMode::Local => "without a server",
        ControlMode::Remote => "on a server",
    };
    match status.engine.control.state {
        ControlState::Idle | ControlState::Connected => whose.to_owned(),
        ControlState::Connecting => format!("{whose}, connecting"),
        ControlState::Away => format!("{whose}, which is away"),
    }
}

fn nat_words(nat: &NatStatus) -> Option<String> {
    let kind = nat_word(nat.kind)?;
    Some(match &nat.mapped {
        Some(mapped) => format!("NAT {kind}, seen as {mapped}"),
        None => format!("NAT {kind}"),
    })
}

pub(super) fn nat_word(nat: NatType) -> Option<&'static str> {
    Some(match nat {
        NatType::Open => "open",
        NatType::FullCone => "full cone",
        NatType::RestrictedCone => "restricted cone",
        NatType::PortRestrictedCone => "port-restricted cone",
        NatType::Symmetric => "symmetric",
        NatType::Unknown => return None,
    })
}

fn members_table(out: &mut String, members: &[MemberStatus]) {
    let mut rows = vec![["PLAYER", "ADDRESS", "STATE", "PATH", "PING", "LOSS"].map(str::to_owned)];
    rows.extend(members.iter().map(member_row));
    let widths: [usize; 6] = std::array::from_fn(|column| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    });
    out.push('\n');
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

fn member_row(member: &MemberStatus) -> [String; 6] {
    let mut name = if member.name.is_empty() {
        "new player".to_owned()
    } else {
        member.name.clone()
    };
    match (member.is_self, member.host) {
        (true, true) => name.push_str(" (you, host)"),
        (true, false) => name.push_str(" (you)"),
        (false, true) => name.push_str(" (host)"),
        (false, false) => {}
    }
    let state = match member.state {
        PeerState::Connecting => "connecting",
        PeerState::Connected => "connected",
        PeerState::Degraded => "weak",
        PeerState::Failed => "can't connect",
        PeerState::Lost => "lost",
        PeerState::Disconnected => "left",
    };
    let state = match member.trouble.map(trouble_word) {
        Some(trouble) => format!("{state}: {trouble}"),
        None => state.to_owned(),
    };
    let path = match (member.path, &member.relay) {
        (Some(PathKind::Lan), _) => "LAN".to_owned(),
        (Some(PathKind::Direct), _) => "direct".to_owned(),
        (Some(PathKind::Relayed), Some(relay)) => format!("relayed via {relay}"),
        (Some(PathKind::Relayed), None) => "relayed".to_owned(),
        (None, _) => "–".to_owned(),
    };
    let measured = |value: Option<f64>, show: fn(f64) -> String| value.map_or("–".to_owned(), show);
    [
        name,
        member.address.clone(),
        state,
        path,
        measured(member.rtt_ms, |ms| {
            if ms < 10.0 {
                format!("{ms:.1} ms")
            } else {
                format!("{ms:.0} ms")
            }
        }),
        measured(member.loss, |share| format!("{:.0} %", share * 100.0)),
    ]
}

fn trouble_word(trouble: PeerTrouble) -> &'static str {
    match trouble {
        PeerTrouble::Loss => "packets lost",
        PeerTrouble::Jitter => "uneven",
        PeerTrouble::Delay => "slow",
        PeerTrouble::Silent => "no answer",
        PeerTrouble::Unreachable => "nothing gets through",
        PeerTrouble::NoRelay => "needs a relay",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lanrage_proto::FaultCode;
    use lanrage_proto::ipc::{ControlStatus, EngineStatus};

    fn member(name: &str, address: &str, is_self: bool) -> MemberStatus {
        MemberStatus {
            name: name.into(),
            address: address.into(),
            is_self,
            host: is_self,
            state: PeerState::Connected,
            path: (!is_self).then_some(PathKind::Lan),
            relay: None,
            rtt_ms: (!is_self).then_some(0.42),
            jitter_ms: None,
            loss: (!is_self).then_some(0.031),
            trouble: None,
            nat: NatType::Unknown,
        }
    }

    fn sample(party: Option<PartyStatus>) -> Status {
        Status {
            engine: EngineStatus {
                version: "0.1.0".into(),
                state: EngineState::Ready,
                player: "Anna".into(),
                control: ControlStatus {
                    mode: ControlMode::Local,
                    state: ControlState::Idle,
                },
            },
            nat: NatStatus {
                kind: NatType::Unknown,
                mapped: None,
            },
            party,
            games: Vec::new(),
            conditions: Vec::new(),
        }
    }

    #[test]
    fn a_party_is_an_aligned_table() {
        let party = PartyStatus {
            name: "Friday night".into(),
            id: Some("K7QF".into()),
            invite: Some("K7QF".into()),
            state: PartyState::Active,
            version: 3,
            members: vec![
                member("Anna", "10.66.0.1", true),
                member("Zoë", "10.66.0.12", false),
            ],
            rules: Default::default(),
            lobby: Default::default(),
        };
        let mut shown = sample(Some(party));
        shown
            .conditions
            .push(Fault::new(FaultCode::LocalFallback).with("server", "party.example.org"));
        let text = status(&shown);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "Friday night: active, without a server");
        assert_eq!(lines[1], "ID K7QF");
        assert_eq!(
            lines[3],
            "PLAYER            ADDRESS     STATE      PATH  PING    LOSS"
        );
        assert_eq!(
            lines[4],
            "Anna (you, host)  10.66.0.1   connected  –     –       –"
        );
        assert_eq!(
            lines[5],
            "Zoë               10.66.0.12  connected  LAN   0.4 ms  3 %"
        );
        assert!(lines[6].starts_with("! The server party.example.org"));
    }

    #[test]
    fn what_is_wrong_with_a_connection_is_said() {
        let weak = MemberStatus {
            state: PeerState::Degraded,
            trouble: Some(PeerTrouble::Loss),
            ..member("Zoë", "10.66.0.2", false)
        };
        assert_eq!(member_row(&weak)[2], "weak: packets lost");
        let lost = MemberStatus {
            state: PeerState::Lost,
            trouble: Some(PeerTrouble::NoRelay),
            ..weak
        };
        assert_eq!(member_row(&lost)[2], "lost: needs a relay");
    }

    #[test]
    fn a_relay_is_named() {
        let relayed = MemberStatus {
            path: Some(PathKind::Relayed),
            relay: Some("turn.example.org".into()),
            ..member("Zoë", "10.66.0.2", false)
        };
        assert_eq!(member_row(&relayed)[3], "relayed via turn.example.org");
    }

    #[test]
    fn no_party_is_said_in_one_line() {
        assert_eq!(status(&sample(None)), "In no party. The engine is ready.\n");
    }
}
