//! The status: what the member tells, and what the engine knows besides.

use super::{Engine, TELL, WAVERS_LOSS, WAVERS_MS};
use crate::ipc_server::Published;
use lanrage_core::member::Member;
use lanrage_proto::games::Game;
use lanrage_proto::ipc::{EngineState, EngineStatus, MemberStatus, Status};
use lanrage_proto::{Fault, FaultCode, PlayerName};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The status now.
pub(super) fn compose(
    member: &Member,
    now: Instant,
    player: &PlayerName,
    owner: Option<u32>,
    (own, games): (&BTreeMap<FaultCode, Fault>, &[Game]),
) -> Published {
    let view = member.status(now);
    let mut conditions = view.conditions;
    for fault in own.values() {
        if !conditions.iter().any(|known| known.code == fault.code) {
            conditions.push(fault.clone());
        }
    }
    let status = Status {
        engine: EngineStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state: state(&conditions),
            player: player.to_string(),
            control: view.control,
        },
        nat: view.nat,
        party: view.party,
        games: games.to_vec(),
        conditions,
    };
    Published { status, owner }
}

fn state(conditions: &[Fault]) -> EngineState {
    let mut state = EngineState::Ready;
    for fault in conditions {
        match fault.code {
            FaultCode::NoRights | FaultCode::NoTunDevice | FaultCode::SystemUnsupported => {
                return EngineState::NoAdapter;
            }
            // What was refused did no harm: it is to be known, but nothing works less well.
            FaultCode::RecordRefused
            | FaultCode::RecordReplayed
            | FaultCode::KeyChanged
            | FaultCode::LeaseClash
            | FaultCode::SignalRefused
            | FaultCode::DissolveRefused
            | FaultCode::LeaveRefused
            | FaultCode::FoundingRefused
            | FaultCode::PartyDissolved
            | FaultCode::LocalFallback
            // The party works; somebody else may not get in.
            | FaultCode::HostUnreachable => {}
            _ => state = EngineState::Degraded,
        }
    }
    state
}

impl Engine {
    pub(super) fn compose(&self) -> Published {
        compose(
            &self.member,
            Instant::now(),
            &self.player,
            self.owner,
            (&self.conditions, &self.games),
        )
    }

    /// Who watches should be told: at once, but no more often than every [`TELL`].
    pub(super) fn tell_soon(&mut self) {
        self.tell_within(TELL);
    }

    /// As [`Engine::tell_soon`], but no more often than this.
    pub(super) fn tell_within(&mut self, time: Duration) {
        let at = (self.looked_at + time).max(Instant::now());
        self.tell_at = Some(self.tell_at.map_or(at, |before| before.min(at)));
    }

    /// Tells who watches, when it is time.
    pub(super) fn tell(&mut self) {
        let now = Instant::now();
        if self.tell_at.is_none_or(|at| now < at) {
            return;
        }
        (self.tell_at, self.looked_at) = (None, now);
        let shown = self.published.borrow().clone();
        let composed = steadied(&shown, self.compose());
        if *shown != composed {
            self.published.send_replace(Arc::new(composed));
        }
    }
}

/// With the measures told before in the place of those that waver around them: nothing in a party that is well is news
/// then, and nobody is woken for it.
fn steadied(shown: &Published, mut composed: Published) -> Published {
    let known = shown.status.party.iter().flat_map(|party| &party.members);
    let known: BTreeMap<&str, &MemberStatus> =
        known.map(|member| (member.address.as_str(), member)).collect();
    let party = composed.status.party.iter_mut();
    for member in party.flat_map(|party| &mut party.members) {
        if let Some(known) = known.get(member.address.as_str()) {
            steady(known.rtt_ms, &mut member.rtt_ms, WAVERS_MS);
            steady(known.jitter_ms, &mut member.jitter_ms, WAVERS_MS);
            steady(known.loss, &mut member.loss, WAVERS_LOSS);
        }
    }
    composed
}

fn steady(told: Option<f64>, now: &mut Option<f64>, wavers: f64) {
    if let (Some(told), Some(now)) = (told, now.as_mut())
        && (*now - told).abs() < wavers
    {
        *now = told;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_as_well_as_its_conditions_let_it_be() {
        let of = |codes: &[FaultCode]| state(&codes.iter().map(|code| (*code).into()).collect::<Vec<_>>());
        assert_eq!(of(&[]), EngineState::Ready);
        assert_eq!(
            of(&[
                FaultCode::LocalFallback,
                FaultCode::HostUnreachable,
                FaultCode::RecordReplayed
            ]),
            EngineState::Ready
        );
        assert_eq!(of(&[FaultCode::ControlAway]), EngineState::Degraded);
        assert_eq!(
            of(&[FaultCode::ControlAway, FaultCode::NoTunDevice]),
            EngineState::NoAdapter
        );
    }

    fn in_party(rtt: f64, loss: f64) -> Published {
        let member = serde_json::json!({
            "name": "Tom", "address": "10.66.0.2", "self": false, "host": false, "state": "connected",
            "path": "direct", "rtt_ms": rtt, "jitter_ms": 0.4, "loss": loss, "trouble": null, "nat": "unknown",
        });
        let status = serde_json::json!({
            "engine": {
                "version": "", "state": "ready", "player": "Anna", "control": { "mode": "local", "state": "connected" },
            },
            "nat": { "type": "unknown", "mapped": null },
            "party": {
                "name": "", "id": null, "invite": null, "state": "active", "version": 1, "members": [member],
            },
            "games": [], "conditions": [],
        });
        let status = serde_json::from_value(status).unwrap();
        Published { status, owner: None }
    }

    #[test]
    fn a_measure_that_wavers_is_no_news_and_one_that_drifts_is() {
        let told = in_party(38.2, 0.0);
        assert_eq!(steadied(&told, in_party(39.1, 0.004)), told);
        let drifted = in_party(39.3, 0.0);
        assert_eq!(steadied(&told, drifted.clone()), drifted);
        let lossy = in_party(38.2, 0.02);
        assert_eq!(steadied(&told, lossy.clone()), lossy);
    }
}
