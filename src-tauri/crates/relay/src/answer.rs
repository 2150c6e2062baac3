//! Answers, written by stun-rs.

use crate::credentials::Key;
use crate::wire::Message;
use stun_rs::attributes::StunAttribute;
use stun_rs::attributes::stun::{ErrorCode, Fingerprint, MessageIntegrity, UnknownAttributes};
use stun_rs::{MessageClass, MessageEncoderBuilder, MessageType, StunMessageBuilder, TransactionId};

/// Longer than any answer: realm and nonce are ours, and padding is no longer than in a request, nor is a list of
/// its unknown attributes.
const LONGEST: usize = crate::server::LONGEST_REQUEST + 512;

/// Why a request is refused (RFC 8489 §18.6, RFC 8656 §19).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    BadRequest,
    Unauthorized,
    Forbidden,
    UnknownAttributes(Vec<u16>),
    AllocationMismatch,
    StaleNonce,
    FamilyNotSupported,
    WrongCredentials,
    TransportNotSupported,
    FamilyMismatch,
    QuotaReached,
    InsufficientCapacity,
}

impl Refusal {
    fn code(&self) -> (u16, &'static str) {
        match self {
            Self::BadRequest => (400, "Bad Request"),
            Self::Unauthorized => (401, "Unauthorized"),
            Self::Forbidden => (403, "Forbidden"),
            Self::UnknownAttributes(_) => (420, "Unknown Attribute"),
            Self::AllocationMismatch => (437, "Allocation Mismatch"),
            Self::StaleNonce => (438, "Stale Nonce"),
            Self::FamilyNotSupported => (440, "Address Family not Supported"),
            Self::WrongCredentials => (441, "Wrong Credentials"),
            Self::TransportNotSupported => (442, "Unsupported Transport Protocol"),
            Self::FamilyMismatch => (443, "Peer Address Family Mismatch"),
            Self::QuotaReached => (486, "Allocation Quota Reached"),
            Self::InsufficientCapacity => (508, "Insufficient Capacity"),
        }
    }
}

/// An answer that is being written.
pub(crate) struct Answer(StunMessageBuilder);

impl Answer {
    /// To a request of this type and transaction.
    pub(crate) fn success(kind: u16, transaction: [u8; 12]) -> Self {
        Self::new(kind, transaction, MessageClass::SuccessResponse)
    }

    /// Says no.
    pub(crate) fn error(kind: u16, transaction: [u8; 12], refusal: &Refusal) -> Self {
        let answer = Self::new(kind, transaction, MessageClass::ErrorResponse);
        let (code, reason) = refusal.code();
        let answer = match stun_rs::ErrorCode::new(code, reason) {
            Ok(code) => answer.with(ErrorCode::from(code)),
            Err(_) => answer,
        };
        match refusal {
            Refusal::UnknownAttributes(unknown) => {
                let mut attribute = UnknownAttributes::default();
                unknown.iter().for_each(|kind| attribute.add(*kind));
                answer.with(attribute)
            }
            _ => answer,
        }
    }

    fn new(kind: u16, transaction: [u8; 12], class: MessageClass) -> Self {
        let method = MessageType::from(kind).method();
        Self(StunMessageBuilder::new(method, class).with_transaction_id(TransactionId::from(transaction)))
    }

    /// Adds an attribute.
    pub(crate) fn with(self, attribute: impl Into<StunAttribute>) -> Self {
        Self(self.0.with_attribute(attribute))
    }

    /// Writes it: signed where there is a key, with a fingerprint where the request had one.
    pub(crate) fn finish(self, key: Option<&Key>, fingerprint: bool) -> Option<Vec<u8>> {
        let mut answer = self;
        if let Some(key) = key {
            answer = answer.with(MessageIntegrity::new(key.0.clone()));
        }
        if fingerprint {
            answer = answer.with(Fingerprint::default());
        }
        let mut bytes = vec![0; LONGEST];
        match MessageEncoderBuilder::default()
            .build()
            .encode(&mut bytes, &answer.0.build())
        {
            Ok(length) => {
                bytes.truncate(length);
                bytes.shrink_to_fit();
                Some(bytes)
            }
            Err(error) => {
                tracing::error!(%error, "an answer can't be written");
                None
            }
        }
    }
}

/// Whether a message's FINGERPRINT, where it has one, is right (RFC 8489 §14.7).
pub(crate) fn fingerprint_holds(message: &Message<'_>) -> bool {
    let bytes = message.bytes();
    if !message.has_fingerprint() {
        return true;
    }
    // It is the last attribute, with a value of four bytes: `Message::parse` saw to that.
    match bytes.last_chunk::<4>() {
        Some(value) => Fingerprint::from(value).validate(&bytes[..bytes.len() - 8]),
        None => false,
    }
}
