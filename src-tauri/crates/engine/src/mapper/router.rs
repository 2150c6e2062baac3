//! The router in front, spoken to in what it speaks: PCP (RFC 6887), NAT-PMP (RFC 6886) or UPnP.

use crab_nat::{
    GatewayAddress, InternetProtocol, PortMappingOptions, PortMappingType, TimeoutConfig, natpmp, pcp,
};
use igd_next::aio::Gateway;
use igd_next::aio::tokio::{Tokio, search_gateway};
use igd_next::{AddPortError, PortMappingProtocol, SearchError, SearchOptions};
use lanrage_proto::Why;
use lanrage_proto::doctor::MappingProtocol;
use rand_core::{OsRng, RngCore};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU16;
use std::pin::pin;
use std::time::Duration;
use tokio::time::timeout;

/// How long a grant lasts unless it is renewed: short, as a crash leaves it behind, and long enough for a router that
/// is busy for a while.
const LEASE: Duration = Duration::from_secs(600);
/// A router is one hop away. Three tries, 1.75 s in all.
const TIMES: TimeoutConfig = TimeoutConfig {
    initial_timeout: Duration::from_millis(250),
    max_retries: 2,
    max_retry_timeout: Some(Duration::from_secs(1)),
};
/// Devices may take their time to answer a search (UPnP Device Architecture 1.1, MX); most need none.
const SEARCH: Duration = Duration::from_secs(3);
/// A request to a found device.
const REQUEST: Duration = Duration::from_secs(5);
/// What is said of a language in which nothing came back.
const SILENT: &str = "no answer";
/// As it shows in the router's list.
const NAME: &str = "LANrage";

/// What is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Carried {
    /// The party's datagrams.
    Udp,
    /// Connections to the control plane in this engine.
    Tcp,
}

/// A port that the router leads here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lease {
    pub(crate) gateway: Ipv4Addr,
    pub(crate) client: Ipv4Addr,
    pub(crate) protocol: MappingProtocol,
    /// Proves to a PCP server that the port is ours (RFC 6887 §11.2).
    pub(crate) nonce: [u32; 3],
    pub(crate) carried: Carried,
    pub(crate) internal: u16,
    pub(crate) external: SocketAddr,
    /// How long the router keeps it unless it is renewed.
    pub(crate) seconds: u32,
}

/// Which router, and which address of ours it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) gateway: Ipv4Addr,
    pub(super) client: Ipv4Addr,
}

impl Place {
    /// The address of ours that packets to the router come from. It costs no packet.
    pub(super) fn before(gateway: Ipv4Addr) -> Option<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect((gateway, crab_nat::GATEWAY_PORT)).ok()?;
        match socket.local_addr().ok()?.ip() {
            IpAddr::V4(client) if !client.is_loopback() && !client.is_unspecified() => {
                Some(Self { gateway, client })
            }
            IpAddr::V4(_) | IpAddr::V6(_) => None,
        }
    }
}

/// A router that answers.
pub(super) struct Router {
    place: Place,
    speaks: Speech,
}

enum Speech {
    Pcp([u32; 3]),
    NatPmp,
    Upnp(Box<Gateway<Tokio>>),
}

impl Router {
    /// Asks for a first port in all three languages; the one that brought it is gone on with.
    ///
    /// # Errors
    /// What the router said, or that it said nothing.
    pub(super) async fn ask(place: Place, carried: Carried, port: u16) -> Result<(Self, Lease), String> {
        // The search may take its full time where there is no UPnP, so it runs beside the others.
        let by_datagrams = async {
            let mut nonce = [0; 3];
            nonce.fill_with(|| OsRng.next_u32());
            let mut reasons = Vec::new();
            for speaks in [Speech::Pcp(nonce), Speech::NatPmp] {
                let router = Self { place, speaks };
                match router.request(carried, port, port).await {
                    Ok(lease) => return Ok((router, lease)),
                    Err(reason) => reasons.push(reason),
                }
            }
            Err(reasons)
        };
        let (mut by_datagrams, mut search) = (pin!(by_datagrams), pin!(find(place)));
        let mut found = None;
        let granted = loop {
            tokio::select! {
                granted = &mut by_datagrams => break granted,
                device = &mut search, if found.is_none() => found = Some(device),
            }
        };
        let mut reasons = match granted {
            Ok(granted) => return Ok(granted),
            Err(reasons) => reasons,
        };
        let found = match found {
            Some(found) => found,
            None => search.await,
        };
        match found {
            Ok(gateway) => {
                let speaks = Speech::Upnp(Box::new(gateway));
                let router = Self { place, speaks };
                match router.request(carried, port, port).await {
                    Ok(lease) => return Ok((router, lease)),
                    Err(reason) => reasons.push(reason),
                }
            }
            Err(reason) => reasons.push(reason),
        }
        Err(if reasons.iter().all(|reason| reason.ends_with(SILENT)) {
            Why::RouterSilent.to_string()
        } else {
            reasons.join("; ")
        })
    }

