//! Holes through real kernel NATs that give each destination a port of its own, one pair at a time.

use std::net::IpAddr;
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context, Result, bail, ensure};
use lanrage_tests::lab::{
    Engine, Internet, Line, Nat, PublicServer, Site, SiteOptions, eventually, felt, ping, scenario,
};

/// From both being in the party, through naming the NATs, to the hole: what a player waits at most for a way without a
/// relay. First for all pairs but two that come from anywhere, then for those.
const HOLE: Duration = Duration::from_secs(10);
const LOW_HOLE: Duration = Duration::from_secs(6);

/// How often a pair has to succeed in a row.
const ROUNDS: usize = 3;

/// Sockets of an engine that plays by a hole, at most: primary ones, a few for relays, for finding friends, and the hole.
const SOCKETS: usize = 16;

/// As between two homes in one country.
fn distant() -> Line {
    Line {
        delay: Duration::from_millis(10),
        loss: 0.01,
        ..Line::default()
    }
}

#[test]
fn a_symmetric_nat_and_a_port_restricted_cone_are_got_through() -> Result<()> {
    holes(
        "symmetric to port-restricted",
        [Nat::SymmetricRandom, Nat::PortRestrictedCone],
        HOLE,
    )
}

#[test]
fn a_port_restricted_cone_and_ports_in_a_row_are_got_through() -> Result<()> {
    holes(
        "port-restricted to sequential",
        [Nat::PortRestrictedCone, Nat::SymmetricSequential],
        HOLE,
    )
}

#[test]
fn two_nats_with_ports_in_a_row_are_got_through() -> Result<()> {
    holes("sequential to sequential", [Nat::SymmetricSequential; 2], HOLE)
}

#[test]
fn two_symmetric_nats_are_got_through_by_low_ports() -> Result<()> {
    holes("symmetric to symmetric", [Nat::SymmetricRandom; 2], LOW_HOLE)
}

#[test]
fn a_symmetric_carrier_is_got_through_from_a_home_behind_it() -> Result<()> {
    // On a new internet each time: a home's router that was made to forget deals ports of a range, and no low ones.
    for _ in 0..ROUNDS {
        scenario("carrier to symmetric", |lab| {
            let internet = Internet::new(lab)?;
            let mut home = SiteOptions::new(Nat::PortRestrictedCone);
            home.carrier = Some(internet.carrier(Nat::SymmetricRandom, false)?);
            let sites = internet.sites(&[home, SiteOptions::new(Nat::SymmetricRandom)])?;
            let server = PublicServer::start(&internet, &[])?;
            got_through(&server, &sites, LOW_HOLE, 1)
        })?;
    }
    Ok(())
}

#[test]
fn switched_off_a_pair_stays_on_its_relay() -> Result<()> {
    scenario("holes switched off", |lab| {
        let internet = Internet::new(lab)?;
        let nats = [Nat::SymmetricRandom, Nat::PortRestrictedCone].map(SiteOptions::new);
        let sites = internet.sites(&nats)?;
        let server = PublicServer::start(&internet, &[])?;
        let off = server.engine(sites[0].host()?, "Anna", &["--no-punching"])?;
        let on = server.engine(sites[1].host()?, "Tom", &[])?;
        meet(&off, &on)?;
        for engine in [&off, &on] {
            engine.wait_all_up(1, felt::CONNECT)?;
        }
        // As long as a try would take, and its beginning.
        let until = std::time::Instant::now() + HOLE + Duration::from_secs(3);
        while std::time::Instant::now() < until {
            for engine in [&off, &on] {
                ensure!(!is_direct(engine)?, "{}", engine.status()?.summary());
                ensure!(
                    udp_sockets(engine)? <= SOCKETS,
                    "{} sockets",
                    udp_sockets(engine)?
                );
            }
            thread::sleep(Duration::from_millis(200));
        }
        pings(&off, &on)
    })
}

