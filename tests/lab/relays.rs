//! Relays: other people's and ours, by each way to them, and what becomes of play when they die.

use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lanrage_tests::lab::{
    Engine, Flow, Host, Internet, Nat, PublicServer, Site, SiteOptions, Status, Ticker, TurnServer, echo,
    eventually, felt, ping, scenario, transfer,
};

/// What is sent through each relay.
const FILE: u64 = 20_000_000;

/// How long coturn lets an allocation live without a refresh, seconds, in a test that can't wait for ten minutes.
const LIFETIME: u32 = 12;

/// What players put up with until a relay is found where the better ways to it are closed: each is given a second.
const FELT_RELAYED: Duration = Duration::from_secs(6);

/// What a ticker shows at most when a relay dies …
const FELT_SWITCH: Duration = Duration::from_secs(3);
/// … and the most that is no failure.
const LONGEST_SWITCH: Duration = Duration::from_secs(15);

/// Until a member is back to UDP: it is tried again after some time, and both are held for a while.
const FELT_RETURN: Duration = Duration::from_secs(25);

/// Homes whose UDP reaches nobody but `servers`.
fn homes(internet: &Internet, servers: &[Ipv4Addr], count: u8) -> Result<Vec<Site>> {
    let homes: Vec<SiteOptions> = (0..count)
        .map(|_| SiteOptions::new(Nat::PortRestrictedCone))
        .collect();
    let homes = internet.sites(&homes)?;
    for home in &homes {
        home.allow_udp_only_to(servers)?;
    }
    Ok(homes)
}

/// coturn on a computer of its own, with a public address.
fn coturn(internet: &Internet, arguments: &[&str]) -> Result<(Site, TurnServer)> {
    let site = internet.site(&SiteOptions::new(Nat::Open))?;
    let server = TurnServer::start(site.host()?, arguments)?;
    Ok((site, server))
}

/// Engine arguments that name these ways to a relay, or relays.
fn turn<'a>(uris: impl IntoIterator<Item = &'a String>, relay: &TurnServer) -> Vec<String> {
    let uris = uris
        .into_iter()
        .flat_map(|uri| ["--turn".to_owned(), uri.clone()]);
    uris.chain(relay.login()).collect()
}

/// Lets members join one party, each with arguments of its own.
fn party(server: &PublicServer, members: &[(&Host, &[String])]) -> Result<Vec<Engine>> {
    let mut engines = Vec::new();
    let mut id = String::new();
    for (number, (host, arguments)) in members.iter().enumerate() {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let engine = server.engine(host, &format!("Player {number}"), &arguments)?;
        if number == 0 {
            let created = engine.cli(&["create", "Friday night"])?;
            created["id"].as_str().context("no ID")?.clone_into(&mut id);
        } else {
            engine.cli(&["join", &id])?;
        }
        engines.push(engine);
    }
    Ok(engines)
}

fn path(status: &Status, to: Ipv4Addr) -> Result<Option<String>> {
    Ok(status.peer(to)?.and_then(|row| row.path))
}

/// Waits until two members reach each other by a relay, then sends a file each way; what is shown stays `relayed`.
fn carries(what: &str, one: &Engine, other: &Engine) -> Result<()> {
    let began = Instant::now();
    for (from, to) in [(one, other), (other, one)] {
        let to = to.address()?;
        from.wait_until(&format!("{what}: relayed"), FELT_RELAYED, |status| {
            Ok(path(status, to)?.as_deref() == Some("relayed"))
        })?;
    }
    println!("{what}: relayed after {:.1} s", began.elapsed().as_secs_f64());
    for (from, to) in [(one, other), (other, one)] {
        let mut looked = Instant::now();
        let address = to.address()?;
        let took = transfer(from.host(), (to.host(), address), FILE, || {
            if looked.elapsed() < Duration::from_secs(1) {
                return Ok(());
            }
            looked = Instant::now();
            let status = from.status()?;
            let path = path(&status, address)?;
            // Between two paths there is none for a moment.
            ensure!(
                path.as_deref().is_none_or(|path| path == "relayed"),
                "{what}: {}",
                status.summary()
            );
            Ok(())
        })?;
        println!("{what}: 20 MB in {:.1} s", took.as_secs_f64());
    }
    Ok(())
}

