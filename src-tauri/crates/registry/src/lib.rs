//! The control plane's side: parties, leases, signalling, staleness and limits.
//!
//! [`Registry`] is pure: frames, connections and the time come in as arguments, changes to store and frames to
//! send come out of [`Registry::poll`]. Whoever hosts it (the server, or an engine in local mode) keeps to one
//! rule: **durable before acknowledged**. Drain `poll`, commit all [`Output::Store`] changes in one go, then
//! carry out the sends and closes in their order. [`Service`] does that over any [`Store`] and speaks the text
//! frames of the wire, so that a host is left with sockets and a clock.
//!
//! What a control plane may know is little, and so is what it checks: a party is a tag, a member is a public key
//! that has signed this connection's challenge, everything else is sealed. The registry deals slots, keeps each
//! author's newest record, passes signals and statements on, and forgets who is silent.
//!
//! ```text
//! connection   new ── hello ──► challenged ── prove ──► proven ── register, join ──► joined
//!                                                         ▲ └ discover                 │
//!                                                         └──────── leave ─────────────┘
//! ```

mod connection;
pub mod ipam;
mod pace;
mod party;
mod registry;
mod servers;
mod service;
mod snapshot;
mod store;

pub use connection::{ConnId, Source};
pub use registry::{Config, Output, Registry};
pub use servers::{NoServers, Servers};
pub use service::{Delivery, Service};
pub use snapshot::{SnapshotError, snapshot_from_bytes, snapshot_to_bytes};
pub use store::{Change, MemoryStore, Mirror, Store, StoreError, StoredMember, StoredParty, StoredState};
