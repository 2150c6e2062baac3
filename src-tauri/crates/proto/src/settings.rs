//! The engine's settings as a window shows and changes them.
//!
//! What is changed here goes over the settings file and under the command line. Paths, the adapter's name and who may
//! use the engine can't be changed by IPC: they are the administrator's.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// What can be changed, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum SettingKey {
    /// What the player is called where a caller gives no name.
    Player,
    /// Where parties are created.
    Control,
    /// STUN servers.
    Stun,
    /// Relays of one's own.
    Relays,
    /// The UDP port.
    Port,
    /// Whether the router in front is asked to lead ports here.
    PortMapping,
    /// Whether holes are made through NATs.
    Punching,
}

/// How the engine is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct SettingsReport {
    /// As chosen last.
    pub settings: EngineSettings,
    /// What was changed and is in effect only from the next party on. Everything else is in effect already.
    pub pending: Vec<SettingKey>,
    /// What was said on the engine's command line: a change of it is refused.
    pub fixed: Vec<SettingKey>,
}

/// What a window shows of the settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct EngineSettings {
    /// What the player is called where a caller gives no name; the system's name for the user when absent.
    pub player: Option<String>,
    /// `local`, or the server's `wss://` or `ws://` address.
    pub control: String,
    /// STUN servers.
    pub stun: StunChoice,
    /// Relays of one's own, used before those of a control plane.
    pub relays: RelayView,
    /// The UDP port; chosen by the engine when absent.
    pub port: Option<u16>,
    /// Whether the router in front is asked to lead ports here.
    pub port_mapping: bool,
    /// Whether holes are made through NATs.
    pub punching: bool,
}

/// Which STUN servers are asked besides those of a control plane.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StunChoice {
    /// Public ones, where a control plane names none.
    #[default]
    Public,
    /// None.
    None,
    /// These.
    Own {
        /// Each `host` or `host:port`.
        servers: Vec<String>,
    },
}

/// Relays of one's own, as they are shown: the password stays in the engine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct RelayView {
    /// `turn:` and `turns:` addresses (RFC 7065).
    pub servers: Vec<String>,
    /// The user name for them.
    pub user: Option<String>,
    /// Whether there is a password.
    pub has_password: bool,
}

/// Relays of one's own, as they are changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(deny_unknown_fields)]
pub struct RelayChange {
    /// `turn:` and `turns:` addresses (RFC 7065); none uses the control plane's alone.
    pub servers: Vec<String>,
    /// The user name for them.
    pub user: Option<String>,
    /// The password for them; the one that is known when absent.
    #[ts(as = "Option<String>")]
    pub password: Option<Secret>,
}

/// One setting's new value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "key", content = "value", rename_all = "snake_case")]
pub enum SettingChange {
    /// See [`EngineSettings::player`].
    Player(Option<String>),
    /// See [`EngineSettings::control`].
    Control(String),
    /// See [`EngineSettings::stun`].
    Stun(StunChoice),
    /// Relays of one's own.
    Relays(RelayChange),
    /// See [`EngineSettings::port`].
    Port(Option<u16>),
    /// See [`EngineSettings::port_mapping`].
    PortMapping(bool),
    /// See [`EngineSettings::punching`].
    Punching(bool),
}

impl SettingChange {
    /// Which setting it changes.
    pub fn key(&self) -> SettingKey {
        match self {
            Self::Player(_) => SettingKey::Player,
            Self::Control(_) => SettingKey::Control,
            Self::Stun(_) => SettingKey::Stun,
            Self::Relays(_) => SettingKey::Relays,
            Self::Port(_) => SettingKey::Port,
            Self::PortMapping(_) => SettingKey::PortMapping,
            Self::Punching(_) => SettingKey::Punching,
        }
    }
}

/// A password. `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, zeroize::Zeroize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// What a control plane said when it was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct ControlTest {
    /// Its address, as it was understood.
    pub address: String,
    /// Whether the connection is encrypted and the server's certificate trusted.
    pub encrypted: bool,
    /// From the request to its answer, milliseconds.
    pub rtt_ms: f64,
}

/// A piece of the engine's log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct LogPage {
    /// Lines, the oldest first, without what is nobody else's business.
    pub lines: Vec<String>,
    /// What to ask for next: the number of the line after the last one here.
    #[ts(type = "number")]
    pub next: u64,
    /// There are more already.
    pub more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_read_as_a_window_writes_it() {
        let read = |text: &str| serde_json::from_str::<SettingChange>(text);
        assert_eq!(
            read(r#"{"key":"port","value":4000}"#).unwrap(),
            SettingChange::Port(Some(4000))
        );
        assert_eq!(
            read(r#"{"key":"port","value":null}"#).unwrap(),
            SettingChange::Port(None)
        );
        assert_eq!(
            read(r#"{"key":"stun","value":{"kind":"own","servers":["a:1"]}}"#).unwrap(),
            SettingChange::Stun(StunChoice::Own {
                servers: vec!["a:1".into()]
            })
        );
        for wrong in [
            r#"{"key":"port","value":70000}"#,
            r#"{"key":"allow_uid","value":[1000]}"#,
            r#"{"key":"relays","value":{"servers":[],"user":null,"password":null,"file":"/etc/shadow"}}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_password_shows_in_no_debug_output() {
        let change = SettingChange::Relays(RelayChange {
            password: Some(Secret("hunter2".into())),
            ..RelayChange::default()
        });
        assert!(!format!("{change:?}").contains("hunter2"));
    }
}
