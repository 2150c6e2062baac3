//! Hours of tunnels, in virtual time.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn established(reports: &[Report]) -> usize {
    reports
        .iter()
        .filter(|report| matches!(report, Report::Established(_)))
        .count()
}

fn expired(reports: &[Report]) -> usize {
    reports
        .iter()
        .filter(|report| matches!(report, Report::Expired(_)))
        .count()
}

fn talks(party: &mut Party) -> bool {
    party.say(1, 2, b"ping");
    party.say(2, 1, b"pong");
    party.settle();
    party.delivered(1).len() == 1 && party.delivered(2).len() == 1
}

#[test]
fn idle_tunnels_are_rekeyed_every_two_minutes_and_never_expire() {
    let mut party = Party::connected(3);
    party.pass(60 * MINUTE);
    for member in 1..=3 {
        let reports = party.reports(member);
        assert_eq!(expired(&reports), 0);
        // 29 or 30 for each of two peers.
        assert!(
            (58..=60).contains(&established(&reports)),
            "{}",
            established(&reports)
        );
    }
    assert!(talks(&mut party));
}

#[test]
fn a_busy_tunnel_loses_nothing_while_it_is_rekeyed() {
    let mut party = Party::connected(2);
    for second in 0..600 {
        assert!(talks(&mut party), "second {second}");
        party.pass(SECOND);
    }
    assert_eq!(expired(&party.reports(1)), 0);
}

#[test]
fn one_direction_only_keeps_working_for_an_hour() {
    let mut party = Party::connected(2);
    for _ in 0..3600 {
        // The side that does not initiate does all the talking.
        party.say(2, 1, b"state");
        party.pass(SECOND);
    }
    assert_eq!(party.delivered(1).len(), 3600);
    assert_eq!(expired(&party.reports(1)) + expired(&party.reports(2)), 0);
}

#[test]
fn a_gap_of_a_minute_costs_nothing_afterwards() {
    let mut party = Party::connected(2);
    party.pass(30 * SECOND);
    party.cut = true;
    for _ in 0..60 {
        party.say(2, 1, b"anybody there?");
        party.pass(SECOND);
    }
    party.cut = false;
    assert!(
        party.reports(2).contains(&Report::Wanted(party.slot(1))),
        "it seems dead"
    );
    party.reports(1);
    for second in 0..600 {
        assert!(talks(&mut party), "second {second} after the gap");
        party.pass(SECOND);
    }
    assert_eq!(expired(&party.reports(1)) + expired(&party.reports(2)), 0);
}

#[test]
fn a_session_runs_out_without_a_path_and_is_back_with_one() {
    let mut party = Party::connected(2);
    party.cut = true;
    party.pass(SECOND);
    party.set_path(1, 2, false);
    party.set_path(2, 1, false);
    party.pass(30 * MINUTE);
    assert_eq!((expired(&party.reports(1)), expired(&party.reports(2))), (1, 1));
    party.cut = false;
    party.connect();
    party.settle();
    assert!(talks(&mut party));
}

#[test]
fn a_peer_that_is_silent_for_an_hour_is_called_all_the_time_and_back_within_seconds() {
    let mut party = Party::connected(2);
    party.cut = true;
    party.pass(60 * MINUTE);
    party.cut = false;
    party.pass(6 * SECOND);
    assert!(talks(&mut party));
}

#[test]
fn after_sleeping_through_hours_a_tunnel_is_back_at_once() {
    let mut party = Party::connected(2);
    party.jump(180 * MINUTE);
    party.settle();
    assert!(talks(&mut party));
}

#[test]
fn a_restart_in_the_second_hour_with_the_clock_set_back_is_no_obstacle() {
    let mut party = Party::connected(2);
    party.pass(90 * MINUTE);
    // boringtun takes the date from the real clock at the start of a tunnel and adds virtual time, so that after a
    // restart in virtual time its timestamps lie 90 minutes before those it used.
    for member in [1, 2] {
        party.restart(member);
        party.apply(1);
        party.apply(2);
        party.settle();
        assert!(talks(&mut party), "restart of member {member}");
    }
}

#[test]
fn the_same_hour_has_the_same_transcript() {
    let run = || {
        let mut party = Party::of(3);
        let start = party.now;
        party.connect();
        let mut transcript = Vec::new();
        while party.now < start + 60 * MINUTE {
            party.wake_all();
            for member in 1..=3 {
                let sizes: Vec<_> = party
                    .node(member)
                    .outbox
                    .iter()
                    .map(|(to, d)| (to, d.len()))
                    .collect();
                transcript.push((party.now - start, member, sizes));
            }
            party.pass(500 * MS);
        }
        transcript
    };
    assert_eq!(run(), run());
}
