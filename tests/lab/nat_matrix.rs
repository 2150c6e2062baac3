//! One party with members behind every kind of NAT: who reaches whom, and how.
//!
//! The outcome is compared with `nat_matrix.txt` beside this file, where `?` stands for what chance decides. When it
//! changes for good, `LANRAGE_ACCEPT=1 cargo xtask test --only lab` writes it anew.

use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context, Result, bail, ensure};
use lanrage_tests::lab::{
    Engine, Host, Internet, Nat, PublicServer, Seat, Sight, Site, SiteOptions, Table, Way, look, scenario,
};

/// When the outcome has to be the expected one. Members that don't reach each other keep trying, one pair at a time
/// where that is dear.
const LIMIT: Duration = Duration::from_secs(120);

/// How long it then has to stay so.
const HOLD: Duration = Duration::from_secs(5);

/// What the file says of a pair that has a way to each other with or without a relay, by chance and the time it took to
/// make a hole.
const CHANCE: char = '?';

/// A member of the party and where it is.
struct Seated {
    name: String,
    host: Host,
    kind: Kind,
    /// How many members of its site come before it.
    neighbour: u16,
    /// What its engine is to call the NAT before it.
    nat: &'static str,
}

/// What is asked of a member, whatever the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// With a public address and no filter.
    Open,
    /// With UDP behind a NAT of its own.
    Behind,
    /// Without UDP.
    Blocked,
    /// In one home with the member after or before it.
    Home(usize),
}

#[test]
fn members_behind_every_kind_of_nat_reach_each_other_as_expected() -> Result<()> {
    scenario("NAT matrix", |lab| {
        let internet = Internet::new(lab)?;
        let server = PublicServer::start(&internet, &[])?;
        let sites = sites(&internet)?;
        let members = members(&sites)?;
        let engines = engines(&server, &members)?;
        let seats: Vec<Seat<'_>> = engines.iter().map(Seat::new).collect();
        let names: Vec<String> = members.iter().map(|member| member.name.clone()).collect();

        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/nat_matrix.txt");
        let expected = fs::read_to_string(&file).unwrap_or_default();
        let accept = env::var_os("LANRAGE_ACCEPT").is_some();
        let mut since = None;
        let table = look(
            &seats,
            || everyone_joins(&seats),
            LIMIT,
            |table| {
                if accept || !is_expected(&expected, &table.letters(&names)) {
                    since = None;
                    return false;
                }
                since.get_or_insert_with(Instant::now).elapsed() >= HOLD
            },
        )?;
        report(&table, &names);
        no_nat_is_named_wrongly(&members, &engines)?;
        required(&table, &members)?;
        let letters = table.letters(&names);
        if accept {
            return Ok(fs::write(&file, letters)?);
        }
        ensure!(
            is_expected(&expected, &letters),
            "the outcome differs from {}:\n{}",
            file.display(),
            differences(&expected, &letters)
        );
        Ok(())
    })
}

/// Two sites of each kind with one member each, and two homes with two members each.
fn sites(internet: &Internet) -> Result<Vec<(String, Site)>> {
    let mut wanted = Vec::new();
    for nat in Nat::ALL {
        for letter in ["a", "b"] {
            // Both homes of a kind have the same private network, and their members the same private address.
            wanted.push((format!("{nat}, {letter}"), SiteOptions::new(nat)));
        }
    }
    let neighbours = internet.carrier(Nat::FullCone, true)?;
    for letter in ["a", "b"] {
        let mut home = SiteOptions::new(Nat::PortRestrictedCone);
        home.carrier = Some(neighbours.clone());
        wanted.push((format!("behind one carrier's full cone, {letter}"), home.clone()));
        home.carrier = Some(internet.carrier(Nat::SymmetricRandom, false)?);
        wanted.push((format!("behind a symmetric carrier, {letter}"), home));
    }
    for (hairpin, subnet) in [(true, 2), (false, 3)] {
        let mut home = SiteOptions::new(Nat::PortRestrictedCone);
        (home.hosts, home.hairpin, home.subnet) = (2, hairpin, subnet);
        let with = if hairpin { "with" } else { "without" };
        wanted.push((format!("one home {with} hairpin"), home));
    }
    wanted.sort_by_key(|(_, options)| options.carrier.is_some());
    let (names, options): (Vec<_>, Vec<_>) = wanted.into_iter().unzip();
    Ok(names.into_iter().zip(internet.sites(&options)?).collect())
}

