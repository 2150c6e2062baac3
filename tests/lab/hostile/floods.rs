//! What somebody on the way can do with what he sees: replay it, and send handshakes and probes in many names.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lanrage_tests::lab::{Control, Engine, Host, Party, Ticker, echo, eventually, felt, scenario};
use socket2::{Domain, Protocol, Socket, Type};

use super::forge::{Forger, anybody};
use super::{Random, memory};

/// ETH_P_ALL (linux/if_ether.h), in network order: every frame.
const EVERY_FRAME: i32 = 0x0300;

/// How WireGuard's handshakes begin.
const INITIATION: &[u8] = &[1, 0, 0, 0];

/// Datagrams and how many a second.
const FLOOD: u32 = 400_000;
const RATE: u32 = 30_000;

/// What is kept of each kind.
const OVERHEARD: usize = 200;

/// What has to come back meanwhile. The machine is shared by the flood, its sender and the players.
const DELIVERED: f64 = 0.8;

/// What may be left of it, MiB; the smallest thing kept for each datagram would be more.
const LEFT: u64 = 15;

#[test]
fn replays_and_forged_handshakes_and_probes_from_everywhere_disturb_no_game() -> Result<()> {
    scenario("replays and forgeries", |lab| {
        let mut party = Party::gather(lab, 2, Control::Local)?;
        party.create()?;
        let neighbour = lab.host()?;
        let wires = [listen(party.founder()?.host())?, listen(party.engine(1)?.host())?];
        party.join(1)?;
        party.wait_all_up(felt::CONNECT)?;
        let engines = [party.founder()?, party.engine(1)?];
        let heard = [
            overhear(&wires[0], engines[0], engines[1])?,
            overhear(&wires[1], engines[1], engines[0])?,
        ];
        // Who is asked for a handshake has more to do when it is asked again: the one of the two, by their keys.
        let asked = usize::from(!heard[0].iter().any(|seen| seen.starts_with(INITIATION)));
        let (victim, member, seen) = (engines[asked], engines[1 - asked], &heard[asked]);
        let kinds = |kind: u8| {
            seen.iter()
                .filter(|seen| seen.starts_with(&[kind, 0, 0, 0]))
                .count()
        };
        ensure!(kinds(1) > 0, "no handshake was overheard");
        println!(
            "{} datagrams overheard: {} initiations, {} responses, {} of data, the rest probes",
            seen.len(),
            kinds(1),
            kinds(2),
            kinds(4)
        );
        let target = victim.address()?;
        let ticker = Ticker::start(member.host(), echo(victim.host(), target)?)?;
        let before = memory(victim)?;
        let began = Instant::now();
        let refused = flood(&neighbour, member.host(), victim, seen)?;
        let took = began.elapsed().as_secs_f64();
        let silence = ticker.longest_silence(began);
        let (sent, answered) = ticker.finish();
        let after = memory(victim)?;
        let share = answered as f64 / sent as f64;
        println!(
            "{FLOOD} replays and forgeries in {took:.1} s ({refused} did not leave): {answered} of {sent} ticks came \
             back ({:.1} %), longest silence {:.2} s, memory {before} MiB before and {after} MiB after",
            share * 100.0,
            silence.as_secs_f64()
        );
        let log = victim.log();
        let counted = log.lines().rev().find(|line| line.contains("packets: sent"));
        println!("{}", counted.context("nothing was counted")?);
        ensure!(refused < FLOOD / 10, "{refused} datagrams did not leave");
        ensure!(share >= DELIVERED, "{answered} of {sent} ticks came back");
        ensure!(after <= before + LEFT, "{before} MiB became {after} MiB");
        // Nobody was led astray: who was on the local network still is.
        let status = victim.status()?;
        let row = status.peer(member.address()?)?.context("the member is gone")?;
        ensure!(row.path.as_deref() == Some("lan"), "{}", status.summary());
        party.wait_all_up(felt::CONNECT)?;
        party.ping_all_pairs()?;
        party.engine_mut(0)?.unharmed()?;
        party.engine_mut(1)?.unharmed()
    })
}

/// Every frame of a host from now on.
fn listen(host: &Host) -> Result<Socket> {
    host.inside(|| {
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(EVERY_FRAME)))?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        socket.set_recv_buffer_size(4 << 20)?;
        Ok(socket)
    })
}

/// What came to the victim's port from the member since both met: probes, their handshake, data.
fn overhear(mut wire: &Socket, victim: &Engine, member: &Engine) -> Result<Vec<Vec<u8>>> {
    let ticker = Ticker::start(member.host(), echo(victim.host(), victim.address()?)?)?;
    let (mut probes, mut data) = (Vec::new(), Vec::new());
    eventually("enough is overheard", felt::LOST, || {
        for _ in 0..1000 {
            let mut frame = vec![0; 2048];
            let Ok(length) = wire.read(&mut frame) else { break };
            let Some(datagram) = datagram(&frame[..length], member.host().address(), victim.port()) else {
                continue;
            };
            // WireGuard's data by its type; the rest are probes or handshakes.
            let kind = if datagram.starts_with(&[4, 0, 0, 0]) {
                &mut data
            } else {
                &mut probes
            };
            if kind.len() < OVERHEARD {
                kind.push(datagram);
            }
        }
        Ok(if probes.len() >= 5 && data.len() >= 100 {
            Ok(())
        } else {
            Err(format!("{} probes, {} of data", probes.len(), data.len()))
        })
    })?;
    drop(ticker);
    probes.extend(data);
    Ok(probes)
}

/// The payload of a UDP datagram over IPv4 from `source` to `port`, if an Ethernet frame carries one.
fn datagram(frame: &[u8], source: Ipv4Addr, port: u16) -> Option<Vec<u8>> {
    let packet = frame.get(14..)?;
    let udp = packet.get(20..)?;
    let fits = frame[12..14] == [8, 0]
        && packet[0] == 0x45
        && packet[9] == 17
        && packet[12..16] == source.octets()
        && udp.get(2..4)? == port.to_be_bytes();
    let payload = udp.get(8..)?;
    (fits && !payload.is_empty()).then(|| payload.to_vec())
}

/// Replays in everybody's and in the member's own name, changed in one place or as they were; and handshake
/// initiations that look right.
fn flood(neighbour: &Host, member: &Host, victim: &Engine, seen: &[Vec<u8>]) -> Result<u32> {
    let to = SocketAddrV4::new(victim.host().address(), victim.port());
    let own = SocketAddrV4::new(member.address(), victim.port());
    let mut random = Random::new(77);
    let mut forger = Forger::new(neighbour)?;
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            forger.flood(FLOOD, RATE, |number, payload| {
                let from = if number % 3 == 0 { own } else { anybody(number) };
                match number % 4 {
                    // A handshake initiation with an index and keys of its own.
                    0 => {
                        payload.resize(148, 0);
                        random.fill(payload);
                        payload[..4].copy_from_slice(&[1, 0, 0, 0]);
                    }
                    step => {
                        let choice = random.below(seen.len() as u64) as usize;
                        payload.extend(&seen[choice]);
                        if step == 1 {
                            let at = random.below(payload.len() as u64) as usize;
                            payload[at] ^= 1 << random.below(8);
                        }
                    }
                }
                (from, to)
            })
        });
        match sender.join() {
            Ok(refused) => Ok(refused),
            Err(_) => bail!("the flood panicked"),
        }
    })
}
