//! The path agent against peers that answer as each test says.

use super::*;

const RTT: Duration = Duration::from_millis(20);

fn path(n: u8) -> Path {
    Path::primary(format!("192.0.2.{n}:51820").parse().unwrap())
}

/// Runs an agent against peers that answer with a round-trip time of their own, or not at all.
fn run(
    agent: &mut Agent,
    from: Instant,
    lasting: Duration,
    rtt: impl Fn(Path, Duration) -> Option<Duration>,
) -> usize {
    play(agent, from, lasting, |path, _, after| rtt(path, after)).0
}

/// The same where it matters which path is in use; also when that changed, and to which.
fn play(
    agent: &mut Agent,
    from: Instant,
    lasting: Duration,
    rtt: impl Fn(Path, Option<Path>, Duration) -> Option<Duration>,
) -> (usize, Vec<(Duration, Option<Path>)>) {
    let mut changes = Vec::new();
    let mut sent = 0u64;
    let mut pongs: BTreeMap<(Instant, u64), (ProbeId, Path)> = BTreeMap::new();
    let mut now = from;
    while now < from + lasting {
        while let Some(entry) = pongs.first_entry().filter(|entry| entry.key().0 <= now) {
            let (id, path) = entry.remove();
            agent.pong(now, id, path);
        }
        for path in agent.due(now) {
            sent += 1;
            let mut id = [0; 12];
            id[..8].copy_from_slice(&sent.to_le_bytes());
            id[8..].copy_from_slice(&(now.duration_since(from).as_millis() as u32).to_le_bytes());
            agent.sent(now, id, path);
            if let Some(rtt) = rtt(path, agent.chosen(), now - from) {
                pongs.insert((now + rtt, sent), (id, path));
            }
        }
        if let Some(chosen) = agent.choose(now) {
            changes.push((now - from, chosen));
        }
        agent.alarm(now);
        now += Duration::from_millis(10);
    }
    (sent as usize, changes)
}

#[test]
fn a_path_is_used_only_after_its_pong() {
    let now = Instant::now();
    let mut agent = Agent::default();
    agent.told(now, [(path(1), Tier::Direct), (path(2), Tier::Direct)]);
    assert_eq!(agent.choose(now), None);
    run(&mut agent, now, Duration::from_secs(1), |p, _| {
        (p == path(2)).then_some(RTT)
    });
    assert_eq!(agent.chosen(), Some(path(2)));
    assert_eq!(agent.chosen_kind(), Some(PathKind::Direct));
}

#[test]
fn a_pong_by_another_way_proves_nothing() {
    let now = Instant::now();
    let mut agent = Agent::default();
    agent.told(now, [(path(1), Tier::Direct)]);
    agent.due(now);
    agent.sent(now, [1; 12], path(1));
    assert_eq!(agent.pong(now + RTT, [1; 12], path(9)), None);
    assert_eq!(agent.pong(now + RTT, [2; 12], path(1)), None);
    assert_eq!(agent.choose(now + RTT), None);
}

#[test]
fn a_relayed_address_that_is_no_longer_named_is_left_as_soon_as_another_answers() {
    let start = Instant::now();
    let mut agent = Agent::default();
    agent.told(start, [(path(1), Tier::Relay)]);
    run(&mut agent, start, Duration::from_secs(2), |_, _| Some(RTT));
    assert_eq!(agent.chosen(), Some(path(1)));
    let now = start + Duration::from_secs(2);
    agent.told(now, [(path(2), Tier::Relay)]);
    agent.choose(now);
    assert_eq!(agent.chosen(), Some(path(1)), "it carries until then");
    // Though it is the slower one.
    run(&mut agent, now, Duration::from_millis(200), |p, _| {
        Some(if p == path(2) { RTT * 2 } else { RTT })
    });
    assert_eq!(agent.chosen(), Some(path(2)));
    run(
        &mut agent,
        now + Duration::from_millis(200),
        Duration::from_secs(5),
        |_, _| Some(RTT),
    );
    assert_eq!(agent.chosen(), Some(path(2)), "and stays left");
}

