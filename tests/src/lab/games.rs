//! Headless game servers as Debian has them, unmodified, and the questions by which their games look for others.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::net::Host;
use super::process::Process;
use super::wait::eventually;

/// They refuse root, or are better off without.
const AS_NOBODY: [&str; 5] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--",
];

/// From a server's start to its first answer: a map is made meanwhile.
const READY: Duration = Duration::from_secs(10);

/// What a player who looks at the list of games waits at most.
pub const LOOKS: Duration = Duration::from_secs(2);

/// A game whose server runs without a screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LanGame {
    /// Asks 255.255.255.255 on four ports.
    OpenArena,
    /// Asks every network's broadcast address.
    OpenTtd,
    /// Asks a multicast group, and is answered there.
    Freeciv,
}

impl LanGame {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::OpenArena, Self::OpenTtd, Self::Freeciv];

    /// As the engine calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenArena => "OpenArena",
            Self::OpenTtd => "OpenTTD",
            Self::Freeciv => "Freeciv",
        }
    }

    /// By which friends join it.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::OpenArena => 27960,
            Self::OpenTtd => 3979,
            Self::Freeciv => 5556,
        }
    }

    /// Where its players' programs ask.
    #[must_use]
    pub fn asks(self) -> SocketAddrV4 {
        match self {
            Self::OpenArena => SocketAddrV4::new(Ipv4Addr::BROADCAST, 27960),
            Self::OpenTtd => SocketAddrV4::new(Ipv4Addr::BROADCAST, 3979),
            Self::Freeciv => SocketAddrV4::new(GROUP, 4555),
        }
    }

    fn question(self) -> &'static [u8] {
        match self {
            Self::OpenArena => b"\xff\xff\xff\xffgetinfo xxx",
            // Three bytes long; "find server".
            Self::OpenTtd => &[3, 0, 0],
            // The protocol's version.
            Self::Freeciv => &[2],
        }
    }

    fn is_answer(self, datagram: &[u8]) -> bool {
        match self {
            Self::OpenArena => datagram.starts_with(b"\xff\xff\xff\xffinfoResponse"),
            // "Here is one."
            Self::OpenTtd => datagram.get(2) == Some(&1),
            Self::Freeciv => {
                datagram.first() == Some(&2) && datagram.windows(5).any(|part| part == b"5556\0")
            }
        }
    }

    /// The port on which its players' programs wait for answers; any where it is 0.
    fn answers_to(self) -> u16 {
        match self {
            Self::OpenArena | Self::OpenTtd => 0,
            Self::Freeciv => 4556,
        }
    }

    /// The command that starts its server, as anybody types it.
    fn command(self) -> &'static str {
        match self {
            Self::OpenArena => {
                "exec /usr/games/openarena-server +set dedicated 1 +set sv_pure 0 +map oa_dm1 </dev/null"
            }
            // It ends with its input, so that has to stay open.
            Self::OpenTtd => "mkfifo input && exec /usr/games/openttd -D -c openttd.cfg 0<>input",
            Self::Freeciv => "exec /usr/games/freeciv-server --Announce IPv4 -p 5556 </dev/null",
        }
    }

    /// Starts its server in a host, bound to nothing, and waits until it answers there.
    ///
    /// # Errors
    /// When it is not installed, or does not answer in time.
    pub fn serve(self, host: &Host) -> Result<Process> {
        let name = format!("{}-{}", self.name().to_lowercase(), host.index());
        let folder = host.lab().files().join(&name);
        fs::create_dir_all(&folder)?;
        // Whoever nobody is has to get there and write.
        for (path, mode) in [(host.lab().files(), 0o755), (folder.as_path(), 0o777)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        }
        let [program, arguments @ ..] = AS_NOBODY;
        let mut command = host.command(program.as_ref());
        command
            .args(arguments)
            .args(["sh", "-c", self.command()])
            .env("HOME", &folder)
            .current_dir(&folder);
        let mut process = host.spawn(&name, &mut command)?;
        eventually(&format!("{name} answers at home"), READY, || {
            ensure!(process.is_running()?, "{name} ended: {}", process.log());
            let own = SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.asks().port());
            let to = if self == Self::Freeciv { self.asks() } else { own };
            let ask = || -> Result<Vec<SocketAddr>> {
                let socket = self.socket()?;
                socket.send_to(self.question(), to)?;
                self.answers(&socket, Duration::from_millis(200))
            };
            Ok(match host.inside(ask) {
                Ok(answers) if !answers.is_empty() => Ok(()),
                Ok(_) => Err("no answer".to_owned()),
                Err(error) => Err(format!("{error:#}")),
            })
        })?;
        Ok(process)
    }

    /// Asks as a player's program does, from a socket that is bound to no address, and again every 200 ms until somebody
    /// answers or `limit` has passed. Returns who answered.
    ///
    /// # Errors
    /// When there can be no socket.
    pub fn look(self, host: &Host, to: SocketAddrV4, limit: Duration) -> Result<Option<SocketAddr>> {
        host.inside(|| {
            let (socket, started) = (self.socket()?, Instant::now());
            while started.elapsed() < limit {
                // Without a route there is nobody to be found, which is an answer too.
                let _ = socket.send_to(self.question(), to);
                if let Some(from) = self.answers(&socket, Duration::from_millis(200))?.first() {
                    return Ok(Some(*from));
                }
            }
            Ok(None)
        })
    }

    fn socket(self) -> Result<UdpSocket> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, self.answers_to())).context("asking")?;
        socket.set_broadcast(true)?;
        if self == Self::Freeciv {
            socket.join_multicast_v4(&GROUP, &Ipv4Addr::UNSPECIFIED)?;
        }
        Ok(socket)
    }

    /// Who answers within `limit`.
    fn answers(self, socket: &UdpSocket, limit: Duration) -> Result<Vec<SocketAddr>> {
        let (started, mut buffer, mut from) = (Instant::now(), [0; 2048], Vec::new());
        while let Some(left) = limit
            .checked_sub(started.elapsed())
            .filter(|left| !left.is_zero())
        {
            socket.set_read_timeout(Some(left))?;
            match socket.recv_from(&mut buffer) {
                Ok((length, sender)) if self.is_answer(&buffer[..length]) => from.push(sender),
                Ok(_) => {}
                Err(error) if would_block(&error) => break,
                // Nobody listens where it was sent: an ICMP error comes back.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(from)
    }
}

/// Freeciv's group.
const GROUP: Ipv4Addr = Ipv4Addr::new(225, 1, 1, 1);

fn would_block(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
    )
}
