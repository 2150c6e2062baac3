//! Limits that both sides of a wire hold each other to.

use std::time::Duration;

/// Members a party has room for unless a server allows more (at most [`crate::Slot::MAX`]).
pub const PARTY_MEMBERS: u8 = 64;
/// The longest frame of the control plane's WebSocket, bytes.
pub const CONTROL_FRAME: usize = 64 * 1024;
/// The longest sealed record, bytes.
pub const SEALED_RECORD: usize = 700;
/// The longest sealed signal, bytes.
pub const SEALED_SIGNAL: usize = 700;
/// Candidates in one record or signal.
pub const CANDIDATES: usize = 12;
/// Member entries on one page of a snapshot: 32 of them with full records stay under [`CONTROL_FRAME`].
pub const SNAPSHOT_PAGE: usize = 32;
/// The longest frame of the engine's IPC, bytes.
pub const IPC_FRAME: usize = 1024 * 1024;
/// Addresses in an invite's `via=`.
pub const INVITE_VIA: usize = 8;
/// The longest text in which an invite is looked for, bytes.
pub const INVITE_TEXT: usize = 8 * 1024;
/// How often a member tells its control plane that it is still there.
pub const HEARTBEAT: Duration = Duration::from_secs(30);
/// Silence after which a control plane counts a member as gone.
pub const STALE: Duration = Duration::from_secs(5 * 60);
/// How often a control plane looks for such members.
pub const SWEEP: Duration = Duration::from_secs(60);
/// How long a control plane remembers that a party has ended.
pub const ENDED_MEMORY: Duration = Duration::from_secs(24 * 60 * 60);
/// The port that engines and servers take when nothing else is said.
pub const DEFAULT_PORT: u16 = 51820;
