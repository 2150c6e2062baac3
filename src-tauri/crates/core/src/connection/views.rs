//! Whether a peer is shown the same party as this member.

use super::Peer;
use std::time::{Duration, Instant};

/// Words of those who left are passed on after a difference of views this long, and again this often.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// A different view of the party is named only when it lasts.
const VIEW_DIFFERS: Duration = Duration::from_secs(10);
/// … without a gap of this length: room for one probe while a side waits for a list and has no view …
const VIEW_GAP: Duration = Duration::from_millis(2500);
/// … and this long after the own fresh list, by when the other side has its own or none to compare.
const VIEW_SETTLES: Duration = Duration::from_secs(4);

impl Peer {
    pub(super) fn compare(&mut self, now: Instant, theirs: u64, ours: u64) {
        if theirs == 0 || ours == 0 {
            // Who can't tell neither confirms nor ends what was found just before.
        } else if theirs == ours {
            self.differs = None;
        } else {
            let goes_on = |(_, last): &(Instant, Instant)| now.saturating_duration_since(*last) < VIEW_GAP;
            let since = self.differs.filter(goes_on).map_or(now, |(since, _)| since);
            self.differs = Some((since, now));
        }
    }

    /// Since when the peer seems to be shown another party than this member, if it did lately.
    pub(crate) fn differs_since(&self, now: Instant) -> Option<Instant> {
        let lately = |(_, last): &(Instant, Instant)| now.saturating_duration_since(*last) < VIEW_GAP;
        self.differs.filter(lately).map(|(since, _)| since)
    }

    /// Whether a difference calls for passing on the words of those who left; for as long as nobody is blamed for it.
    pub(crate) fn wants_last_words(&mut self, now: Instant) -> bool {
        let Some(since) = self.differs_since(now) else {
            return false;
        };
        let lasted = now.saturating_duration_since(since);
        let recent = |told: Instant| now.saturating_duration_since(told) < LAST_WORDS;
        let wants = (LAST_WORDS..VIEW_DIFFERS).contains(&lasted) && !self.last_words.is_some_and(recent);
        if wants {
            self.last_words = Some(now);
        }
        wants
    }

    /// Whether the peer is shown another party than this member: for a while, and still after both had the time to
    /// get a fresh list. `listed` is when this side last got its own.
    pub(crate) fn sees_otherwise(&self, now: Instant, listed: Option<Instant>) -> bool {
        let (Some(since), Some((_, last)), Some(listed)) = (self.differs_since(now), self.differs, listed)
        else {
            return false;
        };
        last >= since + VIEW_DIFFERS && last >= listed + VIEW_SETTLES && listed >= since
    }
}
