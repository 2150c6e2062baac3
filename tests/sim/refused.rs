//! Joins and creates that are refused, with the reason a player can act on.

use super::{LAN, Trio, minutes, ms, seconds};
use lanrage_proto::invite::InviteError;
use lanrage_proto::ipc::PartyState;
use lanrage_proto::party_id::PartyIdError;
use lanrage_proto::{Fault, FaultCode};
use lanrage_tests::sim::Sim;

/// An ID that nobody founded.
fn stranger_id() -> String {
    let founder = lanrage_proto::MemberId([7; 32]);
    let nonce = lanrage_proto::party_id::FoundingNonce([9; 32]);
    lanrage_proto::PartyId::of_founding(&founder, &nonce).to_string()
}

#[test]
fn a_full_party_says_so() {
    let mut sim = Sim::new(1);
    sim.limit_members(2);
    let anna = sim.player("anna", LAN);
    let tom = sim.player("tom", LAN);
    let zoe = sim.player("zoe", LAN);
    let party = sim.create(anna, "Friday night");
    sim.join(tom, &party.invite);
    assert_eq!(
        sim.try_join(zoe, &party.invite).unwrap_err().code,
        FaultCode::PartyFull
    );
    assert_eq!(sim.party(zoe), None);
    assert!(!sim.has_adapter(zoe));
    // A place that is given up is free for another.
    sim.leave(tom);
    sim.join(zoe, &party.invite);
    sim.wait_connected(&[anna, zoe], seconds(3));
}

#[test]
fn an_id_that_no_server_knows_is_called_unknown() {
    let mut sim = Sim::new(2);
    let server = sim.server("server", LAN);
    let url = sim.url(server);
    let tom = sim.player_on("tom", LAN, url);
    assert_eq!(
        sim.try_join(tom, &stranger_id()).unwrap_err().code,
        FaultCode::PartyUnknown
    );
    assert_eq!(sim.party(tom), None);
}

#[test]
fn an_id_that_nobody_answers_for_is_called_unreachable() {
    let mut sim = Sim::new(3);
    let tom = sim.player("tom", LAN);
    let before = sim.elapsed();
    assert_eq!(
        sim.try_join(tom, &stranger_id()).unwrap_err().code,
        FaultCode::ControlUnreachable
    );
    assert!(sim.elapsed() - before <= seconds(15));
    assert_eq!(sim.party(tom), None);
}

#[test]
fn a_party_that_has_ended_says_so_for_a_day() {
    let (mut trio, server) = Trio::on_server(4);
    trio.sim.leave(trio.anna);
    trio.sim.run_for(minutes(60));
    let url = trio.sim.url(server);
    let ben = trio.sim.player_on("ben", LAN, url);
    assert_eq!(
        trio.sim.try_join(ben, &trio.party.id).unwrap_err().code,
        FaultCode::PartyEnded
    );
    trio.sim.run_for(minutes(24 * 60));
    assert_eq!(
        trio.sim.try_join(ben, &trio.party.id).unwrap_err().code,
        FaultCode::PartyUnknown
    );
}

#[test]
fn a_mistyped_id_is_told_before_anything_is_dialled() {
    let mut sim = Sim::new(5);
    let anna = sim.player("anna", LAN);
    let tom = sim.player("tom", LAN);
    let party = sim.create(anna, "Friday night");
    let last = if party.id.ends_with('0') { "1" } else { "0" };
    let mistyped = format!("{}{last}", &party.id[..party.id.len() - 1]);
    let error = sim.start_join(tom, &mistyped).unwrap_err();
    assert_eq!(error, InviteError::Id(PartyIdError::Check));
    // Lower case and blanks are no mistake.
    sim.join(tom, &party.id.to_lowercase().replace('-', " "));
}

#[test]
fn one_party_at_a_time() {
    let mut trio = Trio::local(6);
    let refused = trio.sim.try_join(trio.tom, &stranger_id()).unwrap_err();
    assert_eq!(refused.code, FaultCode::AlreadyInParty);
    let intent = trio.sim.start_create(trio.tom, "Another");
    assert_eq!(
        trio.sim.wait_answer(trio.tom, intent).unwrap_err().code,
        FaultCode::AlreadyInParty
    );
    // The same ID again is no mistake: it tells how things are.
    let address = trio.sim.address(trio.tom).to_string();
    assert_eq!(trio.sim.join(trio.tom, &trio.party.id).address, address);
    let all = trio.all();
    assert!(trio.sim.all_connected(&all));
}

#[test]
fn there_is_nothing_to_leave_without_a_party() {
    let mut sim = Sim::new(7);
    let anna = sim.player("anna", LAN);
    let intent = sim.start_leave(anna);
    assert_eq!(
        sim.wait_answer(anna, intent).unwrap_err().code,
        FaultCode::NotInParty
    );
}

#[test]
fn without_an_adapter_there_is_no_party_and_no_half_of_one() {
    let mut sim = Sim::new(8);
    let anna = sim.player("anna", LAN);
    let fault = Fault::new(FaultCode::AddressClash).with("network", "10.66.0.0/16");
    sim.refuse_adapter(anna, Some(fault.clone()));
    let intent = sim.start_create(anna, "Friday night");
    assert_eq!(sim.wait_answer(anna, intent), Err(fault));
    sim.run_for(seconds(1));
    assert_eq!(sim.party(anna), None);
    sim.refuse_adapter(anna, None);
    sim.create(anna, "Friday night");
}

#[test]
fn a_copied_computer_takes_the_place_over_and_the_first_stops_trying() {
    let (mut trio, _) = Trio::on_server(9);
    let (tom, address) = (trio.tom, trio.sim.address(trio.tom));
    // A backup of Tom's machine wakes up elsewhere.
    let copy = trio.sim.clone_of(tom, "copy", LAN);
    trio.sim.restart(copy);
    trio.sim.join(copy, &trio.party.invite);
    assert_eq!(trio.sim.address(copy), address);
    trio.sim.wait_condition(tom, FaultCode::Superseded, seconds(5));
    trio.sim.run_for(minutes(2));
    assert!(trio.sim.has_condition(tom, FaultCode::Superseded));
    assert!(!trio.sim.has_condition(copy, FaultCode::Superseded));
    assert_eq!(trio.sim.state(copy), Some(PartyState::Active));
}

#[test]
fn two_intents_at_once_do_not_mix() {
    let mut sim = Sim::new(10);
    let anna = sim.player("anna", LAN);
    let first = sim.start_create(anna, "Friday night");
    let second = sim.start_create(anna, "Saturday");
    assert_eq!(sim.wait_answer(anna, second).unwrap_err().code, FaultCode::Busy);
    assert!(sim.wait_answer(anna, first).is_ok());
    sim.run_for(ms(100));
    assert_eq!(sim.party(anna).unwrap().name, "Friday night");
}
