//! Discovery against a NAT and servers of every kind, and of the kinds that mislead.

mod world;

use super::*;
use crate::stun::tests::{written, xored};
use lanrage_proto::PartyRange;
use std::collections::VecDeque;
use world::{Half, LOOKS, Looks, Server, Turn, World, at, stun_id};

/// Every kind of NAT, keeping ports or not, kind to what comes unasked or not.
fn every_nat(servers: &[Server]) -> Vec<World> {
    let mut worlds = Vec::new();
    for mapping in LOOKS {
        for filtering in LOOKS {
            for keeps_ports in [false, true] {
                for steals in [false, true] {
                    let world = World::new(mapping, filtering, servers.to_vec());
                    worlds.push(World {
                        keeps_ports,
                        steals,
                        ..world
                    });
                }
            }
        }
    }
    worlds
}

#[test]
fn each_type_is_named_by_one_server_with_two_addresses_and_by_several() {
    let lists = [
        vec![Server::new(1, Half::Honest)],
        vec![Server::new(1, Half::Honest), Server::new(2, Half::None)],
        vec![Server::new(1, Half::None), Server::new(2, Half::Honest)],
        vec![
            Server::new(1, Half::Honest),
            Server::new(2, Half::Honest),
            Server::new(3, Half::None),
        ],
    ];
    for servers in lists {
        for mut world in every_nat(&servers) {
            let (report, took) = world.discovers();
            let v4 = &report.v4;
            assert_eq!(v4.kind, world.truth(), "{servers:?} {:?}", report.v4);
            assert_eq!(v4.reason, None);
            assert_eq!(v4.translated, Some(true));
            assert_eq!(v4.mapped.map(|at| at.ip()), world.outside);
            assert_eq!(report.v6.reason, Some(Reason::Untried));
            assert!(took < Duration::from_secs(4), "{took:?}");
            let wanted = match world.mapping {
                Looks::Nothing => &[Mapping::EndpointIndependent][..],
                Looks::Address => &[Mapping::AddressDependent, Mapping::EndpointDependent],
                Looks::AddressAndPort => &[Mapping::AddressAndPortDependent, Mapping::EndpointDependent],
            };
            assert!(
                v4.mapping.is_some_and(|mapping| wanted.contains(&mapping)),
                "{v4:?}"
            );
            if servers.len() > 1 && world.mapping != Looks::Nothing {
                assert_ne!(v4.mapping, Some(Mapping::EndpointDependent), "{v4:?}");
            }
        }
    }
}

#[test]
fn without_a_nat_it_is_open_and_behind_a_firewall_it_is_what_the_firewall_makes_of_it() {
    for filtering in LOOKS {
        let mut world = World::new(Looks::Nothing, filtering, vec![Server::new(1, Half::Honest)]);
        (world.own, world.outside) = (at("192.0.2.9:51820"), None);
        let (report, _) = world.discovers();
        assert_eq!(
            (report.v4.kind, report.v4.translated),
            (world.truth(), Some(false))
        );
        assert_eq!(report.v4.mapped, Some(world.own));
    }
}

#[test]
fn a_full_cone_that_keeps_ports_is_not_taken_for_open() {
    let mut world = World::new(Looks::Nothing, Looks::Nothing, vec![Server::new(1, Half::Honest)]);
    world.keeps_ports = true;
    let (report, took) = world.discovers();
    assert_eq!(report.v4.mapped, Some(at("192.0.2.1:51820")));
    assert_eq!(report.v4.kind, NatType::FullCone);
    assert!(took < Duration::from_millis(500), "{took:?}");
}

#[test]
fn a_servers_other_address_in_the_list_changes_no_verdict() {
    for pick in 1..4 {
        for first in [true, false] {
            for mut world in every_nat(&[Server::new(1, Half::Honest)]) {
                let addresses = world.servers[0].addresses();
                let mut list = vec![addresses[0], addresses[pick]];
                if !first {
                    list.reverse();
                }
                let truth = world.truth();
                let (report, _) = world.discovers_with(&list);
                let v4 = &report.v4;
                // Where the addresses had to be asked before anything was known of them, nothing is claimed.
                assert!(
                    v4.kind == truth || v4.kind == NatType::Unknown && !first,
                    "{list:?} {:?} {:?}: {v4:?}",
                    world.mapping,
                    world.filtering
                );
            }
        }
    }
}

