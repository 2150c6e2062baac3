//! What callers ask, as the member's intents.

use super::Engine;
use crate::happening::Asked;
use crate::ipc_server::owns;
use crate::state::seconds_since_1970;
use crate::{adapter, network};
use lanrage_core::io::{Input, Intent};
use lanrage_platform::caller::Caller;
use lanrage_proto::invite::InviteError;
use lanrage_proto::ipc::{Call, Reply};
use lanrage_proto::lobby::RulesChange;
use lanrage_proto::{Fault, FaultCode, Invite, PartyName, PlayerName, Why};
use std::time::Instant;

impl Engine {
    pub(super) async fn asked(&mut self, asked: Asked) {
        let Asked { caller, call, answer } = asked;
        let intent = match call {
            Call::Status => {
                let _ = answer.send(Ok(Reply::Status(self.compose().seen_by(&caller))));
                return;
            }
            Call::Doctor => return self.doctor(caller, answer),
            Call::Settings => return self.tell_settings(answer),
            Call::Change { change } => return self.change(&caller, change, answer),
            Call::TestControl { address } => return self.test_control(&address, answer),
            Call::Log { from } => {
                let _ = answer.send(Ok(Reply::Log(self.log_tail.page(from))));
                return;
            }
            Call::Create { party, player } => self.create(&caller, &party, player.as_deref()).await,
            Call::Join { text, player } => self.join(&caller, &text, player.as_deref()).await,
            Call::Leave => self.leave(&caller),
            Call::Rules { change } => self.rules(&caller, change),
            Call::Watch => Err(Fault::new(FaultCode::RequestInvalid).with("reason", "watch")),
        };
        match intent {
            Ok(intent) => {
                let id = self.next_intent();
                self.waiting.insert(id, answer);
                self.member.handle(Instant::now(), Input::Intent(id, intent));
                // In order: the next request may rest on what this one brings about.
                self.carry_out().await;
            }
            Err(fault) => {
                tracing::info!(%fault, "a request was refused");
                let _ = answer.send(Err(fault));
            }
        }
    }

    async fn create(&mut self, caller: &Caller, party: &str, player: Option<&str>) -> Result<Intent, Fault> {
        let party = PartyName::parse(party)
            .map_err(|error| Fault::new(FaultCode::PartyNameInvalid).with("reason", Why::from(error)))?;
        let player = self.player_named(player)?;
        self.admit(caller).await?;
        Ok(Intent::Create {
            party,
            player,
            created: seconds_since_1970(),
        })
    }

    async fn join(&mut self, caller: &Caller, text: &str, player: Option<&str>) -> Result<Intent, Fault> {
        let invite = Invite::find_in(text).map_err(|error| match error {
            InviteError::Id(error) => Fault::new(FaultCode::PartyIdInvalid).with("reason", Why::from(error)),
            InviteError::TooLong => Fault::new(FaultCode::PartyIdInvalid).with("reason", Why::InviteLength),
            InviteError::Address => FaultCode::InviteInvalid.into(),
        })?;
        let player = self.player_named(player)?;
        self.admit(caller).await?;
        Ok(Intent::Join { invite, player })
    }

    fn leave(&self, caller: &Caller) -> Result<Intent, Fault> {
        if self.in_party() && !owns(caller, self.owner) {
            return Err(FaultCode::PartyOfAnotherUser.into());
        }
        Ok(Intent::Leave)
    }

    fn rules(&self, caller: &Caller, change: RulesChange) -> Result<Intent, Fault> {
        if self.in_party() && !owns(caller, self.owner) {
            return Err(FaultCode::PartyOfAnotherUser.into());
        }
        Ok(Intent::Rules(change))
    }

    /// Before a create or join: an engine in a party answers by it, one in none checks that it could live in one,
    /// so that what can't work is refused before anybody is asked anything.
    async fn admit(&mut self, caller: &Caller) -> Result<(), Fault> {
        if self.in_party() {
            return if owns(caller, self.owner) {
                Ok(())
            } else {
                Err(FaultCode::PartyOfAnotherUser.into())
            };
        }
        self.adopt();
        adapter::possible()?;
        if let Some(clash) = network::clash(self.range, None) {
            return Err(clash);
        }
        self.open_sockets().await?;
        self.owner = Some(caller.uid);
        Ok(())
    }

    pub(super) fn in_party(&self) -> bool {
        self.member.status(Instant::now()).party.is_some()
    }

    fn player_named(&self, name: Option<&str>) -> Result<PlayerName, Fault> {
        match name {
            None => Ok(self.player.clone()),
            Some(name) => PlayerName::parse(name)
                .map_err(|error| Fault::new(FaultCode::NameInvalid).with("reason", Why::from(error))),
        }
    }
}
