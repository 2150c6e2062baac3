//! Relays: which the home offers, and what becomes of them.

use super::Member;
use crate::control::Asked;
use crate::party::Party;
use crate::path::TransportId;
use crate::relays::RelayEvent;
use lanrage_proto::FaultCode;
use lanrage_proto::control::{RelayOffer, Request};
use lanrage_proto::ipc::PeerTrouble;
use std::net::IpAddr;
use std::time::Instant;

impl Member {
    /// The home offers these, besides the player's own.
    pub(super) fn offered(&mut self, now: Instant, offers: &[RelayOffer]) {
        self.desk
            .relays
            .offered(now, &self.config.relays, offers, self.config.range);
    }

    /// Asks for fresh credentials before the old ones run out.
    pub(super) fn renew_relays(&mut self, now: Instant) {
        if let Party::Active(active) = &mut self.party
            && let Some(link) = active.link()
            && self.desk.relays.renewal_due(now)
        {
            link.ask(
                now,
                Asked::Relays,
                Request::RenewCredentials {},
                &mut self.desk.out,
            );
        }
    }

    /// Something happened to a relay.
    pub(super) fn relay(&mut self, now: Instant, id: TransportId, event: &RelayEvent) {
        match event {
            RelayEvent::Up(_) | RelayEvent::Tried { .. } => {}
            RelayEvent::Ending { reason } => tracing::info!(%reason, "a relay will end its allocation"),
            RelayEvent::Down { reason } => tracing::info!(%reason, "a relay is away"),
        }
        let before = self.desk.relays.up();
        if self.desk.relays.event(now, id, event) {
            let gone = before
                .iter()
                .find(|(gone, _)| *gone == id && !self.desk.relays.is_up(id));
            self.relays_changed(now, Some(id), gone.map(|(_, up)| up.relayed.ip()));
            if gone.is_some() {
                // The reason may be that it no longer knows this computer where it is.
                self.alarm(now);
            }
        }
    }

    /// Names the want of a relay while somebody can't be reached without one.
    pub(super) fn judge_relays(&mut self) {
        let Party::Active(active) = &self.party else {
            return;
        };
        let relayed = !self.desk.relays.up().is_empty();
        let wanted = active
            .roster
            .peers()
            .any(|peer| peer.trouble(relayed) == Some(PeerTrouble::NoRelay));
        match (wanted, self.conditions.has(FaultCode::NoRelay)) {
            (true, false) => self.conditions.raise(FaultCode::NoRelay.into()),
            (false, true) => self.conditions.clear(FaultCode::NoRelay),
            (true, true) | (false, false) => {}
        }
    }

    /// Gives back allocations that have a successor.
    pub(super) fn succeed_relays(&mut self, now: Instant) {
        if self.desk.relays.wake(now) {
            self.relays_changed(now, None, None);
        }
    }

    /// Tells peers and paths. What an allocation `anew` leads to is tried at once; of a relay that went everything that
    /// goes to its address is in doubt.
    fn relays_changed(&mut self, now: Instant, anew: Option<TransportId>, gone: Option<IpAddr>) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let view = active.view();
        let mut cx = self.desk.context(&active.ident, active.opened.range, view);
        for peer in active.roster.peers_mut() {
            peer.relays_changed(now, gone, &mut cx);
            if let Some(id) = anew {
                peer.relay_is_new(now, id);
            }
        }
        self.publish(now);
    }
}
