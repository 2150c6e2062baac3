//! STUN Binding (RFC 8489) with the attributes of behaviour discovery (RFC 5780). The only file of this crate that
//! names stun-rs, which encodes and decodes; what to ask and what to conclude is [`crate::nat`]'s.

use std::net::SocketAddr;
use stun_rs::attributes::discovery::ChangeRequestFlags::{ChangeIp, ChangePort};
use stun_rs::attributes::discovery::{ChangeRequest, OtherAddress, ResponseOrigin};
use stun_rs::attributes::stun::{ErrorCode, XorMappedAddress};
use stun_rs::methods::BINDING;
use stun_rs::{
    DecoderContextBuilder, MessageClass, MessageDecoderBuilder, MessageEncoderBuilder, StunMessageBuilder,
};

/// The header's length.
const HEADER: usize = 20;
/// A Binding request's length with a CHANGE-REQUEST in it.
const LONGEST_REQUEST: usize = HEADER + 8;
/// Longer answers are not read: those to our requests have a handful of short attributes.
const LONGEST_ANSWER: usize = 548;

/// A transaction's number: drawn afresh, 96 bits, so that only who saw the request can answer it.
pub type TransactionId = [u8; 12];

/// From where a server is asked to answer (CHANGE-REQUEST, RFC 5780 §7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// From where it was asked.
    Nothing,
    /// From its other port.
    Port,
    /// From its other address and port.
    Both,
}

/// A server's answer to a Binding request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The address and port that the request came from, as the server saw it (XOR-MAPPED-ADDRESS).
    pub mapped: Option<SocketAddr>,
    /// From where the server says it answers (RESPONSE-ORIGIN).
    pub origin: Option<SocketAddr>,
    /// From where it answers when asked to change both (OTHER-ADDRESS).
    pub other: Option<SocketAddr>,
    /// The error's number, where it is an error response.
    pub error: Option<u16>,
}

/// A Binding request. Nothing is left of it but an empty datagram if it could not be encoded, which the sizes here
/// rule out.
pub fn request(id: TransactionId, change: Change) -> Vec<u8> {
    let message = StunMessageBuilder::new(BINDING, MessageClass::Request).with_transaction_id(id.into());
    let message = match change {
        Change::Nothing => message,
        Change::Port => message.with_attribute(ChangeRequest::new(Some(ChangePort.into()))),
        Change::Both => message.with_attribute(ChangeRequest::new(Some(ChangeIp | ChangePort))),
    };
    let mut bytes = vec![0; LONGEST_REQUEST];
    let encoder = MessageEncoderBuilder::default().build();
    let length = encoder.encode(&mut bytes, &message.build()).unwrap_or_default();
    bytes.truncate(length);
    bytes
}

/// The transaction that a datagram belongs to, by its header alone: whether it is one of ours is to be asked before
/// the rest is looked at.
pub fn transaction_of(datagram: &[u8]) -> Option<TransactionId> {
    let (_, rest) = datagram.split_first_chunk::<8>()?;
    rest.first_chunk().copied()
}

/// Reads an answer to a Binding request. A FINGERPRINT need not be there; one that is has to fit.
pub fn answer(datagram: &[u8]) -> Option<Answer> {
    if datagram.len() > LONGEST_ANSWER {
        return None;
    }
    let context = DecoderContextBuilder::default().with_validation().build();
    let decoder = MessageDecoderBuilder::default().with_context(context).build();
    let (message, length) = decoder.decode(datagram).ok()?;
    let is_answer = matches!(
        message.class(),
        MessageClass::SuccessResponse | MessageClass::ErrorResponse
    );
    if message.method() != BINDING || !is_answer || length != datagram.len() {
        return None;
    }
    let mapped = message
        .get::<XorMappedAddress>()
        .and_then(|found| found.as_xor_mapped_address().ok());
    let origin = message
        .get::<ResponseOrigin>()
        .and_then(|found| found.as_response_origin().ok());
    let other = message
        .get::<OtherAddress>()
        .and_then(|found| found.as_other_address().ok());
    let error = message
        .get::<ErrorCode>()
        .and_then(|found| found.as_error_code().ok());
    let canonical = |at: &SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
    Some(Answer {
        mapped: mapped.map(|found| canonical(found.socket_address())),
        origin: origin.map(|found| canonical(found.socket_address())),
        other: other.map(|found| canonical(found.socket_address())),
        error: match message.class() {
            MessageClass::ErrorResponse => Some(error.map_or(0, |found| found.error_code().error_code())),
            MessageClass::SuccessResponse | MessageClass::Request | MessageClass::Indication => None,
        },
    })
}

#[cfg(test)]
pub(crate) mod tests;
