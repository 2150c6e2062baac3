//! Creating, joining and playing.

use super::{LAN, Trio, chatter, minutes, ms, nothing_lost, pairs, seconds};
use lanrage_proto::FaultCode;
use lanrage_proto::ipc::{PathKind, PeerState};
use lanrage_proto::limits::SNAPSHOT_PAGE;
use lanrage_tests::sim::{Kind, Link, Place, Sim};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

#[test]
fn three_friends_on_one_lan_are_together_within_two_seconds() {
    let mut sim = Sim::new(1);
    let anna = sim.player("anna", LAN);
    let tom = sim.player("tom", LAN);
    let zoe = sim.player("zoe", LAN);
    let party = sim.create(anna, "Friday night");
    assert_eq!(party.address, "10.66.0.1");
    let start = sim.elapsed();
    // One has the link, one pasted a line from a chat that holds only the ID.
    sim.start_join(tom, &party.invite).unwrap();
    sim.start_join(zoe, &format!("tonight! {} see you", party.id))
        .unwrap();
    sim.wait_connected(&[anna, tom, zoe], seconds(2));
    assert!(sim.elapsed() - start <= seconds(2));
    assert_eq!(sim.address(anna), Ipv4Addr::new(10, 66, 0, 1));
    let addresses: std::collections::BTreeSet<_> = [anna, tom, zoe].map(|node| sim.address(node)).into();
    assert_eq!(addresses.len(), 3);
    for (from, to) in pairs(&[anna, tom, zoe]) {
        let row = sim.row(from, to).unwrap();
        assert_eq!(row.path, Some(PathKind::Lan));
        assert_eq!(row.host, to == anna);
        let packet = sim.app_send(from, to, 1000);
        sim.run_for(ms(50));
        assert!(sim.arrived(packet), "{} to {}", sim.name(from), sim.name(to));
    }
    sim.run_for(seconds(5));
    let rtt = sim.row(tom, zoe).unwrap().rtt_ms.unwrap();
    assert!((9.0..15.0).contains(&rtt), "5 ms each way, shown as {rtt}");
}

#[test]
fn an_hour_of_play_with_its_new_keys_loses_no_packet() {
    let started = Instant::now();
    let mut trio = Trio::local(2);
    let (all, since) = (trio.all(), trio.sim.elapsed());
    let before: u32 = all.iter().map(|node| trio.sim.initiations(*node)).sum();
    chatter(&mut trio.sim, &all, seconds(2), minutes(60));
    trio.sim.run_for(minutes(60) + seconds(1));
    nothing_lost(&trio.sim, &all, since);
    let handshakes: u32 = all.iter().map(|node| trio.sim.initiations(*node)).sum::<u32>() - before;
    // Three tunnels, each with new keys every 120 s.
    assert!(
        (84..=180).contains(&handshakes),
        "{handshakes} handshakes in an hour"
    );
    assert!(trio.sim.all_connected(&all));
    // Half a second on an idle machine; so much more would mean that something spins.
    assert!(started.elapsed() < seconds(20), "took {:?}", started.elapsed());
}

/// Everything that chance can touch.
fn eventful(seed: u64) -> String {
    let mut sim = Sim::new(seed);
    sim.transcript.keep(&Kind::ALL);
    sim.all_links(Link {
        latency: ms(20),
        jitter: ms(10),
        loss: 0.05,
        reordering: 0.02,
        ..Link::GOOD
    });
    let anna = sim.player("anna", LAN);
    let tom = sim.player("tom", LAN);
    let zoe = sim.player("zoe", LAN);
    let party = sim.create(anna, "Friday night");
    sim.join(tom, &party.invite);
    sim.join(zoe, &party.id);
    chatter(&mut sim, &[anna, tom, zoe], ms(500), minutes(3));
    sim.run_for(minutes(1));
    sim.crash(tom);
    sim.run_for(seconds(20));
    sim.restart(tom);
    sim.run_for(minutes(2));
    sim.leave(zoe);
    sim.transcript.text()
}

#[test]
fn the_same_seed_gives_the_same_transcript() {
    let (first, second) = (eventful(3), eventful(3));
    if let Some((a, b)) = first.lines().zip(second.lines()).find(|(a, b)| a != b) {
        panic!("they part at\n{a}\n{b}");
    }
    assert_eq!(first.len(), second.len());
    assert_ne!(first, eventful(4));
}

