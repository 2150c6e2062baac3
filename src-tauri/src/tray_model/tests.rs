//! The tray in every state, and every click in it.

use super::*;
use lanrage_proto::ipc::{
    ControlMode, ControlState, ControlStatus, EngineState, EngineStatus, NatStatus, NatType,
};
use lanrage_proto::{Fault, FaultCode};

const ID: &str = "K7QF-9M2X-RT4B-W8HD-5NC7";
const INVITE: &str = "lanrage://join/K7QF-9M2X-RT4B-W8HD-5NC7?via=192.168.1.5:51820";

fn here(party: Option<PartyStatus>) -> EngineView {
    EngineView::Here {
        status: Box::new(Status {
            engine: EngineStatus {
                version: "0.1.0".into(),
                state: EngineState::Ready,
                player: "Anna".into(),
                control: ControlStatus {
                    mode: ControlMode::Local,
                    state: ControlState::Idle,
                },
            },
            nat: NatStatus {
                kind: NatType::Unknown,
                mapped: None,
            },
            party,
            games: Vec::new(),
            conditions: Vec::new(),
        }),
    }
}

fn with_condition(mut view: EngineView) -> EngineView {
    if let EngineView::Here { status } = &mut view {
        status.conditions.push(FaultCode::NoRights.into());
    }
    view
}

fn away() -> EngineView {
    EngineView::Away {
        fault: Fault::new(FaultCode::EngineVersion)
            .with("theirs", 2)
            .with("ours", 1),
    }
}

fn party(state: PartyState, members: Vec<MemberStatus>) -> PartyStatus {
    PartyStatus {
        name: "Friday night".into(),
        id: Some(ID.into()),
        invite: Some(INVITE.into()),
        state,
        version: 1,
        members,
    }
}

fn member(state: PeerState) -> MemberStatus {
    MemberStatus {
        name: "Tom".into(),
        address: "10.66.0.2".into(),
        is_self: false,
        host: false,
        state,
        path: None,
        rtt_ms: None,
        jitter_ms: None,
        loss: None,
        trouble: None,
        nat: NatType::Unknown,
    }
}

fn me(host: bool) -> MemberStatus {
    MemberStatus {
        is_self: true,
        host,
        ..member(PeerState::Connected)
    }
}

fn in_party(members: Vec<MemberStatus>) -> EngineView {
    here(Some(party(PartyState::Active, members)))
}

/// Which items can be chosen.
fn enabled(view: &EngineView) -> Vec<Item> {
    let entries = Tray::of(view).entries.into_iter();
    entries
        .filter(|entry| entry.enabled)
        .map(|entry| entry.item)
        .collect()
}

fn says(view: &EngineView, item: Item) -> String {
    let entries = Tray::of(view).entries.into_iter();
    entries
        .filter(|entry| entry.item == item)
        .map(|entry| entry.text)
        .collect()
}

#[test]
fn without_an_engine_the_tray_says_why_and_opens_and_quits() {
    for view in [EngineView::Connecting, away()] {
        assert_eq!(enabled(&view), [Item::Open, Item::Quit]);
        assert_eq!(Tray::of(&view).sign, Sign::Away);
    }
    assert!(
        Tray::of(&away()).line.contains("(2 and 1)"),
        "{}",
        Tray::of(&away()).line
    );
}

#[test]
fn without_a_party_one_can_join_and_nothing_is_read_or_joined_but_by_that_click() {
    let view = here(None);
    assert_eq!(enabled(&view), [Item::Open, Item::JoinFromClipboard, Item::Quit]);
    assert_eq!(Item::JoinFromClipboard.chosen(&view), Deed::Offer);
    let reads = Item::ALL
        .into_iter()
        .filter(|item| item.chosen(&view) == Deed::Offer);
    assert_eq!(reads.count(), 1);
    assert_eq!(Tray::of(&view).sign, Sign::Idle);
}

