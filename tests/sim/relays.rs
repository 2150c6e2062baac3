//! Relays in mid-play: left for a direct way, dying, coming back, better ones, and hours of all that.

use super::{minutes, ms, seconds};
use lanrage_proto::FaultCode;
use lanrage_proto::ipc::{PathKind, PeerState, PeerTrouble};
use lanrage_tests::sim::{Link, Looks, Nat, Node, Place, Sim};
use std::collections::BTreeSet;
use std::time::Duration;

/// Friends across the internet, with a server that offers relays. What can't reach each other directly is up to each
/// scenario.
struct Far {
    sim: Sim,
    stun: Node,
    relays: Vec<Node>,
    friends: Vec<Node>,
    routers: Vec<Option<Node>>,
}

/// How everything between them is, unless a scenario says otherwise.
const INTERNET: Link = Link {
    latency: ms(10),
    ..Link::GOOD
};
/// Within a home.
const HOME: Link = Link {
    latency: ms(1),
    ..Link::GOOD
};
/// Everybody sends everybody a packet this often.
const EVERY: Duration = ms(50);

impl Far {
    /// A party of those who live behind such routers.
    fn new(seed: u64, relays: usize, nats: &[Option<Nat>]) -> Self {
        Self::with_credentials(seed, relays, nats, seconds(6 * 3600))
    }

    fn with_credentials(seed: u64, relays: usize, nats: &[Option<Nat>], last: Duration) -> Self {
        let mut sim = Sim::new(seed);
        sim.all_links(INTERNET);
        let stun = sim.stun_server("stun", 2);
        let asked = sim.stun_address(stun);
        sim.ask_stun(&[asked]);
        let relays: Vec<Node> = (0..relays).map(|n| sim.relay(&format!("relay{n}"))).collect();
        sim.offer_relays(&relays, last);
        let server = sim.server("server", Place::Internet);
        let url = sim.url(server);
        let (mut friends, mut routers) = (Vec::new(), Vec::new());
        for (number, nat) in nats.iter().enumerate() {
            let lan = Place::Lan(u8::try_from(number + 1).unwrap());
            let router = nat.map(|nat| sim.router(&format!("router{number}"), lan, Place::Internet, nat));
            let place = if nat.is_some() { lan } else { Place::Internet };
            let friend = sim.player_on(["anna", "tom", "zoe"][number], place, url.clone());
            if let Some(router) = router {
                sim.link(friend, router, HOME);
            }
            friends.push(friend);
            routers.push(router);
        }
        Self {
            sim,
            stun,
            relays,
            friends,
            routers,
        }
    }

    /// Two behind routers that let nothing but a relay carry, connected by one.
    fn apart(seed: u64, relays: usize) -> Self {
        let mut far = Self::new(seed, relays, &[Some(Nat::SYMMETRIC), Some(Nat::NO_UDP)]).gather();
        let pair = [far.friends[0], far.friends[1]];
        far.sim.wait_connected(&pair, seconds(5));
        far.sim.run_for(seconds(5));
        far
    }

    /// The first creates, the others join.
    fn gather(mut self) -> Self {
        let party = self.sim.create(self.friends[0], "Friday night");
        for friend in &self.friends[1..] {
            self.sim.join(*friend, &party.invite);
        }
        self
    }

    fn pair(&self) -> (Node, Node) {
        (self.friends[0], self.friends[1])
    }

    fn kind(&self, from: Node, to: Node) -> Option<PathKind> {
        self.sim.row(from, to).and_then(|row| row.path)
    }

    fn talk(&mut self, lasting: Duration) {
        let (a, b) = self.pair();
        self.sim.app_chat(a, b, EVERY, lasting);
        self.sim.app_chat(b, a, EVERY, lasting);
    }

    /// The longest time in which nothing of what `from` sent arrived at `to`, since then.
    fn longest_silence(&self, from: Node, to: Node, since: Duration) -> Duration {
        let packets = self.sim.packets_since(since);
        let sent = packets.filter(|packet| packet.from == from && packet.meant == Some(to));
        let mut last = since;
        let mut longest = Duration::ZERO;
        for packet in sent {
            if let Some((_, at)) = packet.arrived.first() {
                longest = longest.max(at.saturating_sub(last));
                last = last.max(*at);
            }
        }
        longest.max(self.sim.elapsed().saturating_sub(last))
    }

