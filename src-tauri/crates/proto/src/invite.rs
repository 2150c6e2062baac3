//! The invite: a party ID plus where to find its control plane.

use crate::limits::{INVITE_TEXT, INVITE_VIA};
use crate::party_id::{PartyId, PartyIdError};
use crate::range::PartyRange;
use crate::server_url::{ServerUrl, is_reachable_unicast};
use std::net::SocketAddr;
use thiserror::Error;

const LINK: &str = "lanrage://join/";

/// What a friend needs to join: the party ID and, where that is not enough, the control plane's address.
///
/// Written as the bare ID when nothing else is known, else as a link:
/// `lanrage://join/K7QF-9M2X-RT4B-W8HD-5NC7?server=wss://host:443` or `…?via=192.168.1.5:51820,…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// The party.
    pub id: PartyId,
    /// The server that is the party's home. It serves that party only.
    pub server: Option<ServerUrl>,
    /// Where the founder's engine can be reached when it is the home itself: at most eight unicast addresses.
    pub via: Vec<SocketAddr>,
}

/// Why a text holds no invite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InviteError {
    /// No party ID, or a wrong one.
    #[error(transparent)]
    Id(#[from] PartyIdError),
    /// The ID is good, the address behind it is not.
    #[error("the invite's address is damaged")]
    Address,
    /// Longer than anything a person would paste.
    #[error("that is too long for an invite")]
    TooLong,
}

impl Invite {
    /// The invite in a text that somebody typed or pasted: a link anywhere in it, a bare ID, or an ID in dashed
    /// form anywhere in it.
    pub fn find_in(text: &str) -> Result<Self, InviteError> {
        if text.len() > INVITE_TEXT {
            return Err(InviteError::TooLong);
        }
        if let Some(start) = text.to_ascii_lowercase().find(LINK) {
            return Self::from_link_body(&text[start + LINK.len()..]);
        }
        let id = match PartyId::parse(text) {
            Ok(id) => id,
            Err(alone) => PartyId::find_in(text).map_err(|inside| match inside {
                PartyIdError::Length => alone,
                inside => inside,
            })?,
        };
        Ok(Self {
            id,
            server: None,
            via: Vec::new(),
        })
    }

    fn from_link_body(body: &str) -> Result<Self, InviteError> {
        let end = body
            .find(|c: char| c.is_whitespace() || matches!(c, '"' | '<' | '>' | '`'))
            .unwrap_or(body.len());
        let body = &body[..end];
        let (id, query) = body.split_once('?').unwrap_or((body, ""));
        // A sentence may go on behind the ID: "…5NC7, see you".
        let id = id.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let mut invite = Self {
            id: PartyId::parse(id)?,
            server: None,
            via: Vec::new(),
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or(InviteError::Address)?;
            let value = percent_decoded(value).ok_or(InviteError::Address)?;
            let value = value.trim_end_matches([',', '.', ')', '!', ';']);
            match key {
                "server" => invite.server = Some(ServerUrl::parse(value).map_err(|_| InviteError::Address)?),
                "via" => {
                    for address in value.split(',') {
                        invite
                            .via
                            .push(address.parse().map_err(|_| InviteError::Address)?);
                    }
                }
                // What a later version adds is no concern of this one.
                _ => {}
            }
        }
        if invite.via.len() > INVITE_VIA || !invite.via.iter().all(|at| may_dial(*at)) {
            return Err(InviteError::Address);
        }
        Ok(invite)
    }

    /// The invite without addresses that a `via=` can't carry, and at most eight of them.
    #[must_use]
    pub fn trimmed(mut self) -> Self {
        self.via.retain(|at| may_dial(*at));
        self.via.truncate(INVITE_VIA);
        self
    }
}

fn may_dial(at: SocketAddr) -> bool {
    at.port() != 0 && is_reachable_unicast(at.ip(), PartyRange::DEFAULT)
}

/// Percent-decoding (RFC 3986 §2.1), as messengers like to encode links.
fn percent_decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let hex = [bytes.next()?, bytes.next()?];
            out.push(
                data_encoding::HEXLOWER_PERMISSIVE
                    .decode(&hex)
                    .ok()?
                    .first()
                    .copied()?,
            );
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

impl std::fmt::Display for Invite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.server.is_none() && self.via.is_empty() {
            return write!(f, "{}", self.id);
        }
        write!(f, "{LINK}{}", self.id)?;
        let mut separator = '?';
        if let Some(server) = &self.server {
            write!(f, "{separator}server={server}")?;
            separator = '&';
        }
        for (i, at) in self.via.iter().enumerate() {
            if i == 0 {
                write!(f, "{separator}via={at}")?
            } else {
                write!(f, ",{at}")?
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> PartyId {
        PartyId::of_founding(
            &crate::MemberId([7; 32]),
            &crate::party_id::FoundingNonce([9; 32]),
        )
    }

    #[test]
    fn an_invite_survives_being_pasted_into_a_chat() {
        let invite = Invite {
            id: id(),
            server: Some(ServerUrl::parse("wss://party.example.org:8443").unwrap()),
            via: vec![
                "192.168.1.5:51820".parse().unwrap(),
                "[2001:db8::1]:51820".parse().unwrap(),
            ],
        };
        let link = invite.to_string();
        assert_eq!(
            Invite::find_in(&format!("tonight at 8: <{link}> !")).unwrap(),
            invite
        );
        assert_eq!(Invite::find_in(&format!("go to {link}, now")).unwrap(), invite);
        let encoded = link.replace("wss://", "wss%3A%2F%2F").replace(',', "%2C");
        assert_eq!(Invite::find_in(&encoded).unwrap(), invite);
        assert_eq!(Invite::find_in(&id().to_string()).unwrap().id, id());
        assert_eq!(Invite::find_in(&format!("hi! {}.", id())).unwrap().id, id());
    }

    #[test]
    fn an_invite_can_not_point_anywhere() {
        for via in [
            "127.0.0.1:1",
            "169.254.1.1:1",
            "224.0.0.1:1",
            "10.66.0.1:1",
            "255.255.255.255:1",
            "[::1]:1",
            "[fe80::1]:1",
            "1.2.3.4:0",
            "[::ffff:127.0.0.1]:1",
            "0.0.0.0:1",
            "example.org:1",
        ] {
            let text = format!("lanrage://join/{}?via={via}", id());
            assert_eq!(Invite::find_in(&text), Err(InviteError::Address), "{via}");
        }
        let many = ["1.2.3.4:5"; 9].join(",");
        assert!(Invite::find_in(&format!("lanrage://join/{}?via={many}", id())).is_err());
        assert!(Invite::find_in(&format!("lanrage://join/{}?server=ws://8.8.8.8", id())).is_err());
        assert_eq!(
            Invite::find_in(&"x".repeat(INVITE_TEXT + 1)),
            Err(InviteError::TooLong)
        );
    }

    #[test]
    fn a_mistyped_id_is_called_mistyped() {
        let text = id().to_string();
        let first = if text.starts_with('A') { "B" } else { "A" };
        let wrong = format!("{first}{}", &text[1..]);
        assert_eq!(Invite::find_in(&wrong), Err(InviteError::Id(PartyIdError::Check)));
        assert_eq!(
            Invite::find_in(&format!("come: {wrong}")),
            Err(InviteError::Id(PartyIdError::Check))
        );
        assert_eq!(
            Invite::find_in("hello"),
            Err(InviteError::Id(PartyIdError::Length))
        );
    }
}
