//! What a party costs, measured with release builds in a lab: `cargo xtask bench`.

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> anyhow::Result<()> {
    anyhow::bail!("the bench runs in network namespaces, which only Linux has")
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::net::{IpAddr, Ipv4Addr};
    use std::path::Path;
    use std::thread;
    use std::time::Duration;

    use anyhow::{Context, Result, ensure};
    use clap::Parser;
    use lanrage_tests::lab::{
        Control, Engine, Host, Lab, Party, Process, echo, felt, first_contact, ping, scenario,
    };
    use serde_json::Value;

    /// Rounds of bare and tunnelled measurements; they alternate, so that both meet the same machine.
    const ROUNDS: usize = 4;

    /// Seconds of each throughput run.
    const STREAM: &str = "4";

    /// How long CPU time of idle engines is counted.
    const IDLE: Duration = Duration::from_secs(15);

    /// Ticks a second in `/proc/PID/stat` (USER_HZ), on every architecture Linux runs on today.
    const TICKS: f64 = 100.0;

    /// Measure what a party costs.
    #[derive(Parser)]
    struct Arguments {}

    pub(super) fn main() -> Result<()> {
        Arguments::parse();
        scenario("bench", measure)
    }

    fn measure(lab: &Lab) -> Result<()> {
        let mut party = Party::gather(lab, 4, Control::Local)?;
        let created = party.create()?;
        let mut report = vec![(
            "create to active".to_owned(),
            format!("{:.0} ms", millis(created)),
        )];

        let (joined, contact) = join(&party, 1)?;
        report.push(("join by ID: verb".to_owned(), format!("{:.0} ms", millis(joined))));
        report.push((
            "join by ID: first answer from the founder".to_owned(),
            format!("{:.0} ms", millis(contact)),
        ));

        report.extend(idle(party.founder()?, 1)?);
        report.extend(link(&party)?);

        for index in 2..4 {
            let (joined, contact) = join(&party, index)?;
            let way = if index == 2 { "invite" } else { "chat line" };
            let times = format!("{:.0} ms, {:.0} ms", millis(joined), millis(contact));
            report.push((format!("join by {way}: verb, first answer"), times));
        }
        party.wait_all_up(felt::CONNECT)?;
        report.extend(idle(party.founder()?, 3)?);

        println!();
        for (what, value) in report {
            println!("{what:<44} {value:>20}");
        }
        Ok(())
    }

    /// Lets an engine join and returns how long the verb took, and how long from its start until a packet to the
    /// founder was answered.
    fn join(party: &Party, index: usize) -> Result<(Duration, Duration)> {
        let founder = party.founder()?;
        let target = echo(founder.host(), founder.address()?)?;
        let host = party.engine(index)?.host();
        thread::scope(|scope| {
            let contact = scope.spawn(move || first_contact(host, target, felt::JOIN + felt::CONNECT));
            let joined = party.join(index);
            let contact = contact.join().ok().context("the first contact panicked")?;
            Ok((joined?, contact?))
        })
    }

    /// Memory and CPU time of an engine that only keeps its party.
    fn idle(engine: &Engine, peers: usize) -> Result<Vec<(String, String)>> {
        engine.wait_all_up(peers, felt::CONNECT)?;
        let id = engine.id().context("the engine does not run")?;
        let before = cpu_seconds(id)?;
        thread::sleep(IDLE);
        let share = (cpu_seconds(id)? - before) / IDLE.as_secs_f64() * 100.0;
        let plural = if peers == 1 { "peer" } else { "peers" };
        Ok(vec![
            (
                format!("idle with {peers} {plural}: CPU of one core"),
                format!("{share:.2} %"),
            ),
            (
                format!("idle with {peers} {plural}: memory (RSS)"),
                format!("{:.1} MiB", resident_mib(id)?),
            ),
        ])
    }

    /// Throughput and round trips between the first two members: on the bare switch and through the party.
    fn link(party: &Party) -> Result<Vec<(String, String)>> {
        let (founder, member) = (party.founder()?, party.engine(1)?);
        let (bare, inside) = (founder.host().address(), founder.address()?);
        let _server = iperf_server(founder.host())?;
        let mut streams = (Vec::new(), Vec::new());
        let mut pings = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            streams.0.push(stream(member.host(), bare)?);
            streams.1.push(stream(member.host(), inside)?);
            pings.0.push(round_trip(member.host(), bare)?);
            pings.1.push(round_trip(member.host(), inside)?);
        }
        let (bare_stream, party_stream) = (median(streams.0), median(streams.1));
        let (bare_ping, party_ping) = (median(pings.0), median(pings.1));
        Ok(vec![
            ("TCP, bare switch".to_owned(), format!("{bare_stream:.0} Mbit/s")),
            ("TCP, party".to_owned(), format!("{party_stream:.0} Mbit/s")),
            (
                "TCP, party / bare".to_owned(),
                format!("{:.3}", party_stream / bare_stream),
            ),
            ("ping, bare switch".to_owned(), format!("{bare_ping:.3} ms")),
            ("ping, party".to_owned(), format!("{party_ping:.3} ms")),
            (
                "ping, added".to_owned(),
                format!("{:.3} ms", party_ping - bare_ping),
            ),
        ])
    }

    fn iperf_server(host: &Host) -> Result<Process> {
        let mut command = host.command(Path::new("iperf3"));
        command.args(["--server", "--forceflush"]);
        let server = host
            .spawn("iperf3", &mut command)
            .context("iperf3 is needed (package iperf3)")?;
        lanrage_tests::lab::eventually("iperf3 listens", felt::START, || {
            let log = server.log();
            Ok(if log.contains("Server listening") {
                Ok(())
            } else {
                Err(log)
            })
        })?;
        Ok(server)
    }

    /// Mbit/s of one TCP stream as its receiver counts it.
    fn stream(from: &Host, to: Ipv4Addr) -> Result<f64> {
        let printed = from.output(
            "iperf3",
            &["--client", &to.to_string(), "--time", STREAM, "--json"],
        )?;
        let report: Value = serde_json::from_str(&printed)?;
        let rate = report["end"]["sum_received"]["bits_per_second"].as_f64();
        Ok(rate.with_context(|| format!("iperf3 printed {printed}"))? / 1e6)
    }

    /// Mean round trip, milliseconds.
    fn round_trip(from: &Host, to: Ipv4Addr) -> Result<f64> {
        ping(from, IpAddr::V4(to), 15)?
            .mean_ms
            .context("ping printed no mean")
    }

    fn median(mut values: Vec<f64>) -> f64 {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        match values.len() {
            0 => f64::NAN,
            length if length % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
            _ => values[middle],
        }
    }

    /// User and system time of a process so far, seconds (proc_pid_stat(5), fields 14 and 15).
    fn cpu_seconds(id: u32) -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{id}/stat"))?;
        // The name in field 2 may hold spaces; fields count on after its closing bracket.
        let (_, rest) = text.rsplit_once(')').context("no name in stat")?;
        let ticks: Vec<f64> = rest
            .split_whitespace()
            .skip(11)
            .take(2)
            .flat_map(str::parse)
            .collect();
        ensure!(ticks.len() == 2, "no times in {text}");
        Ok(ticks.iter().sum::<f64>() / TICKS)
    }

    fn resident_mib(id: u32) -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("no VmRSS")?;
        let kib: f64 = line
            .split_whitespace()
            .next()
            .context("VmRSS is empty")?
            .parse()?;
        Ok(kib / 1024.0)
    }

    fn millis(duration: Duration) -> f64 {
        duration.as_secs_f64() * 1000.0
    }
}