    /// How often the path from one to the other changed since then; what changes in one moment is one change.
    fn changes(&self, from: Node, since: Duration) -> usize {
        let path = |event: &lanrage_core::io::Event| matches!(event, lanrage_core::io::Event::Path { .. });
        let events = self.sim.events(from);
        let changes = events.filter(|(at, event)| *at >= since && path(event));
        changes.map(|(at, _)| *at).collect::<BTreeSet<_>>().len()
    }
}

#[test]
fn play_begins_through_the_relay_and_goes_direct_without_losing_a_packet() {
    let nat = Some(Nat::cone(Looks::AddressAndPort));
    for seed in 0..5 {
        let mut far = Far::new(seed, 1, &[nat, nat]);
        // Where the others see them they learn only later.
        for router in far.routers.clone().into_iter().flatten() {
            far.sim.cut(router, far.stun);
        }
        let mut far = far.gather();
        let (a, b) = far.pair();
        far.sim.wait_connected(&[a, b], seconds(1));
        let since = far.sim.elapsed();
        far.talk(minutes(2));
        far.sim.run_for(seconds(5));
        let kinds = (far.kind(a, b), far.kind(b, a));
        assert_eq!(kinds, (Some(PathKind::Relayed), Some(PathKind::Relayed)));
        for router in far.routers.clone().into_iter().flatten() {
            far.sim.mend(router, far.stun);
        }
        far.sim.run_for(minutes(2));
        for (from, to) in [(a, b), (b, a)] {
            assert_eq!(far.kind(from, to), Some(PathKind::Direct));
            let (sent, arrived) = far.sim.carried(from, to, since);
            assert_eq!(sent, arrived);
        }
    }
}

#[test]
fn a_relay_is_left_for_a_direct_way_that_opens_later_without_losing_a_packet() {
    let mut far = Far::apart(1, 1);
    let (a, b) = far.pair();
    assert_eq!(far.kind(a, b), Some(PathKind::Relayed));
    let since = far.sim.elapsed();
    far.talk(minutes(2));
    far.sim.run_for(seconds(5));
    let router = far.routers[1].unwrap();
    far.sim.set_nat(router, Nat::cone(Looks::Address));
    far.sim.run_for(minutes(2));
    for (from, to) in [(a, b), (b, a)] {
        assert_eq!(far.kind(from, to), Some(PathKind::Direct));
        let (sent, arrived) = far.sim.carried(from, to, since);
        assert_eq!(sent, arrived);
    }
}

#[test]
fn a_relay_killed_in_mid_play_is_replaced_by_the_other_within_three_seconds() {
    // By datagrams alone its death is a silence; streams end with it.
    for (seed, other) in (0..10).flat_map(|seed| [(seed, Nat::NO_UDP), (seed, Nat::SYMMETRIC)]) {
        let mut far = Far::new(seed, 2, &[Some(Nat::SYMMETRIC), Some(other)]).gather();
        let (a, b) = far.pair();
        far.sim.wait_connected(&[a, b], seconds(5));
        far.talk(seconds(30));
        far.sim.run_for(seconds(5) + ms(137 * seed));
        let busiest = carrying(&mut far);
        let killed = far.sim.elapsed();
        far.sim.kill_relay(far.relays[busiest]);
        far.sim.run_for(seconds(20));
        for (from, to) in [(a, b), (b, a)] {
            let silence = far.longest_silence(from, to, killed);
            println!(
                "seed {seed}, UDP {}: {} to {}: {silence:?}",
                other.udp,
                far.sim.name(from),
                far.sim.name(to)
            );
            assert!(silence <= seconds(3), "{silence:?}");
            assert_eq!(far.sim.relays_between(from, to), Some(1));
        }
        assert!(far.sim.all_connected(&[a, b]), "{}", far.sim.table());
    }
}

