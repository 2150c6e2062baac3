//! A router: a line outwards with a public address, a NAT, and something behind it.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};

use super::internet_line::{self, Line};
use super::nat::Nat;
use super::net::{Host, Lab, ip, ip_batch};

/// How long a NAT remembers a datagram nobody answered, and one that was answered, unless told otherwise. Linux
/// gives the first 30 s; with 120 s for both, no table outlives the mapping it belongs to (RFC 4787 REQ-5).
const REMEMBERS: Duration = Duration::from_secs(120);

/// Where routers are attached: the backbone, or a carrier.
#[derive(Debug)]
pub(super) struct Upstream {
    host: Host,
    gateway: Ipv4Addr,
    lines: AtomicU32,
}

/// The place of a router on its upstream.
#[derive(Debug)]
struct Plug {
    upstream: Arc<Upstream>,
    /// The upstream's end of the line.
    port: String,
    /// Networks behind the router that the upstream routes to it, besides its address.
    networks: Vec<String>,
}

#[derive(Debug)]
struct State {
    address: Ipv4Addr,
    generation: u16,
    remembers: Duration,
    plug: Plug,
}

/// A router, running.
#[derive(Debug)]
pub struct Router {
    // First, so that its adapters are gone before their namespaces.
    _carrier: Option<internet_line::Carrier>,
    host: Host,
    nat: Nat,
    hairpin: bool,
    state: Mutex<State>,
}

impl Upstream {
    /// `host`, which forwards, with `gateway` as its address on every line.
    pub(super) fn new(host: &Host, gateway: Ipv4Addr) -> Self {
        Self {
            host: host.clone(),
            gateway,
            lines: AtomicU32::new(0),
        }
    }

    /// Connects `host` by its interface `wan`, and routes `address` to it.
    pub(super) fn attach(
        &self,
        host: &Host,
        address: Ipv4Addr,
        line: Line,
    ) -> Result<(String, Option<internet_line::Carrier>)> {
        let port = format!("w{}", self.lines.fetch_add(1, Ordering::Relaxed));
        let (here, there) = (self.host.namespace(), host.namespace());
        let carrier = if line.is_plain() {
            ip(&[
                "-n", here, "link", "add", &port, "type", "veth", "peer", "name", "wan", "netns", there,
            ])?;
            None
        } else {
            let near = self.host.inside(|| internet_line::adapter(&port))?;
            let far = host.inside(|| internet_line::adapter("wan"))?;
            Some(internet_line::Carrier::start([near, far], line))
        };
        let gateway = self.gateway;
        ip_batch(
            here,
            &format!(
                "address add {gateway}/32 dev {port}\n\
                 link set {port} up\n\
                 route add {address}/32 dev {port}\n"
            ),
        )?;
        ip_batch(
            there,
            &format!(
                "link set lo up\n\
                 address add {address}/32 dev wan\n\
                 link set wan up\n\
                 route add default via {gateway} dev wan onlink\n"
            ),
        )?;
        Ok((port, carrier))
    }
}

impl Router {
    /// Raises a router on `upstream`. Its `inside` is not there yet.
    pub(super) fn raise(
        lab: &Lab,
        upstream: &Arc<Upstream>,
        address: Ipv4Addr,
        nat: Nat,
        hairpin: bool,
        line: Line,
    ) -> Result<Self> {
        let host = lab.machine(
            "r",
            |_| address,
            |_| (upstream.host.namespace().to_owned(), String::new()),
        )?;
        forward(&host)?;
        let (port, carrier) = upstream.attach(&host, address, line)?;
        let router = Self {
            _carrier: carrier,
            host,
            nat,
            hairpin,
            state: Mutex::new(State {
                address,
                generation: 0,
                remembers: REMEMBERS,
                plug: Plug {
                    upstream: Arc::clone(upstream),
                    port,
                    networks: Vec::new(),
                },
            }),
        };
        if hairpin {
            router.raise_loop(address)?;
        }
        router.load(&nat.rules(0, REMEMBERS))?;
        router.set_timeouts(REMEMBERS)?;
        Ok(router)
    }

    /// Its namespace.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its kind.
    #[must_use]
    pub fn nat(&self) -> Nat {
        self.nat
    }

