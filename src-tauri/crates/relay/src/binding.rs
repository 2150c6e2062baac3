//! STUN Binding (RFC 8489 §2) and behaviour discovery (RFC 5780).
//!
//! Answers carry what was asked for and no more, so that nobody gains by asking in another's name: 32 bytes to a
//! plain request over IPv4. PADDING and RESPONSE-PORT, which would lengthen or redirect them, are unknown here.

use crate::answer::{Answer, Refusal};
use crate::client::{Client, Link};
use crate::config::Behaviour;
use crate::wire::{Message, attribute, kind};
use std::net::SocketAddr;
use stun_rs::attributes::discovery::{OtherAddress, ResponseOrigin};
use stun_rs::attributes::stun::XorMappedAddress;

/// CHANGE-REQUEST's flags (RFC 5780 §7.2).
const CHANGE_IP: u32 = 4;
const CHANGE_PORT: u32 = 2;

/// The answer, and where it is to come from.
pub(crate) fn answer(
    behaviour: Option<&Behaviour>,
    client: &Client,
    request: &Message<'_>,
) -> Option<(SocketAddr, Vec<u8>)> {
    // Over a stream there is no other address to answer from.
    let behaviour = behaviour
        .filter(|_| client.link == Link::Datagram)
        .filter(|behaviour| behaviour.all().contains(&client.local));
    let (known, change) = match behaviour {
        Some(_) => (
            &[attribute::CHANGE_REQUEST][..],
            request.attribute(attribute::CHANGE_REQUEST),
        ),
        None => (&[][..], None),
    };
    let refuse = |refusal| {
        let answer = Answer::error(kind::BINDING, request.transaction(), &refusal)
            .finish(None, request.has_fingerprint())?;
        Some((client.local, answer))
    };
    let unknown = request.unknown(known);
    if !unknown.is_empty() {
        return refuse(Refusal::UnknownAttributes(unknown));
    }
    let mut answer =
        Answer::success(kind::BINDING, request.transaction()).with(XorMappedAddress::from(client.remote));
    let mut from = client.local;
    if let Some(behaviour) = behaviour {
        let flags = match change.map(<[u8; 4]>::try_from) {
            None => 0,
            Some(Ok(value)) => u32::from_be_bytes(value),
            Some(Err(_)) => return refuse(Refusal::BadRequest),
        };
        from = behaviour.from(client.local, flags & CHANGE_IP != 0, flags & CHANGE_PORT != 0)?;
        answer = answer
            .with(ResponseOrigin::from(from))
            .with(OtherAddress::from(behaviour.from(client.local, true, true)?));
    }
    Some((from, answer.finish(None, request.has_fingerprint())?))
}
