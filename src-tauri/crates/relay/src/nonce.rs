//! Nonces (RFC 8489 §9.2): a time and a keyed hash over it and the client, so that none has to be remembered.

use crate::client::{Client, Link};
use data_encoding::BASE64URL_NOPAD;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long a nonce is taken.
const LIFE: Duration = Duration::from_secs(10 * 60);
/// Bytes of the hash that go into a nonce.
const HASH: usize = 12;

/// What makes and knows nonces.
pub(crate) struct Nonces {
    key: [u8; 32],
    start: Instant,
}

impl std::fmt::Debug for Nonces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nonces")
    }
}

impl Nonces {
    /// Nonces made with another key are stale.
    pub(crate) fn new(key: [u8; 32], start: Instant) -> Self {
        Self { key, start }
    }

    /// A fresh one.
    pub(crate) fn make(&self, now: Instant, client: &Client) -> String {
        self.at(self.second(now), client)
    }

    /// Whether one was made for this client, and not too long ago.
    pub(crate) fn holds(&self, now: Instant, client: &Client, nonce: &[u8]) -> bool {
        let Ok(decoded) = BASE64URL_NOPAD.decode(nonce) else {
            return false;
        };
        let Some(second) = decoded.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes)) else {
            return false;
        };
        let age = self.second(now).checked_sub(second);
        age.is_some_and(|age| u64::from(age) <= LIFE.as_secs()) && self.at(second, client).as_bytes() == nonce
    }

    fn at(&self, second: u32, client: &Client) -> String {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&second.to_be_bytes());
        match client.remote.ip() {
            IpAddr::V4(ip) => hasher.update(&ip.octets()),
            IpAddr::V6(ip) => hasher.update(&ip.octets()),
        };
        hasher.update(&client.remote.port().to_be_bytes());
        hasher.update(&[u8::from(client.link == Link::Datagram)]);
        let mut nonce = second.to_be_bytes().to_vec();
        nonce.extend_from_slice(&hasher.finalize().as_bytes()[..HASH]);
        BASE64URL_NOPAD.encode(&nonce)
    }

    fn second(&self, now: Instant) -> u32 {
        crate::wire::seconds(now.saturating_duration_since(self.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Service;

    fn client(remote: &str) -> Client {
        Client {
            link: Link::Datagram,
            service: Service::Turn,
            local: "203.0.113.1:3478".parse().unwrap(),
            remote: remote.parse().unwrap(),
        }
    }

    #[test]
    fn a_nonce_is_good_for_its_client_and_ten_minutes() {
        let start = Instant::now();
        let nonces = Nonces::new([1; 32], start);
        let now = start + Duration::from_secs(1000);
        let nonce = nonces.make(now, &client("198.51.100.1:5000"));
        let holds = |now, remote: &str| nonces.holds(now, &client(remote), nonce.as_bytes());
        assert!(holds(now, "198.51.100.1:5000"));
        assert!(holds(now + LIFE, "198.51.100.1:5000"));
        assert!(!holds(now + LIFE + Duration::from_secs(1), "198.51.100.1:5000"));
        assert!(!holds(now, "198.51.100.1:5001"));
        assert!(!holds(now, "198.51.100.2:5000"));
        assert!(
            !holds(now - Duration::from_secs(1), "198.51.100.1:5000"),
            "from the future"
        );
        let other = Nonces::new([2; 32], start);
        assert!(!other.holds(now, &client("198.51.100.1:5000"), nonce.as_bytes()));
    }

    #[test]
    fn what_is_no_nonce_is_none() {
        let now = Instant::now();
        let nonces = Nonces::new([1; 32], now);
        for wrong in [&b""[..], b"AAAA", b"A", b"\xff\xff", &[b'A'; 400]] {
            assert!(!nonces.holds(now, &client("198.51.100.1:5000"), wrong));
        }
    }
}
