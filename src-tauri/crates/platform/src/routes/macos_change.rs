//! Routes added and removed by route(8), the system's own program.

use std::io;
use std::process::{Command, Stdio};

use super::Network;

pub(super) fn add(network: Network, interface: &str) -> io::Result<()> {
    let output = route("add", network, interface)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(said))
}

/// The program fails where there is no such route.
pub(super) fn remove(network: Network, interface: &str) -> io::Result<bool> {
    Ok(route("delete", network, interface)?.status.success())
}

fn route(verb: &str, network: Network, interface: &str) -> io::Result<std::process::Output> {
    Command::new("/sbin/route")
        .args(["-n", verb, "-net", &network.to_string(), "-interface", interface])
        .stdin(Stdio::null())
        .output()
}
