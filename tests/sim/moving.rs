//! Laptops that sleep, and computers whose addresses change in mid-party.

use super::{LAN, Trio, minutes, nothing_lost, seconds};
use lanrage_proto::ipc::PartyState;
use lanrage_tests::sim::{Node, Place, Sim};

/// All are connected again within three seconds, in their places, and nothing is lost from then on.
#[track_caller]
fn back_in_play(trio: &mut Trio, addresses: [std::net::Ipv4Addr; 3]) {
    let all = trio.all();
    trio.sim.wait_connected(&all, seconds(3));
    assert_eq!(trio.addresses(), addresses);
    let since = trio.sim.elapsed();
    trio.chatter(seconds(20));
    trio.sim.run_for(seconds(21));
    nothing_lost(&trio.sim, &all, since);
}

#[test]
fn a_laptop_that_slept_is_back_in_play_within_three_seconds() {
    for (seed, slept) in [
        (1, seconds(5)),
        (2, seconds(60)),
        (3, minutes(4)),
        // Struck off after 5 minutes; WireGuard itself forgets after 9.
        (4, minutes(7)),
        (5, minutes(120)),
    ] {
        for who in 0..3 {
            let (mut trio, _) = Trio::on_server(seed);
            let (addresses, node) = (trio.addresses(), trio.all()[who]);
            trio.sim.sleep(node);
            trio.sim.run_for(slept);
            trio.sim.wake_up(node);
            back_in_play(&mut trio, addresses);
        }
    }
}

#[test]
fn a_founders_laptop_that_slept_in_local_mode_is_back_in_play() {
    for (seed, slept) in [(5, seconds(20)), (6, minutes(4)), (7, minutes(30))] {
        let mut trio = Trio::local(seed);
        let (all, addresses) = (trio.all(), trio.addresses());
        trio.sim.sleep(trio.anna);
        trio.sim.run_for(slept);
        trio.sim.wake_up(trio.anna);
        trio.sim.wait_connected(&all, seconds(15));
        assert_eq!(trio.addresses(), addresses);
    }
}

#[test]
fn another_address_costs_less_than_three_seconds() {
    for who in 0..3 {
        let (mut trio, _) = Trio::on_server(8);
        let (addresses, node) = (trio.addresses(), trio.all()[who]);
        trio.sim.run_for(seconds(10));
        trio.sim.move_to(node, LAN);
        trio.sim.run_for(seconds(3));
        back_in_play(&mut trio, addresses);
    }
}

#[test]
fn another_address_of_the_founder_costs_little_in_local_mode() {
    let mut trio = Trio::local(9);
    let (all, addresses) = (trio.all(), trio.addresses());
    trio.sim.run_for(seconds(10));
    trio.sim.move_to(trio.anna, LAN);
    trio.sim.run_for(seconds(3));
    back_in_play(&mut trio, addresses);
    // The others find the control plane at its new address as well.
    trio.sim.run_until("nobody away", seconds(60), |sim| {
        all.iter()
            .all(|node| sim.state(*node) == Some(PartyState::Active))
    });
    // And so do those who come later, by the invite as it is now.
    let ben = trio.sim.player("ben", LAN);
    let invite = trio.sim.party(trio.anna).unwrap().invite.unwrap();
    trio.sim.join(ben, &invite);
}

#[test]
fn addresses_of_all_change_at_once_and_the_party_goes_on() {
    let (mut trio, _) = Trio::on_server(10);
    let (all, addresses) = (trio.all(), trio.addresses());
    trio.sim.run_for(seconds(10));
    for node in all {
        trio.sim.move_to(node, LAN);
    }
    trio.sim.wait_connected(&all, seconds(15));
    assert_eq!(trio.addresses(), addresses);
}

#[test]
fn while_the_server_is_away_a_friend_with_a_new_address_is_still_found() {
    let (mut trio, server) = Trio::on_server(11);
    let all = trio.all();
    trio.sim.kill_server(server);
    trio.sim.run_for(seconds(20));
    trio.sim.move_to(trio.tom, LAN);
    trio.sim.run_for(seconds(3));
    let since = trio.sim.elapsed();
    trio.chatter(seconds(20));
    trio.sim.run_for(seconds(21));
    nothing_lost(&trio.sim, &all, since);
}

/// Anna and Tom on the internet, dual stack.
fn two_on_the_internet(seed: u64) -> (Sim, Node, Node) {
    let mut sim = Sim::new(seed);
    let server = sim.server("server", Place::Internet);
    let url = sim.url(server);
    let anna = sim.player_on("anna", Place::Internet, url.clone());
    let tom = sim.player_on("tom", Place::Internet, url);
    let party = sim.create(anna, "Friday night");
    sim.join(tom, &party.invite);
    sim.wait_connected(&[anna, tom], seconds(5));
    (sim, anna, tom)
}

#[test]
fn losing_ipv4_altogether_moves_the_tunnel_to_ipv6() {
    let (mut sim, anna, tom) = two_on_the_internet(12);
    sim.run_for(seconds(10));
    sim.move_to(tom, Place::Internet6);
    // A path is left when it was silent for 3 s.
    sim.run_for(super::ms(3500));
    sim.wait_connected(&[anna, tom], seconds(3));
    let since = sim.elapsed();
    super::chatter(&mut sim, &[anna, tom], super::ms(200), seconds(10));
    sim.run_for(seconds(11));
    nothing_lost(&sim, &[anna, tom], since);
}
