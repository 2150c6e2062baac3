//! What is worth a notification, and which parties were entered and have ended: seen in the engine's news alone.

use crate::app::Notify;
use crate::view::EngineView;
use crate::words::text;
use lanrage_proto::FaultCode;
use lanrage_proto::ipc::{MemberStatus, PartyState, PartyStatus, PeerState};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Who shows up so soon after the player came was there before.
const SETTLING: Duration = Duration::from_secs(5);

/// Something to tell a player who does not look at the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Somebody came.
    Joined {
        /// Who.
        member: String,
        /// Where.
        party: String,
    },
    /// Somebody left.
    Left {
        /// Who.
        member: String,
        /// Where.
        party: String,
    },
    /// The connection to somebody is lost.
    Lost {
        /// To whom.
        member: String,
    },
    /// The party was ended by its host.
    Dissolved {
        /// Which.
        party: String,
    },
}

impl Notice {
    /// Whether the player wants to be told.
    pub(crate) fn is_wanted(&self, notify: Notify) -> bool {
        match self {
            Self::Joined { .. } => notify.joined,
            Self::Left { .. } => notify.left,
            Self::Lost { .. } => notify.lost,
            Self::Dissolved { .. } => notify.dissolved,
        }
    }

    /// As the player reads it.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Joined { member, party } => text("notice.joined", &[("member", member), ("party", party)]),
            Self::Left { member, party } => text("notice.left", &[("member", member), ("party", party)]),
            Self::Lost { member } => text("notice.lost", &[("member", member)]),
            Self::Dissolved { party } => text("notice.dissolved", &[("party", party)]),
        }
    }
}

/// What became of a party, for who remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Passage {
    /// The player is in it.
    Entered {
        /// Its ID.
        id: String,
        /// The ID with where to find it.
        invite: Option<String>,
        /// What it is called.
        name: String,
    },
    /// It is no more.
    Ended {
        /// Its ID.
        id: String,
    },
}

/// What the engine's news meant.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// In the order of the member list.
    pub(crate) notices: Vec<Notice>,
    /// At most one.
    pub(crate) passage: Option<Passage>,
}

/// Follows the engine's news.
#[derive(Debug, Default)]
pub(crate) struct Watcher {
    party: Option<Watched>,
}

/// The party that is being watched.
#[derive(Debug)]
struct Watched {
    id: String,
    invite: Option<String>,
    name: String,
    hosted: bool,
    leaving: bool,
    since: Instant,
    members: BTreeMap<String, Row>,
}

/// A member as it was shown last.
#[derive(Debug, Clone)]
struct Row {
    name: String,
    state: PeerState,
    /// It was told that they came, or they were there before.
    told: bool,
    /// It was told that the connection is lost, and it was not back since.
    lost: bool,
}

impl Watcher {
    /// What this news means. News that come faster than they are seen may be merged.
    pub(crate) fn see(&mut self, now: Instant, view: &EngineView) -> Seen {
        // An engine that went away took no party with it.
        let EngineView::Here { status } = view else {
            return Seen::default();
        };
        // A party of another user of this computer comes without its ID.
        let shown = status
            .party
            .as_ref()
            .and_then(|party| Some((party, party.id.as_ref()?)));
        let mut seen = Seen::default();
        let other = shown.map(|(_, id)| id) != self.party.as_ref().map(|party| &party.id);
        if other && let Some(gone) = self.party.take() {
            let dissolved = status
                .conditions
                .iter()
                .any(|fault| fault.code == FaultCode::PartyDissolved);
            if dissolved {
                seen.notices.push(Notice::Dissolved {
                    party: gone.name.clone(),
                });
            }
            // The host's leave ends the party.
            if dissolved || (gone.hosted && gone.leaving) {
                seen.passage = Some(Passage::Ended { id: gone.id });
            }
        }
        let Some((party, id)) = shown else { return seen };
        match (&mut self.party, party.state) {
            (Some(watched), PartyState::Leaving) => watched.leaving = true,
            (Some(watched), PartyState::Active | PartyState::Rejoining) => {
                seen.notices.extend(watched.members(now, party));
                if watched.invite != party.invite || watched.name != party.name {
                    watched.name.clone_from(&party.name);
                    watched.invite.clone_from(&party.invite);
                    seen.passage = Some(watched.entered());
                }
            }
            (None, PartyState::Active | PartyState::Rejoining) if !party.name.is_empty() => {
                let mut watched = Watched {
                    id: id.clone(),
                    invite: party.invite.clone(),
                    name: party.name.clone(),
                    hosted: false,
                    leaving: false,
                    since: now,
                    members: BTreeMap::new(),
                };
                watched.members(now, party);
                seen.passage = Some(watched.entered());
                self.party = Some(watched);
            }
            // On the way in.
            _ => {}
        }
        seen
    }
}

impl Watched {
    fn entered(&self) -> Passage {
        Passage::Entered {
            id: self.id.clone(),
            invite: self.invite.clone(),
            name: self.name.clone(),
        }
    }

    /// Compares the member list with the one before.
    fn members(&mut self, now: Instant, party: &PartyStatus) -> Vec<Notice> {
        self.hosted = party.members.iter().any(|member| member.is_self && member.host);
        let settling = now.saturating_duration_since(self.since) < SETTLING;
        let mut notices = Vec::new();
        let others = party.members.iter().filter(|member| !member.is_self);
        let mut before = std::mem::take(&mut self.members);
        for member in others {
            let row = self.member(before.remove(&member.address), member, settling, &mut notices);
            self.members.insert(member.address.clone(), row);
        }
        // Who was lost before was told of already.
        for gone in before.into_values() {
            if gone.told
                && !matches!(
                    gone.state,
                    PeerState::Disconnected | PeerState::Lost | PeerState::Failed
                )
            {
                notices.push(self.left(gone.name));
            }
        }
        notices
    }

    fn member(
        &self,
        before: Option<Row>,
        member: &MemberStatus,
        settling: bool,
        notices: &mut Vec<Notice>,
    ) -> Row {
        let known = before.is_some();
        let mut row = before.unwrap_or_else(|| Row {
            name: String::new(),
            state: member.state,
            told: settling,
            lost: false,
        });
        row.name.clone_from(&member.name);
        let here = member.state != PeerState::Disconnected;
        // The name comes with the member's record, a moment after the member.
        if !row.told && here && !row.name.is_empty() {
            row.told = true;
            notices.push(Notice::Joined {
                member: row.name.clone(),
                party: self.name.clone(),
            });
        }
        if known && row.state != member.state && row.told {
            match member.state {
                PeerState::Disconnected => {
                    // Who comes back is told again.
                    row.told = false;
                    notices.push(self.left(row.name.clone()));
                }
                PeerState::Lost if !row.lost => {
                    row.lost = true;
                    notices.push(Notice::Lost {
                        member: row.name.clone(),
                    });
                }
                PeerState::Connected => row.lost = false,
                PeerState::Lost | PeerState::Connecting | PeerState::Degraded | PeerState::Failed => {}
            }
        }
        row.state = member.state;
        row
    }

    fn left(&self, member: String) -> Notice {
        Notice::Left {
            member,
            party: self.name.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
