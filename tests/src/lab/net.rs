//! The network of a lab: one switch, and hosts on it.

use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::{env, fs, thread};

use anyhow::{Context, Result, bail, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tempfile::TempDir;

use super::clean;
use super::process::Process;

/// First letters of every lab namespace; the maker's process id follows.
pub(super) const PREFIX: &str = "lr";

/// Lines of each log that a failed lab prints.
const LOG_TAIL: usize = 150;

/// Labs made by this process so far: several may live side by side.
static LABS: AtomicU32 = AtomicU32::new(0);

/// A switch and the hosts on it. Clones are handles of the same lab.
#[derive(Clone, Debug)]
pub struct Lab(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    prefix: String,
    files: TempDir,
    switch: Mutex<bool>,
    hosts: AtomicU32,
    failed: AtomicBool,
    logs: Mutex<Vec<(String, PathBuf)>>,
}

/// One machine of a lab.
#[derive(Clone, Debug)]
pub struct Host {
    lab: Lab,
    index: u8,
    namespace: String,
    address: Ipv4Addr,
    /// The namespace and the name of the other end of its cable.
    socket: (String, String),
}

impl Lab {
    /// Makes a lab without hosts; its switch comes with the first of them. `name` appears in messages only.
    ///
    /// # Errors
    /// When its directory can't be made.
    pub fn new(name: &str) -> Result<Self> {
        clean::remove_stale();
        let prefix = format!(
            "{PREFIX}{}x{}",
            std::process::id(),
            LABS.fetch_add(1, Ordering::Relaxed)
        );
        let files = tempfile::Builder::new()
            .prefix("lanrage-lab-")
            .tempdir()
            .context("the lab's directory can't be made")?;
        Ok(Self(Arc::new(Inner {
            name: name.to_owned(),
            prefix,
            files,
            switch: Mutex::new(false),
            hosts: AtomicU32::new(0),
            failed: AtomicBool::new(false),
            logs: Mutex::new(Vec::new()),
        })))
    }

    /// The name given to [`Lab::new`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The directory for this lab's files; it goes with the lab.
    #[must_use]
    pub fn files(&self) -> &Path {
        self.0.files.path()
    }

    /// Adds a host to the switch. The first is `192.168.77.1`, the next `.2`, and so on, up to 200.
    ///
    /// # Errors
    /// Without the right to make network namespaces, or without `ip`.
    pub fn host(&self) -> Result<Host> {
        self.raise_switch()
            .with_context(|| format!("the switch of lab {} can't be made", self.name()))?;
        let on_switch = |index| Ipv4Addr::new(192, 168, 77, index);
        let host = self.machine("h", on_switch, |index| (self.switch(), format!("p{index}")))?;
        host.raise()
            .with_context(|| format!("host {} of lab {} can't be made", host.index, self.name()))?;
        Ok(host)
    }

    /// A namespace of its own and nothing in it yet. It is named by `kind` and its index, which also give its
    /// address and the other end of its cable.
    pub(super) fn machine(
        &self,
        kind: &str,
        address: impl FnOnce(u8) -> Ipv4Addr,
        socket: impl FnOnce(u8) -> (String, String),
    ) -> Result<Host> {
        let index = self.0.hosts.fetch_add(1, Ordering::Relaxed) + 1;
        let index = u8::try_from(index)
            .ok()
            .filter(|index| *index <= 200)
            .context("a lab has 200 hosts at most")?;
        Ok(Host {
            lab: self.clone(),
            index,
            namespace: self.namespace(&format!("{kind}{index}"))?,
            address: address(index),
            socket: socket(index),
        })
    }

    /// Adds `count` hosts.
    ///
    /// # Errors
    /// As [`Lab::host`].
    pub fn hosts(&self, count: usize) -> Result<Vec<Host>> {
        (0..count).map(|_| self.host()).collect()
    }

    /// Two hosts joined by a cable and by nothing else; their addresses are as [`Lab::host`] deals them.
    ///
    /// # Errors
    /// As [`Lab::host`].
    pub fn cable(&self) -> Result<[Host; 2]> {
        // Pulled at either end, a cable is pulled at both: each host's own end will do.
        let end = || {
            let own = |index| (self.name_of(&format!("h{index}")), "eth0".to_owned());
            self.machine("h", |index| Ipv4Addr::new(192, 168, 77, index), own)
        };
        let ends = [end()?, end()?];
        let [one, other] = &ends;
        ip_batch(
            one.namespace(),
            &format!(
                "link add eth0 type veth peer name eth0 netns {}\n",
                other.namespace()
            ),
        )?;
        ends.iter().try_for_each(Host::raise_end)?;
        Ok(ends)
    }

    /// Says that the lab's test failed: the logs of its programs are printed when it is taken down.
    pub fn mark_failed(&self) {
        self.0.failed.store(true, Ordering::Relaxed);
    }

    /// A new log file for a program, remembered for [`Lab::mark_failed`].
    pub(super) fn log_file(&self, program: &str) -> Result<PathBuf> {
        let mut logs = self.0.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.files().join(format!("{:02}-{program}.log", logs.len()));
        File::create(&path).with_context(|| format!("{} can't be made", path.display()))?;
        logs.push((program.to_owned(), path.clone()));
        Ok(path)
    }

    /// The namespaces that exist of this lab; empty once it is taken down.
    #[must_use]
    pub fn namespaces(&self) -> Vec<String> {
        clean::left_of(&format!("{}-", self.0.prefix))
    }

    /// What every namespace name of this lab starts with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.0.prefix
    }

    fn switch(&self) -> String {
        self.name_of("switch")
    }

    /// The full name of a namespace of this lab.
    fn name_of(&self, name: &str) -> String {
        format!("{}-{name}", self.0.prefix)
    }

    /// Makes a namespace, which goes with the lab. Returns its full name.
    fn namespace(&self, name: &str) -> Result<String> {
        let namespace = self.name_of(name);
        ip(&["netns", "add", &namespace])?;
        quieten(&namespace)?;
        Ok(namespace)
    }

    fn raise_switch(&self) -> Result<()> {
        let mut raised = self.0.switch.lock().unwrap_or_else(PoisonError::into_inner);
        if *raised {
            return Ok(());
        }
        let switch = self.namespace("switch")?;
        *raised = true;
        ip_batch(
            &switch,
            "link set lo up\n\
             link add switch type bridge stp_state 0 mcast_snooping 0\n\
             address add 192.168.77.254/24 dev switch\n\
             address add fd77::fe/64 dev switch nodad\n\
             link set switch up\n",
        )
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        clean::remove(&format!("{}-", self.prefix));
        if !self.failed.load(Ordering::Relaxed) && !thread::panicking() {
            return;
        }
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        for (program, path) in logs.iter() {
            let text = fs::read(path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            eprintln!(
                "----- {program}: last {} of {} lines",
                LOG_TAIL.min(lines.len()),
                lines.len()
            );
            for line in lines.iter().skip(lines.len().saturating_sub(LOG_TAIL)) {
                eprintln!("{line}");
            }
        }
    }
}

impl Host {
    /// 1 for the first host.
    #[must_use]
    pub fn index(&self) -> u8 {
        self.index
    }

    /// The lab it belongs to.
    #[must_use]
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Its address on the switch, or in its site.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Its IPv6 address on the switch.
    #[must_use]
    pub fn address_v6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, u16::from(self.index))
    }

    /// The name of its network namespace, as `ip netns` lists it.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A command that will run in this host: `ip netns exec` replaces itself by `program`, so the child's
    /// process id is the program's.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        // Tools of administrators are not on every user's path.
        let path = env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
        command.args(["netns", "exec", &self.namespace]).arg(program);
        command
    }

    /// Starts `command` (made by [`Host::command`]) with its output in a log file of the lab.
    ///
    /// # Errors
    /// When the log can't be made or the program can't be started.
    pub fn spawn(&self, name: &str, command: &mut Command) -> Result<Process> {
        let log = self.lab.log_file(name)?;
        // Born inside, so that it is found there by whoever takes the lab down a moment later.
        self.inside(|| Process::spawn(name, command, &log))
    }

    /// Runs `program` in this host to its end and returns what it wrote to standard output.
    ///
    /// # Errors
    /// When it can't be started or its exit status is not 0; the message carries its standard error.
    pub fn output(&self, program: &str, args: &[&str]) -> Result<String> {
        let mut command = self.command(Path::new(program));
        run(command.args(args))
    }

    /// Runs `work` on a thread of its own that stands in this host: sockets it opens belong to the host.
    ///
    /// # Errors
    /// When the namespace can't be entered, when `work` fails or panics.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(
            |scope| match scope.spawn(|| self.enter().and_then(|()| work())).join() {
                Ok(result) => result,
                Err(_) => bail!("work in host {} panicked", self.index),
            },
        )
    }

    /// Moves the calling thread into this host for the rest of its life.
    ///
    /// # Errors
    /// When the namespace is gone or may not be entered.
    pub fn enter(&self) -> Result<()> {
        let path = Path::new("/run/netns").join(&self.namespace);
        let file = File::open(&path).with_context(|| format!("{} can't be opened", path.display()))?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .with_context(|| format!("{} can't be entered", self.namespace))
    }

    /// Pulls the host's cable or plugs it in again.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn set_link(&self, up: bool) -> Result<()> {
        let (namespace, port) = &self.socket;
        let state = if up { "up" } else { "down" };
        ip(&["-n", namespace, "link", "set", port, state]).map(drop)
    }

    /// The names of the TUN adapters that exist in this host.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn adapters(&self) -> Result<Vec<String>> {
        let listed = ip(&["-n", &self.namespace, "-o", "tuntap", "list"])?;
        Ok(listed
            .lines()
            .filter_map(|line| Some(line.split_once(':')?.0.to_owned()))
            .collect())
    }

    /// Routes of all tables of this host that lead into the party's range or through `adapter`.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn party_routes(&self, adapter: &str) -> Result<Vec<String>> {
        let listed = ip(&["-n", &self.namespace, "-4", "route", "show", "table", "all"])?;
        let through = format!("dev {adapter}");
        Ok(listed
            .lines()
            .map(str::trim)
            .filter(|line| line.contains("10.66.") || line.contains(&through))
            .map(str::to_owned)
            .collect())
    }

    /// UDP ports that a socket of this host is bound to, both address families, sorted.
    ///
    /// # Errors
    /// When the kernel's list can't be read.
    pub fn udp_ports(&self) -> Result<Vec<u16>> {
        self.inside(|| {
            let mut ports = Vec::new();
            for table in ["/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"] {
                let text = fs::read_to_string(table).with_context(|| format!("{table} can't be read"))?;
                ports.extend(text.lines().skip(1).filter_map(local_port));
            }
            ports.sort_unstable();
            ports.dedup();
            Ok(ports)
        })
    }

    /// TCP ports that a socket of this host listens on, both address families, sorted.
    ///
    /// # Errors
    /// When the kernel's list can't be read.
    pub fn tcp_ports(&self) -> Result<Vec<u16>> {
        self.inside(|| {
            let mut ports = Vec::new();
            for table in ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"] {
                let text = fs::read_to_string(table).with_context(|| format!("{table} can't be read"))?;
                // 0A is TCP_LISTEN (include/net/tcp_states.h).
                let listening = |line: &&str| line.split_whitespace().nth(3) == Some("0A");
                ports.extend(text.lines().skip(1).filter(listening).filter_map(local_port));
            }
            ports.sort_unstable();
            ports.dedup();
            Ok(ports)
        })
    }

    fn raise(&self) -> Result<()> {
        let (switch, port) = &self.socket;
        ip_batch(
            switch,
            &format!(
                "link add {port} type veth peer name eth0 netns {}\nlink set {port} master switch up\n",
                self.namespace
            ),
        )?;
        self.raise_end()
    }

    /// What a host does with its end of the cable.
    fn raise_end(&self) -> Result<()> {
        ip_batch(
            &self.namespace,
            &format!(
                "link set lo up\n\
                 address add {}/24 dev eth0\n\
                 address add {}/64 dev eth0 nodad\n\
                 link set eth0 up multicast on\n\
                 route add default via 192.168.77.254\n",
                self.address(),
                self.address_v6()
            ),
        )
    }
}

