//! Engines find out behind what they sit.

use std::time::Duration;

use anyhow::{Context, Result};
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
