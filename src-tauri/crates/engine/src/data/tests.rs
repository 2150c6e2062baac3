use super::*;
use crate::happening::ROOM;
use lanrage_platform::udp::{self, PortChoice};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(5);

struct Scene {
    data: DataThread,
    strays: Strays,
    sockets: Arc<Sockets>,
    /// Somebody on this computer who sends to it.
    other: UdpSocket,
    _happened: mpsc::Receiver<Happening>,
}

impl Scene {
    async fn new() -> Self {
        let (happenings, happened) = mpsc::channel(ROOM);
        let (data, strays) = DataThread::start(false, happenings).unwrap();
        let sockets = Arc::new(udp::bind(&PortChoice::Explicit(0)).unwrap());
        data.set_sockets(Some(Arc::clone(&sockets))).await;
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        Self {
            data,
            strays,
            sockets,
            other,
            _happened: happened,
        }
    }

    fn send(&self, bytes: &[u8]) {
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, self.sockets.port));
        self.other.send_to(bytes, to).unwrap();
    }

    async fn next(&mut self) -> Stray {
        timeout(PATIENCE, self.strays.next()).await.unwrap().unwrap()
    }
}

/// As long as a probe can be, and from nobody known.
const PROBE: &[u8] = b"a probe of a member yet unknown, perhaps";

/// A STUN Binding request without attributes (RFC 8489 §5).
fn stun() -> Vec<u8> {
    let mut message = vec![0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
    message.extend([7; 12]);
    message
}

#[tokio::test]
async fn what_is_not_wireguard_comes_to_the_member_with_its_path() {
    let mut scene = Scene::new().await;
    scene.send(PROBE);
    let stray = scene.next().await;
    assert_eq!(stray.bytes, PROBE);
    assert_eq!(stray.path, Path::primary(scene.other.local_addr().unwrap()));
    scene.data.stop();
}

#[tokio::test]
async fn a_flood_of_one_kind_leaves_room_for_the_other() {
    let mut scene = Scene::new().await;
    for _ in 0..OTHER_SHARE + 200 {
        scene.send(PROBE);
    }
    scene.send(&stun());
    let mut others = 0;
    // The STUN message was sent last and may come last, but come it does.
    loop {
        let stray = scene.next().await;
        if stray.bytes == stun() {
            break;
        }
        others += 1;
    }
    while scene.strays.try_next().is_some() {
        others += 1;
    }
    assert!(others <= OTHER_SHARE + 200);
    scene.data.stop();
}

#[tokio::test]
async fn wireguard_without_a_party_is_nobodys_business() {
    let mut scene = Scene::new().await;
    let mut initiation = vec![0; 148];
    initiation[0] = 1;
    scene.send(&initiation);
    scene.send(PROBE);
    assert_eq!(scene.next().await.bytes, PROBE);
    scene.data.stop();
}

#[tokio::test]
async fn sockets_taken_back_are_closed_when_the_call_returns() {
    let scene = Scene::new().await;
    let Scene { data, sockets, .. } = scene;
    let port = sockets.port;
    data.set_sockets(None).await;
    assert_eq!(Arc::strong_count(&sockets), 1);
    drop(sockets);
    assert_eq!(udp::bind(&PortChoice::Explicit(port)).unwrap().port, port);
    data.stop();
}
