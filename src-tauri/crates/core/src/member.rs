//! A member: one door for everything that happens, one for everything that should be done.
//!
//! [`Member::handle`] takes what happened, [`Member::wake`] lets time pass, [`Member::poll`] hands out what is to be
//! done, in order. Waking too early or too often is harmless. Wishes (adapter, table, hosting, browsing, saved
//! intent) are recomputed from the state after each step and handed out when they changed.

mod doctor;
mod home;
mod intents;
mod lobby;
mod moving;
mod news;
mod outside;
mod passing;
mod peers;
mod punch;
mod relays;
mod view;
mod wishes;

use crate::conditions::Conditions;
use crate::desk::Desk;
use crate::io::{Config, Event, Hosting, Input, Output, Report};
use crate::nat::watch::Watch;
use crate::party::{Active, Adapter, Party, Phase, Reach};
use crate::punch::Punch;
use crate::relays::{RelayServer, Relays};
use lanrage_proto::{Fault, FaultCode, Seq, ServerUrl};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub use view::MemberView;

/// The home's absence is worth a condition after this long.
const AWAY_SHOWN: Duration = Duration::from_secs(3);

/// One member's side of at most one party.
pub struct Member {
    config: Config,
    desk: Desk,
    party: Party,
    conditions: Conditions,
    /// The embedded control plane, while it runs.
    hosting: Option<Hosting>,
    wishes: wishes::Sent,
    /// Answers wait until the wishes they rest on have been handed out.
    answers: Vec<Output>,
    /// Something shown changed since the last `View` …
    changed: bool,
    /// … or a measure since the last `Measures`.
    measured: bool,
    /// When it was last looked into why a peer is silent.
    alarmed: Option<Instant>,
    /// When relays and connections were last made anew because this computer moved.
    renewed: Option<Instant>,
}

impl Member {
    /// A member in no party. `now` is any moment not after the first one handed in.
    pub fn new(config: Config, now: Instant) -> Self {
        let nat = Watch::new(now, config.boot <= 1);
        let mut rng = ChaCha20Rng::from_seed(config.randomness);
        Self {
            desk: Desk {
                session: rng.next_u64(),
                seq: Seq::at_boot(config.boot),
                rng,
                network: Default::default(),
                relays: Default::default(),
                nat,
                punch: Punch::new(config.punching),
                mapped: Default::default(),
                next_conn: 1,
                ready: false,
                out: VecDeque::new(),
            },
            config,
            party: Party::Idle,
            conditions: Conditions::default(),
            hosting: None,
            wishes: wishes::Sent::default(),
            answers: Vec::new(),
            changed: false,
            measured: false,
            alarmed: None,
            renewed: None,
        }
    }

