//! A control plane that lies: each lie is refused and named, no byte of an application goes astray (the simulation
//! stops if one does), and tunnels that live stay up.

use super::liar::{flipped, rng};
use super::{LAN, Trio, chatter, ms, nothing_lost, seconds};
use lanrage_core::records::{self, Word};
use lanrage_proto::control::{Sealed, ServerMessage};
use lanrage_proto::ids::Epoch;
use lanrage_proto::ipc::{PartyState, PeerState};
use lanrage_proto::{FaultCode, MemberId, Seq, Slot};
use lanrage_tests::sim::{Fate, Sim};

/// A trio, and a signal from Tom to Anna: the way between them was cut when they met.
fn trio_with_signals(seed: u64) -> (Trio, Sealed) {
    let mut sim = Sim::new(seed);
    let server = sim.server("server", LAN);
    let url = sim.url(server);
    let [anna, tom, zoe] = ["anna", "tom", "zoe"].map(|name| sim.player_on(name, LAN, url.clone()));
    sim.cut(anna, tom);
    let party = sim.create(anna, "Friday night");
    sim.join(tom, &party.invite);
    sim.join(zoe, &party.invite);
    sim.run_for(seconds(4));
    sim.mend(anna, tom);
    sim.wait_connected(&[anna, tom, zoe], seconds(20));
    let trio = Trio {
        sim,
        anna,
        tom,
        zoe,
        party,
    };
    let toms = trio.id_of(tom);
    let toms_signal = |message: &ServerMessage| match message {
        ServerMessage::Signal { signal } if signal.author == toms => Some(signal.clone()),
        _ => None,
    };
    let signal = trio.sim.told(anna).rev().find_map(toms_signal);
    let signal = signal.expect("Tom never called Anna");
    (trio, signal)
}

#[test]
fn a_replayed_signal_is_refused() {
    let (mut trio, signal) = trio_with_signals(10);
    let node = trio.anna;
    trio.sim.tell(node, ServerMessage::Signal { signal });
    trio.is_named_and_harmless(node, FaultCode::SignalRefused);
}

#[test]
fn an_altered_signal_is_refused() {
    let (mut trio, signal) = trio_with_signals(11);
    let node = trio.anna;
    let signal = Sealed {
        seq: Seq(signal.seq.0 + 1000),
        ..signal
    };
    trio.sim.tell(
        node,
        ServerMessage::Signal {
            signal: signal.clone(),
        },
    );
    trio.is_named_and_harmless(node, FaultCode::SignalRefused);
    trio.sim.tell(
        node,
        ServerMessage::Signal {
            signal: flipped(signal),
        },
    );
    trio.is_named_and_harmless(node, FaultCode::SignalRefused);
}

#[test]
fn a_signal_for_somebody_else_is_refused() {
    let (mut trio, signal) = trio_with_signals(12);
    // To a third member, and back to its author.
    for node in [trio.zoe, trio.tom] {
        let signal = signal.clone();
        trio.sim.tell(node, ServerMessage::Signal { signal });
        trio.is_named_and_harmless(node, FaultCode::SignalRefused);
    }
}

#[test]
fn a_party_is_not_ended_without_its_hosts_word() {
    let (mut trio, _) = Trio::on_server(13);
    trio.sim
        .tell(trio.tom, ServerMessage::PartyDissolved { statement: None });
    trio.is_named_and_harmless(trio.tom, FaultCode::DissolveRefused);
}

#[test]
fn a_party_is_not_ended_by_anybody_elses_word() {
    let (mut trio, _) = Trio::on_server(14);
    let zoes = trio.word(trio.zoe, Word::Dissolve);
    let hosts_name_on_it = Sealed {
        author: trio.id_of(trio.anna),
        ..zoes.clone()
    };
    let hosts_other_word = trio.word(trio.anna, Word::Leave);
    let damaged = flipped(trio.word(trio.anna, Word::Dissolve));
    for statement in [zoes, hosts_name_on_it, hosts_other_word, damaged] {
        trio.sim.tell(
            trio.tom,
            ServerMessage::PartyDissolved {
                statement: Some(statement),
            },
        );
        trio.is_named_and_harmless(trio.tom, FaultCode::DissolveRefused);
    }
}

