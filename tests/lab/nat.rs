//! The lab's internet, before anything is judged in it: each NAT is what it claims to be.

use std::net::{IpAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lanrage_tests::lab::{
    Behaviour, Coturn, Host, Internet, Lab, Line, Mirror, Nat, Site, SiteOptions, eventually, ping, punch,
    scenario,
};

/// A site of each kind with one host, and homes behind a carrier's cone and behind a carrier's symmetric NAT.
pub(crate) fn every_kind(internet: &Internet) -> Result<Vec<Site>> {
    let mut options: Vec<SiteOptions> = Nat::ALL.into_iter().map(SiteOptions::new).collect();
    for outer in [Nat::FullCone, Nat::SymmetricRandom] {
        let mut home = SiteOptions::new(Nat::PortRestrictedCone);
        home.carrier = Some(internet.carrier(outer, true)?);
        options.push(home);
    }
    internet.sites(&options)
}

pub(crate) fn name(site: &Site) -> String {
    let own = site.options().nat;
    match &site.options().carrier {
        Some(carrier) => format!("{own} behind {}", carrier.router().nat()),
        None => own.to_string(),
    }
}

/// Runs `work` for each site's host side by side.
fn each<T: Send>(sites: &[Site], work: impl Fn(&Host) -> Result<T> + Sync) -> Result<Vec<T>> {
    side_by_side(sites, |site| work(site.host()?).with_context(|| name(site)))
}

/// The judgement under test in this file: whether a site that claims `claim` was seen to behave so.
fn judge(claim: Behaviour, seen: Behaviour) -> Result<()> {
    ensure!(claim == seen, "claims {claim:?}, but does {seen:?}");
    Ok(())
}

#[test]
fn each_kind_of_nat_does_what_it_claims_and_a_wrong_claim_is_caught() -> Result<()> {
    scenario("kinds of NAT", |lab| {
        let internet = Internet::new(lab)?;
        let mirror = Mirror::start(&internet)?;
        let sites = every_kind(&internet)?;
        let seen = each(&sites, |host| mirror.behaviour(host))?;
        for (site, seen) in sites.iter().zip(&seen) {
            println!("{}: {seen:?}", name(site));
            judge(site.claim(), *seen).with_context(|| name(site))?;
            for wrong in Nat::ALL {
                let right = wrong.claim() == site.claim();
                ensure!(
                    judge(wrong.claim(), *seen).is_ok() == right,
                    "{} would pass as {wrong}",
                    name(site)
                );
            }
        }
        Ok(())
    })
}

#[test]
fn a_nat_whose_rules_are_broken_is_caught() -> Result<()> {
    scenario("broken NAT", |lab| {
        let internet = Internet::new(lab)?;
        let mirror = Mirror::start(&internet)?;
        for (kind, sabotage) in [
            (Nat::FullCone, "flush chain ip nat arriving"),
            (Nat::RestrictedCone, "flush chain ip nat remember"),
            (Nat::PortRestrictedCone, "flush chain ip nat leaving"),
            (
                Nat::PortRestrictedCone,
                "insert rule ip nat leaving masquerade random",
            ),
            (Nat::SymmetricRandom, "insert rule ip nat leaving masquerade"),
            (
                Nat::SymmetricSequential,
                "insert rule ip nat leaving masquerade random",
            ),
            (Nat::UdpBlocked, "flush chain ip nat passing"),
            (
                Nat::Open,
                "add table ip x; add chain ip x y { type nat hook postrouting priority srcnat; }; \
                 add rule ip x y oifname wan masquerade",
            ),
        ] {
            let site = internet.site(&SiteOptions::new(kind))?;
            site.router().host().output("nft", &[sabotage])?;
            let seen = mirror.behaviour(site.host()?)?;
            println!("{kind}, then {sabotage}: {seen:?}");
            ensure!(judge(site.claim(), seen).is_err(), "{kind} passed: {sabotage}");
        }
        Ok(())
    })
}

#[test]
fn coturn_judges_each_kind_alike() -> Result<()> {
    scenario("coturn's judgement", |lab| {
        let internet = Internet::new(lab)?;
        let coturn = Coturn::start(&internet)?;
        let sites = every_kind(&internet)?;
        let found = each(&sites, |host| coturn.discover(host))?;
        for (site, found) in sites.iter().zip(found) {
            println!("{}: {found:?}", name(site));
            let agrees = match (site.claim(), found) {
                (Behaviour::Blocked, None) => true,
                (
                    Behaviour::Passing {
                        translated,
                        mapping,
                        filtering,
                        ..
                    },
                    Some(found),
                ) => (found.translated, found.mapping, found.filtering) == (translated, mapping, filtering),
                _ => false,
            };
            ensure!(agrees, "{} is not what coturn finds: {found:?}", name(site));
        }
        Ok(())
    })
}

#[test]
fn plain_punching_connects_the_pairs_that_theory_allows() -> Result<()> {
    scenario("punching", |lab| {
        let internet = Internet::new(lab)?;
        let mirror = Mirror::start(&internet)?;
        let mut sites = every_kind(&internet)?;
        sites.extend(every_kind(&internet)?);
        sites.retain(|site| site.claim() != Behaviour::Blocked);
        let numbered: Vec<usize> = (0..sites.len()).collect();
        let failed = side_by_side(&numbered, |&index| {
            let one = &sites[index];
            for other in &sites[index + 1..] {
                let expected = one.claim().meets(other.claim());
                let met = punch(&mirror, one.host()?, other.host()?)?;
                ensure!(
                    met == expected,
                    "{} to {}: {met}, in theory {expected}",
                    name(one),
                    name(other)
                );
            }
            Ok(())
        });
        failed.map(drop)
    })
}

#[test]
fn members_behind_one_router_or_one_carrier_meet_outside_only_where_it_hairpins() -> Result<()> {
    scenario("hairpins", |lab| {
        let internet = Internet::new(lab)?;
        let mirror = Mirror::start(&internet)?;
        for kind in [Nat::FullCone, Nat::RestrictedCone, Nat::PortRestrictedCone] {
            for hairpin in [true, false] {
                let mut options = SiteOptions::new(kind);
                (options.hosts, options.hairpin) = (2, hairpin);
                let home = internet.site(&options)?;
                let met = punch(&mirror, &home.hosts()[0], &home.hosts()[1])?;
                ensure!(
                    met == hairpin,
                    "two hosts behind {kind}, hairpin {hairpin}: {met}"
                );
                judge(home.claim(), mirror.behaviour(home.host()?)?).with_context(|| name(&home))?;

                let mut options = SiteOptions::new(Nat::PortRestrictedCone);
                options.carrier = Some(internet.carrier(kind, hairpin)?);
                let homes = internet.sites(&[options.clone(), options])?;
                let met = punch(&mirror, homes[0].host()?, homes[1].host()?)?;
                ensure!(
                    met == hairpin,
                    "two homes behind {kind}, hairpin {hairpin}: {met}"
                );
            }
        }
        Ok(())
    })
}

#[test]
fn a_nat_that_forgets_while_traffic_flows_deals_another_port() -> Result<()> {
    scenario("forgetting", |lab| {
        let internet = Internet::new(lab)?;
        let mirror = Mirror::start(&internet)?;
        for kind in [
            Nat::FullCone,
            Nat::RestrictedCone,
            Nat::PortRestrictedCone,
            Nat::SymmetricRandom,
            Nat::SymmetricSequential,
        ] {
            let site = internet.site(&SiteOptions::new(kind))?;
            let (socket, before) = mirror.mapped(site.host()?)?;
            let chatter = Chatter::start(&socket, mirror.address())?;
            site.forget()?;
            drop(chatter);
            let after = mirror.seen(&socket)?.context("silence after forgetting")?;
            println!("{kind}: {before}, then {after}");
            ensure!(before.port() != after.port(), "{kind} remembered {before}");
            judge(site.claim(), mirror.behaviour(site.host()?)?).with_context(|| name(&site))?;
        }
        Ok(())
    })
}

#[test]
fn a_full_cone_with_a_short_memory_closes_soon_after_the_last_datagram() -> Result<()> {
    scenario("memory", |lab| {
        let internet = Internet::new(lab)?;
        let mirror = Mirror::start(&internet)?;
        let site = internet.site(&SiteOptions::new(Nat::FullCone))?;
        site.set_timeouts(Duration::from_secs(2))?;
        let (socket, seen) = mirror.mapped(site.host()?)?;
        let last = Instant::now();
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let mut heard = Duration::ZERO;
        eventually("the mapping is gone", Duration::from_secs(3), || {
            // Each from a source of its own, lest the answers' way keep a connection alive.
            let stranger = internet
                .server()
                .inside(|| Ok(UdpSocket::bind((internet.server_addresses()[1], 0))?))?;
            stranger.send_to(b"anybody there?", seen)?;
            Ok(match socket.recv(&mut [0; 64]) {
                Ok(_) => {
                    heard = last.elapsed();
                    Err(format!("still open after {heard:?}"))
                }
                Err(_) => Ok(()),
            })
        })?;
        ensure!(
            heard > Duration::from_secs(1) && heard < Duration::from_secs(4),
            "open for {heard:?} instead of 2 s"
        );
        Ok(())
    })
}

#[test]
fn sites_move_lose_their_line_and_come_back() -> Result<()> {
    scenario("moving sites", |lab| {
        let internet = Internet::new(lab)?;
        let mirror = Mirror::start(&internet)?;
        let carrier = internet.carrier(Nat::FullCone, false)?;
        let mut behind_carrier = SiteOptions::new(Nat::PortRestrictedCone);
        behind_carrier.carrier = Some(carrier);
        let mut hairpinning = SiteOptions::new(Nat::PortRestrictedCone);
        (hairpinning.hosts, hairpinning.hairpin) = (2, true);
        let server = IpAddr::V4(internet.server().address());
        for options in [
            SiteOptions::new(Nat::Open),
            SiteOptions::new(Nat::FullCone),
            hairpinning,
            behind_carrier,
        ] {
            let site = internet.site(&options)?;
            let host = site.host()?;
            let reaches = |expected: bool, when: &str| {
                let reached = ping(host, server, 1).is_ok();
                ensure!(reached == expected, "{}, {when}: {reached}", name(&site));
                Ok(())
            };
            reaches(true, "at first")?;
            site.set_link(false)?;
            reaches(false, "line cut")?;
            site.set_link(true)?;
            reaches(true, "line mended")?;
            site.set_interface(host, false)?;
            reaches(false, "interface down")?;
            site.set_interface(host, true)?;
            reaches(true, "interface up")?;
            host.set_link(false)?;
            reaches(false, "cable pulled")?;
            host.set_link(true)?;
            reaches(true, "cable plugged in")?;

            let before = site.router().address();
            site.change_address()?;
            ensure!(before != site.router().address(), "it did not move");
            reaches(true, "after moving")?;
            if options.nat == Nat::Open {
                ensure!(
                    mirror.mapped(host).is_err(),
                    "{} is still reachable",
                    host.address()
                );
                continue;
            }
            let (_socket, seen) = mirror.mapped(host)?;
            ensure!(
                options.carrier.is_some() || *seen.ip() == site.router().address(),
                "seen as {seen} after moving to {}",
                site.router().address()
            );
            judge(site.claim(), mirror.behaviour(host)?).with_context(|| name(&site))?;
            if options.hairpin {
                ensure!(punch(&mirror, host, &site.hosts()[1])?, "no hairpin after moving");
            }
        }
        Ok(())
    })
}

#[test]
fn a_line_delays_and_loses_what_it_was_told_to() -> Result<()> {
    scenario("lines", |lab| {
        let internet = Internet::new(lab)?;
        let server = internet.server().address().to_string();
        let mut options = SiteOptions::new(Nat::FullCone);
        options.line = Line {
            delay: Duration::from_millis(20),
            jitter: Duration::from_millis(2),
            loss: 0.0,
        };
        let far = internet.site(&options)?;
        let trip = ping(far.host()?, server.parse()?, 10)?
            .mean_ms
            .context("no round trip")?;
        println!("20 ms and up to 2 ms each way: {trip} ms");
        // The upper bound is for a busy machine.
        ensure!((40.0..60.0).contains(&trip), "a round trip takes {trip} ms");
        options.line = Line {
            loss: 0.1,
            ..Line::default()
        };
        let lossy = internet.site(&options)?;
        let said = lossy.host()?.output(
            "ping",
            &["-n", "-q", "-c", "400", "-i", "0.002", "-W", "1", &server],
        )?;
        let answered: u32 = said
            .split(", ")
            .find_map(|part| part.strip_suffix(" received")?.parse().ok())
            .with_context(|| format!("ping said: {said}"))?;
        println!("a tenth lost each way: {answered} of 400 pings answered");
        // 324 are expected; six standard deviations to either side.
        ensure!((277..371).contains(&answered), "{answered} of 400 answered");
        Ok(())
    })
}

#[test]
fn an_internet_that_is_taken_down_leaves_nothing() -> Result<()> {
    let lab = Lab::new("internet down")?;
    let prefix = lab.prefix().to_owned();
    let internet = Internet::new(&lab)?;
    let mut options = SiteOptions::new(Nat::FullCone);
    options.line.delay = Duration::from_millis(1);
    let site = internet.site(&options)?;
    let mirror = Mirror::start(&internet)?;
    // Backbone, server, router, host; no switch, as nothing is on one.
    ensure!(lab.namespaces().len() == 4, "namespaces: {:?}", lab.namespaces());
    let threads = || Ok::<_, std::io::Error>(std::fs::read_dir("/proc/self/task")?.count());
    let running = threads()?;
    drop((mirror, site, internet, lab));
    let left: Vec<_> = std::fs::read_dir("/run/netns")?
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .collect();
    ensure!(left.is_empty(), "namespaces left: {left:?}");
    // Four carry a line's frames, four answer at the mirror. Other tests may start and end meanwhile.
    eventually("its threads end", Duration::from_secs(1), || {
        let now = threads()?;
        Ok(if now + 8 <= running {
            Ok(())
        } else {
            Err(format!("{now} of {running} threads run"))
        })
    })
    .map(drop)
}

/// Runs `work` for each of `those` side by side.
pub(crate) fn side_by_side<A: Sync, T: Send>(
    those: &[A],
    work: impl Fn(&A) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    thread::scope(|scope| {
        let work = &work;
        let running: Vec<_> = those.iter().map(|one| scope.spawn(move || work(one))).collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| bail!("a thread panicked")))
            .collect()
    })
}

/// Datagrams from a socket to an address, one each millisecond until dropped.
struct Chatter(Arc<AtomicBool>);

impl Chatter {
    fn start(socket: &UdpSocket, to: SocketAddrV4) -> Result<Self> {
        let socket = socket.try_clone()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // Dropped on the way while the NAT is closed: the point of it.
                let _ = socket.send_to(b"chatter", to);
                thread::sleep(Duration::from_millis(1));
            }
        });
        Ok(Self(stop))
    }
}

impl Drop for Chatter {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
