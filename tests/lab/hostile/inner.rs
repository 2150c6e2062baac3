//! Packets inside the tunnel that lie, from a changed program at the other end and from this one's own computer.
//! The receiver forwards packets, as any computer with containers does.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::{Control, Engine, Host, Party, Server, eventually, felt, ping, scenario};

use super::liar::Liar;
use super::options;

const VICTIM: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 1);
const LIAR: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 2);
/// Where everybody listens.
const EAR: u16 = 6112;

#[test]
fn a_changed_member_reaches_nothing_but_the_one_it_may() -> Result<()> {
    scenario("changed member", |lab| {
        let server = Server::start(&lab.host()?)?;
        let mut victim = Engine::start(&lab.host()?, options(&server.url()))?;
        let (mallory, home) = (lab.host()?, lab.host()?);
        forward(victim.host(), &mallory, &home)?;
        let created = victim.cli(&["create", "Friday night"])?;
        let mut liar = Liar::join(&mallory, created["invite"].as_str().context("no invite")?)?;
        let ears = [ear(victim.host())?, ear(&home)?];

        let lies = lies(home.address());
        for (number, (_, packet)) in lies.iter().enumerate() {
            liar.say(&numbered(packet, u8::try_from(number)?))?;
            liar.live(Duration::from_millis(2))?;
        }
        // Last the truth, which shows that everything before it was looked at.
        liar.say(&numbered(&udp(LIAR, VICTIM), 255))?;
        let mut heard: [BTreeSet<u8>; 2] = Default::default();
        eventually("the honest packet arrives", felt::TOLD, || {
            liar.live(Duration::from_millis(10))?;
            for (heard, ear) in heard.iter_mut().zip(&ears) {
                heard.extend(drain(ear)?);
            }
            Ok(if heard[0].contains(&255) {
                Ok(())
            } else {
                Err("nothing".to_owned())
            })
        })?;
        liar.live(Duration::from_millis(200))?;
        heard[1].extend(drain(&ears[1])?);
        let names = |heard: &BTreeSet<u8>| -> Vec<&str> {
            let known = |number: &u8| lies.get(usize::from(*number)).map_or("the truth", |lie| lie.0);
            heard.iter().map(known).collect()
        };
        ensure!(
            heard[0].len() == 1 && heard[1].is_empty(),
            "heard by the victim: {:?}; by its home: {:?}",
            names(&heard[0]),
            names(&heard[1])
        );

        let told = [
            ("wrong_source", 4),
            ("wrong_destination", 5),
            ("options", 2),
            ("malformed", 5),
            ("not_ipv4", 1),
            ("fragment", 1),
            ("dropped", u64::try_from(lies.len())?),
        ];
        all_counted(&victim, &told)?;
        victim.cli(&["leave"])?;
        super::nothing_left(&mut victim)
    })
}

#[test]
fn a_program_of_ones_own_can_not_make_the_engine_lie() -> Result<()> {
    scenario("lying program", |lab| {
        let mut party = Party::start(lab, 2, Control::Local)?;
        let home = lab.host()?;
        let (victim, member) = (party.founder()?.host(), party.engine(1)?);
        forward(victim, member.host(), &home)?;
        let ears = [ear(victim)?, ear(&home)?];
        let raw = member.host().inside(|| {
            let raw = socket2::Socket::new(
                socket2::Domain::IPV4,
                socket2::Type::RAW,
                Some(socket2::Protocol::from(255)),
            )?;
            raw.bind_device(Some(member.adapter().as_bytes()))?;
            raw.set_broadcast(true)?;
            Ok(raw)
        })?;
        // The kernel writes lengths itself.
        let lies = lies(home.address());
        for (name, packet) in lies.iter().filter(|(name, _)| !name.contains("length")) {
            let destination: [u8; 4] = packet[16..20].try_into()?;
            let to = SocketAddrV4::new(destination.into(), 0);
            // The kernel itself refuses some; what it lets through is the engine's to refuse.
            if let Err(error) = raw.send_to(&numbered(packet, 0), &to.into()) {
                println!("{name}: {error}");
            }
        }
        let told = [
            ("wrong_source", 3),
            ("wrong_destination", 3),
            ("options", 2),
            ("malformed", 3),
            ("no_peer", 1),
            ("fragment", 1),
        ];
        all_counted(member, &told)?;
        for ear in &ears {
            let heard = drain(ear)?;
            ensure!(heard.is_empty(), "heard {heard:?}");
        }
        // Honest fragments pass: games send datagrams longer than the tunnel's packets.
        let big = member.host().output(
            "ping",
            &["-n", "-c", "3", "-i", "0.2", "-W", "2", "-s", "9000", "10.66.0.1"],
        )?;
        ensure!(big.contains(" 0% packet loss"), "{big}");
        ping(member.host(), VICTIM.into(), 3)?;
        party.engine_mut(0)?.unharmed()?;
        party.engine_mut(1)?.unharmed()
    })
}

/// Makes `router` forward packets, source routes included, and shows that it does: a datagram from `neighbour` by
/// way of it arrives at `home`.
fn forward(router: &Host, neighbour: &Host, home: &Host) -> Result<()> {
    let script = "echo 1 > /proc/sys/net/ipv4/ip_forward; \
                  for f in /proc/sys/net/ipv4/conf/*/accept_source_route; do echo 1 > $f; done; \
                  for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done";
    for host in [router, home] {
        host.output("sh", &["-c", script])?;
    }
    let (to, via) = (home.address().to_string(), router.address().to_string());
    neighbour.output("ip", &["route", "add", &to, "via", &via])?;
    let ear = ear(home)?;
    let voice = neighbour.inside(|| Ok(UdpSocket::bind("0.0.0.0:0")?))?;
    let heard = eventually("the router forwards", felt::TOLD, || {
        voice.send_to(&MARK, (home.address(), EAR))?;
        Ok(if drain(&ear)?.is_empty() {
            Err("nothing arrives".to_owned())
        } else {
            Ok(())
        })
    });
    neighbour.output("ip", &["route", "del", &to, "via", &via])?;
    heard.map(drop)
}

