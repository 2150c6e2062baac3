//! What the tray shows and what a click in its menu means, from the engine's news alone.
//!
//! [`Tray::of`] is drawn and [`Item::chosen`] is done by the module `tray`; nothing is decided there.

use crate::view::EngineView;
use crate::words::{counted, text};
use lanrage_proto::ipc::{MemberStatus, PartyState, PartyStatus, PeerState, Status};

/// What the icon tells, each by a shape of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// No engine.
    Away,
    /// No party.
    Idle,
    /// On the way into or out of a party.
    Entering,
    /// In a party.
    Party,
    /// A condition, or a member who can't be reached.
    Trouble,
}

/// A line of the menu that can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item {
    Open,
    JoinFromClipboard,
    CopyInvite,
    CopyId,
    Leave,
    Quit,
}

/// What choosing an item means now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Bring the window to the front.
    Show,
    /// Read the clipboard, fill the window's form with the invite that it holds, and let the player decide there.
    Offer,
    /// Put this on the clipboard.
    Copy(String),
    /// Leave, or stop the way in.
    Leave,
    /// Bring the window to the front and ask there: it would end the party for others.
    AskToLeave,
    /// End the app. The engine and its party go on.
    Quit,
    /// It is no longer possible: the menu was open while things changed.
    Nothing,
}

/// A line of the menu as it is to be drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) item: Item,
    pub(crate) text: String,
    pub(crate) enabled: bool,
}

/// The whole tray as it is to be drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tray {
    pub(crate) sign: Sign,
    /// The state in words: the menu's first line, and the tooltip.
    pub(crate) line: String,
    /// In the order of [`Item::ALL`].
    pub(crate) entries: Vec<Entry>,
}

impl Tray {
    /// The tray for this state.
    pub(crate) fn of(view: &EngineView) -> Self {
        let entry = |item: Item| Entry {
            item,
            text: item.text(view),
            enabled: item.chosen(view) != Deed::Nothing,
        };
        Self {
            sign: sign(view),
            line: line(view),
            entries: Item::ALL.into_iter().map(entry).collect(),
        }
    }
}

impl Item {
    /// All, as they stand in the menu.
    pub(crate) const ALL: [Self; 6] = [
        Self::Open,
        Self::JoinFromClipboard,
        Self::CopyInvite,
        Self::CopyId,
        Self::Leave,
        Self::Quit,
    ];

    /// Its name between the menu and its events.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::JoinFromClipboard => "join",
            Self::CopyInvite => "invite",
            Self::CopyId => "id",
            Self::Leave => "leave",
            Self::Quit => "quit",
        }
    }

    /// The item with this name.
    pub(crate) fn of_id(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|item| item.id() == id)
    }

    /// Whether a line between groups stands above it.
    pub(crate) fn begins_group(self) -> bool {
        match self {
            Self::Open | Self::JoinFromClipboard | Self::Quit => true,
            Self::CopyInvite | Self::CopyId | Self::Leave => false,
        }
    }

    /// What choosing it means now.
    pub(crate) fn chosen(self, view: &EngineView) -> Deed {
        let status = status(view);
        let party = status.and_then(|status| status.party.as_ref());
        let shared = party.filter(|party| is_in(party));
        let copy = |text: Option<&String>| text.map_or(Deed::Nothing, |text| Deed::Copy(text.clone()));
        match self {
            Self::Open => Deed::Show,
            Self::JoinFromClipboard if status.is_some() && party.is_none() => Deed::Offer,
            Self::JoinFromClipboard => Deed::Nothing,
            Self::CopyInvite => copy(shared.and_then(|party| party.invite.as_ref())),
            Self::CopyId => copy(shared.and_then(|party| party.id.as_ref())),
            Self::Leave => party.map_or(Deed::Nothing, leaving),
            Self::Quit => Deed::Quit,
        }
    }

    fn text(self, view: &EngineView) -> String {
        let party = status(view).and_then(|status| status.party.as_ref());
        let key = match (self, party) {
            (Self::Open, _) => "tray.open",
            (Self::JoinFromClipboard, _) => "tray.join",
            (Self::CopyInvite, _) => "tray.invite",
            (Self::CopyId, _) => "tray.id",
            (Self::Leave, Some(party)) if is_entering(party) => "tray.cancel",
            (Self::Leave, Some(party)) if leaving(party) == Deed::AskToLeave => "tray.leave.ask",
            (Self::Leave, _) => "tray.leave",
            (Self::Quit, Some(party)) if is_in(party) => "tray.quit.party",
            (Self::Quit, _) => "tray.quit",
        };
        text(key, &[])
    }
}