fn members(sites: &[(String, Site)]) -> Result<Vec<Seated>> {
    let mut members = Vec::new();
    for (home, (name, site)) in sites.iter().enumerate() {
        for ((host, letter), neighbour) in site.hosts().iter().zip(["a", "b"]).zip(0..) {
            let (name, kind) = match site.options().nat {
                _ if site.hosts().len() > 1 => (format!("{name}, {letter}"), Kind::Home(home)),
                Nat::Open => (name.clone(), Kind::Open),
                Nat::UdpBlocked => (name.clone(), Kind::Blocked),
                _ => (name.clone(), Kind::Behind),
            };
            members.push(Seated {
                name,
                host: host.clone(),
                kind,
                neighbour,
                nat: site.claim().word(),
            });
        }
    }
    members.sort_by(|one, other| one.name.cmp(&other.name));
    ensure!(members.len() == 22, "{} members", members.len());
    Ok(members)
}

/// In a crowd on a busy machine too much is lost to be sure of everything; but nothing may be named wrongly.
fn no_nat_is_named_wrongly(members: &[Seated], engines: &[Engine]) -> Result<()> {
    let mut wrong = Vec::new();
    for (member, engine) in members.iter().zip(engines) {
        let status = engine.status()?;
        let called = status.nat_type().unwrap_or("nothing").to_owned();
        if called != member.nat {
            println!("{} is {} and is called {called}", member.name, member.nat);
        }
        if called != member.nat && called != "unknown" {
            wrong.push(&member.name);
        }
    }
    ensure!(wrong.is_empty(), "wrongly named: {wrong:?}");
    Ok(())
}

fn engines(server: &PublicServer, members: &[Seated]) -> Result<Vec<Engine>> {
    thread::scope(|scope| {
        let starting: Vec<_> = members
            .iter()
            .enumerate()
            .map(|(index, member)| {
                // As two engines behind one router would have to choose: Linux deals one port to both, to each for
                // other destinations, and the second is then as behind a symmetric NAT.
                let port = (51_820 + member.neighbour).to_string();
                scope.spawn(move || {
                    let player = format!("Player {index}");
                    server.engine(&member.host, &player, &["--port", &port])
                })
            })
            .collect();
        starting
            .into_iter()
            .map(|engine| engine.join().unwrap_or_else(|_| bail!("a start panicked")))
            .collect()
    })
}

