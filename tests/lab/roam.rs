//! Members far apart whose networks change in mid-game: a steady stream over TCP goes on through all of it, and how long
//! a game hears nothing is printed. Deadlines are those of the simulation; here they are held against what a busy machine
//! needs.

use std::time::Duration;

use anyhow::{Result, ensure};
use lanrage_tests::lab::{Line, Nat, PATIENCE, Roaming, Trouble, scenario};

/// A line as somebody far away has it.
const FAR: Line = Line {
    delay: Duration::from_millis(20),
    jitter: Duration::from_millis(2),
    loss: 0.01,
};

#[test]
fn a_direct_pair_goes_on_playing() -> Result<()> {
    roam(
        "roaming, direct",
        [Nat::PortRestrictedCone; 2],
        Line::default(),
        "direct",
    )
}

#[test]
fn a_direct_pair_on_bad_lines_goes_on_playing() -> Result<()> {
    roam(
        "roaming, direct, bad lines",
        [Nat::PortRestrictedCone; 2],
        FAR,
        "direct",
    )
}

#[test]
fn a_pair_of_which_one_is_open_goes_on_playing() -> Result<()> {
    roam(
        "roaming, open",
        [Nat::Open, Nat::PortRestrictedCone],
        FAR,
        "direct",
    )
}

#[test]
fn a_relayed_pair_goes_on_playing() -> Result<()> {
    roam(
        "roaming, relayed",
        [Nat::SymmetricRandom; 2],
        Line::default(),
        "relayed",
    )
}

#[test]
fn a_relayed_pair_on_bad_lines_goes_on_playing() -> Result<()> {
    roam(
        "roaming, relayed, bad lines",
        [Nat::SymmetricRandom; 2],
        FAR,
        "relayed",
    )
}

#[test]
fn a_pair_of_which_one_has_no_udp_goes_on_playing() -> Result<()> {
    let nats = [Nat::UdpBlocked, Nat::PortRestrictedCone];
    roam("roaming, by TCP", nats, FAR, "relayed")
}

/// A hole is lost with either's mapping: the relay carries until there is another.
#[test]
fn a_pair_with_a_hole_goes_on_playing() -> Result<()> {
    let troubles = [
        Trouble::Forgets(0),
        Trouble::Forgets(1),
        Trouble::Moves(1),
        Trouble::Killed(0),
    ];
    let nats = [Nat::PortRestrictedCone, Nat::SymmetricRandom];
    play(
        "roaming, on a hole",
        nats,
        Line::default(),
        "direct",
        &[],
        &troubles,
    )
}

fn roam(name: &str, nats: [Nat; 2], line: Line, way: &str) -> Result<()> {
    // A hole would lead past the relay that is looked at here.
    play(name, nats, line, way, &["--no-punching"], &Trouble::ALL)
}

fn play(
    name: &str,
    nats: [Nat; 2],
    line: Line,
    way: &str,
    flags: &[&str],
    troubles: &[Trouble],
) -> Result<()> {
    scenario(name, |lab| {
        let mut game = Roaming::begin(lab, nats, line, way, flags)?;
        for trouble in troubles {
            let (what, deadline) = (trouble.name(), trouble.deadline());
            let silence = game.through(*trouble)?;
            println!(
                "{what}: silent for {:.2} s, deadline {deadline:?}",
                silence.as_secs_f64()
            );
            ensure!(silence <= deadline * PATIENCE, "{what}: silent for {silence:?}");
        }
        game.end()
    })
}
