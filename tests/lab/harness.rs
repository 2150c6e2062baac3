//! The lab itself: before engines are judged in it, it has to carry packets and leave nothing behind.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use lanrage_tests::lab::{Flow, Lab, ping, scenario, transfer};

#[test]
fn hosts_of_a_lab_reach_each_other_and_nothing_else() -> Result<()> {
    scenario("harness", |lab| {
        let hosts = lab.hosts(3)?;
        for from in &hosts {
            for to in &hosts {
                ping(from, IpAddr::V4(to.address()), 1)?;
                ping(from, IpAddr::V6(to.address_v6()), 1)?;
            }
            ensure!(
                ping(from, [192, 0, 2, 1].into(), 1).is_err(),
                "a packet left the lab"
            );
        }
        Ok(())
    })
}

#[test]
fn a_file_arrives_with_its_hash() -> Result<()> {
    scenario("transfer", |lab| {
        let hosts = lab.hosts(2)?;
        let mut looks = 0;
        transfer(&hosts[0], (&hosts[1], hosts[1].address()), 300_000_000, || {
            looks += 1;
            Ok(())
        })?;
        ensure!(looks > 0, "300 MB took no time");
        Ok(())
    })
}

#[test]
fn a_pulled_cable_loses_packets_and_the_flow_counts_them() -> Result<()> {
    scenario("cable", |lab| {
        let hosts = lab.hosts(2)?;
        let flow = Flow::start(&hosts[0], hosts[1].address())?;
        ping(&hosts[0], hosts[1].address().into(), 5)?;
        hosts[1].set_link(false)?;
        ensure!(
            ping(&hosts[0], hosts[1].address().into(), 2).is_err(),
            "a pulled cable carried packets"
        );
        hosts[1].set_link(true)?;
        ping(&hosts[0], hosts[1].address().into(), 5)?;
        let (lost, sent) = flow.finish()?;
        ensure!(lost > 0 && lost < sent, "{lost} of {sent} lost");
        Ok(())
    })
}

#[test]
fn a_lab_that_is_taken_down_leaves_nothing() -> Result<()> {
    let lab = Lab::new("down")?;
    let host = lab.host()?;
    let prefix = lab.prefix().to_owned();
    ensure!(lab.namespaces().len() == 2, "namespaces: {:?}", lab.namespaces());
    let files = lab.files().to_owned();
    let mut command = host.command("sleep".as_ref());
    let mut sleeper = host.spawn("sleeper", command.arg("600"))?;
    ensure!(sleeper.is_running()?, "the sleeper ended: {}", sleeper.log());
    let id = sleeper.id();
    // As after a panic that skipped the owner: the lab goes while a program still runs in it.
    std::mem::forget(sleeper);
    drop(host);
    drop(lab);
    ensure!(!files.exists(), "{} is left", files.display());
    let left: Vec<_> = std::fs::read_dir("/run/netns")?
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .collect();
    ensure!(left.is_empty(), "namespaces left: {left:?}");
    let state = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // Its parent, this test, never waits for it: all that may be left is the zombie.
    ensure!(
        state.is_empty() || state.contains(") Z "),
        "the sleeper still runs: {state}"
    );
    Ok(())
}
