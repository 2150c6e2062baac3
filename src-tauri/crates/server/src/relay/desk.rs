//! What the control plane hands out: our own STUN and TURN, and whatever relay the operator named.

use super::settings::RelaySettings;
use lanrage_proto::control::RelayOffer;
use lanrage_proto::{MemberId, Tag, TurnTransport, TurnUri};
use lanrage_registry::Servers;
use lanrage_relay::Service;
use lanrage_relay::credentials::Secret;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

/// How long something can be allocated with a name: an evening. What is allocated goes on for a day at most.
const LIFE: u32 = 6 * 60 * 60;

/// Makes offers.
pub(super) struct Desk {
    /// Names are no use to who is not told them, and tell nobody who is behind them.
    key: [u8; 32],
    secret: Secret,
    stun: Vec<Place>,
    relays: Vec<(TurnTransport, Place)>,
    named: Vec<TurnUri>,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk")
            .field("stun", &self.stun)
            .field("relays", &self.relays)
            .field("named", &self.named)
            .finish_non_exhaustive()
    }
}

/// Where something is, as a client has to dial it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At a certain address.
    At(SocketAddr),
    /// At this port of whatever the client dialled.
    Port(u16),
    /// At host and port that the client dialled.
    Dialled,
}

/// What is served, and where it came to listen.
#[derive(Debug, Default)]
pub(super) struct Served {
    pub(super) udp: Vec<(SocketAddr, Service)>,
    pub(super) tcp: Vec<(SocketAddr, Service)>,
    /// TURN over TLS, beside the control plane.
    pub(super) tls: Option<SocketAddr>,
    /// TURN over TLS, on the control plane's port.
    pub(super) tls_shared: bool,
}

impl Desk {
    pub(super) fn new(settings: &RelaySettings, served: &Served, secret: Secret, key: [u8; 32]) -> Self {
        let places = |at: SocketAddr| places(at, &settings.public_ips);
        let pair = settings.behaviour.map(|behaviour| behaviour.all()[0]);
        let stun = match pair {
            Some(first) => vec![Place::At(first)],
            None => served.udp.iter().flat_map(|(at, _)| places(*at)).collect(),
        };
        let turn = |service: &&(SocketAddr, Service)| service.1 == Service::Turn;
        let udp = served.udp.iter().filter(turn);
        let tcp = served.tcp.iter().filter(turn);
        let relays = udp
            .map(|(at, _)| (TurnTransport::Udp, *at))
            .chain(tcp.map(|(at, _)| (TurnTransport::Tcp, *at)))
            .flat_map(|(transport, at)| places(at).into_iter().map(move |place| (transport, place)));
        // With TLS the name counts, and the client has just seen that it is ours.
        let tls = served.tls.map(|at| Place::Port(at.port()));
        let tls = tls.into_iter().chain(served.tls_shared.then_some(Place::Dialled));
        let mut desk = Self {
            key,
            secret,
            stun,
            relays: relays
                .chain(tls.map(|place| (TurnTransport::Tls, place)))
                .collect(),
            named: settings.turn_uris.clone(),
        };
        // Both families of a wildcard are one place to who dials a name.
        unique(&mut desk.stun);
        unique(&mut desk.relays);
        desk
    }

    /// A name for a member: the same each time but for its expiry.
    fn id(&self, tag: &Tag, member: &MemberId) -> String {
        let party = blake3::keyed_hash(&self.key, &tag.0);
        let member = blake3::keyed_hash(&self.key, &[&tag.0[..], &member.0].concat());
        format!("{}.{}", &party.to_hex()[..16], &member.to_hex()[..16])
    }
}

impl Servers for Desk {
    fn stun(&self, authority: &str) -> Vec<String> {
        self.stun
            .iter()
            .filter_map(|place| place.dialled(authority))
            .collect()
    }

    fn relays(&self, authority: &str, tag: &Tag, member: &MemberId) -> Vec<RelayOffer> {
        let expiry = unix() + u64::from(LIFE);
        let credentials = self.secret.credentials(expiry, &self.id(tag, member));
        let ours = self.relays.iter().filter_map(|(transport, place)| {
            let at = place.dialled(authority)?;
            let uri = match transport {
                TurnTransport::Udp => format!("turn:{at}"),
                TurnTransport::Tcp => format!("turn:{at}?transport=tcp"),
                TurnTransport::Tls => format!("turns:{at}"),
            };
            TurnUri::parse(&uri).ok()
        });
        ours.chain(self.named.iter().cloned())
            .map(|uri| RelayOffer {
                uri: uri.to_string(),
                username: credentials.username.clone(),
                password: credentials.password.clone(),
                ttl_seconds: LIFE,
            })
            .collect()
    }
}

impl Place {
    /// `host:port` for who dialled `authority`.
    fn dialled(&self, authority: &str) -> Option<String> {
        match self {
            Self::At(at) => Some(at.to_string()),
            Self::Dialled => Some(authority.to_owned()),
            Self::Port(port) => {
                let (host, _) = authority.rsplit_once(':')?;
                Some(format!("{host}:{port}"))
            }
        }
    }
}

/// Where a listener is found: at the addresses that the operator named, at its own, or where the client found us.
fn places(at: SocketAddr, public: &[IpAddr]) -> Vec<Place> {
    let public = public.iter().find(|ip| ip.is_ipv4() == at.is_ipv4());
    vec![match public {
        Some(ip) => Place::At(SocketAddr::new(*ip, at.port())),
        None if at.ip().is_unspecified() => Place::Port(at.port()),
        None => Place::At(at),
    }]
}

fn unique<T: PartialEq + Copy>(list: &mut Vec<T>) {
    let mut seen = Vec::new();
    for item in list.iter() {
        if !seen.contains(item) {
            seen.push(*item);
        }
    }
    *list = seen;
}

/// Seconds since 1970.
pub(super) fn unix() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
