//! A server's STUN and TURN under abuse: what is refused, what is shed, and what becomes of those who play meanwhile.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use lanrage_relay::credentials::{Credentials, Secret};
use lanrage_tests::lab::{
    Host, Internet, Nat, PublicServer, SiteOptions, Ticker, echo, eventually, felt, scenario,
};
use stun_rs::attributes::StunAttribute;
use stun_rs::attributes::stun::{ErrorCode, MessageIntegrity, Nonce, Realm, UserName};
use stun_rs::attributes::turn::{RequestedTrasport, XorPeerAddress, XorRelayedAddress};
use stun_rs::{
    Algorithm, AlgorithmId, HMACKey, MessageClass, MessageDecoder, MessageEncoder, MessageMethod,
    StunMessage, StunMessageBuilder, methods,
};

use super::forge::{Forger, anybody};
use super::memory_of;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Datagrams of the flood and how many a second: more than any party sends.
const FLOOD: u32 = 300_000;
const RATE: u32 = 10_000;

/// What the flood may leave behind, MiB: the addresses that may be relayed to and the table of sources have a fixed
/// size of a few; a hundred bytes for each datagram would be twice as much.
const LEFT: u64 = 15;

/// How much of what members send each other has to arrive meanwhile, there and back. The machine is shared by the flood,
/// its sender, the players and whatever else runs; where the flood is answered in full next to nothing arrives.
const DELIVERED: f64 = 0.8;

#[test]
fn a_relay_under_abuse_refuses_or_sheds_it_and_carries_its_party() -> Result<()> {
    scenario("abused relay", |lab| {
        let internet = Internet::new(lab)?;
        let secret = lab.files().join("secret");
        fs::write(&secret, SECRET)?;
        let server = PublicServer::start(&internet, &["--turn-secret-file", &secret.to_string_lossy()])?;
        let id = server.id().context("the server does not run")?;
        let home = || {
            let home = internet.site(&SiteOptions::new(Nat::PortRestrictedCone))?;
            home.allow_udp_only_to(&internet.server_addresses())?;
            Ok::<_, anyhow::Error>(home)
        };
        let (one, other) = (home()?, home()?);
        let anna = server.engine(one.host()?, "Anna", &[])?;
        let created = anna.cli(&["create", "Friday night"])?;
        let tom = server.engine(other.host()?, "Tom", &[])?;
        tom.cli(&["join", created["id"].as_str().context("no ID")?])?;
        let to = tom.address()?;
        anna.wait_until("Tom relayed", felt::CONNECT, |status| {
            Ok(status
                .peer(to)?
                .is_some_and(|row| row.path.as_deref() == Some("relayed")))
        })?;

        let stranger = internet.site(&SiteOptions::new(Nat::Open))?;
        let at = SocketAddrV4::new(internet.server().address(), 3478);
        strangers_are_refused(stranger.host()?, at)?;
        members_have_their_share(stranger.host()?, at)?;
        nobody_is_relayed_inwards(stranger.host()?, at)?;

        let ticker = Ticker::start(anna.host(), echo(tom.host(), to)?)?;
        let began = Instant::now();
        eventually("the ticker is heard", felt::CONNECT, || {
            Ok(if ticker.heard_since(began) {
                Ok(())
            } else {
                Err("silence".to_owned())
            })
        })?;
        let before = memory_of(id)?;
        let flooded = Instant::now();
        let refused = flood(stranger.host()?, at)?;
        let took = flooded.elapsed().as_secs_f64();
        let silence = ticker.longest_silence(flooded);
        let (sent, answered) = ticker.finish();
        let after = memory_of(id)?;
        let share = answered as f64 / sent as f64;
        println!(
            "{FLOOD} requests from as many sources in {took:.1} s ({refused} did not leave): {answered} of {sent} \
             ticks came back ({:.1} %), longest silence {:.2} s, memory {before} MiB before and {after} MiB after",
            share * 100.0,
            silence.as_secs_f64()
        );
        ensure!(refused < FLOOD / 10, "{refused} datagrams did not leave");
        ensure!(share >= DELIVERED, "{answered} of {sent} ticks came back");
        ensure!(after <= before + LEFT, "{before} MiB became {after} MiB");
        let status = anna.status()?;
        let row = status.peer(to)?.context("Tom is gone")?;
        ensure!(row.path.as_deref() == Some("relayed"), "{}", status.summary());
        // Newcomers are let in at once.
        let mut newcomer = Asker::new(stranger.host()?, at)?;
        newcomer.allocate(&named("after.flood", 3600)?)?;
        let log = server.log();
        let panic = log.lines().find(|line| line.contains("panicked"));
        ensure!(panic.is_none(), "in its log: {}", panic.unwrap_or_default());
        Ok(())
    })
}

