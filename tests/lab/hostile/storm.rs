//! Announces from a changed program, which has no cap on what it sends: the receivers' own holds.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::{Engine, Server, Ticker, echo, felt, scenario, transfer};

use super::liar::Liar;
use super::options;

/// How long it shouts, and how many times a second at most.
const STORM: Duration = Duration::from_secs(6);
const RATE: f64 = 100_000.0;
/// What has to come back of a game meanwhile; the machine is shared by the storm, its sender and the players.
const DELIVERED: f64 = 0.8;
/// Announces of one member that get through, a second and at once.
const PER_SECOND: f64 = 100.0;
const AT_ONCE: f64 = 200.0;
const EAR: u16 = 6112;

#[test]
fn a_changed_member_that_shouts_is_not_heard_beyond_its_share() -> Result<()> {
    scenario("changed member shouts", |lab| {
        let server = Server::start(&lab.host()?)?;
        let victim = Engine::start(&lab.host()?, options(&server.url()))?;
        let friend = Engine::start(&lab.host()?, options(&server.url()))?;
        let created = victim.cli(&["create", "Friday night"])?;
        let invite = created["invite"].as_str().context("no invite")?;
        friend.cli(&["join", invite])?;
        victim.wait_all_up(1, felt::CONNECT)?;
        let mallory = lab.host()?;
        let mut liar = Liar::join(&mallory, invite)?;
        let ear = victim
            .host()
            .inside(|| Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, EAR))?))?;
        ear.set_nonblocking(true)?;

        let address = victim.address()?;
        let ticker = Ticker::start(friend.host(), echo(victim.host(), address)?)?;
        let (mut sent, mut heard, mut buffer) = (0u32, 0u32, [0; 64]);
        let (began, file) = (Instant::now(), 5_000_000);
        let took = std::thread::scope(|scope| -> Result<Duration> {
            let file = scope.spawn(|| transfer(friend.host(), (victim.host(), address), file, || Ok(())));
            while began.elapsed() < STORM {
                let due = (began.elapsed().as_secs_f64() * RATE) as u32;
                let until = due.min(sent + 200);
                for number in sent..until {
                    liar.say(&announce(number))?;
                }
                sent = sent.max(until);
                liar.live(Duration::from_millis(1))?;
                while ear.recv_from(&mut buffer).is_ok() {
                    heard += 1;
                }
            }
            file.join()
                .map_err(|_| anyhow::anyhow!("the transfer panicked"))?
        })?;
        let seconds = began.elapsed().as_secs_f64();
        let silence = ticker.longest_silence(began);
        let (ticks, answered) = ticker.finish();
        let share = answered as f64 / ticks as f64;
        println!(
            "{:.0} announces a second, {heard} of {sent} heard; {answered} of {ticks} ticks came back ({:.1} %), longest \
             silence {:.0} ms, 5 MB in {:.2} s",
            f64::from(sent) / seconds,
            share * 100.0,
            silence.as_secs_f64() * 1000.0,
            took.as_secs_f64()
        );
        ensure!(heard > 0, "nothing of it is heard");
        ensure!(
            f64::from(heard) <= AT_ONCE + PER_SECOND * (seconds + 1.0),
            "{heard} of them got through"
        );
        ensure!(share >= DELIVERED, "{answered} of {ticks} ticks came back");
        victim.wait_all_up(2, felt::CONNECT)?;
        Ok(())
    })
}

/// A broadcast from the changed member's own lease, with another identification and content each time.
fn announce(number: u32) -> Vec<u8> {
    const LENGTH: u8 = 20 + 8 + 4;
    let [_, _, high, low] = number.to_be_bytes();
    let mut packet = vec![0x45, 0, 0, LENGTH, high, low, 0, 0, 64, 17, 0, 0];
    packet.extend([10, 66, 0, 3]);
    packet.extend(Ipv4Addr::BROADCAST.octets());
    let sum: u32 = packet
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    packet[10..12].copy_from_slice(&(!folded).to_be_bytes()[2..]);
    packet.extend(4000u16.to_be_bytes());
    packet.extend(EAR.to_be_bytes());
    // Without a checksum, as IPv4 allows.
    packet.extend([0, 12, 0, 0]);
    packet.extend(number.to_be_bytes());
    packet
}
