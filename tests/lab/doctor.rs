//! `doctor` tells the truth about each member's ways.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::{Engine, Internet, Nat, PublicServer, SiteOptions, eventually, felt, scenario};
use serde_json::Value;

use crate::port_mapping::codes;

/// What a player waits at most until all is known.
const KNOWN: Duration = Duration::from_secs(10);

/// Waits until the report satisfies `holds`, and returns it.
fn report(engine: &Engine, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
    let mut report = Value::Null;
    eventually(what, KNOWN, || {
        report = engine.cli(&["doctor"])?;
        Ok(if holds(&report) {
            Ok(())
        } else {
            Err(report.to_string())
        })
    })?;
    Ok(report)
}

fn pairs<'a>(report: &'a Value, name: &str) -> Result<&'a Vec<Value>> {
    let peers = report["peers"].as_array().context("no peers")?;
    let peer = peers.iter().find(|peer| peer["name"] == name);
    let peer = peer.with_context(|| format!("no {name} in {report}"))?;
    peer["pairs"].as_array().context("no pairs")
}

#[test]
fn a_report_names_the_nat_the_blocked_udp_the_relay_and_each_way_that_was_tried() -> Result<()> {
    scenario("doctor", |lab| {
        let internet = Internet::new(lab)?;
        let server = PublicServer::start(&internet, &[])?;
        // Another private network than Anna's, or his address would be her own.
        let mut blocked = SiteOptions::new(Nat::UdpBlocked);
        blocked.subnet = 2;
        let sites = internet.sites(&[
            SiteOptions::new(Nat::SymmetricRandom),
            blocked,
            SiteOptions::new(Nat::Open),
        ])?;
        let start = |site: usize, player| server.engine(sites[site].host()?, player, &[]);
        let (anna, ben, tom) = (start(0, "Anna")?, start(1, "Ben")?, start(2, "Tom")?);

        // In no party the servers that were set are asked, and here there are none.
        let idle = anna.cli(&["doctor"])?;
        ensure!(idle["ipv4"]["reason"] == "no_servers", "{}", idle["ipv4"]);
        ensure!(idle["control"]["answers"] == true, "{}", idle["control"]);
        ensure!(
            idle["changes"] == serde_json::json!([]) && idle["peers"] == serde_json::json!([]),
            "{idle}"
        );

        let created = anna.cli(&["create", "Friday night"])?;
        let id = created["id"].as_str().context("no ID")?;
        for engine in [&ben, &tom] {
            engine.cli(&["join", id])?;
        }
        for engine in [&anna, &ben, &tom] {
            engine.wait_all_up(2, felt::CONNECT)?;
        }

        let of_anna = report(
            &anna,
            "Anna's NAT is known, and nobody is left to be tried",
            |report| {
                let known = report["ipv4"]["type"] == "symmetric";
                let tried = pairs(report, "Ben")
                    .is_ok_and(|pairs| pairs.iter().all(|pair| pair["state"] != "trying"));
                known && tried && report["relays"][0]["up"] == true
            },
        )?;
        println!("{}", anna.say(&["doctor"])?);
        ensure!(of_anna["udp"] == "open", "{}", of_anna["udp"]);
        ensure!(of_anna["ipv4"]["translated"] == true, "{}", of_anna["ipv4"]);
        let saw = of_anna["ipv4"]["servers"].as_array().context("no servers")?;
        ensure!(
            saw.iter().filter(|server| server["saw"].is_string()).count() >= 2,
            "{saw:?}"
        );
        ensure!(
            of_anna["relays"][0]["ways"][0]["state"] == "used",
            "{}",
            of_anna["relays"]
        );
        ensure!(of_anna["mapping"]["state"] == "off", "{}", of_anna["mapping"]);
        ensure!(codes(&of_anna) == ["nat_symmetric"], "{}", of_anna["findings"]);
        let whats: Vec<&Value> = of_anna["changes"]
            .as_array()
            .context("no changes")?
            .iter()
            .map(|c| &c["what"])
            .collect();
        ensure!(
            whats == ["adapter", "route", "route", "route", "capture"],
            "{whats:?}"
        );
        // Ben has no UDP: what he calls his own never answers, his relay or ours does.
        let to_ben = pairs(&of_anna, "Ben")?;
        let chosen = to_ben
            .iter()
            .find(|pair| pair["state"] == "chosen")
            .context("no way to Ben")?;
        ensure!(chosen["by"] == "relay" || chosen["kind"] == "relayed", "{chosen}");
        let host = to_ben
            .iter()
            .find(|pair| pair["by"] == "udp" && pair["kind"] == "host");
        let host = host.context("Ben's own address was not tried")?;
        ensure!(
            host["state"] == "never_answered" && host["answers"] == 0,
            "{host}"
        );
        let to_tom = pairs(&of_anna, "Tom")?;
        let chosen = to_tom
            .iter()
            .find(|pair| pair["state"] == "chosen")
            .context("no way to Tom")?;
        ensure!(chosen["by"] == "udp" && chosen["rtt_ms"].is_number(), "{chosen}");

        let of_ben = report(&ben, "Ben's UDP is known to be blocked", |report| {
            report["udp"] == "blocked"
        })?;
        println!("{}", ben.say(&["doctor"])?);
        ensure!(of_ben["ipv4"]["type"] == "unknown", "{}", of_ben["ipv4"]);
        ensure!(
            codes(&of_ben).contains(&"udp_blocked".to_owned()),
            "{}",
            of_ben["findings"]
        );
        ensure!(
            of_ben["peers"][1]["expected"] == "relayed",
            "{}",
            of_ben["peers"][1]
        );
        let ways = of_ben["relays"][0]["ways"].as_array().context("no ways")?;
        let way = |transport: &str| ways.iter().find(|way| way["transport"] == transport);
        ensure!(way("udp").is_some_and(|way| way["state"] == "failed"), "{ways:?}");
        ensure!(way("tcp").is_some_and(|way| way["state"] == "used"), "{ways:?}");

        let of_tom = report(&tom, "Tom is known to be open", |report| {
            report["ipv4"]["type"] == "open"
        })?;
        ensure!(
            of_tom["udp"] == "open" && of_tom["ipv4"]["public_address"] == true,
            "{}",
            of_tom["ipv4"]
        );
        ensure!(codes(&of_tom).is_empty(), "{}", of_tom["findings"]);
        // What is told of addresses is told by the report alone.
        for engine in [&anna, &tom] {
            let log = engine.log();
            let told = log
                .lines()
                .filter(|line| !line.contains("DEBUG") && !line.contains("TRACE"));
            let leak = told.into_iter().find(|line| line.contains("198.18."));
            ensure!(leak.is_none(), "an address in the log: {leak:?}");
        }
        Ok(())
    })
}
