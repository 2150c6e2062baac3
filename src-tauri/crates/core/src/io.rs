//! What goes into [`crate::member::Member`] and what comes out.
//!
//! Outputs that describe something lasting (adapter, table, hosting, browsing, the saved intent) are wishes: the
//! whole of what should be, sent whenever it changes. An edge compares with what is and acts on the difference.

use crate::keys::DeviceSeed;
pub use crate::lan::heard::Arrived;
pub use crate::lan::memory::Announced;

use crate::lan::Announce;
use crate::lobby::Ports;
use crate::mapping::{MapPlan, Mapped};
use crate::path::{Path, TransportId};
use crate::punch::HolePlan;
use crate::relays::{RelayEvent, RelayPlan, RelayServer};
use crate::table::Table;
use lanrage_proto::control::{ClientFrame, Sealed, ServerFrame};
use lanrage_proto::ipc::{Created, Joined};
use lanrage_proto::lobby::{Rules, RulesChange};
use lanrage_proto::party_id::FoundingNonce;
use lanrage_proto::{
    Fault, Invite, MemberId, PartyId, PartyName, PartyRange, PlayerName, ServerUrl, Slot, Tag,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// What a member is made of.
pub struct Config {
    /// From which all keys follow.
    pub seed: DeviceSeed,
    /// How many times the engine was started on this seed, this time included.
    pub boot: u32,
    /// Seed of the randomness of this run; never the same twice outside simulations.
    pub randomness: [u8; 32],
    /// What the player is called unless an intent says otherwise.
    pub player: PlayerName,
    /// The server that new parties are created on and joiners ask first; none is local mode.
    pub server: Option<ServerUrl>,
    /// The party's addresses for new parties.
    pub range: PartyRange,
    /// Relays of the player's own choosing, used before those that a control plane offers.
    pub relays: Vec<RelayServer>,
    /// Whether holes are made through NATs that ordinary probes don't get through ([`crate::punch`]).
    pub punching: bool,
    /// What peers may reach here, and which announces are carried, in parties that are created or joined.
    pub rules: Rules,
}

/// A connection to a control plane; numbers are never used again within a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u32);

/// An intent's number, chosen by who states it; repeated by its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IntentId(pub u64);

/// Everything that can happen to a member.
pub enum Input {
    /// The player wants something. Each intent gets exactly one [`Output::Answer`].
    Intent(IntentId, Intent),
    /// A connection to a control plane has news.
    Control(ConnId, ControlEvent),
    /// While browsing: control planes that showed, by a keyed hash, that they know the party.
    Found(Vec<SocketAddr>),
    /// The embedded control plane is as wished, or can't be.
    Hosting(Result<Hosting, Fault>),
    /// The adapter is as the last wish said, gone where that was none, or can't be.
    Adapter(Result<(), Fault>),
    /// A datagram that the data plane had no use for.
    Datagram(Path, Vec<u8>),
    /// Something the data plane noticed.
    Report(Report),
    /// The STUN servers to ask, in this order: what the names of [`Output::Resolve`] lead to, or others instead.
    StunServers(Vec<SocketAddr>),
    /// Something happened to a relay that was wished for.
    Relay(TransportId, RelayEvent),
    /// The addresses of this computer, at start and after each change.
    Network(Network),
    /// This computer slept for so long, or its clock shows that nothing ran meanwhile.
    Slept(Duration),
    /// What the router made of the last [`Output::Map`].
    Mapped(Mapped),
    /// Of the ports that [`Output::Listen`] names, those that programs have; none where the system does not tell.
    Ports(Option<Ports>),
}

/// What a player can want.
#[derive(Clone)]
pub enum Intent {
    /// Found a party.
    Create {
        /// What it is called.
        party: PartyName,
        /// What the player is called in it.
        player: PlayerName,
        /// Now, seconds since 1970, for the founding record.
        created: u64,
    },
    /// Join a party.
    Join {
        /// Which, and perhaps where.
        invite: Invite,
        /// What the player is called in it.
        player: PlayerName,
    },
    /// Go on with the party that was saved before the engine ended.
    Resume(Box<Saved>),
    /// Leave; as the host, end the party.
    Leave,
    /// In this party, let peers reach something else here, or carry other announces.
    Rules(RulesChange),
}

/// What became of an intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The party is there.
    Created(Created),
    /// The lease is there.
    Joined(Joined),
    /// Everything is taken down.
    Left,
    /// The party is being gone on with.
    Resuming,
    /// The rules hold.
    Ruled,
}

/// What happens to a connection to a control plane.
#[derive(Debug, Clone)]
pub enum ControlEvent {
    /// The WebSocket is open.
    Open,
    /// A frame came.
    Frame(Box<ServerFrame>),
    /// It could not be opened, or is closed; nothing more comes from it. The fault says why where that helps:
    /// `control_untrusted`, `version_unsupported`, else none.
    Closed(Option<Fault>),
}

/// The embedded control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosting {
    /// Its TCP port on every address of this computer.
    pub port: u16,
}

/// How this computer is connected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// Its unicast addresses with the lengths of their on-link prefixes; never our own adapter's.
    pub addresses: Vec<(IpAddr, u8)>,
    /// The own address that leads out to the internet, for each family that has one: it changes with the default route.
    pub outward: Vec<IpAddr>,
    /// The UDP port of the primary sockets.
    pub port: u16,
}

