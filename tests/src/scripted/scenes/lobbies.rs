//! Scenes of games that announce themselves, and of what friends may reach.

use super::{in_party, me, peer, unreached};
use lanrage_proto::games::Game;
use lanrage_proto::ipc::{PathKind, PeerState, Status};
use lanrage_proto::lobby::{
    AnnounceMember, AnnounceReach, AnnounceStatus, HeardStatus, Listens, Rules, Sharing,
};

/// Where Warcraft III shows its lobby.
const WARCRAFT: u16 = 6112;
/// Where OpenTTD does.
const OPENTTD: u16 = 3979;

pub(super) fn shown() -> [(&'static str, Status); 5] {
    [
        ("lobby", seen_by_all()),
        ("lobby-mixed", seen_by_some()),
        ("lobby-heard", heard()),
        ("shared-files", shared(Sharing::Files)),
        ("shared-everything", shared(Sharing::Everything)),
    ]
}

/// Anna's party with three friends, all reached.
fn four() -> Status {
    in_party(vec![
        me(1, "Anna", true),
        peer(2, "Tom", PathKind::Direct, 38.0),
        peer(3, "Zoë", PathKind::Relayed, 61.0),
        peer(4, "Ben", PathKind::Lan, 0.4),
    ])
}

/// A lobby that everyone can see, announced on two networks.
#[must_use]
pub fn seen_by_all() -> Status {
    let mut status = four();
    status.games = vec![warcraft()];
    announce(&mut status, WARCRAFT, "255.255.255.255", |_| {
        (AnnounceReach::Delivered, Listens::Yes)
    });
    // The same lobby once more, as this computer has another network.
    announce(&mut status, WARCRAFT, "192.168.1.255", |member| {
        let reach = if member == "Ben" {
            AnnounceReach::Nearby
        } else {
            AnnounceReach::Delivered
        };
        (reach, Listens::Unknown)
    });
    status
}

/// Everything that may become of an announce.
#[must_use]
pub fn seen_by_some() -> Status {
    use AnnounceReach::{Delivered, Nearby, Sent, Unsent};
    let mut status = in_party(vec![
        me(1, "Anna", true),
        peer(2, "Tom", PathKind::Direct, 38.0),
        peer(3, "Zoë", PathKind::Direct, 21.4),
        peer(4, "Ana", PathKind::Relayed, 61.0),
        peer(5, "Kim", PathKind::Lan, 0.4),
        peer(6, "Finn", PathKind::Direct, 44.0),
        unreached(7, "Ben", PeerState::Lost),
    ]);
    status.games = vec![warcraft()];
    announce(&mut status, WARCRAFT, "255.255.255.255", |member| match member {
        "Ana" => (Delivered, Listens::No),
        "Kim" => (Nearby, Listens::Unknown),
        "Finn" => (Sent, Listens::Unknown),
        "Ben" => (Unsent, Listens::Unknown),
        _ => (Delivered, Listens::Yes),
    });
    status
}

/// Friends show their lobbies, and two games run here.
#[must_use]
pub fn heard() -> Status {
    let mut status = four();
    status.games = vec![
        Game {
            name: "OpenArena".to_owned(),
            address: Some("10.66.0.1:27960".to_owned()),
            process: "openarena".to_owned(),
            keepalive: None,
            notes: Some("console_slash_connect".to_owned()),
        },
        Game {
            name: "Minecraft (Java Edition)".to_owned(),
            address: None,
            process: "java".to_owned(),
            keepalive: Some(30),
            notes: Some("port_by_chance".to_owned()),
        },
    ];
    if let Some(party) = &mut status.party {
        let of = |name: &str, slot: u8, port: u16, listens| HeardStatus {
            name: name.to_owned(),
            address: format!("10.66.0.{slot}"),
            port,
            destination: "255.255.255.255".to_owned(),
            to_port: port,
            listens,
        };
        party.lobby.heard = vec![
            of("Tom", 2, WARCRAFT, Listens::Yes),
            of("Zoë", 3, OPENTTD, Listens::No),
            of("Ben", 4, OPENTTD, Listens::No),
        ];
    }
    status
}

/// This computer is more open than by itself, and so is what is carried.
fn shared(share: Sharing) -> Status {
    let mut status = four();
    if let Some(party) = &mut status.party {
        party.rules = Rules {
            share,
            mdns: true,
            ssdp: share == Sharing::Everything,
            multicast: share != Sharing::Everything,
            ..Rules::default()
        };
    }
    status
}

fn warcraft() -> Game {
    Game {
        name: "Warcraft III".to_owned(),
        address: Some(format!("10.66.0.1:{WARCRAFT}")),
        process: "war3.exe".to_owned(),
        keepalive: None,
        notes: Some("local_area_network".to_owned()),
    }
}

/// A program on this port announces itself to this address; how far that came, by member.
fn announce(
    status: &mut Status,
    port: u16,
    destination: &str,
    reach: impl Fn(&str) -> (AnnounceReach, Listens),
) {
    let Some(party) = &mut status.party else { return };
    let members: Vec<AnnounceMember> = party
        .members
        .iter()
        .filter(|member| !member.is_self)
        .map(|member| {
            let (reach, listens) = reach(&member.name);
            AnnounceMember {
                name: member.name.clone(),
                address: member.address.clone(),
                reach,
                listens,
                answered: false,
            }
        })
        .collect();
    let count = |wanted: fn(AnnounceReach) -> bool| {
        let members = members.iter().filter(|member| wanted(member.reach)).count();
        u32::try_from(members).unwrap_or(u32::MAX)
    };
    party.lobby.announces.push(AnnounceStatus {
        port,
        destination: destination.to_owned(),
        to_port: port,
        interface: None,
        sent: count(|reach| matches!(reach, AnnounceReach::Sent | AnnounceReach::Delivered)),
        delivered: count(|reach| reach == AnnounceReach::Delivered),
        members,
    });
}
