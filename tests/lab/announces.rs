//! Announces come once, whichever way a program sends them and however its computer is plugged in; and a member that
//! shouts spoils nobody's game.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lanrage_tests::lab::{
    Control, Engine, Host, Internet, Lab, Nat, Party, PublicServer, SiteOptions, Ticker, echo, eventually,
    felt, scenario, transfer,
};

const EAR: u16 = 6112;
const GROUP_EAR: u16 = 6113;
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 66, 1, 2);
/// Of each kind.
const ANNOUNCES: u8 = 10;
/// Between two: games repeat themselves about once a second.
const PACE: Duration = Duration::from_millis(30);
/// When nothing came for so long, nothing will.
const QUIET: Duration = Duration::from_millis(500);

/// How a program announces.
struct Way {
    name: &'static str,
    from: Ipv4Addr,
    to: SocketAddrV4,
}

/// The ways of a program at `own`, whose network's broadcast address is `.255`.
fn ways(own: Ipv4Addr) -> [Way; 6] {
    let [a, b, c, _] = own.octets();
    let any = Ipv4Addr::UNSPECIFIED;
    let way = |name, from, to, port| Way {
        name,
        from,
        to: SocketAddrV4::new(to, port),
    };
    [
        way("to everybody", any, Ipv4Addr::BROADCAST, EAR),
        way(
            "to the party's network",
            any,
            Ipv4Addr::new(10, 66, 255, 255),
            EAR,
        ),
        way("to the home's network", any, Ipv4Addr::new(a, b, c, 255), EAR),
        way(
            "to everybody, from the home's address",
            own,
            Ipv4Addr::BROADCAST,
            EAR,
        ),
        way("to a group", any, GROUP, GROUP_EAR),
        way("to a group, from the home's address", own, GROUP, GROUP_EAR),
    ]
}

#[test]
fn each_announce_comes_once_to_neighbours_and_to_members_elsewhere() -> Result<()> {
    scenario("announces come once", |lab| come_once(lab, false))
}

#[test]
fn each_announce_comes_once_where_the_interfaces_are_ports_of_bridges() -> Result<()> {
    scenario("announces come once through bridges", |lab| come_once(lab, true))
}

fn come_once(lab: &Lab, bridged: bool) -> Result<()> {
    let internet = Internet::new(lab)?;
    let server = PublicServer::start(&internet, &[])?;
    let sites = internet.sites(&[
        SiteOptions {
            hosts: 2,
            subnet: 21,
            ..SiteOptions::new(Nat::PortRestrictedCone)
        },
        SiteOptions {
            subnet: 22,
            ..SiteOptions::new(Nat::PortRestrictedCone)
        },
    ])?;
    let hosts: Vec<&Host> = sites.iter().flat_map(|site| site.hosts()).collect();
    let uplink = if bridged { "br0" } else { "eth0" };
    if bridged {
        hosts.iter().try_for_each(|host| bridge(host))?;
    }
    let engines = hosts
        .iter()
        .zip(["Anna", "Tom", "Zoë"])
        .map(|(host, player)| server.engine(host, player, &[]))
        .collect::<Result<Vec<Engine>>>()?;
    let created = engines[0].cli(&["create", "Friday night"])?;
    let id = created["id"].as_str().context("no ID")?;
    for engine in &engines[1..] {
        engine.cli(&["join", id])?;
    }
    for engine in &engines {
        engine.wait_all_up(2, felt::CONNECT)?;
    }
    let neighbour = engines[1].address()?;
    engines[0].wait_until("the neighbour is reached at home", felt::CONNECT, |status| {
        Ok(status
            .peer(neighbour)?
            .is_some_and(|row| row.path.as_deref() == Some("lan")))
    })?;

    let ears = hosts.iter().map(|host| ears(host)).collect::<Result<Vec<_>>>()?;
    // Whoever joined on the adapter has joined at home as well, a moment later.
    for host in &hosts {
        eventually("the group is joined at home", felt::TOLD, || {
            let joined = host.output("ip", &["maddress", "show", "dev", uplink])?;
            Ok(if joined.contains(&GROUP.to_string()) {
                Ok(())
            } else {
                Err(joined)
            })
        })?;
    }

    let ways = ways(hosts[0].address());
    for (number, way) in ways.iter().enumerate() {
        let voice = hosts[0].inside(|| {
            let voice = UdpSocket::bind((way.from, 0))?;
            voice.set_broadcast(true)?;
            Ok(voice)
        })?;
        for count in 0..ANNOUNCES {
            let content = [b"LANrage ".as_slice(), &[u8::try_from(number)?, count]].concat();
            voice.send_to(&content, way.to).with_context(|| way.name)?;
            thread::sleep(PACE);
        }
    }
    let mut wrong = Vec::new();
    for (who, ears) in ears.iter().enumerate() {
        let heard = hear(ears)?;
        for (number, way) in ways.iter().enumerate() {
            let of = |count: u8| heard.get(&(number as u8, count)).cloned().unwrap_or_default();
            let times: Vec<usize> = (0..ANNOUNCES).map(|count| of(count).len()).collect();
            println!("member {}, {}: {times:?}, from {:?}", who + 1, way.name, of(0));
            // One's own computer may hear itself, as it does without a party, but not by way of the party.
            let fits = if who == 0 {
                times.iter().all(|times| *times <= 1)
            } else {
                times.iter().all(|times| *times == 1)
            };
            if !fits {
                wrong.push(format!("member {}, {}: {times:?}", who + 1, way.name));
            }
        }
    }
    ensure!(wrong.is_empty(), "not once: {wrong:#?}");
    Ok(())
}

