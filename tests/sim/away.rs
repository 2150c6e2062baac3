//! Crashes, restarts, and control planes that are gone for a while.

use super::{LAN, Trio, minutes, ms, nothing_lost, seconds};
use lanrage_proto::FaultCode;
use lanrage_proto::ipc::{PartyState, PeerState};
use lanrage_tests::sim::{Node, Sim};

/// Kills and restarts one engine of a trio; its lease and tunnels have to be back within three seconds.
fn crash_and_return(mut trio: Trio, who: Node, gone_for: std::time::Duration) -> Trio {
    let (all, addresses) = (trio.all(), trio.addresses());
    trio.sim.crash(who);
    trio.sim.run_for(gone_for);
    trio.sim.restart(who);
    trio.sim.wait_connected(&all, seconds(3));
    assert_eq!(trio.addresses(), addresses);
    let since = trio.sim.elapsed();
    trio.chatter(seconds(5));
    trio.sim.run_for(seconds(6));
    nothing_lost(&trio.sim, &all, since);
    trio
}

#[test]
fn after_a_crash_a_member_is_back_in_its_place_within_three_seconds() {
    let trio = Trio::local(1);
    let tom = trio.tom;
    crash_and_return(trio, tom, seconds(1));
}

#[test]
fn after_a_crash_the_founder_is_back_in_its_place_within_three_seconds() {
    let trio = Trio::local(2);
    let anna = trio.anna;
    crash_and_return(trio, anna, ms(500));
}

#[test]
fn after_a_crash_with_a_server_everybody_is_back_within_three_seconds() {
    for who in 0..3 {
        let (trio, _) = Trio::on_server(3 + who as u64);
        let node = trio.all()[who];
        crash_and_return(trio, node, ms(200));
    }
}

#[test]
fn who_comes_back_after_a_long_crash_finds_the_same_place() {
    let (trio, _) = Trio::on_server(6);
    let zoe = trio.zoe;
    // Long enough that the control plane has struck her off.
    crash_and_return(trio, zoe, minutes(10));
}

#[test]
fn while_the_founders_engine_is_down_the_others_play_on() {
    let mut trio = Trio::local(7);
    let (all, addresses) = (trio.all(), trio.addresses());
    trio.sim.crash(trio.anna);
    let since = trio.sim.elapsed();
    super::chatter(&mut trio.sim, &[trio.tom, trio.zoe], ms(200), minutes(10));
    trio.sim.run_for(seconds(15));
    assert_eq!(trio.sim.peer(trio.tom, trio.anna), Some(PeerState::Lost));
    assert!(trio.sim.has_condition(trio.tom, FaultCode::ControlAway));
    trio.sim.run_for(minutes(10));
    nothing_lost(&trio.sim, &[trio.tom, trio.zoe], since);
    trio.sim.restart(trio.anna);
    // The others look for her less often by now.
    trio.sim.wait_connected(&all, seconds(20));
    assert_eq!(trio.addresses(), addresses);
    assert!(!trio.sim.has_condition(trio.tom, FaultCode::ControlAway));
}

#[test]
fn the_home_on_the_founders_computer_is_found_as_soon_as_her_tunnel_lives() {
    for seed in 20..24 {
        let mut trio = Trio::local(seed);
        let (all, addresses) = (trio.all(), trio.addresses());
        trio.sim.crash(trio.anna);
        trio.sim.run_for(minutes(10));
        trio.sim.restart(trio.anna);
        // The others ask for the home less often by now, and need not wait for their turn.
        trio.sim.wait_connected(&all, seconds(3));
        assert_eq!(trio.addresses(), addresses);
    }
}

/// Kills the server under a playing trio, has it back after a while, with or without its memory.
fn server_dies(seed: u64, keeps_its_store: bool, gone_for: std::time::Duration) {
    let (mut trio, server) = Trio::on_server(seed);
    let (all, addresses) = (trio.all(), trio.addresses());
    let since = trio.sim.elapsed();
    trio.chatter(gone_for + minutes(1));
    trio.sim.run_for(seconds(1));
    trio.sim.kill_server(server);
    for node in all {
        trio.sim.wait_condition(node, FaultCode::ControlAway, seconds(15));
        assert_eq!(trio.sim.state(node), Some(PartyState::Rejoining));
    }
    trio.sim.run_for(gone_for);
    if !keeps_its_store {
        trio.sim.wipe_store(server);
    }
    trio.sim.restart_server(server);
    trio.sim.wait_connected(&all, seconds(30));
    trio.sim.run_for(minutes(1) + seconds(1));
    assert_eq!(trio.addresses(), addresses);
    nothing_lost(&trio.sim, &all, since);
    for node in all {
        assert_eq!(trio.sim.view(node).conditions, [], "{}", trio.sim.name(node));
    }
    // And the party still takes people in.
    let url = trio.sim.url(server);
    let ben = trio.sim.player_on("ben", LAN, url);
    trio.sim.join(ben, &trio.party.invite);
    assert_eq!(trio.sim.address(ben).octets()[3], 4);
}

