//! Programs by proc(5).
//!
//! Which files a process has open, and which network it is in, a sandboxed service is not told of other users'
//! processes (ptrace(2), PTRACE_MODE_READ). Then what its user has open is taken for the program's: a game's profile
//! names the ports that count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Listening, Program, Transport, file_name};
use crate::proc_net::{self, Entry};

/// A command line that is longer is cut: what tells games apart stands at its beginning.
const COMMAND: usize = 4096;
/// TCP_LISTEN, and what a UDP socket without a peer has (include/net/tcp_states.h).
const LISTENING: u8 = 0x0A;
const UNCONNECTED: u8 = 0x07;

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
        // One whose network is not told is as likely here as anywhere.
        if wanted(&program) && fs::read_link(entry.path().join("ns/net")).map_or(true, |its| its == own) {
            programs.push(program);
        }
    }
    if programs.is_empty() {
        return Ok(Vec::new());
    }
    let sockets = sockets()?;
    let found = programs.into_iter().map(|program| Listening {
        ports: ports(
            Path::new("/proc").join(program.id.to_string()).as_path(),
            &sockets,
        ),
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

/// A port that others can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Open {
    transport: Transport,
    port: u16,
    /// The user whose it is.
    user: u32,
}

/// What others can reach, by the number of its socket.
fn sockets() -> io::Result<BTreeMap<u64, Open>> {
    let mut sockets = BTreeMap::new();
    for (name, transport, state) in [
        ("udp", Transport::Udp, UNCONNECTED),
        ("tcp", Transport::Tcp, LISTENING),
    ] {
        let entries = proc_net::sockets(name)?;
        sockets.extend(entries.iter().filter_map(|entry| open(entry, state, transport)));
    }
    Ok(sockets)
}

/// The socket's number and what it is; none for what only this computer reaches.
fn open(entry: &Entry, state: u8, transport: Transport) -> Option<(u64, Open)> {
    let near = entry.local.ip().to_canonical().is_loopback();
    let open = Open {
        transport,
        port: entry.local.port(),
        user: entry.user,
    };
    (entry.state == state && !near && open.port != 0).then_some((entry.number, open))
}

/// Which of those are the process's, whose folder this is.
fn ports(folder: &Path, sockets: &BTreeMap<u64, Open>) -> BTreeSet<(Transport, u16)> {
    let files = match fs::read_dir(folder.join("fd")) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return fs::metadata(folder).map_or_else(|_| BTreeSet::new(), |its| of_user(its.uid(), sockets));
        }
        // It ended.
        Err(_) => return BTreeSet::new(),
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
            let open = sockets.get(&number)?;
            Some((open.transport, open.port))
        })
        .collect()
}

/// Which of those are the user's.
fn of_user(user: u32, sockets: &BTreeMap<u64, Open>) -> BTreeSet<(Transport, u16)> {
    let its = sockets.values().filter(|open| open.user == user);
    its.map(|open| (open.transport, open.port)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_that_others_reach_are_told_from_those_they_do_not() {
        let open = |local: &str, state| {
            let entry = Entry {
                local: local.parse().unwrap(),
                remote: "0.0.0.0:0".parse().unwrap(),
                state,
                user: 1000,
                number: 4711,
            };
            open(&entry, UNCONNECTED, Transport::Udp)
        };
        let game = Open {
            transport: Transport::Udp,
            port: 27960,
            user: 1000,
        };
        assert_eq!(open("0.0.0.0:27960", UNCONNECTED), Some((4711, game)));
        assert_eq!(open("0.0.0.0:27960", 1), None);
        assert_eq!(open("127.0.0.1:27960", UNCONNECTED), None);
        let sockets = BTreeMap::from([(4711, game)]);
        assert_eq!(of_user(1000, &sockets), [(Transport::Udp, 27960)].into());
        assert!(of_user(0, &sockets).is_empty());
    }
}