#[test]
fn a_join_where_every_fifth_packet_is_lost_is_through_within_15_seconds() {
    for seed in 0..20 {
        let mut sim = Sim::new(seed);
        sim.all_links(Link {
            loss: 0.2,
            latency: ms(15),
            ..Link::GOOD
        });
        let server = sim.server("server", LAN);
        let url = sim.url(server);
        let anna = sim.player_on("anna", LAN, url.clone());
        let tom = sim.player_on("tom", LAN, url);
        let party = sim.create(anna, "Friday night");
        sim.start_join(tom, &party.invite).unwrap();
        let up = |sim: &Sim| {
            [(anna, tom), (tom, anna)]
                .iter()
                .all(|(a, b)| matches!(sim.peer(*a, *b), Some(PeerState::Connected | PeerState::Degraded)))
        };
        sim.run_until("both up", seconds(15), up);
        // What is up carries: of 50 packets about 40 arrive.
        let since = sim.elapsed();
        chatter(&mut sim, &[anna, tom], ms(100), seconds(5));
        sim.run_for(seconds(6));
        for (from, to) in pairs(&[anna, tom]) {
            let (sent, arrived) = sim.carried(from, to, since);
            assert!(arrived * 2 > sent, "seed {seed}: {arrived} of {sent}");
        }
    }
}

#[test]
fn two_who_join_in_the_same_instant_get_two_places() {
    let mut sim = Sim::new(5);
    let anna = sim.player("anna", LAN);
    let tom = sim.player("tom", LAN);
    let zoe = sim.player("zoe", LAN);
    let party = sim.create(anna, "Friday night");
    sim.start_join(tom, &party.invite).unwrap();
    sim.start_join(zoe, &party.invite).unwrap();
    sim.wait_connected(&[anna, tom, zoe], seconds(2));
    let mut addresses = [sim.address(tom), sim.address(zoe)];
    addresses.sort();
    assert_eq!(
        addresses,
        [Ipv4Addr::new(10, 66, 0, 2), Ipv4Addr::new(10, 66, 0, 3)]
    );
}

#[test]
fn friends_across_the_internet_meet_by_a_server() {
    let mut sim = Sim::new(6);
    sim.all_links(Link {
        latency: ms(30),
        jitter: ms(5),
        loss: 0.01,
        ..Link::GOOD
    });
    let server = sim.server("server", Place::Internet);
    let url = sim.url(server);
    let anna = sim.player_on("anna", Place::Internet, url.clone());
    let tom = sim.player_on("tom", Place::Internet, url.clone());
    // She has IPv6 alone.
    let zoe = sim.player_on("zoe", Place::Internet6, url);
    let party = sim.create(anna, "Friday night");
    assert!(party.invite.contains("server=wss://"), "{}", party.invite);
    sim.join(tom, &party.invite);
    sim.join(zoe, &party.invite);
    sim.wait_connected(&[anna, tom, zoe], seconds(5));
    for (from, to) in pairs(&[anna, tom, zoe]) {
        assert_eq!(sim.row(from, to).unwrap().path, Some(PathKind::Direct));
    }
}

#[test]
fn an_invite_tells_a_friend_without_that_server_where_the_party_is() {
    let mut sim = Sim::new(7);
    let server = sim.server("server", LAN);
    let url = sim.url(server);
    let anna = sim.player_on("anna", LAN, url);
    let tom = sim.player("tom", LAN);
    let party = sim.create(anna, "Friday night");
    sim.join(tom, &party.invite);
    sim.wait_connected(&[anna, tom], seconds(2));
}

#[test]
fn ten_friends_are_all_connected_within_three_seconds() {
    let mut sim = Sim::new(8);
    let names = [
        "anna", "tom", "zoe", "ben", "cleo", "dan", "eva", "finn", "gus", "hana",
    ];
    let nodes = names.map(|name| sim.player(name, LAN));
    let party = sim.create(nodes[0], "Friday night");
    for node in &nodes[1..] {
        sim.start_join(*node, &party.invite).unwrap();
    }
    sim.wait_connected(&nodes, seconds(3));
    let since = sim.elapsed();
    chatter(&mut sim, &nodes, ms(100), seconds(2));
    sim.run_for(seconds(3));
    nothing_lost(&sim, &nodes, since);
}

#[test]
fn friends_at_rest_are_pinged_together_once_a_second() {
    let (mut trio, _) = Trio::on_server(14);
    trio.sim.run_for(seconds(10));
    let rests = trio.sim.elapsed();
    trio.sim.run_for(seconds(20));
    let mut pinged: BTreeMap<Duration, BTreeSet<SocketAddr>> = BTreeMap::new();
    for departure in trio.sim.departures(trio.anna) {
        if departure.at >= rests {
            pinged.entry(departure.at).or_default().insert(departure.to);
        }
    }
    let both = pinged.values().filter(|to| to.len() > 1).count();
    assert!((19..=21).contains(&both), "{both} times both at once in 20 s");
}

