//! Relays: which the home offers, and what becomes of them.

use super::Member;
use crate::control::Asked;
use crate::party::Party;
use crate::path::TransportId;
use crate::relays::RelayEvent;
use lanrage_proto::control::{RelayOffer, Request};
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
        if let RelayEvent::Down { reason } = event {
            tracing::info!(%reason, "a relay is away");
        }
        if !self.desk.relays.event(id, event) {
            return;
        }
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let view = active.view();
        let mut cx = self.desk.context(&active.ident, active.opened.range, view);
        for peer in active.roster.peers_mut() {
            peer.relays_changed(now, &mut cx);
            peer.relay_is_new(now, id);
        }
        self.publish(now);
    }
}
