//! Parties in virtual time: what players would notice, and what a control plane that lies can't do.
//!
//! Every scenario follows from its seed. One that fails prints the end of its transcript; `Sim::transcript.keep`
//! shows more of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the scenarios' helpers are tests as well"
)]

mod away;
mod forgeries;
mod leaving;
mod liar;
mod lies;
mod lobby;
mod moving;
mod nat;
mod pairs;
mod punching;
mod refused;
mod relays;
mod roaming;
mod silence;
mod storm;
mod together;

use lanrage_proto::ipc::Created;
use lanrage_tests::sim::{Node, Place, Sim};
use std::time::Duration;

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

/// The switch that everybody is on, unless a scenario says otherwise.
const LAN: Place = Place::Lan(1);

/// Three friends in a party.
struct Trio {
    sim: Sim,
    /// The founder.
    anna: Node,
    tom: Node,
    zoe: Node,
    party: Created,
}

impl Trio {
    /// On one switch, the party living on Anna's computer, all connected.
    fn local(seed: u64) -> Self {
        let mut sim = Sim::new(seed);
        let anna = sim.player("anna", LAN);
        let tom = sim.player("tom", LAN);
        let zoe = sim.player("zoe", LAN);
        Self::gather(sim, anna, tom, zoe)
    }

    /// On one switch with a server, all connected.
    fn on_server(seed: u64) -> (Self, Node) {
        let mut sim = Sim::new(seed);
        let server = sim.server("server", LAN);
        let url = sim.url(server);
        let anna = sim.player_on("anna", LAN, url.clone());
        let tom = sim.player_on("tom", LAN, url.clone());
        let zoe = sim.player_on("zoe", LAN, url);
        (Self::gather(sim, anna, tom, zoe), server)
    }

    fn gather(mut sim: Sim, anna: Node, tom: Node, zoe: Node) -> Self {
        let party = sim.create(anna, "Friday night");
        sim.join(tom, &party.invite);
        sim.join(zoe, &party.invite);
        sim.wait_connected(&[anna, tom, zoe], seconds(5));
        Self {
            sim,
            anna,
            tom,
            zoe,
            party,
        }
    }

    fn all(&self) -> [Node; 3] {
        [self.anna, self.tom, self.zoe]
    }

    /// Everybody's virtual address.
    fn addresses(&self) -> [std::net::Ipv4Addr; 3] {
        self.all().map(|node| self.sim.address(node))
    }

    /// Everybody sends everybody a packet every 200 ms for so long.
    fn chatter(&mut self, lasting: Duration) {
        let all = self.all();
        chatter(&mut self.sim, &all, ms(200), lasting);
    }
}

/// Each of them sends each other a packet at each interval for so long.
fn chatter(sim: &mut Sim, nodes: &[Node], every: Duration, lasting: Duration) {
    for (from, to) in pairs(nodes) {
        sim.app_chat(from, to, every, lasting);
    }
}

/// All ordered pairs.
fn pairs(nodes: &[Node]) -> Vec<(Node, Node)> {
    let others = |from: &Node| {
        let from = *from;
        nodes
            .iter()
            .filter(move |to| **to != from)
            .map(move |to| (from, *to))
            .collect::<Vec<_>>()
    };
    nodes.iter().flat_map(others).collect()
}

/// Every packet sent from `since` on between any two of them arrived, and there were some.
#[track_caller]
fn nothing_lost(sim: &Sim, nodes: &[Node], since: Duration) {
    for (from, to) in pairs(nodes) {
        let (sent, arrived) = sim.carried(from, to, since);
        assert!(sent > 0, "{} sent {} nothing", sim.name(from), sim.name(to));
        assert_eq!(arrived, sent, "from {} to {}", sim.name(from), sim.name(to));
    }
}