#[test]
fn in_a_party_the_invite_and_the_id_can_be_copied_and_one_can_leave() {
    let view = in_party(vec![member(PeerState::Connected), me(false)]);
    let all_but_join = [
        Item::Open,
        Item::CopyInvite,
        Item::CopyId,
        Item::Leave,
        Item::Quit,
    ];
    assert_eq!(enabled(&view), all_but_join);
    assert_eq!(Item::CopyId.chosen(&view), Deed::Copy(ID.into()));
    assert_eq!(Item::CopyInvite.chosen(&view), Deed::Copy(INVITE.into()));
    assert_eq!(Item::Leave.chosen(&view), Deed::Leave);
    let tray = Tray::of(&view);
    assert_eq!(
        (tray.sign, tray.line.as_str()),
        (Sign::Party, "Friday night: 2 players")
    );
    assert_ne!(says(&view, Item::Quit), says(&here(None), Item::Quit));
}

#[test]
fn a_host_with_company_is_asked_in_the_window_before_the_party_ends() {
    let company = in_party(vec![me(true), member(PeerState::Lost)]);
    assert_eq!(Item::Leave.chosen(&company), Deed::AskToLeave);
    assert!(says(&company, Item::Leave).ends_with('…'));
    let alone = in_party(vec![me(true), member(PeerState::Disconnected)]);
    assert_eq!(Item::Leave.chosen(&alone), Deed::Leave);
    assert_eq!(Tray::of(&alone).line, "Friday night: 1 player");
}

#[test]
fn the_way_in_can_be_cancelled_and_the_way_out_not() {
    for state in [PartyState::Creating, PartyState::Joining] {
        let view = here(Some(party(state, Vec::new())));
        assert_eq!(enabled(&view), [Item::Open, Item::Leave, Item::Quit]);
        assert_eq!(Item::Leave.chosen(&view), Deed::Leave);
        assert_eq!(says(&view, Item::Leave), "Cancel");
        assert_eq!(Tray::of(&view).sign, Sign::Entering);
    }
    let leaving = here(Some(party(PartyState::Leaving, vec![me(false)])));
    assert_eq!(enabled(&leaving), [Item::Open, Item::Quit]);
    let unnamed = PartyStatus {
        name: String::new(),
        ..party(PartyState::Joining, Vec::new())
    };
    assert_eq!(Tray::of(&here(Some(unnamed))).line, "Joining the party");
}

#[test]
fn another_users_party_is_not_ours_to_share_or_leave() {
    let foreign = PartyStatus {
        id: None,
        invite: None,
        ..party(PartyState::Active, vec![me(false)])
    };
    assert_eq!(enabled(&here(Some(foreign))), [Item::Open, Item::Quit]);
}

#[test]
fn trouble_shows_in_the_icon_and_in_words() {
    let lost = Tray::of(&in_party(vec![
        me(false),
        member(PeerState::Lost),
        member(PeerState::Failed),
    ]));
    assert_eq!(lost.sign, Sign::Trouble);
    assert_eq!(lost.line, "Friday night: 3 players, 2 not connected");

    let lasting = Tray::of(&with_condition(in_party(vec![
        me(false),
        member(PeerState::Connected),
    ])));
    assert_eq!(lasting.sign, Sign::Trouble);
    assert_eq!(lasting.line, "Friday night: 2 players (needs a look)");
    assert_eq!(Tray::of(&with_condition(here(None))).sign, Sign::Trouble);

    let on_the_way = in_party(vec![me(false), member(PeerState::Connecting)]);
    assert_eq!(Tray::of(&on_the_way).sign, Sign::Party);
}

#[test]
fn every_item_is_known_by_its_id_and_has_a_text() {
    for item in Item::ALL {
        assert_eq!(Item::of_id(item.id()), Some(item));
        for view in [here(None), in_party(vec![me(false)]), away()] {
            let text = says(&view, item);
            assert!(!text.starts_with("tray."), "no text: {text}");
        }
    }
    assert_eq!(Item::of_id("status"), None);
}
