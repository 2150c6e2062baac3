//! What `doctor` can see when no engine answers.

use crate::{adapter, network};
use lanrage_platform::ipc;
use lanrage_proto::doctor::Outside;
use lanrage_proto::server_url::is_near;
use lanrage_proto::{FaultCode, PartyRange};
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
        .chain(possible.err())
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