/// Puts a host's cable into a bridge, which gets its address and its way out. Another port leads nowhere: its far end
/// takes nothing in, which is what the filter of the reverse path is for.
fn bridge(host: &Host) -> Result<()> {
    let script = "address=$(ip -4 -o address show dev eth0 | awk '{print $4}'); \
                  via=$(ip -4 route show default | awk '{print $3}'); \
                  ip address flush dev eth0 && ip link add br0 type bridge stp_state 0 mcast_snooping 0 && \
                  ip link set eth0 master br0 && ip link add spare0 type veth peer name spare1 && \
                  echo 1 > /proc/sys/net/ipv4/conf/spare1/rp_filter && \
                  ip link set spare0 master br0 up && ip link set spare1 up && \
                  ip address add $address dev br0 && ip link set br0 up && ip route add default via $via";
    host.output("sh", &["-c", script]).map(drop)
}

/// One for broadcasts, one for the group; bound to nothing, as games are.
fn ears(host: &Host) -> Result<[UdpSocket; 2]> {
    host.inside(|| {
        let ear = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, EAR))?;
        let group = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, GROUP_EAR))?;
        group.join_multicast_v4(&GROUP, &Ipv4Addr::UNSPECIFIED)?;
        Ok([ear, group])
    })
}

/// Who was heard with each announce, by way and count, until nothing more comes.
fn hear(ears: &[UdpSocket]) -> Result<BTreeMap<(u8, u8), Vec<Ipv4Addr>>> {
    let (mut heard, mut buffer): (BTreeMap<_, Vec<Ipv4Addr>>, _) = (BTreeMap::new(), [0; 64]);
    for ear in ears {
        ear.set_read_timeout(Some(QUIET))?;
        while let Ok((length, from)) = ear.recv_from(&mut buffer) {
            let std::net::IpAddr::V4(from) = from.ip() else {
                bail!("heard {from}");
            };
            if let [way, count] = buffer[..length].strip_prefix(b"LANrage ").unwrap_or_default() {
                heard.entry((*way, *count)).or_default().push(from);
            }
        }
    }
    Ok(heard)
}

/// From the join to seeing a lobby that was opened before.
const LATE: Duration = Duration::from_secs(2);

#[test]
fn a_late_joiner_sees_a_lobby_that_was_announced_before() -> Result<()> {
    scenario("late joiner", |lab| {
        let mut party = Party::gather(lab, 3, Control::Local)?;
        party.create()?;
        party.join(1)?;
        for member in 0..2 {
            party.engine(member)?.wait_all_up(1, felt::CONNECT)?;
        }
        // A lobby that is announced once, by a program that stays.
        let host = party.founder()?.host();
        let lobby = host.inside(|| {
            let lobby = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, EAR))?;
            lobby.set_broadcast(true)?;
            Ok(lobby)
        })?;
        let [first, _] = ears(party.engine(1)?.host())?;
        lobby.send_to(b"LANrage lobby", (Ipv4Addr::BROADCAST, EAR))?;
        first.set_read_timeout(Some(felt::TOLD))?;
        first
            .recv_from(&mut [0; 64])
            .context("who is there does not hear it")?;

        let [late, _] = ears(party.engine(2)?.host())?;
        late.set_nonblocking(true)?;
        party.join(2)?;
        let address = party.founder()?.address()?;
        let took = eventually("the lobby is seen", LATE, || {
            let mut buffer = [0; 64];
            Ok(match late.recv_from(&mut buffer) {
                Ok((length, from)) if from.ip() == address && &buffer[..length] == b"LANrage lobby" => Ok(()),
                Ok((_, from)) => Err(format!("something from {from}")),
                Err(error) => Err(error.to_string()),
            })
        })?;
        println!("seen {:.2} s after the join", took.as_secs_f64());
        Ok(())
    })
}

