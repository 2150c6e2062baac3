//! A neighbour on the network sends a million datagrams of garbage to a member's port.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lanrage_tests::lab::{Control, Flow, Host, Party, felt, scenario};

use super::{Random, memory};

const MILLION: u32 = 1_000_000;
/// So many at once before the sender looks at the clock.
const BATCH: u32 = 50;
/// Datagrams a second: more than games send, fewer than two busy cores can carry.
const RATE: u32 = 60_000;

#[test]
fn a_million_datagrams_of_garbage_disturb_no_game() -> Result<()> {
    scenario("garbage by UDP", |lab| {
        let mut party = Party::start(lab, 2, Control::Local)?;
        let neighbour = lab.host()?;
        let (victim, member) = (party.founder()?, party.engine(1)?);
        let before = memory(victim)?;
        let flow = Flow::start(member.host(), victim.address()?)?;
        let targets = [
            SocketAddr::new(IpAddr::V4(victim.host().address()), victim.port()),
            SocketAddr::new(IpAddr::V6(victim.host().address_v6()), victim.port()),
        ];
        let done = AtomicBool::new(false);
        let mut looks = 0;
        let started = Instant::now();
        thread::scope(|scope| {
            let flood = scope.spawn(|| {
                let flooded = flood(&neighbour, &targets);
                done.store(true, Ordering::Relaxed);
                flooded
            });
            while !done.load(Ordering::Relaxed) {
                for engine in [victim, member] {
                    let status = engine.status()?;
                    // Just after a change of paths there is no ping to show.
                    let up = |state: &str| matches!(state, "connected" | "degraded");
                    let all_up = status.members()?.iter().all(|row| up(&row.state));
                    ensure!(all_up, "after {:.1?}: {}", started.elapsed(), status.summary());
                }
                looks += 1;
                thread::sleep(Duration::from_millis(100));
            }
            match flood.join() {
                Ok(flooded) => flooded,
                Err(_) => bail!("the flood panicked"),
            }
        })?;
        let took = started.elapsed().as_secs_f64();
        let (lost, sent) = flow.finish()?;
        let after = memory(victim)?;
        println!(
            "a million datagrams in {took:.1} s: {lost} of {sent} pings lost, {looks} looks, memory {before} MiB \
             before and {after} MiB after"
        );
        let log = victim.log();
        let counted = log.lines().rev().find(|line| line.contains("packets: sent"));
        println!("{}", counted.context("nothing was counted")?);
        ensure!(lost * 50 <= sent, "{lost} of {sent} pings were lost");
        ensure!(after <= before + 20, "{before} MiB became {after} MiB");
        party.wait_all_up(felt::CONNECT)?;
        party.ping_all_pairs()?;
        party.engine_mut(0)?.unharmed()?;
        party.engine_mut(1)?.unharmed()
    })
}

#[test]
fn garbage_on_multicast_dns_hides_no_party() -> Result<()> {
    scenario("garbage by multicast DNS", |lab| {
        let mut party = Party::gather(lab, 2, Control::Local)?;
        party.create()?;
        let neighbour = lab.host()?;
        neighbour.inside(|| {
            let socket = UdpSocket::bind("0.0.0.0:5353")?;
            let mut random = Random::new(5353);
            let targets: [SocketAddr; 3] = [
                "224.0.0.251:5353".parse()?,
                SocketAddr::new(IpAddr::V4(party.founder()?.host().address()), 5353),
                SocketAddr::new(IpAddr::V4(party.engine(1)?.host().address()), 5353),
            ];
            for number in 0..20_000 {
                let packet = dns(&mut random);
                // A full queue loses some.
                let _ = socket.send_to(&packet, targets[number % 3]);
                if number % 100 == 0 {
                    thread::sleep(Duration::from_millis(2));
                }
            }
            Ok(())
        })?;
        // The ID alone: the party has to be found on the network.
        party.join(1)?;
        party.wait_all_up(felt::CONNECT)?;
        party.engine_mut(0)?.unharmed()?;
        party.engine_mut(1)?.unharmed()
    })
}

