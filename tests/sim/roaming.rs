//! Friends far apart whose addresses change, whose routers forget, whose lines are cut and whose engines die, in the
//! middle of a game: how long one hears nothing of the other.

use super::{ms, seconds};
use lanrage_proto::FaultCode;
use lanrage_proto::ipc::PathKind;
use lanrage_tests::sim::{Link, Looks, Nat, Node, Place, Ports, Sim};
use std::time::Duration;

/// What a game gets over after a change of network.
const MOVED: Duration = seconds(3);
/// What it gets over where nothing but a mapping or an engine was lost.
const REBOUND: Duration = seconds(2);

const FULL: Option<Nat> = Some(Nat::cone(Looks::Nothing));
const RESTRICTED: Option<Nat> = Some(Nat::cone(Looks::Address));
const PORT_RESTRICTED: Option<Nat> = Some(Nat::cone(Looks::AddressAndPort));
const OPEN: Option<Nat> = None;
/// Gives each destination a port of its own, a low one for a low one.
const LINUX: Option<Nat> = Some(Nat {
    ports: Ports::RandomLowForLow,
    ..Nat::SYMMETRIC
});
/// A home router as most are: it keeps ports where it can.
const USUAL: Option<Nat> = Some(Nat {
    ports: Ports::Kept,
    ..Nat::cone(Looks::AddressAndPort)
});

/// What leads from one to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    /// Holes are not made here, and would lead nowhere.
    Relayed,
    /// The relay is what they fall back to.
    Hole,
}

const PAIRS: [(Way, [Option<Nat>; 2]); 11] = [
    (Way::Direct, [OPEN, OPEN]),
    (Way::Direct, [OPEN, PORT_RESTRICTED]),
    (Way::Direct, [FULL, RESTRICTED]),
    (Way::Direct, [RESTRICTED, PORT_RESTRICTED]),
    (Way::Direct, [PORT_RESTRICTED, PORT_RESTRICTED]),
    (Way::Direct, [USUAL, PORT_RESTRICTED]),
    (Way::Direct, [OPEN, Some(Nat::SYMMETRIC)]),
    (Way::Relayed, [Some(Nat::SYMMETRIC), Some(Nat::SYMMETRIC)]),
    (Way::Relayed, [Some(Nat::SYMMETRIC), PORT_RESTRICTED]),
    (Way::Hole, [Some(Nat::SYMMETRIC), PORT_RESTRICTED]),
    (Way::Hole, [LINUX, LINUX]),
];

/// As a good line is, and as a bad one: 20 ms each way, 2 ms of jitter, one in a hundred lost.
const LINES: [Link; 2] = [
    Link::GOOD,
    Link {
        latency: ms(20),
        jitter: ms(2),
        loss: 0.01,
        ..Link::GOOD
    },
];

/// Two friends at a game: a packet every 20 ms in both directions.
struct Game {
    sim: Sim,
    friends: [Node; 2],
    routers: [Option<Node>; 2],
    what: String,
    /// When the last thing happened to them.
    since: Duration,
}