/// Broadcasts a second of the one who shouts.
const STORM: u32 = 100_000;
/// What has to come back of a game meanwhile; the machine is shared by the storm, its sender and the players.
const DELIVERED: f64 = 0.8;
/// The file that is sent meanwhile.
const FILE: u64 = 20_000_000;
/// Announces of one member that get through, a second and at once, and some for the pace of a busy machine.
const PER_SECOND: f64 = 100.0;
const AT_ONCE: f64 = 200.0;

#[test]
fn a_member_that_shouts_spoils_nobodys_game() -> Result<()> {
    scenario("storm", |lab| {
        let mut party = Party::start(lab, 3, Control::Local)?;
        let [one, other, shouter] = [0, 1, 2].map(|index| party.engine(index));
        let (one, other, shouter) = (one?, other?, shouter?);
        let [ear, _] = ears(one.host())?;
        play("before", one, other)?;
        let stop = AtomicBool::new(false);
        let began = Instant::now();
        let (sent, heard, took) = thread::scope(|scope| -> Result<_> {
            let storm = scope.spawn(|| shout(shouter.host(), &stop));
            let ears = scope.spawn(|| count(&ear, &stop));
            let played = play("during the storm", one, other);
            stop.store(true, Ordering::Relaxed);
            let took = began.elapsed();
            let (Ok(sent), Ok(heard)) = (storm.join(), ears.join()) else {
                bail!("the storm panicked")
            };
            played?;
            Ok((sent?, heard?, took))
        })?;
        let rate = f64::from(sent) / took.as_secs_f64();
        let seconds = took.as_secs_f64();
        println!("{rate:.0} broadcasts a second for {seconds:.1} s, of which {heard} were heard");
        ensure!(heard > 0, "nothing of it is heard");
        ensure!(
            f64::from(heard) <= AT_ONCE + PER_SECOND * (seconds + 1.0),
            "{heard} of them got through"
        );
        play("after", one, other)?;
        for index in 0..3 {
            party.engine_mut(index)?.unharmed()?;
        }
        Ok(())
    })
}

/// A game of some seconds and a file between two members; the game has to be playable and the file to arrive.
fn play(when: &str, one: &Engine, other: &Engine) -> Result<()> {
    let address = other.address()?;
    let ticker = Ticker::start(one.host(), echo(other.host(), address)?)?;
    let began = Instant::now();
    let took = transfer(one.host(), (other.host(), address), FILE, || Ok(()))?;
    while began.elapsed() < Duration::from_secs(3) {
        thread::sleep(PACE);
    }
    let silence = ticker.longest_silence(began);
    let (sent, answered) = ticker.finish();
    let share = answered as f64 / sent as f64;
    println!(
        "{when}: {answered} of {sent} ticks came back ({:.1} %), longest silence {:.0} ms, {} MB in {:.2} s",
        share * 100.0,
        silence.as_secs_f64() * 1000.0,
        FILE / 1_000_000,
        took.as_secs_f64()
    );
    ensure!(share >= DELIVERED, "{when}: {answered} of {sent} ticks came back");
    Ok(())
}

/// Sends broadcasts until told to stop; how many. Two threads share the work, as one alone is held up by its calls.
fn shout(host: &Host, stop: &AtomicBool) -> Result<u32> {
    let half = || -> Result<u32> {
        let voice = host.inside(|| {
            let voice = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            voice.set_broadcast(true)?;
            // The kernel looks the way up once, and not for each.
            voice.connect((Ipv4Addr::BROADCAST, EAR))?;
            Ok(voice)
        })?;
        let mut content = *b"LANrage ....";
        let (began, mut sent) = (Instant::now(), 0u32);
        while !stop.load(Ordering::Relaxed) {
            let due = (began.elapsed().as_secs_f64() * f64::from(STORM / 2)) as u32;
            let until = due.min(sent + 1000);
            for number in sent..until {
                content[8..].copy_from_slice(&number.to_be_bytes());
                // A full queue is the storm's own trouble.
                let _ = voice.send(&content);
            }
            sent = sent.max(until);
        }
        Ok(sent)
    };
    thread::scope(|scope| {
        let other = scope.spawn(half);
        let one = half()?;
        let other = other
            .join()
            .map_err(|_| anyhow::anyhow!("the storm panicked"))??;
        Ok(one + other)
    })
}

/// How many are heard until the end and for as long after it as any comes.
fn count(ear: &UdpSocket, stop: &AtomicBool) -> Result<u32> {
    ear.set_read_timeout(Some(QUIET))?;
    let (mut heard, mut buffer) = (0, [0; 64]);
    loop {
        match ear.recv_from(&mut buffer) {
            Ok(_) => heard += 1,
            Err(_) if stop.load(Ordering::Relaxed) => return Ok(heard),
            Err(_) => {}
        }
    }
}
