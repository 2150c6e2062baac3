use super::*;
use crate::lan::{SlotSet, Via};
use std::net::Ipv4Addr;

const LOBBY: Announce = Announce {
    port: 6112,
    to_port: 6110,
    destination: Ipv4Addr::BROADCAST,
};

fn slot(number: u8) -> Slot {
    Slot::try_from(number).unwrap()
}

fn announced(announce: Announce) -> Announced {
    Announced {
        announce,
        via: Via::Adapter,
        sent: SlotSet::default(),
        nearby: SlotSet::default(),
        answered: SlotSet::default(),
    }
}

fn arrived(from: u8, announce: Announce) -> Arrived {
    Arrived {
        from: slot(from),
        announce,
        joined: true,
    }
}

fn receipt(listens: Listens) -> Receipt {
    Receipt {
        announce: LOBBY,
        listens,
    }
}

fn ports(open: &[u16]) -> Option<Ports> {
    let open: BTreeSet<u16> = open.iter().copied().collect();
    Some(Ports {
        asked: (0..=u16::MAX).collect(),
        hearing: open.clone(),
        open,
    })
}

#[test]
fn a_peer_is_told_at_once_twice_and_while_it_goes_on() {
    let (mut lobby, start) = (Lobby::default(), Instant::now());
    let at = |ms| start + Duration::from_millis(ms);
    assert_eq!(lobby.tells(at(0), slot(2)), None, "nothing came");
    lobby.arrived(at(0), arrived(2, LOBBY));
    assert_eq!(lobby.tells(at(0), slot(3)), None, "nothing of its own");
    let mut told = Vec::new();
    for ms in (0..20_000).step_by(50) {
        if let Some(said) = lobby.tells(at(ms), slot(2)) {
            assert_eq!(said, [receipt(Listens::Unknown)]);
            told.push(ms);
        }
    }
    assert_eq!(told, [0, 1000, 6000, 11_000, 16_000]);
    lobby.ports(ports(&[]));
    assert_eq!(lobby.tells(at(16_200), slot(2)), None, "not so fast");
    assert_eq!(lobby.tells(at(16_250), slot(2)), Some(vec![receipt(Listens::No)]));
    lobby.wake(at(61_000));
    assert_eq!(lobby.tells(at(61_000), slot(2)), Some(Vec::new()), "it is over");
    assert_eq!(lobby.tells(at(62_000), slot(2)), Some(Vec::new()));
    assert_eq!(lobby.next_wake([slot(2)].into_iter()), None);
}

#[test]
fn a_program_that_starts_later_gets_the_announce_again() {
    let (mut lobby, start) = (Lobby::default(), Instant::now());
    let at = |s| start + Duration::from_secs(s);
    lobby.announced(at(0), announced(LOBBY));
    let first = lobby.told(at(0), slot(2), &[receipt(Listens::No)]);
    assert!(first.view && first.replay.is_empty());
    assert_eq!(
        lobby.told(at(1), slot(2), &[receipt(Listens::No)]),
        Follows::default()
    );
    assert_eq!(
        lobby.told(at(2), slot(2), &[receipt(Listens::Yes)]).replay,
        [LOBBY]
    );
    // A peer that says now this, now that has it no more often for that.
    lobby.told(at(2), slot(2), &[receipt(Listens::No)]);
    assert!(
        lobby
            .told(at(3), slot(2), &[receipt(Listens::Yes)])
            .replay
            .is_empty()
    );
    lobby.told(at(4), slot(2), &[receipt(Listens::No)]);
    assert_eq!(
        lobby.told(at(5), slot(2), &[receipt(Listens::Yes)]).replay,
        [LOBBY]
    );
    assert_eq!(lobby.receipt(slot(2), &LOBBY), Some(Listens::Yes));
    lobby.forget(slot(2));
    assert_eq!(lobby.receipt(slot(2), &LOBBY), None);
}

#[test]
fn receipts_for_what_was_never_announced_count_for_nothing() {
    let (mut lobby, now) = (Lobby::default(), Instant::now());
    assert_eq!(
        lobby.told(now, slot(2), &[receipt(Listens::Yes)]),
        Follows::default()
    );
    assert_eq!(lobby.receipt(slot(2), &LOBBY), None);
}

#[test]
fn the_lobby_of_a_program_that_is_gone_is_forgotten() {
    let (mut lobby, now) = (Lobby::default(), Instant::now());
    lobby.announced(now, announced(LOBBY));
    assert!(
        lobby.ports(ports(&[])).forget.is_empty(),
        "it was never seen open"
    );
    assert!(lobby.ports(ports(&[6112])).forget.is_empty());
    assert!(lobby.ports(None).forget.is_empty(), "nobody knows");
    assert_eq!(lobby.ports(ports(&[1])).forget, [6112]);
    assert_eq!(lobby.own().count(), 0);
}

#[test]
fn who_listens_is_known_by_port_and_group() {
    let mut lobby = Lobby::default();
    let mut came = arrived(2, LOBBY);
    assert_eq!(lobby.listens(&came), Listens::Unknown);
    lobby.ports(ports(&[6110]));
    assert_eq!(lobby.listens(&came), Listens::Yes);
    came.joined = false;
    assert_eq!(lobby.listens(&came), Listens::No);
    lobby.ports(ports(&[6112]));
    assert_eq!(lobby.listens(&arrived(2, LOBBY)), Listens::No, "another port");
    lobby.ports(Some(Ports::default()));
    assert_eq!(
        lobby.listens(&arrived(2, LOBBY)),
        Listens::Unknown,
        "not asked yet"
    );
    assert!(lobby.wanted_ports().is_empty());
    lobby.arrived(Instant::now(), came);
    assert_eq!(lobby.wanted_ports(), [6110].into());
}

#[test]
fn all_of_it_is_bounded() {
    let (mut lobby, start) = (Lobby::default(), Instant::now());
    for port in 1..1000 {
        let at = start + Duration::from_millis(port.into());
        lobby.announced(at, announced(Announce { port, ..LOBBY }));
        lobby.arrived(at, arrived(2, Announce { port, ..LOBBY }));
    }
    assert_eq!(lobby.own().count(), OWN);
    let said = lobby.tells(start + Duration::from_secs(2), slot(2)).unwrap();
    assert_eq!(said.len(), RECEIPTS);
    assert!(
        said.iter()
            .all(|receipt| receipt.announce.port >= 1000 - RECEIPTS as u16)
    );
}
