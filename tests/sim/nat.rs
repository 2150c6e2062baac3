//! Routers between friends: each kind is called what it is or not named at all, and what is predicted comes true.

use super::{minutes, ms, seconds};
use lanrage_core::nat::{Prediction, Reason, predict};
use lanrage_proto::doctor::{Expected, PairBy};
use lanrage_proto::ipc::{NatType, PartyState, PathKind};
use lanrage_tests::sim::{Link, Looks, Nat, Node, Place, Ports, Sim};
use std::net::SocketAddr;
use std::time::Duration;

const LOOKS: [Looks; 3] = [Looks::Nothing, Looks::Address, Looks::AddressAndPort];
const PORTS: [Ports; 3] = [Ports::Kept, Ports::Sequential, Ports::Random];

/// What an all-knowing observer calls it.
fn truth(nat: Option<Nat>) -> NatType {
    match nat.map(|nat| (nat.mapping, nat.filtering)) {
        None => NatType::Open,
        Some((Looks::Nothing, Looks::Nothing)) => NatType::FullCone,
        Some((Looks::Nothing, Looks::Address)) => NatType::RestrictedCone,
        Some((Looks::Nothing, Looks::AddressAndPort)) => NatType::PortRestrictedCone,
        Some((Looks::Address | Looks::AddressAndPort, _)) => NatType::Symmetric,
    }
}

fn every_nat() -> impl Iterator<Item = Nat> {
    let with = |mapping, filtering, ports, takes_strays| Nat {
        mapping,
        ports,
        takes_strays,
        ..Nat::cone(filtering)
    };
    let ports = move |mapping, filtering| {
        let strays = move |ports| [false, true].map(|takes| with(mapping, filtering, ports, takes));
        PORTS.into_iter().flat_map(strays)
    };
    let filtering = move |mapping| {
        LOOKS
            .into_iter()
            .flat_map(move |filtering| ports(mapping, filtering))
    };
    LOOKS.into_iter().flat_map(filtering)
}

/// Friends, each behind a router of her own or none, with a server and a STUN server with so many addresses.
pub(super) struct Homes {
    pub(super) sim: Sim,
    stun: Node,
    server: Node,
    url: lanrage_proto::ServerUrl,
    pub(super) friends: Vec<Node>,
    pub(super) routers: Vec<Option<Node>>,
}

const NAMES: [&str; 6] = ["anna", "tom", "zoe", "ben", "cleo", "dan"];

impl Homes {
    pub(super) fn new(seed: u64, nats: &[Option<Nat>], stun_addresses: usize) -> Self {
        Self::in_world(Sim::new(seed), nats, stun_addresses)
    }

    /// Likewise, with a relay for all.
    pub(super) fn with_relay(seed: u64, nats: &[Option<Nat>]) -> Self {
        let mut sim = Sim::new(seed);
        let relay = sim.relay("relay");
        sim.offer_relays(&[relay], minutes(60));
        Self::in_world(sim, nats, 2)
    }

    fn in_world(mut sim: Sim, nats: &[Option<Nat>], stun_addresses: usize) -> Self {
        let stun = sim.stun_server("stun", stun_addresses);
        let address = sim.stun_address(stun);
        sim.ask_stun(&[address]);
        let server = sim.server("server", Place::Internet);
        let url = sim.url(server);
        let mut homes = Self {
            sim,
            stun,
            server,
            url,
            friends: Vec::new(),
            routers: Vec::new(),
        };
        for nat in nats {
            homes.settle(*nat);
        }
        homes
    }

    /// A second STUN server, with one address, is asked as well.
    pub(super) fn ask_a_second_server(&mut self) {
        let second = self.sim.stun_server("second", 1);
        let servers = [self.stun, second].map(|server| self.sim.stun_address(server));
        self.ask(&servers);
    }

    /// These servers are named by one that is told so at its start.
    fn ask(&mut self, servers: &[SocketAddr]) {
        self.sim.ask_stun(servers);
        self.sim.kill_server(self.server);
        self.sim.restart_server(self.server);
    }

    /// One more moves in.
    fn settle(&mut self, nat: Option<Nat>) -> Node {
        let number = self.friends.len();
        let lan = Place::Lan(u8::try_from(number + 1).unwrap());
        let router = nat.map(|nat| {
            self.sim
                .router(&format!("router{number}"), lan, Place::Internet, nat)
        });
        let place = if nat.is_some() { lan } else { Place::Internet };
        let friend = self.sim.player_on(NAMES[number], place, self.url.clone());
        self.friends.push(friend);
        self.routers.push(router);
        friend
    }