    /// The router that granted this lease; none where it can't be found any more.
    pub(super) async fn of(lease: &Lease) -> Option<Self> {
        let place = Place {
            gateway: lease.gateway,
            client: lease.client,
        };
        let speaks = match lease.protocol {
            MappingProtocol::Pcp => Speech::Pcp(lease.nonce),
            MappingProtocol::NatPmp => Speech::NatPmp,
            MappingProtocol::Upnp => Speech::Upnp(Box::new(find(place).await.ok()?)),
        };
        Some(Self { place, speaks })
    }

    /// Where it is.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// What it speaks.
    pub(super) fn protocol(&self) -> MappingProtocol {
        match self.speaks {
            Speech::Pcp(_) => MappingProtocol::Pcp,
            Speech::NatPmp => MappingProtocol::NatPmp,
            Speech::Upnp(_) => MappingProtocol::Upnp,
        }
    }

    /// Asks for a port, or for more time with one: `external` is the one we would like.
    ///
    /// # Errors
    /// What the router said, or that it said nothing.
    pub(super) async fn request(
        &self,
        carried: Carried,
        internal: u16,
        external: u16,
    ) -> Result<Lease, String> {
        let Place { gateway, client } = self.place;
        let internal_port = NonZeroU16::new(internal).ok_or("port 0")?;
        let options = PortMappingOptions {
            external_port: NonZeroU16::new(external),
            lifetime_seconds: u32::try_from(LEASE.as_secs()).ok(),
            timeout_config: Some(TIMES),
        };
        let (at, protocol) = (GatewayAddress::IpV4(gateway), carried.number());
        let mut seconds = options.lifetime_seconds.unwrap_or_default();
        let (external, nonce) = match &self.speaks {
            Speech::Pcp(nonce) => {
                let base = pcp::BaseMapRequest::new(at, client.into(), protocol, internal_port);
                let granted = pcp::port_mapping(base, Some(*nonce), None, options).await;
                let granted = granted.map_err(pcp_reason)?;
                seconds = granted.lifetime();
                let PortMappingType::Pcp { external_ip, .. } = granted.mapping_type() else {
                    return Err("PCP: an answer in another language".to_owned());
                };
                (
                    SocketAddr::new(external_ip, granted.external_port().get()),
                    *nonce,
                )
            }
            Speech::NatPmp => {
                let address = natpmp::external_address(at, Some(TIMES)).await;
                let address = address.map_err(natpmp_reason)?;
                let granted = natpmp::port_mapping(at, protocol, internal_port, options).await;
                let granted = granted.map_err(natpmp_reason)?;
                seconds = granted.lifetime();
                (
                    SocketAddr::new(address.into(), granted.external_port().get()),
                    [0; 3],
                )
            }
            Speech::Upnp(device) => {
                let granted = timeout(REQUEST, by_upnp(device, client, carried, internal, external)).await;
                let granted = granted.unwrap_or_else(|_| Err("no answer in time".to_owned()));
                (granted.map_err(|reason| format!("UPnP: {reason}"))?, [0; 3])
            }
        };
        if external.ip().is_unspecified() {
            return Err("the router has no address on the internet".to_owned());
        }
        Ok(Lease {
            gateway,
            client,
            protocol: self.protocol(),
            nonce,
            carried,
            internal,
            external: SocketAddr::new(external.ip().to_canonical(), external.port()),
            seconds,
        })
    }