/// What all packets here carry; a number follows.
const MARK: [u8; 8] = *b"LIAR?!\0\0";

fn ear(host: &Host) -> Result<UdpSocket> {
    let ear = host.inside(|| Ok(UdpSocket::bind(("0.0.0.0", EAR))?))?;
    ear.set_nonblocking(true)?;
    Ok(ear)
}

/// The numbers of all packets that arrived.
fn drain(ear: &UdpSocket) -> Result<Vec<u8>> {
    let (mut buffer, mut numbers) = ([0; 2048], Vec::new());
    while let Ok((length, _)) = ear.recv_from(&mut buffer) {
        if buffer[..length].starts_with(&MARK[..6]) {
            numbers.push(buffer[6]);
        }
    }
    Ok(numbers)
}

/// Waits until the engine's log tells of at least so many dropped packets for each reason; `dropped` is all together.
fn all_counted(engine: &Engine, expected: &[(&str, u64)]) -> Result<()> {
    eventually("drops are counted", felt::TOLD, || {
        let log = engine.log();
        let line = log.lines().rev().find(|line| line.contains("packets: sent"));
        let words: Vec<&str> = line.unwrap_or_default().split([' ', ',', ':']).collect();
        let counted = |reason: &str| {
            let place = words.iter().position(|word| *word == reason)?;
            words.get(place + 1)?.parse().ok()
        };
        let missing = expected
            .iter()
            .find(|(reason, least)| counted(reason).unwrap_or(0) < *least);
        Ok(match missing {
            None => {
                println!("{}", line.unwrap_or_default());
                Ok(())
            }
            Some((reason, least)) => Err(format!("{least} for {reason}, but {line:?}")),
        })
    })
    .map(drop)
}

/// A UDP datagram to everybody's ear, with [`MARK`] in it.
fn udp(from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 60, 0, 1, 0, 0, 64, 17, 0, 0];
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(4000u16.to_be_bytes());
    packet.extend(EAR.to_be_bytes());
    packet.extend([0, 40, 0, 0]);
    packet.extend(MARK);
    packet.resize(60, 0);
    packet
}

/// The packet with its number and a checksum that the kernel believes.
fn numbered(packet: &[u8], number: u8) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let header = usize::from(packet[0] & 15) * 4;
    if let Some(place) = packet.get_mut(header + 8 + 6) {
        *place = number;
    }
    if packet[0] >> 4 == 4 && header >= 20 && header <= packet.len() {
        packet[10..12].fill(0);
        let sum: u32 = packet[..header]
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
            .sum();
        let folded = (sum & 0xFFFF) + (sum >> 16);
        let folded = (folded & 0xFFFF) + (folded >> 16);
        packet[10..12].copy_from_slice(&(!folded).to_be_bytes()[2..]);
    }
    packet
}

/// Packets to the victim that nobody honest sends, each with its name.
fn lies(home: Ipv4Addr) -> Vec<(&'static str, Vec<u8>)> {
    let edit = |at: usize, bytes: &[u8]| {
        let mut packet = udp(LIAR, VICTIM);
        packet[at..at + bytes.len()].copy_from_slice(bytes);
        packet
    };
    // Source routes (RFC 791 §3.1) to the home network: loose and strict. The pointer stands at the first address.
    let routed = |kind: u8| {
        let mut packet = edit(0, &[0x47, 0, 0, 68]);
        packet.splice(20..20, [[kind, 7, 4].as_slice(), &home.octets(), &[1]].concat());
        packet
    };
    let mut ipv6 = edit(0, &[0x60, 0, 0, 0, 0, 20, 17, 64]);
    ipv6[8..10].copy_from_slice(&[0xFE, 0x80]);
    vec![
        (
            "another member's address",
            udp(Ipv4Addr::new(10, 66, 0, 3), VICTIM),
        ),
        ("the victim's own address", udp(VICTIM, VICTIM)),
        ("an address of its home", udp(home, VICTIM)),
        ("loopback as the source", udp(Ipv4Addr::LOCALHOST, VICTIM)),
        ("to its home", udp(LIAR, home)),
        ("to its other address", udp(LIAR, Ipv4Addr::new(192, 168, 77, 2))),
        ("to its loopback", udp(LIAR, Ipv4Addr::LOCALHOST)),
        ("to its whole home", udp(LIAR, Ipv4Addr::new(192, 168, 77, 255))),
        ("to another member", udp(LIAR, Ipv4Addr::new(10, 66, 0, 3))),
        ("by a loose source route", routed(131)),
        ("by a strict source route", routed(137)),
        ("no time to live", edit(8, &[0])),
        ("no length", edit(2, &[0, 0])),
        ("a length below the header's", edit(2, &[0, 19])),
        ("a header of 16 bytes", edit(0, &[0x44])),
        ("a fragment past the longest packet", edit(6, &[0x1F, 0xFF])),
        ("a fragment over the first one's ports", edit(6, &[0, 1])),
        ("a fragment at no multiple of 8", edit(2, &[0, 59, 0, 1, 0x20, 0])),
        ("a fragment of an announce", {
            let mut packet = udp(LIAR, Ipv4Addr::new(10, 66, 255, 255));
            packet[6] = 0x20;
            packet
        }),
        ("IPv6", ipv6),
    ]
}
