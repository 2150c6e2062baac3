//! LANrage's engine: the one privileged program. It carries out what `lanrage-core` decides, with a real
//! adapter, real sockets and real files, and is spoken to over local IPC.
//!
//! - `run` is the engine: a control loop that owns the member, a data thread that moves packets, and the edges
//!   around them (control client, embedded control plane, mDNS, IPC server).
//! - [`cli`] is the command line: `run` starts the engine, every other verb is an ordinary IPC client.
//! - [`settings`] and [`state`] are what the engine reads at start and remembers across restarts.
//! - [`frames`] cuts the IPC's byte stream into frames, at both ends.

mod adapter;
mod announces;
mod checkup;
mod choices;
pub mod cli;
mod control_client;
mod control_loop;
mod data;
mod embedded;
pub mod frames;
mod games;
mod happening;
mod holes;
mod ipc_server;
mod journal;
mod listeners;
mod log_tail;
mod logging;
mod mapper;
mod mdns;
mod network;
mod relays;
mod run;
pub mod settings;
mod spare;
pub mod state;
pub mod stun;
mod trust;
