//! TURN's messages as a client writes and reads them. The only file of this crate that names stun-rs.

use rand_core::{OsRng, RngCore};
use std::net::SocketAddr;
use std::time::Duration;
use stun_rs::attributes::stun::{ErrorCode, MessageIntegrity, Nonce, Realm, UserName};
use stun_rs::attributes::turn::{
    ChannelNumber, Data, LifeTime, RequestedTrasport, XorPeerAddress, XorRelayedAddress,
};
use stun_rs::{
    Algorithm, AlgorithmId, DecoderContextBuilder, HMACKey, MessageClass, MessageDecoderBuilder,
    MessageEncoderBuilder, StunMessage, StunMessageBuilder, methods,
};
use zeroize::Zeroizing;

/// Room for a request: names and nonces are far below RFC 8489's 763 bytes each in practice, and all three fit.
const LONGEST: usize = 4096;

/// How long an allocation is asked to live, seconds: what every relay grants (RFC 8656 §7.2), and no longer, so that one of
/// an engine that was killed is not kept for nothing.
const LIFETIME: u32 = 600;

/// A transaction's number.
pub(super) type Id = [u8; 12];

/// What a relay is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// A relayed address for UDP (RFC 8656 §7.1).
    Allocate,
    /// To keep it, or to end it now (RFC 8656 §8.1).
    Refresh {
        /// Whether it is to end.
        end: bool,
    },
    /// A channel to a peer; it brings the permission for its address (RFC 8656 §12.1).
    Bind(u16, SocketAddr),
}

/// Who asks, by the long-term credential mechanism (RFC 8489 §9.2).
pub(super) struct Login {
    username: String,
    password: Zeroizing<String>,
    /// Once the relay has said what it wants signed.
    challenge: Option<Challenge>,
}

struct Challenge {
    realm: String,
    nonce: String,
    key: HMACKey,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) id: Id,
    pub(super) outcome: Result<Granted, Refused>,
}

/// What a relay gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) relayed: Option<SocketAddr>,
    pub(super) lifetime: Option<Duration>,
}

/// Why it does not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) code: u16,
    /// In the relay's words.
    pub(super) reason: String,
    pub(super) realm: Option<String>,
    pub(super) nonce: Option<String>,
}

impl Login {
    pub(super) fn new(username: &str, password: &str) -> Self {
        Self {
            username: username.to_owned(),
            password: Zeroizing::new(password.to_owned()),
            challenge: None,
        }
    }

    /// Whether requests are signed yet.
    pub(super) fn is_challenged(&self) -> bool {
        self.challenge.is_some()
    }

    /// Takes over what the relay wants signed. `false` when nothing can be made of it.
    pub(super) fn challenged(&mut self, refused: &Refused) -> bool {
        let known = self.challenge.as_ref().map(|challenge| challenge.realm.clone());
        let (Some(realm), Some(nonce)) = (refused.realm.clone().or(known), refused.nonce.clone()) else {
            return false;
        };
        let algorithm = Algorithm::from(AlgorithmId::MD5);
        let key = HMACKey::new_long_term(&self.username, &realm, self.password.as_str(), algorithm);
        let Ok(key) = key else { return false };
        self.challenge = Some(Challenge { realm, nonce, key });
        true
    }

