//! Takes out of a text what is nobody else's business: party IDs and invites, public addresses, names of people.
//!
//! The same address or name becomes the same word everywhere, so that who helps can still tell them apart.

use crate::PartyId;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddrV4};

/// As many things get a number of their own; what comes after shares a word without one.
const TOLD_APART: usize = 4096;
/// What stands for a party ID.
const ID: &str = "[party ID]";
/// What stands for an invite.
const INVITE: &str = "[invite]";
/// How an invite begins.
const LINK: &str = "lanrage://";

/// Replaces, and remembers by what.
#[derive(Debug, Default)]
pub struct Redactor {
    addresses: BTreeMap<IpAddr, usize>,
    names: BTreeMap<String, usize>,
}

impl Redactor {
    /// One that has replaced nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The text without party IDs, invites and public addresses.
    pub fn text(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if rest
                .get(..LINK.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(LINK))
            {
                out.push_str(INVITE);
                rest = &rest[length(rest, |c| !c.is_whitespace() && !"\"'<>)`".contains(c))..];
            } else if first.is_ascii_alphanumeric() || first == ':' {
                // A word ends where an ID or an address must.
                let word = &rest[..length(rest, |c| c.is_ascii_alphanumeric() || "-.:".contains(c))];
                self.word(word, &mut out);
                rest = &rest[word.len()..];
            } else {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
        out
    }

    /// The value with all texts in it redacted; names of people and parties go by their fields' names.
    pub fn json(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.json(item)),
            Value::Object(fields) => {
                for (key, value) in fields {
                    match (key.as_str(), &mut *value) {
                        ("id", Value::String(text)) => ID.clone_into(text),
                        ("invite", Value::String(text)) => INVITE.clone_into(text),
                        ("name" | "player" | "member" | "by" | "user", Value::String(text))
                            if !is_machines(text) =>
                        {
                            *text = self.name(text);
                        }
                        ("at" | "server" | "control", Value::String(text)) => *text = self.server(text),
                        (_, value) => self.json(value),
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// A word of letters, digits and what joins them in an ID or an address.
    fn word(&mut self, word: &str, out: &mut String) {
        let plain = word.trim_end_matches(['.', ':', '-']);
        if is_party_id(plain) {
            out.push_str(ID);
            out.push_str(&word[plain.len()..]);
            return;
        }
        // An address may stand behind a scheme, or before a dash.
        let is_digit = |c: char| c.is_ascii_hexdigit() || ".:".contains(c);
        let mut rest = word;
        while !rest.is_empty() {
            let (run, behind) = rest.split_at(length(rest, is_digit));
            let start = &run[..length(run, |c| ".:".contains(c) && !run.starts_with("::"))];
            let digits = run[start.len()..].trim_end_matches(['.', ':']);
            let end = &run[start.len() + digits.len()..];
            out.push_str(start);
            match self.digits(digits) {
                Some(replaced) => out.push_str(&replaced),
                None => out.push_str(digits),
            }
            out.push_str(end);
            let (letters, next) = behind.split_at(length(behind, |c| !is_digit(c)));
            out.push_str(letters);
            rest = next;
        }
    }

    fn digits(&mut self, digits: &str) -> Option<String> {
        if let Ok(at) = digits.parse::<SocketAddrV4>() {
            let address = self.address((*at.ip()).into())?;
            return Some(format!("{address}:{}", at.port()));
        }
        self.address(digits.parse().ok()?)
    }

    /// The word for a public address; none for one that means nothing elsewhere.
    fn address(&mut self, address: IpAddr) -> Option<String> {
        is_public(address.to_canonical())
            .then(|| numbered("address", &mut self.addresses, address.to_canonical()))
    }

    fn name(&mut self, name: &str) -> String {
        if name.is_empty() {
            return String::new();
        }
        numbered("name", &mut self.names, name.to_owned())
    }

    /// A server's address: where its host has a name, that goes as well.
    fn server(&mut self, text: &str) -> String {
        let Some((scheme, rest)) = text.split_once("://") else {
            return self.text(text);
        };
        let host = rest.split(['/', ':']).next().unwrap_or_default();
        if host.is_empty() || host.starts_with('[') || host.parse::<IpAddr>().is_ok() {
            return self.text(text);
        }
        format!("{scheme}://{}{}", self.name(host), &rest[host.len()..])
    }
}

/// The numbered word that stands for `thing`.
fn numbered<T: Ord>(word: &str, known: &mut BTreeMap<T, usize>, thing: T) -> String {
    let next = known.len() + 1;
    match known.get(&thing) {
        Some(number) => format!("[{word} {number}]"),
        None if next > TOLD_APART => format!("[{word}]"),
        None => {
            known.insert(thing, next);
            format!("[{word} {next}]")
        }
    }
}

/// The bytes at the text's start whose characters all are of one kind.
fn length(text: &str, is_one: impl Fn(char) -> bool) -> usize {
    text.find(|c| !is_one(c)).unwrap_or(text.len())
}

/// Adapters have names as well.
fn is_machines(name: &str) -> bool {
    name.strip_prefix("lanrage")
        .is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit()))
}

/// The dashed form alone: twenty letters by chance are no ID.
fn is_party_id(word: &str) -> bool {
    let groups: Vec<&str> = word.split('-').collect();
    groups.len() == 5 && groups.iter().all(|group| group.len() == 4) && PartyId::parse(word).is_ok()
}

/// Whether the address says where in the world somebody is.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            // RFC 6598: a carrier's own.
            let carriers = a == 100 && (64..128).contains(&b);
            !(carriers
                || v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast())
        }
        IpAddr::V6(v6) => {
            !(v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unique_local()
                || v6.is_unicast_link_local())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn id() -> String {
        PartyId::of_founding(
            &crate::MemberId([7; 32]),
            &crate::party_id::FoundingNonce([9; 32]),
        )
        .to_string()
    }

    #[test]
    fn ids_and_invites_go_and_what_is_around_them_stays() {
        let id = id();
        let text =
            format!("joining {id}, by lanrage://join/{id}?via=192.168.1.5:51820 (\"lanrage://join/{id}\").");
        let redacted = Redactor::new().text(&text);
        assert_eq!(redacted, "joining [party ID], by [invite] (\"[invite]\").");
        assert_eq!(
            Redactor::new().text(&id.to_lowercase()),
            "[party ID]",
            "as some type it"
        );
    }

    #[test]
    fn public_addresses_go_and_the_same_one_stays_the_same() {
        let mut redactor = Redactor::new();
        let cases = [
            (
                "from 203.0.113.7:51820, to 203.0.113.7.",
                "from [address 1]:51820, to [address 1].",
            ),
            ("[2001:db8::1]:3478 and ::1", "[[address 2]]:3478 and ::1"),
            ("::ffff:203.0.113.7", "[address 1]"),
            (
                "turn:203.0.113.7:3478?transport=udp",
                "turn:[address 1]:3478?transport=udp",
            ),
            ("203.0.113.7-203.0.113.9", "[address 1]-[address 3]"),
            (
                "10.66.0.2 192.168.1.5:80 100.64.0.1 fe80::1",
                "10.66.0.2 192.168.1.5:80 100.64.0.1 fe80::1",
            ),
            (
                "2026-11-26T15:54:21.123456Z INFO lanrage_core::member: ready version=0.1.0",
                "2026-11-26T15:54:21.123456Z INFO lanrage_core::member: ready version=0.1.0",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(redactor.text(text), expected);
        }
    }

    #[test]
    fn names_go_by_their_fields_and_adapters_keep_theirs() {
        let mut value = json!({
            "engine": { "player": "Anna" },
            "control": { "at": "wss://party.example.org:8443" },
            "adapter": { "name": "lanrage0" },
            "party": { "name": "Friday", "id": "x", "invite": "y", "members": [{ "name": "Anna", "address": "10.66.0.1" }] },
            "ipv4": { "mapped": "203.0.113.7:1" },
        });
        Redactor::new().json(&mut value);
        assert_eq!(value["engine"]["player"], value["party"]["members"][0]["name"]);
        assert_eq!(value["adapter"]["name"], "lanrage0");
        assert_eq!(value["party"]["members"][0]["address"], "10.66.0.1");
        let text = value.to_string();
        for gone in ["Anna", "Friday", "example.org", "203.0.113.7", "\"x\"", "\"y\""] {
            assert!(!text.contains(gone), "{gone} in {text}");
        }
        assert!(text.contains(":8443"));
    }

    proptest! {
        #[test]
        fn no_text_breaks_it_and_no_public_address_survives(before in ".{0,40}", after in "[^0-9A-Za-z.:-]?.{0,9}") {
            let text = format!("{before} 203.0.113.7 {after}");
            let redacted = Redactor::new().text(&text);
            prop_assert!(!redacted.contains("203.0.113.7"), "{}", redacted);
        }
    }
}
