//! The real window in front of real engines: `cargo xtask test --only window`, which gives it a display, a bus
//! and a network of its own. Pictures of every screen, light and dark, are left in `target/window-pictures`.
#![cfg(target_os = "linux")]

mod access;
mod browser;
mod clipboard;
mod desktop;
mod engine_states;
mod gallery;
mod links;
mod panel;
mod party;
mod recent;
mod tray;
mod words;
