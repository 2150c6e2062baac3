//! No server to be reached when a party is created: it lives on its founder's computer, and the founder is told.

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::{Control, Engine, EngineOptions, Party, Refusal, felt, scenario};

/// An address on the switch that nobody has.
const NOBODY: &str = "ws://192.168.77.250:7700";

#[test]
fn a_party_whose_server_is_away_lives_on_its_founders_computer() -> Result<()> {
    scenario("fallback", |lab| {
        let mut party = Party::gather(lab, 2, Control::Local)?;
        let founder = party.engine_mut(0)?;
        founder.terminate()?;
        founder.set_control(NOBODY);
        founder.start_again()?;

        party.create()?;
        let status = party.founder()?.status()?;
        ensure!(status.control_mode() == Some("local"), "{}", status.summary());
        ensure!(status.has_condition("local_fallback"), "{}", status.summary());
        party.join(1)?;
        party.wait_all_up(felt::CONNECT)?;
        party.ping_all_pairs()
    })
}

#[test]
fn the_command_line_says_that_the_server_was_not_reached() -> Result<()> {
    scenario("fallback in words", |lab| {
        let options = EngineOptions {
            player: "Anna".to_owned(),
            control: NOBODY.to_owned(),
        };
        let engine = Engine::start(&lab.host()?, options)?;
        let said = engine.say(&["create", "Friday night"])?;
        println!("{said}");
        ensure!(said.contains("10.66.0.1"), "no address: {said}");
        ensure!(said.contains("192.168.77.250"), "the server is not named: {said}");
        ensure!(
            said.to_lowercase().contains("this computer"),
            "local mode is not told: {said}"
        );
        Ok(())
    })
}

#[test]
fn joining_a_party_that_nobody_has_is_refused_by_name() -> Result<()> {
    scenario("unknown party", |lab| {
        let mut party = Party::gather(lab, 2, Control::Local)?;
        party.create()?;
        party.founder()?.cli(&["leave"])?;
        let error = party
            .engine(1)?
            .cli(&["join", &party.id])
            .err()
            .context("nobody's party was joined")?;
        let refusal = error.downcast_ref::<Refusal>().context("no refusal")?;
        ensure!(refusal.exit == Some(4), "{refusal}");
        let idle = party.engine(1)?.status()?;
        ensure!(idle.is_idle(), "after a refused join: {}", idle.summary());
        Ok(())
    })
}

#[test]
fn an_engine_that_does_not_run_is_told_from_one_that_refuses() -> Result<()> {
    scenario("not reachable", |lab| {
        let options = EngineOptions {
            player: "Anna".to_owned(),
            control: "local".to_owned(),
        };
        let mut engine = Engine::start(&lab.host()?, options)?;
        let refused = engine.cli(&["leave"]).err().context("nothing was left")?;
        ensure!(
            refused
                .downcast_ref::<Refusal>()
                .is_some_and(|refusal| refusal.exit == Some(4)),
            "{refused:#}"
        );
        let usage = engine.cli(&["dance"]).err().context("it dances")?;
        ensure!(
            usage
                .downcast_ref::<Refusal>()
                .is_some_and(|refusal| refusal.exit == Some(2)),
            "{usage:#}"
        );
        engine.terminate()?;
        let away = engine.cli(&["status"]).err().context("nobody answered well")?;
        ensure!(
            away.downcast_ref::<Refusal>()
                .is_some_and(|refusal| refusal.exit == Some(3)),
            "{away:#}"
        );
        Ok(())
    })
}