/// Something like a DNS message (RFC 1035 §4): counts that lie, names that point at themselves, records cut off.
fn dns(random: &mut Random) -> Vec<u8> {
    let mut packet = random.bytes(200);
    packet.splice(0..0, [0; 12]);
    packet[2] = [0x00, 0x84][random.below(2) as usize];
    for count in [5, 7, 9, 11] {
        packet[count] = random.below(4) as u8;
    }
    let service = b"\x08_lanrage\x04_tcp\x05local\0\0\x0c\0\x01";
    match random.below(4) {
        0 => {
            packet.splice(12..12, service.iter().copied());
        }
        // A name that points at itself, and one at what comes after it.
        1 => {
            packet.splice(12..12, [0xC0, 12, 0, 12, 0, 1, 0xC0, 40]);
        }
        2 => {
            packet.splice(12..12, [63; 70]);
        }
        _ => {}
    }
    packet
}

/// Sends the million from many ports, the same each time.
fn flood(neighbour: &Host, targets: &[SocketAddr; 2]) -> Result<()> {
    neighbour.inside(|| {
        let mut random = Random::new(2026);
        let v4: Vec<_> = (0..40)
            .map(|_| UdpSocket::bind("0.0.0.0:0"))
            .collect::<Result<_, _>>()?;
        let v6: Vec<_> = (0..10)
            .map(|_| UdpSocket::bind("[::]:0"))
            .collect::<Result<_, _>>()?;
        let mut buffer = [0; 1500];
        let started = Instant::now();
        let mut refused = 0;
        for number in 0..MILLION {
            let datagram = garbage(&mut random, &mut buffer);
            let choice = random.below(50) as usize;
            let sent = match v4.get(choice) {
                Some(socket) => socket.send_to(datagram, targets[0]),
                None => v6[choice - v4.len()].send_to(datagram, targets[1]),
            };
            refused += u32::from(sent.is_err());
            if number % BATCH == 0 {
                let due = started + Duration::from_secs(1) * number / RATE;
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        }
        println!("{refused} datagrams did not leave");
        ensure!(refused < MILLION / 10, "{refused} datagrams did not leave");
        Ok(())
    })
}

/// Garbage in all the forms that an engine tells apart, whole and cut off.
fn garbage<'a>(random: &mut Random, buffer: &'a mut [u8; 1500]) -> &'a [u8] {
    let length = match random.below(4) {
        0 => random.below(40),
        1 => 1 + random.below(1500),
        _ => 20 + random.below(300),
    };
    // Each datagram is new at its start and in its places that matter; the rest need not be.
    random.fill(&mut buffer[..64]);
    let length = match random.below(12) {
        // WireGuard: initiation, response, cookie, data; each of the right length, then of any.
        0 => start(buffer, 1, 148),
        1 => start(buffer, 2, 92),
        2 => start(buffer, 3, 64),
        3 => start(buffer, 4, 32 + length),
        4 => start(buffer, 1 + (length % 4) as u8, length),
        // Data for tunnels that exist.
        5 => {
            let tunnel = random.below(4) as u8;
            buffer[5] = tunnel;
            buffer[6..8].fill(0);
            start(buffer, 4, 32 + length)
        }
        // STUN with a length that is right, and one that is not.
        6 | 7 => {
            let claimed = (length as u16).wrapping_sub(20 + u16::from(buffer[40] & 1));
            buffer[0] &= 0x3F;
            buffer[2..4].copy_from_slice(&claimed.to_be_bytes());
            buffer[4..8].copy_from_slice(&[0x21, 0x12, 0xA4, 0x42]);
            length
        }
        // TURN's channel data.
        8 => {
            buffer[0] = 0x40 | buffer[0] & 0x0F;
            length
        }
        _ => length,
    };
    &buffer[..(length as usize).min(1472)]
}

fn start(buffer: &mut [u8], kind: u8, length: u64) -> u64 {
    buffer[..4].copy_from_slice(&[kind, 0, 0, 0]);
    length
}
