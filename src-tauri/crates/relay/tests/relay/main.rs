//! The server by what its clients and their peers see, in virtual time.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that can't go on has failed"
)]

mod abuse;
mod allocations;
mod authentication;
mod binding;
mod channels;
mod forwarding;
mod garbage;
mod permissions;
mod world;
