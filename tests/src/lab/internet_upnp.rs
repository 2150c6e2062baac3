//! A home router that opens ports on request: Debian's `miniupnpd` beside a site's NAT.

use std::fs;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};

use super::internet_site::Site;
use super::net::Host;
use super::process::Process;
use super::wait::{eventually, felt};

/// Its table in the router, apart from the NAT's own.
const TABLE: &str = "upnpd";

/// What it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// PCP and NAT-PMP (RFC 6887, RFC 6886), and UPnP.
    Everything,
    /// UPnP alone.
    Upnp,
}

/// It, running in a site's router.
#[derive(Debug)]
pub struct PortOpener {
    router: Host,
    process: Process,
}

impl PortOpener {
    /// Starts it and waits until it listens. The site moves to `address`, as miniupnpd maps nothing onto addresses that
    /// are reserved, which all others of a lab are; there is no way out of a lab, whoever has it elsewhere.
    ///
    /// # Errors
    /// When it is not installed, or does not listen in time.
    pub fn start(site: &Site, address: Ipv4Addr, speaks: Speaks) -> Result<Self> {
        let router = site.router();
        router.set_address(address)?;
        router.load(&format!(
            "table inet {TABLE} {{\n\
             chain forward {{ type filter hook forward priority filter; jump opened; }}\n\
             chain opened {{ }}\n\
             chain prerouting {{ type nat hook prerouting priority dstnat; jump led; }}\n\
             chain led {{ }}\n\
             chain postrouting {{ type nat hook postrouting priority srcnat; jump leaving; }}\n\
             chain leaving {{ }}\n\
             }}\n"
        ))?;
        let host = router.host().clone();
        let files = host.lab().files();
        let settings = files.join(format!("{}.upnpd", host.namespace()));
        let natpmp = if speaks == Speaks::Everything { "yes" } else { "no" };
        fs::write(
            &settings,
            format!(
                "ext_ifname=wan\nlistening_ip=lan\nenable_natpmp={natpmp}\nenable_upnp=yes\nsecure_mode=yes\n\
                 min_lifetime=120\nmax_lifetime=86400\nuuid=6c4b0d34-1f7a-4c36-9b7e-3d1f5e0a9c{:02}\n\
                 upnp_table_name={TABLE}\nupnp_nat_table_name={TABLE}\nupnp_forward_chain=opened\n\
                 upnp_nat_chain=led\nupnp_nat_postrouting_chain=leaving\n\
                 allow 1024-65535 0.0.0.0/0 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n",
                host.index() % 100
            ),
        )?;
        let pid = files.join(format!("{}.upnpd.pid", host.namespace()));
        let mut command = host.command("miniupnpd".as_ref());
        command.arg("-d").arg("-f").arg(&settings).arg("-P").arg(&pid);
        let process = host
            .spawn("miniupnpd", &mut command)
            .context("is miniupnpd-nftables installed?")?;
        let mut opener = Self {
            router: host,
            process,
        };
        eventually("miniupnpd listens", felt::START, || {
            ensure!(
                opener.process.is_running()?,
                "miniupnpd ended: {}",
                opener.process.log()
            );
            // Of its ports the one of SSDP is opened last but NAT-PMP's.
            let open = opener.router.udp_ports()?;
            let wanted: &[u16] = if speaks == Speaks::Everything {
                &[1900, 5351]
            } else {
                &[1900]
            };
            let missing = wanted.iter().find(|port| !open.contains(port));
            Ok(missing.map_or(Ok(()), |port| Err(format!("UDP port {port} is closed"))))
        })?;
        Ok(opener)
    }

    /// What it leads inside now, a line for each.
    ///
    /// # Errors
    /// When `nft` fails.
    pub fn opened(&self) -> Result<Vec<String>> {
        let rules = self
            .router
            .output("nft", &["list", "chain", "inet", TABLE, "led"])?;
        let leads = rules.lines().filter(|line| line.contains("dnat"));
        Ok(leads.map(|line| line.trim().to_owned()).collect())
    }
}
