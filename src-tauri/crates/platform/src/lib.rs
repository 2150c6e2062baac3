//! All of LANrage's operating-system code, and all of its `unsafe`.
//!
//! One module per thing the system offers. Each has the same public items on every system; what differs lives
//! in private submodules (`linux`, `macos`, `unix`, `windows`, …), so that no other crate needs a `cfg`. Where a system
//! has no implementation, its operations fail with an error that says so ([`Unsupported`]) instead of leaving
//! the item out.
//!
//! | module | is |
//! |---|---|
//! | [`adapter`] | the virtual network adapter (TUN) |
//! | [`routes`] | routes that clash with the party's range, and routes added for a while |
//! | [`capture`], [`groups`] | broadcasts of programs that use other interfaces, and multicast groups joined there |
//! | [`interfaces`] | the host's own addresses, and word of their change |
//! | [`sleep`] | noticing that the computer slept |
//! | [`udp`] | the primary UDP sockets |
//! | [`listeners`] | the UDP ports that programs here have open |
//! | [`poll`] | waiting for several of these at once, and being woken |
//! | [`realtime`] | priority of the data thread |
//! | [`ipc`], [`caller`] | the local socket between the engine and its clients, and who may use it |
//! | [`dirs`], [`files`], [`lock`] | where things are kept, how they are written, one engine per directory |
//! | [`firewall`] | letting in what friends send, on Windows |
//! | [`programs`] | programs that run, and the ports they wait on |
//! | [`rights`], [`process`] | what this process may do, and on whose behalf it runs |
//!
//! Nothing here decides anything about parties, and nothing depends on another crate of the workspace.

#![deny(unsafe_op_in_unsafe_fn)]

pub mod adapter;
pub mod caller;
pub mod capture;
pub mod dirs;
pub mod files;
pub mod firewall;
pub mod groups;
pub mod interfaces;
pub mod ipc;
pub mod listeners;
pub mod lock;
pub mod poll;
#[cfg(target_os = "linux")]
mod proc_net;
pub mod process;
pub mod programs;
pub mod realtime;
pub mod rights;
pub mod routes;
#[cfg(any(test, windows))]
mod sid;
pub mod sleep;
pub mod udp;
#[cfg(windows)]
mod windows;

/// This system has no implementation of the operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{operation} is not supported on {}", std::env::consts::OS)]
pub struct Unsupported {
    /// What was asked for, as a noun: "the network adapter".
    pub operation: &'static str,
}

impl From<Unsupported> for std::io::Error {
    fn from(unsupported: Unsupported) -> Self {
        std::io::Error::new(std::io::ErrorKind::Unsupported, unsupported)
    }
}
