use super::*;
use crate::happening::ROOM;
use lanrage_proto::ipc::{
    ControlMode, ControlState, ControlStatus, EngineState, EngineStatus, NatStatus, NatType, PartyState,
    PartyStatus,
};
use lanrage_proto::limits::IPC_FRAME;
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const ANNA: u32 = 1000;
const PATIENCE: Duration = Duration::from_secs(5);

fn published(name: &str) -> Published {
    Published {
        status: Status {
            engine: EngineStatus {
                version: "0".into(),
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
            party: Some(PartyStatus {
                name: name.into(),
                id: Some("the ID".into()),
                invite: Some("the invite".into()),
                state: PartyState::Active,
                version: 1,
                members: Vec::new(),
                rules: Default::default(),
                lobby: Default::default(),
            }),
            games: Vec::new(),
            conditions: Vec::new(),
        },
        owner: Some(ANNA),
    }
}

/// A client's connection with a scripted control loop behind it.
struct Scene {
    client: Frames<DuplexStream>,
    happened: mpsc::Receiver<Happening>,
    tell: watch::Sender<Arc<Published>>,
    served: JoinHandle<()>,
}

impl Scene {
    fn new(uid: u32) -> Self {
        let (near, far) = duplex(4096);
        let (happenings, happened) = mpsc::channel(ROOM);
        let (tell, published) = watch::channel(Arc::new(published("Friday")));
        let desk = Desk {
            happenings,
            published,
        };
        let served = tokio::spawn(attend(
            Frames::new(far),
            Caller { uid, pid: None },
            desk,
            Asked::default(),
        ));
        Self {
            client: Frames::new(near),
            happened,
            tell,
            served,
        }
    }

    async fn send(&mut self, id: u64, call: Call) {
        let frame = Frame {
            id,
            ipc: VERSION,
            call,
        };
        self.client.send(&frame).await.unwrap();
    }

    async fn message(&mut self) -> Option<Message> {
        timeout(PATIENCE, self.client.next()).await.unwrap().unwrap()
    }

    async fn answer(&mut self) -> Answer {
        match self.message().await {
            Some(Message::Answer(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }

    async fn asked(&mut self) -> happening::Asked {
        match timeout(PATIENCE, self.happened.recv()).await.unwrap() {
            Some(Happening::Asked(asked)) => asked,
            _ => panic!("nothing was asked"),
        }
    }
}

#[tokio::test]
async fn a_later_request_is_answered_while_an_earlier_one_goes_on() {
    let mut scene = Scene::new(ANNA);
    let create = Call::Create {
        party: "Friday".into(),
        player: None,
    };
    scene.send(1, create.clone()).await;
    let creating = scene.asked().await;
    assert_eq!((creating.call, creating.caller.uid), (create, ANNA));
    scene.send(2, Call::Leave).await;
    scene.asked().await.answer.send(Ok(Reply::Done)).unwrap();
    let answer = scene.answer().await;
    assert_eq!((answer.id, answer.result), (2, Ok(Reply::Done)));
    creating.answer.send(Err(FaultCode::Cancelled.into())).unwrap();
    let answer = scene.answer().await;
    assert_eq!((answer.id, answer.result), (1, Err(FaultCode::Cancelled.into())));
}

#[tokio::test]
async fn garbage_is_named_and_the_connection_closed() {
    for garbage in [
        b"\0\0\0\x05hello".to_vec(),
        br#"{"id":1,"ipc":1,"call":{"verb":"dance"}}"#.to_vec(),
        br#"{"id":1,"ipc":1,"call":{"verb":"create"}}"#.to_vec(),
    ] {
        let (mut near, far) = duplex(4096);
        let (happenings, _happened) = mpsc::channel(ROOM);
        let (_tell, published) = watch::channel(Arc::new(published("Friday")));
        let desk = Desk {
            happenings,
            published,
        };
        let served = tokio::spawn(attend(
            Frames::new(far),
            Caller { uid: ANNA, pid: None },
            desk,
            Asked::default(),
        ));
        if garbage[0] != 0 {
            near.write_all(&u32::try_from(garbage.len()).unwrap().to_be_bytes())
                .await
                .unwrap();
        }
        near.write_all(&garbage).await.unwrap();
        let mut near = Frames::new(near);
        let Some(Message::Answer(answer)) = timeout(PATIENCE, near.next()).await.unwrap().unwrap() else {
            panic!("no answer");
        };
        assert_eq!(answer.id, 0);
        assert_eq!(answer.result.unwrap_err().code, FaultCode::RequestInvalid);
        assert!(
            timeout(PATIENCE, near.next::<Message>())
                .await
                .unwrap()
                .unwrap()
                .is_none()
        );
        timeout(PATIENCE, served).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_frame_too_long_is_refused_before_it_is_read() {
    let (mut near, far) = duplex(4096);
    let (happenings, _happened) = mpsc::channel(ROOM);
    let (_tell, published) = watch::channel(Arc::new(published("Friday")));
    let desk = Desk {
        happenings,
        published,
    };
    let served = tokio::spawn(attend(
        Frames::new(far),
        Caller { uid: ANNA, pid: None },
        desk,
        Asked::default(),
    ));
    near.write_all(&(IPC_FRAME as u32 + 1).to_be_bytes())
        .await
        .unwrap();
    let mut near = Frames::new(near);
    let Some(Message::Answer(answer)) = timeout(PATIENCE, near.next()).await.unwrap().unwrap() else {
        panic!("no answer");
    };
    assert_eq!(answer.result.unwrap_err().code, FaultCode::RequestInvalid);
    timeout(PATIENCE, served).await.unwrap().unwrap();
}

#[tokio::test]
async fn another_version_is_told_both_numbers_and_may_ask_again() {
    let mut scene = Scene::new(ANNA);
    let frame = Frame {
        id: 1,
        ipc: VERSION + 1,
        call: Call::Status,
    };
    scene.client.send(&frame).await.unwrap();
    let fault = scene.answer().await.result.unwrap_err();
    assert_eq!(fault.code, FaultCode::EngineVersion);
    assert_eq!(fault.details["theirs"], VERSION.to_string());
    assert_eq!(fault.details["ours"], (VERSION + 1).to_string());
    // Its request may be one that this version has no word for.
    let unknown = serde_json::json!({"id": 2, "ipc": VERSION + 1, "call": {"verb": "kick", "whom": 3}});
    scene.client.send(&unknown).await.unwrap();
    let answer = scene.answer().await;
    assert_eq!(
        (answer.id, answer.result.unwrap_err().code),
        (2, FaultCode::EngineVersion)
    );
    scene.send(3, Call::Status).await;
    scene.asked().await;
}

#[tokio::test(start_paused = true)]
async fn who_asks_nothing_or_half_a_thing_is_let_go_and_who_asked_once_stays() {
    let (mut near, far) = duplex(4096);
    let scene = Scene::new(ANNA);
    let desk = Desk {
        happenings: mpsc::channel(ROOM).0,
        published: scene.tell.subscribe(),
    };
    near.write_all(b"\0\0\0\x10half").await.unwrap();
    let caller = Caller { uid: ANNA, pid: None };
    let half = tokio::spawn(attend(Frames::new(far), caller, desk, Asked::default()));
    sleep(FIRST + Duration::from_secs(1)).await;
    assert!(half.is_finished() && scene.served.is_finished());

    let mut scene = Scene::new(ANNA);
    scene.send(1, Call::Watch).await;
    sleep(1000 * FIRST).await;
    assert!(!scene.served.is_finished());
}

#[tokio::test]
async fn a_client_that_goes_away_has_asked_nonetheless() {
    let mut scene = Scene::new(ANNA);
    scene.send(1, Call::Leave).await;
    let asked = {
        let asked = scene.asked().await;
        drop(scene.client);
        timeout(PATIENCE, scene.served).await.unwrap().unwrap();
        asked
    };
    assert!(
        asked.answer.send(Ok(Reply::Done)).is_err(),
        "nobody waits, and nothing breaks"
    );
}

#[tokio::test]
async fn only_so_much_is_asked_at_once() {
    let mut scene = Scene::new(ANNA);
    for id in 1..=OUTSTANDING as u64 + 1 {
        scene.send(id, Call::Status).await;
    }
    let answer = scene.answer().await;
    assert_eq!(answer.id, OUTSTANDING as u64 + 1);
    assert_eq!(answer.result.unwrap_err().code, FaultCode::TooMany);
}

#[tokio::test]
async fn who_watches_gets_the_status_at_once_and_the_newest_after_changes() {
    let mut scene = Scene::new(ANNA);
    scene.send(1, Call::Watch).await;
    assert_eq!(scene.answer().await.result, Ok(Reply::Done));
    let name = |message| match message {
        Some(Message::Event(Event { status })) => status.party.unwrap().name,
        other => panic!("{other:?}"),
    };
    assert_eq!(name(scene.message().await), "Friday");
    for change in ["a", "b", "Saturday"] {
        scene.tell.send(Arc::new(published(change))).unwrap();
    }
    // Nothing ran in between: the client was busy, and is told how it is now.
    assert_eq!(name(scene.message().await), "Saturday");
    drop(scene.tell);
    assert!(
        timeout(PATIENCE, scene.client.next::<Message>())
            .await
            .unwrap()
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_client_that_says_nothing_keeps_nobody_up() {
    let scene = Scene::new(ANNA);
    let Scene { client, served, .. } = scene;
    drop(client);
    timeout(PATIENCE, served).await.unwrap().unwrap();
}

#[tokio::test]
async fn who_is_refused_is_told_why() {
    let (near, far) = duplex(4096);
    let (mut near, refused) = (
        Frames::new(near),
        refuse(Frames::new(far), FaultCode::NotAllowed.into()),
    );
    refused.await;
    let Some(Message::Answer(answer)) = timeout(PATIENCE, near.next()).await.unwrap().unwrap() else {
        panic!("no answer");
    };
    assert_eq!((answer.id, answer.result), (0, Err(FaultCode::NotAllowed.into())));
    assert!(
        timeout(PATIENCE, near.next::<Message>())
            .await
            .unwrap()
            .unwrap()
            .is_none()
    );
}

#[test]
fn the_id_is_its_owners_and_roots() {
    for (uid, sees) in [(ANNA, true), (0, true), (1001, false)] {
        let party = published("Friday")
            .seen_by(&Caller { uid, pid: None })
            .party
            .unwrap();
        assert_eq!(
            (party.id.is_some(), party.invite.is_some()),
            (sees, sees),
            "{uid}"
        );
        assert_eq!(party.name, "Friday");
    }
}
