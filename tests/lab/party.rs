//! The main story: four friends make a party, play, and leave. Once in local mode, once through a server.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::{Control, Lab, Party, felt, scenario, transfer};

const FOUNDER: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 1);

#[test]
fn four_friends_play_and_leave_in_local_mode() -> Result<()> {
    scenario("local party", |lab| play_and_leave(lab, Control::Local))
}

#[test]
fn four_friends_play_and_leave_through_a_server() -> Result<()> {
    scenario("server party", |lab| play_and_leave(lab, Control::Server))
}

fn play_and_leave(lab: &Lab, control: Control) -> Result<()> {
    let party = Party::start(lab, 4, control)?;
    let mode = party.founder()?.status()?.control_mode().map(str::to_owned);
    let expected = if control == Control::Local {
        "local"
    } else {
        "remote"
    };
    ensure!(
        mode.as_deref() == Some(expected),
        "the founder's control plane is {mode:?}"
    );
    ensure!(
        party.founder()?.address()? == FOUNDER,
        "the founder has another address"
    );

    party.ping_all_pairs()?;
    everyone_sees_the_same_members(&party)?;
    joining_again_returns_the_current_state(&party)?;
    a_big_file_arrives_while_pings_stay_listed(&party)?;
    a_member_leaves(&party)?;
    the_host_leaves(&party)
}

fn everyone_sees_the_same_members(party: &Party) -> Result<()> {
    for engine in &party.engines {
        let members = engine.status()?.members()?;
        let rows: Vec<(&str, Ipv4Addr, bool)> = members
            .iter()
            .map(|member| (member.name.as_str(), member.address, member.host))
            .collect();
        let expected: Vec<(&str, Ipv4Addr, bool)> = ["Anna", "Tom", "Zoë", "Ben"]
            .into_iter()
            .zip(1..)
            .map(|(name, slot)| (name, Ipv4Addr::new(10, 66, 0, slot), slot == 1))
            .collect();
        ensure!(
            rows == expected,
            "engine {} lists {rows:?}",
            engine.host().index()
        );
        for member in members {
            let path = (!member.own).then_some("lan");
            ensure!(member.path.as_deref() == path, "one switch, but {member:?}");
        }
    }
    Ok(())
}

fn joining_again_returns_the_current_state(party: &Party) -> Result<()> {
    let again = party.engine(1)?.cli(&["join", &party.id])?;
    ensure!(again["address"] == "10.66.0.2", "joining again printed {again}");
    Ok(())
}

fn a_big_file_arrives_while_pings_stay_listed(party: &Party) -> Result<()> {
    let (from, to) = (party.engine(1)?, party.founder()?);
    let mut looks = 0;
    let took = transfer(from.host(), (to.host(), FOUNDER), 200_000_000, || {
        looks += 1;
        for engine in [from, to] {
            let status = engine.status()?;
            ensure!(status.all_up(3)?, "during the transfer: {}", status.summary());
        }
        Ok(())
    })?;
    println!("200 MB: {:.1} s, {looks} looks at both ends", took.as_secs_f64());
    ensure!(looks > 2, "the transfer was looked at {looks} times only");
    Ok(())
}

fn a_member_leaves(party: &Party) -> Result<()> {
    let leaver = party.engine(3)?;
    let address = leaver.address()?;
    let watch = party.engine(1)?.watch()?;
    watch.wait_for("the member before it leaves", felt::TOLD, |status| {
        Ok(status.peer(address)?.is_some())
    })?;
    let before = leaver.remains()?;
    for what in ["adapter", "route 10.66.0.0/16", "UDP port"] {
        ensure!(
            before.iter().any(|thing| thing.starts_with(what)),
            "in a party without {what}: {before:?}"
        );
    }
    leaver.cli(&["leave"])?;

    // The verb comes back when everything is taken down: no waiting here.
    let remains = leaver.remains()?;
    ensure!(remains.is_empty(), "after leave there is still {remains:?}");
    ensure!(
        leaver.status()?.is_idle(),
        "after leave: {}",
        leaver.status()?.summary()
    );

    let gone = |status: &lanrage_tests::lab::Status| {
        let row = status.peer(address)?;
        Ok(status.party_state() == Some("active") && row.is_none_or(|row| row.state == "disconnected"))
    };
    watch.wait_for("the member is gone", felt::TOLD, gone)?;
    for engine in &party.engines[..3] {
        engine.wait_until("the member is gone", felt::TOLD, gone)?;
    }
    party
        .engine(1)?
        .wait_until("the others stay", felt::TOLD, |status| {
            let others = [FOUNDER, Ipv4Addr::new(10, 66, 0, 3)];
            for address in others {
                if !status.peer(address)?.is_some_and(|row| row.is_up()) {
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
    let refused = leaver
        .cli(&["leave"])
        .err()
        .context("leaving twice was not refused")?;
    let refusal = refused
        .downcast_ref::<lanrage_tests::lab::Refusal>()
        .context("no refusal")?;
    ensure!(
        refusal.exit == Some(4) && refusal.fault.as_deref() == Some("not_in_party"),
        "leaving twice: {refusal}"
    );
    Ok(())
}

fn the_host_leaves(party: &Party) -> Result<()> {
    party.founder()?.cli(&["leave"])?;
    let remains = party.founder()?.remains()?;
    ensure!(
        remains.is_empty(),
        "after the host's leave there is still {remains:?}"
    );
    for engine in &party.engines[1..3] {
        engine.wait_until("the party is dissolved, and why", felt::TOLD, |status| {
            Ok(status.is_idle() && status.has_condition("party_dissolved"))
        })?;
        engine.wait_until("everything is taken down", felt::LEAVE, |_| {
            Ok(engine.remains()?.is_empty())
        })?;
    }
    // The ID is worth nothing any more: not found in local mode, known to have ended on a server.
    let refused = party
        .engine(3)?
        .cli(&["join", &party.id])
        .err()
        .context("a dissolved party was joined")?;
    let refusal = refused
        .downcast_ref::<lanrage_tests::lab::Refusal>()
        .context("no refusal")?;
    let known = ["party_ended", "party_unknown", "control_unreachable"];
    ensure!(
        refusal
            .fault
            .as_deref()
            .is_some_and(|fault| known.contains(&fault)),
        "joining it: {refusal}"
    );
    Ok(())
}
