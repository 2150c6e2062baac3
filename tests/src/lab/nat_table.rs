//! Who reaches whom, how, and how soon: every pair of a party, seen from both ends.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lanrage_proto::ipc::{Call, Frame, VERSION};
use serde_json::Value;

use super::engine::Engine;
use super::status::Status;

/// The port at which members answer each other inside the party.
const PORT: u16 = 4242;

/// How often a member calls those who have not answered yet.
const CALL: Duration = Duration::from_millis(100);

/// How often each member's status is read.
const LOOK: Duration = Duration::from_millis(500);

/// A way that was not seen for this long is none: a crowd on a busy machine stutters.
const GONE: Duration = Duration::from_secs(15);

/// How long an engine may take to say how it is.
const PATIENT: Duration = Duration::from_secs(30);

/// How a packet travels from one member to another, as the sender's engine says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Not at all.
    #[default]
    None,
    /// Through a relay.
    Relayed,
    /// From public address to public address.
    Direct,
    /// Within one network.
    Lan,
}

impl Way {
    fn read(path: Option<&str>) -> Result<Self> {
        Ok(match path {
            None => Self::None,
            Some("relayed") => Self::Relayed,
            Some("direct") => Self::Direct,
            Some("lan") => Self::Lan,
            Some(other) => bail!("a path of kind {other}"),
        })
    }

    /// One letter of a table.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::None => '-',
            Self::Relayed => 'r',
            Self::Direct => 'D',
            Self::Lan => 'L',
        }
    }
}

/// What one member has of another.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sight {
    /// The way now, or a few seconds ago.
    pub way: Way,
    /// From when both were in the party to the first answer.
    pub first_answer: Option<Duration>,
    /// From when both were in the party to the first look at which the way needed no relay.
    pub first_direct: Option<Duration>,
}

/// All pairs of a party; members count as the engines they were made of.
#[derive(Clone, Debug)]
pub struct Table {
    sights: Vec<Vec<Sight>>,
}

impl Table {
    /// What `from` has of `to`.
    #[must_use]
    pub fn sight(&self, from: usize, to: usize) -> Sight {
        let row = self.sights.get(from);
        row.and_then(|row| row.get(to)).copied().unwrap_or_default()
    }

    /// A letter for each pair: a row per member, named, and a column per member in the same order.
    #[must_use]
    pub fn letters(&self, names: &[String]) -> String {
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let mut lines = String::new();
        for (from, name) in names.iter().enumerate() {
            let row: Vec<String> = (0..names.len())
                .map(|to| match to {
                    to if to == from => ".".to_owned(),
                    to => self.sight(from, to).way.letter().to_string(),
                })
                .collect();
            lines.push_str(&format!("{name:width$}  {}\n", row.join(" ")));
        }
        lines
    }
}

/// A member of a party that is looked at.
#[derive(Debug)]
pub struct Seat<'a> {
    /// Its engine, which is in the party or about to be.
    pub engine: &'a Engine,
    /// When it had its lease, once it has.
    pub joined: Mutex<Option<(Instant, Ipv4Addr)>>,
}

impl<'a> Seat<'a> {
    /// A seat for an engine that is in no party yet.
    #[must_use]
    pub fn new(engine: &'a Engine) -> Self {
        Self {
            engine,
            joined: Mutex::new(None),
        }
    }

    /// Notes that the engine has its lease now.
    ///
    /// # Errors
    /// When it has none.
    pub fn take(&self) -> Result<()> {
        let now = Instant::now();
        let address = self.engine.address()?;
        *self.joined.lock().unwrap_or_else(|broken| broken.into_inner()) = Some((now, address));
        Ok(())
    }

    fn joined(&self) -> Option<(Instant, Ipv4Addr)> {
        *self.joined.lock().unwrap_or_else(|broken| broken.into_inner())
    }
}