#[test]
fn whatever_is_lost_no_claim_is_wrong() {
    let servers = [Server::new(1, Half::Honest), Server::new(2, Half::None)];
    let (mut known, mut all) = (0, 0);
    for seed in 0..60 {
        for loss in [5, 20, 40] {
            for world in every_nat(&servers) {
                let mut world = world.seeded(seed, loss);
                let (report, took) = world.discovers();
                let kind = report.v4.kind;
                assert!(
                    kind == world.truth() || kind == NatType::Unknown,
                    "seed {seed}, {loss} % lost, {:?} {:?}: {:#?}",
                    world.mapping,
                    world.filtering,
                    report.v4
                );
                assert!(took < Duration::from_secs(20), "{took:?}");
                if loss == 5 {
                    all += 1;
                    known += u32::from(kind != NatType::Unknown);
                }
            }
        }
    }
    assert!(
        known * 100 > all * 97,
        "with 5 % lost only {known} of {all} are named"
    );
}

#[test]
fn a_list_with_all_of_a_servers_addresses_misleads_on_bad_lines_neither() {
    for seed in 0..60 {
        for loss in [20, 40] {
            for world in every_nat(&[Server::new(1, Half::Honest)]) {
                let mut world = world.seeded(seed, loss);
                let list = world.servers[0].addresses();
                let (report, _) = world.discovers_with(&list);
                let kind = report.v4.kind;
                assert!(
                    kind == world.truth() || kind == NatType::Unknown,
                    "seed {seed}, {loss} % lost, {:?} {:?}: {:#?}",
                    world.mapping,
                    world.filtering,
                    report.v4
                );
            }
        }
    }
}

/// What is concluded where the servers are of these kinds.
#[track_caller]
fn reason(filtering: Looks, halves: &[Half]) -> Option<Reason> {
    let servers: Vec<Server> = halves
        .iter()
        .enumerate()
        .map(|(n, half)| Server::new(n as u8 + 1, *half))
        .collect();
    let mut world = World::new(Looks::Nothing, filtering, servers);
    let (report, _) = world.discovers();
    assert!(
        report.v4.kind == world.truth() || report.v4.kind == NatType::Unknown,
        "{report:?}"
    );
    assert_eq!(report.v4.reason.is_none(), report.v4.kind != NatType::Unknown);
    report.v4.reason
}

#[test]
fn what_can_not_be_known_is_unknown_with_its_reason() {
    for filtering in LOOKS {
        assert_eq!(reason(filtering, &[Half::None]), Some(Reason::OneDestination));
        assert_eq!(
            reason(filtering, &[Half::None, Half::None]),
            Some(Reason::NoSecondAddress)
        );
        assert_eq!(
            reason(filtering, &[Half::Dead, Half::None]),
            Some(Reason::AlternateSilent)
        );
        assert_eq!(
            reason(filtering, &[Half::Ignored, Half::None]),
            Some(Reason::NoSecondAddress)
        );
        assert_eq!(
            reason(filtering, &[Half::Refused, Half::None]),
            Some(Reason::NoSecondAddress)
        );
        // One that does as it says is enough, wherever it stands.
        for half in [Half::None, Half::Dead, Half::Ignored, Half::Refused] {
            assert_eq!(reason(filtering, &[half, Half::Honest]), None, "{half:?}");
        }
    }
}

#[test]
fn of_two_servers_of_which_one_is_silent_nothing_is_claimed() {
    let mut world = World::new(Looks::Nothing, Looks::Nothing, vec![Server::new(1, Half::None)]);
    let list = [world.servers[0].main, at("198.51.100.77:3478")];
    let (report, took) = world.discovers_with(&list);
    assert_eq!(report.v4.reason, Some(Reason::OneDestination));
    assert!(report.v4.mapped.is_some());
    assert!(took < Duration::from_secs(6), "{took:?}");
}

#[test]
fn where_udp_is_blocked_nobody_waits_longer_than_eight_seconds() {
    let mut world = World::new(Looks::Nothing, Looks::Nothing, Vec::new());
    let list: Vec<SocketAddr> = (1..=8).map(|n| at(&format!("198.51.100.{n}:3478"))).collect();
    let (report, took) = world.discovers_with(&list);
    assert_eq!(report.v4.reason, Some(Reason::NoAnswer));
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert_eq!(world.requests, 32);
}

#[test]
fn an_address_that_peers_are_reached_at_is_no_stranger() {
    let mut world = World::new(Looks::Nothing, Looks::Address, vec![Server::new(1, Half::Honest)]);
    let other = world.servers[0].other;
    world.others.insert(other.ip());
    // A probe went there.
    world.out(SocketAddr::new(other.ip(), 51820));
    let (report, _) = world.discovers();
    assert_eq!(report.v4.reason, Some(Reason::AlternateContacted));
}

#[test]
fn a_second_discovery_does_not_take_the_first_ones_traces_for_openness() {
    for filtering in LOOKS {
        let mut world = World::new(Looks::Nothing, filtering, vec![Server::new(1, Half::Honest)]);
        let (first, _) = world.discovers();
        assert_eq!(first.v4.kind, world.truth());
        world.now += Duration::from_secs(30);
        let (second, _) = world.discovers();
        let kind = second.v4.kind;
        assert!(kind == world.truth() || kind == NatType::Unknown, "{second:?}");
        // After the NAT forgot it can be tested again.
        world.now += Duration::from_secs(11 * 60);
        world.sent_to.clear();
        world.stolen.clear();
        let (third, _) = world.discovers();
        assert_eq!(third.v4.kind, world.truth());
    }
}