#[test]
fn the_server_dies_and_nobody_playing_notices() {
    server_dies(8, true, seconds(20));
}

#[test]
fn the_server_dies_and_forgets_everything_and_nobody_playing_notices() {
    server_dies(9, false, seconds(20));
}

#[test]
fn the_server_is_gone_for_a_quarter_of_an_hour_and_nobody_playing_notices() {
    server_dies(10, true, minutes(15));
}

#[test]
fn a_server_that_forgot_the_party_waits_for_its_founder() {
    let (mut trio, server) = Trio::on_server(11);
    let addresses = trio.addresses();
    trio.sim.crash(trio.anna);
    trio.sim.kill_server(server);
    trio.sim.wipe_store(server);
    trio.sim.restart_server(server);
    let since = trio.sim.elapsed();
    super::chatter(&mut trio.sim, &[trio.tom, trio.zoe], ms(200), seconds(30));
    trio.sim
        .wait_condition(trio.tom, FaultCode::PartyForgotten, seconds(15));
    trio.sim.run_for(seconds(31));
    nothing_lost(&trio.sim, &[trio.tom, trio.zoe], since);
    trio.sim.restart(trio.anna);
    let all = trio.all();
    trio.sim.wait_connected(&all, seconds(20));
    assert_eq!(trio.addresses(), addresses);
    assert!(!trio.sim.has_condition(trio.tom, FaultCode::PartyForgotten));
}

#[test]
fn without_its_server_a_party_is_created_on_this_computer_and_says_so() {
    // The server's machine is up but nothing listens; or nothing answers at all.
    for (seed, silent) in [(12, false), (13, true)] {
        let mut sim = Sim::new(seed);
        let server = sim.computer("server", LAN);
        let url = sim.url(server);
        let anna = sim.player_on("anna", LAN, url.clone());
        let tom = sim.player("tom", LAN);
        if silent {
            sim.cut(anna, server);
        }
        let party = sim.create(anna, "Friday night");
        assert!(sim.has_condition(anna, FaultCode::LocalFallback));
        assert_eq!(
            sim.view(anna).control.mode,
            lanrage_proto::ipc::ControlMode::Local
        );
        assert!(!party.invite.contains("server="));
        sim.join(tom, &party.id);
        sim.wait_connected(&[anna, tom], seconds(2));
    }
}

#[test]
fn a_broken_control_connection_is_made_again_and_nobody_notices() {
    let (mut trio, _) = Trio::on_server(14);
    let (all, since) = (trio.all(), trio.sim.elapsed());
    trio.chatter(seconds(30));
    trio.sim.run_for(seconds(1));
    trio.sim.break_control(trio.tom);
    trio.sim.run_for(seconds(5));
    assert_eq!(trio.sim.state(trio.tom), Some(PartyState::Active));
    trio.sim.run_for(seconds(25));
    nothing_lost(&trio.sim, &all, since);
}

#[test]
fn both_engines_and_the_server_crash_together_and_all_are_back() {
    let (mut trio, server) = Trio::on_server(15);
    let (all, addresses) = (trio.all(), trio.addresses());
    for node in all {
        trio.sim.crash(node);
    }
    trio.sim.kill_server(server);
    trio.sim.run_for(minutes(60));
    for node in all {
        trio.sim.restart(node);
    }
    trio.sim.run_for(seconds(2));
    trio.sim.restart_server(server);
    trio.sim.wait_connected(&all, seconds(10));
    assert_eq!(trio.addresses(), addresses);
}

#[test]
fn two_restarts_in_a_row_are_as_good_as_one() {
    let mut trio = Trio::local(16);
    let (all, addresses) = (trio.all(), trio.addresses());
    for pause in [50, 300, 900] {
        trio.sim.crash(trio.tom);
        trio.sim.run_for(ms(pause));
        trio.sim.restart(trio.tom);
        trio.sim.run_for(ms(pause));
    }
    trio.sim.wait_connected(&all, seconds(3));
    assert_eq!(trio.addresses(), addresses);
}

#[test]
fn two_who_crash_at_once_find_each_other_again() {
    let mut trio = Trio::local(17);
    let all = trio.all();
    trio.sim.crash(trio.tom);
    trio.sim.crash(trio.zoe);
    trio.sim.run_for(seconds(2));
    trio.sim.restart(trio.zoe);
    trio.sim.restart(trio.tom);
    trio.sim.wait_connected(&all, seconds(3));
}
