//! The server by what its clients see, on 127.0.0.1.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that can't go on has failed"
)]

mod client;
mod coturn;
mod hostile;
mod parties;
mod program;
mod restart;
mod tls;
mod turn;
