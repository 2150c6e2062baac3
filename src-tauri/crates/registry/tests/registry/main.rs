//! The registry by what its clients see.

mod admission;
mod invariants;
mod leases;
mod limits;
mod members;
mod restart;
mod service;
mod world;
