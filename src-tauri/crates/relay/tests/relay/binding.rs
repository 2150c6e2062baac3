//! STUN.

use crate::world::{World, at, config, decode, encode, error_of, transaction, udp};
use lanrage_relay::{Behaviour, Client, Config, Link, Service};
use std::net::SocketAddr;
use stun_rs::attributes::StunAttribute;
use stun_rs::attributes::discovery::ChangeRequestFlags::{ChangeIp, ChangePort};
use stun_rs::attributes::discovery::{ChangeRequest, OtherAddress, Padding, ResponseOrigin, ResponsePort};
use stun_rs::attributes::stun::{Fingerprint, Software, UnknownAttributes, XorMappedAddress};
use stun_rs::{MessageClass, StunMessage, StunMessageBuilder, methods};

fn request(attributes: &[StunAttribute]) -> Vec<u8> {
    let mut builder =
        StunMessageBuilder::new(methods::BINDING, MessageClass::Request).with_transaction_id(transaction(7));
    for attribute in attributes {
        builder = builder.with_attribute(attribute.clone());
    }
    encode(&builder.build())
}

fn mapped(answer: &StunMessage) -> SocketAddr {
    let mapped = answer.get::<XorMappedAddress>().expect("a mapped address");
    *mapped.expect_xor_mapped_address().socket_address()
}

fn two_addresses() -> Config {
    Config {
        behaviour: Behaviour::new(at("9.9.9.9:3478"), at("9.9.9.8:3479")),
        ..config()
    }
}

fn stun(local: &str, remote: &str) -> Client {
    Client {
        service: Service::Stun,
        local: at(local),
        ..udp(remote)
    }
}

#[test]
fn a_client_learns_its_address_by_udp_and_tcp_and_both_families() {
    let mut world = World::new(config());
    for remote in ["198.51.100.1:5000", "[2a00::7]:5000"] {
        for link in [Link::Datagram, Link::Stream(1)] {
            let client = Client { link, ..udp(remote) };
            let bytes = world.ask(&client, &request(&[])).expect("an answer");
            let answer = decode(&bytes);
            assert_eq!(answer.class(), MessageClass::SuccessResponse);
            assert_eq!(answer.transaction_id(), &transaction(7));
            assert_eq!(mapped(&answer), at(remote));
            assert!(answer.get::<Fingerprint>().is_none() && answer.get::<OtherAddress>().is_none());
        }
    }
    assert_eq!(world.server.counters().bindings, 4);
}

#[test]
fn an_answer_is_hardly_longer_than_a_request() {
    let mut world = World::new(config());
    let plain = request(&[]);
    let answer = world.ask(&udp("198.51.100.1:5000"), &plain).unwrap();
    assert_eq!((plain.len(), answer.len()), (20, 32));
    let mut world = World::new(two_addresses());
    let answer = world.ask(&udp("198.51.100.1:5000"), &plain).unwrap();
    assert!(answer.len() <= 3 * plain.len(), "{}", answer.len());
}

#[test]
fn a_fingerprint_is_answered_with_one_and_a_wrong_one_with_silence() {
    let mut world = World::new(config());
    let mut bytes = request(&[Fingerprint::default().into()]);
    let answer = world.ask(&udp("198.51.100.1:5000"), &bytes).unwrap();
    let context = stun_rs::DecoderContextBuilder::default()
        .with_validation()
        .build();
    let decoder = stun_rs::MessageDecoderBuilder::default()
        .with_context(context)
        .build();
    let (answer, _) = decoder.decode(&answer).expect("a valid fingerprint");
    assert!(answer.get::<Fingerprint>().is_some());
    *bytes.last_mut().unwrap() ^= 1;
    assert_eq!(world.ask(&udp("198.51.100.1:5000"), &bytes), None);
}

