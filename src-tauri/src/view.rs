//! What the shell tells the page. `ui/src/bindings/shell.ts` is generated from these types.

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
    /// A player's name from the system, for the first visit; may be empty.
    pub(crate) suggested_name: String,
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
            "// Generated from src-tauri/src/view.rs; a test there keeps it current.\n\n\
             import type {{ Fault, Status }} from \"./ipc\";\n\n\
             export {}\n\nexport {}\n",
            EngineView::decl(&config),
            Welcome::decl(&config)
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
