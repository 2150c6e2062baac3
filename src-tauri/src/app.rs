//! How the app itself is set, and what it shows of its memory. `ui/src/bindings/shell.ts` is generated from these types.

use lanrage_proto::Fault;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// How the app is set. What is missing in a file of an older version has its default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct AppSettings {
    /// What the player is called in the next party; as typed last.
    pub(crate) player: Option<String>,
    /// Dark or light.
    pub(crate) theme: Theme,
    /// The language by its catalogue's name; the system's when absent.
    pub(crate) language: Option<String>,
    /// What the system notifies of.
    pub(crate) notify: Notify,
    /// Whether quitting the app leaves the party as well.
    pub(crate) leave_on_quit: bool,
}

/// Dark or light.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Theme {
    /// As the system is.
    #[default]
    System,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

/// What the system notifies of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(default)]
pub(crate) struct Notify {
    /// Somebody came.
    pub(crate) joined: bool,
    /// Somebody left.
    pub(crate) left: bool,
    /// The connection to somebody is lost.
    pub(crate) lost: bool,
    /// The party was ended by its host.
    pub(crate) dissolved: bool,
}

impl Default for Notify {
    fn default() -> Self {
        Self {
            joined: true,
            left: true,
            lost: true,
            dissolved: true,
        }
    }
}

/// What the app remembers: the payload of the event `app`.
#[derive(Debug, Clone, PartialEq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AppState {
    /// How it is set.
    pub(crate) settings: AppSettings,
    /// Whether it starts when the user signs in; absent where the system can't be asked.
    pub(crate) start_at_login: Option<bool>,
    /// The parties to join again, the last one first.
    pub(crate) recent: Vec<RecentParty>,
    /// The languages there are, by their catalogues' names.
    pub(crate) languages: Vec<String>,
    /// A file that could not be read and was set aside.
    pub(crate) trouble: Option<Fault>,
}

/// A party to join again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, TS)]
pub(crate) struct RecentParty {
    /// What names it in `join_recent` and `forget_recent`.
    pub(crate) key: String,
    /// What it is called.
    pub(crate) name: String,
    /// When it was entered last, seconds since 1970.
    #[ts(type = "number")]
    pub(crate) used: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_older_version_did_not_know_has_its_default() {
        let read: AppSettings = serde_json::from_str(r#"{"theme":"dark","notify":{"lost":false}}"#).unwrap();
        assert_eq!(read.theme, Theme::Dark);
        assert!(read.notify.joined && !read.notify.lost && !read.leave_on_quit);
        assert_eq!(
            serde_json::from_str::<AppSettings>("{}").unwrap(),
            AppSettings::default()
        );
    }
}
