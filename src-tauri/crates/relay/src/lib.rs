//! A STUN and TURN server that decides and never does: datagrams, stream frames and the time come in as
//! arguments, what to send and which sockets to open comes out.
//!
//! STUN is RFC 8489 Binding with the behaviour discovery of RFC 5780 where there are two addresses. TURN is RFC
//! 8656 with UDP relays; clients come by UDP, TCP or TLS. Its users are not stored anywhere: a control plane that
//! knows the same secret hands out names that carry their expiry ([`credentials`]).
//!
//! ```text
//!            listeners                             relay sockets, one each allocation
//!                │  ▲                                      │  ▲
//!   from_client  │  │ Target::Client, Action::Answer       │  │ Target::Peer
//!                ▼  │                                      ▼  │
//!            ┌──────────────────────── Server ────────────────────────┐
//!            │ data: ChannelData, Send, Data   (wire.rs, forward.rs)  │  from_peer
//!            │ requests: rate ► nonce ► HMAC ► stun-rs ► rules        │  relay_opened
//!            │ state: allocations, permissions, channels, accounts    │  wake, next_wake
//!            └────────────────────────────────────────────────────────┘
//! ```
//!
//! Decisions:
//!
//! - **Data never meets the message library.** ChannelData and Send indications are read, ChannelData and Data
//!   indications written by [`wire`], by copying the payload once into the caller's buffer. Requests, a few each
//!   minute and client, are decoded and answered with stun-rs.
//! - **A stranger costs little.** What it takes before a request is believed (form, rate of its source, nonce, HMAC)
//!   is looked at in place; the decoder only sees what a holder of credentials signed. Nonces are keyed hashes of
//!   time and source, the rate table has a fixed size: nothing is remembered about who has not authenticated.
//! - **An expiry is checked when something is allocated.** From then on the allocation's own key counts, for a day
//!   at most; so play does not end because a name did.
//! - **Relays among clients stay inside.** What goes from one allocation to another's relayed address is handed over
//!   without touching a socket.
//! - **Who may be relayed to** ([`rules`], [`seen`]): our own relayed addresses, and public addresses that showed
//!   themselves here in the last ten minutes. A relay that reaches anybody is a gift to those who look for one.
//! - Not offered: TCP relays (RFC 6062, answered 442), reserved ports (508), DONT-FRAGMENT (420), a second relayed
//!   address in one allocation (ADDITIONAL-ADDRESS-FAMILY, ignored as RFC 8656 §7.2 allows), mobility.

#![forbid(unsafe_code)]

mod allocation;
mod answer;
mod binding;
mod client;
pub mod config;
mod counters;
pub mod credentials;
mod nonce;
mod pace;
mod queue;
mod quota;
pub mod rules;
mod seen;
mod server;
mod stream;
pub mod wire;

pub use client::{Action, Client, Link, RelayId, Service, Target};
pub use config::{Behaviour, Config, Limits, RelayAddress};
pub use counters::Counters;
pub use queue::{Overflow, Queue, Weight};
pub use server::Server;
pub use stream::{Framer, NotTurn};
