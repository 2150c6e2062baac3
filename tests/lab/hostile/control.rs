//! A neighbour besieges the place where a party meets: the founder's engine, then a server.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lanrage_platform::rights::raise_open_files;
use lanrage_tests::lab::{Control, Host, Party, eventually, felt, scenario};
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

use super::{Random, memory_of};

/// How long anything here may take to answer or to hang up.
const PATIENCE: Duration = Duration::from_secs(20);
/// Further addresses of the neighbour.
const ALIASES: u8 = 12;
/// What an engine's client begins with.
const UPGRADE: &str = "GET /v1/party HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[test]
fn a_besieged_founder_still_lets_friends_in() -> Result<()> {
    scenario("besieged founder", |lab| besiege(lab, Control::Local))
}

#[test]
fn a_besieged_server_still_lets_friends_in() -> Result<()> {
    scenario("besieged server", |lab| besiege(lab, Control::Server))
}

fn besiege(lab: &lanrage_tests::lab::Lab, control: Control) -> Result<()> {
    raise_open_files();
    let mut party = Party::gather(lab, 3, control)?;
    party.create()?;
    party.join(1)?;
    for engine in &party.engines[..2] {
        engine.wait_all_up(1, felt::CONNECT)?;
    }
    let neighbour = lab.host()?;
    for alias in 1..=ALIASES {
        let address = format!("192.168.77.{}/24", 200 + alias);
        neighbour.output("ip", &["address", "add", &address, "dev", "eth0"])?;
    }
    let (target, id) = match &party.server {
        Some(server) => (server.address(), server.id()),
        None => {
            let founder = party.founder()?;
            let address = IpAddr::V4(founder.host().address());
            (SocketAddr::new(address, founder.port()), founder.id())
        }
    };
    let id = id.context("nobody is besieged")?;
    let (files, memory) = (open_files(id)?, memory_of(id)?);

    nonsense_is_cut(&neighbour, target)?;
    let started = Instant::now();
    let slow = slow_clients(&neighbour, target)?;
    let crowd = crowd(&neighbour, target)?;
    let (besieged_files, besieged_memory) = (open_files(id)?, memory_of(id)?);
    party.join(2)?;
    party.wait_all_up(felt::CONNECT)?;
    party.ping_all_pairs()?;
    for mut stream in slow {
        hangs_up(&mut stream)?;
    }
    println!(
        "slow clients were cut after {:.1} s at most",
        started.elapsed().as_secs_f64()
    );
    drop(crowd);
    eventually("connections are gone", felt::LOST, || {
        let now = open_files(id)?;
        Ok(if now <= files + 6 {
            Ok(())
        } else {
            Err(format!("{now} files open, {files} before"))
        })
    })?;
    let after = memory_of(id)?;
    println!(
        "memory {memory} MiB before, {besieged_memory} MiB besieged, {after} MiB after; {files} files before, \
         {besieged_files} besieged"
    );
    ensure!(
        besieged_memory <= memory + 60,
        "{memory} MiB became {besieged_memory} MiB"
    );
    for index in 0..3 {
        party.engine_mut(index)?.unharmed()?;
    }
    if let Some(server) = &mut party.server {
        server.unharmed()?;
    }
    party.ping_all_pairs()
}

