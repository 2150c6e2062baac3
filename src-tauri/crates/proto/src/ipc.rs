//! The engine's IPC: frames of a 32-bit big-endian length and that many bytes of JSON, at most 1 MiB.
//!
//! The caller sends [`Frame`]s, the engine answers each with an [`Answer`] that repeats its id. An answer with id
//! 0, which no caller uses, is about the connection itself, which ends with it: not allowed, no room, garbage.
//! After `watch` the engine also sends [`Event`]s. The types are what `lanrage-engine … --json` prints.

use crate::doctor::Report;
use crate::fault::Fault;
use crate::games::Game;
use crate::lobby::{LobbyStatus, Rules, RulesChange};
use crate::settings::{ControlTest, LogPage, SettingChange, SettingsReport};
use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// The version of this protocol. Engine and caller are of one build; another number is a fault.
pub const VERSION: u16 = 1;

/// A request with its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// The caller's; repeated by the answer.
    pub id: u64,
    /// The version of the protocol that the caller speaks.
    pub ipc: u16,
    /// What is asked.
    pub call: Call,
}

/// What a caller asks of the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub enum Call {
    /// Found a party. Answered when it is active, by [`Reply::Created`].
    Create {
        /// What the party is called.
        party: String,
        /// What the player is called; the engine's own setting when absent.
        player: Option<String>,
    },
    /// Join the party in a text that holds an ID or an invite. Answered when the lease is there, by [`Reply::Joined`].
    Join {
        /// As typed or pasted.
        text: String,
        /// What the player is called; the engine's own setting when absent.
        player: Option<String>,
    },
    /// Leave; the host's leave ends the party. Answered when everything is taken down. It also cancels a create
    /// or join that is still going on.
    Leave,
    /// In this party, let peers reach something else on this computer, or carry other announces. Answered by `Done`.
    Rules {
        /// What to change.
        change: RulesChange,
    },
    /// The status, once.
    Status,
    /// The status now and after each change, as [`Event`]s; answered by `Done`.
    Watch,
    /// All that is known of the ways to friends. Without a party STUN servers are asked for it first, so that the
    /// answer may take some seconds.
    Doctor,
    /// How the engine is set. Answered by [`Reply::Settings`].
    Settings,
    /// Change a setting, for good. Whoever may create a party may. Answered by [`Reply::Settings`].
    Change {
        /// Which, and to what.
        change: SettingChange,
    },
    /// Try whether a control plane answers. Answered by [`Reply::ControlTest`].
    TestControl {
        /// Its `wss://` or `ws://` address.
        address: String,
    },
    /// A piece of the log, without what is nobody else's business. Answered by [`Reply::Log`].
    Log {
        /// The number of the first line wanted; 0 for all that is kept.
        from: u64,
    },
}

/// An answer or an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Message {
    /// To one request.
    Answer(Answer),
    /// After `watch`.
    Event(Event),
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Of the request.
    pub id: u64,
    /// What came of it.
    pub result: Result<Reply, Fault>,
}

/// What a request brought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The party is there.
    Created(Created),
    /// The lease is there.
    Joined(Joined),
    /// The status.
    Status(Status),
    /// What the ways to friends are like.
    Doctor(Box<Report>),
    /// How the engine is set.
    Settings(Box<SettingsReport>),
    /// The control plane answers.
    ControlTest(ControlTest),
    /// A piece of the log.
    Log(LogPage),
    /// Nothing to say.
    Done,
}

/// News for who watches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct Event {
    /// All of it, as it is now.
    pub status: Status,
}

/// A party that was founded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Created {
    /// Its name.
    pub party: String,
    /// Its ID.
    pub id: String,
    /// The ID with where to find it.
    pub invite: String,
    /// The own virtual address.
    pub address: String,
}

/// A party that was joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Joined {
    /// Its name.
    pub party: String,
    /// Its ID.
    pub id: String,
    /// The own virtual address.
    pub address: String,
}

/// Everything a window or a script can know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct Status {
    /// The engine itself.
    pub engine: EngineStatus,
    /// What stands between this computer and the internet.
    pub nat: NatStatus,
    /// The party, when in one.
    pub party: Option<PartyStatus>,
    /// Games that run on this computer, while in a party; none for callers to whom it does not belong.
    pub games: Vec<Game>,
    /// Lasting troubles; each clears by itself.
    pub conditions: Vec<Fault>,
}

/// The engine itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct EngineStatus {
    /// Of the program.
    pub version: String,
    /// Whether it can work.
    pub state: EngineState,
    /// What the player is called in the next party unless said otherwise.
    pub player: String,
    /// Its control plane.
    pub control: ControlStatus,
}

