//! Engines find out behind what they sit.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::{Internet, PublicServer, scenario};

use crate::nat::{every_kind, name, side_by_side};

/// What a player waits at most for the name of the own NAT.
const NAMED: Duration = Duration::from_secs(5);

#[test]
fn every_engine_names_the_nat_before_it() -> Result<()> {
    scenario("named NATs", |lab| {
        let internet = Internet::new(lab)?;
        let server = PublicServer::start(&internet, &[])?;
        let sites = every_kind(&internet)?;
        side_by_side(&sites, |site| {
            let engine = server.engine(site.host()?, "Anna", &[])?;
            engine.cli(&["create", "Friday night"])?;
            let name = name(site);
            engine
                .wait_until(&format!("{name} is named"), NAMED, |status| {
                    println!("{name}: {}", status.0["nat"]);
                    Ok(status.nat_type() == Some(site.claim().word()))
                })
                .context(name.clone())
        })
        .map(drop)
    })
}

/// The routers still let in whom the engine asked before, and nobody may take that for openness.
#[test]
fn an_engine_that_was_restarted_names_no_nat_wrongly() -> Result<()> {
    scenario("named NATs after a restart", |lab| {
        let internet = Internet::new(lab)?;
        let server = PublicServer::start(&internet, &[])?;
        let sites = every_kind(&internet)?;
        side_by_side(&sites, |site| {
            let (name, word) = (name(site), site.claim().word());
            let mut engine = server.engine(site.host()?, "Anna", &[])?;
            engine.cli(&["create", "Friday night"])?;
            engine.wait_until(&format!("{name} is named"), NAMED, |status| {
                Ok(status.nat_type() == Some(word))
            })?;
            engine.kill9()?;
            engine.start_again()?;
            // Longer than it takes to find out all there is, and to ask once more by a fresh socket.
            let until = Instant::now() + NAMED + Duration::from_secs(3);
            let mut called = None;
            while Instant::now() < until {
                called = engine.status()?.nat_type().map(str::to_owned);
                let said = called.as_deref().unwrap_or("unknown");
                ensure!(said == word || said == "unknown", "{name} is called {said}");
                thread::sleep(Duration::from_millis(100));
            }
            println!("{name}: {called:?}");
            let shows = matches!(word, "open" | "full_cone" | "symmetric");
            ensure!(
                !shows || called.as_deref() == Some(word),
                "{name} is called {called:?}"
            );
            Ok(())
        })
        .map(drop)
    })
}
