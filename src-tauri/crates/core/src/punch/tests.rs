use super::*;
use crate::records::PunchStep;
use rand_core::SeedableRng;

const PEER: MemberId = MemberId([7; 32]);
const IP: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const AT: SocketAddrV4 = SocketAddrV4::new(IP, 51820);

fn report(kind: NatType) -> FamilyReport {
    FamilyReport {
        kind,
        reason: None,
        mapped: Some("203.0.113.9:51820".parse().unwrap()),
        ..FamilyReport::unknown(crate::nat::Reason::Untried)
    }
}

fn worth(peer: MemberId) -> Worth {
    Worth {
        peer,
        at: AT,
        one_port: true,
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

struct Side {
    punch: Punch,
    rng: ChaCha20Rng,
    now: Instant,
}

impl Side {
    fn new() -> Self {
        Self {
            punch: Punch::new(true),
            rng: ChaCha20Rng::from_seed([1; 32]),
            now: Instant::now(),
        }
    }

    /// Everything that a try does until it ends or this much time has passed.
    fn run(&mut self, lasting: Duration) -> Vec<(Duration, Turn)> {
        let start = self.now;
        let mut turns = Vec::new();
        while self.punch.attempt().is_some() && self.now < start + lasting {
            let turn = self.punch.wake(self.now, &mut self.rng);
            let over = turn.over;
            turns.push((self.now - start, turn));
            if over {
                self.punch.fail(self.now, &mut self.rng);
            }
            let next = self.punch.next_wake().unwrap_or(self.now + lasting);
            assert!(over || next > self.now, "turns in a circle");
            self.now = next;
        }
        turns
    }
}

#[test]
fn who_has_one_port_begins_at_once_and_stays_within_its_budget() {
    let mut side = Side::new();
    let own = report(NatType::PortRestrictedCone);
    assert!(side.punch.begin(
        side.now,
        (PEER, AT),
        Some((1, Aim::Anywhere)),
        &own,
        &mut side.rng
    ));
    let turns = side.run(LASTS * 2);
    assert_eq!(turns[0].1.say, Some(PunchStep::Ready(Aim::Port(51820))));
    let knocks: Vec<_> = turns.iter().flat_map(|(_, turn)| &turn.knocks).collect();
    assert!(
        knocks.len() > 1000 && knocks.len() <= DATAGRAMS,
        "{}",
        knocks.len()
    );
    assert!(knocks.iter().all(|path| path.transport == TransportId::UDP4));
    assert!(side.punch.plans().is_empty());
    let (ended, last) = turns.last().unwrap();
    assert!(last.over && *ended == LASTS);
}

#[test]
fn who_is_asked_before_it_knows_its_mapping_waits_as_long_as_that_is_being_found_out() {
    let servers = ["192.0.2.1:3478".parse().unwrap()];
    let untold = report(NatType::Unknown);
    for asks in [true, false] {
        let mut side = Side::new();
        let proposed = Some((1, Aim::Anywhere));
        assert!(
            side.punch
                .begin(side.now, (PEER, AT), proposed, &untold, &mut side.rng)
        );
        let servers = if asks { &servers[..] } else { &[] };
        let (now, range) = (side.now, PartyRange::DEFAULT);
        let rng = &mut side.rng;
        side.punch.survey(now, false, &untold, servers, range, rng);
        assert_eq!(side.punch.aim(now, &untold, true, rng), asks);
        if asks {
            assert_eq!(side.punch.wake(now, rng).say, None);
            let known = report(NatType::PortRestrictedCone);
            assert!(!side.punch.aim(now, &known, false, rng), "not at just anybody");
            assert!(side.punch.aim(now, &known, true, rng));
            assert_eq!(
                side.punch.wake(now, rng).say,
                Some(PunchStep::Ready(Aim::Port(51820)))
            );
        }
    }
    let mut side = Side::new();
    assert!(
        !side
            .punch
            .begin(side.now, (PEER, AT), None, &untold, &mut side.rng),
        "who proposes knows"
    );
}

#[test]
fn the_symmetric_side_gives_the_other_its_lead_and_opens_no_socket_before() {
    let mut side = Side::new();
    let own = report(NatType::Symmetric);
    assert!(side.punch.begin(side.now, (PEER, AT), None, &own, &mut side.rng));
    let turn = side.punch.wake(side.now, &mut side.rng);
    assert_eq!(turn.say, Some(PunchStep::Ask(Aim::Anywhere)));
    side.now += ms(100);
    side.punch.ready(side.now, Aim::Port(51820));
    side.punch.wake(side.now, &mut side.rng);
    assert!(side.punch.plans().is_empty());
    let turns = side.run(LASTS * 2);
    let first = turns.iter().find(|(_, turn)| !turn.knocks.is_empty()).unwrap();
    assert!(first.0 >= LEAD, "{:?}", first.0);
    let knocks = turns.iter().map(|(_, turn)| turn.knocks.len()).sum::<usize>();
    assert!((SOCKETS..=DATAGRAMS).contains(&knocks), "{knocks}");
    assert!(turns.last().unwrap().1.over);
    assert!(side.punch.plans().is_empty(), "all sockets are closed afterwards");
}

#[test]
fn after_a_hit_nothing_more_is_sent_and_the_one_that_leads_hears_no_other_socket() {
    let mut side = Side::new();
    let own = report(NatType::Symmetric);
    side.punch.begin(side.now, (PEER, AT), None, &own, &mut side.rng);
    side.punch.wake(side.now, &mut side.rng);
    side.punch.ready(side.now, Aim::Port(51820));
    side.run(LEAD + ms(500));
    let plans = side.punch.plans();
    assert_eq!(plans.len(), SOCKETS);
    assert_eq!(plans.iter().filter(|plan| plan.port.is_some()).count(), 32);
    let by = |n: usize| Path {
        transport: plans[n].id,
        remote: SocketAddr::V4(AT),
    };
    side.punch.heard(side.now, &PEER, by(3));
    assert!(side.punch.takes(by(3)) && !side.punch.takes(by(4)));
    assert!(side.run(ms(1900)).iter().all(|(_, turn)| turn.knocks.is_empty()));
    side.punch.succeed(side.now, by(3));
    let kept = HolePlan {
        port: None,
        kept: true,
        ..plans[3]
    };
    assert_eq!(side.punch.plans(), [kept]);
    assert!(side.punch.takes(by(3)) && !side.punch.takes(by(4)));
    assert!(
        side.punch.used(side.now, &by(3), false, true),
        "it closes with its path"
    );
    assert!(side.punch.plans().is_empty());
    assert_eq!(
        side.punch.due(side.now + FIRST_WAIT, &[worth(PEER)]),
        None,
        "it did not last: no haste"
    );
    assert_eq!(
        side.punch.due(side.now + FIRST_PAUSE, &[worth(PEER)]),
        Some(worth(PEER))
    );
}

#[test]
fn after_a_failure_one_port_is_that_of_a_fresh_socket() {
    let server = "192.0.2.1:3478".parse().unwrap();
    let mut own = report(NatType::PortRestrictedCone);
    own.evidence = vec![crate::nat::Evidence::Asked {
        server,
        saw: own.mapped.map(|mapped| (mapped, Duration::ZERO)),
    }];
    let mut side = Side::new();
    let proposed = Some((1, Aim::Anywhere));
    for failed in [false, true] {
        assert!(
            side.punch
                .begin(side.now, (PEER, AT), proposed, &own, &mut side.rng)
        );
        let asked = side.punch.plans();
        assert_eq!(asked.len(), usize::from(failed));
        if let [socket] = asked[..] {
            side.now += ms(20);
            let turn = side.punch.wake(side.now, &mut side.rng);
            assert_eq!(turn.say, None);
            let (path, question) = turn.questions.first().unwrap();
            assert_eq!((path.transport, path.remote), (socket.id, server));
            let id = crate::stun::transaction_of(question).unwrap();
            let mapped = crate::stun::tests::xored("203.0.113.9:4321".parse().unwrap(), id);
            let answer = crate::stun::tests::written(id, 0x0101, &[(0x0020, mapped)]);
            side.punch.stun(*path, &answer);
        }
        let turns = side.run(LASTS * 2);
        let port = if failed { 4321 } else { 51820 };
        assert_eq!(turns[0].1.say, Some(PunchStep::Ready(Aim::Port(port))));
        let by = asked.first().map_or(TransportId::UDP4, |socket| socket.id);
        let mut knocks = turns.iter().flat_map(|(_, turn)| &turn.knocks);
        assert!(knocks.all(|path| path.transport == by));
        assert!(side.punch.plans().is_empty());
    }
}

#[test]
fn after_a_failure_the_symmetric_side_begins_when_all_guesses_are_out() {
    let mut side = Side::new();
    let own = report(NatType::Symmetric);
    side.punch.due(side.now, &[worth(PEER)]);
    for lead in [LEAD, LONG_LEAD, LEAD] {
        assert!(side.punch.begin(side.now, (PEER, AT), None, &own, &mut side.rng));
        side.punch.wake(side.now, &mut side.rng);
        side.now += ms(100);
        side.punch.ready(side.now, Aim::Port(51820));
        let turns = side.run(LASTS * 2);
        let first = turns.iter().find(|(_, turn)| !turn.knocks.is_empty()).unwrap();
        assert!(first.0 >= lead && first.0 < lead + ms(100), "{:?}", first.0);
        let knocks = turns.iter().map(|(_, turn)| turn.knocks.len()).sum::<usize>();
        assert!(knocks >= SOCKETS, "{knocks}");
    }
}

#[test]
fn a_hit_that_is_never_confirmed_is_forgotten() {
    let mut side = Side::new();
    let own = report(NatType::PortRestrictedCone);
    side.punch.begin(
        side.now,
        (PEER, AT),
        Some((1, Aim::Anywhere)),
        &own,
        &mut side.rng,
    );
    side.run(ms(500));
    let path = Path::primary(SocketAddr::from((IP, 700)));
    side.punch.heard(side.now, &PEER, path);
    let turns = side.run(ms(4000));
    let missed = turns.iter().find(|(_, turn)| turn.missed == Some(path)).unwrap();
    assert!(missed.0 >= ms(1900));
    let rest: usize = turns.iter().map(|(_, turn)| turn.knocks.len()).sum();
    assert!(
        (100..400).contains(&rest),
        "{rest}: no burst makes up for the pause"
    );
}

#[test]
fn one_try_at_a_time_and_longer_pauses_after_failures() {
    let mut side = Side::new();
    let own = report(NatType::Symmetric);
    let others = [PEER, MemberId([8; 32])].map(worth);
    assert_eq!(
        side.punch.due(side.now, &others),
        None,
        "ordinary probes come first"
    );
    side.now += FIRST_WAIT;
    assert_eq!(side.punch.due(side.now, &others), Some(worth(PEER)));
    assert!(side.punch.begin(side.now, (PEER, AT), None, &own, &mut side.rng));
    assert_eq!(side.punch.due(side.now, &others), None);
    assert!(
        !side
            .punch
            .begin(side.now, (others[1].peer, AT), None, &own, &mut side.rng)
    );
    let mut before = Duration::ZERO;
    for _ in 0..9 {
        side.punch.fail(side.now, &mut side.rng);
        let pause = side.punch.pauses[&PEER].until - side.now;
        assert!(
            pause >= before.min(LONGEST_PAUSE) && pause <= LONGEST_PAUSE * 5 / 4,
            "{pause:?}"
        );
        before = pause;
        side.now += pause;
        assert!(side.punch.begin(side.now, (PEER, AT), None, &own, &mut side.rng));
    }
    assert!(before >= LONGEST_PAUSE);
}

#[test]
fn whom_ordinary_probes_reach_is_no_case_for_holes() {
    use NatType::{FullCone, Open, PortRestrictedCone, RestrictedCone, Symmetric, Unknown};
    let all = [
        Open,
        FullCone,
        RestrictedCone,
        PortRestrictedCone,
        Symmetric,
        Unknown,
    ];
    for own in all {
        for peer in all {
            let parts = [part(own, peer, true), part(peer, own, false)];
            let worth = crate::nat::predict(own, peer, true) != crate::nat::Prediction::Direct
                && own != Unknown
                && peer != Unknown;
            match parts {
                [Some(one), Some(other)] => assert!(worth && one != other, "{own:?} {peer:?}"),
                [None, None] => assert!(!worth, "{own:?} {peer:?}"),
                _ => panic!("{own:?} and {peer:?} don't agree"),
            }
        }
    }
}

/// A first try failed; when the next one is due where the peer is then seen so.
fn due_after_a_failure(side: &mut Side, seen: Worth) -> Duration {
    let own = report(NatType::Symmetric);
    side.punch.due(side.now, &[worth(PEER)]);
    assert!(side.punch.begin(side.now, (PEER, AT), None, &own, &mut side.rng));
    side.punch.fail(side.now, &mut side.rng);
    assert_eq!(side.punch.due(side.now, &[seen]), None);
    side.punch.begins.unwrap() - side.now
}

#[test]
fn behind_another_mapping_what_failed_before_counts_no_more() {
    let at = |ip: [u8; 4], port| Worth {
        at: SocketAddrV4::new(ip.into(), port),
        ..worth(PEER)
    };
    let many_ports = |seen: Worth| Worth {
        one_port: false,
        ..seen
    };
    let other_port = at(IP.octets(), 7);
    for (seen, soon) in [
        (worth(PEER), false),
        (other_port, true),
        (many_ports(other_port), false),
        (many_ports(at([198, 51, 100, 9], 7)), true),
    ] {
        let due = due_after_a_failure(&mut Side::new(), seen);
        assert_eq!(due == FIRST_WAIT, soon, "{seen:?}: {due:?}");
        assert!(soon || due >= FIRST_PAUSE);
    }
    let mut side = Side::new();
    due_after_a_failure(&mut side, worth(PEER));
    assert!(!side.punch.moved(side.now, false));
    assert_eq!(side.punch.due(side.now + FIRST_WAIT, &[worth(PEER)]), None);
    assert_eq!(
        side.punch.begins,
        Some(side.now + FIRST_WAIT * 2),
        "it counts from when it is seen"
    );
}

#[test]
fn a_nat_that_maps_otherwise_all_the_time_is_no_reason_to_try_all_the_time() {
    let mut side = Side::new();
    side.punch.moved(side.now, false);
    side.now += ms(1000);
    let failed = due_after_a_failure(&mut side, worth(PEER));
    side.punch.moved(side.now, false);
    assert_eq!(side.punch.due(side.now, &[worth(PEER)]), None);
    assert_eq!(side.punch.begins, Some(side.now + failed));
    // Another address is another place.
    side.punch.moved(side.now, true);
    assert_eq!(side.punch.due(side.now, &[worth(PEER)]), None);
    assert_eq!(side.punch.begins, Some(side.now + FIRST_WAIT));
}

#[test]
fn a_peer_that_is_engaged_for_long_is_asked_more_and_more_seldom() {
    let mut side = Side::new();
    let own = report(NatType::Symmetric);
    let mut pauses = Vec::new();
    side.punch.due(side.now, &[worth(PEER)]);
    for _ in 0..14 {
        assert!(side.punch.begin(side.now, (PEER, AT), None, &own, &mut side.rng));
        side.punch.postpone(side.now, &mut side.rng);
        pauses.push(side.punch.pauses[&PEER].until - side.now);
    }
    assert!(
        pauses[..8].iter().all(|pause| *pause <= BUSY_PAUSE * 2),
        "{pauses:?}"
    );
    assert!(pauses[13] >= BUSY_PAUSE * 16, "{pauses:?}");
}

#[test]
fn a_peer_that_is_elsewhere_all_the_time_is_not_tried_all_the_time() {
    let mut side = Side::new();
    let own = report(NatType::Symmetric);
    let mut begun = 0;
    for second in 0..300u16 {
        let at = SocketAddrV4::new(IP, 2000 + second);
        side.now += ms(1000);
        let seen = Worth { at, ..worth(PEER) };
        if side.punch.due(side.now, &[seen]).is_some() {
            assert!(side.punch.begin(side.now, (PEER, at), None, &own, &mut side.rng));
            side.punch.fail(side.now, &mut side.rng);
            begun += 1;
        }
    }
    assert!((10..=25).contains(&begun), "{begun} tries in five minutes");
}
