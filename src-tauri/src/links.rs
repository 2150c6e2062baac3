//! Links to a party that the system hands over: as an argument of this start, of a second one, or as an event.
//!
//! A link only fills the window's form. Whom it dials is shown there, and the player decides.

use crate::found::Found;
use crate::view::{EngineView, Wish};
use lanrage_proto::FaultCode;

/// How a link begins.
const SCHEME: &str = "lanrage:";

/// The first argument that is a link. The program's name comes first and is none.
pub(crate) fn in_arguments(arguments: &[String]) -> Option<&str> {
    let is_link = |argument: &&String| {
        argument
            .get(..SCHEME.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(SCHEME))
    };
    arguments.iter().skip(1).find(is_link).map(String::as_str)
}

/// What opening a link means now.
pub(crate) fn opened(view: &EngineView, link: &str) -> Wish {
    let in_party = matches!(view, EngineView::Here { status } if status.party.is_some());
    match Found::within(link) {
        // A link that leads nowhere is told as such, not passed over.
        Found::Nothing => Wish::Refused {
            fault: FaultCode::InviteInvalid.into(),
        },
        Found::Invite { .. } if in_party => Wish::Refused {
            fault: FaultCode::AlreadyInParty.into(),
        },
        found @ (Found::Invite { .. } | Found::Damaged { .. }) => Wish::Join { found },
    }
}

/// What the player wanted before the page was there, now that more is known of the engine.
pub(crate) fn still(view: &EngineView, wish: Wish) -> Wish {
    match (view, wish) {
        (EngineView::Here { status }, Wish::Join { .. }) if status.party.is_some() => Wish::Refused {
            fault: FaultCode::AlreadyInParty.into(),
        },
        (_, wish) => wish,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_found_among_the_arguments() {
        let arguments = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let of = |list: &[&str]| in_arguments(&arguments(list)).map(str::to_owned);
        assert_eq!(of(&["lanrage"]), None);
        assert_eq!(of(&["lanrage:x", "--hidden"]), None);
        assert_eq!(
            of(&["lanrage", "--socket", "/a", "LANRAGE://join/X"]).as_deref(),
            Some("LANRAGE://join/X")
        );
    }

    #[test]
    fn a_link_fills_the_form_and_one_that_leads_nowhere_says_so() {
        let id = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
            .chars()
            .map(|check| format!("K7QF-9M2X-RT4B-W8HD-5NC{check}"))
            .find(|id| matches!(Found::within(id), Found::Invite { .. }))
            .unwrap();
        let link = format!("lanrage://join/{id}?via=192.168.1.5:51820");
        let Wish::Join {
            found: Found::Invite { text, via, .. },
        } = opened(&EngineView::Connecting, &link)
        else {
            panic!("{:?}", opened(&EngineView::Connecting, &link));
        };
        assert_eq!((text, via), (link, vec!["192.168.1.5:51820".to_owned()]));
        for damaged in ["lanrage://join/K7QF", "lanrage://hello", "lanrage:"] {
            assert!(
                !matches!(
                    opened(&EngineView::Connecting, damaged),
                    Wish::Join {
                        found: Found::Invite { .. }
                    }
                ),
                "{damaged}"
            );
        }
    }
}
