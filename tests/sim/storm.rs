//! Storms: everything that can go wrong with honest people, at random, and then calm. Whatever the storm was, the
//! party is whole afterwards, everybody sits where they sat, and nobody was blamed for a lie.

use super::{LAN, seconds};
use lanrage_core::io::Event;
use lanrage_proto::ipc::PartyState;
use lanrage_tests::sim::{Link, Node, Sim};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

/// What happens beside crashes, sleep, cut ways, broken connections and new addresses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weather {
    /// The party lives on the founder's computer.
    Local,
    /// On a server that crashes as well.
    Server,
    /// On a server that also loses its memory.
    Forgetful,
    /// On a server, and people leave and join again.
    Restless,
}

struct Storm {
    sim: Sim,
    weather: Weather,
    rng: ChaCha20Rng,
    server: Option<Node>,
    players: Vec<Node>,
    invite: String,
    server_up: bool,
    engines_up: BTreeMap<Node, bool>,
    asleep: BTreeMap<Node, bool>,
    cut: Vec<(Node, Node)>,
    places: BTreeMap<Node, Ipv4Addr>,
}

impl Storm {
    fn new(seed: u64, weather: Weather) -> Self {
        let mut sim = Sim::new(seed);
        sim.all_links(Link {
            jitter: Duration::from_millis(3),
            loss: 0.02,
            reordering: 0.01,
            ..Link::GOOD
        });
        let server = (weather != Weather::Local).then(|| sim.server("server", LAN));
        let url = server.map(|server| sim.url(server));
        let players: Vec<Node> = ["anna", "tom", "zoe", "ben", "cleo"]
            .into_iter()
            .map(|name| match &url {
                Some(url) => sim.player_on(name, LAN, url.clone()),
                None => sim.player(name, LAN),
            })
            .collect();
        let party = sim.create(players[0], "Friday night");
        for node in &players[1..] {
            sim.join(*node, &party.invite);
        }
        let places = players.iter().map(|node| (*node, sim.address(*node))).collect();
        Self {
            sim,
            weather,
            rng: ChaCha20Rng::seed_from_u64(seed),
            server,
            engines_up: players.iter().map(|node| (*node, true)).collect(),
            asleep: players.iter().map(|node| (*node, false)).collect(),
            players,
            invite: party.invite,
            server_up: true,
            cut: Vec::new(),
            places,
        }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.rng.next_u32() as usize % limit
    }

    fn someone(&mut self) -> Node {
        let index = self.below(self.players.len());
        self.players[index]
    }

    fn blow(&mut self) {
        let node = self.someone();
        if self.asleep[&node] {
            self.sim.wake_up(node);
            self.asleep.insert(node, false);
            return;
        }
        match self.below(9) {
            0 | 1 if self.engines_up[&node] => self.crash(node),
            0 | 1 => self.restart(node),
            2 => match self.server {
                Some(server) if self.server_up => {
                    self.sim.kill_server(server);
                    self.server_up = false;
                }
                Some(server) => {
                    if self.weather == Weather::Forgetful {
                        self.sim.wipe_store(server);
                    }
                    self.sim.restart_server(server);
                    self.server_up = true;
                }
                None => {}
            },
            3 => {
                let other = self.someone();
                if other != node {
                    self.sim.cut(node, other);
                    self.cut.push((node, other));
                }
            }
            4 => {
                if let Some((a, b)) = self.cut.pop() {
                    self.sim.mend(a, b);
                }
            }
            5 => self.sim.break_control(node),
            6 => {
                self.sim.sleep(node);
                self.asleep.insert(node, true);
            }
            7 if self.weather == Weather::Restless => self.come_or_go(node),
            _ => self.sim.move_to(node, LAN),
        }
    }

    /// Who is in leaves, who is out joins; the founder stays, and so does who is busy.
    fn come_or_go(&mut self, node: Node) {
        if node == self.players[0] || !self.engines_up[&node] {
            return;
        }
        match self.sim.state(node) {
            Some(PartyState::Active | PartyState::Rejoining) => {
                self.sim.start_leave(node);
            }
            None => {
                self.sim.start_join(node, &self.invite).unwrap();
            }
            Some(PartyState::Creating | PartyState::Joining | PartyState::Leaving) => {}
        }
    }