    /// The first creates, the others join.
    pub(super) fn gather(&mut self) {
        let party = self.sim.create(self.friends[0], "Friday night");
        for friend in &self.friends[1..] {
            self.sim.join(*friend, &party.invite);
        }
    }

    fn kind(&self, friend: Node) -> NatType {
        self.sim.view(friend).nat.kind
    }

    fn reason(&self, friend: Node) -> Option<Reason> {
        self.sim.view(friend).nat_report.v4.reason
    }

    /// Until it is known what there is to know.
    #[track_caller]
    fn wait_for_nat(&mut self, friend: Node) -> NatType {
        self.sim.run_until("the NAT's type", seconds(20), |sim| {
            !matches!(
                sim.view(friend).nat_report.v4.reason,
                Some(Reason::InProgress | Reason::Untried | Reason::NoServers)
            )
        });
        self.kind(friend)
    }
}

#[test]
fn each_type_is_called_by_its_name_and_friends_see_it() {
    for nat in [None].into_iter().chain(every_nat().map(Some)) {
        let mut homes = Homes::new(1, &[nat, None], 2);
        homes.gather();
        let anna = homes.friends[0];
        let started = homes.sim.elapsed();
        assert_eq!(
            homes.wait_for_nat(anna),
            truth(nat),
            "{nat:?} {:#?}",
            homes.sim.view(anna).nat_report
        );
        assert!(homes.sim.elapsed() - started < seconds(5));
        let report = homes.sim.view(anna).nat_report;
        assert_eq!(report.v4.translated, Some(nat.is_some()));
        let tom = homes.friends[1];
        homes.sim.run_for(seconds(1));
        assert_eq!(homes.sim.row(tom, anna).unwrap().nat, truth(nat));
        assert_eq!(homes.sim.row(anna, tom).unwrap().nat, NatType::Open);
    }
}

#[test]
fn on_bad_lines_a_type_is_right_or_unknown_at_every_moment() {
    for seed in 0..2 {
        for loss in [0.05, 0.2, 0.4] {
            for nat in every_nat() {
                let mut homes = Homes::new(seed, &[Some(nat)], 2);
                homes.sim.all_links(Link {
                    loss,
                    jitter: ms(20),
                    reordering: 0.05,
                    ..Link::GOOD
                });
                homes.gather();
                let anna = homes.friends[0];
                for _ in 0..600 {
                    homes.sim.run_for(ms(200));
                    let kind = homes.kind(anna);
                    assert!(
                        kind == truth(Some(nat)) || kind == NatType::Unknown,
                        "seed {seed}, loss {loss}, {nat:?}: {:#?}",
                        homes.sim.view(anna).nat_report
                    );
                }
            }
        }
    }
}

#[test]
fn a_stun_server_with_one_address_leaves_the_type_unknown() {
    for nat in every_nat() {
        let mut homes = Homes::new(2, &[Some(nat)], 1);
        homes.gather();
        let anna = homes.friends[0];
        assert_eq!(homes.wait_for_nat(anna), NatType::Unknown);
        assert_eq!(homes.reason(anna), Some(Reason::OneDestination));
        // Where others see her is known all the same.
        assert!(homes.sim.view(anna).nat.mapped.is_some());
    }
}

#[test]
fn a_list_that_names_a_server_by_all_its_addresses_misleads_nobody() {
    for nat in every_nat() {
        let mut homes = Homes::new(3, &[], 2);
        let all = homes.sim.stun_addresses(homes.stun);
        homes.ask(&all);
        homes.settle(Some(nat));
        homes.gather();
        let anna = homes.friends[0];
        assert_eq!(
            homes.wait_for_nat(anna),
            truth(Some(nat)),
            "{:#?}",
            homes.sim.view(anna).nat_report
        );
    }
}

