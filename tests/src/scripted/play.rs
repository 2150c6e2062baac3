//! The verbs of the scripted engine: what a party looks like over time.

use std::sync::Arc;
use std::time::Duration;

use lanrage_proto::ipc::{
    ControlState, Created, Joined, MemberStatus, PartyState, PathKind, PeerState, Reply, Status,
};
use lanrage_proto::lobby::RulesChange;
use lanrage_proto::{Fault, FaultCode, Invite, PartyName, PlayerName, Why};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::Engine;
use super::scenes::{self, ID};

/// How long each step takes: long enough to be seen.
const STEP: Duration = Duration::from_millis(700);

/// How often pings change.
const PING: Duration = Duration::from_secs(1);

pub(super) async fn create(
    engine: &Arc<Engine>,
    party: &str,
    player: Option<String>,
) -> Result<Reply, Fault> {
    let party = PartyName::parse(party)
        .map_err(|error| Fault::new(FaultCode::PartyNameInvalid).with("reason", Why::from(error)))?;
    let player = named(engine, player)?;
    let mut status = scenes::creating();
    name(&mut status, party.as_str());
    let others = vec![
        scenes::peer(2, "Tom", PathKind::Lan, 0.6),
        scenes::peer(3, "Zoë", PathKind::Direct, 38.0),
        scenes::peer(4, "Ben", PathKind::Relayed, 61.0),
    ];
    enter(engine, status, scenes::me(1, player.as_str(), true), others).await?;
    Ok(Reply::Created(Created {
        party: party.as_str().to_owned(),
        id: ID.to_owned(),
        invite: format!("lanrage://join/{ID}"),
        address: "10.66.0.1".to_owned(),
    }))
}

pub(super) async fn join(engine: &Arc<Engine>, text: &str, player: Option<String>) -> Result<Reply, Fault> {
    Invite::find_in(text).map_err(|error| Fault::new(FaultCode::PartyIdInvalid).with("reason", error))?;
    let player = named(engine, player)?;
    let mut host = scenes::peer(1, "Anna", PathKind::Direct, 12.0);
    host.host = true;
    let others = vec![host, scenes::peer(3, "Zoë", PathKind::Relayed, 38.0)];
    enter(
        engine,
        scenes::joining(),
        scenes::me(2, player.as_str(), false),
        others,
    )
    .await?;
    Ok(Reply::Joined(Joined {
        party: "Friday night".to_owned(),
        id: ID.to_owned(),
        address: "10.66.0.2".to_owned(),
    }))
}

pub(super) async fn leave(engine: &Arc<Engine>) -> Result<Reply, Fault> {
    engine.stop_playing();
    if engine.status.borrow().party.is_none() {
        return Err(FaultCode::NotInParty.into());
    }
    engine
        .status
        .send_modify(|status| state(status, PartyState::Leaving));
    sleep(STEP).await;
    engine.status.send_replace(scenes::idle());
    Ok(Reply::Done)
}

/// Lets friends reach something else, or carries other announces.
pub(super) fn rules(engine: &Arc<Engine>, change: RulesChange) -> Result<Reply, Fault> {
    let changed = engine.status.send_if_modified(|status| {
        let party = status.party.as_mut();
        party.is_some_and(|party| {
            party.rules = change.applied_to(party.rules);
            true
        })
    });
    if changed {
        Ok(Reply::Done)
    } else {
        Err(FaultCode::NotInParty.into())
    }
}

/// Plays the way in and the party after it. Returns when the party is active; a leave in between cancels.
async fn enter(
    engine: &Arc<Engine>,
    status: Status,
    own: MemberStatus,
    others: Vec<MemberStatus>,
) -> Result<(), Fault> {
    if engine.status.borrow().party.is_some() {
        return Err(FaultCode::AlreadyInParty.into());
    }
    engine.status.send_replace(status);
    let (arrived, arrival) = oneshot::channel();
    let played = Arc::clone(engine);
    engine.play(async move {
        let change = |change: &dyn Fn(&mut Status)| played.status.send_modify(change);
        sleep(STEP).await;
        change(&|status| status.engine.control.state = ControlState::Connected);
        sleep(STEP).await;
        change(&|status| members(status, |rows| rows.push(own.clone())));
        sleep(STEP).await;
        change(&|status| {
            state(status, PartyState::Active);
            if status.party.as_ref().is_some_and(|party| party.name.is_empty()) {
                name(status, "Friday night");
            }
        });
        // Who asked may be gone already: the party goes on.
        let _ = arrived.send(());
        for other in others {
            sleep(STEP * 2).await;
            change(&|status| {
                let mut new = scenes::unreached(0, &other.name, PeerState::Connecting);
                new.address.clone_from(&other.address);
                new.host = other.host;
                members(status, |rows| put(rows, new));
            });
            sleep(STEP).await;
            change(&|status| members(status, |rows| put(rows, other.clone())));
        }
        for beat in 0_u32.. {
            sleep(PING).await;
            change(&|status| members(status, |rows| rows.iter_mut().for_each(|row| wander(row, beat))));
        }
    });
    arrival.await.map_err(|_| FaultCode::Cancelled.into())
}

fn named(engine: &Engine, player: Option<String>) -> Result<PlayerName, Fault> {
    let player = player.unwrap_or_else(|| engine.status.borrow().engine.player.clone());
    PlayerName::parse(&player).map_err(|error| Fault::new(FaultCode::NameInvalid).with("reason", error))
}

/// Changes the member list of the party, if there is one.
fn members(status: &mut Status, change: impl FnOnce(&mut Vec<MemberStatus>)) {
    if let Some(party) = &mut status.party {
        change(&mut party.members);
    }
}

fn state(status: &mut Status, state: PartyState) {
    if let Some(party) = &mut status.party {
        party.state = state;
    }
}

fn name(status: &mut Status, name: &str) {
    if let Some(party) = &mut status.party {
        name.clone_into(&mut party.name);
    }
}

/// Puts a row where its address belongs, in the place of an older one.
fn put(members: &mut Vec<MemberStatus>, member: MemberStatus) {
    members.retain(|old| old.address != member.address);
    members.push(member);
    members.sort_by(|a, b| a.address.cmp(&b.address));
}

/// A ping that moves a little, the same way in every run.
fn wander(member: &mut MemberStatus, beat: u32) {
    if let Some(rtt) = &mut member.rtt_ms {
        *rtt *= [1.04, 0.97, 1.01, 0.98][beat as usize % 4];
    }
}