    /// A request with a number of its own, signed if the relay has said how. None when it can't be written, as with a
    /// name that no STUN message may hold.
    pub(super) fn request(&self, ask: Ask) -> Option<(Id, Vec<u8>)> {
        let mut id = Id::default();
        OsRng.fill_bytes(&mut id);
        let method = match ask {
            Ask::Allocate => methods::ALLOCATE,
            Ask::Refresh { .. } => methods::REFRESH,
            Ask::Bind(..) => methods::CHANNEL_BIND,
        };
        let message = StunMessageBuilder::new(method, MessageClass::Request).with_transaction_id(id.into());
        let message = match ask {
            Ask::Allocate => message
                .with_attribute(RequestedTrasport::default())
                .with_attribute(LifeTime::new(LIFETIME)),
            Ask::Refresh { end } => message.with_attribute(LifeTime::new(if end { 0 } else { LIFETIME })),
            Ask::Bind(number, peer) => message
                .with_attribute(ChannelNumber::new(number))
                .with_attribute(XorPeerAddress::from(peer)),
        };
        let message = match &self.challenge {
            None => message,
            Some(challenge) => message
                .with_attribute(UserName::new(&self.username).ok()?)
                .with_attribute(Realm::new(&challenge.realm).ok()?)
                .with_attribute(Nonce::new(&challenge.nonce).ok()?)
                .with_attribute(MessageIntegrity::new(challenge.key.clone())),
        };
        let mut bytes = vec![0; LONGEST];
        let encoder = MessageEncoderBuilder::default().build();
        let length = encoder.encode(&mut bytes, &message.build()).ok()?;
        bytes.truncate(length);
        Some((id, bytes))
    }

    /// Reads an answer. What grants something has to be signed, as has every refusal but those that ask for a
    /// signature, or say that none could be made (RFC 8489 §9.2.5).
    pub(super) fn answer(&self, bytes: &[u8]) -> Option<Answer> {
        let context = match &self.challenge {
            Some(challenge) => DecoderContextBuilder::default().with_key(challenge.key.clone()),
            None => DecoderContextBuilder::default(),
        };
        let plain = MessageDecoderBuilder::default().build();
        let checking = MessageDecoderBuilder::default()
            .with_context(context.with_validation().build())
            .build();
        let (message, _) = plain.decode(bytes).ok()?;
        let id: Id = *message.transaction_id().as_bytes();
        let signed = message.get::<MessageIntegrity>().is_some() && checking.decode(bytes).is_ok();
        match message.class() {
            MessageClass::SuccessResponse if signed => Some(Answer {
                id,
                outcome: Ok(granted(&message)),
            }),
            MessageClass::ErrorResponse => {
                let refused = refused(&message)?;
                let unsigned = matches!(refused.code, 400 | 401 | 438) || self.challenge.is_none();
                (signed || unsigned).then_some(Answer {
                    id,
                    outcome: Err(refused),
                })
            }
            MessageClass::SuccessResponse | MessageClass::Request | MessageClass::Indication => None,
        }
    }
}

fn granted(message: &StunMessage) -> Granted {
    let relayed = message
        .get::<XorRelayedAddress>()
        .and_then(|found| found.as_xor_relayed_address().ok());
    let lifetime = message
        .get::<LifeTime>()
        .and_then(|found| found.as_life_time().ok());
    Granted {
        relayed: relayed.map(|found| *found.socket_address()),
        lifetime: lifetime.map(|found| Duration::from_secs(found.as_u32().into())),
    }
}

fn refused(message: &StunMessage) -> Option<Refused> {
    let error = message.get::<ErrorCode>()?.as_error_code().ok()?.error_code();
    let realm = message
        .get::<Realm>()
        .and_then(|found| found.as_realm().ok())
        .map(|realm| realm.as_str().to_owned());
    let nonce = message
        .get::<Nonce>()
        .and_then(|found| found.as_nonce().ok())
        .map(|nonce| nonce.as_str().to_owned());
    Some(Refused {
        code: error.error_code(),
        reason: error.reason().to_owned(),
        realm,
        nonce,
    })
}

/// What a peer sent that has no channel, or none by this address (a Data indication, RFC 8656 §11.4).
pub(super) fn data(bytes: &[u8]) -> Option<(SocketAddr, Vec<u8>)> {
    let (message, _) = MessageDecoderBuilder::default().build().decode(bytes).ok()?;
    if (message.method(), message.class()) != (methods::DATA, MessageClass::Indication) {
        return None;
    }
    let peer = message.get::<XorPeerAddress>()?.as_xor_peer_address().ok()?;
    let data = message.get::<Data>()?.as_data().ok()?;
    Some((*peer.socket_address(), data.as_bytes().to_vec()))
}
