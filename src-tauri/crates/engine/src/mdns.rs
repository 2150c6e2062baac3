//! Finding parties on the local network by multicast DNS (RFC 6762, 6763).
//!
//! An advert carries a nonce and the nonce's hash under the party's discovery key: who knows the party
//! recognises it, everybody else learns that some party lives here, and neither its tag nor anybody's name. The
//! instance and host names are random. The multicast sockets are open only while something is announced or
//! looked for, and never on our own adapter or on loopback.

use crate::happening::{Happening, Happenings};
use data_encoding::HEXLOWER;
use lanrage_core::keys::discovery_hash;
use lanrage_proto::PartyRange;
use lanrage_proto::server_url::is_reachable_unicast;
use mdns_sd::{IfKind, IfPredicate, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use rand_core::{OsRng, RngCore};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const SERVICE: &str = "_lanrage._tcp.local.";
/// How long taking an advert back may take at the engine's end.
const GOODBYE: Duration = Duration::from_millis(300);
/// Addresses of one advert that are believed.
const ADDRESSES: usize = 16;

/// What is announced.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Advert {
    discovery: [u8; 32],
    port: u16,
}

/// Announcing and looking, each as wished.
pub(crate) struct Discovery {
    happenings: Happenings,
    adapter: Option<String>,
    enabled: bool,
    daemon: Option<ServiceDaemon>,
    announced: Option<(Advert, String)>,
    sought: Option<([u8; 32], JoinHandle<()>)>,
}

impl Discovery {
    /// Neither yet; never when not `enabled`. `adapter` is the name that our own adapter is given, if one is set.
    pub(crate) fn new(enabled: bool, adapter: Option<String>, happenings: Happenings) -> Self {
        Self {
            happenings,
            adapter,
            enabled,
            daemon: None,
            announced: None,
            sought: None,
        }
    }

    /// Announces the control plane on this TCP port to those who know the discovery key, or nothing.
    pub(crate) fn announce(&mut self, wish: Option<([u8; 32], u16)>) {
        let wish = wish
            .filter(|_| self.enabled)
            .map(|(discovery, port)| Advert { discovery, port });
        if wish == self.announced.as_ref().map(|(advert, _)| *advert) {
            return;
        }
        if let (Some((_, name)), Some(daemon)) = (self.announced.take(), &self.daemon)
            && let Err(error) = daemon.unregister(&name)
        {
            tracing::debug!(%error, "an advert stays until it expires");
        }
        if let Some(advert) = wish {
            let registered = self.daemon().and_then(|daemon| {
                let info = advert.info()?;
                let name = info.get_fullname().to_owned();
                daemon.register(info)?;
                Ok(name)
            });
            match registered {
                Ok(name) => self.announced = Some((advert, name)),
                Err(error) => tracing::warn!(%error, "the party is not announced on the local network"),
            }
        }
        self.rest();
    }

    /// Looks for control planes that know this discovery key, or for none. They come as [`Happening::Found`].
    pub(crate) fn look_for(&mut self, wish: Option<[u8; 32]>) {
        let wish = wish.filter(|_| self.enabled);
        if wish == self.sought.as_ref().map(|(discovery, _)| *discovery) {
            return;
        }
        if let Some((_, task)) = self.sought.take() {
            task.abort();
            if let Some(daemon) = &self.daemon
                && let Err(error) = daemon.stop_browse(SERVICE)
            {
                tracing::debug!(%error, "looking goes on unheard");
            }
        }
        if let Some(discovery) = wish {
            match self.daemon().and_then(|daemon| daemon.browse(SERVICE)) {
                Ok(events) => {
                    let happenings = self.happenings.clone();
                    let task = tokio::spawn(async move {
                        while let Ok(event) = events.recv_async().await {
                            let ServiceEvent::ServiceResolved(service) = event else {
                                continue;
                            };
                            let found = addresses(&service, &discovery);
                            if !found.is_empty() && happenings.send(Happening::Found(found)).await.is_err() {
                                return;
                            }
                        }
                    });
                    self.sought = Some((discovery, task));
                }
                Err(error) => tracing::warn!(%error, "parties on the local network are not looked for"),
            }
        }
        self.rest();
    }

    /// Takes everything back, so that nobody is sent to an engine that has ended.
    pub(crate) async fn close(&mut self) {
        if let Some((_, task)) = self.sought.take() {
            task.abort();
        }
        let Some(daemon) = self.daemon.take() else {
            return;
        };
        if let Some((_, name)) = self.announced.take()
            && let Ok(done) = daemon.unregister(&name)
        {
            let _ = timeout(GOODBYE, done.recv_async()).await;
        }
        if let Ok(done) = daemon.shutdown() {
            let _ = timeout(GOODBYE, done.recv_async()).await;
        }
    }

