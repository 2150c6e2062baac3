//! A member's side of a party, without sockets, clock or threads.
//!
//! [`member::Member`] decides: party, connections, paths. [`dataplane::Dataplane`] moves packets by the table
//! that `Member` hands out and never decides. Both take time, randomness and bytes as arguments; what they want
//! done comes out as values that an edge carries out: the engine with real sockets, the simulation in virtual time.

mod conditions;
mod connection;
mod context;
mod control;
mod coordinator;
pub mod dataplane;
mod desk;
pub mod doctor;
mod gain;
pub mod io;
pub mod keys;
pub mod lan;
pub mod latency;
pub mod lobby;
pub mod mapping;
pub mod member;
pub mod nat;
mod pace;
mod party;
pub mod path;
pub mod probe;
pub mod punch;
pub mod records;
pub mod relays;
mod roster;
mod seek;
mod silence;
mod standing;
pub mod stun;
pub mod table;
pub mod wg;

/// Whether boringtun runs on a mock clock in this build. Programs refuse to start then: they would never re-key.
pub const VIRTUAL_TIME: bool = cfg!(feature = "virtual-time");