#[test]
fn where_udp_is_blocked_nothing_is_claimed_and_nothing_is_held_up() {
    let mut homes = Homes::new(4, &[None, Some(Nat::NO_UDP)], 2);
    let (anna, tom) = (homes.friends[0], homes.friends[1]);
    let started = homes.sim.elapsed();
    homes.gather();
    assert!(homes.sim.elapsed() - started < seconds(1));
    assert_eq!(homes.sim.state(tom), Some(PartyState::Active));
    assert_eq!(homes.wait_for_nat(tom), NatType::Unknown);
    assert_eq!(homes.reason(tom), Some(Reason::NoAnswer));
    assert_eq!(homes.sim.view(tom).nat.mapped, None);
    assert_eq!(homes.wait_for_nat(anna), NatType::Open);
    // It opens: that is found out by itself.
    let router = homes.routers[1].unwrap();
    homes.sim.set_nat(router, Nat::cone(Looks::Address));
    homes.sim.run_until("named", minutes(2), |sim| {
        sim.view(tom).nat.kind == NatType::RestrictedCone
    });
    homes.sim.wait_connected(&[anna, tom], seconds(40));
}

/// Everything a pair of friends can live behind.
fn kinds() -> Vec<Option<Nat>> {
    let cones = LOOKS.map(|filtering| Some(Nat::cone(filtering)));
    let symmetric = PORTS.map(|ports| {
        Some(Nat {
            ports,
            ..Nat::SYMMETRIC
        })
    });
    [None].into_iter().chain(cones).chain(symmetric).collect()
}

/// Within what time the two have a direct path, if within `limit`.
fn time_to_direct(homes: &mut Homes, limit: Duration) -> Option<Duration> {
    let (anna, tom) = (homes.friends[0], homes.friends[1]);
    let began = homes.sim.elapsed();
    let direct = |sim: &Sim, from, to| {
        let row = sim.row(from, to);
        row.is_some_and(|row| row.path == Some(PathKind::Direct))
    };
    while !(direct(&homes.sim, anna, tom) && direct(&homes.sim, tom, anna)) {
        if homes.sim.elapsed() - began > limit {
            return None;
        }
        homes.sim.run_for(ms(50));
    }
    Some(homes.sim.elapsed() - began)
}

#[test]
fn what_is_predicted_comes_true() {
    let kinds = kinds();
    let (mut by_hole, mut by_luck) = (Vec::new(), Vec::new());
    for (i, a) in kinds.iter().enumerate() {
        for b in &kinds[i..] {
            for seed in 0..3 {
                let mut homes = Homes::new(seed, &[*a, *b], 2);
                homes.gather();
                let took = time_to_direct(&mut homes, seconds(40));
                let pair = format!("{:?} with {:?}, seed {seed}: {took:?}", truth(*a), truth(*b));
                let predicted = predict(truth(*a), truth(*b), true);
                // Both sides say so, as soon as both NATs are known.
                homes.sim.run_for(seconds(6));
                for friend in homes.friends.clone() {
                    let peer = homes.sim.doctor(friend).peers.remove(0);
                    assert_eq!(peer.expected, Expected::from(predicted), "{pair}");
                    assert!(peer.pairs.iter().all(|way| way.by == PairBy::Udp), "{peer:?}");
                }
                match predicted {
                    Prediction::Direct => assert!(took.is_some_and(|took| took < seconds(2)), "{pair}"),
                    Prediction::Hole => {
                        assert!(took.is_some(), "{pair}");
                        by_hole.extend(took);
                    }
                    Prediction::Perhaps => by_luck.push(took.is_some()),
                    Prediction::Relayed => panic!("{pair}: nobody has to do without holes"),
                }
            }
        }
    }
    by_hole.sort();
    assert!(by_hole[by_hole.len() / 2] < seconds(10), "{by_hole:?}");
    assert!(
        by_luck.contains(&true) && by_luck.contains(&false),
        "{by_luck:?} is no luck"
    );
}

#[test]
fn where_one_side_makes_no_holes_a_relay_is_predicted_for_what_takes_one_and_needed() {
    let kinds = kinds();
    for (i, a) in kinds.iter().enumerate() {
        for b in &kinds[i..] {
            if predict(truth(*a), truth(*b), false) != Prediction::Relayed {
                continue;
            }
            for off in [0, 1] {
                let mut homes = Homes::new(4, &[*a, *b], 2);
                let without = homes.friends[off];
                homes.sim.without_punching(without);
                homes.gather();
                let took = time_to_direct(&mut homes, seconds(40));
                assert_eq!(took, None, "{:?} with {:?}, off at {off}", truth(*a), truth(*b));
                for (own, other) in [(0, 1), (1, 0)] {
                    let (own, other) = (homes.friends[own], homes.friends[other]);
                    let name = homes.sim.name(other).to_owned();
                    let peers = homes.sim.doctor(own).peers;
                    let peer = peers.iter().find(|peer| peer.name == name).unwrap();
                    assert_eq!(peer.expected, Expected::Relayed);
                }
            }
        }
    }
}