impl Game {
    fn begin(seed: u64, way: Way, nats: [Option<Nat>; 2], line: Link) -> Self {
        let mut sim = Sim::new(seed);
        sim.all_links(line);
        let stun = sim.stun_server("stun", 2);
        let address = sim.stun_address(stun);
        sim.ask_stun(&[address]);
        if way != Way::Direct {
            let relay = sim.relay("relay");
            sim.offer_relays(&[relay], seconds(6 * 3600));
        }
        let server = sim.server("server", Place::Internet);
        let url = sim.url(server);
        let mut home = |number: usize, name: &str| {
            let lan = Place::Lan(u8::try_from(number + 1).unwrap());
            let nat = nats[number];
            let router = nat.map(|nat| sim.router(&format!("router{number}"), lan, Place::Internet, nat));
            let place = if nat.is_some() { lan } else { Place::Internet };
            let friend = sim.player_on(name, place, url.clone());
            if let Some(router) = router {
                // The line is the provider's; at home there is a cable.
                let cable = Link {
                    latency: ms(1),
                    ..Link::GOOD
                };
                sim.link(friend, router, cable);
            }
            (friend, router)
        };
        let ((anna, anna_router), (tom, tom_router)) = (home(0, "anna"), home(1, "tom"));
        if way == Way::Relayed {
            sim.without_punching(anna);
            sim.without_punching(tom);
        }
        let party = sim.create(anna, "Friday night");
        sim.join(tom, &party.invite);
        sim.wait_connected(&[anna, tom], seconds(10));
        // Long enough for the NATs to be known.
        sim.run_for(seconds(20));
        let what = format!("{way:?}, seed {seed}, {nats:?}, {} ms", line.latency.as_millis());
        let wanted = match way {
            Way::Direct | Way::Hole => PathKind::Direct,
            Way::Relayed => PathKind::Relayed,
        };
        sim.run_until(&what, seconds(60), |sim| {
            let is_there = |from, to| sim.row(from, to).is_some_and(|row| row.path == Some(wanted));
            is_there(anna, tom) && is_there(tom, anna)
        });
        for (from, to) in [(anna, tom), (tom, anna)] {
            sim.app_chat(from, to, ms(20), seconds(60));
        }
        sim.run_for(seconds(1));
        Self {
            since: sim.elapsed(),
            sim,
            friends: [anna, tom],
            routers: [anna_router, tom_router],
            what,
        }
    }

    /// From here on silence is measured.
    fn mark(&mut self) {
        self.since = self.sim.elapsed();
    }

    /// The router of a friend, or the friend where there is none.
    fn edge(&self, who: usize) -> Node {
        self.routers[who].unwrap_or(self.friends[who])
    }

    /// The friend's home gets another public address.
    fn move_home(&mut self, who: usize) {
        match self.routers[who] {
            Some(router) => self.sim.router_moves(router),
            None => self.sim.move_to(self.friends[who], Place::Internet),
        }
    }

    /// Neither hears nothing of the other for longer than the limit. Returns the longest silence.
    #[track_caller]
    fn goes_on(&mut self, limit: Duration) -> Duration {
        self.sim.run_for(seconds(10));
        let [anna, tom] = self.friends;
        let there = self.sim.longest_silence(anna, tom, self.since);
        let back = self.sim.longest_silence(tom, anna, self.since);
        assert!(
            there.max(back) <= limit,
            "{}: {there:?} without Anna, {back:?} without Tom",
            self.what
        );
        there.max(back)
    }
}

/// Plays every pair on every line with some seeds, and prints the longest silences.
fn every_game(what: &str, seeds: u64, play: impl FnMut(&mut Game) -> Duration) {
    every_game_on(&[Way::Direct, Way::Relayed, Way::Hole], what, seeds, play);
}

fn every_game_on(ways: &[Way], what: &str, seeds: u64, mut play: impl FnMut(&mut Game) -> Duration) {
    for line in LINES {
        let mut silences = Vec::new();
        for (way, nats) in PAIRS.into_iter().filter(|(way, _)| ways.contains(way)) {
            for seed in 0..seeds {
                silences.push(play(&mut Game::begin(seed, way, nats, line)));
            }
        }
        silences.sort_unstable();
        println!(
            "{what}, {} ms lines: median {:.2} s, longest {:.2} s of {}",
            line.latency.as_millis(),
            silences[silences.len() / 2].as_secs_f64(),
            silences[silences.len() - 1].as_secs_f64(),
            silences.len()
        );
    }
}

#[test]
fn a_router_that_forgets_everything_costs_less_than_two_seconds() {
    for who in 0..2 {
        every_game("a router forgets", 3, |game| {
            if let Some(router) = game.routers[who] {
                game.sim.router_forgets(router);
            }
            game.goes_on(REBOUND)
        });
    }
}

