//! `bench party`: what a party costs, and how fast it is next to a bare cable and to others that tunnel as it does.

use anyhow::Result;
use lanrage_tests::lab::scenario;

use crate::{crowd, link, window};

/// Measure what a party costs and how fast it is.
#[derive(clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn run(_: &Arguments) -> Result<()> {
    // A lab for each: nothing of one runs while another is measured.
    let crowd = scenario("party", crowd::measure)?;
    let speed = scenario("speed", link::measure)?;
    let window = scenario("window", window::measure)?;
    crowd.print();
    speed.print();
    window.print();
    Ok(())
}
