//! After leave, crash and uninstall the system is as it was, byte for byte.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::{Control, Engine, Host, Party, felt, scenario};
use serde_json::Value;

/// Everything that an engine might change: each by the command that shows it. Left out is what changes by itself:
/// counters of connections.
const LOOKS: [&str; 7] = [
    "ip -details link show",
    "ip address show",
    "ip rule show; ip -6 rule show",
    "ip route show table all; ip -6 route show table all",
    "ip maddress show",
    "nft list ruleset",
    "cd /proc/sys/net && LC_ALL=C grep -rs '' . | grep -v conntrack_count | LC_ALL=C sort",
];

fn look(host: &Host) -> Result<Vec<String>> {
    LOOKS
        .iter()
        .map(|command| host.output("sh", &["-c", command]))
        .collect()
}

fn unchanged(what: &str, before: &[String], host: &Host) -> Result<()> {
    let after = look(host)?;
    for (command, (before, after)) in LOOKS.iter().zip(before.iter().zip(&after)) {
        let differing: Vec<_> = before
            .lines()
            .zip(after.lines())
            .filter(|(one, other)| one != other)
            .take(5)
            .collect();
        ensure!(
            before == after,
            "{what}: `{command}` differs: {differing:?}\n{before}\n{after}"
        );
    }
    let bytes: usize = after.iter().map(String::len).sum();
    println!("{what}: {bytes} bytes as before");
    Ok(())
}

fn restore(engine: &Engine) -> Result<(Option<i32>, Value)> {
    let mut command = engine.host().command(engine.program());
    let output = command
        .args(["restore", "--json", "--state-dir"])
        .arg(engine.folder().join("state"))
        .output()?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let value = serde_json::from_str(&printed).with_context(|| format!("restore printed {printed:?}"))?;
    Ok((output.status.code(), value))
}

#[test]
fn the_system_is_as_it_was_after_leave_crash_and_uninstall() -> Result<()> {
    scenario("restore", |lab| {
        let mut party = Party::gather(lab, 2, Control::Local)?;
        let before = look(party.engine(1)?.host())?;
        party.create()?;
        party.join(1)?;
        party.wait_all_up(felt::CONNECT)?;

        let member = party.engine(1)?;
        let (adapter, journal) = (member.adapter(), member.folder().join("state/changes.json"));
        let routes = member.host().party_routes(adapter)?;
        for network in ["10.66.0.0/16", "255.255.255.255", "224.0.0.0/4"] {
            ensure!(
                routes.iter().any(|route| route.starts_with(network)),
                "no route to {network}: {routes:?}"
            );
        }
        let link = member.host().output("ip", &["link", "show", adapter])?;
        ensure!(link.contains("MULTICAST"), "{link}");
        let report = member.cli(&["doctor"])?;
        let written: Vec<Value> = serde_json::from_slice(&fs::read(&journal)?)?;
        let told = report["changes"].as_array().context("no changes")?;
        println!("{}", member.say(&["doctor"])?);
        for entry in &written {
            ensure!(told.contains(&entry["change"]), "{entry} is not told: {told:?}");
        }
        ensure!(written.len() == 4, "written down: {written:?}");
        ensure!(look(member.host())? != before, "a party changes nothing?");

        let (exit, refused) = restore(member)?;
        ensure!(
            exit == Some(4) && refused["fault"] == "engine_running",
            "restore beside an engine: {exit:?}, {refused}"
        );
        member.cli(&["leave"])?;
        ensure!(!journal.exists(), "the journal outlives the party");
        unchanged("after leave", &before, member.host())?;

        // Killed, started again, left.
        party.join(1)?;
        party.engine_mut(1)?.kill9()?;
        ensure!(journal.exists(), "nothing was written down");
        party.engine_mut(1)?.start_again()?;
        party.wait_all_up(felt::RETURN)?;
        let member = party.engine(1)?;
        member.cli(&["leave"])?;
        ensure!(!journal.exists(), "the journal outlives the party");
        unchanged("after kill -9, a new start and leave", &before, member.host())?;

        // Killed and uninstalled.
        party.join(1)?;
        party.engine_mut(1)?.kill9()?;
        let member = party.engine(1)?;
        let (exit, restored) = restore(member)?;
        println!("{restored}");
        ensure!(
            exit == Some(0) && restored["left"] == Value::Array(Vec::new()),
            "restore: {exit:?}, {restored}"
        );
        ensure!(!journal.exists(), "the journal outlives the restoring");
        unchanged("after kill -9 and restore", &before, member.host())?;
        let (_, again) = restore(member)?;
        ensure!(again["undone"] == Value::Array(Vec::new()), "twice: {again}");
        Ok(())
    })
}

#[test]
fn what_outlived_an_engine_is_undone_and_what_is_somebody_elses_is_not() -> Result<()> {
    scenario("outlived", |lab| {
        let host = lab.host()?;
        let engine = Engine::prepare(
            &host,
            lanrage_tests::lab::EngineOptions {
                player: "Anna".to_owned(),
                control: "local".to_owned(),
            },
        )?;
        let before = look(&host)?;
        let index: u32 = host
            .output("cat", &["/sys/class/net/eth0/ifindex"])?
            .trim()
            .parse()?;
        let journal = |number: u32| -> Result<()> {
            let path = engine.folder().join("state/changes.json");
            let route = |network: &str| {
                serde_json::json!({
                    "change": {"what": "route", "network": network, "adapter": "eth0"},
                    "interface": number,
                })
            };
            let entries = [route("255.255.255.255/32"), route("224.0.0.0/4")];
            fs::write(&path, serde_json::to_vec(&entries)?)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            Ok(())
        };
        // As the engine adds them: another protocol's are not its own.
        let add = |network: &str| {
            let route = ["route", "add", network, "dev", "eth0", "proto", "static"];
            host.output("ip", &route)
        };

        // One of the two is gone already.
        add("224.0.0.0/4")?;
        journal(index)?;
        let (exit, restored) = restore(&engine)?;
        ensure!(exit == Some(0), "{restored}");
        unchanged("what outlived is undone", &before, &host)?;

        // Another interface of that name has another number.
        add("224.0.0.0/4")?;
        let theirs = look(&host)?;
        journal(index + 1)?;
        let (exit, restored) = restore(&engine)?;
        ensure!(exit == Some(0), "{restored}");
        unchanged("somebody else's stays", &theirs, &host)
    })
}
