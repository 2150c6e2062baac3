//! Games see each other: announces reach everybody once, those who come later too, and everybody can see who got them.

use super::{LAN, Trio, chatter, ms, nothing_lost, pairs, seconds};
use lanrage_core::dataplane::Reason;
use lanrage_proto::lobby::{AnnounceReach, Listens, RulesChange, Sharing};
use lanrage_tests::sim::{Link, Node, PacketId, Place, Sim};
use std::collections::BTreeSet;
use std::time::Duration;

const GAME: u16 = 6112;

/// Who got the announce, each once: the simulation stops where one comes twice.
fn got(sim: &Sim, packet: PacketId) -> BTreeSet<Node> {
    sim.packet(packet).arrived.iter().map(|(who, _)| *who).collect()
}

/// Players in different homes, who all have the game open and are connected.
fn friends(sim: &mut Sim, names: &[&str]) -> Vec<Node> {
    let players: Vec<Node> = names.iter().map(|name| sim.player(name, LAN)).collect();
    let party = sim.create(players[0], "Friday night");
    for player in &players[1..] {
        sim.join(*player, &party.invite);
    }
    for player in &players {
        sim.open_port(*player, GAME);
    }
    sim.wait_connected(&players, seconds(5));
    players
}

#[test]
fn each_announce_reaches_everybody_once() {
    let mut sim = Sim::new(1);
    sim.all_links(Link {
        jitter: ms(3),
        reordering: 0.05,
        ..Link::GOOD
    });
    let players = friends(&mut sim, &["anna", "tom", "zoe", "ben", "cleo", "dan"]);
    sim.run_for(seconds(2));
    let mut sent = Vec::new();
    for _ in 0..20 {
        for player in &players {
            sent.push((*player, sim.announce(*player)));
        }
        sim.run_for(ms(100));
    }
    sim.run_for(seconds(70));
    for (from, packet) in sent {
        let others: BTreeSet<Node> = players.iter().copied().filter(|player| *player != from).collect();
        assert_eq!(got(&sim, packet), others, "sent by {}", sim.name(from));
    }
}

#[test]
fn an_announce_on_ones_own_network_reaches_those_elsewhere_and_is_not_doubled_for_those_on_it() {
    let mut trio = Trio::local(2);
    let [anna, tom, zoe] = trio.all();
    for player in trio.all() {
        trio.sim.open_port(player, GAME);
    }
    trio.sim.run_for(seconds(2));
    let packet = trio.sim.announce_on_own_network(anna);
    trio.sim.run_for(seconds(1));
    assert!(got(&trio.sim, packet).is_empty(), "they hear it on the switch");
    let lobby = trio.sim.lobby(anna);
    let announce = &lobby.announces[0];
    assert_eq!(
        (announce.port, announce.interface.as_deref()),
        (GAME, Some("eth0"))
    );
    assert!(
        announce
            .members
            .iter()
            .all(|member| member.reach == AnnounceReach::Nearby)
    );
    for player in [tom, zoe] {
        assert!(trio.sim.lobby(player).heard.is_empty());
    }

    let mut sim = Sim::new(2);
    let anna = sim.player("anna", Place::Internet);
    let tom = sim.player("tom", Place::Internet);
    let party = sim.create(anna, "Friday night");
    sim.join(tom, &party.invite);
    sim.wait_connected(&[anna, tom], seconds(5));
    sim.run_for(seconds(2));
    let packet = sim.announce_on_own_network(anna);
    sim.run_for(seconds(1));
    assert_eq!(
        got(&sim, packet),
        BTreeSet::from([tom]),
        "under the own lease, with checksums made right"
    );
}

#[test]
fn who_joins_late_sees_the_lobby_within_two_seconds_and_once() {
    for seed in 10..20 {
        let mut trio = Trio::local(seed);
        let (anna, tom) = (trio.anna, trio.tom);
        for player in trio.all() {
            trio.sim.open_port(player, GAME);
        }
        trio.sim.run_for(seconds(3));
        let lobby = trio.sim.announce(anna);
        let query = trio.sim.announce(tom);
        trio.sim.run_for(seconds(20));
        let ben = trio.sim.player("ben", LAN);
        trio.sim.open_port(ben, GAME);
        let invite = trio.party.invite.clone();
        trio.sim.join(ben, &invite);
        let took = trio
            .sim
            .run_until("the lobby at the newcomer's", seconds(2), |sim| {
                got(sim, lobby).contains(&ben) && got(sim, query).contains(&ben)
            });
        println!("seed {seed}: the lobby came {took:?} after joining");
        trio.sim.run_for(seconds(60));
        assert_eq!(got(&trio.sim, lobby), BTreeSet::from([tom, trio.zoe, ben]));
    }
}