/// Whether an engine came to its relay by this way.
fn reached_by(engine: &Engine, way: &str) -> Result<()> {
    let log = engine.log();
    let found: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("a relay is there"))
        .collect();
    ensure!(
        found.iter().any(|line| format!("{line}\n").contains(way)),
        "not by {way}, but {found:?}"
    );
    Ok(())
}

#[test]
fn coturn_carries_a_party_over_udp_tcp_and_tls_with_lifetimes_cut_short() -> Result<()> {
    scenario("coturn", |lab| {
        let internet = Internet::new(lab)?;
        let server = PublicServer::start(&internet, &["--turn", "none"])?;
        let lifetime = format!("--max-allocate-lifetime={LIFETIME}");
        let (_site, relay) = coturn(&internet, &[&lifetime])?;
        server.trust(&relay.authority()?)?;
        let [first, second] = internet.server_addresses();
        let homes = homes(&internet, &[first, second, relay.host().address()], 6)?;
        thread::scope(|scope| {
            let (relay, server) = (&relay, &server);
            let pairs: Vec<_> = homes
                .chunks(2)
                .zip(relay.uris())
                .map(|(pair, uri)| {
                    scope.spawn(move || -> Result<()> {
                        let arguments = turn([&uri], relay);
                        let members = party(
                            server,
                            &[(pair[0].host()?, &arguments), (pair[1].host()?, &arguments)],
                        )?;
                        let up = Instant::now();
                        carries(&uri, &members[0], &members[1])?;
                        // Until every allocation would have ended twice.
                        let flow = Flow::start(members[0].host(), members[1].address()?)?;
                        let until = up + Duration::from_secs(u64::from(LIFETIME)) * 5 / 2;
                        while Instant::now() < until {
                            ping(members[0].host(), IpAddr::V4(members[1].address()?), 5)?;
                        }
                        let (lost, sent) = flow.finish()?;
                        println!("{uri}: {lost} of {sent} pings lost while allocations were refreshed");
                        ensure!(lost * 20 <= sent, "{uri}: {lost} of {sent} pings lost");
                        for member in &members {
                            reached_by(member, &uri)?;
                            let log = member.log();
                            let away = log.lines().find(|line| line.contains("a relay is away"));
                            ensure!(away.is_none(), "{uri}: {}", away.unwrap_or_default());
                        }
                        Ok(())
                    })
                })
                .collect();
            for pair in pairs {
                match pair.join() {
                    Ok(carried) => carried?,
                    Err(_) => bail!("a pair panicked"),
                }
            }
            Ok(())
        })?;
        let log = relay.log();
        let refreshed = log.lines().filter(|line| line.contains("refreshed")).count();
        let short = format!("lifetime={LIFETIME}");
        ensure!(log.contains(&short), "no allocation for {LIFETIME} s");
        println!("{refreshed} refreshes");
        // Six engines, at least two each in the time that their allocations would have ended twice.
        ensure!(refreshed >= 12, "{refreshed} refreshes");
        Ok(())
    })
}

#[test]
fn where_udp_is_blocked_a_relay_is_reached_by_tcp_and_where_tcp_is_as_well_by_tls() -> Result<()> {
    scenario("ways to coturn", |lab| {
        let internet = Internet::new(lab)?;
        let server = PublicServer::start(&internet, &["--turn", "none"])?;
        let (_site, relay) = coturn(&internet, &[])?;
        server.trust(&relay.authority()?)?;
        let arguments = turn(&relay.uris(), &relay);
        falls(&internet, &server, &arguments, &relay.uris())
    })
}

#[test]
fn our_server_carries_a_party_over_udp_tcp_and_tls_on_the_control_planes_port() -> Result<()> {
    scenario("ways to our server", |lab| {
        let internet = Internet::new(lab)?;
        let server = PublicServer::start(&internet, &[])?;
        let at = internet.server().address();
        let ways = [
            format!("turn:{at}:3478"),
            format!("turn:{at}:3478?transport=tcp"),
            format!("turns:{at}:443"),
        ];
        let [first, second] = internet.server_addresses();
        let homes = homes(&internet, &[first, second], 2)?;
        let members = party(&server, &[(homes[0].host()?, &[]), (homes[1].host()?, &[])])?;
        carries("by UDP", &members[0], &members[1])?;
        reached_by(&members[0], &ways[0])?;
        drop(members);
        falls(&internet, &server, &[], &ways)
    })
}

