//! Moving: another network, sleep, and silence that may mean either. What rests on where this computer was is looked at
//! anew at once, and what can't have lived through it is made anew without waiting for its time-outs.

use super::Member;
use crate::io::{Home, Network, Output};
use crate::party::{Adapter, Party, Reach};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// After a change of network that took nothing away, the home has this long to show that it is still reached.
const HOME_CHECK: Duration = Duration::from_secs(3);
/// When a peer is silent, the reason may be on this side: then the home is silent as well, and this is long enough for
/// an answer that TCP had to send twice.
const HOME_ALARM: Duration = Duration::from_millis(1500);
/// However many peers fall silent, it is looked into no more often than this.
const ALARMS: Duration = Duration::from_millis(500);
/// What was made anew is not made anew again within this: a move is noticed in several ways, one after the other.
const SAME_MOVE: Duration = Duration::from_secs(5);

impl Member {
    /// This computer is connected otherwise.
    pub(super) fn network(&mut self, now: Instant, network: Network) {
        if self.desk.network == network {
            return;
        }
        let before = std::mem::replace(&mut self.desk.network, network);
        let after = &self.desk.network;
        let gone = addresses(&before).any(|address| addresses(after).all(|now| now != address));
        // What is sent from here may arrive from elsewhere now, as by another network's router.
        let moved = gone || before.outward != after.outward;
        let other = moved || addresses(after).ne(addresses(&before));
        self.changed = true;
        if moved {
            self.renewed = Some(now);
            self.desk.nat.anew(now);
            self.desk.relays.anew();
        }
        match &mut self.party {
            Party::Active(active) => {
                let view = active.view();
                let mut cx = self.desk.context(&active.ident, active.opened.range, view);
                for peer in active.roster.peers_mut() {
                    peer.network_changed(now, moved, &mut cx);
                }
                if matches!(active.adapter, Adapter::Failed) {
                    // What stood in the way may be gone.
                    active.adapter = Adapter::Waiting;
                    self.wishes.forget_adapter();
                }
                if moved {
                    self.dial_again(now, "this computer moved");
                } else if other {
                    self.check_home(now, HOME_CHECK);
                }
                self.publish(now);
            }
            Party::Creating(creating) => {
                if let Some(seek) = &mut creating.seek {
                    seek.hurry(now);
                }
            }
            Party::Joining(joining) => joining.seek.hurry(now),
            Party::Idle | Party::Leaving(_) => {}
        }
    }

    /// This computer slept: others have gone on without it.
    pub(super) fn slept(&mut self, now: Instant) {
        self.renewed = Some(now);
        self.desk.nat.anew(now);
        self.desk.relays.anew();
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let view = active.view();
        let mut cx = self.desk.context(&active.ident, active.opened.range, view);
        for peer in active.roster.peers_mut() {
            peer.slept(now, &mut cx);
        }
        self.dial_again(now, "this computer slept");
    }

    /// Others see this computer at another address or port than before: relays don't know it there. No connection lives
    /// through another address (`displaced`); another port may be UDP's alone.
    pub(super) fn seen_elsewhere(&mut self, now: Instant, displaced: bool) {
        let recent = |at: Instant| now.saturating_duration_since(at) < SAME_MOVE;
        if self.renewed.is_some_and(recent) {
            return self.check_home(now, HOME_ALARM);
        }
        self.renewed = Some(now);
        self.desk.relays.anew();
        if displaced {
            self.dial_again(now, "this computer is seen elsewhere");
        } else {
            self.check_home(now, HOME_ALARM);
        }
    }

    /// The home is reached again: relays that are silent need not be waited for, unless they are being reached anew.
    pub(super) fn internet_is_back(&mut self, now: Instant) {
        let recent = |at: Instant| now.saturating_duration_since(at) < SAME_MOVE;
        if !self.renewed.is_some_and(recent) {
            self.desk.relays.anew_where_silent();
        }
    }

    /// A peer is silent: is it still known where this computer is reached, and does the home answer?
    pub(super) fn alarm(&mut self, now: Instant) {
        let recent = |at: Instant| now.saturating_duration_since(at) < ALARMS;
        if self.alarmed.is_some_and(recent) {
            return;
        }
        self.alarmed = Some(now);
        self.desk.nat.hurry(now);
        self.check_home(now, HOME_ALARM);
    }

    /// The founder's computer is there again: where the party lives on it, the home is worth asking before its turn.
    pub(super) fn founder_is_back(&mut self, now: Instant) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        if let (Home::Founder(_), Reach::Seeking(seek)) = (&active.home, &mut active.reach) {
            seek.knock_again(now, &mut self.desk.out);
        }
    }

    /// Finds out soon whether the home is still reached; one that is being looked for is looked for at once.
    fn check_home(&mut self, now: Instant, within: Duration) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        match &mut active.reach {
            Reach::Home(link) => link.check(now, within, &mut self.desk.out),
            Reach::Seeking(seek) => seek.hurry(now),
            Reach::Starting | Reach::Superseded => {}
        }
    }

    /// Connects to the home anew: TCP would notice much later that the connection is dead.
    fn dial_again(&mut self, now: Instant, cause: &str) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        match &mut active.reach {
            // Within this computer nothing has changed.
            _ if active.home == Home::Here => {}
            Reach::Home(link) => {
                let conn = link.conn();
                self.desk.out.push_back(Output::Hangup(conn));
                self.seek_again(now, cause);
            }
            Reach::Seeking(seek) => {
                seek.hang_up(&mut self.desk.out);
                seek.hurry(now);
            }
            Reach::Starting | Reach::Superseded => {}
        }
    }
}

fn addresses(network: &Network) -> impl Iterator<Item = IpAddr> {
    network.addresses.iter().map(|(address, _)| *address)
}
