//! Real engines in network namespaces: `cargo xtask test --only lab`.
#![cfg(target_os = "linux")]

mod crash;
mod fallback;
mod harness;
mod hostile;
mod nat;
mod nat_matrix;
mod nat_named;
mod party;
mod punching;
mod relays;
mod roam;
mod server;
mod stop;