fn strangers_are_refused(host: &Host, at: SocketAddrV4) -> Result<()> {
    let mut asker = Asker::new(host, at)?;
    let unsigned = code(asker.ask(methods::ALLOCATE, &[RequestedTrasport::default().into()], None)?)?;
    let mut wrong = named("party.member", 3600)?;
    wrong.password = "guess".to_owned();
    let wrong = code(asker.try_to_allocate(&wrong)?)?;
    let expired = code(asker.try_to_allocate(&named("party.member", -1)?)?)?;
    println!(
        "allocate unsigned: {unsigned}, with a wrong password: {wrong}, with expired credentials: {expired}"
    );
    ensure!(
        [unsigned, wrong, expired] == [401; 3],
        "{unsigned} {wrong} {expired}"
    );
    Ok(())
}

fn members_have_their_share(host: &Host, at: SocketAddrV4) -> Result<()> {
    let login = named("greedy.member", 3600)?;
    let mut askers = Vec::new();
    let refusal = loop {
        let mut asker = Asker::new(host, at)?;
        let answer = asker.try_to_allocate(&login)?;
        if answer.class() != MessageClass::SuccessResponse {
            break code(answer)?;
        }
        askers.push(asker);
        ensure!(askers.len() < 200, "one member has {} allocations", askers.len());
    };
    println!("one member: {} allocations, then {refusal}", askers.len());
    ensure!(refusal == 486, "{refusal}");
    // Its neighbour in the same party is none the worse for it.
    Asker::new(host, at)?
        .allocate(&named("greedy.other", 3600)?)
        .map(drop)
}

fn nobody_is_relayed_inwards(host: &Host, at: SocketAddrV4) -> Result<()> {
    let mut asker = Asker::new(host, at)?;
    let login = named("curious.member", 3600)?;
    asker.allocate(&login)?;
    for peer in [
        "127.0.0.1:22",
        "192.168.1.10:445",
        "10.0.0.1:80",
        "172.16.0.1:80",
        "100.64.0.1:80",
        "10.66.0.1:51820",
        "169.254.169.254:80",
        "224.0.0.251:5353",
        "255.255.255.255:9",
        "0.0.0.0:9",
    ] {
        let peer: SocketAddr = peer.parse()?;
        let asked = asker.ask(
            methods::CREATE_PERMMISSION,
            &[XorPeerAddress::from(peer).into()],
            Some(&login),
        )?;
        let code = code(asked)?;
        println!("relay to {peer}: {code}");
        ensure!(code == 403, "relay to {peer}: {code}");
    }
    Ok(())
}

/// Binding requests, allocations without and with a made-up signature, each from another source.
fn flood(host: &Host, at: SocketAddrV4) -> Result<u32> {
    let bind = encode(&StunMessageBuilder::new(methods::BINDING, MessageClass::Request).build())?;
    let bare = StunMessageBuilder::new(methods::ALLOCATE, MessageClass::Request)
        .with_attribute(RequestedTrasport::default());
    let allocate = encode(&bare.build())?;
    let key = key("1999999999:a.b", "lanrage", "guess")?;
    let signed = StunMessageBuilder::new(methods::ALLOCATE, MessageClass::Request)
        .with_attribute(RequestedTrasport::default())
        .with_attribute(UserName::new("1999999999:a.b")?)
        .with_attribute(Realm::new("lanrage")?)
        .with_attribute(Nonce::new("a nonce of one's own")?)
        .with_attribute(MessageIntegrity::new(key));
    let signed = encode(&signed.build())?;
    let requests = [bind, allocate, signed];
    let mut forger = Forger::new(host)?;
    let sender = thread::spawn(move || {
        forger.flood(FLOOD, RATE, |number, payload| {
            payload.extend(&requests[number as usize % requests.len()]);
            payload[8..12].copy_from_slice(&number.to_be_bytes());
            (anybody(number), at)
        })
    });
    match sender.join() {
        Ok(refused) => Ok(refused),
        Err(_) => bail!("the flood panicked"),
    }
}

