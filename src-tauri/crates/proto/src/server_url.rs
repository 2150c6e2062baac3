//! Where a control plane is reached.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use thiserror::Error;

/// The address of a control plane: `wss://host[:port]`, or `ws://address[:port]` on loopback and private
/// addresses. Nothing else: no path, no user, no query.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerUrl {
    tls: bool,
    host: String,
    port: u16,
}

/// Why a text is no address of a control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ServerUrlError {
    /// Neither `ws://` nor `wss://`.
    #[error("a control plane's address begins with wss:// or ws://")]
    Scheme,
    /// No host, a bad port, or more than host and port.
    #[error("a control plane's address is wss://host or wss://host:port")]
    Form,
    /// `ws://` to somewhere whose path could be listened to.
    #[error("ws:// is only for loopback and private addresses; use wss://")]
    Insecure,
}

impl ServerUrl {
    /// Reads an address.
    pub fn parse(text: &str) -> Result<Self, ServerUrlError> {
        let text = text.trim();
        let (tls, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("wss") => (true, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("ws") => (false, rest),
            _ => return Err(ServerUrlError::Scheme),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = split_port(rest, if tls { 443 } else { 80 }).ok_or(ServerUrlError::Form)?;
        let url = Self {
            tls,
            host: host.to_ascii_lowercase(),
            port,
        };
        if !url.tls && !url.address().is_some_and(is_near) {
            return Err(ServerUrlError::Insecure);
        }
        Ok(url)
    }

    /// The plain address of a control plane in local mode. An invite's `via=` may hold a mapped public one, so
    /// this alone does not ask for a private address; what travels there is proofs and sealed records.
    pub fn plain(at: SocketAddr) -> Self {
        Self {
            tls: false,
            host: at.ip().to_string(),
            port: at.port(),
        }
    }

    /// Whether it is `wss://`.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// A name or a literal address, the latter without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host, where it is a literal address.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// `host:port`, as proofs of admission sign it and the Host header carries it.
    pub fn authority(&self) -> String {
        match self.address() {
            Some(IpAddr::V6(address)) => format!("[{address}]:{}", self.port),
            _ => format!("{}:{}", self.host, self.port),
        }
    }
}

fn split_port(text: &str, default: u16) -> Option<(&str, u16)> {
    let port = |digits: &str| match digits.strip_prefix(':') {
        None if digits.is_empty() => Some(default),
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok().filter(|p| *p != 0),
        _ => None,
    };
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        return Some((host, port(rest)?));
    }
    let (host, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
    let is_name = !host.is_empty()
        && host.len() <= 253
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
    if is_name { Some((host, port(rest)?)) } else { None }
}

/// Loopback, private (RFC 1918), shared (RFC 6598), link-local or unique local (RFC 4193) addresses.
pub fn is_near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_near(IpAddr::V4(v4)),
            None => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
        },
    }
}

/// Whether a member could be reached there at all: unicast, not loopback, not link-local, not unspecified,
/// not within `range`.
pub fn is_reachable_unicast(address: IpAddr, range: crate::PartyRange) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !(v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.octets()[0] == 0
                || v4.octets()[0] >= 240
                || range.contains(v4))
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4 != Ipv4Addr::UNSPECIFIED && is_reachable_unicast(IpAddr::V4(v4), range),
            None => {
                !(v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() || v6.is_unicast_link_local())
            }
        },
    }
}

impl std::fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}://{}",
            if self.tls { "wss" } else { "ws" },
            self.authority()
        )
    }
}

impl TryFrom<String> for ServerUrl {
    type Error = ServerUrlError;
    fn try_from(text: String) -> Result<Self, ServerUrlError> {
        Self::parse(&text)
    }
}

impl From<ServerUrl> for String {
    fn from(url: ServerUrl) -> String {
        url.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, written) in [
            ("wss://party.example.org", "wss://party.example.org:443"),
            ("WSS://Party.Example.org:8443/", "wss://party.example.org:8443"),
            ("ws://127.0.0.1:51820", "ws://127.0.0.1:51820"),
            ("ws://[fd00::1]:51820", "ws://[fd00::1]:51820"),
            ("ws://192.168.1.5", "ws://192.168.1.5:80"),
        ] {
            assert_eq!(ServerUrl::parse(text).unwrap().to_string(), written);
        }
    }

    #[test]
    fn others_are_refused_with_the_reason() {
        for (text, error) in [
            ("http://example.org", ServerUrlError::Scheme),
            ("example.org", ServerUrlError::Scheme),
            ("wss://", ServerUrlError::Form),
            ("wss://example.org/path", ServerUrlError::Form),
            ("wss://user@example.org", ServerUrlError::Form),
            ("wss://example.org:0", ServerUrlError::Form),
            ("wss://example.org:99999", ServerUrlError::Form),
            ("ws://[::1", ServerUrlError::Form),
            ("ws://example.org", ServerUrlError::Insecure),
            ("ws://8.8.8.8", ServerUrlError::Insecure),
        ] {
            assert_eq!(ServerUrl::parse(text), Err(error), "{text}");
        }
    }
}