#[test]
fn one_that_died_before_it_was_no_longer_named_is_not_gone_back_to() {
    let start = Instant::now();
    let mut agent = Agent::default();
    agent.told(start, [(path(1), Tier::Relay), (path(2), Tier::Relay)]);
    let both = |p: Path, _| Some(if p == path(2) { RTT * 2 } else { RTT });
    run(&mut agent, start, Duration::from_secs(19), both);
    assert_eq!(agent.chosen(), Some(path(1)));
    // The other was measured a while ago, this one just now.
    let mut now = start + Duration::from_secs(19);
    agent.told(now, [(path(2), Tier::Relay)]);
    let mut choices = Vec::new();
    for _ in 0..400 {
        choices.extend(agent.choose(now).flatten());
        now += Duration::from_millis(10);
    }
    assert_eq!(choices, [path(2)]);
}

#[test]
fn a_relay_that_went_takes_all_that_goes_to_it_along() {
    let start = Instant::now();
    let mut agent = Agent::default();
    let other = Path::primary("198.51.100.1:50000".parse().unwrap());
    agent.told(
        start,
        [
            (path(1), Tier::Relay),
            (other, Tier::Relay),
            (path(3), Tier::Direct),
        ],
    );
    let rtt = |p: Path, _| (p != path(3)).then_some(if p == other { RTT * 2 } else { RTT });
    run(&mut agent, start, Duration::from_secs(2), rtt);
    assert_eq!(agent.chosen(), Some(path(1)));
    let now = start + Duration::from_secs(2);
    agent.doubt_relay(now, path(1).remote.ip());
    assert_eq!(agent.choose(now), Some(Some(other)));
}

#[test]
fn near_equal_paths_do_not_flap_and_a_clear_gain_is_taken_after_three_seconds() {
    let now = Instant::now();
    let mut agent = Agent::default();
    agent.told(now, [(path(1), Tier::Direct)]);
    run(&mut agent, now, Duration::from_secs(2), |_, _| Some(RTT * 2));
    agent.told(now, [(path(1), Tier::Direct), (path(2), Tier::Direct)]);
    run(
        &mut agent,
        now + Duration::from_secs(2),
        Duration::from_secs(30),
        |p, _| {
            Some(if p == path(1) {
                RTT * 2
            } else {
                RTT * 2 - Duration::from_millis(3)
            })
        },
    );
    assert_eq!(agent.chosen(), Some(path(1)), "3 ms are not worth a switch");
    run(
        &mut agent,
        now + Duration::from_secs(32),
        Duration::from_secs(120),
        |p, _| Some(if p == path(1) { RTT * 2 } else { RTT }),
    );
    assert_eq!(agent.chosen(), Some(path(2)), "20 ms are");
}

#[test]
fn a_silent_path_is_left_for_one_that_answers() {
    let now = Instant::now();
    let mut agent = Agent::default();
    agent.told(now, [(path(1), Tier::Lan), (path(2), Tier::Direct)]);
    run(&mut agent, now, Duration::from_secs(10), |_, _| Some(RTT));
    assert_eq!(agent.chosen(), Some(path(1)));
    run(
        &mut agent,
        now + Duration::from_secs(10),
        Duration::from_secs(5),
        |p, _| (p == path(2)).then_some(RTT),
    );
    assert_eq!(agent.chosen(), Some(path(2)));
}

#[test]
fn a_path_that_falls_silent_is_left_within_two_seconds_though_no_game_tells() {
    let now = Instant::now();
    let mut agent = Agent::default();
    agent.told(now, [(path(1), Tier::Lan), (path(2), Tier::Relay)]);
    run(&mut agent, now, Duration::from_secs(10), |_, _| Some(RTT));
    assert_eq!(agent.chosen(), Some(path(1)));
    let later = now + Duration::from_secs(10);
    run(&mut agent, later, Duration::from_secs(2), |p, _| {
        (p == path(2)).then_some(RTT)
    });
    assert_eq!(agent.chosen(), Some(path(2)));
}

