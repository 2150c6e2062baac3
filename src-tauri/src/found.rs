//! What a text holds that somebody typed, pasted or has on the clipboard: looked at, not acted on.
//!
//! An invite names whom the engine would dial. The page shows that before the player says "join".

use lanrage_proto::invite::{Invite, InviteError};
use lanrage_proto::{Fault, FaultCode, Why};
use serde::Serialize;
use ts_rs::TS;

/// What a text holds.
#[derive(Debug, Clone, PartialEq, Serialize, TS)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Found {
    /// Nothing that looks like an invite; the text itself goes nowhere.
    Nothing,
    /// Something that was meant as one and is damaged.
    Damaged {
        /// In which way.
        fault: Fault,
    },
    /// A party's ID, perhaps with where to find it.
    Invite {
        /// The invite without the words around it.
        text: String,
        /// The server that would be dialled.
        server: Option<String>,
        /// The computers that would be dialled.
        via: Vec<String>,
    },
}

impl Found {
    /// Looks through a text.
    pub(crate) fn within(text: &str) -> Self {
        match Invite::find_in(text) {
            Ok(invite) => Self::Invite {
                text: invite.to_string(),
                server: invite.server.map(|server| server.to_string()),
                via: invite.via.iter().map(ToString::to_string).collect(),
            },
            Err(InviteError::Address) => Self::Damaged {
                fault: FaultCode::InviteInvalid.into(),
            },
            Err(InviteError::Id(error)) if is_almost_an_id(text) => Self::Damaged {
                fault: Fault::new(FaultCode::PartyIdInvalid).with("reason", Why::from(error)),
            },
            Err(InviteError::Id(_) | InviteError::TooLong) => Self::Nothing,
        }
    }
}

/// Whether somebody meant this as an ID: a link to one, or one word in groups of about the right length.
fn is_almost_an_id(text: &str) -> bool {
    let link = text.to_ascii_lowercase().contains("lanrage://");
    link || text.split_whitespace().any(|word| {
        let groups: Vec<&str> = word.split('-').collect();
        groups.len() == 5 && groups.iter().all(|group| (3..=5).contains(&group.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "K7QF-9M2X-RT4B-W8HD-5NC7";

    fn id() -> String {
        // The check symbol that belongs to it, so that the test needs no generator of IDs.
        "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
            .chars()
            .map(|check| format!("{}{check}", &ID[..ID.len() - 1]))
            .find(|id| Invite::find_in(id).is_ok())
            .unwrap()
    }

    #[test]
    fn an_invite_in_a_chat_line_is_found_with_where_it_dials() {
        let text = format!(
            "tonight! lanrage://join/{}?via=192.168.1.5:51820,[2001:db8::1]:7 :)",
            id()
        );
        let Found::Invite { text, server, via } = Found::within(&text) else {
            panic!("{:?}", Found::within(&text));
        };
        assert!(text.starts_with("lanrage://join/") && !text.contains("tonight"));
        assert_eq!(server, None);
        assert_eq!(via, ["192.168.1.5:51820", "[2001:db8::1]:7"]);

        let text = format!("lanrage://join/{}?server=wss://play.example.org", id());
        let found = Found::within(&text);
        let Found::Invite {
            server: Some(server), ..
        } = found
        else {
            panic!("{found:?}");
        };
        assert!(server.contains("play.example.org"), "{server}");
    }

    #[test]
    fn an_id_alone_dials_nobody_by_itself() {
        let found = Found::within(&id());
        assert_eq!(
            found,
            Found::Invite {
                text: id(),
                server: None,
                via: Vec::new()
            }
        );
    }

    #[test]
    fn what_was_never_an_invite_is_not_repeated() {
        for text in [
            "",
            "hunter2",
            "my secret pass-phrase is correct-horse",
            &"x".repeat(100_000),
        ] {
            assert_eq!(Found::within(text), Found::Nothing, "{text:.40}");
        }
    }

    #[test]
    fn a_mistyped_id_and_a_damaged_address_are_told_apart() {
        let code = |text: &str| match Found::within(text) {
            Found::Damaged { fault } => Some(fault.code),
            _ => None,
        };
        let wrong = id().replacen('K', "J", 1);
        assert_eq!(code(&wrong), Some(FaultCode::PartyIdInvalid));
        assert_eq!(code("lanrage://join/K7QF"), Some(FaultCode::PartyIdInvalid));
        let loopback = format!("lanrage://join/{}?via=127.0.0.1:22", id());
        assert_eq!(code(&loopback), Some(FaultCode::InviteInvalid));
    }
}
