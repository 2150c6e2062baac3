//! Removing what a lab made: its namespaces and whatever still runs in them.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::net::{PREFIX, ip};

/// Where `ip netns` keeps its names.
const NAMES: &str = "/run/netns";

/// Ends every process in the namespaces whose name starts with `prefix`, then removes the namespaces.
/// Carries on past a failure: the next one may still be removed.
pub(super) fn remove(prefix: &str) {
    for name in names().into_iter().filter(|name| name.starts_with(prefix)) {
        end_processes(&name);
        if let Err(error) = ip(&["netns", "delete", &name]) {
            eprintln!("lab: {name} stays behind: {error:#}");
        }
    }
}

/// Removes the labs of processes that no longer exist. A lab's prefix carries its maker's process id.
pub(super) fn remove_stale() {
    for name in names() {
        let Some(pid) = maker(&name) else { continue };
        if !Path::new(&format!("/proc/{pid}")).exists() {
            eprintln!("lab: removing {name}, left behind by process {pid}");
            remove(&name);
        }
    }
}

/// The names of all network namespaces that start with `prefix`.
pub(super) fn left_of(prefix: &str) -> Vec<String> {
    names()
        .into_iter()
        .filter(|name| name.starts_with(prefix))
        .collect()
}

fn names() -> Vec<String> {
    let Ok(entries) = fs::read_dir(NAMES) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// The process id in a namespace name such as `lr4711x0-h2`; nothing for names that are not a lab's.
fn maker(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split_once('x')?.0.parse().ok()
}

/// Kills what runs in the namespace and waits until it is gone: an adapter lives as long as its engine.
fn end_processes(name: &str) {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let pids = processes_in(name);
        if pids.is_empty() || Instant::now() > deadline {
            return;
        }
        for pid in pids.into_iter().filter_map(Pid::from_raw) {
            // It may have ended by itself since it was listed.
            let _ = kill_process(pid, Signal::KILL);
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn processes_in(name: &str) -> Vec<i32> {
    // A name whose namespace is already gone lists nothing.
    let listed = ip(&["netns", "pids", name]).unwrap_or_default();
    listed
        .lines()
        .filter_map(|line| line.trim().parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::maker;

    #[test]
    fn only_a_labs_own_names_carry_a_maker() {
        assert_eq!(maker("lr4711x0-h2"), Some(4711));
        assert_eq!(maker("lr4711x12-switch"), Some(4711));
        assert_eq!(maker("lrx0-h2"), None);
        assert_eq!(maker("docker0"), None);
    }
}