#[test]
fn an_engine_with_few_files_gets_through_and_stays_well() -> Result<()> {
    scenario("few files", |lab| {
        let internet = Internet::new(lab)?;
        let nats = [Nat::SymmetricRandom, Nat::PortRestrictedCone].map(SiteOptions::new);
        let sites = internet.sites(&nats)?;
        let server = PublicServer::start(&internet, &[])?;
        let mut anna = server.engine(sites[0].host()?, "Anna", &[])?;
        anna.terminate()?;
        // Room for an engine, and for some of the sockets that a hole may take.
        anna.set_wrapper(&["prlimit", "--nofile=160:160"]);
        anna.start_again()?;
        let tom = server.engine(sites[1].host()?, "Tom", &[])?;
        meet(&anna, &tom)?;
        eventually("direct", HOLE, || {
            let status = anna.status()?;
            ensure!(!status.has_condition("too_many_files"), "{}", status.summary());
            Ok(match (is_direct(&anna)?, is_direct(&tom)?) {
                (true, true) => Ok(()),
                _ => Err(status.summary()),
            })
        })?;
        pings(&anna, &tom)
    })
}

/// Two homes behind such NATs, on short lines and on long ones.
fn holes(name: &str, nats: [Nat; 2], limit: Duration) -> Result<()> {
    for (line, far) in [
        (Line::default(), ""),
        (distant(), ", 10 ms and 1 % lost each way"),
    ] {
        scenario(&format!("{name}{far}"), |lab| {
            let internet = Internet::new(lab)?;
            let options = nats.map(|nat| SiteOptions {
                line,
                ..SiteOptions::new(nat)
            });
            let sites = internet.sites(&options)?;
            let server = PublicServer::start(&internet, &[])?;
            got_through(&server, &sites, limit, ROUNDS)
        })?;
    }
    Ok(())
}

/// Both come together anew several times, and have a way without a relay within the limit each time.
fn got_through(server: &PublicServer, sites: &[Site], limit: Duration, rounds: usize) -> Result<()> {
    let [one, other] = sites else {
        bail!("{} sites", sites.len())
    };
    for round in 1..=rounds {
        let anna = server.engine(one.host()?, "Anna", &[])?;
        let tom = server.engine(other.host()?, "Tom", &[])?;
        meet(&anna, &tom)?;
        let name = format!(
            "{} and {}, round {round}: direct",
            one.options().nat,
            other.options().nat
        );
        eventually(&name, limit, || {
            Ok(match (is_direct(&anna)?, is_direct(&tom)?) {
                (true, true) => Ok(()),
                _ => Err(format!(
                    "{}\n{}",
                    anna.status()?.summary(),
                    tom.status()?.summary()
                )),
            })
        })?;
        pings(&anna, &tom)?;
        for engine in [&anna, &tom] {
            ensure!(is_direct(engine)?, "{}", engine.status()?.summary());
            let open = udp_sockets(engine)?;
            ensure!(open <= SOCKETS, "{open} sockets stay open");
        }
        leave(anna, tom)?;
        // Else the NATs would still let in the STUN server's other address, and be named wrongly.
        for site in sites {
            site.forget()?;
        }
    }
    Ok(())
}

fn meet(one: &Engine, other: &Engine) -> Result<()> {
    let created = one.cli(&["create", "Friday night"])?;
    other.cli(&["join", created["id"].as_str().context("no ID")?])?;
    Ok(())
}

fn leave(mut one: Engine, mut other: Engine) -> Result<()> {
    other.cli(&["leave"])?;
    one.cli(&["leave"])?;
    one.terminate()?;
    other.terminate()
}

fn is_direct(engine: &Engine) -> Result<bool> {
    let members = engine.status()?.members()?;
    let mut others = members.iter().filter(|member| !member.own);
    Ok(others
        .next()
        .is_some_and(|member| member.is_up() && member.path.as_deref() == Some("direct")))
}

fn pings(one: &Engine, other: &Engine) -> Result<()> {
    for (from, to) in [(one, other), (other, one)] {
        eventually("pings", felt::CONNECT, || {
            let pinged = ping(from.host(), IpAddr::V4(to.address()?), 10);
            Ok(pinged.map(drop).map_err(|error| format!("{error:#}")))
        })?;
    }
    Ok(())
}

/// UDP sockets for IPv4 in the engine's network, which nobody shares with it.
fn udp_sockets(engine: &Engine) -> Result<usize> {
    let id = engine.id().context("the engine does not run")?;
    let table = fs::read_to_string(format!("/proc/{id}/net/udp"))?;
    Ok(table.lines().skip(1).count())
}
