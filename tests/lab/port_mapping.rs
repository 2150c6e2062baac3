//! Routers that open ports on request, and members who ask them.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::{
    Engine, Internet, Nat, PortOpener, PublicServer, SiteOptions, Speaks, eventually, felt, ping, scenario,
};
use serde_json::Value;

/// The address that the router with open ears has.
pub(crate) const PUBLIC: Ipv4Addr = Ipv4Addr::new(25, 1, 1, 10);

/// What a player waits at most for a router's answer: one that is silent costs the search its full time.
pub(crate) const GRANTED: Duration = Duration::from_secs(5);

pub(crate) const ON: [&str; 2] = ["--port-mapping", "on"];

/// Waits until the router granted the UDP port, and says what the engine tells of it.
pub(crate) fn granted(engine: &Engine) -> Result<Value> {
    let mut mapping = Value::Null;
    eventually("a port is granted", GRANTED, || {
        mapping = engine.cli(&["doctor"])?["mapping"].clone();
        Ok(if mapping["state"] == "mapped" && mapping["udp"].is_string() {
            Ok(())
        } else {
            Err(mapping.to_string())
        })
    })?;
    Ok(mapping)
}

fn is_closed(router: &PortOpener) -> Result<()> {
    eventually("the router leads nothing inside", felt::LEAVE, || {
        let open = router.opened()?;
        Ok(if open.is_empty() {
            Ok(())
        } else {
            Err(open.join("; "))
        })
    })
    .map(drop)
}

#[test]
fn two_symmetric_members_meet_by_a_port_that_one_routers_opened() -> Result<()> {
    scenario("opened port", |lab| {
        let internet = Internet::new(lab)?;
        let server = PublicServer::start(&internet, &[])?;
        let sites = internet.sites(&[
            SiteOptions::new(Nat::SymmetricRandom),
            SiteOptions::new(Nat::SymmetricRandom),
        ])?;
        let router = PortOpener::start(&sites[0], PUBLIC, Speaks::Everything)?;
        let mut anna = server.engine(sites[0].host()?, "Anna", &ON)?;
        let tom = server.engine(sites[1].host()?, "Tom", &[])?;
        let created = anna.cli(&["create", "Friday night"])?;
        let mapping = granted(&anna)?;
        println!("{mapping}");
        ensure!(mapping["protocol"] == "pcp", "{mapping}");
        ensure!(mapping["udp"] == format!("{PUBLIC}:51820"), "{mapping}");
        // The party's home is elsewhere: nobody has to get in by TCP.
        ensure!(
            mapping["tcp"].is_null() && router.opened()?.len() == 1,
            "{mapping}"
        );

        tom.cli(&["join", created["id"].as_str().context("no ID")?])?;
        for engine in [&anna, &tom] {
            engine.wait_until("the other is reached directly", felt::CONNECT, |status| {
                let peer = status.members()?.into_iter().find(|member| !member.own);
                Ok(peer.is_some_and(|peer| peer.is_up() && peer.path.as_deref() == Some("direct")))
            })?;
        }
        ping(tom.host(), anna.address()?.into(), 3)?;
        let seen = tom.cli(&["doctor"])?;
        let pairs = seen["peers"][0]["pairs"].as_array().context("no pairs")?;
        let chosen = pairs
            .iter()
            .find(|pair| pair["state"] == "chosen")
            .context("none is chosen")?;
        ensure!(chosen["kind"] == "mapped", "{chosen}");
        println!("{}", tom.say(&["doctor"])?);

        // A crash leaves the port behind, the next start gives it back.
        anna.kill9()?;
        ensure!(
            router.opened()?.len() == 1,
            "the router closed the port by itself"
        );
        let trust = server.certificate();
        anna.set_arguments(&["--control-ca", &trust.to_string_lossy(), "--port-mapping", "off"]);
        anna.start_again()?;
        is_closed(&router)?;
        // And so do a stop and a leave.
        for end in ["stop", "leave"] {
            anna.terminate()?;
            is_closed(&router)?;
            anna.set_arguments(&["--control-ca", &trust.to_string_lossy(), "--port-mapping", "on"]);
            anna.start_again()?;
            granted(&anna)?;
            if end == "leave" {
                anna.cli(&["leave"])?;
                is_closed(&router)?;
            }
        }
        ensure!(
            anna.cli(&["doctor"])?["changes"] == serde_json::json!([]),
            "changes are left"
        );
        Ok(())
    })
}

#[test]
fn a_router_that_speaks_upnp_alone_is_understood_and_one_that_speaks_nothing_is_named() -> Result<()> {
    scenario("UPnP", |lab| {
        let internet = Internet::new(lab)?;
        let server = PublicServer::start(&internet, &[])?;
        let sites = internet.sites(&[
            SiteOptions::new(Nat::PortRestrictedCone),
            SiteOptions::new(Nat::SymmetricRandom),
        ])?;
        let router = PortOpener::start(&sites[0], PUBLIC, Speaks::Upnp)?;
        let anna = server.engine(sites[0].host()?, "Anna", &ON)?;
        anna.cli(&["create", "Friday night"])?;
        let mapping = granted(&anna)?;
        ensure!(mapping["protocol"] == "upnp", "{mapping}");
        ensure!(mapping["udp"] == format!("{PUBLIC}:51820"), "{mapping}");
        ensure!(router.opened()?.len() == 1, "{:?}", router.opened()?);
        anna.cli(&["leave"])?;
        is_closed(&router)?;

        let tom = server.engine(sites[1].host()?, "Tom", &ON)?;
        tom.cli(&["create", "Saturday"])?;
        eventually("no port is to be had", GRANTED, || {
            let report = tom.cli(&["doctor"])?;
            let refused = report["mapping"]["state"] == "refused" && report["mapping"]["reason"].is_string();
            let named = codes(&report).contains(&"port_mapping_refused".to_owned());
            Ok(if refused && named {
                Ok(())
            } else {
                Err(report["mapping"].to_string())
            })
        })?;
        Ok(())
    })
}

/// The codes of what a report found.
pub(crate) fn codes(report: &Value) -> Vec<String> {
    let findings = report["findings"].as_array().map_or(&[][..], Vec::as_slice);
    let codes = findings.iter().filter_map(|finding| finding["code"].as_str());
    codes.map(str::to_owned).collect()
}
