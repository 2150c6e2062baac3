//! The channels of one allocation (RFC 8656 §12): a number for each peer, kept alive while the peer is wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A channel lasts ten minutes and the permission that it brings five; it is bound anew after this long, so that
/// neither ends and a few lost requests do no harm.
const AGAIN: Duration = Duration::from_secs(4 * 60);
/// How long a channel lasts.
const LASTS: Duration = Duration::from_secs(10 * 60);
/// A number rests so long after its channel's end before another peer may get it (RFC 8656 §12).
const RESTS: Duration = Duration::from_secs(5 * 60);
/// A peer's address that the relay refused is asked for again after this long …
const REFUSED: Duration = Duration::from_secs(60);
/// … and one that it gave no answer for after this.
const UNANSWERED: Duration = Duration::from_secs(5);
/// The numbers there are.
const FIRST: u16 = 0x4000;
const LAST: u16 = 0x4FFF;

struct Channel {
    number: u16,
    /// When it was bound last.
    bound: Option<Instant>,
    /// When it is to be bound, unless a request is under way.
    next: Option<Instant>,
    wanted: bool,
}

#[derive(Default)]
pub(super) struct Channels {
    by_peer: BTreeMap<SocketAddr, Channel>,
    by_number: BTreeMap<u16, SocketAddr>,
    last: Option<u16>,
}

impl Channels {
    /// Which peers are to have one.
    pub(super) fn want(&mut self, now: Instant, peers: &BTreeSet<SocketAddr>) {
        for (peer, channel) in &mut self.by_peer {
            let wanted = peers.contains(peer);
            if wanted && !channel.wanted && channel.next.is_some() && !channel.holds(now) {
                channel.next = Some(now);
            }
            channel.wanted = wanted;
        }
        self.forget(now);
        for peer in peers {
            if self.by_peer.contains_key(peer) {
                continue;
            }
            let Some(number) = self.free() else { return };
            self.last = Some(number);
            self.by_number.insert(number, *peer);
            let channel = Channel {
                number,
                bound: None,
                next: Some(now),
                wanted: true,
            };
            self.by_peer.insert(*peer, channel);
        }
    }

    /// The channels that are to be bound now, each said once.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(u16, SocketAddr)> {
        let mut due = Vec::new();
        for (peer, channel) in &mut self.by_peer {
            if channel.wanted && channel.next.is_some_and(|at| now >= at) {
                channel.next = None;
                due.push((channel.number, *peer));
            }
        }
        due
    }

    pub(super) fn bound(&mut self, now: Instant, peer: SocketAddr) {
        if let Some(channel) = self.by_peer.get_mut(&peer) {
            channel.bound = Some(now);
            channel.next = Some(now + AGAIN);
        }
    }

    /// The relay did not bind it, or did not answer.
    pub(super) fn failed(&mut self, now: Instant, peer: SocketAddr, refused: bool) {
        if let Some(channel) = self.by_peer.get_mut(&peer) {
            channel.next = Some(now + if refused { REFUSED } else { UNANSWERED });
        }
    }

    /// The number by which a peer is sent to.
    pub(super) fn number(&self, now: Instant, peer: SocketAddr) -> Option<u16> {
        let channel = self.by_peer.get(&peer)?;
        channel.holds(now).then_some(channel.number)
    }

    /// Whose number it is.
    pub(super) fn peer(&self, number: u16) -> Option<SocketAddr> {
        self.by_number.get(&number).copied()
    }

    pub(super) fn next_wake(&self) -> Option<Instant> {
        let wanted = self.by_peer.values().filter(|channel| channel.wanted);
        wanted.filter_map(|channel| channel.next).min()
    }

    /// Drops what nobody wants and the relay has forgotten as well.
    fn forget(&mut self, now: Instant) {
        let by_number = &mut self.by_number;
        self.by_peer.retain(|_, channel| {
            let over =
                channel.next.is_some() && channel.bound.is_none_or(|bound| now >= bound + LASTS + RESTS);
            let keep = channel.wanted || !over;
            if !keep {
                by_number.remove(&channel.number);
            }
            keep
        });
    }

    fn free(&self) -> Option<u16> {
        let after = self.last.map_or(FIRST, |last| last + 1);
        (after..=LAST)
            .chain(FIRST..=LAST)
            .find(|number| !self.by_number.contains_key(number))
    }
}

impl Channel {
    fn holds(&self, now: Instant) -> bool {
        self.bound.is_some_and(|bound| now < bound + LASTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], 1024 + n))
    }

    fn peers(range: std::ops::Range<u16>) -> BTreeSet<SocketAddr> {
        range.map(peer).collect()
    }

    #[test]
    fn a_wanted_channel_is_bound_before_its_permission_ends_and_one_that_is_not_is_left() {
        let start = Instant::now();
        let mut channels = Channels::default();
        channels.want(start, &peers(0..1));
        assert_eq!(channels.due(start), [(FIRST, peer(0))]);
        assert_eq!(channels.due(start), [], "once");
        assert_eq!(channels.number(start, peer(0)), None);
        channels.bound(start, peer(0));
        assert_eq!(channels.number(start, peer(0)), Some(FIRST));
        assert_eq!(channels.next_wake(), Some(start + AGAIN));
        assert_eq!(channels.due(start + AGAIN), [(FIRST, peer(0))]);
        channels.bound(start + AGAIN, peer(0));
        channels.want(start + AGAIN, &peers(1..2));
        assert_eq!(channels.next_wake(), Some(start + AGAIN));
        assert_eq!(channels.due(start + AGAIN * 3), [(FIRST + 1, peer(1))]);
        assert_eq!(
            channels.peer(FIRST),
            Some(peer(0)),
            "what it still sends is known"
        );
    }

    #[test]
    fn a_number_rests_before_another_peer_gets_it() {
        let mut now = Instant::now();
        let mut channels = Channels::default();
        let all = LAST - FIRST + 1;
        channels.want(now, &peers(0..all));
        for (_, peer) in channels.due(now) {
            channels.bound(now, peer);
        }
        channels.want(now, &peers(all..all + 1));
        assert_eq!(channels.due(now), [], "all numbers are taken");
        now += LASTS + RESTS;
        channels.want(now, &peers(all..all + 1));
        assert_eq!(channels.due(now), [(FIRST, peer(all))]);
    }

    #[test]
    fn what_is_refused_is_asked_for_again_later() {
        let now = Instant::now();
        let mut channels = Channels::default();
        channels.want(now, &peers(0..2));
        channels.due(now);
        channels.failed(now, peer(0), true);
        channels.failed(now, peer(1), false);
        assert_eq!(channels.due(now + UNANSWERED), [(FIRST + 1, peer(1))]);
        assert_eq!(channels.due(now + REFUSED), [(FIRST, peer(0))]);
    }
}
