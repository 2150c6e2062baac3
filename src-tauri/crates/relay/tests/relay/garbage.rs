//! Whatever comes, nothing breaks: seeded random input, and requests with anything in them from who may sign.

use crate::world::{Player, World, at, config, udp};
use lanrage_relay::config::Pace;
use lanrage_relay::wire::Message;
use lanrage_relay::{Behaviour, Framer, Link};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use std::time::Duration;
use stun_rs::attributes::turn::{ChannelNumber, LifeTime, XorPeerAddress};
use stun_rs::methods;

/// The same each time.
struct Anything(ChaCha8Rng);

impl Anything {
    fn seeded(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    fn below(&mut self, end: usize) -> usize {
        self.0.next_u32() as usize % end
    }

    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let mut bytes = vec![0; self.below(most)];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// Attributes of any type and length, most of them well-formed.
    fn attributes(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        for _ in 0..self.below(6) {
            let kind = match self.below(8) {
                0 => self.0.next_u32() as u16,
                1 => 0x8000 + self.below(0x30) as u16,
                _ => self.below(0x30) as u16,
            };
            let mut value = match self.below(4) {
                0 => self.bytes(40),
                // Looks like an address, a number, a transport.
                1 => [&[0, 1][..], &self.bytes(3), &[0; 8]].concat()[..8].to_vec(),
                2 => vec![0; 4],
                _ => vec![17, 0, 0, 0],
            };
            let length = if self.once_in(20) {
                self.0.next_u32() as u16
            } else {
                value.len() as u16
            };
            value.resize(value.len().next_multiple_of(4), 0);
            body.extend([kind.to_be_bytes(), length.to_be_bytes()].concat());
            body.extend(value);
        }
        body
    }

    /// Something with the header of a message.
    fn message(&mut self) -> Vec<u8> {
        let kinds = [1, 3, 4, 8, 9, 0x16, 0x17, self.0.next_u32() as u16];
        let kind = kinds[self.below(kinds.len())];
        let body = self.attributes();
        let length = if self.once_in(10) {
            self.0.next_u32() as u16
        } else {
            body.len() as u16
        };
        let mut bytes = [
            kind.to_be_bytes(),
            length.to_be_bytes(),
            [0x21, 0x12],
            [0xa4, 0x42],
        ]
        .concat();
        bytes.extend([7; 12]);
        bytes.extend(body);
        bytes
    }

    fn packet(&mut self) -> Vec<u8> {
        match self.below(8) {
            0 | 1 => self.bytes(80),
            2 => [&[0x40 + self.below(0x40) as u8][..], &self.bytes(40)].concat(),
            _ => self.message(),
        }
    }
}

#[test]
fn a_hundred_thousand_packets_of_anything() {
    let mut config = config();
    config.limits.strangers = Pace::UNLIMITED;
    config.behaviour = Behaviour::new(at("9.9.9.9:3478"), at("9.9.9.8:3479"));
    let mut world = World::new(config);
    let mut player = Player::new("p.a", "1.2.3.4:5000");
    let relayed = player.allocate(&mut world).unwrap();
    let stranger = udp("198.51.100.1:5000");
    let mut anything = Anything::seeded(5);
    for number in 0..100_000 {
        let bytes = anything.packet();
        let mut client = if number % 2 == 0 { player.client } else { stranger };
        if anything.once_in(3) {
            client.link = Link::Stream(1);
        }
        world.client(&client, &bytes);
        world.peer(at("8.8.8.8:1"), relayed, &bytes);
        for (_, _, answer) in world.answers.drain(..) {
            assert!(
                Message::parse(&answer).is_some(),
                "{number}: {bytes:?} to {answer:?}"
            );
            assert!(answer.len() < 300, "{number}: {} bytes", answer.len());
        }
        world.pass(Duration::from_micros(10));
    }
    let counters = world.server.counters();
    assert!(
        counters.challenges > 5_000 && counters.bindings > 1_000,
        "{counters:?}"
    );
    assert_eq!(world.server.allocations(), 1);
}

#[test]
fn who_may_sign_breaks_nothing_either() {
    let mut config = config();
    config.limits.requests = Pace::UNLIMITED;
    config.limits.strangers = Pace::UNLIMITED;
    let mut world = World::new(config);
    let mut player = Player::new("p.a", "1.2.3.4:5000");
    let mut anything = Anything::seeded(6);
    for number in 0..20_000 {
        if !world.server.serves(&player.client) {
            world.pass(Duration::from_secs(120));
            player.allocate(&mut world).expect("an allocation");
        }
        let kind = [3, 4, 8, 9][anything.below(4)];
        let bytes = player.signed(kind, &anything.attributes());
        world.client(&player.client, &bytes);
        for (_, _, answer) in world.answers.drain(..) {
            assert!(
                Message::parse(&answer).is_some(),
                "{number}: {bytes:?} to {answer:?}"
            );
        }
    }
    let counters = world.server.counters();
    // A few have a second signature before the good one.
    assert!(counters.bad_credentials < 100, "{counters:?}");
    assert!(
        counters.other_refusals > 1_000 && counters.forbidden_peers > 0,
        "{counters:?}"
    );
    assert!(
        counters.allocations > 10,
        "some say that they leave: {counters:?}"
    );
}

#[test]
fn a_stream_of_anything_is_cut_or_ended() {
    let mut anything = Anything::seeded(7);
    let mut whole = 0;
    for _ in 0..20_000 {
        let bytes = [anything.packet(), anything.packet()].concat();
        let mut framer = Framer::default();
        let mut seen = 0;
        let ended = bytes.chunks(7).any(|part| {
            framer.push(part);
            loop {
                match framer.frame() {
                    Ok(Some(frame)) => seen += frame.len(),
                    Ok(None) => return false,
                    Err(_) => return true,
                }
            }
        });
        if !ended {
            assert_eq!(seen + framer.waiting(), bytes.len());
            whole += usize::from(framer.waiting() == 0);
        }
    }
    assert!(whole > 1_000, "{whole}");
}

#[test]
fn the_same_seed_and_the_same_input_give_the_same_output() {
    let play = || {
        let mut world = World::new(config());
        let mut transcript = Vec::new();
        for number in 0..5 {
            let mut player = Player::new(&format!("p.{number}"), &format!("1.2.3.4:{}", 5000 + number));
            let relayed = player.allocate(&mut world).unwrap();
            world.server.seen(world.now, "8.8.8.8".parse().unwrap());
            player.permit(&mut world, &[at("8.8.8.8:8")]).unwrap();
            transcript.push(format!(
                "{relayed} {:?}",
                world.peer(at("8.8.8.8:8"), relayed, b"x")
            ));
            let attributes = [
                ChannelNumber::new(0x4000).into(),
                XorPeerAddress::from(at("8.8.8.8:8")).into(),
                LifeTime::new(1).into(),
            ];
            let request = player.request(methods::CHANNEL_BIND, &attributes);
            transcript.push(format!("{:?}", world.ask(&player.client, &request)));
        }
        transcript
    };
    assert_eq!(play(), play());
}
