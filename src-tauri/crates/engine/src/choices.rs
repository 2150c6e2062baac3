//! What is set, and by whom: the settings file, over it what callers changed, over both the command line.

use crate::settings::{Control, Settings, Switch};
use crate::stun::StunSetting;
use lanrage_proto::settings::{
    EngineSettings, RelayChange, RelayView, SettingChange, SettingKey, StunChoice,
};
use lanrage_proto::{Fault, FaultCode, PlayerName, TurnUri, Why};
use std::num::NonZeroU16;

/// STUN servers, and relays, that can be set: nobody has use for more, and each is asked.
const SERVERS: usize = 8;
/// The longest user name or password for a relay, bytes: RFC 8489 §14.3 allows 508 for the one.
const CREDENTIAL: usize = 500;
/// Ports below belong to the system's services, which no caller may keep from starting.
const FIRST_PORT: u16 = 1024;

/// The three layers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Choices {
    file: Settings,
    /// One of each key, the latest.
    changes: Vec<SettingChange>,
    typed: Settings,
}

impl Choices {
    /// The layers as they are at the start. A change that can't be made any more is left out and logged.
    pub(crate) fn new(file: Settings, saved: Vec<SettingChange>, typed: Settings) -> Self {
        let mut choices = Self {
            file,
            changes: Vec::new(),
            typed,
        };
        for change in saved {
            let key = change.key();
            match apply(&mut Settings::default(), &change) {
                Ok(()) => choices.put(change),
                Err(fault) => tracing::warn!(?key, %fault, "a setting that was changed can't be used"),
            }
        }
        choices
    }

    /// All layers together.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings = self.file.clone();
        for change in &self.changes {
            // Each was tried when it came in.
            let _ = apply(&mut settings, change);
        }
        settings.under(self.typed.clone())
    }

    /// What callers changed, to be remembered.
    pub(crate) fn changes(&self) -> &[SettingChange] {
        &self.changes
    }

    /// These choices with one more.
    ///
    /// # Errors
    /// `name_invalid`, `control_address`; `request_invalid` for what the command line fixes, and with the reason for
    /// the rest.
    pub(crate) fn with(&self, change: SettingChange) -> Result<Self, Fault> {
        if self.fixed().contains(&change.key()) {
            return Err(invalid("the engine's command line says otherwise"));
        }
        apply(&mut Settings::default(), &change)?;
        let mut next = self.clone();
        next.put(change);
        Ok(next)
    }

    fn put(&mut self, mut change: SettingChange) {
        let key = change.key();
        let before = self.changes.iter().position(|known| known.key() == key);
        let before = before.map(|place| self.changes.remove(place));
        if let SettingChange::Relays(relays) = &mut change
            && relays.password.is_none()
            && let Some(SettingChange::Relays(before)) = before
            && knows(&uris(&before.servers), &uris(&relays.servers))
        {
            relays.password.clone_from(&before.password);
        }
        self.changes.push(change);
    }

    /// What the command line says.
    pub(crate) fn fixed(&self) -> Vec<SettingKey> {
        let typed = &self.typed;
        let relays =
            !typed.turn.is_empty() || typed.turn_user.is_some() || typed.turn_password_file.is_some();
        let said = [
            (SettingKey::Player, typed.name.is_some()),
            (SettingKey::Control, typed.control.is_some()),
            (SettingKey::Stun, typed.stun.is_some()),
            (SettingKey::Relays, relays),
            (SettingKey::Port, typed.port.is_some()),
            (SettingKey::PortMapping, typed.port_mapping.is_some()),
            (SettingKey::Punching, typed.punching.is_some()),
        ];
        said.into_iter()
            .filter_map(|(key, said)| said.then_some(key))
            .collect()
    }
}

/// The settings as a window shows them.
pub(crate) fn view(settings: &Settings) -> EngineSettings {
    let password = settings.turn_password.as_ref();
    EngineSettings {
        player: settings.name.as_ref().map(ToString::to_string),
        control: settings
            .server()
            .map_or_else(|| "local".to_owned(), |url| url.to_string()),
        stun: match settings.stun.as_ref().map(StunSetting::names) {
            None => StunChoice::Public,
            Some(names) if names.is_empty() => StunChoice::None,
            Some(servers) => StunChoice::Own { servers },
        },
        relays: RelayView {
            servers: settings.turn.iter().map(ToString::to_string).collect(),
            user: settings.turn_user.clone(),
            has_password: password.map_or(settings.turn_password_file.is_some(), |secret| {
                !secret.0.is_empty()
            }),
        },
        port: settings.port.map(NonZeroU16::get),
        port_mapping: settings.port_mapping != Some(Switch::Off),
        punching: settings.punching.unwrap_or(true),
    }
}