#[test]
fn a_path_that_loses_one_in_seven_is_not_left() {
    let now = Instant::now();
    let mut agent = Agent::default();
    agent.told(now, [(path(1), Tier::Direct), (path(2), Tier::Relay)]);
    for minute in 0..10 {
        let later = now + Duration::from_secs(60 * minute);
        run(&mut agent, later, Duration::from_secs(60), |p, at| {
            let lost = p == path(1) && (at.as_millis() / 10) % 7 == 3;
            (!lost).then_some(RTT)
        });
        assert_eq!(agent.chosen(), Some(path(1)), "after {minute} minutes");
    }
}

#[test]
fn a_peer_that_moved_is_followed_at_once() {
    let now = Instant::now();
    let mut agent = Agent::default();
    agent.told(now, [(path(1), Tier::Direct)]);
    run(&mut agent, now, Duration::from_secs(10), |_, _| Some(RTT));
    let later = now + Duration::from_secs(10);
    agent.doubt_chosen(later);
    agent.heard(later, path(2), Tier::Direct);
    run(&mut agent, later, RTT * 2, |p, _| (p == path(2)).then_some(RTT));
    assert_eq!(agent.chosen(), Some(path(2)));
    // Where the old path answers as well, nothing is changed.
    let later = later + Duration::from_secs(10);
    agent.doubt_chosen(later);
    agent.told(later, [(path(3), Tier::Relay)]);
    run(&mut agent, later, Duration::from_secs(1), |_, _| Some(RTT));
    assert_eq!(agent.chosen(), Some(path(2)));
}

#[test]
fn when_all_paths_fall_silent_the_choice_rests() {
    let now = Instant::now();
    let mut agent = Agent::default();
    agent.told(now, [(path(1), Tier::Direct), (path(2), Tier::Direct)]);
    run(&mut agent, now, Duration::from_secs(11), |_, _| Some(RTT));
    let mut switches = 0;
    for ms in 0..11_000 {
        switches += usize::from(agent.choose(now + Duration::from_millis(11_000 + ms)).is_some());
    }
    assert!(switches <= 1, "{switches} switches between two silent paths");
}

#[test]
fn an_address_that_never_answers_gets_five_probes_and_then_one_in_ten_seconds() {
    let now = Instant::now();
    let mut agent = Agent::default();
    agent.told(now, [(path(1), Tier::Direct)]);
    assert_eq!(run(&mut agent, now, Duration::from_secs(9), |_, _| None), 5);
    assert_eq!(
        run(
            &mut agent,
            now + Duration::from_secs(9),
            Duration::from_secs(60),
            |_, _| None
        ),
        6
    );
}

#[test]
fn a_relay_is_left_as_soon_as_a_direct_path_answers_and_never_for_a_second_relay() {
    let now = Instant::now();
    let mut agent = Agent::default();
    agent.told(now, [(path(1), Tier::Relay), (path(2), Tier::TwoRelays)]);
    run(&mut agent, now, Duration::from_secs(8), |p, _| {
        Some(if p == path(1) { RTT * 4 } else { RTT * 3 })
    });
    assert_eq!(agent.chosen(), Some(path(1)));
    let later = now + Duration::from_secs(8);
    agent.told(later, [(path(1), Tier::Relay), (path(3), Tier::Direct)]);
    run(&mut agent, later, Duration::from_secs(1), |p, _| {
        Some(if p == path(1) { RTT * 4 } else { RTT * 5 })
    });
    assert_eq!(agent.chosen(), Some(path(3)));
}

/// Two relayed paths, the first one in use.
fn two_relays(now: Instant) -> Agent {
    let mut agent = Agent::default();
    agent.told(now, [(path(1), Tier::Relay)]);
    run(&mut agent, now, Duration::from_secs(2), |_, _| Some(RTT * 5));
    agent.told(now, [(path(1), Tier::Relay), (path(2), Tier::Relay)]);
    assert_eq!(agent.chosen(), Some(path(1)));
    agent
}

