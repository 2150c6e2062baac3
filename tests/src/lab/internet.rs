//! A lab's internet: a backbone, a server with two public addresses, and homes behind NATs.
//!
//! ```text
//!  server 203.0.113.1 and 198.51.100.1
//!     │
//!  backbone ──────┬──────────────────┬──────────────────────┐      forwards by address; what nobody has it drops
//!     │ 198.18.n.10                  │ 198.18.n.10          │ 198.18.n.10
//!  router with NAT                 open router           carrier with NAT
//!     │ 192.168.s.1/24               │ 198.19.m.1/28        │ 100.64.c.n
//!   host .10, host .11             host                  router with NAT ── 192.168.s.1/24 ── host .10
//! ```
//!
//! Each box is a network namespace; the NATs are the kernel's own. Addresses are those kept for documentation (RFC 5737)
//! and for tests (RFC 2544), which programs take for public ones; each site has a /24 of its own, as servers count
//! what comes from one. There is no way out: no namespace has a link to this machine.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

use anyhow::{Context, Result, bail};

use super::internet_line::Line;
use super::internet_router::{Router, Upstream, forward};
use super::internet_site::{Carrier, Site, SiteOptions};
use super::nat::Nat;
use super::net::{Host, Lab, ip, ip_batch};

/// The server's addresses.
const SERVER: [Ipv4Addr; 2] = [Ipv4Addr::new(203, 0, 113, 1), Ipv4Addr::new(198, 51, 100, 1)];

/// The backbone's address on every line.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 254);

/// A public network in a lab.
#[derive(Debug)]
pub struct Internet {
    lab: Lab,
    backbone: Arc<Upstream>,
    server: Host,
    numbers: Arc<Numbers>,
}

/// Addresses dealt so far.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    publics: AtomicU8,
    blocks: AtomicU8,
    carriers: AtomicU8,
}

impl Numbers {
    /// A public address that nobody had yet.
    pub(super) fn public(&self) -> Result<Ipv4Addr> {
        match self.publics.fetch_add(1, Ordering::Relaxed) {
            u8::MAX => bail!("the lab has no more public addresses"),
            network => Ok(Ipv4Addr::new(198, 18, network, 10)),
        }
    }

    /// A network of 16 public addresses that nobody had yet.
    pub(super) fn block(&self) -> Result<Ipv4Addr> {
        match self.blocks.fetch_add(1, Ordering::Relaxed) {
            u8::MAX => bail!("the lab has no more public networks"),
            network => Ok(Ipv4Addr::new(198, 19, network, 0)),
        }
    }
}

impl Internet {
    /// Raises the backbone and the server's host.
    ///
    /// # Errors
    /// Without the right to make network namespaces, or without `ip`, `nft` and `conntrack`.
    pub fn new(lab: &Lab) -> Result<Self> {
        let unplugged = |_| (String::new(), String::new());
        let host = lab.machine("b", |_| GATEWAY, unplugged)?;
        forward(&host)?;
        // What a provider has no route for it drops without a word.
        ip_batch(host.namespace(), "link set lo up\nroute add blackhole default\n")?;
        let backbone = Arc::new(Upstream::new(&host, GATEWAY));
        let [first, second] = SERVER;
        let server = lab.machine("s", |_| first, unplugged)?;
        let (port, _) = backbone.attach(&server, first, Line::default())?;
        ip(&[
            "-n",
            server.namespace(),
            "address",
            "add",
            &format!("{second}/32"),
            "dev",
            "wan",
        ])?;
        ip(&[
            "-n",
            host.namespace(),
            "route",
            "add",
            &format!("{second}/32"),
            "dev",
            &port,
        ])?;
        Ok(Self {
            lab: lab.clone(),
            backbone,
            server,
            numbers: Arc::default(),
        })
    }

    /// The server's host; [`Host::address`] is its first address.
    #[must_use]
    pub fn server(&self) -> &Host {
        &self.server
    }

    /// The server's two addresses.
    #[must_use]
    pub fn server_addresses(&self) -> [Ipv4Addr; 2] {
        SERVER
    }

    /// Adds a site.
    ///
    /// # Errors
    /// When addresses run out, or the kernel lacks what it takes.
    pub fn site(&self, options: &SiteOptions) -> Result<Site> {
        Site::raise(&self.lab, &self.backbone, &self.numbers, options)
            .with_context(|| format!("a site can't be made: {options:?}"))
    }

    /// Adds sites side by side.
    ///
    /// # Errors
    /// As [`Internet::site`].
    pub fn sites(&self, options: &[SiteOptions]) -> Result<Vec<Site>> {
        thread::scope(|scope| {
            let raised: Vec<_> = options
                .iter()
                .map(|options| scope.spawn(|| self.site(options)))
                .collect();
            raised
                .into_iter()
                .map(|site| site.join().unwrap_or_else(|_| bail!("raising a site panicked")))
                .collect()
        })
    }

    /// Adds a carrier, for [`SiteOptions::carrier`].
    ///
    /// # Errors
    /// As [`Internet::site`].
    pub fn carrier(&self, nat: Nat, hairpin: bool) -> Result<Arc<Carrier>> {
        let number = self.numbers.carriers.fetch_add(1, Ordering::Relaxed);
        let (address, line) = (self.numbers.public()?, Line::default());
        let router = Router::raise(&self.lab, &self.backbone, address, nat, hairpin, line)
            .with_context(|| format!("a carrier can't be made: {nat}"))?;
        Ok(Arc::new(Carrier::raise(router, number)))
    }
}
