//! A site: a home with a router and players' computers, or a member with a public address.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::internet::Numbers;
use super::internet_line::Line;
use super::internet_router::{Router, Upstream};
use super::nat::{Behaviour, Nat};
use super::net::{Host, Lab, ip, ip_batch};

/// The last byte of a site's first host's address, where addresses are private.
const FIRST_HOST: u8 = 10;

/// How a site is made.
#[derive(Clone, Debug)]
pub struct SiteOptions {
    /// Its router's kind.
    pub nat: Nat,
    /// How many hosts it has.
    pub hosts: u8,
    /// Its hosts are `192.168.{subnet}.10` and so on; two sites may have the same. Open sites take no part in this.
    pub subnet: u8,
    /// Whether its hosts reach each other by their public addresses.
    pub hairpin: bool,
    /// A carrier whose private addresses the router gets; none has it on the public network.
    pub carrier: Option<Arc<Carrier>>,
    /// Its line to the carrier or the public network.
    pub line: Line,
}

impl SiteOptions {
    /// One host behind `nat` on a plain line of its own, in subnet 1, without hairpin.
    #[must_use]
    pub fn new(nat: Nat) -> Self {
        Self {
            nat,
            hosts: 1,
            subnet: 1,
            hairpin: false,
            carrier: None,
            line: Line::default(),
        }
    }
}

/// A provider that puts its customers behind a NAT of its own (RFC 6598).
#[derive(Debug)]
pub struct Carrier {
    router: Router,
    inside: Arc<Upstream>,
    network: [u8; 3],
    customers: AtomicU8,
}

impl Carrier {
    pub(super) fn raise(router: Router, number: u8) -> Self {
        let network = [100, 64, number];
        let gateway = Ipv4Addr::new(100, 64, number, 1);
        Self {
            inside: Arc::new(Upstream::new(router.host(), gateway)),
            router,
            network,
            customers: AtomicU8::new(2),
        }
    }

    /// Its router.
    #[must_use]
    pub fn router(&self) -> &Router {
        &self.router
    }

    fn address(&self) -> Ipv4Addr {
        let [a, b, c] = self.network;
        Ipv4Addr::new(a, b, c, self.customers.fetch_add(1, Ordering::Relaxed))
    }
}

/// A site, running.
#[derive(Debug)]
pub struct Site {
    options: SiteOptions,
    router: Router,
    hosts: Vec<Host>,
    numbers: Arc<Numbers>,
    /// Its network with its length, and the router's address in it.
    lan: Mutex<(String, Ipv4Addr)>,
}

impl Site {
    pub(super) fn raise(
        lab: &Lab,
        backbone: &Arc<Upstream>,
        numbers: &Arc<Numbers>,
        options: &SiteOptions,
    ) -> Result<Self> {
        let (upstream, address) = match &options.carrier {
            Some(carrier) => (&carrier.inside, carrier.address()),
            None => (backbone, numbers.public()?),
        };
        let (nat, hairpin) = (options.nat, options.hairpin);
        let router = Router::raise(lab, upstream, address, nat, hairpin, options.line)?;
        let mut site = Self {
            options: options.clone(),
            router,
            hosts: Vec::new(),
            numbers: Arc::clone(numbers),
            lan: Mutex::new((String::new(), Ipv4Addr::UNSPECIFIED)),
        };
        let (network, inside, first) = site.plan()?;
        let length = prefix_length(&network);
        ip_batch(
            site.router.host().namespace(),
            &format!(
                "link add lan type bridge stp_state 0 mcast_snooping 0\n\
                 address add {inside}/{length} dev lan\n\
                 link set lan up\n"
            ),
        )?;
        for number in 0..options.hosts {
            site.add_host(next(first, number), inside, length)?;
        }
        if nat == Nat::Open {
            site.router.announce(&network)?;
        }
        *site.lan.lock().unwrap_or_else(PoisonError::into_inner) = (network, inside);
        Ok(site)
    }

    /// How it was made.
    #[must_use]
    pub fn options(&self) -> &SiteOptions {
        &self.options
    }

    /// Its hosts.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Its only or first host.
    ///
    /// # Errors
    /// When it was made without any.
    pub fn host(&self) -> Result<&Host> {
        self.hosts.first().context("a site without hosts")
    }

    /// Its router.
    #[must_use]
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// What its hosts see of the NATs between themselves and the public network, if these are what they claim to be.
    #[must_use]
    pub fn claim(&self) -> Behaviour {
        match &self.options.carrier {
            Some(carrier) => self.options.nat.claim_behind(carrier.router.nat()),
            None => self.options.nat.claim(),
        }
    }

    /// Its router forgets every mapping: [`Router::forget`].
    ///
    /// # Errors
    /// As [`Router::forget`].
    pub fn forget(&self) -> Result<()> {
        self.router.forget()
    }

    /// How long its router remembers: [`Router::set_timeouts`].
    ///
    /// # Errors
    /// As [`Router::set_timeouts`].
    pub fn set_timeouts(&self, remembers: Duration) -> Result<()> {
        self.router.set_timeouts(remembers)
    }

