//! Peers that fall silent, come back, or were never there.

use super::{LAN, Trio, minutes, ms, nothing_lost, seconds};
use lanrage_proto::ipc::{PartyState, PeerState, PeerTrouble};
use lanrage_tests::sim::{Link, Sim};

#[test]
fn a_silent_friend_is_degraded_then_lost_and_back_when_the_cable_is() {
    let (mut trio, _) = Trio::on_server(1);
    let (all, anna, tom) = (trio.all(), trio.anna, trio.tom);
    trio.sim.run_for(seconds(5));
    trio.sim.cut(anna, tom);
    let degraded = trio.sim.run_until("degraded", seconds(5), |sim| {
        sim.peer(anna, tom) == Some(PeerState::Degraded)
    });
    assert!((ms(2000)..=ms(4100)).contains(&degraded), "after {degraded:?}");
    assert_eq!(
        trio.sim.row(anna, tom).unwrap().trouble,
        Some(PeerTrouble::Silent)
    );
    let lost = trio.sim.run_until("lost", seconds(10), |sim| {
        sim.peer(anna, tom) == Some(PeerState::Lost)
    });
    assert!(
        (ms(9000)..=ms(11_100)).contains(&(degraded + lost)),
        "after {:?}",
        degraded + lost
    );
    assert_eq!(
        trio.sim.row(anna, tom).unwrap().trouble,
        Some(PeerTrouble::Silent)
    );
    // Her way to the third friend is as good as before.
    assert_eq!(trio.sim.peer(anna, trio.zoe), Some(PeerState::Connected));
    trio.sim.run_for(minutes(2));
    assert_eq!(trio.sim.peer(anna, tom), Some(PeerState::Lost));
    trio.sim.mend(anna, tom);
    // A lost friend is tried ever more slowly, at last every 30 s.
    trio.sim.wait_connected(&all, seconds(35));
    let since = trio.sim.elapsed();
    trio.chatter(seconds(5));
    trio.sim.run_for(seconds(6));
    nothing_lost(&trio.sim, &all, since);
}

#[test]
fn a_gap_of_five_seconds_is_over_within_a_second() {
    let (mut trio, _) = Trio::on_server(2);
    let (all, anna, tom) = (trio.all(), trio.anna, trio.tom);
    trio.sim.run_for(seconds(5));
    trio.sim.cut(anna, tom);
    trio.sim.run_for(seconds(5));
    trio.sim.mend(anna, tom);
    let since = trio.sim.elapsed() + seconds(1);
    trio.chatter(seconds(5));
    trio.sim.run_for(seconds(6));
    nothing_lost(&trio.sim, &all, since);
}

#[test]
fn a_friend_who_can_not_be_reached_has_failed_after_15_seconds_and_is_still_tried() {
    let mut sim = Sim::new(3);
    let server = sim.server("server", LAN);
    let url = sim.url(server);
    let anna = sim.player_on("anna", LAN, url.clone());
    let tom = sim.player_on("tom", LAN, url);
    sim.cut(anna, tom);
    let party = sim.create(anna, "Friday night");
    sim.join(tom, &party.invite);
    sim.run_until("seen", seconds(2), |sim| {
        sim.peer(anna, tom) == Some(PeerState::Connecting)
    });
    let failed = sim.run_until("failed", seconds(17), |sim| {
        sim.peer(anna, tom) == Some(PeerState::Failed)
    });
    assert!(failed >= ms(13_900), "after {failed:?}");
    assert_eq!(sim.state(tom), Some(PartyState::Active));
    sim.run_for(minutes(5));
    assert_eq!(sim.peer(anna, tom), Some(PeerState::Failed));
    sim.mend(anna, tom);
    sim.wait_connected(&[anna, tom], seconds(35));
}

#[test]
fn who_fell_silent_for_good_is_gone_from_the_list_after_minutes() {
    let (mut trio, _) = Trio::on_server(4);
    trio.sim.crash(trio.tom);
    trio.sim.run_for(minutes(3));
    assert_eq!(trio.sim.peer(trio.anna, trio.tom), Some(PeerState::Lost));
    trio.sim.run_for(minutes(4));
    assert_eq!(trio.sim.row(trio.anna, trio.tom), None);
    assert!(trio.sim.all_connected(&[trio.anna, trio.zoe]));
    // No lie in that: nobody is blamed.
    assert_eq!(trio.sim.view(trio.anna).conditions, []);
}

#[test]
fn who_was_cut_off_and_struck_off_is_back_within_seconds() {
    for seed in 10..14 {
        let (mut trio, server) = Trio::on_server(seed);
        let (all, addresses) = (trio.all(), trio.addresses());
        // Struck off after 5 minutes; WireGuard itself forgets after 9.
        for other in [trio.anna, trio.tom, server] {
            trio.sim.cut(trio.zoe, other);
        }
        trio.sim.run_for(minutes(7));
        assert_eq!(trio.sim.row(trio.anna, trio.zoe), None);
        for other in [trio.anna, trio.tom, server] {
            trio.sim.mend(trio.zoe, other);
        }
        // She tries her server every 10 to 15 s by now.
        trio.sim.wait_connected(&all, seconds(20));
        assert_eq!(trio.addresses(), addresses);
        let since = trio.sim.elapsed();
        trio.chatter(seconds(5));
        trio.sim.run_for(seconds(6));
        nothing_lost(&trio.sim, &all, since);
    }
}

#[test]
fn a_bad_line_shows_as_degraded_with_its_reason_and_a_good_one_clears_it() {
    let delay = Link {
        latency: ms(200),
        ..Link::GOOD
    };
    let jitter = Link {
        jitter: ms(150),
        ..Link::GOOD
    };
    let loss = Link {
        loss: 0.2,
        ..Link::GOOD
    };
    for (bad, trouble) in [
        (delay, PeerTrouble::Delay),
        (jitter, PeerTrouble::Jitter),
        (loss, PeerTrouble::Loss),
    ] {
        let mut trio = Trio::local(5);
        let (anna, tom) = (trio.anna, trio.tom);
        assert_eq!(trio.sim.row(anna, tom).unwrap().trouble, None);
        trio.sim.link(anna, tom, bad);
        trio.sim
            .run_until(&format!("degraded: {trouble:?}"), seconds(60), |sim| {
                let row = sim.row(anna, tom);
                row.is_some_and(|row| row.state == PeerState::Degraded && row.trouble == Some(trouble))
            });
        trio.sim.link(anna, tom, Link::GOOD);
        trio.sim.run_until("well again", seconds(90), |sim| {
            sim.peer(anna, tom) == Some(PeerState::Connected)
        });
        assert_eq!(trio.sim.row(anna, tom).unwrap().trouble, None);
    }
}