#[test]
fn a_newcomer_whose_engine_starts_anew_sees_the_lobby_again() {
    let mut trio = Trio::local(21);
    let (anna, zoe) = (trio.anna, trio.zoe);
    trio.sim.run_for(seconds(3));
    // Nobody listens, so that hearing it again is no doubling.
    trio.sim.open_port(zoe, 1);
    let lobby = trio.sim.announce(anna);
    trio.sim.run_for(seconds(5));
    assert_eq!(trio.sim.packet(lobby).unheard.len(), 1);
    trio.sim.crash(zoe);
    trio.sim.run_for(seconds(1));
    trio.sim.restart(zoe);
    trio.sim.run_until("the lobby once more", seconds(5), |sim| {
        sim.packet(lobby).unheard.len() == 2
    });
}

#[test]
fn who_starts_the_game_late_sees_the_lobby_within_two_seconds() {
    let mut trio = Trio::local(22);
    let [anna, tom, zoe] = trio.all();
    trio.sim.open_port(anna, GAME);
    trio.sim.open_port(tom, GAME);
    trio.sim.open_port(zoe, 1);
    trio.sim.run_for(seconds(3));
    let lobby = trio.sim.announce(anna);
    trio.sim.run_for(seconds(10));
    assert_eq!(got(&trio.sim, lobby), BTreeSet::from([tom]));
    trio.sim.open_port(zoe, GAME);
    let took = trio.sim.run_until("the lobby in the game", seconds(2), |sim| {
        got(sim, lobby).contains(&zoe)
    });
    println!("the lobby came {took:?} after the game was started");
    trio.sim.run_for(seconds(60));
}

#[test]
fn a_lobby_that_is_closed_is_shown_to_nobody() {
    let mut trio = Trio::local(23);
    let anna = trio.anna;
    trio.sim.open_port(anna, GAME);
    trio.sim.run_for(seconds(3));
    let lobby = trio.sim.announce(anna);
    trio.sim.run_for(seconds(2));
    trio.sim.close_port(anna, GAME);
    trio.sim.run_for(seconds(2));
    assert!(trio.sim.lobby(anna).announces.is_empty());
    let ben = trio.sim.player("ben", LAN);
    let invite = trio.party.invite.clone();
    trio.sim.join(ben, &invite);
    trio.sim.run_for(seconds(5));
    assert!(!got(&trio.sim, lobby).contains(&ben));
}

#[test]
fn everybody_can_see_who_got_an_announce_and_who_listens() {
    let mut trio = Trio::local(30);
    let [anna, tom, zoe] = trio.all();
    trio.sim.open_port(anna, GAME);
    trio.sim.open_port(tom, GAME);
    trio.sim.open_port(zoe, 27960);
    trio.sim.run_for(seconds(2));
    trio.sim.announce(anna);
    let took = trio.sim.run_until("the proof", seconds(2), |sim| {
        let lobby = sim.lobby(anna);
        let listens = |at: usize| {
            lobby
                .announces
                .first()
                .map(|announce| announce.members[at].listens)
        };
        (listens(0), listens(1)) == (Some(Listens::Yes), Some(Listens::No))
    });
    println!("proven {took:?} after the announce");
    let announce = trio.sim.lobby(anna).announces[0].clone();
    assert_eq!(
        (announce.port, announce.to_port, announce.interface),
        (GAME, GAME, None)
    );
    assert_eq!((announce.sent, announce.delivered), (2, 2));
    let names: Vec<_> = announce
        .members
        .iter()
        .map(|member| member.name.as_str())
        .collect();
    assert_eq!(names, ["tom", "zoe"]);
    assert!(
        announce
            .members
            .iter()
            .all(|member| member.reach == AnnounceReach::Delivered && !member.answered)
    );
    let heard = trio.sim.lobby(zoe).heard;
    assert_eq!(
        (heard[0].name.as_str(), heard[0].to_port, heard[0].listens),
        ("anna", GAME, Listens::No)
    );

    trio.sim.app_send(tom, anna, 40);
    trio.sim.run_until("who answered", seconds(1), |sim| {
        sim.lobby(anna).announces[0].members[0].answered
    });
    assert!(!trio.sim.lobby(anna).announces[0].members[1].answered);
    // What is not repeated is history after a minute, at both ends.
    trio.sim.run_for(seconds(65));
    assert!(trio.sim.lobby(anna).announces.is_empty() && trio.sim.lobby(zoe).heard.is_empty());
}

#[test]
fn what_did_not_arrive_is_not_said_to_have() {
    let mut trio = Trio::local(31);
    let (anna, zoe) = (trio.anna, trio.zoe);
    trio.sim.run_for(seconds(2));
    trio.sim.cut(anna, zoe);
    trio.sim.announce(anna);
    trio.sim.run_for(seconds(2));
    let reach = |sim: &Sim| {
        let lobby = sim.lobby(anna);
        let members = lobby.announces[0].members.iter();
        members.map(|member| member.reach).collect::<Vec<_>>()
    };
    assert_eq!(reach(&trio.sim), [AnnounceReach::Delivered, AnnounceReach::Sent]);
}