#[test]
fn the_word_that_ends_another_party_ends_only_that() {
    let (mut trio, server) = Trio::on_server(15);
    let url = trio.sim.url(server);
    let ben = trio.sim.player_on("ben", LAN, url);
    let other = trio.sim.create(ben, "Elsewhere");
    let (party, keys) = trio.sim.keys(ben, &other.id);
    let chain = records::founding_hash(&trio.founding());
    let word = records::seal_word(
        &party,
        &keys,
        Epoch(0),
        Seq::at_boot(2),
        Word::Dissolve,
        &chain,
        &mut rng(),
    )
    .unwrap();
    trio.sim.tell(
        trio.tom,
        ServerMessage::PartyDissolved {
            statement: Some(word),
        },
    );
    trio.is_named_and_harmless(trio.tom, FaultCode::DissolveRefused);
}

#[test]
fn a_friend_whose_tunnel_lives_is_not_removed_without_her_word() {
    let (mut trio, _) = Trio::on_server(16);
    let (version, member) = (trio.next_version(trio.tom), trio.id_of(trio.zoe));
    trio.sim.tell(
        trio.tom,
        ServerMessage::PeerLeft {
            version,
            member,
            statement: None,
        },
    );
    trio.is_named_and_harmless(trio.tom, FaultCode::LeaveRefused);
}

#[test]
fn a_friend_is_not_removed_by_anybody_elses_word() {
    let (mut trio, _) = Trio::on_server(17);
    let member = trio.id_of(trio.zoe);
    let toms = trio.word(trio.tom, Word::Leave);
    let renamed = Sealed {
        author: member,
        ..toms.clone()
    };
    let damaged = flipped(trio.word(trio.zoe, Word::Leave));
    for statement in [toms, renamed, damaged] {
        let version = trio.next_version(trio.tom);
        trio.sim.tell(
            trio.tom,
            ServerMessage::PeerLeft {
                version,
                member,
                statement: Some(statement),
            },
        );
        trio.is_named_and_harmless(trio.tom, FaultCode::LeaveRefused);
    }
}

#[test]
fn a_leave_said_before_a_return_does_not_remove_who_came_back() {
    let (mut trio, _) = Trio::on_server(18);
    trio.sim.leave(trio.zoe);
    trio.sim.run_for(seconds(2));
    let left = |message: &ServerMessage| match message {
        ServerMessage::PeerLeft {
            statement: Some(statement),
            ..
        } => Some(statement.clone()),
        _ => None,
    };
    let old = trio
        .sim
        .told(trio.tom)
        .find_map(left)
        .expect("no leave was passed on");
    trio.sim.join(trio.zoe, &trio.party.invite);
    let all = trio.all();
    trio.sim.wait_connected(&all, seconds(5));
    let (version, member) = (trio.next_version(trio.tom), trio.id_of(trio.zoe));
    trio.sim.tell(
        trio.tom,
        ServerMessage::PeerLeft {
            version,
            member,
            statement: Some(old),
        },
    );
    trio.is_named_and_harmless(trio.tom, FaultCode::LeaveRefused);
}

#[test]
fn a_friend_left_out_of_a_snapshot_keeps_her_tunnel() {
    let (mut trio, _) = Trio::on_server(19);
    let zoe = trio.id_of(trio.zoe);
    let tom = trio.tom;
    trio.sim.lie(move |to, frame| {
        if let ServerMessage::Snapshot { members, .. } = &mut frame.message
            && to == tom
        {
            members.retain(|entry| entry.member != zoe);
        }
        Fate::Pass
    });
    // A new connection brings a new snapshot.
    trio.sim.break_control(trio.tom);
    trio.is_named_and_harmless(trio.tom, FaultCode::LeaveRefused);
}

#[test]
fn a_control_plane_that_shows_two_worlds_is_named() {
    let mut sim = Sim::new(20);
    let server = sim.server("server", LAN);
    let url = sim.url(server);
    let [anna, tom, zoe] = ["anna", "tom", "zoe"].map(|name| sim.player_on(name, LAN, url.clone()));
    let party = sim.create(anna, "Friday night");
    sim.join(tom, &party.invite);
    sim.wait_connected(&[anna, tom], seconds(3));
    // Whoever comes from now on is hidden from Tom.
    let known = [anna, tom].map(|node| sim.identity(node, &party.id));
    sim.lie(move |to, frame| {
        let hidden = |member: &MemberId| to == tom && !known.contains(member);
        match &mut frame.message {
            ServerMessage::Snapshot { members, .. } => members.retain(|entry| !hidden(&entry.member)),
            ServerMessage::PeerJoined { member, .. } | ServerMessage::PeerUpdated { member, .. }
                if hidden(&member.member) =>
            {
                return Fate::Drop;
            }
            ServerMessage::Signal { signal } if hidden(&signal.author) => return Fate::Drop,
            _ => {}
        }
        Fate::Pass
    });
    sim.join(zoe, &party.invite);
    let since = sim.elapsed();
    chatter(&mut sim, &[anna, tom], ms(200), seconds(40));
    sim.wait_condition(tom, FaultCode::ViewsDiffer, seconds(20));
    sim.wait_condition(anna, FaultCode::ViewsDiffer, seconds(5));
    assert!(sim.elapsed() - since >= seconds(10), "too soon to know");
    sim.run_for(seconds(30));
    nothing_lost(&sim, &[anna, tom], since);
    assert_eq!(sim.peer(anna, zoe), Some(PeerState::Connected));
    assert_eq!(sim.row(tom, zoe), None);
    // The truth clears it.
    sim.lie_no_more();
    sim.break_control(tom);
    sim.wait_connected(&[anna, tom, zoe], seconds(30));
    sim.run_until("conditions over", seconds(30), |sim| {
        [anna, tom, zoe]
            .iter()
            .all(|node| !sim.has_condition(*node, FaultCode::ViewsDiffer))
    });
}

