//! States that a window may have to show.

mod lobbies;
mod troubles;

pub use lobbies::{heard, seen_by_all, seen_by_some};

use lanrage_proto::Fault;
use lanrage_proto::ipc::{
    ControlMode, ControlState, ControlStatus, EngineState, EngineStatus, MemberStatus, NatStatus, NatType,
    PartyState, PartyStatus, PathKind, PeerState, PeerTrouble, Status,
};

/// The party ID in every scene.
pub const ID: &str = "K7QF-9M2X-RT4B-W8HD-5NC7";

/// What a scripted engine does before the window.
#[derive(Debug, Clone)]
pub enum Scene {
    /// It shows this.
    Shows(Box<Status>),
    /// There is no party, and every create and join is refused for this.
    Refuses(Fault),
    /// It can't be talked to, for this reason.
    Away(Fault),
}

impl Scene {
    /// What is wrong in it, if anything: the first thing that the window says.
    #[must_use]
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Shows(status) => status.conditions.first(),
            Self::Refuses(fault) | Self::Away(fault) => Some(fault),
        }
    }
}

/// Every scene by name.
#[must_use]
pub fn all() -> Vec<(&'static str, Scene)> {
    let mut all: Vec<(&str, Scene)> = well()
        .into_iter()
        .chain(lobbies::shown())
        .chain(troubles::shown())
        .map(|(name, status)| (name, Scene::Shows(Box::new(status))))
        .collect();
    all.extend(troubles::refused().map(|(name, fault)| (name, Scene::Refuses(fault))));
    all.extend(troubles::away().map(|(name, fault)| (name, Scene::Away(fault))));
    all
}

/// Parties and ways into one, with nothing wrong but what members have.
fn well() -> [(&'static str, Status); 16] {
    [
        ("idle", idle()),
        ("creating", creating()),
        ("joining", joining()),
        ("alone", in_party(vec![me(1, "Anna", true)])),
        ("connecting", with_tom(unreached(2, "Tom", PeerState::Connecting))),
        ("direct", direct()),
        ("lan", with_tom(peer(2, "Tom", PathKind::Lan, 0.4))),
        ("relayed", with_tom(peer(2, "Tom", PathKind::Relayed, 44.0))),
        ("degraded", with_tom(degraded(2, "Tom"))),
        ("left", with_tom(unreached(2, "Tom", PeerState::Disconnected))),
        ("lost", with_tom(lost(2, "Tom"))),
        ("failed", with_tom(failed(2, "Tom"))),
        ("mixed", mixed()),
        ("crowd", crowd()),
        ("long-names", long_names()),
        ("another-user", another_user()),
    ]
}

/// No party, all well.
#[must_use]
pub fn idle() -> Status {
    Status {
        engine: EngineStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state: EngineState::Ready,
            player: "Anna".to_owned(),
            control: ControlStatus {
                mode: ControlMode::Local,
                state: ControlState::Idle,
            },
        },
        nat: NatStatus {
            kind: NatType::Unknown,
            mapped: None,
        },
        party: None,
        games: Vec::new(),
        conditions: Vec::new(),
    }
}

/// On the way to an own party.
#[must_use]
pub fn creating() -> Status {
    entering(PartyState::Creating, "Friday night", ControlState::Connecting)
}

/// On the way into a friend's party.
#[must_use]
pub fn joining() -> Status {
    entering(PartyState::Joining, "", ControlState::Connecting)
}

/// Four players, all well.
#[must_use]
pub fn direct() -> Status {
    in_party(vec![
        me(1, "Anna", true),
        peer(2, "Tom", PathKind::Direct, 38.0),
        peer(3, "Zoë", PathKind::Direct, 21.4),
        peer(4, "Ben", PathKind::Lan, 0.4),
    ])
}

/// One member of each kind.
#[must_use]
pub fn mixed() -> Status {
    let mut host = peer(1, "Anna", PathKind::Direct, 12.3);
    host.host = true;
    let weak = degraded(5, "Maximilian the Unreasonably Long-Named");
    in_party(vec![
        host,
        me(2, "Tom", false),
        peer(3, "Kim", PathKind::Relayed, 38.2),
        unreached(4, "Zoë", PeerState::Connecting),
        weak,
        lost(6, "Ben"),
        failed(7, ""),
        unreached(8, "Ola", PeerState::Disconnected),
    ])
}