#[test]
fn what_an_earlier_run_asked_is_not_taken_for_openness_and_silence_is_proof_all_the_same() {
    for filtering in LOOKS {
        for forgotten in [false, true] {
            let mut world = World::new(Looks::Nothing, filtering, vec![Server::new(1, Half::Honest)]);
            world.discovers();
            world.now += Duration::from_secs(30);
            world.contacted = Contacted::since(world.now);
            if forgotten {
                world.sent_to.clear();
                world.stolen.clear();
            }
            let (report, _) = world.discovers();
            let silent = forgotten && filtering == Looks::AddressAndPort;
            let reason = (!silent).then_some(Reason::AlternateContacted);
            assert_eq!(report.v4.reason, reason, "{filtering:?}, {forgotten}");
            assert!(!silent || report.v4.kind == world.truth());
        }
    }
}

#[test]
fn a_mapping_that_changes_on_the_way_is_no_symmetric_nat() {
    let mut world = World::new(
        Looks::Nothing,
        Looks::AddressAndPort,
        vec![Server::new(1, Half::Honest)],
    );
    let servers = [world.servers[0].main];
    let mut discovery = Discovery::new(world.now, &servers, &[world.own], None);
    let turn = |discovery: &mut Discovery, mut turn: Turn<'_, '_>| {
        if let Some((from, bytes)) = turn.arrived {
            discovery.datagram(turn.now, from, bytes, &mut turn.cx);
        }
        discovery.wake(turn.now, &mut turn.cx);
        (!discovery.is_done()).then(|| discovery.next_wake()).flatten()
    };
    world.run(Duration::from_millis(500), &mut discovery, turn);
    world.mappings.clear();
    world.run(Duration::from_secs(10), &mut discovery, turn);
    assert_eq!(discovery.report().reason, Some(Reason::Changed));
}

#[test]
fn answers_from_elsewhere_and_to_nobody_are_not_believed() {
    let mut world = World::new(Looks::Nothing, Looks::Nothing, vec![Server::new(1, Half::None)]);
    let server = world.servers[0].main;
    let mut discovery = Discovery::new(world.now, &[server], &[world.own], None);
    let mut out = VecDeque::new();
    let now = world.now;
    let mut cx = Surroundings {
        rng: &mut world.rng,
        contacted: &mut world.contacted,
        others: &world.others,
        range: PartyRange::DEFAULT,
        out: &mut out,
    };
    discovery.wake(now, &mut cx);
    let id = stun_id(&cx.out.pop_front().unwrap().1);
    let lie = |id| written(id, 0x0101, &[(0x0020, xored(at("192.0.2.66:6"), id))]);
    assert!(
        !discovery.datagram(now, server, &lie([9; 12]), &mut cx),
        "nobody asked"
    );
    assert!(discovery.datagram(now, at("198.51.100.9:3478"), &lie(id), &mut cx));
    assert_eq!(discovery.report().mapped, None);
    discovery.datagram(now, server, &lie(id), &mut cx);
    assert_eq!(discovery.report().mapped, Some(at("192.0.2.66:6")));
}

#[test]
fn a_server_can_not_send_requests_into_the_party_or_to_well_known_ports() {
    for other in [
        "10.66.0.2:3479",
        "127.0.0.1:3479",
        "203.0.113.1:53",
        "192.168.1.2:3479",
        "198.51.100.1:3479",
    ] {
        let mut server = Server::new(1, Half::Honest);
        server.other = at(other);
        let mut world = World::new(Looks::Nothing, Looks::Nothing, vec![server]);
        let (report, _) = world.discovers();
        assert_eq!(report.v4.reason, Some(Reason::OneDestination), "{other}");
        assert!(
            world.sent_to.iter().all(|to| *to == world.servers[0].main),
            "{other}"
        );
    }
}

#[test]
fn evidence_reads_as_a_sentence() {
    let mut world = World::new(Looks::Nothing, Looks::Address, vec![Server::new(1, Half::Honest)]);
    let (report, _) = world.discovers();
    let lines: Vec<String> = report.v4.evidence.iter().map(ToString::to_string).collect();
    assert_eq!(lines[0], "198.51.100.1:3478 saw 192.0.2.1:40001, 30.0 ms");
    assert!(
        lines.iter().any(|line| line.contains(
            "other address and port: no answer; other port: answer from 198.51.100.1:3479; 7 of 7 beside"
        )),
        "{lines:?}"
    );
}