/// Whether the engine can work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum EngineState {
    /// It can.
    Ready,
    /// It can, with a condition that matters.
    Degraded,
    /// It can't make a network adapter.
    NoAdapter,
}

/// The control plane in use: the party's, or the one that the next party would be created on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct ControlStatus {
    /// Whose it is.
    pub mode: ControlMode,
    /// How it is.
    pub state: ControlState,
}

/// Who runs the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum ControlMode {
    /// The founder's engine.
    Local,
    /// A `lanrage-server`.
    Remote,
}

/// How the connection to the control plane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum ControlState {
    /// No party, none needed.
    Idle,
    /// Being reached.
    Connecting,
    /// There.
    Connected,
    /// It was there and is being tried again.
    Away,
}

/// What stands between this computer and the internet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct NatStatus {
    /// How it treats UDP.
    #[serde(rename = "type")]
    pub kind: NatType,
    /// The address and port that others see, when known.
    pub mapped: Option<String>,
}

/// How a NAT treats UDP, in the words of RFC 3489 that players know; found by RFC 5780's tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum NatType {
    /// No NAT.
    Open,
    /// Endpoint-independent mapping and filtering.
    FullCone,
    /// Endpoint-independent mapping, address-dependent filtering.
    RestrictedCone,
    /// Endpoint-independent mapping, address- and port-dependent filtering.
    PortRestrictedCone,
    /// Mapping that depends on the destination.
    Symmetric,
    /// Not known.
    #[default]
    Unknown,
}

/// The party as this member sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct PartyStatus {
    /// Its name; empty while joining.
    pub name: String,
    /// Its ID; absent for callers to whom the party does not belong.
    pub id: Option<String>,
    /// The ID with where to find it; absent likewise.
    pub invite: Option<String>,
    /// How far it is.
    pub state: PartyState,
    /// The member list's, as the control plane counts.
    #[ts(type = "number")]
    pub version: u64,
    /// In order of their addresses, the own row included.
    pub members: Vec<MemberStatus>,
    /// What peers may reach on this computer, and which announces are carried.
    #[serde(default)]
    pub rules: Rules,
    /// Which announces came how far.
    #[serde(default)]
    pub lobby: LobbyStatus,
}

/// How far the party is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum PartyState {
    /// Being founded.
    Creating,
    /// On the way in.
    Joining,
    /// In it.
    Active,
    /// In it, with the control plane away or the engine just restarted.
    Rejoining,
    /// On the way out.
    Leaving,
}

/// A row of the party.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct MemberStatus {
    /// The player's name; empty until the member's record is here.
    pub name: String,
    /// The virtual address.
    pub address: String,
    /// Whether this is the own row.
    #[serde(rename = "self")]
    pub is_self: bool,
    /// Whether it is the host.
    pub host: bool,
    /// How the connection to it is.
    pub state: PeerState,
    /// Which way packets go; none for the own row and while there is no way.
    pub path: Option<PathKind>,
    /// The relay that packets go through, by its host's name where that is known; none where they go straight.
    #[serde(default)]
    pub relay: Option<String>,
    /// Round-trip time, smoothed, milliseconds.
    pub rtt_ms: Option<f64>,
    /// Mean deviation of the round-trip time, milliseconds.
    pub jitter_ms: Option<f64>,
    /// Share of probes lost over the last 60 s, 0 to 1.
    pub loss: Option<f64>,
    /// What is wrong with the connection; none while it is well, or still being made.
    pub trouble: Option<PeerTrouble>,
    /// Its NAT, as it says.
    pub nat: NatType,
}

/// How the connection to a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum PeerState {
    /// Never up yet.
    Connecting,
    /// Up and well.
    Connected,
    /// Up, with loss, jitter or delay, or silent for 3 s.
    Degraded,
    /// Not up within 15 s; still tried, slowly.
    Failed,
    /// Was up, silent for 10 s.
    Lost,
    /// It left.
    Disconnected,
}

/// What is wrong with the connection to a member: why it is degraded, lost or failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum PeerTrouble {
    /// Too many probes are lost.
    Loss,
    /// The round-trip time varies too much.
    Jitter,
    /// The round-trip time is too long.
    Delay,
    /// It says nothing.
    Silent,
    /// Whatever was tried, nothing of it answers.
    Unreachable,
    /// There is no way past a relay, and neither side has one.
    NoRelay,
}

/// Which way packets to a member go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum PathKind {
    /// Within one local network.
    Lan,
    /// Straight across the internet.
    Direct,
    /// Through a relay.
    Relayed,
}
