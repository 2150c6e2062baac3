//! What the tray shows and what a click in its menu means, from the engine's news and the app's memory alone.
//!
//! [`Tray::of`] is drawn and [`Item::chosen`] is done by the module `tray`; nothing is decided there.

use crate::app::RecentParty;
use crate::view::EngineView;
use crate::words::{counted, text};
use lanrage_proto::ipc::{MemberStatus, PartyState, PartyStatus, PathKind, PeerState, Status};

/// Parties in the menu: more would be a list to read, not a quick way.
const RECENT: usize = 4;
/// Members in the menu; of more it says how many.
const MEMBERS: usize = 16;

/// What the tray follows from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Facts {
    /// The engine's news.
    pub(crate) view: EngineView,
    /// The parties to join again, the last one first.
    pub(crate) recent: Vec<RecentParty>,
    /// Whether quitting the app leaves the party as well.
    pub(crate) leave_on_quit: bool,
    /// Whether the app starts when the user signs in; absent where the system can't be asked.
    pub(crate) start_at_login: Option<bool>,
}

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
    /// One of the parties to join again, by its place.
    Recent(usize),
    /// One of the other members, by their place.
    Member(usize),
    CopyInvite,
    CopyId,
    Leave,
    StartAtLogin,
    Quit,
}

/// What choosing an item means now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Bring the window to the front.
    Show,
    /// Read the clipboard, fill the window's form with the invite that it holds, and let the player decide there.
    Offer,
    /// Join the party of this key, which the player was in before.
    Join(String),
    /// Put this on the clipboard.
    Copy(String),
    /// Leave, or stop the way in.
    Leave,
    /// Bring the window to the front and ask there: it would end the party for others.
    AskToLeave,
    /// Start the app when the user signs in, or no longer.
    StartAtLogin(bool),
    /// End the app. The engine and its party go on.
    Quit,
    /// Leave the party and end the app.
    LeaveAndQuit,
    /// It is no longer possible: the menu was open while things changed.
    Nothing,
}

/// A line of the menu as it is to be drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) item: Item,
    pub(crate) text: String,
    pub(crate) enabled: bool,
    /// A tick before it, or the place for one.
    pub(crate) checked: Option<bool>,
}

/// The whole tray as it is to be drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tray {
    pub(crate) sign: Sign,
    /// The state in words: the menu's first line, and the tooltip.
    pub(crate) line: String,
    /// In the order of [`Item::ALL`].
    pub(crate) entries: Vec<Entry>,
    /// The parties to join again, below [`Item::JoinFromClipboard`].
    pub(crate) recent: Vec<Entry>,
    /// What the menu of the other members is called.
    pub(crate) players: String,
    /// The other members.
    pub(crate) members: Vec<Entry>,
}

impl Tray {
    /// The tray for this state.
    pub(crate) fn of(facts: &Facts) -> Self {
        let entry = |item: Item| Entry {
            item,
            text: item.text(facts),
            enabled: item.chosen(facts) != Deed::Nothing,
            checked: match item {
                Item::StartAtLogin => Some(facts.start_at_login == Some(true)),
                _ => None,
            },
        };
        let view = &facts.view;
        // What can't be joined now is no use in the menu.
        let recent = if may_join(view) {
            facts.recent.len().min(RECENT)
        } else {
            0
        };
        let there = party(view).map_or(0, |party| others(party).count());
        // One more says how many more there are.
        let members = if there > MEMBERS { MEMBERS + 1 } else { there };
        Self {
            sign: sign(view),
            line: line(view),
            entries: Item::ALL.into_iter().map(entry).collect(),
            recent: (0..recent).map(Item::Recent).map(entry).collect(),
            players: text("tray.players", &[]),
            members: (0..members).map(Item::Member).map(entry).collect(),
        }
    }
}

impl Item {
    /// All that are always there, as they stand in the menu.
    pub(crate) const ALL: [Self; 7] = [
        Self::Open,
        Self::JoinFromClipboard,
        Self::CopyInvite,
        Self::CopyId,
        Self::Leave,
        Self::StartAtLogin,
        Self::Quit,
    ];

    /// Its name between the menu and its events.
    pub(crate) fn id(self) -> String {
        match self {
            Self::Open => "open".to_owned(),
            Self::JoinFromClipboard => "join".to_owned(),
            Self::Recent(place) => format!("recent.{place}"),
            Self::Member(place) => format!("member.{place}"),
            Self::CopyInvite => "invite".to_owned(),
            Self::CopyId => "id".to_owned(),
            Self::Leave => "leave".to_owned(),
            Self::StartAtLogin => "start".to_owned(),
            Self::Quit => "quit".to_owned(),
        }
    }

    /// The item with this name.
    pub(crate) fn of_id(id: &str) -> Option<Self> {
        match id.split_once('.') {
            Some(("recent", place)) => Some(Self::Recent(place.parse().ok()?)),
            Some(("member", place)) => Some(Self::Member(place.parse().ok()?)),
            _ => Self::ALL.into_iter().find(|item| item.id() == id),
        }
    }