/// Members at sites without UDP, and with nothing but TCP's port 443.
fn falls(
    internet: &Internet,
    server: &PublicServer,
    arguments: &[String],
    [_, tcp, tls]: &[String; 3],
) -> Result<()> {
    for (what, way, narrow) in [("UDP blocked", tcp, false), ("all but 443 blocked", tls, true)] {
        let sites = internet.sites(&[
            SiteOptions::new(Nat::UdpBlocked),
            SiteOptions::new(Nat::UdpBlocked),
        ])?;
        for site in sites.iter().filter(|_| narrow) {
            site.allow_tcp_only_to(443)?;
        }
        let members = party(
            server,
            &[(sites[0].host()?, arguments), (sites[1].host()?, arguments)],
        )?;
        carries(what, &members[0], &members[1])?;
        for member in &members {
            reached_by(member, way)?;
        }
    }
    Ok(())
}

#[test]
fn a_relay_reached_by_tcp_is_reached_by_udp_without_a_break_once_that_gets_through() -> Result<()> {
    scenario("back to UDP", |lab| {
        let internet = Internet::new(lab)?;
        let server = PublicServer::start(&internet, &[])?;
        let homes = homes(&internet, &[Ipv4Addr::LOCALHOST], 2)?;
        let members = party(&server, &[(homes[0].host()?, &[]), (homes[1].host()?, &[])])?;
        let [anna, tom] = &members[..] else {
            bail!("two members");
        };
        let to = tom.address()?;
        anna.wait_until("relayed", FELT_RELAYED, |status| {
            Ok(path(status, to)?.as_deref() == Some("relayed"))
        })?;
        reached_by(anna, "transport=tcp")?;
        let ticker = Ticker::start(anna.host(), echo(tom.host(), to)?)?;
        let started = Instant::now();
        eventually("the ticker is heard", felt::CONNECT, || {
            Ok(if ticker.heard_since(started) {
                Ok(())
            } else {
                Err("silence".to_owned())
            })
        })?;
        let opened = Instant::now();
        for home in &homes {
            home.allow_udp_only_to(&internet.server_addresses())?;
        }
        for member in [anna, tom] {
            eventually("what was reached by TCP is given back", FELT_RETURN, || {
                let log = member.log();
                Ok(if log.contains("allocation is given back") {
                    Ok(())
                } else {
                    Err("it is still held".to_owned())
                })
            })?;
            reached_by(
                member,
                &format!("uri=turn:{}:3478\n", internet.server().address()),
            )?;
        }
        let settled = Instant::now();
        eventually("play goes on", felt::CONNECT, || {
            Ok(if ticker.heard_since(settled + Duration::from_secs(1)) {
                Ok(())
            } else {
                Err("silence".to_owned())
            })
        })?;
        let silence = ticker.longest_silence(opened);
        let (sent, answered) = ticker.finish();
        println!(
            "from TCP to UDP: {answered} of {sent} ticks came back, longest silence {:.2} s",
            silence.as_secs_f64()
        );
        ensure!(silence < FELT_SWITCH, "silent for {silence:?}");
        Ok(())
    })
}

