//! A connection on its way from a stranger's to a member's.

use crate::pace::Bucket;
use lanrage_proto::ids::Challenge;
use lanrage_proto::{MemberId, Tag};
use std::net::IpAddr;
use std::time::Instant;

/// A connection, as its host numbers it; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// Where a connection comes from and what it reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// The client's address, where there is one.
    pub address: Option<IpAddr>,
    /// The `host:port` under which this control plane may have been dialled on this connection. A first label
    /// `*` stands for any one label, as in certificates (RFC 9525 §6.3).
    pub authorities: Vec<String>,
}

impl Source {
    /// Whether `authority` is one of ours. Who signs another was sent here by somebody in between.
    pub fn was_dialled_as(&self, authority: &str) -> bool {
        self.authorities.iter().any(|ours| {
            if let Some(ours) = ours.strip_prefix("*.") {
                authority
                    .split_once('.')
                    .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(ours))
            } else {
                ours.eq_ignore_ascii_case(authority)
            }
        })
    }
}

/// What is known about a connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) source: Source,
    /// Under which of our names it was dialled, once it has said.
    pub(crate) authority: String,
    pub(crate) stage: Stage,
    pub(crate) bucket: Bucket,
    /// When it is closed unless something is heard.
    pub(crate) deadline: Instant,
}

/// How far a connection has come.
#[derive(Debug, Clone)]
pub(crate) enum Stage {
    /// Nothing was said yet.
    New,
    /// The proof is awaited.
    Challenged(Challenged),
    /// Somebody who holds the party ID, not necessarily a member.
    Proven(Proven),
    /// A member.
    Joined(Proven),
}

/// What the proof has to fit.
#[derive(Debug, Clone)]
pub(crate) struct Challenged {
    pub(crate) tag: Tag,
    pub(crate) authority: String,
    pub(crate) challenge: Challenge,
    pub(crate) version: u16,
}

/// Who proved to be there, and for which party.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proven {
    pub(crate) tag: Tag,
    pub(crate) identity: MemberId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_ours_by_name_or_by_wildcard() {
        let source = Source {
            address: None,
            authorities: vec!["[fd00::1]:51820".to_owned(), "*.example.org:443".to_owned()],
        };
        for ours in [
            "[fd00::1]:51820",
            "party.example.org:443",
            "PARTY.Example.ORG:443",
        ] {
            assert!(source.was_dialled_as(ours), "{ours}");
        }
        for foreign in [
            "[fd00::1]:51821",
            "example.org:443",
            ".example.org:443",
            "a.b.example.org:443",
            "party.example.org",
            "",
        ] {
            assert!(!source.was_dialled_as(foreign), "{foreign}");
        }
    }
}
