//! Programs by proc(5).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use super::{Listening, Program, Transport, file_name};

/// A command line that is longer is cut: what tells games apart stands at its beginning.
const COMMAND: usize = 4096;
/// TCP_LISTEN, and what a UDP socket without a peer has (include/net/tcp_states.h).
const LISTENING: &str = "0A";
const UNCONNECTED: &str = "07";

pub(super) fn look(wanted: impl Fn(&Program) -> bool) -> io::Result<Vec<Listening>> {
    let own = fs::read_link("/proc/thread-self/ns/net")?;
    let mut programs = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // One that ended meanwhile, or a thread of the kernel: neither is a game.
        let Some(program) = program(id, &entry.path()) else {
            continue;
        };
        if wanted(&program) && fs::read_link(entry.path().join("ns/net")).is_ok_and(|its| its == own) {
            programs.push(program);
        }
    }
    if programs.is_empty() {
        return Ok(Vec::new());
    }
    let sockets = sockets()?;
    let found = programs.into_iter().map(|program| Listening {
        ports: ports(program.id, &sockets),
        program,
    });
    Ok(found.collect())
}

fn program(id: u32, folder: &Path) -> Option<Program> {
    let command = fs::read(folder.join("cmdline")).ok()?;
    let command = String::from_utf8_lossy(&command[..command.len().min(COMMAND)]).into_owned();
    let first = command.split('\0').next().filter(|first| !first.is_empty())?;
    let file = fs::read_link(folder.join("exe")).ok();
    let file = file.as_deref().and_then(Path::to_str);
    let names = file.into_iter().chain([first]).filter_map(file_name).collect();
    Some(Program {
        id,
        names,
        command: command.trim_end_matches('\0').replace('\0', " ").to_lowercase(),
    })
}

/// What others can reach, by the number of its socket.
fn sockets() -> io::Result<BTreeMap<u64, (Transport, u16)>> {
    let mut sockets = BTreeMap::new();
    for (name, transport, state) in [
        ("udp", Transport::Udp, UNCONNECTED),
        ("udp6", Transport::Udp, UNCONNECTED),
        ("tcp", Transport::Tcp, LISTENING),
        ("tcp6", Transport::Tcp, LISTENING),
    ] {
        // `thread-self`, not `self`: a thread may live in another network namespace than its process.
        let table = match fs::read_to_string(Path::new("/proc/thread-self/net").join(name)) {
            Ok(table) => table,
            // A kernel without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let lines = table.lines().skip(1);
        sockets.extend(lines.filter_map(|line| {
            let (socket, port) = open(line, state)?;
            Some((socket, (transport, port)))
        }));
    }
    Ok(sockets)
}

/// The socket's number and port in a line of such a table: the second column is the local address, the fourth the state,
/// the tenth the number. None for what only this computer reaches.
fn open(line: &str, state: &str) -> Option<(u64, u16)> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let [_, local, _, its_state, _, _, _, _, _, socket, ..] = columns[..] else {
        return None;
    };
    let (address, port) = local.rsplit_once(':')?;
    // 127.0.0.0/8 and ::1 as words of this machine's order; a big-endian one shows the former the other way round.
    let near = if cfg!(target_endian = "little") {
        address.len() == 8 && address.ends_with("7F") || address == "00000000000000000000000001000000"
    } else {
        address.len() == 8 && address.starts_with("7F") || address == "00000000000000000000000000000001"
    };
    let port = u16::from_str_radix(port, 16).ok()?;
    (its_state == state && !near && port != 0).then_some((socket.parse().ok()?, port))
}

/// Which of those are the process's.
fn ports(id: u32, sockets: &BTreeMap<u64, (Transport, u16)>) -> BTreeSet<(Transport, u16)> {
    let Ok(files) = fs::read_dir(format!("/proc/{id}/fd")) else {
        return BTreeSet::new();
    };
    files
        .flatten()
        .filter_map(|file| {
            let target = fs::read_link(file.path()).ok()?;
            let number = target
                .to_str()?
                .strip_prefix("socket:[")?
                .strip_suffix(']')?
                .parse()
                .ok()?;
            sockets.get(&number).copied()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_that_others_reach_are_told_from_those_they_do_not() {
        let line = |local: &str, state: &str| {
            format!(
                "  12: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 4711 2 x 0"
            )
        };
        assert_eq!(open(&line("00000000:6D38", "07"), "07"), Some((4711, 27960)));
        assert_eq!(open(&line("00000000:6D38", "01"), "07"), None);
        assert_eq!(open("garbage", "07"), None);
        #[cfg(target_endian = "little")]
        assert_eq!(open(&line("0100007F:6D38", "07"), "07"), None);
    }
}