    fn daemon(&mut self) -> mdns_sd::Result<&ServiceDaemon> {
        let daemon = match self.daemon.take() {
            Some(daemon) => daemon,
            None => {
                let daemon = ServiceDaemon::new()?;
                let adapter = self.adapter.clone();
                daemon.disable_interface(IfKind::Predicate(IfPredicate::new(move |interface| {
                    interface.is_loopback() || is_ours(&interface.name, interface.ip(), adapter.as_deref())
                })))?;
                daemon
            }
        };
        Ok(self.daemon.insert(daemon))
    }

    /// Closes the multicast sockets when nothing needs them.
    fn rest(&mut self) {
        if self.announced.is_none()
            && self.sought.is_none()
            && let Some(daemon) = self.daemon.take()
            && let Err(error) = daemon.shutdown()
        {
            tracing::debug!(%error, "multicast DNS did not end");
        }
    }
}

impl Advert {
    fn info(&self) -> mdns_sd::Result<ServiceInfo> {
        let (mut nonce, mut name) = ([0; 16], [0; 8]);
        OsRng.fill_bytes(&mut nonce);
        OsRng.fill_bytes(&mut name);
        let name = HEXLOWER.encode(&name);
        let text = [
            ("n", HEXLOWER.encode(&nonce)),
            ("h", HEXLOWER.encode(&discovery_hash(&self.discovery, &nonce))),
        ];
        let mut info = ServiceInfo::new(
            SERVICE,
            &name,
            &format!("{name}.local."),
            "",
            self.port,
            text.as_slice(),
        )?
        .enable_addr_auto();
        // A random name collides with none, and asking first would cost a second.
        info.set_requires_probe(false);
        Ok(info)
    }
}

/// Whether the interface is a party's adapter, this engine's or another's.
fn is_ours(name: &str, address: IpAddr, adapter: Option<&str>) -> bool {
    Some(name) == adapter || matches!(address, IpAddr::V4(v4) if PartyRange::DEFAULT.contains(v4))
}

/// Where the advertised control plane is, if its hash shows that it knows the discovery key.
fn addresses(service: &ResolvedService, discovery: &[u8; 32]) -> Vec<SocketAddr> {
    let bytes = |key| {
        HEXLOWER
            .decode(service.get_property_val_str(key)?.as_bytes())
            .ok()
    };
    let (Some(nonce), Some(hash)) = (bytes("n"), bytes("h")) else {
        return Vec::new();
    };
    // A longer nonce is nobody's we know, and not worth hashing.
    if nonce.len() != 16 || hash != discovery_hash(discovery, &nonce) {
        return Vec::new();
    }
    let mut found: Vec<SocketAddr> = service
        .get_addresses()
        .iter()
        .map(mdns_sd::ScopedIp::to_ip_addr)
        .filter(|address| is_reachable_unicast(*address, PartyRange::DEFAULT))
        .map(|address| SocketAddr::new(address, service.get_port()))
        .collect();
    found.sort();
    found.truncate(ADDRESSES);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(advert: Advert) -> ResolvedService {
        let mut service = advert.info().unwrap().as_resolved_service();
        for address in [
            "192.168.1.5",
            "10.66.0.1",
            "127.0.0.1",
            "169.254.1.1",
            "fe80::1",
            "2001:db8::7",
        ] {
            service
                .addresses
                .insert(address.parse::<IpAddr>().unwrap().into());
        }
        service
    }

    #[test]
    fn an_advert_is_recognised_by_who_knows_the_party_and_leads_to_real_networks() {
        let advert = Advert {
            discovery: [1; 32],
            port: 51820,
        };
        let expected: Vec<SocketAddr> = vec![
            "192.168.1.5:51820".parse().unwrap(),
            "[2001:db8::7]:51820".parse().unwrap(),
        ];
        assert_eq!(addresses(&resolved(advert), &[1; 32]), expected);
        assert_eq!(addresses(&resolved(advert), &[2; 32]), []);
    }

    #[test]
    fn two_adverts_of_one_party_have_nothing_in_common() {
        let advert = Advert {
            discovery: [1; 32],
            port: 51820,
        };
        let (one, other) = (resolved(advert), resolved(advert));
        for key in ["n", "h"] {
            assert_ne!(one.get_property_val_str(key), other.get_property_val_str(key));
        }
        assert_ne!(one.get_fullname(), other.get_fullname());
    }

    #[test]
    fn parties_adapters_are_left_out() {
        let lan = "192.168.1.5".parse().unwrap();
        assert!(is_ours("lanrage0", lan, Some("lanrage0")));
        assert!(is_ours("tun7", "10.66.0.3".parse().unwrap(), None));
        assert!(!is_ours("eth0", lan, Some("lanrage0")));
    }
}
