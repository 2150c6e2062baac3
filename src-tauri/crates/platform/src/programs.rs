//! Programs that run on this computer, and the ports on which they wait for others.

use std::collections::BTreeSet;
use std::io;

#[cfg(target_os = "linux")]
#[path = "programs/linux.rs"]
mod system;

/// What a port is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// Connections.
    Tcp,
}

/// A program that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The process.
    pub id: u32,
    /// What it may be called: its file's name, and the first word of its command line without folders, which for a
    /// Windows program under Wine is that program's. In lower case.
    pub names: BTreeSet<String>,
    /// All of its command line, in lower case, with spaces between.
    pub command: String,
}

/// A program that was asked for, with the ports it has open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// The program.
    pub program: Program,
    /// UDP ports that take what comes from anybody, and TCP ports that listen, on addresses others can reach.
    pub ports: BTreeSet<(Transport, u16)>,
}

/// The programs that `wanted` picks, with their ports. On Linux: those in the calling thread's network namespace; others'
/// ports take the rights of root.
///
/// # Errors
/// When the system won't list them; `Unsupported` where that is not implemented.
pub fn look(wanted: impl Fn(&Program) -> bool) -> io::Result<Vec<Listening>> {
    #[cfg(target_os = "linux")]
    return system::look(wanted);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = wanted;
        Err(crate::Unsupported {
            operation: "listing programs",
        }
        .into())
    }
}

/// The last part of a path of either kind, in lower case.
#[cfg(any(test, target_os = "linux"))]
fn file_name(path: &str) -> Option<String> {
    let name = path.rsplit(['/', '\\']).next()?.trim();
    (!name.is_empty()).then(|| name.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_without_folders_of_either_kind() {
        assert_eq!(file_name("/usr/games/OpenTTD").as_deref(), Some("openttd"));
        assert_eq!(
            file_name(r"C:\Games\Warcraft III\War3.exe").as_deref(),
            Some("war3.exe")
        );
        assert_eq!(file_name("bare").as_deref(), Some("bare"));
        assert_eq!(file_name("/"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_very_program_is_found_with_its_ports() {
        let tcp = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let udp = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        let inward = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let found = look(|program| program.id == std::process::id()).unwrap();
        let [own] = &found[..] else {
            panic!("found {found:?}");
        };
        let port = |address: std::net::SocketAddr| address.port();
        assert!(
            own.ports
                .contains(&(Transport::Tcp, port(tcp.local_addr().unwrap())))
        );
        assert!(
            own.ports
                .contains(&(Transport::Udp, port(udp.local_addr().unwrap())))
        );
        assert!(
            !own.ports
                .contains(&(Transport::Udp, port(inward.local_addr().unwrap())))
        );
        assert!(
            own.program.names.iter().any(|name| name.contains("lanrage")),
            "{own:?}"
        );
    }
}
