//! Identifiers and public keys.

use crate::bytes::fixed_bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

fixed_bytes! {
    /// A member's identity within one party: its Ed25519 public key (RFC 8032). Another party, another identity.
    MemberId, 32
}
fixed_bytes! {
    /// What a control plane knows a party by: blake3 of the public half of the party's admission key.
    Tag, 32
}
fixed_bytes! {
    /// An X25519 public key (RFC 7748) that WireGuard, and nothing else, uses.
    WgPublic, 32
}
fixed_bytes! {
    /// An X25519 public key (RFC 7748) from which two members derive the keys of their signals and probes.
    SealPublic, 32
}
fixed_bytes! {
    /// An Ed25519 signature (RFC 8032).
    Signature, 64
}
fixed_bytes! {
    /// 32 random bytes by which a control plane makes each proof a fresh one.
    Challenge, 32
}

impl MemberId {
    /// A few characters that tell members apart in a log. Not a secret, and no identity beyond the party.
    pub fn short(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.0[..4])
    }
}

/// A member's place in the party, from 1 (the founder, for ever) to 250; its virtual address follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Slot(u8);

/// A number that is no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a slot is a number from 1 to 250")]
pub struct NotASlot;

impl Slot {
    /// The founder's.
    pub const FOUNDER: Slot = Slot(1);
    /// The highest a server may deal.
    pub const MAX: Slot = Slot(250);

    /// The slot as a number, from 1 to 250.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for Slot {
    type Error = NotASlot;
    fn try_from(number: u8) -> Result<Self, NotASlot> {
        if (1..=Self::MAX.0).contains(&number) {
            Ok(Self(number))
        } else {
            Err(NotASlot)
        }
    }
}

impl From<Slot> for u8 {
    fn from(slot: Slot) -> u8 {
        slot.0
    }
}

/// An author's sequence number: it grows with each thing the author says and across its restarts, so that what
/// is older can be told and refused. The upper half counts the engine's starts, the lower half what was said since.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The number before the first thing said after the `boot`th start.
    pub fn at_boot(boot: u32) -> Self {
        Self(u64::from(boot) << 32)
    }

    /// The number of the next thing said.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Which start of the author it was said after.
    pub fn boot(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// How many times the party has changed hands, home or ID: what is said in an earlier epoch no longer counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u32);

/// One life of a control plane's memory of a party. After another incarnation nothing it said before holds,
/// and a full snapshot is due.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

/// The state of a party in its control plane: comparable within one incarnation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// Whose count it is.
    pub incarnation: Incarnation,
    /// Grows by one with each change of the party.
    pub counter: u64,
}
