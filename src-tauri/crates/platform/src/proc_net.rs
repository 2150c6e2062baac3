//! The system's tables of sockets, /proc/net/{udp,tcp} (proc_pid_net(5)): one line each.

use std::io;
use std::net::{IpAddr, SocketAddr};

/// A socket in such a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    /// As in include/net/tcp_states.h.
    pub(crate) state: u8,
    /// The user whose it is.
    pub(crate) user: u32,
    /// The socket's number, by which a process's files name it.
    pub(crate) number: u64,
}

/// All of a protocol, `udp` or `tcp`, for both families, in the calling thread's network namespace.
pub(crate) fn sockets(protocol: &str) -> io::Result<Vec<Entry>> {
    // `thread-self`, not `self`: a thread may live in another network namespace than its process.
    let path = format!("/proc/thread-self/net/{protocol}");
    let mut entries = table(&std::fs::read_to_string(&path)?);
    match std::fs::read_to_string(path + "6") {
        Ok(text) => entries.extend(table(&text)),
        // A kernel without IPv6.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(entries)
}

/// Reads a table: a line of titles, then a line for each socket. What can't be read is left out.
pub(crate) fn table(text: &str) -> Vec<Entry> {
    text.lines().skip(1).filter_map(entry).collect()
}

fn entry(line: &str) -> Option<Entry> {
    let columns: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, local, remote, state, _, _, _, user, _, number, ..] = columns[..] else {
        return None;
    };
    Some(Entry {
        local: end(local)?,
        remote: end(remote)?,
        state: u8::from_str_radix(state, 16).ok()?,
        user: user.parse().ok()?,
        number: number.parse().ok()?,
    })
}

/// `0100007F:0035`, or four such words for IPv6: words of the machine's own byte order, then the port.
fn end(field: &str) -> Option<SocketAddr> {
    let (address, port) = field.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let digits = address.get(at..at + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip: IpAddr = match address.len() {
        8 => word(0)?.into(),
        32 => {
            let mut bytes = [0; 16];
            for (number, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(number * 8)?);
            }
            bytes.into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn a_line_is_read_and_garbage_is_not() {
        let line = "12: 00000000:6D38 0100007F:0035 07 00000000:00000000 00:00000000 00000000  1000        0 4711 2 x 0";
        let expected = Entry {
            local: "0.0.0.0:27960".parse().unwrap(),
            remote: "127.0.0.1:53".parse().unwrap(),
            state: 7,
            user: 1000,
            number: 4711,
        };
        assert_eq!(entry(line), Some(expected));
        assert_eq!(entry("garbage"), None);
        assert_eq!(entry(&line.replace("6D38", "16D38")), None);
        let six = end("0000000000000000FFFF00000300420A:0035").unwrap();
        assert_eq!(six.to_string(), "[::ffff:10.66.0.3]:53");
    }
}
