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
        rules: Default::default(),
        lobby: Default::default(),
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
        relay: None,
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

/// Nothing remembered, and a system that can't be asked.
fn facts(view: &EngineView) -> Facts {
    Facts {
        view: view.clone(),
        recent: Vec::new(),
        leave_on_quit: false,
        start_at_login: None,
    }
}

fn remembering(view: &EngineView, names: &[&str]) -> Facts {
    let party = |name: &&str| RecentParty {
        key: format!("key of {name}"),
        name: (*name).into(),
        used: 0,
    };
    Facts {
        recent: names.iter().map(party).collect(),
        ..facts(view)
    }
}

fn tray(view: &EngineView) -> Tray {
    Tray::of(&facts(view))
}

/// Which items can be chosen.
fn enabled(view: &EngineView) -> Vec<Item> {
    let entries = tray(view).entries.into_iter();
    entries
        .filter(|entry| entry.enabled)
        .map(|entry| entry.item)
        .collect()
}

fn says(view: &EngineView, item: Item) -> String {
    said(&facts(view), item)
}

fn said(facts: &Facts, item: Item) -> String {
    let entries = Tray::of(facts).entries.into_iter();
    entries
        .filter(|entry| entry.item == item)
        .map(|entry| entry.text)
        .collect()
}

fn texts(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.text.as_str()).collect()
}

#[test]
fn without_an_engine_the_tray_says_why_and_opens_and_quits() {
    for view in [EngineView::Connecting, away()] {
        assert_eq!(enabled(&view), [Item::Open, Item::Quit]);
        assert_eq!(tray(&view).sign, Sign::Away);
    }
    assert!(tray(&away()).line.contains("(2 and 1)"), "{}", tray(&away()).line);
}

#[test]
fn without_a_party_one_can_join_and_nothing_is_read_or_joined_but_by_that_click() {
    let view = here(None);
    assert_eq!(enabled(&view), [Item::Open, Item::JoinFromClipboard, Item::Quit]);
    assert_eq!(Item::JoinFromClipboard.chosen(&facts(&view)), Deed::Offer);
    let reads = Item::ALL
        .into_iter()
        .filter(|item| item.chosen(&facts(&view)) == Deed::Offer);
    assert_eq!(reads.count(), 1);
    assert_eq!(tray(&view).sign, Sign::Idle);
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
    assert_eq!(Item::CopyId.chosen(&facts(&view)), Deed::Copy(ID.into()));
    assert_eq!(Item::CopyInvite.chosen(&facts(&view)), Deed::Copy(INVITE.into()));
    assert_eq!(Item::Leave.chosen(&facts(&view)), Deed::Leave);
    let tray = tray(&view);
    assert_eq!(
        (tray.sign, tray.line.as_str()),
        (Sign::Party, "Friday night: 2 players")
    );
    assert_ne!(says(&view, Item::Quit), says(&here(None), Item::Quit));
}

#[test]
fn a_host_with_company_is_asked_in_the_window_before_the_party_ends() {
    let company = in_party(vec![me(true), member(PeerState::Lost)]);
    assert_eq!(Item::Leave.chosen(&facts(&company)), Deed::AskToLeave);
    assert!(says(&company, Item::Leave).ends_with('…'));
    let alone = in_party(vec![me(true), member(PeerState::Disconnected)]);
    assert_eq!(Item::Leave.chosen(&facts(&alone)), Deed::Leave);
    assert_eq!(tray(&alone).line, "Friday night: 1 player");
}

#[test]
fn the_way_in_can_be_cancelled_and_the_way_out_not() {
    for state in [PartyState::Creating, PartyState::Joining] {
        let view = here(Some(party(state, Vec::new())));
        assert_eq!(enabled(&view), [Item::Open, Item::Leave, Item::Quit]);
        assert_eq!(Item::Leave.chosen(&facts(&view)), Deed::Leave);
        assert_eq!(says(&view, Item::Leave), "Cancel");
        assert_eq!(tray(&view).sign, Sign::Entering);
    }
    let leaving = here(Some(party(PartyState::Leaving, vec![me(false)])));
    assert_eq!(enabled(&leaving), [Item::Open, Item::Quit]);
    let unnamed = PartyStatus {
        name: String::new(),
        ..party(PartyState::Joining, Vec::new())
    };
    assert_eq!(tray(&here(Some(unnamed))).line, "Joining the party");
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
    let lost = tray(&in_party(vec![
        me(false),
        member(PeerState::Lost),
        member(PeerState::Failed),
    ]));
    assert_eq!(lost.sign, Sign::Trouble);
    assert_eq!(lost.line, "Friday night: 3 players, 2 not connected");

    let lasting = tray(&with_condition(in_party(vec![
        me(false),
        member(PeerState::Connected),
    ])));
    assert_eq!(lasting.sign, Sign::Trouble);
    assert_eq!(lasting.line, "Friday night: 2 players (needs a look)");
    assert_eq!(tray(&with_condition(here(None))).sign, Sign::Trouble);

    let on_the_way = in_party(vec![me(false), member(PeerState::Connecting)]);
    assert_eq!(tray(&on_the_way).sign, Sign::Party);
}