/// More players than fit on the screen.
#[must_use]
pub fn crowd() -> Status {
    let names = [
        "Tom", "Zoë", "Ben", "Kim", "Ola", "Noah", "Mia", "Finn", "Lena", "Jonas", "Ida", "Max", "Leo",
    ];
    let paths = [
        PathKind::Direct,
        PathKind::Lan,
        PathKind::Direct,
        PathKind::Relayed,
    ];
    let peers = names.iter().zip(2_u8..).zip(paths.into_iter().cycle());
    let mut members = vec![me(1, "Anna", true)];
    members.extend(peers.map(|((name, slot), path)| peer(slot, name, path, f64::from(slot) * 7.3)));
    in_party(members)
}

/// Names as long as they may be, some in one word.
#[must_use]
pub fn long_names() -> Status {
    let mut host = peer(1, &"W".repeat(40), PathKind::Direct, 1234.0);
    host.host = true;
    let mut status = in_party(vec![
        host,
        me(2, &"m".repeat(40), false),
        peer(
            3,
            "Dr. Friedrich Wilhelm von und zu Hohenau",
            PathKind::Relayed,
            88.0,
        ),
        unreached(4, &"x".repeat(40), PeerState::Lost),
    ]);
    name(&mut status, &"W".repeat(40));
    status
}

fn another_user() -> Status {
    let mut status = direct();
    if let Some(party) = &mut status.party {
        party.id = None;
        party.invite = None;
    }
    status
}

/// An active party of these members.
#[must_use]
pub fn in_party(members: Vec<MemberStatus>) -> Status {
    let mut status = entering(PartyState::Active, "Friday night", ControlState::Connected);
    if let Some(party) = &mut status.party {
        party.members = members;
    }
    status
}

/// The own row.
#[must_use]
pub fn me(slot: u8, name: &str, host: bool) -> MemberStatus {
    MemberStatus {
        is_self: true,
        host,
        state: PeerState::Connected,
        ..unreached(slot, name, PeerState::Connected)
    }
}

/// A peer that is up.
#[must_use]
pub fn peer(slot: u8, name: &str, path: PathKind, rtt_ms: f64) -> MemberStatus {
    MemberStatus {
        path: Some(path),
        relay: (path == PathKind::Relayed).then(|| "play.example.org".to_owned()),
        rtt_ms: Some(rtt_ms),
        jitter_ms: Some(rtt_ms / 20.0),
        loss: Some(0.0),
        ..unreached(slot, name, PeerState::Connected)
    }
}

/// A peer that is up and bad to play with.
#[must_use]
pub fn degraded(slot: u8, name: &str) -> MemberStatus {
    MemberStatus {
        state: PeerState::Degraded,
        loss: Some(0.08),
        jitter_ms: Some(44.0),
        trouble: Some(PeerTrouble::Loss),
        ..peer(slot, name, PathKind::Direct, 141.0)
    }
}

/// A peer that has gone silent.
#[must_use]
pub fn lost(slot: u8, name: &str) -> MemberStatus {
    MemberStatus {
        trouble: Some(PeerTrouble::Silent),
        ..unreached(slot, name, PeerState::Lost)
    }
}

/// A peer that was never reached.
#[must_use]
pub fn failed(slot: u8, name: &str) -> MemberStatus {
    MemberStatus {
        trouble: Some(PeerTrouble::NoRelay),
        nat: NatType::Symmetric,
        ..unreached(slot, name, PeerState::Failed)
    }
}

/// A peer to whom there is no way.
#[must_use]
pub fn unreached(slot: u8, name: &str, state: PeerState) -> MemberStatus {
    MemberStatus {
        name: name.to_owned(),
        address: format!("10.66.0.{slot}"),
        is_self: false,
        host: false,
        state,
        path: None,
        relay: None,
        rtt_ms: None,
        jitter_ms: None,
        loss: None,
        trouble: None,
        nat: NatType::Unknown,
    }
}

fn entering(state: PartyState, name: &str, control: ControlState) -> Status {
    let mut status = idle();
    status.engine.control.state = control;
    status.party = Some(PartyStatus {
        name: name.to_owned(),
        id: Some(ID.to_owned()),
        invite: Some(format!("lanrage://join/{ID}")),
        state,
        version: 1,
        members: Vec::new(),
        rules: Default::default(),
        lobby: Default::default(),
    });
    status
}

/// Anna's party with one friend.
fn with_tom(tom: MemberStatus) -> Status {
    in_party(vec![me(1, "Anna", true), tom])
}

fn name(status: &mut Status, name: &str) {
    if let Some(party) = &mut status.party {
        name.clone_into(&mut party.name);
    }
}
