//! Processes, streams and round trips, measured from outside.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::{Host, Process, eventually, felt, ping};
use serde_json::Value;

/// Ticks a second in `/proc/PID/stat` (USER_HZ), on every architecture Linux runs on today.
const TICKS: f64 = 100.0;

/// Starts an iperf3 server in `host` and waits until it listens.
pub(crate) fn iperf_server(host: &Host) -> Result<Process> {
    let mut command = host.command(Path::new("iperf3"));
    command.args(["--server", "--forceflush"]);
    let server = host
        .spawn("iperf3", &mut command)
        .context("iperf3 is needed (package iperf3)")?;
    eventually("iperf3 listens", felt::START, || {
        let log = server.log();
        Ok(if log.contains("Server listening") {
            Ok(())
        } else {
            Err(log)
        })
    })?;
    Ok(server)
}

/// What a TCP stream brought.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    /// As its receiver counts it.
    pub(crate) bytes: f64,
    /// Mbit/s, likewise.
    pub(crate) rate: f64,
}

/// One TCP stream of so many seconds to an [`iperf_server`].
pub(crate) fn stream(from: &Host, to: Ipv4Addr, seconds: u32) -> Result<Stream> {
    let printed = from.output(
        "iperf3",
        &[
            "--client",
            &to.to_string(),
            "--time",
            &seconds.to_string(),
            "--json",
        ],
    )?;
    let report: Value = serde_json::from_str(&printed)?;
    let figure = |key: &str| {
        let value = report["end"]["sum_received"][key].as_f64();
        value.with_context(|| format!("iperf3 printed {printed}"))
    };
    Ok(Stream {
        bytes: figure("bytes")?,
        rate: figure("bits_per_second")? / 1e6,
    })
}

/// Mean round trip of so many pings, milliseconds.
///
/// # Errors
/// When one is lost.
pub(crate) fn round_trip(from: &Host, to: Ipv4Addr, count: u32) -> Result<f64> {
    ping(from, IpAddr::V4(to), count)?
        .mean_ms
        .context("ping printed no mean")
}

/// User and system time of a process so far, seconds (proc_pid_stat(5), fields 14 and 15).
pub(crate) fn cpu_seconds(id: u32) -> Result<f64> {
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

/// Resident memory of a process, MiB.
pub(crate) fn resident_mib(id: u32) -> Result<f64> {
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