#[test]
fn every_item_is_known_by_its_id_and_has_a_text() {
    for item in Item::ALL {
        assert_eq!(Item::of_id(&item.id()), Some(item));
        for view in [here(None), in_party(vec![me(false)]), away()] {
            let text = says(&view, item);
            assert!(!text.starts_with("tray."), "no text: {text}");
        }
    }
    assert_eq!(Item::of_id("status"), None);
}

#[test]
fn a_party_of_before_is_one_click_away_while_there_is_none() {
    let names = ["Friday", "Sunday", "Chess", "Go", "Quake"];
    let idle = remembering(&here(None), &names);
    assert_eq!(
        texts(&Tray::of(&idle).recent),
        ["Join Friday", "Join Sunday", "Join Chess", "Join Go"]
    );
    assert_eq!(Item::Recent(1).chosen(&idle), Deed::Join("key of Sunday".into()));
    assert_eq!(Item::Recent(9).chosen(&idle), Deed::Nothing);
    for elsewhere in [in_party(vec![me(false)]), away()] {
        let facts = remembering(&elsewhere, &names);
        assert!(Tray::of(&facts).recent.is_empty());
        assert_eq!(Item::Recent(0).chosen(&facts), Deed::Nothing);
    }
}

#[test]
fn members_are_listed_with_ping_and_path_and_a_click_copies_the_address() {
    let direct = MemberStatus {
        path: Some(PathKind::Direct),
        rtt_ms: Some(37.6),
        ..member(PeerState::Connected)
    };
    let near = MemberStatus {
        name: "Zoë".into(),
        path: Some(PathKind::Lan),
        rtt_ms: Some(0.3),
        ..member(PeerState::Degraded)
    };
    let new = MemberStatus {
        name: String::new(),
        address: "10.66.0.9".into(),
        ..member(PeerState::Connecting)
    };
    let lost = MemberStatus {
        path: Some(PathKind::Direct),
        rtt_ms: Some(12.0),
        ..member(PeerState::Lost)
    };
    let gone = member(PeerState::Disconnected);
    let view = in_party(vec![me(true), direct, near, new, lost, gone]);
    assert_eq!(
        texts(&tray(&view).members),
        [
            "Tom: 38 ms, direct",
            "Zoë: 1 ms, LAN",
            "new player: connecting…",
            "Tom: lost"
        ]
    );
    assert_eq!(
        Item::Member(2).chosen(&facts(&view)),
        Deed::Copy("10.66.0.9".into())
    );
    assert_eq!(Item::Member(4).chosen(&facts(&view)), Deed::Nothing);
    assert!(tray(&here(None)).members.is_empty());
}

#[test]
fn of_a_crowd_the_menu_lists_some_and_counts_the_rest() {
    let view = in_party(vec![member(PeerState::Connected); 64]);
    let members = tray(&view).members;
    assert_eq!(members.len(), MEMBERS + 1);
    let last = members.last().unwrap();
    assert_eq!((last.text.as_str(), last.enabled), ("and 48 more", false));
}

#[test]
fn quitting_leaves_the_party_where_that_is_set_and_asks_who_would_end_it_for_others() {
    let leaving = |view: &EngineView| Facts {
        leave_on_quit: true,
        ..facts(view)
    };
    let guest = leaving(&in_party(vec![me(false), member(PeerState::Connected)]));
    assert_eq!(Item::Quit.chosen(&guest), Deed::LeaveAndQuit);
    assert_eq!(said(&guest, Item::Quit), "Leave and quit");
    let host = leaving(&in_party(vec![me(true), member(PeerState::Connected)]));
    assert_eq!(Item::Quit.chosen(&host), Deed::AskToLeave);
    assert_eq!(said(&host, Item::Quit), "Leave and quit…");
    for nothing_to_leave in [here(None), away()] {
        assert_eq!(Item::Quit.chosen(&leaving(&nothing_to_leave)), Deed::Quit);
    }
    let unset = facts(&in_party(vec![me(false)]));
    assert_eq!(Item::Quit.chosen(&unset), Deed::Quit);
}

#[test]
fn the_start_at_login_shows_its_tick_and_turns_with_a_click() {
    for on in [true, false] {
        let facts = Facts {
            start_at_login: Some(on),
            ..facts(&here(None))
        };
        let entries = Tray::of(&facts).entries;
        let entry = entries
            .iter()
            .find(|entry| entry.item == Item::StartAtLogin)
            .unwrap();
        assert_eq!((entry.checked, entry.enabled), (Some(on), true));
        assert_eq!(Item::StartAtLogin.chosen(&facts), Deed::StartAtLogin(!on));
    }
}