#[test]
fn another_relay_is_switched_to_after_ten_seconds_of_a_clear_gain() {
    let now = Instant::now();
    let mut agent = two_relays(now);
    let later = now + Duration::from_secs(2);
    let slightly = |p, _, _| Some(if p == path(1) { RTT * 5 } else { RTT * 4 });
    assert_eq!(play(&mut agent, later, Duration::from_secs(120), slightly).1, []);
    let later = later + Duration::from_secs(120);
    let clearly = |p, _, _| Some(if p == path(1) { RTT * 5 } else { RTT * 2 });
    let (_, switched) = play(&mut agent, later, Duration::from_secs(120), clearly);
    assert_eq!(switched.len(), 1, "{switched:?}");
    assert_eq!(switched[0].1, Some(path(2)));
    // The mean takes a while to show the gain; ten seconds more have to pass.
    assert!((10..40).contains(&switched[0].0.as_secs()), "{switched:?}");
}

#[test]
fn a_relay_that_is_better_only_while_it_is_not_used_is_left_again_for_minutes() {
    let now = Instant::now();
    let mut agent = two_relays(now);
    let later = now + Duration::from_secs(2);
    // What carries the game is slow, whichever it is.
    let loaded = |p, used, _| Some(if used == Some(p) { RTT * 5 } else { RTT * 2 });
    let (_, switched) = play(&mut agent, later, Duration::from_secs(240), loaded);
    let to: Vec<_> = switched.iter().map(|(_, path)| *path).collect();
    assert_eq!(to, [Some(path(2)), Some(path(1))], "{switched:?}");
    let tried_for = switched[1].0 - switched[0].0;
    assert!((9..=11).contains(&tried_for.as_secs()), "{switched:?}");
}

#[test]
fn a_path_left_for_its_silence_is_not_returned_to_before_it_answers() {
    let now = Instant::now();
    let mut agent = Agent::default();
    agent.told(now, [(path(1), Tier::Direct), (path(2), Tier::Relay)]);
    run(&mut agent, now, Duration::from_secs(10), |_, _| Some(RTT));
    let later = now + Duration::from_secs(10);
    let (_, changes) = play(&mut agent, later, Duration::from_secs(12), |p, _, _| {
        (p == path(2)).then_some(RTT)
    });
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(agent.chosen(), Some(path(2)));
    let later = later + Duration::from_secs(12);
    run(&mut agent, later, Duration::from_secs(12), |_, _| Some(RTT));
    assert_eq!(agent.chosen(), Some(path(1)));
}

#[test]
fn a_spare_path_that_is_taken_is_not_found_silent_at_once() {
    let now = Instant::now();
    let mut agent = Agent::default();
    agent.told(now, [(path(1), Tier::TwoRelays)]);
    run(&mut agent, now, Duration::from_secs(5), |_, _| Some(RTT));
    // It answered four seconds ago, as one that is seldom asked may have.
    agent
        .candidates
        .insert(path(2), Candidate::new(now, Source::Told, Tier::Relay));
    let later = now + Duration::from_secs(5);
    let one = agent.candidates.get_mut(&path(2)).unwrap();
    one.valid = Some(Valid {
        rtt: RTT,
        deviation: Duration::ZERO,
        last_pong: later - Duration::from_secs(4),
        proven: later - Duration::from_secs(4),
    });
    one.next_probe = later + Duration::from_secs(1);
    let (_, changes) = play(&mut agent, later, Duration::from_secs(20), |_, _, _| Some(RTT));
    assert_eq!(changes, [(Duration::ZERO, Some(path(2)))]);
}