    /// Other settings for parties to come: the server they are created on, relays of one's own, and whether holes are
    /// made. A party goes on with those it was begun with, so call it without one.
    pub fn set(&mut self, server: Option<ServerUrl>, relays: Vec<RelayServer>, punching: bool) {
        self.config.server = server;
        self.config.relays = relays;
        self.desk.punch = Punch::new(punching);
        self.changed = true;
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Intent(id, intent) => self.intent(now, id, intent),
            Input::Control(conn, event) => self.control_event(now, conn, event),
            Input::Found(addresses) => self.found(now, addresses),
            Input::Hosting(hosting) => self.hosting(now, hosting),
            Input::Adapter(result) => self.adapter(now, result),
            Input::Datagram(path, bytes) => self.datagram(now, path, &bytes),
            Input::Report(report) => self.report(now, report),
            Input::Network(network) => self.network(now, network),
            Input::Slept(_) => self.slept(now),
            Input::StunServers(servers) => self.desk.nat.servers(servers),
            Input::Relay(id, event) => self.relay(now, id, &event),
            Input::Mapped(mapped) => self.mapped(now, mapped),
            Input::Ports(ports) => self.ports(ports),
        }
        self.wake(now);
    }

    /// Lets time pass: everything due by now happens.
    pub fn wake(&mut self, now: Instant) {
        self.wake_party(now);
        self.nat(now, None);
        self.wake_punch(now);
        self.judge_outside();
        self.judge_relays();
        self.conditions.wake(now);
        self.changed |= self.conditions.take_changed();
        self.grant_wishes();
        self.desk.out.extend(self.answers.drain(..));
        let measured = std::mem::take(&mut self.measured);
        if std::mem::take(&mut self.changed) {
            self.desk.out.push_back(Output::View);
        } else if measured {
            self.desk.out.push_back(Output::Measures);
        }
    }

    /// When to call [`Member::wake`] next, and what for.
    pub fn next_wake(&self) -> Option<(Instant, &'static str)> {
        let party = match &self.party {
            Party::Idle => None,
            Party::Creating(creating) => creating.seek.as_ref().and_then(|seek| seek.next_wake()),
            Party::Joining(joining) => joining.seek.next_wake(),
            Party::Active(active) => active_next_wake(active, &self.conditions, &self.desk.relays),
            Party::Leaving(leaving) => match &leaving.phase {
                Phase::Saying { repeats, until, .. } => repeats.iter().chain([until]).min().copied(),
                Phase::Closing { until } => Some(*until),
            },
        };
        let party = party.map(|at| (at, self.party.name()));
        let conditions = self.conditions.next_wake().map(|at| (at, "conditions"));
        let nat = self.desk.nat.next_wake().map(|at| (at, "nat"));
        let punch = self.desk.punch.next_wake().map(|at| (at, "punch"));
        party.into_iter().chain(conditions).chain(nat).chain(punch).min()
    }

    /// The next thing to do, in order; none when all is said.
    pub fn poll(&mut self) -> Option<Output> {
        self.desk.out.pop_front()
    }

    fn transition(&mut self, next: Party, cause: impl Into<String>) -> Party {
        let (from, to) = (self.party.name(), next.name());
        let before = std::mem::replace(&mut self.party, next);
        self.told_party(from, to, cause.into());
        before
    }

    /// Says that the party's state changed, if its name did.
    fn told_party(&mut self, from: &'static str, to: &'static str, cause: String) {
        self.changed = true;
        if from != to {
            self.desk
                .out
                .push_back(Output::Event(Event::Party { from, to, cause }));
        }
    }

    /// Names something that was refused.
    fn refuse(&mut self, now: Instant, fault: Fault) {
        if self.conditions.raise_refusal(now, fault.clone()) {
            self.desk.out.push_back(Output::Event(Event::Refused(fault)));
        }
    }

    fn adapter(&mut self, now: Instant, result: Result<(), Fault>) {
        match (&mut self.party, result) {
            (Party::Active(active), Ok(())) => {
                active.adapter = Adapter::Up;
                self.desk.ready = true;
                self.conditions.clear(FaultCode::AddressClash);
                self.conditions.clear(FaultCode::AdapterFailed);
                self.changed = true;
                self.tell_ready(now);
                self.enter();
            }
            (Party::Active(active), Err(fault)) => {
                active.adapter = Adapter::Failed;
                match active.entry.take() {
                    Some((intent, _)) => self.leave_party(now, Vec::new(), Some((intent, fault))),
                    None => self.conditions.raise(fault),
                }
            }
            (Party::Leaving(leaving), _) if matches!(leaving.phase, Phase::Closing { .. }) => self.left(),
            (Party::Idle | Party::Creating(_) | Party::Joining(_) | Party::Leaving(_), _) => {}
        }
    }

    fn report(&mut self, now: Instant, report: Report) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let view = active.view();
        let mut cx = self.desk.context(&active.ident, active.opened.range, view);
        match report {
            Report::Established(slot) => {
                if let Some(peer) = active.roster.by_slot(slot) {
                    peer.established(now);
                }
            }
            Report::Expired(slot) => {
                if let Some(peer) = active.roster.by_slot(slot) {
                    peer.expired();
                }
            }
            Report::Heard(slot, _) => {
                if let Some(peer) = active.roster.by_slot(slot) {
                    peer.heard(now);
                }
            }
            Report::Wanted(slot) => {
                if let Some(peer) = active.roster.by_slot(slot) {
                    peer.ask_for_handshake(now, &mut cx);
                }
            }
            Report::Quiet(slot) => {
                if let Some(peer) = active.roster.by_slot(slot) {
                    peer.quiet(now);
                }
            }
            Report::Stranger(_) => self.look_again(now),
            Report::Announced(known) => self.announced(now, *known),
            Report::Arrived(arrived) => self.announce_arrived(now, arrived),
        }
    }
}

fn active_next_wake(active: &Active, conditions: &Conditions, relays: &Relays) -> Option<Instant> {
    let home = match &active.reach {
        Reach::Home(link) => link.next_wake().into_iter().chain(relays.next_renewal()).min(),
        Reach::Seeking(seek) => {
            let shown = Some(seek.started() + AWAY_SHOWN).filter(|_| !conditions.has(FaultCode::ControlAway));
            seek.next_wake().into_iter().chain(shown).min()
        }
        Reach::Starting | Reach::Superseded => None,
    };
    let peers = active.roster.peers().filter_map(|peer| peer.next_wake());
    let told = active
        .roster
        .peers()
        .filter(|peer| peer.is_up() && matches!(active.adapter, Adapter::Up))
        .map(|peer| peer.slot());
    let lobby = active.lobby.next_wake(told);
    home.into_iter()
        .chain(peers)
        .chain(relays.next_wake())
        .chain(active.roster.next_passed())
        .chain(lobby)
        .min()
}
