//! Settings that callers change while the engine runs.
//!
//! The player's name and STUN servers are in effect at once, the rest once there is no party: one that runs keeps what
//! it was begun with.

use super::{Engine, check_port};
use crate::choices::{differing, view};
use crate::ipc_server::owns;
use crate::settings::{Control, Settings, Switch};
use crate::state::StateDir;
use lanrage_platform::caller::Caller;
use lanrage_platform::udp::PortChoice;
use lanrage_proto::ipc::Reply;
use lanrage_proto::limits::DEFAULT_PORT;
use lanrage_proto::settings::{SettingChange, SettingKey, SettingsReport};
use lanrage_proto::{Fault, FaultCode, Why};
use tokio::sync::oneshot;

type Answer = oneshot::Sender<Result<Reply, Fault>>;

/// The UDP port by these settings.
pub(crate) fn port(settings: &Settings, state: &StateDir) -> PortChoice {
    match settings.port {
        Some(port) => PortChoice::Explicit(port.get()),
        None => PortChoice::Preferred(vec![DEFAULT_PORT, state.ports().udp]),
    }
}

/// Whether the router in front is asked for ports by these settings.
pub(crate) fn asks_router(settings: &Settings) -> bool {
    settings.port_mapping != Some(Switch::Off)
}

impl Engine {
    pub(super) fn tell_settings(&self, answer: Answer) {
        let settings = self.choices.settings();
        let report = SettingsReport {
            settings: view(&settings),
            pending: differing(&settings, &self.in_effect),
            fixed: self.choices.fixed(),
        };
        // Who asked may have gone away.
        let _ = answer.send(Ok(Reply::Settings(Box::new(report))));
    }

    pub(super) fn change(&mut self, caller: &Caller, change: SettingChange, answer: Answer) {
        let key = change.key();
        match self.changed(caller, change) {
            Ok(()) => {
                tracing::info!(?key, "a setting was changed");
                self.tell_settings(answer);
            }
            Err(fault) => {
                tracing::info!(?key, %fault, "a change of a setting was refused");
                let _ = answer.send(Err(fault));
            }
        }
    }

    /// Checks all of it, remembers it, and only then works by it.
    fn changed(&mut self, caller: &Caller, change: SettingChange) -> Result<(), Fault> {
        if self.in_party() && !owns(caller, self.owner) {
            return Err(FaultCode::PartyOfAnotherUser.into());
        }
        let key = change.key();
        let choices = self.choices.with(change)?;
        let settings = choices.settings();
        if key == SettingKey::Relays {
            settings.relays()?;
        }
        if key == SettingKey::Port
            && let Some(wanted) = settings.port
            && self.sockets.as_ref().map(|sockets| sockets.port) != Some(wanted.get())
        {
            check_port(&PortChoice::Explicit(wanted.get()))?;
        }
        let player = settings
            .player()
            .map_err(|error| Fault::new(FaultCode::NameInvalid).with("reason", Why::from(error)))?;
        self.state.save_changes(choices.changes())?;
        self.choices = choices;
        self.player = player;
        self.in_effect.name.clone_from(&settings.name);
        self.stun.set(settings.stun.clone());
        self.checkup.set(settings.stun.clone());
        self.in_effect.stun = settings.stun;
        self.unadopted = true;
        self.adopt();
        self.tell_soon();
        Ok(())
    }

    /// Works by what was changed, once there is no party.
    pub(super) fn adopt(&mut self) {
        if !self.unadopted || self.in_party() {
            return;
        }
        self.unadopted = false;
        let settings = self.choices.settings();
        let relays = match settings.relays() {
            Ok(relays) => relays,
            // It could be read when it was set.
            Err(fault) => {
                tracing::warn!(%fault, details = ?fault.details, "the relays' password can't be read any more");
                Vec::new()
            }
        };
        self.server = settings.server();
        self.port = port(&settings, &self.state);
        self.mapper.set(asks_router(&settings));
        let punching = settings.punching.unwrap_or(true);
        self.member.set(settings.server(), relays, punching);
        self.in_effect = settings;
        self.tell_soon();
    }

    /// Tries a control plane, off the loop: that takes a while where nobody answers.
    pub(super) fn test_control(&self, address: &str, answer: Answer) {
        let url = match Control::parse(address) {
            Ok(Control::Server(url)) => url,
            Ok(Control::Local) => {
                let fault = Fault::new(FaultCode::ControlAddress).with("reason", Why::AddressLocal);
                let _ = answer.send(Err(fault));
                return;
            }
            Err(fault) => {
                let _ = answer.send(Err(fault));
                return;
            }
        };
        let trial = self.clients.try_out(url);
        tokio::spawn(async move {
            let _ = answer.send(trial.await.map(Reply::ControlTest));
        });
    }
}
