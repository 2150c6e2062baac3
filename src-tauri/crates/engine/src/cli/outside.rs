//! What `doctor` can see when no engine answers.

use crate::{adapter, network};
use lanrage_platform::{ipc, rights};
use lanrage_proto::doctor::Outside;
use lanrage_proto::server_url::is_near;
use lanrage_proto::{Fault, FaultCode, PartyRange};
use std::net::IpAddr;
use std::path::Path;

/// Looks at this computer as it is for who asks; it may be less than an engine with its rights would see.
pub(super) fn look(socket: Option<&Path>) -> Outside {
    let socket = socket.map_or_else(ipc::default_socket_path, Path::to_path_buf);
    let range = PartyRange::DEFAULT;
    let network = network::look(None, range, 0).unwrap_or_default();
    let has = |wanted: fn(IpAddr) -> bool| network.addresses.iter().any(|(own, _)| wanted(*own));
    let possible = adapter::possible();
    let adapter_possible = possible.is_ok();
    let offline = network.addresses.is_empty().then(|| FaultCode::Offline.into());
    let findings = offline
        .into_iter()
        .chain(obstacle(possible, rights::is_root()))
        .chain(network::clash(range, None));
    Outside {
        socket_exists: std::fs::symlink_metadata(&socket).is_ok(),
        socket: socket.display().to_string(),
        adapter_possible,
        ipv4: has(|own| own.is_ipv4()),
        ipv6: has(|own| own.is_ipv6() && !is_near(own)),
        findings: findings.collect(),
    }
}

/// What would keep an engine from making its adapter. What an ordinary user lacks stands in no engine's way: the system
/// starts it as root.
fn obstacle(possible: Result<(), Fault>, asked_by_root: bool) -> Option<Fault> {
    possible
        .err()
        .filter(|fault| asked_by_root || fault.code != FaultCode::NoRights)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_that_root_lacks_are_an_obstacle_and_those_that_a_user_lacks_are_none() {
        let without = |code: FaultCode| Err(Fault::from(code));
        for (possible, by_root, expected) in [
            (without(FaultCode::NoRights), false, None),
            (without(FaultCode::NoRights), true, Some(FaultCode::NoRights)),
            (
                without(FaultCode::NoTunDevice),
                false,
                Some(FaultCode::NoTunDevice),
            ),
            (Ok(()), true, None),
        ] {
            assert_eq!(obstacle(possible, by_root).map(|fault| fault.code), expected);
        }
    }
}