/// What differs between two settings, of what can be changed.
pub(crate) fn differing(a: &Settings, b: &Settings) -> Vec<SettingKey> {
    let (shown, other) = (view(a), view(b));
    let differs = [
        (SettingKey::Player, shown.player != other.player),
        (SettingKey::Control, shown.control != other.control),
        (SettingKey::Stun, shown.stun != other.stun),
        (
            SettingKey::Relays,
            shown.relays != other.relays || a.turn_password != b.turn_password,
        ),
        (SettingKey::Port, shown.port != other.port),
        (SettingKey::PortMapping, shown.port_mapping != other.port_mapping),
        (SettingKey::Punching, shown.punching != other.punching),
    ];
    differs
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
}

fn apply(settings: &mut Settings, change: &SettingChange) -> Result<(), Fault> {
    match change {
        SettingChange::Player(name) => {
            let parse = |name: &String| PlayerName::parse(name);
            settings.name = name
                .as_ref()
                .map(parse)
                .transpose()
                .map_err(|error| Fault::new(FaultCode::NameInvalid).with("reason", Why::from(error)))?;
        }
        SettingChange::Control(text) => settings.control = Some(Control::parse(text)?),
        SettingChange::Stun(choice) => {
            settings.stun = match choice {
                StunChoice::Public => None,
                StunChoice::None => Some(StunSetting::of(&[]).map_err(invalid)?),
                StunChoice::Own { servers } if servers.is_empty() || servers.len() > SERVERS => {
                    return Err(invalid(format!("between 1 and {SERVERS} servers can be set")));
                }
                StunChoice::Own { servers } => Some(StunSetting::of(servers).map_err(invalid)?),
            };
        }
        SettingChange::Relays(relays) => set_relays(settings, relays)?,
        SettingChange::Port(port) => {
            if port.is_some_and(|port| port < FIRST_PORT) {
                return Err(invalid(format!(
                    "a port is a number from {FIRST_PORT} to {}",
                    u16::MAX
                )));
            }
            settings.port = port.and_then(NonZeroU16::new);
        }
        SettingChange::PortMapping(on) => {
            settings.port_mapping = Some(if *on { Switch::On } else { Switch::Off });
        }
        SettingChange::Punching(on) => settings.punching = Some(*on),
    }
    Ok(())
}

fn set_relays(settings: &mut Settings, relays: &RelayChange) -> Result<(), Fault> {
    if relays.servers.len() > SERVERS {
        return Err(invalid(format!("at most {SERVERS} relays can be set")));
    }
    let credentials = [
        relays.user.as_deref().unwrap_or_default(),
        relays
            .password
            .as_ref()
            .map_or("", |password| password.0.as_str()),
    ];
    for text in credentials {
        if text.len() > CREDENTIAL || text.chars().any(char::is_control) {
            return Err(invalid(format!(
                "a user name or password has at most {CREDENTIAL} letters and no control characters"
            )));
        }
    }
    let servers: Result<Vec<TurnUri>, _> = relays
        .servers
        .iter()
        .map(|uri| TurnUri::parse(uri.trim()))
        .collect();
    let servers = servers.map_err(invalid)?;
    if !knows(&settings.turn, &servers) {
        settings.turn_password_file = None;
        settings.turn_password = None;
    }
    settings.turn = servers;
    settings.turn_user = relays.user.clone().filter(|user| !user.is_empty());
    if relays.password.is_some() {
        settings.turn_password.clone_from(&relays.password);
    }
    Ok(())
}

/// Whether all these servers are among the known ones: a password for those is nothing to show to others.
fn knows(known: &[TurnUri], servers: &[TurnUri]) -> bool {
    servers
        .iter()
        .all(|server| known.iter().any(|other| other.host() == server.host()))
}

/// What of these can be read.
fn uris(texts: &[String]) -> Vec<TurnUri> {
    texts
        .iter()
        .filter_map(|text| TurnUri::parse(text.trim()).ok())
        .collect()
}