#[test]
fn what_a_member_sees_of_its_friends_costs_few_words() {
    let mut trio = Trio::local(32);
    trio.sim.run_for(seconds(2));
    let before = trio.sim.elapsed();
    for _ in 0..120 {
        for player in trio.all() {
            trio.sim.announce(player);
        }
        trio.sim.run_for(ms(500));
    }
    assert_eq!(trio.sim.elapsed() - before, seconds(60));
    for player in trio.all() {
        let lobby = trio.sim.lobby(player);
        assert_eq!((lobby.announces.len(), lobby.heard.len()), (1, 2));
    }
}

/// A hundred thousand announces a second from one, as fast as they come, for so many steps of a millisecond.
fn storm(sim: &mut Sim, from: Node, milliseconds: u32) -> usize {
    for _ in 0..milliseconds {
        for _ in 0..100 {
            sim.announce(from);
        }
        sim.run_for(ms(1));
    }
    100 * milliseconds as usize
}

fn storm_leaves_others_unharmed(mut trio: Trio, lasting: u32) {
    let [anna, tom, zoe] = trio.all();
    for player in trio.all() {
        trio.sim.open_port(player, GAME);
    }
    trio.sim.run_for(seconds(3));
    let since = trio.sim.elapsed();
    let calm = [anna, tom, zoe];
    let window = Duration::from_millis(u64::from(lasting));
    chatter(&mut trio.sim, &calm, ms(50), window);
    let sent = storm(&mut trio.sim, zoe, lasting);
    trio.sim.run_for(seconds(1));
    nothing_lost(&trio.sim, &calm, since);
    let delivered = |to: Node| {
        let announces = trio.sim.packets_since(since).filter(|sent| sent.meant.is_none());
        announces
            .filter(|sent| sent.arrived.iter().any(|(who, _)| *who == to))
            .count()
    };
    let allowed = 200 + lasting as usize / 10;
    for to in [anna, tom] {
        println!(
            "of {sent} announces {} came to {}",
            delivered(to),
            trio.sim.name(to)
        );
        assert!(
            (allowed / 2..=allowed + 2).contains(&delivered(to)),
            "{}",
            delivered(to)
        );
    }
    for (from, to) in pairs(&calm) {
        let delays = trio
            .sim
            .packets_since(since)
            .filter(|sent| sent.from == from && sent.meant == Some(to));
        let worst = delays
            .flat_map(|sent| sent.arrived.iter().map(|(_, at)| *at - sent.at))
            .max();
        assert!(worst < Some(ms(20)), "{worst:?}");
    }
}

#[test]
fn a_storm_of_announces_leaves_the_others_unharmed() {
    storm_leaves_others_unharmed(Trio::local(40), 1000);
}

#[test]
fn a_storm_by_a_changed_program_without_caps_leaves_the_others_unharmed() {
    let mut trio = Trio::local(41);
    let zoe = trio.zoe;
    trio.sim.lift_caps(zoe);
    storm_leaves_others_unharmed(trio, 300);
}

#[test]
fn what_a_computer_serves_is_closed_to_friends_until_it_is_shared() {
    let mut trio = Trio::local(50);
    let all @ [anna, tom, _] = trio.all();
    trio.sim.run_for(seconds(1));
    let knock = |trio: &mut Trio, port| {
        let packet = trio.sim.app_send_to_port(tom, anna, port);
        trio.sim.run_for(ms(200));
        trio.sim.arrived(packet)
    };
    assert!(knock(&mut trio, GAME) && knock(&mut trio, 40_000));
    assert!(!knock(&mut trio, 445) && !knock(&mut trio, 3389) && !knock(&mut trio, 5353));
    assert_eq!(trio.sim.dropped(anna, Reason::Closed), 3);
    let share = |share| RulesChange {
        share: Some(share),
        ..RulesChange::default()
    };
    trio.sim.change_rules(anna, share(Sharing::Files));
    assert_eq!(trio.sim.party(anna).unwrap().rules.share, Sharing::Files);
    assert!(knock(&mut trio, 445) && !knock(&mut trio, 3389));
    // It is a switch of the party, and outlives the engine.
    trio.sim.crash(anna);
    trio.sim.restart(anna);
    trio.sim.wait_connected(&all, seconds(20));
    assert!(knock(&mut trio, 445) && !knock(&mut trio, 3389));
    trio.sim.change_rules(anna, share(Sharing::Nothing));
    assert!(!knock(&mut trio, 445));
}

#[test]
fn what_stays_at_home_is_carried_when_it_is_switched_on() {
    let mut trio = Trio::local(51);
    let tom = trio.tom;
    trio.sim.run_for(seconds(1));
    let multicast = RulesChange {
        multicast: Some(false),
        ..RulesChange::default()
    };
    let everybody = std::net::Ipv4Addr::new(225, 1, 1, 1);
    let packet = trio.sim.app_send_to(tom, everybody, 32);
    trio.sim.run_for(ms(200));
    assert_eq!(got(&trio.sim, packet).len(), 2);
    trio.sim.change_rules(tom, multicast);
    let packet = trio.sim.app_send_to(tom, everybody, 32);
    trio.sim.run_for(ms(200));
    assert_eq!(got(&trio.sim, packet).len(), 0);
    assert_eq!(trio.sim.dropped(tom, Reason::NotCarried), 1);
}