/// The first founds the party, the others join one after the other, as friends do.
fn everyone_joins(seats: &[Seat<'_>]) -> Result<()> {
    let (founder, joiners) = seats.split_first().context("nobody")?;
    let created = founder.engine.cli(&["create", "Friday night"])?;
    founder.take()?;
    let id = created["id"].as_str().context("no ID")?;
    for seat in joiners {
        seat.engine.cli(&["join", id])?;
        seat.take()?;
    }
    Ok(())
}

/// What holds whatever else does: where a side is open any member with UDP comes directly, one home stays inside
/// itself, and a way that is shown carries packets.
fn required(table: &Table, members: &[Seated]) -> Result<()> {
    for (from, one) in members.iter().enumerate() {
        for (to, other) in members.iter().enumerate().filter(|(to, _)| *to != from) {
            let sight = table.sight(from, to);
            let pair = format!("{} to {}", one.name, other.name);
            match (one.kind, other.kind) {
                (Kind::Home(home), Kind::Home(theirs)) if home == theirs => {
                    ensure!(sight.way == Way::Lan, "{pair}: {sight:?}");
                }
                (Kind::Blocked, _) | (_, Kind::Blocked) => {
                    ensure!(sight.way <= Way::Relayed, "{pair}: {sight:?}");
                }
                (Kind::Open, _) | (_, Kind::Open) => {
                    ensure!(sight.way == Way::Direct, "{pair}: {sight:?}");
                }
                _ => ensure!(sight.way != Way::Lan, "{pair}: {sight:?}"),
            }
            ensure!(
                sight.way == Way::None || sight.first_answer.is_some(),
                "{pair} shows a way and carries nothing: {sight:?}"
            );
        }
    }
    Ok(())
}

/// Prints the outcome and how long it took, pair by pair. The times are those of a crowd on one machine.
fn report(table: &Table, names: &[String]) {
    println!("L lan, D direct, r relayed, - none:\n{}", table.letters(names));
    summary(table, names.len());
    let seconds =
        |time: Option<Duration>| time.map_or("-".to_owned(), |time| format!("{:.1}", time.as_secs_f64()));
    println!("first answer and first look without relay, seconds:");
    for (from, one) in names.iter().enumerate() {
        for (to, other) in names.iter().enumerate().skip(from + 1) {
            let (there, back) = (table.sight(from, to), table.sight(to, from));
            if there.way == Way::None && back.way == Way::None {
                continue;
            }
            println!(
                "{one} | {other} | {}{} | {} {} | {} {}",
                there.way.letter(),
                back.way.letter(),
                seconds(there.first_answer),
                seconds(back.first_answer),
                seconds(there.first_direct),
                seconds(back.first_direct)
            );
        }
    }
}

fn is_expected(expected: &str, seen: &str) -> bool {
    expected.lines().count() == seen.lines().count()
        && expected
            .lines()
            .zip(seen.lines())
            .all(|(expected, seen)| is_expected_line(expected, seen))
}

fn is_expected_line(expected: &str, seen: &str) -> bool {
    expected.chars().count() == seen.chars().count()
        && expected
            .chars()
            .zip(seen.chars())
            .all(|(expected, seen)| expected == seen || (expected == CHANCE && "rD".contains(seen)))
}

/// Prints how soon pairs of one outcome had their first answer, and their first way without relay.
fn summary(table: &Table, members: usize) {
    for way in [Way::Lan, Way::Direct, Way::Relayed, Way::None] {
        let pairs = (0..members).flat_map(|from| (0..members).map(move |to| (from, to)));
        let sights: Vec<Sight> = pairs
            .filter(|(from, to)| from != to)
            .map(|(from, to)| table.sight(from, to))
            .filter(|sight| sight.way == way)
            .collect();
        let answers = sights.iter().filter_map(|sight| sight.first_answer);
        let direct = sights.iter().filter_map(|sight| sight.first_direct);
        println!(
            "{way:?}: {} of {} ways; first answer {}; first without relay {}",
            sights.len(),
            members * (members - 1),
            spread(answers.collect()),
            spread(direct.collect())
        );
    }
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    match (times.get(times.len() / 2), times.last()) {
        (Some(median), Some(worst)) => {
            format!(
                "{:.1} s, worst {:.1} s",
                median.as_secs_f64(),
                worst.as_secs_f64()
            )
        }
        _ => "never".to_owned(),
    }
}

/// The lines that differ, the expected one first.
fn differences(expected: &str, seen: &str) -> String {
    let pairs = expected.lines().zip(seen.lines());
    let differing: String = pairs
        .filter(|(expected, seen)| !is_expected_line(expected, seen))
        .map(|(expected, seen)| format!("expected {expected}\nseen     {seen}\n"))
        .collect();
    if differing.is_empty() {
        format!("expected {expected:?}, seen {seen}")
    } else {
        differing
    }
}
