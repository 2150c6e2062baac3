//! LANrage's server: the registry over WebSocket, on TLS or plain, with its parties in memory or in SQLite; and
//! STUN and TURN beside it ([`relay`]).
//!
//! ```text
//! listener ─► connection task (TLS, HTTP, WebSocket) ── events ──► registry thread: Service over a Store
//!                         ▲                                                   │ one commit, then
//!                         └────────────── frames, bounded per client ─────────┘ what it allows to say
//! ```
//!
//! One thread owns the registry and its store, so nothing is locked and everything that arrives while a commit
//! runs shares the next one. A client that does not read what it is told is dropped, not waited for.

pub mod config;
mod hub;
pub mod relay;
mod server;
mod socket;
mod sources;
pub mod store;
mod tls;

pub use config::{Args, Settings};
pub use server::{Server, check_room};