#[test]
fn an_honest_party_never_names_two_worlds() {
    let (mut trio, server) = Trio::on_server(21);
    let url = trio.sim.url(server);
    let mut later = Vec::new();
    for name in ["ben", "cleo", "dan"] {
        let node = trio.sim.player_on(name, LAN, url.clone());
        trio.sim.join(node, &trio.party.invite);
        trio.sim.run_for(seconds(7));
        later.push(node);
    }
    trio.sim.crash(trio.tom);
    trio.sim.run_for(seconds(20));
    trio.sim.restart(trio.tom);
    trio.sim.run_for(seconds(20));
    trio.sim.leave(later[0]);
    trio.sim.run_for(seconds(20));
    let named = trio.sim.transcript.text();
    assert!(!named.contains("views_differ"), "{named}");
    assert!(!named.contains("refused"), "{named}");
}

#[test]
fn a_party_with_another_founding_is_not_entered() {
    let (mut trio, server) = Trio::on_server(22);
    let url = trio.sim.url(server);
    let ben = trio.sim.player_on("ben", LAN, url.clone());
    let other = trio.sim.player_on("eve", LAN, url);
    trio.sim.create(other, "A trap");
    let trap = trio.sim.told(other).find_map(|message| match message {
        ServerMessage::Party { founding, .. } => Some(founding.clone()),
        _ => None,
    });
    let trap = trap.unwrap();
    let honest = trio.founding();
    for fake in [trap, flipped(honest)] {
        trio.sim.lie(move |to, frame| {
            if let ServerMessage::Party { founding, .. } = &mut frame.message
                && to == ben
            {
                *founding = fake.clone();
            }
            Fate::Pass
        });
        let refused = trio.sim.try_join(ben, &trio.party.id).unwrap_err();
        assert_eq!(refused.code, FaultCode::FoundingRefused);
        assert_eq!(trio.sim.party(ben), None);
    }
    trio.sim.lie_no_more();
    trio.sim.join(ben, &trio.party.id);
}

#[test]
fn a_control_plane_that_deals_another_lease_on_return_is_named() {
    let (mut trio, _) = Trio::on_server(23);
    let (tom, all, addresses) = (trio.tom, trio.all(), trio.addresses());
    trio.sim.lie(move |to, frame| {
        if let ServerMessage::Party { slot: Some(slot), .. } = &mut frame.message
            && to == tom
        {
            *slot = Slot::try_from(9).unwrap();
        }
        Fate::Pass
    });
    let since = trio.sim.elapsed();
    trio.chatter(seconds(20));
    trio.sim.break_control(tom);
    trio.sim.wait_condition(tom, FaultCode::LeaseClash, seconds(10));
    trio.sim.run_for(seconds(15));
    assert_eq!(trio.addresses(), addresses);
    nothing_lost(&trio.sim, &all, since);
}

#[test]
fn a_control_plane_that_swallows_everything_costs_no_packet() {
    let (mut trio, _) = Trio::on_server(24);
    let (all, since) = (trio.all(), trio.sim.elapsed());
    trio.sim.lie(|_, _| Fate::Drop);
    trio.chatter(seconds(180));
    trio.sim.run_for(seconds(181));
    nothing_lost(&trio.sim, &all, since);
    assert_eq!(trio.sim.state(trio.tom), Some(PartyState::Rejoining));
    trio.sim.lie_no_more();
    trio.sim.wait_connected(&all, seconds(30));
}