#[test]
fn who_is_heard_and_never_answers_is_probed_less_and_less() {
    let now = Instant::now();
    let mut agent = Agent::default();
    agent.told(now, [(path(1), Tier::Relay)]);
    let probes = |agent: &mut Agent, from: u64, to: u64| -> usize {
        let times = (from * 100..to * 100).map(|n| now + Duration::from_millis(n * 10));
        times
            .map(|now| {
                agent.heard(now, path(1), Tier::Relay);
                agent.due(now).len()
            })
            .sum()
    };
    assert!(probes(&mut agent, 0, 5) >= 10, "at first its being there counts");
    probes(&mut agent, 5, 120);
    assert!(
        probes(&mut agent, 120, 180) <= 18,
        "then it is hardly more than one in ten seconds"
    );
    agent.sent(now + Duration::from_secs(180), [1; 12], path(1));
    agent.pong(now + Duration::from_secs(181), [1; 12], path(1));
    assert_eq!(agent.choose(now + Duration::from_secs(181)), Some(Some(path(1))));
}

#[test]
fn strangers_addresses_are_bounded() {
    let now = Instant::now();
    let mut agent = Agent::default();
    for n in 0..100 {
        agent.heard(now, path(n), Tier::Direct);
    }
    assert_eq!(agent.due(now).len(), PEER_REFLEXIVE);
}

#[test]
fn where_the_next_path_died_with_the_one_before_the_third_is_taken_within_a_second() {
    let now = Instant::now();
    let mut agent = Agent::default();
    // Two ways by one relay, and a slower one by another.
    let all = [
        (path(1), Tier::Relay),
        (path(2), Tier::Relay),
        (path(3), Tier::Relay),
    ];
    let at = |p| if p == path(3) { RTT * 2 } else { RTT };
    agent.told(now, all);
    run(&mut agent, now, Duration::from_secs(12), |p, _| Some(at(p)));
    let used = agent.chosen().unwrap();
    assert_ne!(used, path(3));
    agent.forget(|path| *path != used);
    let later = now + Duration::from_secs(12);
    let (_, changes) = play(&mut agent, later, Duration::from_secs(20), |p, _, _| {
        (p == path(3)).then_some(RTT * 2)
    });
    assert_eq!(agent.chosen(), Some(path(3)));
    assert!(changes.len() <= 2, "{changes:?}");
    assert!(
        changes.iter().all(|(after, _)| *after < Duration::from_secs(1)),
        "{changes:?}"
    );
}

#[test]
fn a_relay_that_ends_is_left_once_even_for_two_that_last() {
    let now = Instant::now();
    let mut agent = Agent::default();
    agent.told(now, [(path(1), Tier::Relay)]);
    let answers = |_, _| Some(RTT);
    run(&mut agent, now, Duration::from_secs(2), answers);
    assert_eq!(agent.chosen(), Some(path(1)));
    let now = now + Duration::from_secs(2);
    agent.told(now, [(path(2), Tier::TwoRelays)]);
    let (_, changes) = play(&mut agent, now, Duration::from_secs(8), |_, _, _| Some(RTT));
    let to: Vec<_> = changes.into_iter().map(|(_, chosen)| chosen).collect();
    assert_eq!(to, [Some(path(2))]);
}

#[test]
fn a_spare_path_that_lost_a_ping_after_an_alarm_is_asked_again_soon() {
    let now = Instant::now();
    let mut agent = Agent::default();
    agent.told(now, [(path(1), Tier::Direct), (path(2), Tier::Relay)]);
    run(&mut agent, now, Duration::from_secs(20), |_, _| Some(RTT));
    assert_eq!(agent.chosen(), Some(path(1)));
    // Both fall silent; the relay has the way back half a second after the alarm.
    let cut = now + Duration::from_secs(20);
    let back = Duration::from_millis(2300);
    let (_, changes) = play(&mut agent, cut, Duration::from_secs(4), |path_, _, after| {
        (path_ == path(2) && after >= back).then_some(RTT)
    });
    let moved = changes.iter().find(|(_, chosen)| *chosen == Some(path(2)));
    let at = moved.map(|(at, _)| *at).unwrap();
    assert!(at < back + Duration::from_secs(1), "{at:?}");
}
