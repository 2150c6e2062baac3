//! The sentences for faults, from the catalogue that the window uses too.

use lanrage_proto::Fault;
use std::collections::BTreeMap;
use std::sync::LazyLock;

const CATALOGUE: &str = include_str!("../../../../../ui/src/lang/en.json");

// A catalogue that can't be read would be a mistake at build time, which a test below catches.
static TEXTS: LazyLock<BTreeMap<String, String>> =
    LazyLock::new(|| serde_json::from_str(CATALOGUE).unwrap_or_default());

/// What went wrong and what to do about it, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// One sentence.
    pub message: String,
    /// One action.
    pub action: String,
}

/// The texts of a fault with its details filled in; a detail that is missing shows as `?`.
pub fn advice(fault: &Fault) -> Advice {
    let text = |part| match TEXTS.get(&format!("fault.{}.{part}", fault.code)) {
        Some(template) => filled(template, &fault.details),
        // Readable enough, and still what one can search for.
        None => fault.code.as_str().replace('_', " "),
    };
    Advice {
        message: text("message"),
        action: text("action"),
    }
}

/// A reason in words: its text, if it is one of ours.
pub fn reason(reason: &str) -> &str {
    words("why", reason)
}

/// What is to be known of a game, in words: its text, if it is one of ours.
pub fn notes(notes: &str) -> &str {
    words("notes", notes)
}

fn words<'a>(kind: &str, said: &'a str) -> &'a str {
    TEXTS.get(&format!("{kind}.{said}")).map_or(said, String::as_str)
}

/// Both texts as they stand on a terminal.
pub fn sentences(fault: &Fault) -> String {
    let advice = advice(fault);
    format!("{} {}", advice.message, advice.action)
}

fn filled(template: &str, details: &BTreeMap<String, String>) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let Some((name, behind)) = after.split_once('}') else {
            rest = &rest[before.len()..];
            break;
        };
        // From a control plane or another member: nothing that a terminal would obey.
        match details.get(name) {
            Some(value) => text.extend(reason(value).chars().filter(|c| !c.is_control())),
            None => text.push('?'),
        }
        rest = behind;
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use lanrage_proto::{FaultCode, Why};

    #[test]
    fn every_fault_has_a_sentence_and_an_action() {
        for code in FaultCode::ALL {
            for part in ["message", "action"] {
                let key = format!("fault.{code}.{part}");
                assert!(
                    TEXTS.get(&key).is_some_and(|text| !text.trim().is_empty()),
                    "{key}"
                );
            }
        }
    }

    #[test]
    fn every_reason_has_its_words() {
        for why in Why::ALL {
            assert_ne!(reason(why.as_str()), why.as_str());
        }
        let fault = Fault::new(FaultCode::PartyIdInvalid).with("reason", Why::IdLength);
        assert_eq!(
            advice(&fault).message,
            "That is not a party ID: one has 20 letters and digits."
        );
    }

    #[test]
    fn every_text_belongs_to_a_fault() {
        for key in TEXTS
            .keys()
            .filter(|key| key.starts_with("fault.") && *key != "fault.dismiss")
        {
            let code = key.split('.').nth(1).unwrap();
            assert!(FaultCode::ALL.iter().any(|known| known.as_str() == code), "{key}");
        }
    }

    /// The details that a code's documentation promises.
    fn promised(code: FaultCode) -> Vec<&'static str> {
        let source = include_str!("../../../proto/src/fault.rs");
        let before = source.split(&format!(" = \"{code}\",")).next().unwrap();
        let documented = before
            .lines()
            .rev()
            .skip(1)
            .take_while(|line| line.trim().starts_with("///"));
        documented
            .filter_map(|line| line.split_once("Detail"))
            .flat_map(|(_, details)| details.split('`').skip(1).step_by(2))
            .collect()
    }

    #[test]
    fn no_text_has_a_gap_that_its_fault_does_not_promise_to_fill() {
        for code in FaultCode::ALL {
            let mut fault = Fault::new(*code);
            for detail in promised(*code) {
                fault = fault.with(detail, "something");
            }
            let said = sentences(&fault);
            assert!(!said.contains(['{', '}', '?']), "{code}: {said}");
        }
        assert_eq!(promised(FaultCode::AddressClash), ["network", "interface"]);
    }

    #[test]
    fn details_fill_the_placeholders_and_missing_ones_show() {
        let fault = Fault::new(FaultCode::AddressClash)
            .with("network", "10.66.1.0/24")
            .with("interface", "br-1");
        let message = advice(&fault).message;
        assert!(
            message.contains("10.66.1.0/24") && message.contains("br-1"),
            "{message}"
        );
        assert!(advice(&FaultCode::AddressClash.into()).message.contains('?'));
    }

    #[test]
    fn braces_and_control_characters_do_no_harm() {
        let details = BTreeMap::from([("a".to_owned(), "x\u{1b}[2J{b}".to_owned())]);
        assert_eq!(filled("{a} {", &details), "x[2J{b} {");
        assert_eq!(filled("", &details), "");
    }
}
