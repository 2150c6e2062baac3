//! Stopping an engine, as a reboot does, is not leaving: only *Leave* leaves.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use lanrage_tests::lab::{Control, Flow, Party, felt, scenario};

#[test]
fn a_stopped_member_is_away_and_comes_back() -> Result<()> {
    scenario("stopped member", |lab| {
        let mut party = Party::start(lab, 3, Control::Local)?;
        let lease = party.engine(2)?.address()?;
        party.engine_mut(2)?.terminate()?;
        let remains = party.engine(2)?.remains()?;
        ensure!(remains.is_empty(), "after the stop there is still {remains:?}");
        for engine in &party.engines[..2] {
            engine.wait_until("the stopped member is lost, not gone", felt::LOST, |status| {
                let row = status.peer(lease)?;
                let state = row.as_ref().map(|row| row.state.as_str());
                ensure_listed(state)?;
                Ok(state == Some("lost"))
            })?;
        }
        party.engine_mut(2)?.start_again()?;
        party.wait_all_up(felt::RETURN)?;
        ensure!(
            party.engine(2)?.address()? == lease,
            "another lease after the stop"
        );
        party.ping_all_pairs()
    })
}

#[test]
fn a_stopped_host_ends_no_party() -> Result<()> {
    scenario("stopped host", |lab| {
        let mut party = Party::start(lab, 3, Control::Local)?;
        let flow = Flow::start(party.engine(1)?.host(), party.engine(2)?.address()?)?;
        party.engine_mut(0)?.terminate()?;
        for engine in &party.engines[1..] {
            engine.wait_until("its control plane is away", felt::LOST, |status| {
                ensure!(!status.is_idle(), "the party is over: {}", status.summary());
                Ok(status.has_condition("control_away"))
            })?;
        }
        let (lost, sent) = flow.finish()?;
        ensure!(
            lost == 0,
            "{lost} of {sent} pings were lost while the host was away"
        );
        party.engine_mut(0)?.start_again()?;
        party.wait_all_up(felt::RETURN)?;
        for engine in &party.engines {
            engine.wait_until("the control plane is back", felt::RETURN, |status| {
                Ok(!status.has_condition("control_away"))
            })?;
        }
        party.ping_all_pairs()
    })
}

#[test]
fn all_stopped_and_started_in_any_order_are_one_party_again() -> Result<()> {
    scenario("reboot of everyone", |lab| {
        let mut party = Party::start(lab, 3, Control::Local)?;
        for engine in &mut party.engines {
            engine.terminate()?;
        }
        // The host last: those who are first have to wait for it.
        for engine in party.engines.iter_mut().rev() {
            engine.start_again()?;
        }
        party.wait_all_up(felt::RETURN)?;
        for (index, engine) in party.engines.iter().enumerate() {
            let expected = [10, 66, 0, u8::try_from(index + 1)?];
            ensure!(
                engine.address()?.octets() == expected,
                "engine {index} is {}",
                engine.address()?
            );
        }
        party.ping_all_pairs()
    })
}

#[test]
fn no_key_lies_open_and_no_log_holds_the_party_id() -> Result<()> {
    scenario("secrets", |lab| {
        let party = Party::start(lab, 2, Control::Local)?;
        let symbols: String = party.id.chars().filter(char::is_ascii_alphanumeric).collect();
        for engine in &party.engines {
            ensure!(
                !engine.log().replace('-', "").contains(&symbols),
                "standard error holds the party ID"
            );
        }
        let files = files_below(lab.files())?;
        ensure!(files.len() > 4, "the engines keep nothing: {files:?}");
        for path in files
            .into_iter()
            .filter(|path| path.ancestors().any(|above| above.ends_with("state")))
        {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let closed = fs::metadata(&path)?.permissions().mode() & 0o077 == 0;
            let text = String::from_utf8_lossy(&fs::read(&path)?).replace('-', "");
            let holds_id = text.contains(&symbols);
            ensure!(
                closed || !holds_id,
                "{} holds the party ID for all to read",
                path.display()
            );
            ensure!(
                closed || !name.contains("seed"),
                "{} may be read by others",
                path.display()
            );
            ensure!(
                !name.contains("log") || !holds_id,
                "the log {} holds the party ID",
                path.display()
            );
        }
        Ok(())
    })
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(files_below(&entry.path())?);
        } else if entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}

/// A member that is only away keeps its row, and is never shown as one that left.
fn ensure_listed(state: Option<&str>) -> Result<()> {
    ensure!(
        state.is_some_and(|state| state != "disconnected"),
        "the stopped member is shown as gone: {state:?}"
    );
    Ok(())
}