#[test]
fn friends_behind_one_router_play_by_their_own_addresses() {
    for hairpin in [false, true] {
        for mapping in [Looks::Nothing, Looks::AddressAndPort] {
            let mut homes = Homes::new(5, &[], 2);
            let nat = Nat {
                mapping,
                hairpin,
                ..Nat::cone(Looks::AddressAndPort)
            };
            let lan = Place::Lan(9);
            homes.sim.router("router", lan, Place::Internet, nat);
            for name in ["anna", "tom"] {
                let friend = homes.sim.player_on(name, lan, homes.url.clone());
                homes.friends.push(friend);
            }
            homes.gather();
            let friends = homes.friends.clone();
            homes.sim.wait_connected(&friends, seconds(2));
            homes.sim.run_for(seconds(20));
            let row = homes.sim.row(friends[0], friends[1]).unwrap();
            assert_eq!((row.path, row.nat), (Some(PathKind::Lan), truth(Some(nat))));
        }
    }
}

#[test]
fn two_homes_behind_one_carrier_reach_each_other_where_it_lets_them() {
    for hairpin in [true, false] {
        let mut homes = Homes::new(6, &[], 2);
        let carrier = Nat {
            hairpin,
            ..Nat::cone(Looks::AddressAndPort)
        };
        let between = Place::Lan(100);
        homes.sim.router("carrier", between, Place::Internet, carrier);
        for (number, name) in [(1, "anna"), (2, "tom")] {
            let home = Place::Lan(number);
            let nat = Nat {
                ports: Ports::Kept,
                ..Nat::cone(Looks::AddressAndPort)
            };
            homes.sim.router(&format!("router{number}"), home, between, nat);
            let friend = homes.sim.player_on(name, home, homes.url.clone());
            homes.friends.push(friend);
        }
        homes.gather();
        let friends = homes.friends.clone();
        assert_eq!(homes.wait_for_nat(friends[0]), NatType::PortRestrictedCone);
        homes.sim.run_for(seconds(20));
        assert_eq!(homes.sim.all_connected(&friends), hairpin);
    }
}

#[test]
fn a_mapping_is_kept_alive_and_a_forgetful_router_is_noticed() {
    let nat = Nat {
        lasts: seconds(30),
        ..Nat::cone(Looks::AddressAndPort)
    };
    let mut homes = Homes::new(7, &[Some(nat)], 2);
    homes.gather();
    let anna = homes.friends[0];
    homes.wait_for_nat(anna);
    let mapped = homes.sim.view(anna).nat.mapped;
    for _ in 0..60 {
        homes.sim.run_for(seconds(10));
        assert_eq!(homes.sim.view(anna).nat.mapped, mapped);
        assert_eq!(homes.kind(anna), NatType::PortRestrictedCone);
    }
    let router = homes.routers[0].unwrap();
    homes.sim.router_forgets(router);
    homes.sim.run_until("the new mapping", seconds(30), |sim| {
        sim.view(anna)
            .nat
            .mapped
            .is_some_and(|now| Some(&now) != mapped.as_ref())
    });
    assert_eq!(homes.wait_for_nat(anna), NatType::PortRestrictedCone);
}

#[test]
fn who_moves_behind_another_router_is_named_anew() {
    let mut homes = Homes::new(8, &[Some(Nat::SYMMETRIC), Some(Nat::cone(Looks::Nothing))], 2);
    homes.gather();
    let (anna, tom) = (homes.friends[0], homes.friends[1]);
    assert_eq!(homes.wait_for_nat(anna), NatType::Symmetric);
    homes.sim.move_to(anna, Place::Lan(2));
    homes.sim.run_until("named", seconds(10), |sim| {
        sim.view(anna).nat.kind == NatType::FullCone
    });
    homes.sim.wait_connected(&[anna, tom], seconds(10));
    homes.sim.move_to(anna, Place::Internet);
    homes.sim.run_until("named", seconds(10), |sim| {
        sim.view(anna).nat.kind == NatType::Open
    });
}