    /// Cuts its line or mends it.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn set_link(&self, up: bool) -> Result<()> {
        self.router.set_link(up)
    }

    /// Lets UDP out to these addresses alone, so that members elsewhere are reached by a relay or not at all. What was
    /// said before counts no more.
    ///
    /// # Errors
    /// When `nft` does not take it.
    pub fn allow_udp_only_to(&self, addresses: &[Ipv4Addr]) -> Result<()> {
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let others = format!("ip daddr != {{ {} }}", addresses.join(", "));
        self.guard("udp", &format!("meta l4proto udp {others}"))
    }

    /// Lets TCP out to this port alone, as many offices do.
    ///
    /// # Errors
    /// When `nft` does not take it.
    pub fn allow_tcp_only_to(&self, port: u16) -> Result<()> {
        self.guard("tcp", &format!("tcp dport != {port}"))
    }

    fn guard(&self, name: &str, what: &str) -> Result<()> {
        self.router.load(&format!(
            "table ip guard-{name} {{ }}\ndelete table ip guard-{name}\ntable ip guard-{name} {{\n  chain passing {{\n    type filter hook forward priority filter - 5;\n    \
             oifname \"wan\" {what} drop\n  }}\n}}\n"
        ))
    }

    /// Gives it another public address; the hosts of an open site get other addresses themselves. [`Host::address`]
    /// stays the one a host was made with.
    ///
    /// # Errors
    /// When addresses run out or `ip` fails.
    pub fn change_address(&self) -> Result<()> {
        let address = match &self.options.carrier {
            Some(carrier) => carrier.address(),
            None => self.numbers.public()?,
        };
        self.router.set_address(address)?;
        if self.options.nat != Nat::Open {
            return Ok(());
        }
        let (network, inside, first) = self.plan()?;
        let length = prefix_length(&network);
        let mut lan = self.lan.lock().unwrap_or_else(PoisonError::into_inner);
        self.router.withdraw(&lan.0)?;
        let router = self.router.host().namespace();
        ip_batch(
            router,
            &format!("address flush dev lan\naddress add {inside}/{length} dev lan\n"),
        )?;
        for (host, number) in self.hosts.iter().zip(0..) {
            let namespace = host.namespace();
            ip(&["-n", namespace, "-4", "address", "flush", "dev", "eth0"])?;
            ip_batch(
                namespace,
                &format!(
                    "address add {}/{length} dev eth0\n\
                     route replace default via {inside}\n",
                    next(first, number)
                ),
            )?;
        }
        self.router.announce(&network)?;
        *lan = (network, inside);
        Ok(())
    }

    /// Takes a host's interface down, or up again with the route that went with it.
    ///
    /// # Errors
    /// When it is no host of this site, or `ip` fails.
    pub fn set_interface(&self, host: &Host, up: bool) -> Result<()> {
        let own = |other: &Host| other.namespace() == host.namespace();
        ensure!(self.hosts.iter().any(own), "host {} is elsewhere", host.index());
        if !up {
            return ip(&["-n", host.namespace(), "link", "set", "eth0", "down"]).map(drop);
        }
        let inside = self.lan.lock().unwrap_or_else(PoisonError::into_inner).1;
        ip_batch(
            host.namespace(),
            &format!("link set eth0 up\nroute replace default via {inside}\n"),
        )
    }

    /// A network for its hosts: the network, the router's address in it, the first host's.
    fn plan(&self) -> Result<(String, Ipv4Addr, Ipv4Addr)> {
        if self.options.nat == Nat::Open {
            ensure!(self.options.hosts <= 12, "an open site has room for twelve hosts");
            let network = self.numbers.block()?;
            return Ok((format!("{network}/28"), next(network, 1), next(network, 2)));
        }
        let subnet = self.options.subnet;
        Ok((
            format!("192.168.{subnet}.0/24"),
            Ipv4Addr::new(192, 168, subnet, 1),
            Ipv4Addr::new(192, 168, subnet, FIRST_HOST),
        ))
    }

    fn add_host(&mut self, address: Ipv4Addr, gateway: Ipv4Addr, length: u8) -> Result<()> {
        let router = self.router.host().namespace();
        let host = self.router.host().lab().machine(
            "h",
            |_| address,
            |index| (router.to_owned(), format!("p{index}")),
        )?;
        let port = format!("p{}", host.index());
        ip_batch(
            router,
            &format!(
                "link add {port} type veth peer name eth0 netns {}\nlink set {port} master lan up\n",
                host.namespace()
            ),
        )?;
        ip_batch(
            host.namespace(),
            &format!(
                "link set lo up\n\
                 address add {address}/{length} dev eth0\n\
                 link set eth0 up multicast on\n\
                 route add default via {gateway}\n"
            ),
        )?;
        self.hosts.push(host);
        Ok(())
    }
}

/// The address `number` further on.
fn next(address: Ipv4Addr, number: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(address.to_bits() + u32::from(number))
}

fn prefix_length(network: &str) -> u8 {
    network
        .split_once('/')
        .and_then(|(_, length)| length.parse().ok())
        .unwrap_or(32)
}
