//! Real engines in network namespaces: `cargo xtask test --only lab`.
#![cfg(target_os = "linux")]

mod harness;
