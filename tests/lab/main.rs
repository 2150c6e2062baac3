//! Real engines in network namespaces: `cargo xtask test --only lab`.
#![cfg(target_os = "linux")]

mod announces;
mod crash;
mod doctor;
mod fallback;
mod games;
mod harness;
mod hostile;
mod nat;
mod nat_matrix;
mod nat_named;
mod outside;
mod party;
mod port_mapping;
mod punching;
mod relays;
mod restore;
mod roam;
mod server;
mod stop;