/// Named behind each router, then once more while the router may still let in what was asked the first time.
fn named_again(come_back: impl Fn(&mut Homes)) {
    for (seed, nat) in [None].into_iter().chain(every_nat().map(Some)).enumerate() {
        let mut homes = Homes::new(seed as u64, &[nat, None], 2);
        homes.gather();
        let anna = homes.friends[0];
        assert_eq!(homes.wait_for_nat(anna), truth(nat));
        homes.sim.run_for(seconds(5));
        come_back(&mut homes);
        let right = |homes: &Homes| {
            let kind = homes.kind(anna);
            assert!(
                kind == truth(nat) || kind == NatType::Unknown,
                "{nat:?}: {:#?}",
                homes.sim.view(anna).nat_report
            );
        };
        for _ in 0..100 {
            homes.sim.run_for(ms(200));
            right(&homes);
        }
        // Who lets in anybody shows that to a fresh socket as well.
        if matches!(truth(nat), NatType::Open | NatType::FullCone | NatType::Symmetric) {
            assert_eq!(homes.kind(anna), truth(nat), "{nat:?}");
        }
        // Routers have forgotten.
        for _ in 0..12 {
            homes.sim.run_for(minutes(1));
            right(&homes);
        }
        assert_eq!(homes.kind(anna), truth(nat), "{nat:?}");
    }
}

#[test]
fn what_an_engine_asked_before_its_restart_is_not_taken_for_openness() {
    named_again(|homes| {
        let anna = homes.friends[0];
        homes.sim.crash(anna);
        homes.sim.run_for(seconds(2));
        homes.sim.restart(anna);
    });
}

#[test]
fn what_was_asked_in_the_party_before_is_not_taken_for_openness() {
    named_again(|homes| {
        // The host's leaving ends the party.
        for friend in homes.friends.clone().into_iter().rev() {
            homes.sim.leave(friend);
        }
        homes.sim.run_for(seconds(2));
        homes.gather();
    });
}

#[test]
fn what_was_asked_before_sleep_or_a_pulled_cable_is_not_taken_for_openness() {
    named_again(|homes| {
        let anna = homes.friends[0];
        homes.sim.sleep(anna);
        homes.sim.run_for(seconds(15));
        homes.sim.wake_up(anna);
    });
    named_again(|homes| {
        let anna = homes.friends[0];
        homes.sim.unplug(anna);
        homes.sim.run_for(seconds(2));
        homes.sim.plug_in(anna);
    });
}

#[test]
fn outside_a_party_no_server_is_asked() {
    let mut homes = Homes::new(9, &[Some(Nat::cone(Looks::Nothing))], 2);
    let anna = homes.friends[0];
    homes.sim.run_for(minutes(1));
    assert_eq!(homes.reason(anna), Some(Reason::Untried));
    homes.gather();
    homes.wait_for_nat(anna);
    homes.sim.leave(anna);
    assert_eq!(homes.reason(anna), Some(Reason::Untried));
    assert_eq!(homes.sim.view(anna).nat.mapped, None);
    homes.sim.transcript.keep(&lanrage_tests::sim::Kind::ALL);
    let before = homes.sim.transcript.text().matches("stun").count();
    homes.sim.run_for(minutes(10));
    let after = homes.sim.transcript.text().matches("stun").count();
    assert_eq!(before, after);
}

#[test]
fn which_pairs_meet_without_a_relay() {
    let kinds = kinds();
    let mut table = String::new();
    for a in &kinds {
        for b in &kinds {
            let mut homes = Homes::new(1, &[*a, *b], 2);
            homes.gather();
            let pair = [homes.friends[0], homes.friends[1]];
            homes.sim.run_for(seconds(40));
            let meets = homes.sim.all_connected(&pair);
            table += if meets { "direct " } else { "–      " };
        }
        let ports = match a {
            Some(nat) if nat.mapping != Looks::Nothing => format!(", ports {:?}", nat.ports),
            _ => String::new(),
        };
        table += &format!(" {:?}{ports}\n", truth(*a));
    }
    insta::assert_snapshot!(table, @r"
    direct direct direct direct direct direct direct  Open
    direct direct direct direct direct direct direct  FullCone
    direct direct direct direct direct direct direct  RestrictedCone
    direct direct direct direct direct direct direct  PortRestrictedCone
    direct direct direct direct direct direct –       Symmetric, ports Kept
    direct direct direct direct direct direct –       Symmetric, ports Sequential
    direct direct direct direct –      –      –       Symmetric, ports Random
    ");
}