/// The local port in a line of `/proc/net/udp`: `  12: 00000000:14E9 00000000:0000 07 …`.
fn local_port(line: &str) -> Option<u16> {
    let (_, port) = line.split_whitespace().nth(1)?.rsplit_once(':')?;
    u16::from_str_radix(port, 16).ok()
}

/// Kernel settings of a fresh namespace: the switch never consults a firewall, nothing is forwarded, and
/// IPv6 addresses are usable at once.
fn quieten(namespace: &str) -> Result<()> {
    let script = "for f in /proc/sys/net/bridge/bridge-nf-call-iptables \
                  /proc/sys/net/bridge/bridge-nf-call-ip6tables \
                  /proc/sys/net/ipv6/conf/all/accept_dad /proc/sys/net/ipv6/conf/default/accept_dad \
                  /proc/sys/net/ipv4/ip_forward; \
                  do [ -w $f ] && echo 0 > $f; done; true";
    ip(&["netns", "exec", namespace, "sh", "-c", script]).map(drop)
}

/// Runs `ip` and returns its standard output.
pub(super) fn ip(args: &[&str]) -> Result<String> {
    run(Command::new("ip").args(args))
}

/// Feeds several `ip` commands at once to one namespace.
pub(super) fn ip_batch(namespace: &str, commands: &str) -> Result<()> {
    let mut child = Command::new("ip")
        .args(["-n", namespace, "-batch", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("ip can't be started")?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(commands.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "ip -n {namespace} -batch: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

fn run(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("{command:?} can't be started"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::local_port;

    #[test]
    fn the_port_of_a_udp_socket_is_read_from_the_kernels_table() {
        let v4 = "  123: 0100007F:CA6C 00000000:0000 07 00000000:00000000 00:00000000";
        let v6 = "  7: 00000000000000000000000000000000:14E9 0000:0000 07 0:0 00:0";
        assert_eq!(local_port(v4), Some(51820));
        assert_eq!(local_port(v6), Some(5353));
        assert_eq!(local_port("garbage"), None);
    }
}
