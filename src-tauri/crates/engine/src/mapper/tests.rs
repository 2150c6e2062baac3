use super::*;
use std::net::Ipv4Addr;
use tokio::sync::mpsc;

fn state() -> (tempfile::TempDir, Arc<StateDir>) {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(&dir.path().join("state")).unwrap();
    (dir, Arc::new(state))
}

fn lease(carried: Carried, external: &str) -> Lease {
    Lease {
        gateway: Ipv4Addr::LOCALHOST,
        client: Ipv4Addr::LOCALHOST,
        protocol: lanrage_proto::doctor::MappingProtocol::NatPmp,
        nonce: [0; 3],
        carried,
        internal: 51820,
        external: external.parse().unwrap(),
        seconds: 600,
    }
}

fn told(happening: Option<Happening>) -> Told {
    match happening {
        Some(Happening::Mapped(told)) => *told,
        _ => panic!("nothing was told"),
    }
}

const PLAN: MapPlan = MapPlan {
    udp: 51820,
    tcp: None,
};

#[tokio::test]
async fn switched_off_it_says_so_at_once_and_asks_nobody() {
    let (_dir, state) = state();
    let (sender, mut happened) = mpsc::channel(8);
    let mut mapper = Mapper::new(false, state, sender);
    mapper.wish(Some(PLAN));
    let told = told(happened.recv().await);
    assert_eq!(told.report.state, MappingState::Off);
    assert!(told.mapped.settled && told.mapped.udp.is_none());
    assert!(mapper.task.is_none());
}

#[test]
fn what_is_granted_is_a_candidate_a_way_in_and_a_change() {
    let (_dir, state) = state();
    let (happenings, _) = mpsc::channel(1);
    let wishes = watch::Sender::new(Wish::default());
    let keeper = Keeper {
        wishes: wishes.subscribe(),
        state,
        happenings,
        router: None,
        settled: None,
        leases: vec![
            lease(Carried::Udp, "198.51.100.1:51820"),
            lease(Carried::Tcp, "198.51.100.1:4000"),
        ],
    };
    let told = keeper.granted(None, true);
    assert_eq!(told.report.state, MappingState::Mapped);
    assert_eq!(told.mapped.udp.unwrap().port(), 51820);
    assert_eq!(told.report.tcp.as_deref(), Some("198.51.100.1:4000"));
    let changes: Vec<Change> = told.changes().collect();
    assert_eq!(
        changes[1],
        Change::PortMapping {
            protocol: "tcp".to_owned(),
            external: "198.51.100.1:4000".to_owned(),
            internal: 51820
        }
    );
}

#[tokio::test]
async fn what_an_earlier_run_left_is_given_back_or_forgotten() {
    let (_dir, state) = state();
    state.save_leases(&[lease(Carried::Udp, "198.51.100.1:51820")]);
    let (sender, mut happened) = mpsc::channel(8);
    // Nothing answers on this loopback's port: refused at once.
    let mut mapper = Mapper::new(true, Arc::clone(&state), sender);
    assert_eq!(told(happened.recv().await).report.state, MappingState::Idle);
    assert!(state.leases().is_empty());
    mapper.close().await;
}
