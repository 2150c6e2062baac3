//! Carrying out what the member decides.

use super::{AdapterInUse, Engine, TELL_MEASURES};
use crate::embedded::Embedded;
use crate::games::GameWatch;
use crate::state::Intent;
use crate::{adapter, network};
use lanrage_core::io::{AdapterPlan, Event, HostPlan, Input, IntentId, Outcome, Output, Saved};
use lanrage_core::path::{Path, TransportId};
use lanrage_platform::routes::Network;
use lanrage_proto::ipc::Reply;
use lanrage_proto::{Fault, FaultCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An adapter that is removed sooner than this is not made again by itself: two programs would fight over it.
const LASTING: Duration = Duration::from_secs(5);

impl Engine {
    /// Carries out everything that is to be done, in order.
    pub(super) async fn carry_out(&mut self) {
        loop {
            while let Some(output) = self.member.poll() {
                self.one(output).await;
            }
            // Taking down what no party needs any more may be news to the member in turn.
            if !self.settle().await {
                return;
            }
        }
    }

    async fn one(&mut self, output: Output) {
        match output {
            Output::Transmit(path, bytes) => self.transmit(path, &bytes),
            Output::Dial(conn, url) => self.clients.dial(conn, url),
            Output::Say(conn, frame) => self.clients.say(conn, *frame),
            Output::Hangup(conn) => self.clients.hang_up(conn),
            Output::Browse(wish) => self.discovery.look_for(wish),
            Output::Host(wish) => self.host(wish).await,
            Output::Configure(wish) => self.configure(wish).await,
            Output::Table(table) => self.data.apply(table),
            Output::Resolve(names) => self.stun.wish(names),
            Output::Map(plan) => self.mapper.wish(plan),
            Output::Relays(plans) => self.relays.wish(plans, &self.data),
            Output::Holes(plans) => self.holes.wish(&plans, &self.data),
            Output::Listen(ports) => self.listeners.wish(ports),
            Output::Replay(slot, announce) => self.data.replay(slot, announce),
            Output::Forget(port) => self.data.forget_program(port),
            Output::Persist(saved) => self.persist(saved).await,
            Output::Answer(id, result) => self.answer(id, result),
            Output::View => {
                self.changed = true;
                self.tell_soon();
            }
            Output::Measures => self.tell_within(TELL_MEASURES),
            Output::Event(event) => log(&event),
        }
    }

    fn transmit(&self, path: Path, bytes: &[u8]) {
        if let Some(queue) = self.relays.queue(path.transport) {
            return queue.push(path.remote, bytes);
        }
        if path.transport.is_hole() {
            return self.holes.send(path, bytes);
        }
        let Some(sockets) = &self.sockets else {
            return;
        };
        let sent = match (path.transport, &sockets.v6) {
            (TransportId::UDP4, _) => sockets.v4.send_to(bytes, path.remote),
            (TransportId::UDP6, Some(v6)) => v6.send_to(bytes, path.remote),
            _ => return,
        };
        if let Err(error) = sent {
            // Unreachable networks, refused ports, a full buffer: the next probe tells better.
            tracing::trace!(%error, "a datagram did not leave");
        }
    }

    async fn host(&mut self, wish: Option<HostPlan>) {
        if let (Some(plan), Some((running, _))) = (&wish, &self.embedded)
            && plan == running
        {
            return;
        }
        self.discovery.announce(None);
        if let Some((_, embedded)) = self.embedded.take() {
            embedded.stop().await;
        }
        if let Some(plan) = wish {
            let embedded = Embedded::start(
                plan.tag,
                Arc::clone(&self.state),
                self.control_ports(),
                self.happenings.clone(),
            );
            self.embedded = Some((plan, embedded));
        }
    }

    /// Where friends with an older invite look first; for a new party the number of the UDP port, as both then
    /// are one number to remember.
    fn control_ports(&self) -> Vec<u16> {
        let udp = self.sockets.as_ref().map_or(0, |sockets| sockets.port);
        let last = self.state.ports().control;
        match self.state.control_memory() {
            Ok(Some(_)) => vec![last, udp],
            Ok(None) | Err(_) => vec![udp, last],
        }
    }

    async fn configure(&mut self, wish: Option<AdapterPlan>) {
        self.drop_adapter().await;
        self.plan = wish;
        let result = match wish {
            Some(plan) => self.make_adapter(plan).await,
            None => Ok(()),
        };
        self.member.handle(Instant::now(), Input::Adapter(result));
    }

    /// Tries once more for an adapter that is wished and could not be had: what stood in the way may be gone.
    pub(super) async fn retry_adapter(&mut self) {
        if let (Some(plan), None) = (self.plan, &self.adapter)
            && self.make_adapter(plan).await.is_ok()
        {
            self.member.handle(Instant::now(), Input::Adapter(Ok(())));
        }
    }

    async fn make_adapter(&mut self, plan: AdapterPlan) -> Result<(), Fault> {
        let made = self.try_adapter(plan).await;
        if let Err(fault) = &made {
            tracing::error!(%fault, details = ?fault.details, "no adapter");
        }
        made
    }

    async fn try_adapter(&mut self, plan: AdapterPlan) -> Result<(), Fault> {
        if let Some(clash) = network::clash(plan.range, None) {
            return Err(clash);
        }
        let name = self.tun.clone();
        self.journal
            .plan_adapter(name.as_deref(), plan.address.to_string());
        let opened = tokio::task::spawn_blocking(move || adapter::open(plan, name)).await;
        let opened =
            opened.unwrap_or_else(|error| Err(Fault::new(FaultCode::Internal).with("reason", error)));
        let adapter = match opened {
            Ok(adapter) => adapter,
            Err(fault) => {
                self.journal.undo_all();
                return Err(fault);
            }
        };
        let name = adapter.name().to_owned();
        tracing::info!(name, "adapter up");
        self.route_announces(&name, Network::new(plan.range.network(), plan.range.prefix()));
        self.game_watch = Some(GameWatch::start(
            Arc::clone(&self.profiles),
            plan.address,
            self.happenings.clone(),
        ));
        self.data.set_adapter(Some(adapter)).await;
        self.adapter = Some(AdapterInUse {
            name,
            plan,
            since: Instant::now(),
        });
        self.look_at_network();
        self.look_at_capture().await;
        Ok(())
    }

    /// Gets games' broadcasts onto the adapter. Where that fails the party is there all the same, and says so.
    fn route_announces(&mut self, adapter: &str, range: Network) {
        self.conditions.remove(&FaultCode::AnnouncesNotRouted);
        let begun = self
            .announces
            .begin(self.wanted, (adapter, range), &mut self.journal);
        if let Err(error) = begun {
            tracing::error!(%error, "broadcasts are not led to the adapter");
            let fault = Fault::new(FaultCode::AnnouncesNotRouted).with("reason", error);
            self.conditions.insert(fault.code, fault);
        }
    }

    /// Comes back when the adapter is gone from the system.
    pub(super) async fn drop_adapter(&mut self) {
        if let Some(adapter) = self.adapter.take() {
            (self.game_watch, self.games) = (None, Vec::new());
            self.announces.end(&self.data).await;
            self.data.set_adapter(None).await;
            let undone = self.journal.undo_all();
            tracing::debug!(?undone, "the system is as it was");
            self.conditions.remove(&FaultCode::AddressClash);
            self.conditions.remove(&FaultCode::AnnouncesNotRouted);
            tracing::info!(name = adapter.name, "adapter down");
        }
    }

    /// Somebody removed the adapter: another one takes its place, unless that was just done.
    pub(super) async fn adapter_gone(&mut self, now: Instant) {
        let Some(gone) = &self.adapter else {
            return;
        };
        let (plan, lasted) = (gone.plan, now.saturating_duration_since(gone.since));
        tracing::error!("somebody removed the adapter");
        self.drop_adapter().await;
        let again = if lasted < LASTING {
            Err(adapter::gone())
        } else {
            self.make_adapter(plan).await
        };
        self.member.handle(now, Input::Adapter(again));
    }

    /// What the member says to remember is on disk when this returns, or a condition tells that it is not.
    async fn persist(&mut self, saved: Option<Box<Saved>>) {
        let intent = saved.map(|saved| Intent {
            owner: self.owner,
            saved: *saved,
        });
        self.save(intent).await;
    }

    /// Tries to remember what could not be remembered before.
    pub(super) async fn save_again(&mut self) {
        if let Some(intent) = self.unsaved.take() {
            self.save(intent).await;
        }
    }

    async fn save(&mut self, intent: Option<Intent>) {
        let (state, wanted) = (Arc::clone(&self.state), intent.clone());
        let written = tokio::task::spawn_blocking(move || state.save_intent(wanted.as_ref())).await;
        let written =
            written.unwrap_or_else(|error| Err(Fault::new(FaultCode::Internal).with("reason", error)));
        self.conditions.remove(&FaultCode::StateUnusable);
        self.unsaved = None;
        if let Err(fault) = written {
            tracing::error!(%fault, details = ?fault.details, "the party is not remembered");
            self.conditions.insert(FaultCode::StateUnusable, fault);
            self.unsaved = Some(intent);
        }
        self.tell_soon();
    }

    fn answer(&mut self, id: IntentId, result: Result<Outcome, Fault>) {
        self.changed = true;
        if let Err(fault) = &result {
            tracing::info!(%fault, "an intent was refused");
        }
        let Some(waiting) = self.waiting.remove(&id) else {
            return;
        };
        let reply = match result {
            Ok(Outcome::Created(created)) => Ok(Reply::Created(created)),
            Ok(Outcome::Joined(joined)) => Ok(Reply::Joined(joined)),
            Ok(Outcome::Left) => {
                self.leavers.push(waiting);
                return;
            }
            Ok(Outcome::Resuming | Outcome::Ruled) => Ok(Reply::Done),
            Err(fault) => Err(fault),
        };
        // Who asked may have gone away; the party is there all the same.
        let _ = waiting.send(reply);
    }

    /// Without a party, closes what only a party needs, and then tells those who left. Whether there may be
    /// more to carry out.
    async fn settle(&mut self) -> bool {
        if !std::mem::take(&mut self.changed) && self.leavers.is_empty() {
            return false;
        }
        let closes = self.sockets.is_some() && !self.in_party();
        if closes {
            self.close_sockets().await;
            self.tell_soon();
        }
        self.tell_leavers();
        closes
    }

    fn tell_leavers(&mut self) {
        for leaver in self.leavers.drain(..) {
            let _ = leaver.send(Ok(Reply::Done));
        }
    }
}

fn log(event: &Event) {
    match event {
        Event::Party { .. } | Event::Peer { .. } | Event::Control(_) => tracing::info!("{event}"),
        // Shows an address.
        Event::Path { .. } => tracing::debug!("{event}"),
        Event::Punch { .. } => tracing::debug!("{event}"),
        Event::Refused(_) => tracing::warn!("{event}"),
    }
}
