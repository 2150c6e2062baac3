//! What moves a computer, or cuts it off: sleep, another network, cables pulled, routers with other addresses.

use super::{Happening, Kind, Node, Place, Sim};
use lanrage_core::io::Input;
use std::time::Duration;

/// How long an engine takes to notice that its computer slept.
const NOTICED: Duration = Duration::from_millis(250);

impl Sim {
    /// The lid is closed: nothing happens there any more, and nobody is told.
    pub fn sleep(&mut self, node: Node) {
        self.note(Kind::Scene, node, format_args!("sleeps"));
        self.links.asleep.insert(node);
        let now = self.now;
        let machine = self.machine_mut(node);
        machine.asleep = Some(Vec::new());
        machine.slept_at = now;
    }

    /// The lid is opened.
    pub fn wake_up(&mut self, node: Node) {
        self.note(Kind::Scene, node, format_args!("wakes up"));
        self.links.asleep.remove(&node);
        let told = self.machine_mut(node).asleep.take();
        for input in told.into_iter().flatten() {
            self.input(node, input);
        }
        for other in (0..self.machines.len()).map(Node) {
            self.unstall(node, other);
        }
        let life = self.machine(node).life();
        let slept = self.now.saturating_sub(self.machine(node).slept_at);
        self.later(NOTICED, Happening::Woken(node, life, slept));
    }

    pub(super) fn woken(&mut self, node: Node, life: u32, slept: Duration) {
        if self.machine(node).life() == life {
            self.input(node, Input::Slept(slept));
        }
    }

    /// The machine gets other addresses, there or at another place, as with another Wi-Fi.
    pub fn move_to(&mut self, node: Node, place: Place) {
        // Numbers from 128 on are those of the second addresses.
        let number = u8::try_from(node.0 + 128).unwrap_or(u8::MAX);
        self.lines_die_of(node);
        self.streams_die_of(node);
        let machine = self.machine_mut(node);
        machine.place = place;
        machine.addresses = place.addresses(number);
        let network = machine.network();
        let first = machine.addresses.first().map(|(address, _)| *address);
        self.note(Kind::Scene, node, format_args!("has the address {first:?} now"));
        self.input(node, Input::Network(network));
        self.advertise(node);
    }

    /// Its interface goes down, and its addresses with it.
    pub fn unplug(&mut self, node: Node) {
        self.note(Kind::Scene, node, format_args!("is unplugged"));
        self.links.asleep.insert(node);
        let machine = self.machine_mut(node);
        machine.unplugged = Some(std::mem::take(&mut machine.addresses));
        let network = machine.network();
        self.input(node, Input::Network(network));
    }

    /// Its interface comes back with the addresses it had.
    pub fn plug_in(&mut self, node: Node) {
        self.note(Kind::Scene, node, format_args!("is plugged in"));
        self.links.asleep.remove(&node);
        let machine = self.machine_mut(node);
        if let Some(addresses) = machine.unplugged.take() {
            machine.addresses = addresses;
        }
        let network = machine.network();
        self.input(node, Input::Network(network));
        for other in (0..self.machines.len()).map(Node) {
            self.unstall(node, other);
        }
    }

    /// A router's provider gives it another address: its mappings are gone, and the connections through it.
    pub fn router_moves(&mut self, router: Node) {
        let number = u8::try_from(router.0 + 128).unwrap_or(u8::MAX);
        let place = self.machine(router).place;
        self.machine_mut(router).addresses = place.addresses(number);
        self.machine_mut(router).addresses.retain(|(ip, _)| ip.is_ipv4());
        self.note(Kind::Scene, router, format_args!("has another address"));
        self.router_forgets(router);
        for node in self.behind(router) {
            self.lines_die_of(node);
        }
    }

    /// The line from a router, or from a computer on the internet, to the world is cut.
    pub fn cut_off(&mut self, node: Node) {
        for (inside, outside) in self.across(node) {
            self.cut(inside, outside);
        }
    }

    /// That line is mended.
    pub fn reconnect(&mut self, node: Node) {
        for (inside, outside) in self.across(node) {
            self.mend(inside, outside);
        }
    }

    /// The machines on the switch behind a router.
    fn behind(&self, router: Node) -> Vec<Node> {
        let inside = self.machine(router).router.as_ref().map(|router| router.inside);
        let nodes = (0..self.machines.len()).map(Node);
        nodes
            .filter(|node| Some(self.machine(*node).place) == inside)
            .collect()
    }

    /// All pairs of machines at the two ends of a line.
    fn across(&self, node: Node) -> Vec<(Node, Node)> {
        let mut inside = self.behind(node);
        inside.push(node);
        let outside: Vec<Node> = (0..self.machines.len())
            .map(Node)
            .filter(|other| !inside.contains(other))
            .collect();
        let pairs = inside
            .iter()
            .flat_map(|one| outside.iter().map(move |other| (*one, *other)));
        pairs.collect()
    }
}
