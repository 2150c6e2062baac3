//! Names that people choose: the player's and the party's.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest name, characters.
pub const NAME_CHARS: usize = 40;
/// The longest name, bytes of UTF-8, so that a record stays small.
pub const NAME_BYTES: usize = 120;

/// Why a name can't be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing but white space.
    #[error("a name can't be empty")]
    Empty,
    /// Over [`NAME_CHARS`] characters or [`NAME_BYTES`] bytes.
    #[error("a name has at most {NAME_CHARS} characters")]
    TooLong,
    /// Control characters, or ones that hide or reorder text.
    #[error("a name can't hold control characters")]
    Control,
}

fn checked(text: &str) -> Result<String, NameError> {
    let text = text.trim();
    if text.chars().all(shows_nothing_alone) {
        return Err(NameError::Empty);
    }
    if text.chars().count() > NAME_CHARS || text.len() > NAME_BYTES {
        return Err(NameError::TooLong);
    }
    if text.chars().any(|c| c.is_control() || reorders_or_hides(c)) {
        return Err(NameError::Control);
    }
    Ok(text.to_owned())
}

/// Format characters by which one name could be made to look like another (Unicode UAX #9 and zero-width ones), and
/// letters that look like nothing.
fn reorders_or_hides(c: char) -> bool {
    matches!(c, '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
        || matches!(c, '\u{115F}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{FFA0}')
}

/// What joins or varies the character before it, as in emoji, and shows nothing by itself.
fn shows_nothing_alone(c: char) -> bool {
    matches!(c, '\u{200C}' | '\u{200D}' | '\u{FE00}'..='\u{FE0F}' | '\u{E0000}'..='\u{E01EF}')
}

macro_rules! name {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name, if it can be one; white space around it is dropped.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                checked(text).map(Self)
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// What a player is called in a party: 1 to 40 characters, no control characters.
    PlayerName
}
name! {
    /// What a party is called: 1 to 40 characters, no control characters.
    PartyName
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_bounded() {
        assert_eq!(PlayerName::parse("  Zoë ").unwrap().as_str(), "Zoë");
        assert_eq!(PlayerName::parse(" \t "), Err(NameError::Empty));
        assert_eq!(PlayerName::parse(&"x".repeat(200)), Err(NameError::TooLong));
        assert_eq!(PlayerName::parse(&"🎮".repeat(40)), Err(NameError::TooLong));
        assert_eq!(PlayerName::parse("a\u{7}b"), Err(NameError::Control));
        for hidden in ["a\u{202E}b", "a\u{61C}b", "a\u{200B}", "\u{3164}", "\u{2800}"] {
            assert_eq!(PlayerName::parse(hidden), Err(NameError::Control), "{hidden:?}");
        }
        assert_eq!(PlayerName::parse("\u{200D}\u{FE0F}"), Err(NameError::Empty));
        assert!(PlayerName::parse("👩‍🚀 ❤️ می‌خواهم").is_ok());
        assert!(PartyName::parse(&"x".repeat(NAME_CHARS)).is_ok());
    }
}
