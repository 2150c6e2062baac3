//! What the shell tells the page. `ui/src/bindings/shell.ts` is generated from these types.

use crate::app::AppState;
use crate::found::Found;
use lanrage_proto::Fault;
use lanrage_proto::ipc::Status;
use serde::Serialize;
use ts_rs::TS;

/// How the window stands with the engine: the payload of the event `engine`.
#[derive(Debug, Clone, PartialEq, Serialize, TS)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum EngineView {
    /// Not known yet.
    Connecting,
    /// It can't be talked to; it is tried again until it can.
    Away {
        /// Why.
        fault: Fault,
    },
    /// It is there and says this.
    Here {
        /// All of it, as it is now.
        status: Box<Status>,
    },
}

/// The answer to the page's first question.
#[derive(Debug, Clone, PartialEq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Welcome {
    /// As it is now.
    pub(crate) view: EngineView,
    /// The player's name as typed last, else one from the system; may be empty.
    pub(crate) suggested_name: String,
    /// What the app remembers.
    pub(crate) app: AppState,
    /// What the player chose before the page was there to hear it.
    pub(crate) wish: Option<Wish>,
}

/// What the player chose in the tray and the page has to go on with: the payload of the event `wish`.
#[derive(Debug, Clone, PartialEq, Serialize, TS)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Wish {
    /// Join by what is on the clipboard, or by the link that was opened, once they have seen it.
    Join {
        /// What it holds.
        found: Found,
    },
    /// Leave, which would end the party for others.
    AskToLeave,
    /// Something that failed.
    Refused {
        /// Why.
        fault: Fault,
    },
}

/// The signed-in user's name with a capital, or nothing where it is not a person's.
pub(crate) fn suggested_name() -> String {
    let user = std::env::var("USER")
        .or_else(|_| std::env::var("USERNAME"))
        .unwrap_or_default();
    name_from_user(&user)
}

fn name_from_user(user: &str) -> String {
    let mut letters = user.trim().chars();
    match letters.next() {
        Some(first) if user != "root" => first.to_uppercase().chain(letters).collect(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::{AppSettings, Notify, RecentParty, Theme};
    use ts_rs::Config;

    #[test]
    fn a_persons_user_name_becomes_a_suggestion_and_roots_does_not() {
        assert_eq!(name_from_user("anna"), "Anna");
        assert_eq!(name_from_user("root"), "");
        assert_eq!(name_from_user(""), "");
    }

    /// It writes nothing, it compares; `LANRAGE_BLESS=1` rewrites the file.
    #[test]
    fn the_typescript_types_are_current() {
        let config = Config::default();
        let generated = format!(
            "// Generated from src-tauri/src/view.rs, app.rs and found.rs; a test there keeps it current.\n\n\
             import type {{ Fault, Status }} from \"./ipc\";\n\n\
             {}",
            [
                EngineView::decl(&config),
                Welcome::decl(&config),
                Found::decl(&config),
                Wish::decl(&config),
                AppState::decl(&config),
                AppSettings::decl(&config),
                Theme::decl(&config),
                Notify::decl(&config),
                RecentParty::decl(&config),
            ]
            .map(|declaration| format!("export {declaration}\n"))
            .join("\n")
        );
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../ui/src/bindings/shell.ts");
        if std::env::var_os("LANRAGE_BLESS").is_some() {
            std::fs::write(&path, &generated).unwrap();
        }
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            there == generated,
            "ui/src/bindings/shell.ts is not current: run with LANRAGE_BLESS=1"
        );
    }
}