/// What the data plane tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// A tunnel has a session: a handshake was answered and something authentic arrived in it.
    Established(Slot),
    /// A tunnel's session ran out.
    Expired(Slot),
    /// Something authentic arrived, by this path; at most once a second for each peer and path.
    Heard(Slot, Path),
    /// Packets went out for a quarter of a second and nothing authentic came; again after each further one.
    Quiet(Slot),
    /// There is something to send, no session or one that seems dead, and the other side is the one to start it.
    Wanted(Slot),
    /// Somebody unknown began a handshake: perhaps a member whose record has not come yet.
    Stranger(Path),
    /// What is known of an announce of a program here, when something about it is new, and while it goes on.
    Announced(Box<Announced>),
    /// A peer's announce came, when it is new, when its group is joined or left here, and while it goes on.
    Arrived(Arrived),
}

/// Everything a member can want done.
pub enum Output {
    /// Send a datagram.
    Transmit(Path, Vec<u8>),
    /// Open a WebSocket to a control plane.
    Dial(ConnId, ServerUrl),
    /// Send a frame on it.
    Say(ConnId, Box<ClientFrame>),
    /// Close it after what was said has been sent; unknown or closed ones are no error.
    Hangup(ConnId),
    /// Wish: look for this party's control plane on the local network.
    Browse(Option<[u8; 32]>),
    /// Wish: run the embedded control plane for this tag, announced on the local network by this discovery key.
    Host(Option<HostPlan>),
    /// Wish: the adapter.
    Configure(Option<AdapterPlan>),
    /// Wish: the peer table, for the data plane.
    Table(Table),
    /// Wish: addresses of STUN servers, to be handed in by [`Input::StunServers`]; none without a party. These are the
    /// ones, `host:port`, that the control plane names; where it names none, the engine's own.
    Resolve(Option<Vec<String>>),
    /// Wish: the relays to hold allocations on. Datagrams are sent and received by them as by any transport.
    Relays(Vec<RelayPlan>),
    /// Wish: UDP sockets for IPv4 that are open besides the primary ones, each a transport of its own. What can't be
    /// opened is left out; datagrams by it are lost.
    Holes(Vec<HolePlan>),
    /// Wish: ports that the router in front should lead here.
    Map(Option<MapPlan>),
    /// Wish: UDP ports of this computer to look at again and again; what changes comes by [`Input::Ports`]. Without any
    /// there is nothing to look at.
    Listen(BTreeSet<u16>),
    /// Give a peer an announce again, as a program there listens for it only now.
    Replay(Slot, Announce),
    /// The program that announced from this UDP port is gone: don't replay its announces.
    Forget(u16),
    /// Wish: what to remember across restarts. It must be on disk before later outputs are carried out.
    Persist(Option<Box<Saved>>),
    /// What became of an intent.
    Answer(IntentId, Result<Outcome, Fault>),
    /// The status changed; ask [`crate::member::Member::status`] when somebody wants to know.
    View,
    /// It changed in nothing but how good connections are: pings, jitter, loss.
    Measures,
    /// Something worth telling a reader of logs and transcripts.
    Event(Event),
}

/// The embedded control plane that should be.
#[derive(Clone, PartialEq, Eq)]
pub struct HostPlan {
    /// The only party it serves.
    pub tag: Tag,
    /// Keys the hashes in its adverts.
    pub discovery: [u8; 32],
}

/// The adapter that should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdapterPlan {
    /// The own virtual address.
    pub address: Ipv4Addr,
    /// The party's addresses.
    pub range: PartyRange,
    /// Bytes.
    pub mtu: u16,
}

/// What is remembered across restarts.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The party.
    pub id: PartyId,
    /// What the player is called in it.
    pub player: PlayerName,
    /// The founder's half of the founding; none for those who joined.
    pub nonce: Option<FoundingNonce>,
    /// The founding record.
    pub founding: Sealed,
    /// Where the party lives.
    pub home: Home,
    /// The own lease.
    pub slot: Slot,
    /// The newest record of each other member: whom to expect, by which keys, and where to look for it.
    pub records: Vec<Sealed>,
    /// Whose record came by a path and was not shown by a control plane yet.
    #[serde(default)]
    pub heard: Vec<MemberId>,
    /// What peers may reach here, and which announces are carried.
    #[serde(default)]
    pub rules: Rules,
}

/// Where a party lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Home {
    /// In this engine.
    Here,
    /// In the founder's engine, at one of these addresses when last seen.
    Founder(Vec<SocketAddr>),
    /// On a server.
    Server(ServerUrl),
}

/// Turns in the life of a party, for logs and transcripts. `Display` names members by slot and never shows keys.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The party's state changed.
    Party {
        /// From.
        from: &'static str,
        /// To.
        to: &'static str,
        /// Why.
        cause: String,
    },
    /// A peer's state changed.
    Peer {
        /// Whose.
        slot: Slot,
        /// From.
        from: &'static str,
        /// To.
        to: &'static str,
        /// Why.
        cause: String,
    },
    /// A peer's path changed.
    Path {
        /// Whose.
        slot: Slot,
        /// To which.
        path: Option<Path>,
    },
    /// A try to make a hole to a peer goes on.
    Punch {
        /// To whom.
        slot: Slot,
        /// How.
        turn: &'static str,
    },
    /// Something was refused; also a condition.
    Refused(Fault),
    /// The connection to the control plane changed.
    Control(String),
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Event::Party { from, to, cause } => write!(f, "party {from} → {to}: {cause}"),
            Event::Peer {
                slot,
                from,
                to,
                cause,
            } => write!(f, "peer {} {from} → {to}: {cause}", slot.get()),
            Event::Path {
                slot,
                path: Some(path),
            } => write!(f, "peer {} by {path}", slot.get()),
            Event::Path { slot, path: None } => write!(f, "peer {} without a path", slot.get()),
            Event::Punch { slot, turn } => write!(f, "hole to peer {}: {turn}", slot.get()),
            Event::Refused(fault) => write!(f, "refused: {fault} {:?}", fault.details),
            Event::Control(text) => write!(f, "control plane {text}"),
        }
    }
}