#[test]
fn what_must_be_understood_and_is_not_is_named() {
    let mut world = World::new(config());
    let ask = |world: &mut World, client: &Client, attribute: StunAttribute| {
        decode(&world.ask(client, &request(&[attribute])).expect("an answer"))
    };
    let plain = udp("198.51.100.1:5000");
    for (attribute, number) in [
        (StunAttribute::from(ChangeRequest::new(None)), 0x0003),
        (Padding::new("xx").unwrap().into(), 0x0026),
        (ResponsePort::new(9).into(), 0x0027),
    ] {
        let answer = ask(&mut world, &plain, attribute);
        assert_eq!(error_of(&answer), 420);
        let unknown = answer.get::<UnknownAttributes>().expect("a list");
        assert_eq!(unknown.expect_unknown_attributes().attributes(), [number]);
    }
    let answer = ask(&mut world, &plain, Software::new("somebody").unwrap().into());
    assert_eq!(
        answer.class(),
        MessageClass::SuccessResponse,
        "optional ones are ignored"
    );
    let mut world = World::new(two_addresses());
    let stream = Client {
        link: Link::Stream(1),
        ..plain
    };
    assert_eq!(
        error_of(&ask(&mut world, &stream, ChangeRequest::new(None).into())),
        420
    );
}

#[test]
fn answers_come_from_the_address_that_was_asked_for() {
    let mut world = World::new(two_addresses());
    let mut ask = |local: &str, flags| {
        let client = stun(local, "198.51.100.1:5000");
        world.answers.clear();
        world.client(&client, &request(&[ChangeRequest::new(flags).into()]));
        let (to, from, bytes) = world.answers.pop().expect("an answer");
        assert_eq!(to, client);
        let answer = decode(&bytes);
        let origin = answer.get::<ResponseOrigin>().unwrap().expect_response_origin();
        assert_eq!(*origin.socket_address(), from);
        let other = answer.get::<OtherAddress>().unwrap().expect_other_address();
        (from, *other.socket_address())
    };
    for (local, port, ip, both) in [
        ("9.9.9.9:3478", "9.9.9.9:3479", "9.9.9.8:3478", "9.9.9.8:3479"),
        ("9.9.9.8:3478", "9.9.9.8:3479", "9.9.9.9:3478", "9.9.9.9:3479"),
        ("9.9.9.8:3479", "9.9.9.8:3478", "9.9.9.9:3479", "9.9.9.9:3478"),
    ] {
        assert_eq!(ask(local, None), (at(local), at(both)));
        assert_eq!(ask(local, Some(ChangePort.into())), (at(port), at(both)));
        assert_eq!(ask(local, Some(ChangeIp.into())), (at(ip), at(both)));
        assert_eq!(ask(local, Some(ChangeIp | ChangePort)), (at(both), at(both)));
    }
}

#[test]
fn answers_go_to_another_port_or_come_padded_where_that_harms_nobody() {
    let mut world = World::new(two_addresses());
    let client = udp("198.51.100.1:5000");
    let mut ask = |attributes: &[StunAttribute]| {
        world.answers.clear();
        let request = request(attributes);
        world.client(&client, &request);
        let (to, _, bytes) = world.answers.pop().expect("an answer");
        (to.remote, decode(&bytes), request.len(), bytes.len())
    };
    let (to, answer, ..) = ask(&[ResponsePort::new(6000).into()]);
    assert_eq!(
        (to, mapped(&answer)),
        (at("198.51.100.1:6000"), at("198.51.100.1:5000"))
    );
    let padding: StunAttribute = Padding::new("x".repeat(1600)).unwrap().into();
    let (to, answer, asked, answered) = ask(std::slice::from_ref(&padding));
    assert_eq!(to, client.remote);
    assert_eq!(
        answer.get::<Padding>().unwrap().expect_padding().as_str().len(),
        1600
    );
    assert!(answered < asked + 50, "{answered} bytes to {asked}");
    for wrong in [
        &[ResponsePort::new(53).into()][..],
        &[padding, ResponsePort::new(6000).into()],
    ] {
        let (to, answer, ..) = ask(wrong);
        assert_eq!((to, error_of(&answer)), (client.remote, 400));
    }
}

#[test]
fn a_listener_without_turn_answers_nothing_but_binding() {
    let mut world = World::new(config());
    let client = stun("9.9.9.9:3478", "198.51.100.1:5000");
    assert!(world.ask(&client, &request(&[])).is_some());
    let allocate = StunMessageBuilder::new(methods::ALLOCATE, MessageClass::Request).build();
    assert_eq!(world.ask(&client, &encode(&allocate)), None);
}