    /// Whether a line between groups stands above it.
    pub(crate) fn begins_group(self) -> bool {
        match self {
            Self::Open | Self::JoinFromClipboard | Self::StartAtLogin | Self::Quit => true,
            Self::Recent(_) | Self::Member(_) | Self::CopyInvite | Self::CopyId | Self::Leave => false,
        }
    }

    /// What choosing it means now.
    pub(crate) fn chosen(self, facts: &Facts) -> Deed {
        let view = &facts.view;
        let party = party(view);
        let shared = party.filter(|party| is_in(party));
        let copy = |text: Option<&String>| text.map_or(Deed::Nothing, |text| Deed::Copy(text.clone()));
        match self {
            Self::Open => Deed::Show,
            Self::JoinFromClipboard if may_join(view) => Deed::Offer,
            Self::Recent(place) if may_join(view) => facts
                .recent
                .get(place)
                .map_or(Deed::Nothing, |party| Deed::Join(party.key.clone())),
            Self::JoinFromClipboard | Self::Recent(_) => Deed::Nothing,
            Self::Member(place) if place < MEMBERS => {
                let member = party.and_then(|party| others(party).nth(place));
                copy(member.map(|member| &member.address))
            }
            Self::Member(_) => Deed::Nothing,
            Self::CopyInvite => copy(shared.and_then(|party| party.invite.as_ref())),
            Self::CopyId => copy(shared.and_then(|party| party.id.as_ref())),
            Self::Leave => party.map_or(Deed::Nothing, leaving),
            Self::StartAtLogin => facts
                .start_at_login
                .map_or(Deed::Nothing, |on| Deed::StartAtLogin(!on)),
            Self::Quit => match facts.leaving_by_quit() {
                Deed::Nothing => Deed::Quit,
                Deed::Leave => Deed::LeaveAndQuit,
                asked => asked,
            },
        }
    }

    fn text(self, facts: &Facts) -> String {
        let party = party(&facts.view);
        let key = match (self, party) {
            (Self::Recent(place), _) => {
                let name = facts.recent.get(place).map_or("", |party| &party.name);
                return text("tray.recent", &[("party", name)]);
            }
            (Self::Member(place), Some(party)) => return member_text(party, place),
            (Self::Member(_), None) => return String::new(),
            (Self::Open, _) => "tray.open",
            (Self::JoinFromClipboard, _) => "tray.join",
            (Self::CopyInvite, _) => "tray.invite",
            (Self::CopyId, _) => "tray.id",
            (Self::Leave, Some(party)) if is_entering(party) => "tray.cancel",
            (Self::Leave, Some(party)) if leaving(party) == Deed::AskToLeave => "tray.leave.ask",
            (Self::Leave, _) => "tray.leave",
            (Self::StartAtLogin, _) => "tray.autostart",
            (Self::Quit, _) if facts.leaving_by_quit() == Deed::AskToLeave => "tray.quit.leave.ask",
            (Self::Quit, _) if facts.leaving_by_quit() == Deed::Leave => "tray.quit.leave",
            (Self::Quit, Some(party)) if is_in(party) => "tray.quit.party",
            (Self::Quit, _) => "tray.quit",
        };
        text(key, &[])
    }
}

impl Facts {
    /// How quitting the app leaves the party.
    fn leaving_by_quit(&self) -> Deed {
        match party(&self.view) {
            Some(party) if self.leave_on_quit => leaving(party),
            _ => Deed::Nothing,
        }
    }
}

fn party(view: &EngineView) -> Option<&PartyStatus> {
    status(view)?.party.as_ref()
}

fn may_join(view: &EngineView) -> bool {
    status(view).is_some_and(|status| status.party.is_none())
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

/// A member with ping and path, or with what is wrong.
fn member_text(party: &PartyStatus, place: usize) -> String {
    let more = others(party).count().saturating_sub(MEMBERS);
    if place >= MEMBERS {
        return text("tray.members.more", &[("count", &more.to_string())]);
    }
    let Some(member) = others(party).nth(place) else {
        return String::new();
    };
    let unnamed = text("member.unnamed", &[]);
    let name = if member.name.is_empty() {
        &unnamed
    } else {
        &member.name
    };
    let reached = matches!(member.state, PeerState::Connected | PeerState::Degraded);
    match (member.rtt_ms, member.path) {
        (Some(rtt), Some(path)) if reached => {
            let path = match path {
                PathKind::Lan => "member.path.lan",
                PathKind::Direct => "member.path.direct",
                PathKind::Relayed => "member.path.relayed",
            };
            // Less than a millisecond is no nought.
            let ping = format!("{:.0}", rtt.max(1.0));
            text(
                "tray.member",
                &[("member", name), ("ping", &ping), ("path", &text(path, &[]))],
            )
        }
        _ => {
            let state = match member.state {
                PeerState::Connecting => "member.state.connecting",
                PeerState::Connected => "member.state.connected",
                PeerState::Degraded => "member.state.degraded",
                PeerState::Failed => "member.state.failed",
                PeerState::Lost => "member.state.lost",
                PeerState::Disconnected => "member.state.disconnected",
            };
            text(
                "tray.member.unreached",
                &[("member", name), ("state", &text(state, &[]))],
            )
        }
    }
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