#[test]
fn a_party_of_more_than_a_page_is_all_connected_and_one_more_is_refused() {
    let most = u8::try_from(SNAPSHOT_PAGE + 3).unwrap();
    let mut sim = Sim::new(14);
    sim.limit_members(most);
    let server = sim.server("server", LAN);
    let url = sim.url(server);
    let nodes: Vec<_> = (1..=most)
        .map(|n| sim.player_on(&format!("p{n}"), LAN, url.clone()))
        .collect();
    let party = sim.create(nodes[0], "Friday night");
    for node in &nodes[1..] {
        sim.start_join(*node, &party.invite).unwrap();
    }
    sim.wait_connected(&nodes, seconds(5));
    let since = sim.elapsed();
    chatter(&mut sim, &nodes, ms(1000), seconds(2));
    sim.run_for(seconds(3));
    nothing_lost(&sim, &nodes, since);
    let one_more = sim.player_on("one more", LAN, url);
    let refused = sim.try_join(one_more, &party.invite).unwrap_err();
    assert_eq!(refused.code, FaultCode::PartyFull);
    for node in &nodes {
        assert_eq!(sim.view(*node).conditions, [], "{}", sim.name(*node));
    }
}

#[test]
fn a_lobby_announced_to_the_whole_lan_reaches_each_friend_once() {
    let mut trio = Trio::local(9);
    // Arriving twice would stop the simulation.
    let announce = trio.sim.app_send_to(trio.tom, Ipv4Addr::BROADCAST, 100);
    let directed = trio
        .sim
        .app_send_to(trio.tom, Ipv4Addr::new(10, 66, 255, 255), 100);
    trio.sim.run_for(ms(100));
    for packet in [announce, directed] {
        let got: Vec<_> = trio
            .sim
            .packet(packet)
            .arrived
            .iter()
            .map(|(who, _)| *who)
            .collect();
        assert_eq!(got, [trio.anna, trio.zoe]);
    }
    let nobody = trio.sim.app_send_to(trio.tom, Ipv4Addr::new(10, 66, 0, 9), 100);
    let outside = trio.sim.app_send_to(trio.tom, Ipv4Addr::new(8, 8, 8, 8), 100);
    trio.sim.run_for(ms(100));
    assert!(!trio.sim.arrived(nobody) && !trio.sim.arrived(outside));
}

#[test]
fn a_clock_three_hours_slow_keeps_nobody_out() {
    let mut sim = Sim::new(10);
    let anna = sim.player("anna", LAN);
    let tom = sim.player("tom", LAN);
    sim.step_clock(anna, -3 * 3600);
    let party = sim.create(anna, "Friday night");
    sim.step_clock(tom, 3 * 3600);
    sim.join(tom, &party.invite);
    sim.wait_connected(&[anna, tom], seconds(2));
}

#[test]
fn a_clock_set_back_by_three_hours_and_a_restart_break_no_tunnel() {
    let mut trio = Trio::local(11);
    let all = trio.all();
    // A tunnel made anew begins its WireGuard timestamps at the real clock of this process, which has hardly moved
    // while three virtual hours passed: to the others Tom's clock is set back by three hours.
    trio.sim.run_for(minutes(180));
    let since = trio.sim.elapsed();
    trio.sim.crash(trio.tom);
    trio.sim.step_clock(trio.tom, -3 * 3600);
    trio.sim.run_for(seconds(1));
    trio.sim.restart(trio.tom);
    trio.sim.wait_connected(&all, seconds(3));
    let up = trio.sim.elapsed();
    assert!(up - since <= seconds(4));
    trio.chatter(seconds(10));
    trio.sim.run_for(seconds(11));
    nothing_lost(&trio.sim, &all, up);
}

#[test]
fn the_first_packet_to_a_new_friend_is_not_lost() {
    let mut sim = Sim::new(12);
    let anna = sim.player("anna", LAN);
    let tom = sim.player("tom", LAN);
    let party = sim.create(anna, "Friday night");
    sim.join(tom, &party.invite);
    sim.wait_connected(&[anna, tom], seconds(2));
    let packets = [sim.app_send(anna, tom, 64), sim.app_send(tom, anna, 64)];
    sim.run_for(ms(100));
    assert!(packets.iter().all(|packet| sim.arrived(*packet)));
}

#[test]
fn the_transcript_of_an_evening_in_short() {
    let mut sim = Sim::new(13);
    let anna = sim.player("anna", LAN);
    let tom = sim.player("tom", LAN);
    let party = sim.create(anna, "Friday night");
    sim.join(tom, &party.id);
    sim.wait_connected(&[anna, tom], seconds(2));
    sim.app_send(anna, tom, 64);
    sim.run_for(Duration::from_millis(100));
    sim.leave(tom);
    sim.leave(anna);
    insta::assert_snapshot!(sim.transcript.text());
}