/// Looks at every pair from now on, while `join` lets members take their seats, until `settled` or `limit`.
///
/// # Errors
/// When `join` fails, a host can't be entered or a status can't be read.
pub fn look(
    seats: &[Seat<'_>],
    join: impl FnOnce() -> Result<()> + Send,
    limit: Duration,
    mut settled: impl FnMut(&Table) -> bool,
) -> Result<Table> {
    let stop = AtomicBool::new(false);
    let answers: Vec<Answers> = seats.iter().map(|_| Answers::default()).collect();
    let ways: Vec<Ways> = seats.iter().map(|_| Ways::default()).collect();
    thread::scope(|scope| {
        let mut running = Vec::new();
        for (index, seat) in seats.iter().enumerate() {
            let (stop, answers, ways) = (&stop, &answers[index], &ways[index]);
            running.push(scope.spawn(move || {
                seat.engine.host().enter()?;
                call(seats.len(), answers, stop)
            }));
            running.push(scope.spawn(move || watch(seat, ways, stop)));
        }
        let joining = scope.spawn(join);
        let started = Instant::now();
        let mut table = read(seats, &answers, &ways);
        while started.elapsed() < limit && !(joining.is_finished() && settled(&table)) {
            if running.iter().any(thread::ScopedJoinHandle::is_finished) {
                break;
            }
            thread::sleep(LOOK);
            table = read(seats, &answers, &ways);
        }
        stop.store(true, Ordering::Relaxed);
        let joined = joining.join().unwrap_or_else(|_| bail!("joining panicked"));
        for thread in running {
            thread.join().unwrap_or_else(|_| bail!("a look panicked"))?;
        }
        joined.map(|()| table)
    })
}

/// When each address answered first.
type Answers = Mutex<BTreeMap<Ipv4Addr, Instant>>;

/// What is known of the way to each address.
type Ways = Mutex<BTreeMap<Ipv4Addr, Known>>;

#[derive(Clone, Copy)]
struct Known {
    /// The last one seen.
    way: Way,
    /// When it was seen.
    looked: Instant,
    /// When there was one that needed no relay first.
    direct: Option<Instant>,
}

fn read(seats: &[Seat<'_>], answers: &[Answers], ways: &[Ways]) -> Table {
    let sight = |from: usize, to: usize| {
        let (Some((own, _)), Some((theirs, address))) = (seats[from].joined(), seats[to].joined()) else {
            return Sight::default();
        };
        let since = |at: Instant| at.saturating_duration_since(own.max(theirs));
        let answers = answers[from].lock().unwrap_or_else(|broken| broken.into_inner());
        let ways = ways[from].lock().unwrap_or_else(|broken| broken.into_inner());
        let known = ways.get(&address);
        let fresh = known.filter(|known| known.looked.elapsed() < GONE);
        Sight {
            way: fresh.map_or(Way::None, |known| known.way),
            first_answer: answers.get(&address).copied().map(since),
            first_direct: known.and_then(|known| known.direct).map(since),
        }
    };
    let all = 0..seats.len();
    Table {
        sights: all
            .clone()
            .map(|from| all.clone().map(|to| sight(from, to)).collect())
            .collect(),
    }
}

/// Calls every lease that has not answered yet, and answers whoever calls. The calling thread stands in the host.
fn call(members: usize, answers: &Answers, stop: &AtomicBool) -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
    let mut buffer = [0; 64];
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        if Instant::now() >= next {
            next = Instant::now() + CALL;
            let known = answers
                .lock()
                .unwrap_or_else(|broken| broken.into_inner())
                .clone();
            for slot in 1..=u8::try_from(members)? {
                let address = Ipv4Addr::new(10, 66, 0, slot);
                if !known.contains_key(&address) {
                    // No adapter yet, or no way: the next call may have more luck.
                    let _ = socket.send_to(b"call", (address, PORT));
                }
            }
        }
        let left = next.saturating_duration_since(Instant::now());
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match socket.recv_from(&mut buffer) {
            Ok((4, from)) if &buffer[..4] == b"call" => {
                // The caller may be unreachable from here.
                let _ = socket.send_to(b"answer", from);
            }
            Ok((6, SocketAddr::V4(from))) if &buffer[..6] == b"answer" => {
                let mut answers = answers.lock().unwrap_or_else(|broken| broken.into_inner());
                answers.entry(*from.ip()).or_insert_with(Instant::now);
            }
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            // What an earlier datagram met.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn watch(seat: &Seat<'_>, ways: &Ways, stop: &AtomicBool) -> Result<()> {
    let mut ear = Ear::open(seat.engine)?;
    while !stop.load(Ordering::Relaxed) {
        let looked = Instant::now();
        let status = ear.status().context("looking at a member")?;
        {
            let mut ways = ways.lock().unwrap_or_else(|broken| broken.into_inner());
            for member in status.members()?.into_iter().filter(|member| !member.own) {
                let up = member.is_up().then_some(member.path).flatten();
                let way = Way::read(up.as_deref())?;
                if way == Way::None {
                    continue;
                }
                let known = ways.entry(member.address).or_insert(Known {
                    way,
                    looked,
                    direct: None,
                });
                (known.way, known.looked) = (way, looked);
                if way > Way::Relayed {
                    known.direct.get_or_insert(looked);
                }
            }
        }
        thread::sleep(LOOK.saturating_sub(looked.elapsed()));
    }
    Ok(())
}

/// An open connection to an engine, for asking often: a program for each look would cost more than what it looks at.
struct Ear(UnixStream);

impl Ear {
    fn open(engine: &Engine) -> Result<Self> {
        let stream = UnixStream::connect(engine.socket()).context("the engine's socket")?;
        stream.set_read_timeout(Some(PATIENT))?;
        Ok(Self(stream))
    }

    fn status(&mut self) -> Result<Status> {
        let question = serde_json::to_vec(&Frame {
            id: 1,
            ipc: VERSION,
            call: Call::Status,
        })?;
        self.0.write_all(&u32::try_from(question.len())?.to_be_bytes())?;
        self.0.write_all(&question)?;
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let mut answer = vec![0; usize::try_from(u32::from_be_bytes(length))?];
        self.0.read_exact(&mut answer)?;
        let mut answer: Value = serde_json::from_slice(&answer)?;
        let status = answer["result"]["Ok"]["status"].take();
        ensure!(status.is_object(), "no status: {answer}");
        Ok(Status(status))
    }
}
