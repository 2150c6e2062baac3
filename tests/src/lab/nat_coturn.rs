//! A second opinion on NATs: coturn's server and its discovery tool (RFC 5780), as Debian ships them.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::internet::Internet;
use super::nat::Dependence;
use super::net::Host;
use super::process::Process;
use super::wait::{eventually, felt};

/// The port of STUN (RFC 8489).
const PORT: u16 = 3478;

/// Seconds after which the discovery tool is ended: where no answer comes it may wait for ever.
const LIMIT: &str = "8";

/// coturn as a STUN server on the internet's server host, on both of its addresses.
#[derive(Debug)]
pub struct Coturn {
    addresses: [Ipv4Addr; 2],
    _process: Process,
}

/// What coturn's tool says of a host's NATs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// Whether a source is seen as another address than its own.
    pub translated: bool,
    /// What decides the port it is seen as.
    pub mapping: Dependence,
    /// What decides whose datagrams come in.
    pub filtering: Dependence,
}

impl Coturn {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// When it is not installed or does not answer in time.
    pub fn start(internet: &Internet) -> Result<Self> {
        let (host, addresses) = (internet.server(), internet.server_addresses());
        let files = host.lab().files();
        let mut command = host.command("turnserver".as_ref());
        command.args(["-n", "--stun-only", "--no-tls", "--no-dtls", "--no-cli"]);
        command.args(["--simple-log", "--log-file", "stdout"]);
        for (option, name) in [("--pidfile", "coturn.pid"), ("--userdb", "coturn.db")] {
            command.arg(option).arg(files.join(name));
        }
        for address in addresses {
            command.args(["--listening-ip", &address.to_string()]);
        }
        let mut process = host.spawn("coturn", &mut command)?;
        eventually("coturn answers", felt::START, || {
            ensure!(process.is_running()?, "coturn ended: {}", process.log());
            let answered = host.inside(|| {
                // Its sockets are opened one after the other.
                for at in [0, 1]
                    .into_iter()
                    .flat_map(|port| addresses.map(|address| (address, PORT + port)))
                {
                    let socket = UdpSocket::bind((addresses[0], 0))?;
                    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
                    // A Binding request without attributes (RFC 8489 §5).
                    let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
                    request.extend([7; 12]);
                    socket.send_to(&request, at)?;
                    socket.recv(&mut [0; 128])?;
                }
                Ok(())
            });
            Ok(answered.map_err(|error| format!("{error:#}")))
        })?;
        Ok(Self {
            addresses,
            _process: process,
        })
    }

    /// What engines are given as `--stun`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (self.addresses[0], PORT).into()
    }

    /// Runs the discovery tool in `host`; none where UDP is blocked. The tool does not repeat what it sends, so that
    /// a busy machine may take it for blocked: it is believed the third time.
    ///
    /// # Errors
    /// When it says something unheard of.
    pub fn discover(&self, host: &Host) -> Result<Option<Discovery>> {
        for _ in 0..2 {
            if let Some(found) = self.discover_once(host)? {
                return Ok(Some(found));
            }
        }
        self.discover_once(host)
    }

    fn discover_once(&self, host: &Host) -> Result<Option<Discovery>> {
        let (server, own) = (self.addresses[0].to_string(), host.address().to_string());
        let run = [LIMIT, "turnutils_natdiscovery", "-m", "-f", "-L", &own, &server];
        let said = match host.output("timeout", &run) {
            Ok(said) => said,
            // The exit status of `timeout` when it had to end its program: other versions of the tool wait on.
            Err(error) if format!("{error:#}").contains("exit status: 124") => return Ok(None),
            Err(error) => return Err(error),
        };
        if said.contains("receive timeout") && !said.contains("response") {
            return Ok(None);
        }
        read(&said)
            .with_context(|| format!("turnutils_natdiscovery said: {said}"))
            .map(Some)
    }
}

fn read(said: &str) -> Result<Discovery> {
    let dependence = |what: &str| {
        if said.contains(&format!("Endpoint Independent {what}!")) {
            Ok(Dependence::EndpointIndependent)
        } else if said.contains(&format!("Address Dependent {what}!")) {
            Ok(Dependence::AddressDependent)
        } else if said.contains(&format!("Address and Port Dependent {what}!")) {
            Ok(Dependence::AddressAndPortDependent)
        } else {
            bail!("nothing about {what}")
        }
    };
    let translated = !said.contains("No NAT!");
    Ok(Discovery {
        translated,
        mapping: if translated {
            dependence("Mapping")?
        } else {
            Dependence::EndpointIndependent
        },
        filtering: dependence("Filtering")?,
    })
}