#[test]
fn when_all_relays_are_gone_direct_friends_play_on_and_the_others_are_back_with_a_relay() {
    // Zoe is reached by both; the other two need a relay.
    let mut far = Far::new(3, 2, &[Some(Nat::SYMMETRIC), Some(Nat::NO_UDP), None]).gather();
    let (a, b) = far.pair();
    let zoe = far.friends[2];
    let all = far.friends.clone();
    far.sim.wait_connected(&all, seconds(5));
    far.sim.run_for(seconds(5));
    let since = far.sim.elapsed();
    far.sim.app_chat(a, zoe, EVERY, minutes(4));
    far.sim.app_chat(zoe, a, EVERY, minutes(4));
    assert_eq!(far.kind(a, zoe), Some(PathKind::Direct));
    assert_eq!(far.kind(a, b), Some(PathKind::Relayed));
    for relay in far.relays.clone() {
        far.sim.kill_relay(relay);
    }
    for (from, to) in [(a, b), (b, a)] {
        let what = format!("{} shows {} as lost", far.sim.name(from), far.sim.name(to));
        far.sim.run_until(&what, seconds(12), |sim| {
            sim.peer(from, to) == Some(PeerState::Lost)
        });
        far.sim.run_for(seconds(1));
        let row = far.sim.row(from, to).unwrap();
        assert_eq!((row.path, row.trouble), (None, Some(PeerTrouble::NoRelay)));
        assert!(far.sim.has_condition(from, FaultCode::NoRelay));
    }
    far.sim.run_for(minutes(1));
    far.sim.restart_relay(far.relays[1]);
    // A relay that is away is tried every 20 s at last, and who has no UDP finds that out anew each time.
    let pair = [(a, b), (b, a)];
    far.sim.run_until("back", seconds(35), |sim| {
        pair.iter()
            .all(|(from, to)| sim.peer(*from, *to) == Some(PeerState::Connected))
    });
    for node in [a, b] {
        assert!(!far.sim.has_condition(node, FaultCode::NoRelay));
    }
    far.sim.run_for(minutes(4));
    for (from, to) in [(a, zoe), (zoe, a)] {
        let (sent, arrived) = far.sim.carried(from, to, since);
        assert_eq!(sent, arrived, "the direct ones did not notice");
    }
}

#[test]
fn who_needs_a_relay_and_has_none_is_told_so_and_tried_ever_more_slowly() {
    let mut far = Far::new(4, 0, &[Some(Nat::SYMMETRIC), Some(Nat::NO_UDP)]).gather();
    let (a, b) = far.pair();
    far.sim.run_until("failed", seconds(17), |sim| {
        sim.peer(a, b) == Some(PeerState::Failed)
    });
    assert_eq!(far.sim.row(a, b).unwrap().trouble, Some(PeerTrouble::NoRelay));
    far.sim.run_for(minutes(2));
    // Tried anew every 30 s: five probes each to a handful of addresses, and never more.
    far.sim.transcript.keep(&[lanrage_tests::sim::Kind::Probe]);
    far.sim.run_for(minutes(10));
    let probes = far
        .sim
        .transcript
        .text()
        .lines()
        .filter(|line| line.contains(" anna ") && line.contains("probe"))
        .count();
    println!("{probes} probes in ten minutes");
    assert!((100..=600).contains(&probes), "{probes}");
}

/// How far the relays are from everybody: one way.
fn distance(far: &mut Far, relay: usize, latency: Duration) {
    let node = far.relays[relay];
    let link = Link {
        latency,
        ..Link::GOOD
    };
    let ends: Vec<Node> = far
        .friends
        .iter()
        .chain(far.routers.iter().flatten())
        .copied()
        .collect();
    for end in ends {
        far.sim.link(node, end, link);
    }
}

/// Which relay carries what `from` sends, by what it passes on within a second.
fn carrying(far: &mut Far) -> usize {
    let passed = |far: &Far| -> Vec<u64> {
        far.relays
            .iter()
            .map(|relay| far.sim.relayed_packets(*relay))
            .collect()
    };
    let before = passed(far);
    far.sim.run_for(seconds(1));
    let after = passed(far);
    (0..before.len()).max_by_key(|n| after[*n] - before[*n]).unwrap()
}

