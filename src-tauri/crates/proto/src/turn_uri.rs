//! Where a relay is reached: TURN URIs (RFC 7065).

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv6Addr};
use thiserror::Error;
use ts_rs::TS;

/// A relay's address: `turn:host[:port][?transport=udp|tcp]` or `turns:host[:port]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TurnUri {
    transport: TurnTransport,
    host: String,
    port: u16,
}

/// What the client speaks to its relay over; the relay itself always speaks UDP to peers. Games need UDP, so the
/// order is that of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum TurnTransport {
    /// Datagrams.
    Udp,
    /// Where UDP is blocked.
    Tcp,
    /// Where everything but HTTPS is blocked.
    Tls,
}

/// A text that is no TURN URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a relay's address is turn:host:port, turn:host:port?transport=tcp or turns:host:port")]
pub struct NotATurnUri;

impl TurnUri {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, NotATurnUri> {
        let (scheme, rest) = text.trim().split_once(':').ok_or(NotATurnUri)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let transport = match (
            scheme.to_ascii_lowercase().as_str(),
            query.to_ascii_lowercase().as_str(),
        ) {
            ("turn", "" | "transport=udp") => TurnTransport::Udp,
            ("turn", "transport=tcp") => TurnTransport::Tcp,
            ("turns", "" | "transport=tcp") => TurnTransport::Tls,
            _ => return Err(NotATurnUri),
        };
        let default = if transport == TurnTransport::Tls {
            5349
        } else {
            3478
        };
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or(NotATurnUri)?;
                host.parse::<Ipv6Addr>().map_err(|_| NotATurnUri)?;
                (host, port.strip_prefix(':'))
            }
            None => rest
                .split_once(':')
                .map_or((rest, None), |(host, port)| (host, Some(port))),
        };
        let port = match port {
            Some(digits) => digits.parse().ok().filter(|port| *port != 0).ok_or(NotATurnUri)?,
            None => default,
        };
        let is_name = !host.is_empty()
            && host.len() <= 253
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':'));
        if is_name {
            Ok(Self {
                transport,
                host: host.to_ascii_lowercase(),
                port,
            })
        } else {
            Err(NotATurnUri)
        }
    }

    /// What to speak to it over.
    pub fn transport(&self) -> TurnTransport {
        self.transport
    }

    /// A name or a literal address, the latter without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The host, where it is a literal address.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl std::fmt::Display for TurnUri {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.transport == TurnTransport::Tls {
            "turns"
        } else {
            "turn"
        };
        if self.host.contains(':') {
            write!(f, "{scheme}:[{}]:{}", self.host, self.port)?;
        } else {
            write!(f, "{scheme}:{}:{}", self.host, self.port)?;
        }
        if self.transport == TurnTransport::Tcp {
            f.write_str("?transport=tcp")
        } else {
            Ok(())
        }
    }
}

impl std::str::FromStr for TurnUri {
    type Err = NotATurnUri;
    fn from_str(text: &str) -> Result<Self, NotATurnUri> {
        Self::parse(text)
    }
}

impl TryFrom<String> for TurnUri {
    type Error = NotATurnUri;
    fn try_from(text: String) -> Result<Self, NotATurnUri> {
        Self::parse(&text)
    }
}

impl From<TurnUri> for String {
    fn from(uri: TurnUri) -> String {
        uri.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, written) in [
            ("turn:relay.example.org", "turn:relay.example.org:3478"),
            ("turn:192.0.2.1:3479?transport=udp", "turn:192.0.2.1:3479"),
            (
                "turn:192.0.2.1?transport=tcp",
                "turn:192.0.2.1:3478?transport=tcp",
            ),
            ("turns:Relay.example.org:443", "turns:relay.example.org:443"),
            ("turns:[2001:db8::1]", "turns:[2001:db8::1]:5349"),
        ] {
            let uri = TurnUri::parse(text).unwrap();
            assert_eq!(uri.to_string(), written);
            assert_eq!(TurnUri::parse(written).unwrap(), uri);
        }
    }

    #[test]
    fn others_are_refused() {
        for text in [
            "",
            "turn:",
            "stun:host",
            "turn:host:0",
            "turn:host:x",
            "turn:ho st",
            "turns:host?transport=udp",
            "turn:[::1",
        ] {
            assert_eq!(TurnUri::parse(text), Err(NotATurnUri), "{text}");
        }
    }
}
