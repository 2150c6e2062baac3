//! Leaving, and the end of a party.

use super::{LAN, Trio, minutes, nothing_lost, seconds};
use lanrage_core::io::Outcome;
use lanrage_proto::FaultCode;
use lanrage_proto::ipc::PeerState;
use lanrage_tests::sim::Sim;

#[test]
fn who_leaves_is_gone_for_all_at_once_and_nothing_is_left_behind() {
    for (seed, on_server) in [(1, false), (2, true)] {
        let mut trio = if on_server {
            Trio::on_server(seed).0
        } else {
            Trio::local(seed)
        };
        trio.sim.leave(trio.tom);
        assert!(!trio.sim.has_adapter(trio.tom));
        assert_eq!(trio.sim.party(trio.tom), None);
        trio.sim
            .run_until("gone from the others' lists", seconds(1), |sim| {
                [trio.anna, trio.zoe].iter().all(|node| {
                    sim.row(*node, trio.tom)
                        .is_none_or(|row| row.state == PeerState::Disconnected)
                })
            });
        let since = trio.sim.elapsed();
        super::chatter(&mut trio.sim, &[trio.anna, trio.zoe], super::ms(200), seconds(5));
        trio.sim.run_for(seconds(6));
        nothing_lost(&trio.sim, &[trio.anna, trio.zoe], since);
        // A restart brings nobody back into a party that was left.
        trio.sim.crash(trio.tom);
        trio.sim.restart(trio.tom);
        trio.sim.run_for(seconds(5));
        assert_eq!(trio.sim.party(trio.tom), None);
    }
}

#[test]
fn who_left_and_joins_again_gets_the_same_address() {
    let mut trio = Trio::local(3);
    let (all, addresses) = (trio.all(), trio.addresses());
    trio.sim.leave(trio.tom);
    trio.sim.run_for(seconds(2));
    trio.sim.join(trio.tom, &trio.party.invite);
    trio.sim.wait_connected(&all, seconds(3));
    assert_eq!(trio.addresses(), addresses);
}

#[test]
fn when_the_host_leaves_the_party_ends_for_all_and_all_are_told() {
    for (seed, on_server) in [(4, false), (5, true)] {
        let mut trio = if on_server {
            Trio::on_server(seed).0
        } else {
            Trio::local(seed)
        };
        trio.sim.leave(trio.anna);
        for node in [trio.tom, trio.zoe] {
            trio.sim.run_until("out of the party", seconds(2), |sim| {
                sim.party(node).is_none() && !sim.has_adapter(node)
            });
            let fault = trio.sim.condition(node, FaultCode::PartyDissolved).unwrap();
            assert_eq!(fault.details.get("by").map(String::as_str), Some("anna"));
        }
        assert!(!trio.sim.has_adapter(trio.anna));
        assert_eq!(trio.sim.view(trio.anna).conditions, []);
    }
}

#[test]
fn who_was_away_when_the_party_ended_is_told_on_return() {
    let (mut trio, _) = Trio::on_server(6);
    trio.sim.crash(trio.tom);
    trio.sim.leave(trio.anna);
    trio.sim.run_for(minutes(30));
    trio.sim.restart(trio.tom);
    trio.sim
        .wait_condition(trio.tom, FaultCode::PartyDissolved, seconds(5));
    trio.sim.run_until("out of the party", seconds(1), |sim| {
        sim.party(trio.tom).is_none()
    });
}

#[test]
fn the_hosts_word_reaches_friends_by_the_tunnels_while_the_server_is_away() {
    let (mut trio, server) = Trio::on_server(7);
    trio.sim.kill_server(server);
    trio.sim.run_for(seconds(15));
    trio.sim.leave(trio.anna);
    for node in [trio.tom, trio.zoe] {
        trio.sim
            .wait_condition(node, FaultCode::PartyDissolved, seconds(5));
        trio.sim
            .run_until("out of the party", seconds(5), |sim| sim.party(node).is_none());
    }
}

#[test]
fn a_leave_is_carried_out_while_the_server_is_away() {
    let (mut trio, server) = Trio::on_server(8);
    trio.sim.kill_server(server);
    trio.sim.run_for(seconds(15));
    trio.sim.leave(trio.tom);
    assert!(!trio.sim.has_adapter(trio.tom));
    trio.sim
        .run_until("gone from the others' lists", seconds(5), |sim| {
            [trio.anna, trio.zoe].iter().all(|node| {
                sim.row(*node, trio.tom)
                    .is_none_or(|row| row.state == PeerState::Disconnected)
            })
        });
}

#[test]
fn after_a_party_another_can_begin() {
    let mut trio = Trio::local(9);
    trio.sim.leave(trio.anna);
    trio.sim.run_for(seconds(3));
    let second = trio.sim.create(trio.tom, "Saturday");
    assert_eq!(second.address, "10.66.0.1");
    trio.sim.join(trio.anna, &second.invite);
    trio.sim.join(trio.zoe, &second.invite);
    let all = trio.all();
    trio.sim.wait_connected(&all, seconds(3));
    for node in all {
        assert_eq!(trio.sim.view(node).conditions, [], "{}", trio.sim.name(node));
    }
}

#[test]
fn a_join_that_takes_too_long_can_be_cancelled() {
    let mut sim = Sim::new(10);
    let anna = sim.player("anna", LAN);
    let tom = sim.player("tom", LAN);
    let party = sim.create(anna, "Friday night");
    sim.cut(anna, tom);
    let join = sim.start_join(tom, &party.invite).unwrap();
    sim.run_for(seconds(1));
    let leave = sim.start_leave(tom);
    assert_eq!(sim.wait_answer(tom, join).unwrap_err().code, FaultCode::Cancelled);
    assert_eq!(sim.wait_answer(tom, leave), Ok(Outcome::Left));
    assert_eq!(sim.party(tom), None);
}