/// Everything that is no conversation of ours is answered or cut at once, and nobody is harmed.
fn nonsense_is_cut(neighbour: &Host, target: SocketAddr) -> Result<()> {
    neighbour.inside(|| {
        let mut random = Random::new(7);
        for _ in 0..300 {
            let mut stream = connect(target)?;
            // It may hang up before all is said.
            let _ = stream.write_all(&random.bytes(4000));
        }
        let origin = format!("{UPGRADE}Origin: https://evil.example\r\n\r\n");
        let elsewhere = format!("{UPGRADE}\r\n").replace("/v1/party", "/v1/party?x=1/../../etc/passwd");
        let long = format!("{UPGRADE}X-Long: {}\r\n\r\n", "x".repeat(200_000));
        for (request, statuses) in [
            (origin.as_str(), &["403"][..]),
            (elsewhere.as_str(), &["404", "101"]),
            (long.as_str(), &["4", ""]),
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", &["4", ""]),
            (
                "POST /v1/party HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n",
                &["4", ""],
            ),
            ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\r\n\r\n", &["4", ""]),
        ] {
            let mut stream = connect(target)?;
            let _ = stream.write_all(request.as_bytes());
            let mut answer = [0; 12];
            let length = stream.read(&mut answer).unwrap_or(0);
            let status = String::from_utf8_lossy(&answer[..length]).replace("HTTP/1.1 ", "");
            ensure!(
                statuses.iter().any(|expected| status.starts_with(expected)),
                "{:.60?} was answered by {status:?}",
                request
            );
        }
        for (what, bytes) in [
            (
                "a length of 2⁶³ − 1",
                [&[0x81, 0xFF, 0x7F][..], &[0xFF; 7], &[0; 4]].concat(),
            ),
            ("a frame without its mask", b"\x81\x05hello".to_vec()),
            ("reserved bits", vec![0xF1, 0x80, 0, 0, 0, 0]),
            ("an unknown kind", vec![0x83, 0x80, 0, 0, 0, 0]),
            ("a long ping", [&[0x89, 0xFE, 0x10, 0][..], &[0; 4100]].concat()),
            ("an endless message", {
                let part = [&[0x01, 0xFE, 0x40, 0, 0, 0, 0, 0][..], &[b'x'; 0x4000]].concat();
                let more = [&[0x00][..], &part[1..]].concat();
                [&part[..], &more, &more, &more, &more].concat()
            }),
        ] {
            let mut socket = upgrade(target)?;
            let stream = socket.get_mut();
            let _ = stream.write_all(&bytes);
            hangs_up(stream).context(what)?;
        }
        for message in [
            Message::text("hello"),
            Message::text("[".repeat(60_000)),
            Message::text("{\"id\":1,\"type\":\"discover\"}"),
            Message::text("{\"id\":-1}"),
            Message::binary(vec![0; 60_000]),
            Message::text("x".repeat(65_537)),
        ] {
            let mut socket = upgrade(target)?;
            let _ = socket.send(message.clone());
            let started = Instant::now();
            // A fault first, perhaps; then the end.
            while socket.read().is_ok() {
                ensure!(started.elapsed() < PATIENCE, "{message:.40?} is put up with");
            }
        }
        // A flood of small things costs time, no more.
        let mut socket = upgrade(target)?;
        for _ in 0..5_000 {
            if socket.send(Message::Ping(vec![7; 100].into())).is_err() {
                break;
            }
        }
        Ok(())
    })
}

/// Clients that send their request a byte at a time, or nothing at all.
fn slow_clients(neighbour: &Host, target: SocketAddr) -> Result<Vec<TcpStream>> {
    let mut streams: Vec<TcpStream> = neighbour.inside(|| {
        let mut streams = (0..20).map(|_| connect(target)).collect::<Result<Vec<_>>>()?;
        // These shook hands, and then say nothing.
        for _ in 0..5 {
            streams.push(upgrade(target)?.get_ref().try_clone()?);
        }
        Ok(streams)
    })?;
    let mut dripping = streams
        .iter()
        .take(10)
        .map(TcpStream::try_clone)
        .collect::<Result<Vec<_>, _>>()?;
    // Ends with the request, or with the connections.
    thread::spawn(move || {
        for byte in UPGRADE.bytes() {
            for stream in &mut dripping {
                let _ = stream.write_all(&[byte]);
            }
            thread::sleep(Duration::from_millis(200));
        }
    });
    streams.rotate_left(10);
    Ok(streams)
}

/// A thousand connections, from one address and then from many.
fn crowd(neighbour: &Host, target: SocketAddr) -> Result<Vec<TcpStream>> {
    neighbour.inside(|| {
        let mut crowd = Vec::new();
        for number in 0..1000_u32 {
            let alias = Ipv4Addr::new(192, 168, 77, 200 + (number % u32::from(ALIASES)) as u8 + 1);
            let from = if number < 200 { neighbour.address() } else { alias };
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
            socket.bind(&SocketAddr::from((from, 0)).into())?;
            socket.connect_timeout(&target.into(), PATIENCE)?;
            crowd.push(socket.into());
        }
        Ok(crowd)
    })
}

fn connect(target: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&target, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn upgrade(target: SocketAddr) -> Result<WebSocket<TcpStream>> {
    let (socket, _) = tungstenite::client(format!("ws://{target}/v1/party"), connect(target)?)?;
    Ok(socket)
}

/// Waits for the other side to end the connection.
fn hangs_up(stream: &mut TcpStream) -> Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => bail!("it goes on listening"),
            // Reset.
            Err(_) => return Ok(()),
        }
    }
}

fn open_files(id: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{id}/fd"))?.count())
}
