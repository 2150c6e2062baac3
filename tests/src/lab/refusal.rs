//! What a refusal looks like to the user who gets it.

use std::fmt;

use anyhow::{Result, ensure};
use serde_json::Value;

/// A verb that the engine refused or could not carry out.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The exit status: 1 internal, 2 usage, 3 engine not reachable, 4 refused.
    pub exit: Option<i32>,
    /// The fault code, if one was printed.
    pub fault: Option<String>,
    /// The sentence that says what went wrong; empty if none was printed.
    pub message: String,
    /// The sentence that says what to do; empty if none was printed.
    pub action: String,
    /// Everything that was printed.
    pub printed: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "exit status {:?}, fault {:?}: {}",
            self.exit,
            self.fault,
            self.printed.trim()
        )
    }
}

impl std::error::Error for Refusal {}

impl Refusal {
    /// `json` is what `--json` printed, if anything.
    pub(super) fn new(exit: Option<i32>, json: &str, rest: &str) -> Self {
        let value = serde_json::from_str::<Value>(json).unwrap_or_default();
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        Self {
            exit,
            fault: text("fault"),
            message: text("message").unwrap_or_default(),
            action: text("action").unwrap_or_default(),
            printed: format!("{json}{rest}"),
        }
    }

    /// Checks that `plain` says the same in words, and that the words have no gaps.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn holds_both_sentences(&self, plain: &str) -> Result<()> {
        for sentence in [&self.message, &self.action] {
            ensure!(sentence.ends_with('.'), "{sentence:?} is no sentence: {self}");
            // A detail that nobody filled in shows as `?`.
            ensure!(!sentence.contains(['{', '}', '?']), "{sentence:?} has a gap");
            ensure!(plain.contains(sentence), "{plain:?} lacks {sentence:?}");
        }
        Ok(())
    }
}