/// Credentials as the control plane would hand them out, good for so many seconds from now.
fn named(id: &str, lasting: i64) -> Result<Credentials> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    Ok(Secret::new(SECRET).credentials(now.saturating_add_signed(lasting), id))
}

fn key(name: &str, realm: &str, password: &str) -> Result<HMACKey> {
    Ok(HMACKey::new_long_term(
        name,
        realm,
        password,
        Algorithm::from(AlgorithmId::MD5),
    )?)
}

fn encode(message: &StunMessage) -> Result<Vec<u8>> {
    let mut bytes = vec![0; 1024];
    let length = MessageEncoder::default().encode(&mut bytes, message)?;
    bytes.truncate(length);
    Ok(bytes)
}

fn code(answer: StunMessage) -> Result<u16> {
    let error = answer.get::<ErrorCode>().context("it was granted")?;
    Ok(error.as_error_code()?.error_code().error_code())
}

/// A TURN client that asks one thing after the other.
struct Asker {
    socket: UdpSocket,
    challenge: Option<(String, String)>,
}

impl Asker {
    fn new(host: &Host, at: SocketAddrV4) -> Result<Self> {
        let socket = host.inside(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect(at)?;
            Ok(socket)
        })?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        Ok(Self {
            socket,
            challenge: None,
        })
    }

    /// Asks until there is an answer, signed where there is something to sign.
    fn ask(
        &mut self,
        method: MessageMethod,
        attributes: &[StunAttribute],
        login: Option<&Credentials>,
    ) -> Result<StunMessage> {
        let mut message = StunMessageBuilder::new(method, MessageClass::Request);
        for attribute in attributes {
            message = message.with_attribute(attribute.clone());
        }
        if let (Some(Credentials { username, password }), Some((realm, nonce))) = (login, &self.challenge) {
            message = message
                .with_attribute(UserName::new(username)?)
                .with_attribute(Realm::new(realm)?)
                .with_attribute(Nonce::new(nonce)?)
                .with_attribute(MessageIntegrity::new(key(username, realm, password)?));
        }
        let request = encode(&message.build())?;
        let mut buffer = [0; 1024];
        for _ in 0..10 {
            self.socket.send(&request)?;
            let Ok(length) = self.socket.recv(&mut buffer) else {
                continue;
            };
            return Ok(MessageDecoder::default().decode(&buffer[..length])?.0);
        }
        bail!("no answer")
    }

    fn try_to_allocate(&mut self, login: &Credentials) -> Result<StunMessage> {
        let transport = [RequestedTrasport::default().into()];
        let challenge = self.ask(methods::ALLOCATE, &transport, None)?;
        let realm = challenge.get::<Realm>().context("no realm")?.as_realm()?;
        let nonce = challenge.get::<Nonce>().context("no nonce")?.as_nonce()?;
        self.challenge = Some((realm.as_str().to_owned(), nonce.as_str().to_owned()));
        self.ask(methods::ALLOCATE, &transport, Some(login))
    }

    fn allocate(&mut self, login: &Credentials) -> Result<SocketAddr> {
        let answer = self.try_to_allocate(login)?;
        let relayed = answer.get::<XorRelayedAddress>();
        let relayed = relayed.with_context(|| format!("not allocated: {answer:?}"))?;
        Ok(*relayed.as_xor_relayed_address()?.socket_address())
    }
}