fn status(view: &EngineView) -> Option<&Status> {
    match view {
        EngineView::Here { status } => Some(status),
        EngineView::Connecting | EngineView::Away { .. } => None,
    }
}

fn is_entering(party: &PartyStatus) -> bool {
    matches!(party.state, PartyState::Creating | PartyState::Joining)
}

fn is_in(party: &PartyStatus) -> bool {
    matches!(party.state, PartyState::Active | PartyState::Rejoining)
}

fn leaving(party: &PartyStatus) -> Deed {
    // Another user's party comes without its ID, and is not ours to leave.
    if party.id.is_none() || party.state == PartyState::Leaving {
        Deed::Nothing
    } else if is_in(party)
        && others(party).count() > 0
        && party.members.iter().any(|own| own.is_self && own.host)
    {
        Deed::AskToLeave
    } else {
        Deed::Leave
    }
}

/// The members who are in the party now, without the own row.
fn others(party: &PartyStatus) -> impl Iterator<Item = &MemberStatus> {
    let there = |member: &&MemberStatus| !member.is_self && member.state != PeerState::Disconnected;
    party.members.iter().filter(there)
}

fn unreached(party: &PartyStatus) -> usize {
    others(party)
        .filter(|member| matches!(member.state, PeerState::Lost | PeerState::Failed))
        .count()
}

fn sign(view: &EngineView) -> Sign {
    let Some(status) = status(view) else {
        return Sign::Away;
    };
    match &status.party {
        _ if !status.conditions.is_empty() => Sign::Trouble,
        None => Sign::Idle,
        Some(party) if !is_in(party) => Sign::Entering,
        Some(party) if unreached(party) > 0 => Sign::Trouble,
        Some(_) => Sign::Party,
    }
}

fn line(view: &EngineView) -> String {
    let status = match view {
        EngineView::Connecting => return text("engine.connecting", &[]),
        EngineView::Away { fault } => {
            let details: Vec<(&str, &str)> = fault
                .details
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            return text(&format!("fault.{}.message", fault.code), &details);
        }
        EngineView::Here { status } => status,
    };
    let state = status
        .party
        .as_ref()
        .map_or_else(|| text("tray.idle", &[]), party_line);
    if status.conditions.is_empty() {
        state
    } else {
        text("tray.attention", &[("state", &state)])
    }
}

fn party_line(party: &PartyStatus) -> String {
    let named = |key: &str| {
        let key = if party.name.is_empty() {
            format!("{key}.unnamed")
        } else {
            key.to_owned()
        };
        text(&key, &[("party", &party.name)])
    };
    match party.state {
        PartyState::Creating => return named("enter.creating"),
        PartyState::Joining => return named("enter.joining"),
        PartyState::Leaving => return text("party.leaving", &[]),
        PartyState::Active | PartyState::Rejoining => {}
    }
    let players = counted("verdict.players", others(party).count() + 1);
    let party_name = ("party", party.name.as_str());
    match unreached(party) {
        0 => text("tray.party", &[party_name, ("players", &players)]),
        gone => text(
            "tray.party.gone",
            &[party_name, ("players", &players), ("count", &gone.to_string())],
        ),
    }
}

#[cfg(test)]
mod tests;
