//! Time-limited credentials without a list of users: "A REST API For Access To TURN Services"
//! (draft-uberti-behave-turn-rest), as coturn's `use-auth-secret` has them.
//!
//! The name is `expiry:id` with the expiry in seconds of Unix time; the password is
//! `base64(HMAC-SHA1(secret, name))`. Who knows the secret can hand out names, and who is shown a name can tell its
//! password and its expiry. Our own control plane writes ids as `party.member`, two keyed hashes, so that quotas can
//! hold for a member whatever its name is at the moment, and for its party.

use data_encoding::BASE64;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use std::fmt;
use stun_rs::{Algorithm, AlgorithmId, HMACKey};

/// The longest name that is looked at, bytes (RFC 8489 §14.3 allows 508).
pub const LONGEST_NAME: usize = 128;

/// What the server shares with those who hand out credentials.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Any bytes; the more the better.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The password that belongs to a name.
    pub fn password(&self, name: &str) -> String {
        BASE64.encode(&sign(&self.0, name.as_bytes()))
    }

    /// A name that expires at `expiry` (Unix time, seconds), and its password.
    pub fn credentials(&self, expiry: u64, id: &str) -> Credentials {
        let username = format!("{expiry}:{id}");
        Credentials {
            password: self.password(&username),
            username,
        }
    }

    /// The key of the long-term credential mechanism (RFC 8489 §9.2.2) for a name. None for a realm or name with
    /// characters that such a key can't be made of.
    pub fn key(&self, name: &str, realm: &str) -> Option<Key> {
        let algorithm = Algorithm::from(AlgorithmId::MD5);
        HMACKey::new_long_term(name, realm, self.password(name), algorithm)
            .ok()
            .map(Key)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Name and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `expiry:id`.
    pub username: String,
    /// base64.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// A client's long-term key.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(pub(crate) HMACKey);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// A name, understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name<'a> {
    /// Until when something may be allocated under it, Unix time in seconds.
    pub expiry: u64,
    /// Whose it is.
    pub member: &'a str,
    /// The part of `member` that all of a party have in common, where it is one of ours.
    pub party: Option<&'a str>,
}

impl<'a> Name<'a> {
    /// Reads `expiry:id`.
    pub fn parse(name: &'a str) -> Option<Self> {
        if name.len() > LONGEST_NAME || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let (expiry, member) = name.split_once(':')?;
        if member.is_empty() || !expiry.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Self {
            expiry: expiry.parse().ok()?,
            member,
            party: member.split_once('.').map(|(party, _)| party),
        })
    }
}

/// Whether `signature` is the HMAC-SHA1 of all `parts` in a row. Takes the same time for any signature.
pub(crate) fn verify(key: &Key, parts: &[&[u8]], signature: &[u8]) -> bool {
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(key.0.as_bytes()) else {
        return false;
    };
    for part in parts {
        mac.update(part);
    }
    mac.verify_slice(signature).is_ok()
}

fn sign(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(key) else {
        return Vec::new();
    };
    mac.update(bytes);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_what_others_make_of_the_same_secret() {
        // printf '1700000000:alice' | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(
            Secret::new("north").password("1700000000:alice"),
            "Cd/49soE35ICqcJF/bCTn8Z4OyE="
        );
    }

    #[test]
    fn a_name_tells_expiry_member_and_party() {
        let name = Name::parse("1700000000:p1.m2").unwrap();
        assert_eq!(
            (name.expiry, name.member, name.party),
            (1_700_000_000, "p1.m2", Some("p1"))
        );
        assert_eq!(Name::parse("1:alice").unwrap().party, None);
        let long = format!("1:{}", "x".repeat(LONGEST_NAME));
        for wrong in [
            "",
            ":",
            "1:",
            ":a",
            "a:1",
            "-1:a",
            "+1:a",
            "1",
            "1:a b",
            "99999999999999999999999:a",
            "1:ä",
            &long,
        ] {
            assert_eq!(Name::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn neither_secret_nor_password_is_shown() {
        let credentials = Secret::new("north").credentials(1, "alice");
        let shown = format!(
            "{:?} {credentials:?} {:?}",
            Secret::new("north"),
            Secret::new("n").key("1:a", "r")
        );
        assert!(
            !shown.contains("north") && !shown.contains(&credentials.password),
            "{shown}"
        );
    }
}
