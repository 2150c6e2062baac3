//! Evenings, as the engine tells them.

use super::*;
use lanrage_proto::Fault;
use lanrage_proto::ipc::{
    ControlMode, ControlState, ControlStatus, EngineState, EngineStatus, NatStatus, NatType, Status,
};

const ID: &str = "K7QF-9M2X-RT4B-W8HD-5NC7";

fn here(party: Option<PartyStatus>, conditions: Vec<Fault>) -> EngineView {
    EngineView::Here {
        status: Box::new(Status {
            engine: EngineStatus {
                version: "0.1.0".into(),
                state: EngineState::Ready,
                player: "Anna".into(),
                control: ControlStatus {
                    mode: ControlMode::Local,
                    state: ControlState::Connected,
                },
            },
            nat: NatStatus {
                kind: NatType::Unknown,
                mapped: None,
            },
            party,
            games: Vec::new(),
            conditions,
        }),
    }
}

fn member(name: &str, slot: u8, state: PeerState) -> MemberStatus {
    MemberStatus {
        name: name.into(),
        address: format!("10.66.0.{slot}"),
        is_self: slot == 1,
        host: slot == 1,
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

/// A party of Anna, who hosts it, and these.
fn party(state: PartyState, others: &[MemberStatus]) -> PartyStatus {
    let mut members = vec![member("Anna", 1, PeerState::Connected)];
    members.extend_from_slice(others);
    PartyStatus {
        name: "Friday".into(),
        id: Some(ID.into()),
        invite: Some("an invite".into()),
        state,
        version: 1,
        members,
        rules: Default::default(),
        lobby: Default::default(),
    }
}

fn playing(others: &[MemberStatus]) -> EngineView {
    here(Some(party(PartyState::Active, others)), Vec::new())
}

/// A watcher on a clock that the test moves.
struct Evening {
    watcher: Watcher,
    now: Instant,
}

impl Evening {
    fn new() -> Self {
        Self {
            watcher: Watcher::default(),
            now: Instant::now(),
        }
    }

    fn later(&mut self) {
        self.now += SETTLING;
    }

    fn see(&mut self, view: &EngineView) -> Seen {
        self.watcher.see(self.now, view)
    }

    /// What is told, in words.
    fn told(&mut self, view: &EngineView) -> Vec<String> {
        let seen = self.see(view);
        seen.notices.iter().map(Notice::text).collect()
    }
}

#[test]
fn who_was_there_before_is_not_told_and_who_comes_is_told_by_name() {
    use PeerState::{Connected, Connecting};
    let mut evening = Evening::new();
    assert_eq!(evening.told(&playing(&[])), [""; 0]);
    // The list of those who are there takes a moment.
    assert_eq!(evening.told(&playing(&[member("", 2, Connecting)])), [""; 0]);
    evening.later();
    let tom = member("Tom", 2, Connected);
    assert_eq!(evening.told(&playing(std::slice::from_ref(&tom))), [""; 0]);
    // One who comes now has no name yet, then one.
    assert_eq!(
        evening.told(&playing(&[tom.clone(), member("", 3, Connecting)])),
        [""; 0]
    );
    let both = playing(&[tom, member("Zoë", 3, Connecting)]);
    assert_eq!(evening.told(&both), ["Zoë joined Friday."]);
    assert_eq!(evening.told(&both), [""; 0]);
}

#[test]
fn who_is_lost_is_told_once_until_they_are_back_and_who_leaves_is_told() {
    use PeerState::{Connected, Degraded, Disconnected, Lost};
    let mut evening = Evening::new();
    let tom = |state| playing(&[member("Tom", 2, state)]);
    evening.see(&tom(Connected));
    evening.later();
    assert_eq!(evening.told(&tom(Degraded)), [""; 0]);
    assert_eq!(evening.told(&tom(Lost)), ["No connection to Tom."]);
    assert_eq!(evening.told(&tom(Degraded)), [""; 0]);
    assert_eq!(evening.told(&tom(Lost)), [""; 0], "a connection that flaps");
    assert_eq!(evening.told(&tom(Connected)), [""; 0]);
    assert_eq!(evening.told(&tom(Lost)), ["No connection to Tom."]);
    // The control plane takes a member off the list who was silent for long.
    assert_eq!(evening.told(&playing(&[])), [""; 0]);

    evening.see(&playing(&[member("Zoë", 3, Connected)]));
    assert_eq!(
        evening.told(&playing(&[member("Zoë", 3, Disconnected)])),
        ["Zoë left Friday."]
    );
    assert_eq!(
        evening.told(&playing(&[member("Zoë", 3, Connected)])),
        ["Zoë joined Friday."],
        "who comes back"
    );
    evening.see(&playing(&[member("Zoë", 3, Disconnected)]));
    assert_eq!(evening.told(&playing(&[])), [""; 0], "it was told");
    evening.see(&playing(&[member("Ben", 4, Connected)]));
    assert_eq!(evening.told(&playing(&[])), ["Ben left Friday."]);
}

#[test]
fn a_party_that_its_host_ends_is_told_and_is_no_more() {
    let mut evening = Evening::new();
    evening.see(&playing(&[]));
    let ended = here(None, vec![FaultCode::PartyDissolved.into()]);
    let seen = evening.see(&ended);
    assert_eq!(
        seen.notices.iter().map(Notice::text).collect::<Vec<_>>(),
        ["Friday was ended by its host."]
    );
    assert_eq!(seen.passage, Some(Passage::Ended { id: ID.into() }));
    assert_eq!(evening.see(&ended), Seen::default());
}

#[test]
fn a_party_is_entered_once_ends_with_its_hosts_leave_and_survives_the_engines_end() {
    let mut evening = Evening::new();
    let joining = here(Some(party(PartyState::Joining, &[])), Vec::new());
    assert_eq!(evening.see(&joining), Seen::default());
    assert!(matches!(
        evening.see(&playing(&[])).passage,
        Some(Passage::Entered { id, name, .. }) if id == ID && name == "Friday"
    ));
    assert_eq!(evening.see(&playing(&[])), Seen::default());
    // Where it can be found became known.
    let mut moved = party(PartyState::Active, &[]);
    moved.invite = Some("another invite".into());
    assert!(matches!(
        evening.see(&here(Some(moved.clone()), Vec::new())).passage,
        Some(Passage::Entered { invite: Some(invite), .. }) if invite == "another invite"
    ));
    let away = EngineView::Away {
        fault: FaultCode::EngineNotRunning.into(),
    };
    assert_eq!(evening.see(&away), Seen::default());
    moved.state = PartyState::Rejoining;
    assert_eq!(
        evening.see(&here(Some(moved.clone()), Vec::new())),
        Seen::default()
    );
    moved.state = PartyState::Leaving;
    evening.see(&here(Some(moved), Vec::new()));
    assert_eq!(
        evening.see(&here(None, Vec::new())).passage,
        Some(Passage::Ended { id: ID.into() })
    );
}

#[test]
fn a_guests_leave_ends_nothing_and_another_users_party_is_nobodys_business() {
    let mut evening = Evening::new();
    let mut guest = party(PartyState::Active, &[]);
    guest.members[0].host = false;
    evening.see(&here(Some(guest.clone()), Vec::new()));
    guest.state = PartyState::Leaving;
    evening.see(&here(Some(guest.clone()), Vec::new()));
    assert_eq!(evening.see(&here(None, Vec::new())), Seen::default());
    guest.id = None;
    guest.state = PartyState::Active;
    assert_eq!(evening.see(&here(Some(guest), Vec::new())), Seen::default());
}

#[test]
fn each_kind_can_be_switched_off() {
    let off = Notify {
        joined: false,
        left: false,
        lost: false,
        dissolved: false,
    };
    let name = || "x".to_owned();
    let kinds = [
        (
            Notice::Joined {
                member: name(),
                party: name(),
            },
            Notify { joined: true, ..off },
        ),
        (
            Notice::Left {
                member: name(),
                party: name(),
            },
            Notify { left: true, ..off },
        ),
        (Notice::Lost { member: name() }, Notify { lost: true, ..off }),
        (
            Notice::Dissolved { party: name() },
            Notify {
                dissolved: true,
                ..off
            },
        ),
    ];
    for (notice, only) in &kinds {
        let wanted = kinds.iter().filter(|(notice, _)| notice.is_wanted(*only));
        assert_eq!(wanted.count(), 1, "{notice:?}");
        assert!(notice.is_wanted(*only) && !notice.is_wanted(off));
    }
}