    fn crash(&mut self, node: Node) {
        self.names_no_lie(node);
        self.sim.crash(node);
        self.engines_up.insert(node, false);
    }

    fn restart(&mut self, node: Node) {
        self.sim.restart(node);
        self.engines_up.insert(node, true);
    }

    /// Everything works again.
    fn calm(&mut self) {
        for (a, b) in std::mem::take(&mut self.cut) {
            self.sim.mend(a, b);
        }
        if let Some(server) = self.server.filter(|_| !self.server_up) {
            self.sim.restart_server(server);
        }
        for node in self.players.clone() {
            if self.asleep[&node] {
                self.sim.wake_up(node);
            }
            if !self.engines_up[&node] {
                self.restart(node);
            }
        }
    }

    fn names_no_lie(&self, node: Node) {
        for (at, event) in self.sim.events(node) {
            assert!(
                !matches!(event, Event::Refused(_)),
                "{} at {at:?}: {event}",
                self.sim.name(node)
            );
        }
    }

    fn play(mut self, blows: usize) {
        for _ in 0..blows {
            let pause = 50 + self.below(6000) as u64;
            self.sim.run_for(Duration::from_millis(pause));
            self.blow();
        }
        self.calm();
        // Joins that began in the storm may end in a refusal; leaves end.
        self.sim.run_for(seconds(15));
        for node in self.players.clone() {
            if self.sim.state(node).is_none() {
                self.sim.start_join(node, &self.invite).unwrap();
            }
        }
        let players = self.players.clone();
        self.sim
            .run_until("everybody back in the party", seconds(60), |sim| {
                players.iter().all(|node| {
                    sim.state(*node) == Some(PartyState::Active)
                        && sim
                            .party(*node)
                            .is_some_and(|party| party.members.len() == players.len())
                })
            });
        // Up, if not yet shown as well: what was lost in the storm counts for a minute.
        self.sim.run_for(seconds(35));
        let since = self.sim.elapsed();
        super::chatter(&mut self.sim, &players, Duration::from_millis(500), seconds(20));
        self.sim.run_for(seconds(21));
        for (from, to) in super::pairs(&players) {
            let (sent, arrived) = self.sim.carried(from, to, since);
            let names = (self.sim.name(from), self.sim.name(to));
            assert!(
                arrived * 10 >= sent * 8,
                "{arrived} of {sent} from {names:?}\n{}",
                self.sim.table()
            );
        }
        for node in &players {
            assert_eq!(
                self.sim.address(*node),
                self.places[node],
                "{}",
                self.sim.name(*node)
            );
            self.names_no_lie(*node);
        }
        // And who comes new is let in.
        let dan = self.sim.player("dan", LAN);
        let joined = self.sim.join(dan, &self.invite.clone());
        assert_eq!(joined.address, "10.66.0.6");
    }
}

/// Plays storms of consecutive seeds: a few, or as many as `LANRAGE_STORMS` says, for a longer search.
fn storms(first_seed: u64, weather: Weather) {
    let many = std::env::var("LANRAGE_STORMS")
        .ok()
        .and_then(|number| number.parse().ok());
    for seed in first_seed..first_seed + many.unwrap_or(8) {
        Storm::new(seed, weather).play(25);
    }
}

#[test]
fn after_any_storm_a_local_party_is_whole_again() {
    storms(100_000, Weather::Local);
}

#[test]
fn after_any_storm_a_party_on_a_server_is_whole_again() {
    storms(200_000, Weather::Server);
}

#[test]
fn after_any_storm_a_party_on_a_forgetful_server_is_whole_again() {
    storms(300_000, Weather::Forgetful);
}

#[test]
fn after_any_storm_a_party_with_comings_and_goings_is_whole_again() {
    storms(400_000, Weather::Restless);
}