    /// Gives a port back. One that is gone already is no error.
    ///
    /// # Errors
    /// What the router said, or that it said nothing; then the lease's end does it.
    pub(super) async fn release(&self, lease: &Lease) -> Result<(), String> {
        let (at, protocol) = (GatewayAddress::IpV4(self.place.gateway), lease.carried.number());
        let internal_port = NonZeroU16::new(lease.internal).ok_or("port 0")?;
        match &self.speaks {
            Speech::Pcp(nonce) => {
                let which = pcp::DropMappingRange::Single {
                    protocol,
                    internal_port,
                };
                pcp::try_drop_mapping(at, self.place.client.into(), *nonce, which, Some(TIMES))
                    .await
                    .map_err(|error| error.to_string())
            }
            Speech::NatPmp => natpmp::try_drop_mapping(at, protocol, Some(internal_port), Some(TIMES))
                .await
                .map_err(|error| error.to_string()),
            Speech::Upnp(device) => {
                let removal = device.remove_port(lease.carried.name(), lease.external.port());
                match timeout(REQUEST, removal).await {
                    Ok(removed) => removed.map_err(|error| error.to_string()),
                    Err(_) => Err("no answer in time".to_owned()),
                }
            }
        }
    }
}

/// A closed port is silence too, of a router without that language.
fn pcp_reason(failure: pcp::Failure) -> String {
    match failure {
        pcp::Failure::Timeout | pcp::Failure::Socket(_) => format!("PCP: {SILENT}"),
        failure => format!("PCP: {failure}"),
    }
}

fn natpmp_reason(failure: natpmp::Failure) -> String {
    match failure {
        natpmp::Failure::Timeout | natpmp::Failure::Socket(_) => format!("NAT-PMP: {SILENT}"),
        failure => format!("NAT-PMP: {failure}"),
    }
}

impl Carried {
    fn number(self) -> InternetProtocol {
        match self {
            Carried::Udp => InternetProtocol::Udp,
            Carried::Tcp => InternetProtocol::Tcp,
        }
    }

    fn name(self) -> PortMappingProtocol {
        match self {
            Carried::Udp => PortMappingProtocol::UDP,
            Carried::Tcp => PortMappingProtocol::TCP,
        }
    }
}

/// Looks for a UPnP device, and believes only the router itself: whoever else is on the network could send friends
/// elsewhere.
async fn find(place: Place) -> Result<Gateway<Tokio>, String> {
    let mut options = SearchOptions::default();
    options.bind_addr = (place.client, 0).into();
    (options.timeout, options.single_search_timeout) = (Some(SEARCH), Some(SEARCH));
    let device = search_gateway(options).await.map_err(|error| match error {
        SearchError::NoResponseWithinTimeout => format!("UPnP: {SILENT}"),
        error => format!("UPnP: {error}"),
    })?;
    if device.addr.ip() == IpAddr::V4(place.gateway) {
        Ok(device)
    } else {
        Err("UPnP: what answers is not the router".to_owned())
    }
}

async fn by_upnp(
    device: &Gateway<Tokio>,
    client: Ipv4Addr,
    carried: Carried,
    internal: u16,
    external: u16,
) -> Result<SocketAddr, String> {
    let address = device
        .get_external_ip()
        .await
        .map_err(|error| error.to_string())?;
    let here = SocketAddr::new(client.into(), internal);
    let seconds = u32::try_from(LEASE.as_secs()).unwrap_or(u32::MAX);
    let name = carried.name();
    let port = match device.add_port(name, external, here, seconds, NAME).await {
        Ok(()) => external,
        // What it can't end by itself is given back by us, at the next start at the latest.
        Err(AddPortError::OnlyPermanentLeasesSupported) => {
            let added = device.add_port(name, external, here, 0, NAME).await;
            added.map_err(|error| error.to_string())?;
            external
        }
        Err(AddPortError::PortInUse) => {
            let added = device.add_any_port(name, here, seconds, NAME).await;
            added.map_err(|error| error.to_string())?
        }
        Err(error) => return Err(error.to_string()),
    };
    Ok(SocketAddr::new(address, port))
}