    /// Its address on its upstream now.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.state().address
    }

    /// Drops every mapping and every connection it knows; the next packets get other ports. Nothing passes meanwhile,
    /// for one packet in between would bring its entry back.
    ///
    /// # Errors
    /// When the kernel does not take the rules, or `conntrack` is missing.
    pub fn forget(&self) -> Result<()> {
        let mut state = self.state();
        state.generation += 1;
        self.load(&self.gate())?;
        self.load(&self.nat.rules(state.generation, state.remembers))?;
        self.host
            .output("conntrack", &["-F"])
            .context("connections can't be forgotten")?;
        self.load("delete table ip gate\n")
    }

    /// How long it remembers a datagram from now on. What it already knows keeps its time until the next packet.
    ///
    /// # Errors
    /// When the kernel does not take it.
    pub fn set_timeouts(&self, remembers: Duration) -> Result<()> {
        self.state().remembers = remembers;
        let seconds = remembers.as_secs().max(1);
        let script = format!(
            "cd /proc/sys/net/netfilter && echo {seconds} >nf_conntrack_udp_timeout && \
             echo {seconds} >nf_conntrack_udp_timeout_stream"
        );
        self.host.output("sh", &["-c", &script])?;
        match self.nat.memory_rules(remembers) {
            Some(rules) => self.load(&rules),
            None => Ok(()),
        }
    }

    /// Cuts its line outwards, or mends it.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn set_link(&self, up: bool) -> Result<()> {
        let state = self.state();
        let (here, port) = state.plug.end();
        if !up {
            return ip(&["-n", here, "link", "set", port, "down"]).map(drop);
        }
        // The routes through the upstream's end went with it.
        ip_batch(
            here,
            &format!("link set {port} up\n{}", state.routes("replace", state.address)),
        )
    }

    /// Moves it to another address of its upstream, as a provider does at night.
    ///
    /// # Errors
    /// When `ip` fails.
    pub(super) fn set_address(&self, address: Ipv4Addr) -> Result<()> {
        let mut state = self.state();
        let (old, gateway) = (state.address, state.plug.upstream.gateway);
        let (here, port) = state.plug.end();
        ip_batch(
            here,
            &format!(
                "route del {old}/32 dev {port}\n{}",
                state.routes("replace", address)
            ),
        )?;
        let on_loop = |verb: &str, address: Ipv4Addr| {
            let rule = format!("rule {verb} pref 8 to {address} lookup 100\n");
            let own = format!("address {verb} {address}/32 dev loop0\n");
            if self.hairpin {
                format!("{rule}{own}")
            } else {
                String::new()
            }
        };
        // The kernel drops masqueraded connections with the address they came from.
        ip_batch(
            self.host.namespace(),
            &format!(
                "address add {address}/32 dev wan\n{}{}address del {old}/32 dev wan\n\
                 route replace default via {gateway} dev wan onlink\n",
                on_loop("add", address),
                on_loop("del", old),
            ),
        )?;
        self.load(&self.nat.rules(state.generation, state.remembers))?;
        state.address = address;
        Ok(())
    }

    /// Lets the upstream route `network` to it.
    pub(super) fn announce(&self, network: &str) -> Result<()> {
        let mut state = self.state();
        state.plug.networks.push(network.to_owned());
        let routes = state.routes("replace", state.address);
        ip_batch(state.plug.end().0, &routes)
    }

    /// Takes back what [`Router::announce`] said.
    pub(super) fn withdraw(&self, network: &str) -> Result<()> {
        let mut state = self.state();
        state.plug.networks.retain(|known| known != network);
        ip(&["-n", state.plug.end().0, "route", "del", network]).map(drop)
    }

    /// Gives `nft` a script.
    pub(super) fn load(&self, script: &str) -> Result<()> {
        let path = self
            .host
            .lab()
            .files()
            .join(format!("{}.nft", self.host.namespace()));
        std::fs::write(&path, script)?;
        self.host
            .output("nft", &["-f", &path.to_string_lossy()])
            .map(drop)
    }

    /// A way back to its own address: what is sent there from behind comes in again from outside, translated, so
    /// that members behind one NAT reach each other by their public addresses.
    fn raise_loop(&self, address: Ipv4Addr) -> Result<()> {
        let namespace = self.host.namespace();
        // Its own address is everybody's own here, so who is asked first has to be told by where a packet came from.
        ip_batch(
            namespace,
            &format!(
                "link add loop0 address 02:00:00:00:00:10 type veth peer name loop1 address 02:00:00:00:00:11\n\
                 address add {address}/32 dev loop0\n\
                 link set loop0 up\n\
                 link set loop1 up\n\
                 neighbour add 192.0.2.1 lladdr 02:00:00:00:00:11 dev loop0\n\
                 route add default via 192.0.2.1 dev loop0 onlink table 100\n\
                 rule add pref 5 iif wan lookup local\n\
                 rule add pref 6 iif loop1 lookup local\n\
                 rule add pref 7 iif lo lookup local\n\
                 rule add pref 8 to {address} lookup 100\n\
                 rule add pref 9 lookup local\n\
                 rule del pref 0\n"
            ),
        )?;
        let script = "echo 1 >/proc/sys/net/ipv4/conf/loop1/accept_local";
        self.host.output("sh", &["-c", script]).map(drop)
    }

    /// Rules that let nothing through, before connections are looked at.
    fn gate(&self) -> String {
        let chain = |hook: &str| {
            format!("  chain {hook} {{ type filter hook {hook} priority raw - 50; policy drop; }}\n")
        };
        format!("table ip gate {{\n{}{}}}\n", chain("prerouting"), chain("output"))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plug {
    /// The namespace and the name of the upstream's end of the line.
    fn end(&self) -> (&str, &str) {
        (self.upstream.host.namespace(), &self.port)
    }
}

impl State {
    /// Routes to what is at and behind the router, as the upstream has them.
    fn routes(&self, verb: &str, address: Ipv4Addr) -> String {
        let port = &self.plug.port;
        let mut routes = format!("route {verb} {address}/32 dev {port}\n");
        for network in &self.plug.networks {
            routes += &format!("route {verb} {network} via {address} dev {port} onlink\n");
        }
        routes
    }
}

/// Makes a namespace one that forwards whatever it gets, and says nothing about better ways.
pub(super) fn forward(host: &Host) -> Result<()> {
    let script = "cd /proc/sys/net/ipv4/conf && for c in all default; do \
                  echo 0 >$c/rp_filter && echo 0 >$c/send_redirects && echo 0 >$c/accept_redirects || exit 1; done; \
                  echo 1 >/proc/sys/net/ipv4/ip_forward && echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6";
    host.output("sh", &["-c", script]).map(drop)
}
