//! An engine is killed in mid-party and started again: the party goes on as if it had only been slow.

use anyhow::{Result, ensure};
use lanrage_tests::lab::{Control, Flow, Lab, Party, felt, ping, scenario};

#[test]
fn a_killed_member_comes_back_to_its_lease() -> Result<()> {
    scenario("killed member", |lab| kill_and_return(lab, Control::Local, 1))
}

#[test]
fn a_killed_host_in_local_mode_comes_back_with_its_party() -> Result<()> {
    scenario("killed host", |lab| kill_and_return(lab, Control::Local, 0))
}

#[test]
fn a_killed_founder_on_a_server_comes_back_to_its_lease() -> Result<()> {
    scenario("killed founder on a server", |lab| {
        kill_and_return(lab, Control::Server, 0)
    })
}

/// Kills the engine `victim` of three, checks that the other two play on, starts it again.
fn kill_and_return(lab: &Lab, control: Control, victim: usize) -> Result<()> {
    let mut party = Party::start(lab, 3, control)?;
    let lease = party.engine(victim)?.address()?;
    let (one, other) = ((victim + 1) % 3, (victim + 2) % 3);
    let flow = Flow::start(party.engine(one)?.host(), party.engine(other)?.address()?)?;

    party.engine_mut(victim)?.kill9()?;
    let took = party.engine_mut(victim)?.start_again()?;
    println!("the killed engine answers after {:.2} s", took.as_secs_f64());
    party.wait_all_up(felt::RETURN)?;

    let back = party.engine(victim)?;
    ensure!(
        back.address()? == lease,
        "the lease changed from {lease} to {}",
        back.address()?
    );
    ensure!(back.status()?.0["party"]["id"] == party.id, "another party");
    ping(party.engine(one)?.host(), lease.into(), 3)?;
    party.ping_all_pairs()?;

    let adapters = back.host().adapters()?;
    ensure!(
        adapters == [back.adapter()],
        "adapters after the return: {adapters:?}"
    );
    let routes = back.host().party_routes(back.adapter())?;
    let ranges: Vec<_> = routes
        .iter()
        .filter(|route| route.starts_with("10.66.0.0/16"))
        .collect();
    ensure!(ranges.len() == 1, "routes after the return: {routes:?}");

    let (lost, sent) = flow.finish()?;
    ensure!(
        lost == 0,
        "{lost} of {sent} pings between the others were lost meanwhile"
    );

    // Whatever the crash left would show now.
    back.cli(&["leave"])?;
    let remains = back.remains()?;
    ensure!(remains.is_empty(), "after leave there is still {remains:?}");
    Ok(())
}
