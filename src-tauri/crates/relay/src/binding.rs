//! STUN Binding (RFC 8489 §2) and behaviour discovery (RFC 5780).
//!
//! Answers carry what was asked for and no more, so that nobody gains by asking in another's name: 32 bytes to a
//! plain request over IPv4, and padding only as long as the request's own. What RFC 5780 adds is offered where there
//! are two addresses, over UDP.

use crate::answer::{Answer, Refusal};
use crate::client::{Client, Link};
use crate::config::Behaviour;
use crate::wire::{Message, attribute, kind};
use std::net::SocketAddr;
use stun_rs::attributes::discovery::{OtherAddress, Padding, ResponseOrigin};
use stun_rs::attributes::stun::XorMappedAddress;

/// CHANGE-REQUEST's flags (RFC 5780 §7.2).
const CHANGE_IP: u32 = 4;
const CHANGE_PORT: u32 = 2;
/// An answer to a port below this would be a way to talk to a machine's services in another's name.
const LOWEST_PORT: u16 = 1024;

/// An answer and its way.
pub(crate) struct Bound {
    /// From which of our addresses.
    pub(crate) from: SocketAddr,
    /// To which of the client's.
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

/// The answer to a Binding request.
pub(crate) fn answer(behaviour: Option<&Behaviour>, client: &Client, request: &Message<'_>) -> Option<Bound> {
    let behaviour = behaviour
        .filter(|_| client.link == Link::Datagram)
        .filter(|behaviour| behaviour.all().contains(&client.local));
    let known: &[u16] = match behaviour {
        Some(_) => &[
            attribute::CHANGE_REQUEST,
            attribute::PADDING,
            attribute::RESPONSE_PORT,
        ],
        None => &[],
    };
    let unknown = request.unknown(known);
    let answered = if unknown.is_empty() {
        success(behaviour, client, request)
    } else {
        Err(Refusal::UnknownAttributes(unknown))
    };
    let (from, to, answer) = answered.unwrap_or_else(|refusal| {
        let answer = Answer::error(kind::BINDING, request.transaction(), &refusal);
        (client.local, client.remote, answer)
    });
    let bytes = answer.finish(None, request.has_fingerprint())?;
    Some(Bound { from, to, bytes })
}

fn success(
    behaviour: Option<&Behaviour>,
    client: &Client,
    request: &Message<'_>,
) -> Result<(SocketAddr, SocketAddr, Answer), Refusal> {
    let answer =
        Answer::success(kind::BINDING, request.transaction()).with(XorMappedAddress::from(client.remote));
    let Some(behaviour) = behaviour else {
        return Ok((client.local, client.remote, answer));
    };
    let flags = match request
        .attribute(attribute::CHANGE_REQUEST)
        .map(<[u8; 4]>::try_from)
    {
        None => 0,
        Some(Ok(value)) => u32::from_be_bytes(value),
        Some(Err(_)) => return Err(Refusal::BadRequest),
    };
    let ours = |ip, port| behaviour.from(client.local, ip, port).ok_or(Refusal::BadRequest);
    let from = ours(flags & CHANGE_IP != 0, flags & CHANGE_PORT != 0)?;
    let mut to = client.remote;
    let padding = request.attribute(attribute::PADDING);
    if let Some(value) = request.attribute(attribute::RESPONSE_PORT) {
        let port = value.first_chunk().map(|bytes| u16::from_be_bytes(*bytes));
        match port {
            // Both together could be aimed at a third party (RFC 5780 §6.1).
            Some(port) if port >= LOWEST_PORT && padding.is_none() => to.set_port(port),
            _ => return Err(Refusal::BadRequest),
        }
    }
    let answer = answer
        .with(ResponseOrigin::from(from))
        .with(OtherAddress::from(ours(true, true)?));
    let answer = match padding.map(|padding| Padding::new("0".repeat(padding.len()))) {
        Some(Ok(padding)) => answer.with(padding),
        Some(Err(_)) | None => answer,
    };
    Ok((from, to, answer))
}