fn invalid(reason: impl std::fmt::Display) -> Fault {
    Fault::new(FaultCode::RequestInvalid).with("reason", reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lanrage_proto::settings::Secret;

    fn port(port: u16) -> SettingChange {
        SettingChange::Port(Some(port))
    }

    #[test]
    fn a_change_wins_over_the_file_and_can_undo_it() {
        let file = Settings {
            port: NonZeroU16::new(4000),
            ..Settings::default()
        };
        let choices = Choices::new(file, Vec::new(), Settings::default());
        assert_eq!(view(&choices.settings()).port, Some(4000));
        let changed = choices
            .with(port(5000))
            .unwrap()
            .with(SettingChange::Port(None))
            .unwrap();
        assert_eq!(view(&changed.settings()).port, None);
        assert_eq!(changed.changes(), [SettingChange::Port(None)]);
        assert_eq!(
            differing(&choices.settings(), &changed.settings()),
            [SettingKey::Port]
        );
    }

    #[test]
    fn what_the_command_line_says_is_fixed() {
        let typed = Settings {
            port: NonZeroU16::new(4000),
            ..Settings::default()
        };
        let choices = Choices::new(Settings::default(), vec![port(5000)], typed);
        assert_eq!(choices.fixed(), [SettingKey::Port]);
        assert_eq!(view(&choices.settings()).port, Some(4000));
        let fault = choices.with(port(6000)).unwrap_err();
        assert_eq!(fault.code, FaultCode::RequestInvalid);
        assert!(choices.with(SettingChange::Punching(false)).is_ok());
    }

    #[test]
    fn what_can_not_be_is_refused_with_its_reason() {
        let own = |server: &str| {
            SettingChange::Stun(StunChoice::Own {
                servers: vec![server.to_owned()],
            })
        };
        let relay = |uri: &str| {
            SettingChange::Relays(RelayChange {
                servers: vec![uri.to_owned()],
                ..RelayChange::default()
            })
        };
        for (change, code) in [
            (SettingChange::Player(Some(" ".into())), FaultCode::NameInvalid),
            (
                SettingChange::Control("http://x".into()),
                FaultCode::ControlAddress,
            ),
            (port(80), FaultCode::RequestInvalid),
            (own("no server"), FaultCode::RequestInvalid),
            (relay("http://x"), FaultCode::RequestInvalid),
            (
                SettingChange::Stun(StunChoice::Own { servers: Vec::new() }),
                FaultCode::RequestInvalid,
            ),
        ] {
            let fault = Choices::default().with(change.clone()).unwrap_err();
            assert_eq!(fault.code, code, "{change:?}");
            assert!(!fault.details["reason"].is_empty());
        }
        // One that was saved by another version is left out, the others stay.
        let choices = Choices::new(
            Settings::default(),
            vec![port(80), SettingChange::Punching(false)],
            Settings::default(),
        );
        assert_eq!(choices.changes(), [SettingChange::Punching(false)]);
    }

    #[test]
    fn a_password_is_never_shown_to_other_servers() {
        let relays = |server: &str, password: Option<&str>| {
            SettingChange::Relays(RelayChange {
                servers: vec![server.into()],
                user: None,
                password: password.map(|text| Secret(text.into())),
            })
        };
        let file = Settings {
            turn: uris(&["turn:relay.example.org".into()]),
            turn_password_file: Some("/etc/lanrage/turn".into()),
            ..Settings::default()
        };
        let choices = Choices::new(file, Vec::new(), Settings::default());
        let same = choices.with(relays("turns:relay.example.org:443", None)).unwrap();
        assert!(same.settings().turn_password_file.is_some());
        let other = choices.with(relays("turn:elsewhere.example", None)).unwrap();
        assert!(!view(&other.settings()).relays.has_password);
        let told = choices
            .with(relays("turn:elsewhere.example", Some("hunter2")))
            .unwrap();
        let third = told.with(relays("turn:third.example", None)).unwrap();
        assert!(!view(&third.settings()).relays.has_password);
    }

    #[test]
    fn a_relays_password_is_kept_until_another_is_given_and_never_shown() {
        let relays = |password: Option<&str>| {
            SettingChange::Relays(RelayChange {
                servers: vec!["turn:relay.example.org".into()],
                user: Some("anna".into()),
                password: password.map(|text| Secret(text.into())),
            })
        };
        let choices = Choices::default().with(relays(Some("hunter2"))).unwrap();
        let again = choices.with(relays(None)).unwrap();
        assert_eq!(again.settings().turn_password, Some(Secret("hunter2".into())));
        let shown = view(&again.settings());
        assert!(shown.relays.has_password && !format!("{shown:?}").contains("hunter2"));
        let other = again.with(relays(Some("other"))).unwrap();
        assert_eq!(
            differing(&again.settings(), &other.settings()),
            [SettingKey::Relays]
        );
        let none = again.with(relays(Some(""))).unwrap();
        assert!(!view(&none.settings()).relays.has_password);
    }
}
