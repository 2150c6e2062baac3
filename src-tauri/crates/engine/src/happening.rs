//! What the edges tell the control loop.

use crate::mapper::Told;
use lanrage_core::io::{ConnId, ControlEvent, Hosting, Report};
use lanrage_core::lobby::Ports;
use lanrage_core::path::{Path, TransportId};
use lanrage_core::relays::RelayEvent;
use lanrage_platform::caller::Caller;
use lanrage_proto::Fault;
use lanrage_proto::games::Game;
use lanrage_proto::ipc::{Call, Reply};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Room for what happens while the loop is busy. Edges that must not lose anything wait for room, which holds
/// their own sender up in turn.
pub(crate) const ROOM: usize = 1024;

/// Something happened.
pub(crate) enum Happening {
    /// On a connection to a control plane.
    Control(ConnId, ControlEvent),
    /// A control plane of the party was found on the local network.
    Found(Vec<SocketAddr>),
    /// Addresses of STUN servers were found, by the look-up of this number.
    StunServers(u64, Vec<SocketAddr>),
    /// The embedded control plane runs, or can't.
    Hosting(Result<Hosting, Fault>),
    /// The data plane noticed something.
    Report(Report),
    /// Something happened to a relay.
    Relay(TransportId, RelayEvent),
    /// The router in front was asked for ports.
    Mapped(Box<Told>),
    /// Of the UDP ports that were asked for, those that programs have; none where the system does not tell.
    Ports(Option<Ports>),
    /// The adapter is gone; somebody removed it.
    AdapterGone,
    /// What games broadcast on other interfaces can't be captured any more.
    CaptureGone,
    /// These games run here, and no others.
    Games(Vec<Game>),
    /// Addresses, links or routes of this computer may have changed.
    Network,
    /// The computer slept for so long.
    Slept(Duration),
    /// The process may open no more files, or may again.
    OutOfFiles(bool),
    /// Somebody asks for something.
    Asked(Asked),
}

/// A request that only the control loop can answer.
pub(crate) struct Asked {
    /// Who asks; the system says so.
    pub(crate) caller: Caller,
    /// What for.
    pub(crate) call: Call,
    /// For the answer. A caller that went away is no reason not to carry the request out.
    pub(crate) answer: oneshot::Sender<Result<Reply, Fault>>,
}

/// A datagram that is not WireGuard's.
pub(crate) struct Stray {
    /// Which way it came.
    pub(crate) path: Path,
    /// All of it.
    pub(crate) bytes: Vec<u8>,
}

/// The door to the control loop.
pub(crate) type Happenings = mpsc::Sender<Happening>;