#[test]
fn a_relay_killed_in_mid_play_is_left_for_another_and_direct_members_notice_nothing() -> Result<()> {
    scenario("killed relays", |lab| {
        let internet = Internet::new(lab)?;
        let server = PublicServer::start(&internet, &["--turn", "none"])?;
        let (_sites, mut relays): (Vec<_>, Vec<_>) = [coturn(&internet, &[])?, coturn(&internet, &[])?]
            .into_iter()
            .unzip();
        let open = internet.site(&SiteOptions::new(Nat::Open))?;
        let friend = open.host()?;
        let [first, second] = internet.server_addresses();
        let known = [
            first,
            second,
            friend.address(),
            relays[0].host().address(),
            relays[1].host().address(),
        ];
        let homes = homes(&internet, &known, 2)?;
        let uris = [&relays[0].uris()[0], &relays[1].uris()[0]].map(String::clone);
        let arguments = turn(&uris, &relays[0]);
        let members = party(
            &server,
            &[
                (homes[0].host()?, &arguments),
                (homes[1].host()?, &arguments),
                (friend, &[]),
            ],
        )?;
        let [anna, tom, zoe] = &members[..] else {
            bail!("three members");
        };
        let (to_tom, to_zoe) = (tom.address()?, zoe.address()?);
        anna.wait_until("Tom relayed, Zoë direct", FELT_RELAYED, |status| {
            let seen = (path(status, to_tom)?, path(status, to_zoe)?);
            Ok((seen.0.as_deref(), seen.1.as_deref()) == (Some("relayed"), Some("direct")))
        })?;
        let flow = Flow::start(anna.host(), to_zoe)?;
        let ticker = Ticker::start(anna.host(), echo(tom.host(), to_tom)?)?;
        let started = Instant::now();
        eventually("the ticker is heard", felt::CONNECT, || {
            Ok(if ticker.heard_since(started) {
                Ok(())
            } else {
                Err("silence".to_owned())
            })
        })?;
        // Both relays up on both sides, so that there is one to go to.
        for member in [anna, tom] {
            eventually("both relays are there", felt::CONNECT, || {
                let there = member.log().matches("a relay is there").count();
                Ok(if there >= 2 {
                    Ok(())
                } else {
                    Err(format!("{there}"))
                })
            })?;
        }

        let used = busier(&relays, anna, to_tom)?;
        let killed = Instant::now();
        relays[used].kill9()?;
        let direct = |status: &Status| -> Result<()> {
            let row = status.peer(to_zoe)?.context("Zoë is gone")?;
            let up = matches!(row.state.as_str(), "connected" | "degraded");
            ensure!(
                up && row.path.as_deref() == Some("direct"),
                "{}",
                status.summary()
            );
            Ok(())
        };
        // What was on its way then may still arrive.
        let settled = killed + Duration::from_millis(100);
        eventually("play goes on by the other relay", FELT_SWITCH, || {
            direct(&anna.status()?)?;
            Ok(if ticker.heard_since(settled) {
                Ok(())
            } else {
                Err("silence".to_owned())
            })
        })?;
        let silence = ticker.longest_silence(killed);
        println!(
            "silence when the relay in use was killed: {:.2} s",
            silence.as_secs_f64()
        );
        ensure!(silence < LONGEST_SWITCH, "silent for {silence:?}");

        let other = 1 - used;
        relays[other].kill9()?;
        let reason = anna.wait_until("Tom is shown as away", felt::LOST, |status| {
            direct(status)?;
            let row = status.peer(to_tom)?.context("Tom is gone")?;
            Ok(matches!(row.state.as_str(), "lost" | "failed"))
        })?;
        println!("both relays dead, told after {:.1} s", reason.as_secs_f64());
        let log = anna.log();
        let away = log.lines().rev().find(|line| line.contains("a relay is away"));
        println!("{}", away.context("nothing says why")?);

        relays[other].start_again()?;
        let returned = Instant::now();
        eventually("play goes on when a relay is back", felt::LOST, || {
            direct(&anna.status()?)?;
            Ok(if ticker.heard_since(returned) {
                Ok(())
            } else {
                Err(anna.status()?.summary())
            })
        })?;
        anna.wait_until("Tom is relayed again", felt::CONNECT, |status| {
            direct(status)?;
            Ok(path(status, to_tom)?.as_deref() == Some("relayed"))
        })?;
        let (lost, sent) = flow.finish()?;
        let (ticks, answered) = ticker.finish();
        println!("direct: {lost} of {sent} pings lost; relayed: {answered} of {ticks} ticks came back");
        // A busy machine loses one now and then.
        ensure!(
            lost * 100 <= sent,
            "{lost} of {sent} pings to the direct member lost"
        );
        Ok(())
    })
}

/// Which relay carries what a member plays.
fn busier(relays: &[TurnServer], from: &Engine, to: Ipv4Addr) -> Result<usize> {
    let carried = || {
        relays
            .iter()
            .map(TurnServer::carried)
            .collect::<Result<Vec<u64>>>()
    };
    let before = carried()?;
    ping(from.host(), IpAddr::V4(to), 10)?;
    let grown: Vec<u64> = carried()?
        .iter()
        .zip(&before)
        .map(|(after, before)| after - before)
        .collect();
    println!("bytes by the relays: {grown:?}");
    let busiest = grown.iter().enumerate().max_by_key(|(_, bytes)| **bytes);
    Ok(busiest.context("no relays")?.0)
}