#[test]
fn another_public_address_of_one_costs_less_than_three_seconds() {
    for who in 0..2 {
        every_game("another address", 3, |game| {
            game.move_home(who);
            game.goes_on(MOVED)
        });
    }
}

#[test]
fn other_public_addresses_of_both_at_once_cost_less_than_three_seconds() {
    every_game("other addresses of both", 3, |game| {
        game.move_home(0);
        game.move_home(1);
        game.goes_on(MOVED)
    });
}

#[test]
fn after_ten_seconds_without_a_line_the_game_goes_on_within_three() {
    for who in 0..2 {
        every_game("a line cut for 10 s", 3, |game| {
            let edge = game.edge(who);
            game.sim.cut_off(edge);
            game.sim.run_for(seconds(10));
            game.sim.reconnect(edge);
            game.mark();
            game.goes_on(MOVED)
        });
    }
}

#[test]
fn a_cable_pulled_for_five_seconds_costs_less_than_three_more() {
    for who in 0..2 {
        every_game("an interface gone for 5 s", 3, |game| {
            let friend = game.friends[who];
            game.sim.unplug(friend);
            game.sim.run_for(seconds(5));
            game.sim.plug_in(friend);
            game.mark();
            game.goes_on(MOVED)
        });
    }
}

/// A friend sleeps for so long; then both play on.
fn sleep(game: &mut Game, who: usize, lasting: Duration) -> Duration {
    let friend = game.friends[who];
    game.sim.sleep(friend);
    game.sim.run_for(lasting);
    game.sim.wake_up(friend);
    game.mark();
    let [anna, tom] = game.friends;
    for (from, to) in [(anna, tom), (tom, anna)] {
        game.sim.app_chat(from, to, ms(20), seconds(20));
    }
    game.goes_on(MOVED)
}

/// Long enough for the home to forget the sleeper. Not where a hole was made late: the others make a tunnel anew for
/// who comes back, and the time stamps in its handshakes, which are not of virtual time, would be older than those of
/// before.
#[test]
fn an_hour_of_sleep_costs_less_than_three_seconds() {
    for who in 0..2 {
        every_game_on(&[Way::Direct, Way::Relayed], "an hour of sleep", 3, |game| {
            sleep(game, who, seconds(3600))
        });
    }
}

#[test]
fn four_minutes_of_sleep_cost_less_than_three_seconds() {
    for who in 0..2 {
        every_game("four minutes of sleep", 3, |game| sleep(game, who, seconds(240)));
    }
}

#[test]
fn an_engine_killed_and_started_again_costs_less_than_two_seconds() {
    for who in 0..2 {
        every_game("an engine killed", 3, |game| {
            let friend = game.friends[who];
            game.sim.crash(friend);
            game.sim.run_for(ms(200));
            game.sim.restart(friend);
            game.goes_on(REBOUND)
        });
    }
}