#[test]
fn another_relay_is_taken_only_for_a_clear_gain_and_then_without_losing_a_packet() {
    let mut far = Far::apart(5, 2);
    let (a, b) = far.pair();
    distance(&mut far, 0, ms(25));
    distance(&mut far, 1, ms(25));
    far.talk(minutes(20));
    far.sim.run_for(minutes(1));
    let first = carrying(&mut far);
    // A fifth better is not worth it.
    distance(&mut far, 1 - first, ms(20));
    let since = far.sim.elapsed();
    far.sim.run_for(minutes(3));
    assert_eq!(
        (carrying(&mut far), far.changes(a, since), far.changes(b, since)),
        (first, 0, 0)
    );
    // Less than half is; it takes the mean some seconds to show it, and ten more.
    distance(&mut far, 1 - first, ms(5));
    let since = far.sim.elapsed();
    far.sim.run_for(seconds(9));
    assert_eq!((far.changes(a, since), far.changes(b, since)), (0, 0));
    far.sim.run_for(minutes(3));
    assert_eq!(carrying(&mut far), 1 - first);
    assert_eq!((far.changes(a, since), far.changes(b, since)), (1, 1));
    far.sim.run_for(seconds(1));
    for (from, to) in [(a, b), (b, a)] {
        let until = far.sim.elapsed() - seconds(1);
        let packets = far.sim.packets_since(since);
        let sent: Vec<_> = packets
            .filter(|sent| sent.from == from && sent.at < until)
            .collect();
        assert!(sent.len() > 3000, "{}", sent.len());
        assert!(sent.iter().all(|sent| !sent.arrived.is_empty()));
        assert_eq!(far.sim.relays_between(from, to), Some(1));
    }
}

#[test]
fn hours_of_play_through_a_relay_outlive_its_credentials() {
    // Names are good for an hour; the allocation goes on, and fresh names are there for the next one.
    let mut far =
        Far::with_credentials(6, 1, &[Some(Nat::SYMMETRIC), Some(Nat::NO_UDP)], minutes(60)).gather();
    let (a, b) = far.pair();
    far.sim.wait_connected(&[a, b], seconds(5));
    far.sim.run_for(seconds(5));
    let since = far.sim.elapsed();
    let hours = minutes(3 * 60);
    far.sim.app_chat(a, b, seconds(2), hours);
    far.sim.app_chat(b, a, seconds(2), hours);
    far.sim.run_for(hours + seconds(1));
    for (from, to) in [(a, b), (b, a)] {
        let (sent, arrived) = far.sim.carried(from, to, since);
        assert_eq!((sent, arrived), (90 * 60, 90 * 60));
    }
    let relay = far.relays[0];
    assert_eq!(far.sim.allocations(relay), (2, 2), "one each, from the beginning");
    // A restarted relay refuses names that have run out: those at hand are good.
    far.sim.kill_relay(relay);
    far.sim.restart_relay(relay);
    far.sim.run_for(seconds(30));
    assert!(far.sim.all_connected(&[a, b]), "{}", far.sim.table());
    assert_eq!(far.sim.refused_credentials(relay), 0);
}

#[test]
fn on_jittery_lines_nobody_flaps_between_paths() {
    let jittery = Link {
        jitter: ms(40),
        loss: 0.02,
        reordering: 0.02,
        ..INTERNET
    };
    // Two relays to choose from; then a direct way beside them; then two addresses of each family.
    for (name, nats) in [
        ("relayed", [Some(Nat::SYMMETRIC), Some(Nat::NO_UDP)]),
        (
            "direct",
            [Some(Nat::cone(Looks::Address)), Some(Nat::cone(Looks::Address))],
        ),
        ("open", [None, None]),
    ] {
        let mut far = Far::new(7, 2, &nats).gather();
        let (a, b) = far.pair();
        far.sim.run_for(seconds(20));
        far.sim.all_links(jittery);
        far.sim.run_for(seconds(20));
        let since = far.sim.elapsed();
        far.talk(minutes(10));
        far.sim.run_for(minutes(10));
        let changes = (far.changes(a, since), far.changes(b, since));
        println!("{name}: {changes:?} changes in ten minutes");
        // Three probes lost in a row are rare, but they do happen.
        assert!(changes.0 <= 2 && changes.1 <= 2, "{name}: {changes:?}");
    }
}

#[test]
fn a_friend_who_left_for_good_takes_the_relays_channels_with_her() {
    let mut far = Far::apart(8, 1);
    let (a, b) = far.pair();
    far.sim.crash(b);
    far.sim
        .run_until("gone", minutes(8), |sim| sim.row(a, b).is_none());
    // Nothing more is asked of the relay for her but that the allocation lives.
    far.sim.run_for(minutes(6));
    let before = far.sim.relayed_packets(far.relays[0]);
    far.sim.run_for(minutes(10));
    assert_eq!(far.sim.relayed_packets(far.relays[0]), before);
    assert_eq!(far.sim.allocations(far.relays[0]).0, 1);
    far.sim.leave(a);
    far.sim.run_for(seconds(1));
    assert_eq!(far.sim.allocations(far.relays[0]).0, 0);
}
