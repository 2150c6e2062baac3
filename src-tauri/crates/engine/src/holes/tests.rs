use super::*;
use crate::data::Strays;
use crate::happening::{Happening, ROOM};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(5);
/// As long as a probe can be, and from nobody known.
const PROBE: &[u8] = b"a probe of a member yet unknown, perhaps";

struct Scene {
    holes: Holes,
    data: DataThread,
    strays: Strays,
    /// Somebody on this computer.
    other: UdpSocket,
    _happened: mpsc::Receiver<Happening>,
}

impl Scene {
    fn new() -> Self {
        let (happenings, happened) = mpsc::channel(ROOM);
        let (data, strays) = DataThread::start(false, happenings).unwrap();
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        other.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            holes: Holes::default(),
            data,
            strays,
            other,
            _happened: happened,
        }
    }

    fn wish(&mut self, plans: &[HolePlan]) {
        self.holes.wish(plans, &self.data);
    }

    /// Sends by the socket; where it came from.
    fn send(&self, id: u16) -> SocketAddr {
        let path = Path {
            transport: TransportId(id),
            remote: self.other.local_addr().unwrap(),
        };
        self.holes.send(path, b"x");
        let (_, from) = self.other.recv_from(&mut [0; 8]).unwrap();
        from
    }

    async fn arrives(&mut self, id: u16, at: SocketAddr) {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, at.port()));
        self.other.send_to(PROBE, at).unwrap();
        let stray = timeout(PATIENCE, self.strays.next()).await.unwrap().unwrap();
        assert_eq!(stray.bytes, PROBE);
        assert_eq!(stray.path.transport, TransportId(id));
        assert_eq!(stray.path.remote, self.other.local_addr().unwrap());
    }
}

fn plan(id: u16) -> HolePlan {
    HolePlan {
        id: TransportId(id),
        port: None,
        kept: false,
    }
}

fn kept(id: u16) -> HolePlan {
    HolePlan {
        kept: true,
        ..plan(id)
    }
}

#[tokio::test]
async fn a_hole_is_a_transport_while_tried_and_when_kept() {
    let mut scene = Scene::new();
    scene.wish(&[plan(0x8000), plan(0x8001)]);
    let (one, other) = (scene.send(0x8000), scene.send(0x8001));
    assert_ne!(one.port(), other.port());
    scene.arrives(0x8001, other).await;
    scene.wish(&[kept(0x8001)]);
    assert_eq!(scene.send(0x8001), other, "it is the same socket");
    scene.arrives(0x8001, other).await;
    scene.data.stop();
}

#[tokio::test]
async fn what_is_not_wished_for_is_closed() {
    let mut scene = Scene::new();
    scene.wish(&[plan(0x8000), kept(0x8001)]);
    scene.wish(&[plan(0x8000), kept(0x8001)]);
    let ports = [scene.send(0x8000).port(), scene.send(0x8001).port()];
    scene.wish(&[]);
    for port in ports {
        let gone = async {
            while UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_err() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, gone).await.unwrap();
    }
    scene.data.stop();
}
