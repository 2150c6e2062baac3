//! The words LANrage's programs share: identifiers, party ID and invite, the control plane's messages,
//! the engine's IPC messages, and faults.
//!
//! Bytes and strings from outside become these types once, at the door; inside nothing is left to
//! validate. The crate is pure: no I/O, no clock.

pub mod admission;
pub mod bytes;
pub mod control;
pub mod doctor;
pub mod fault;
pub mod games;
pub mod ids;
pub mod invite;
pub mod ipc;
pub mod limits;
pub mod lobby;
pub mod name;
pub mod party_id;
pub mod range;
pub mod redact;
pub mod server_url;
pub mod settings;
pub mod turn_uri;

#[cfg(test)]
mod bindings;

pub use bytes::Bytes;
pub use fault::{Fault, FaultCode, Why};
pub use ids::{MemberId, SealPublic, Seq, Slot, Tag, WgPublic};
pub use invite::Invite;
pub use name::{PartyName, PlayerName};
pub use party_id::PartyId;
pub use range::PartyRange;
pub use server_url::ServerUrl;
pub use turn_uri::{TurnTransport, TurnUri};
