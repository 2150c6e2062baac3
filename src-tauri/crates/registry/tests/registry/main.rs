//! The registry by what its clients see.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that can't go on has failed"
)]

mod admission;
mod invariants;
mod leases;
mod limits;
mod members;
mod restart;
mod servers;
mod service;
mod world;
