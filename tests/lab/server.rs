//! The server dies and returns: the party does not notice the first and is whole after the second.

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::{Control, Flow, Lab, Party, felt, scenario};

#[test]
fn tunnels_outlive_a_killed_server_and_everyone_keeps_the_lease() -> Result<()> {
    scenario("killed server", |lab| outlive(lab, true))
}

#[test]
fn tunnels_outlive_a_stopped_server_and_everyone_keeps_the_lease() -> Result<()> {
    scenario("stopped server", |lab| outlive(lab, false))
}

fn outlive(lab: &Lab, by_force: bool) -> Result<()> {
    let mut party = Party::start(lab, 3, Control::Server)?;
    let leases = leases(&party)?;
    let flow = Flow::start(party.engine(1)?.host(), party.engine(2)?.address()?)?;

    let server = party.server.as_mut().context("no server")?;
    if by_force {
        server.kill9()?
    } else {
        server.terminate()?
    }
    for engine in &party.engines {
        engine.wait_until("the control plane is away", felt::LOST, |status| {
            ensure!(!status.is_idle(), "the party is over: {}", status.summary());
            Ok(status.has_condition("control_away"))
        })?;
    }
    party.ping_all_pairs()?;

    party.server.as_mut().context("no server")?.start_again()?;
    for engine in &party.engines {
        engine.wait_until("the control plane is back", felt::RETURN, |status| {
            Ok(!status.has_condition("control_away") && status.all_up(2)?)
        })?;
    }
    ensure!(
        self::leases(&party)? == leases,
        "leases changed: {leases:?}, now {:?}",
        self::leases(&party)?
    );
    let (lost, sent) = flow.finish()?;
    ensure!(
        lost == 0,
        "{lost} of {sent} pings were lost while the server was away"
    );

    // The returned server is a working one: a member may leave and come back through it.
    party.engine(2)?.cli(&["leave"])?;
    let joined = party.engine(2)?.cli(&["join", &party.id])?;
    ensure!(
        joined["address"] == leases[2],
        "back in slot {}",
        joined["address"]
    );
    party.wait_all_up(felt::CONNECT)
}

fn leases(party: &Party) -> Result<Vec<String>> {
    party
        .engines
        .iter()
        .map(|engine| Ok(engine.address()?.to_string()))
        .collect()
}