#[test]
fn without_a_home_friends_who_moved_are_found_through_a_third() {
    for seed in 0..5 {
        let mut sim = Sim::new(seed);
        let stun = sim.stun_server("stun", 2);
        let address = sim.stun_address(stun);
        sim.ask_stun(&[address]);
        let server = sim.server("server", Place::Internet);
        let url = sim.url(server);
        let anna = sim.player_on("anna", Place::Internet, url.clone());
        let mut routers = Vec::new();
        let friends: Vec<Node> = [(1, "tom"), (2, "zoe")]
            .into_iter()
            .map(|(lan, name)| {
                let home = Place::Lan(lan);
                let nat = Nat::cone(Looks::AddressAndPort);
                routers.push(sim.router(&format!("router{lan}"), home, Place::Internet, nat));
                sim.player_on(name, home, url.clone())
            })
            .collect();
        let party = sim.create(anna, "Friday night");
        for friend in &friends {
            sim.join(*friend, &party.invite);
        }
        sim.wait_connected(&[anna, friends[0], friends[1]], seconds(10));
        sim.run_for(seconds(20));
        sim.kill_server(server);
        sim.run_for(seconds(20));
        for (from, to) in [(friends[0], friends[1]), (friends[1], friends[0])] {
            sim.app_chat(from, to, ms(20), seconds(20));
        }
        sim.run_for(seconds(1));
        let since = sim.elapsed();
        sim.router_moves(routers[0]);
        sim.run_for(seconds(10));
        for (from, to) in [(friends[0], friends[1]), (friends[1], friends[0])] {
            let silence = sim.longest_silence(from, to, since);
            assert!(silence <= MOVED, "seed {seed}: {silence:?}");
        }
        for node in [anna, friends[0], friends[1]] {
            assert!(!sim.has_condition(node, FaultCode::ViewsDiffer));
        }
        // What a path brought is no reason to call the server a liar that still has what was before.
        sim.restart_server(server);
        sim.run_for(seconds(40));
        for node in [anna, friends[0], friends[1]] {
            assert_eq!(sim.view(node).conditions, [], "{}", sim.name(node));
        }
    }
}

/// What takes a hole away.
#[derive(Debug, Clone, Copy)]
enum Loss {
    Forgets(usize),
    Moves(usize),
    Killed(usize),
}

/// As soon as the relay carries there is another hole, whoever's mapping was lost, and however often; with a port that
/// happens to be let in, or an engine that knows nothing of it, the old one goes on on both sides.
#[test]
fn a_hole_that_was_lost_is_made_anew() {
    let losses = [
        Loss::Forgets(0),
        Loss::Forgets(1),
        Loss::Moves(1),
        Loss::Killed(0),
        Loss::Moves(0),
        Loss::Forgets(1),
        Loss::Killed(1),
        Loss::Moves(1),
    ];
    let mut times = Vec::new();
    for line in LINES {
        for nats in [[PORT_RESTRICTED, LINUX], [USUAL, LINUX], [LINUX, LINUX]] {
            for seed in 0..4 {
                let mut game = Game::begin(seed, Way::Hole, nats, line);
                for loss in losses {
                    let took = until_direct_again(&mut game, loss);
                    times.push((took, format!("{loss:?}, {}", game.what)));
                }
            }
        }
    }
    times.sort();
    let (median, _) = times[times.len() / 2];
    let (worst, which) = &times[times.len() - 1];
    println!("another hole: median {median:?}, worst {worst:?}");
    assert!(median <= seconds(4), "{median:?}");
    // Some need a second try, five seconds after the first ended.
    assert!(*worst <= seconds(20), "{worst:?}: {which}");
}

/// How long it takes until both play without a relay for good.
fn until_direct_again(game: &mut Game, loss: Loss) -> Duration {
    let start = game.sim.elapsed();
    match loss {
        Loss::Forgets(who) => game.sim.router_forgets(game.edge(who)),
        Loss::Moves(who) => game.sim.router_moves(game.edge(who)),
        Loss::Killed(who) => {
            game.sim.crash(game.friends[who]);
            game.sim.run_for(ms(200));
            game.sim.restart(game.friends[who]);
        }
    }
    let [anna, tom] = game.friends;
    let direct = |sim: &Sim| {
        let by = |from, to| sim.row(from, to).and_then(|row| row.path);
        [by(anna, tom), by(tom, anna)] == [Some(PathKind::Direct); 2]
    };
    // What is lost is only found to be after a while.
    game.sim.run_for(REBOUND);
    loop {
        game.sim.run_until(
            &format!("{loss:?}, {}: another hole", game.what),
            seconds(60),
            direct,
        );
        let took = game.sim.elapsed() - start;
        game.sim.run_for(MOVED);
        if direct(&game.sim) {
            return took;
        }
    }
}
