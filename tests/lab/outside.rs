//! Parties that live on their founder's engine: whether friends elsewhere get in, and whether the founder knows.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::{
    Engine, EngineOptions, Host, Internet, Nat, PortOpener, PublicServer, SiteOptions, Speaks, felt, ping,
    scenario,
};

use crate::port_mapping::{GRANTED, PUBLIC};

/// What a founder waits at most to know who gets in: the NAT has to be known, and the router asked.
const KNOWN: Duration = Duration::from_secs(8);

/// An engine without a server, which asks the lab's STUN servers.
fn alone(host: &Host, player: &str, internet: &Internet, mapping: &str) -> Result<Engine> {
    let mut engine = Engine::prepare(
        host,
        EngineOptions {
            player: player.to_owned(),
            control: "local".to_owned(),
        },
    )?;
    let [first, second] = internet.server_addresses();
    let stun = format!("{first}:3478,{second}:3479");
    engine.set_arguments(&["--stun", &stun, "--port-mapping", mapping]);
    engine.start_again()?;
    Ok(engine)
}

#[test]
fn a_founder_knows_whether_friends_elsewhere_get_in_before_sharing() -> Result<()> {
    scenario("getting in", |lab| {
        let internet = Internet::new(lab)?;
        let _stun = PublicServer::start(&internet, &[])?;
        let sites = internet.sites(&[
            SiteOptions::new(Nat::PortRestrictedCone),
            SiteOptions::new(Nat::Open),
            SiteOptions::new(Nat::PortRestrictedCone),
            SiteOptions::new(Nat::FullCone),
        ])?;

        let shut = alone(sites[0].host()?, "Anna", &internet, "on")?;
        shut.cli(&["create", "Friday night"])?;
        shut.wait_until("nobody gets in, and that is said", KNOWN, |status| {
            Ok(status.has_condition("host_unreachable"))
        })?;
        let report = shut.cli(&["doctor"])?;
        ensure!(report["hosting"]["reachable"] == false, "{}", report["hosting"]);
        println!("{}", shut.say(&["doctor"])?);
        shut.cli(&["leave"])?;
        ensure!(
            !shut.status()?.has_condition("host_unreachable"),
            "it stays without a party"
        );

        let open = alone(sites[1].host()?, "Tom", &internet, "on")?;
        open.cli(&["create", "Friday night"])?;
        open.wait_until("its NAT is named", KNOWN, |status| {
            ensure!(!status.has_condition("host_unreachable"), "{}", status.summary());
            Ok(status.nat_type() == Some("open"))
        })?;
        let report = open.cli(&["doctor"])?;
        ensure!(report["hosting"]["reachable"] == true, "{}", report["hosting"]);
        ensure!(report["mapping"]["state"] == "needless", "{}", report["mapping"]);
        ensure!(
            !open.status()?.has_condition("host_unreachable"),
            "it is said all the same"
        );

        let _router = PortOpener::start(&sites[2], PUBLIC, Speaks::Everything)?;
        let led = alone(sites[2].host()?, "Zoë", &internet, "on")?;
        led.cli(&["create", "Friday night"])?;
        let way_in = format!("{PUBLIC}:");
        let mut invite = String::new();
        led.wait_until("the invite holds the way in", GRANTED, |status| {
            ensure!(!status.has_condition("host_unreachable"), "{}", status.summary());
            invite = status.0["party"]["invite"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            Ok(invite.contains(&way_in))
        })?;
        println!("{invite}");
        let friend = alone(sites[3].host()?, "Ben", &internet, "off")?;
        friend.cli(&["join", &invite]).context("a friend elsewhere")?;
        for engine in [&led, &friend] {
            engine.wait_all_up(1, felt::CONNECT)?;
        }
        ping(friend.host(), led.address()?.into(), 3)?;
        Ok(())
    })
}
