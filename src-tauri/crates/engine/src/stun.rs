//! STUN servers: which are asked, and the addresses behind their names.
//!
//! Those that the control plane names come first, then those that were set. Where there are neither, a few public
//! ones are asked, unless that was switched off.

use crate::happening::{Happening, Happenings};
use futures_util::future::join_all;
use lanrage_core::io::Network;
use lanrage_proto::TurnUri;
use serde::Deserialize;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Public servers. The first two answer from a second address when asked to, without which filtering can't be tested.
const PUBLIC: [&str; 4] = [
    "stun.voipgate.com",
    "stun.hot-chilli.net",
    "stun.cloudflare.com",
    "stun.l.google.com:19302",
];
/// How long a name may take.
const LOOK_UP: Duration = Duration::from_secs(5);
/// When no name led anywhere, they are tried again after this.
const AGAIN: Duration = Duration::from_secs(30);

/// A STUN server by name or address, with its port.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct StunName {
    host: String,
    port: u16,
}

impl FromStr for StunName {
    type Err = String;

    /// `host`, `host:port`, and the same with `stun:` before it (RFC 7064).
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let plain = text.strip_prefix("stun:").unwrap_or(text);
        // A relay's address has the same form after its scheme.
        match TurnUri::parse(&format!("turn:{plain}")) {
            Ok(uri) if !plain.contains('?') => Ok(Self {
                host: uri.host().to_owned(),
                port: uri.port(),
            }),
            _ => Err(format!("{text:?} is no STUN server; one is written host:port")),
        }
    }
}

impl TryFrom<String> for StunName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// What was set: servers, or none at all.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "OneOrMore")]
pub struct StunSetting(Vec<StunName>);

impl StunSetting {
    /// These servers; none at all switches the public ones off.
    ///
    /// # Errors
    /// As the end of a sentence, for the first that is no server's name.
    pub fn of(names: &[String]) -> Result<Self, String> {
        let names: Result<_, _> = names.iter().map(|name| name.parse()).collect();
        names.map(Self)
    }

    /// As they can be read again.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

impl std::fmt::Display for StunName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// In a settings file: `"none"`, `"host:port"`, or a list of these.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl TryFrom<OneOrMore> for StunSetting {
    type Error = String;
    fn try_from(set: OneOrMore) -> Result<Self, String> {
        match set {
            OneOrMore::One(text) => text.parse(),
            OneOrMore::More(names) => Self::of(&names),
        }
    }
}

impl FromStr for StunSetting {
    type Err = String;

    /// `none`, or servers with commas between them.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().eq_ignore_ascii_case("none") {
            return Ok(Self(Vec::new()));
        }
        let names: Result<_, _> = text.split(',').map(str::parse).collect();
        names.map(Self)
    }
}

/// The servers to ask without a control plane's, in this order.
pub(crate) async fn of_our_own(set: Option<&StunSetting>) -> Vec<SocketAddr> {
    addresses(&chosen(&[], set)).await
}

/// The servers to ask, in this order: `named` are the control plane's.
fn chosen(named: &[String], set: Option<&StunSetting>) -> Vec<StunName> {
    let named = named.iter().filter_map(|name| name.parse().ok());
    let set_names = set.map(|set| set.0.clone()).unwrap_or_default();
    let mut names: Vec<StunName> = named.chain(set_names).collect();
    if names.is_empty() && set.is_none() {
        names.extend(PUBLIC.iter().filter_map(|name| name.parse().ok()));
    }
    names
}

/// Looks names up, off the control loop.
pub(crate) struct Resolver {
    set: Option<StunSetting>,
    happenings: Happenings,
    wish: Option<Vec<String>>,
    network: Network,
    /// Which look-up is the current one.
    turn: u64,
    task: Option<JoinHandle<()>>,
}

impl Resolver {
    pub(crate) fn new(set: Option<StunSetting>, happenings: Happenings) -> Self {
        Self {
            set,
            happenings,
            wish: None,
            network: Network::default(),
            turn: 0,
            task: None,
        }
    }

    /// Asks other servers from now on.
    pub(crate) fn set(&mut self, set: Option<StunSetting>) {
        if self.set != set {
            self.set = set;
            if self.wish.is_some() {
                self.look_up();
            }
        }
    }

    /// What the control plane names, while addresses are wanted at all.
    pub(crate) fn wish(&mut self, named: Option<Vec<String>>) {
        self.wish = named;
        self.look_up();
    }

    /// How this computer is connected. In another network, other name servers may know other addresses, or any at all.
    pub(crate) fn moved(&mut self, network: &Network) {
        if self.network != *network {
            self.network = network.clone();
            if self.wish.is_some() {
                self.look_up();
            }
        }
    }

    /// Whether this look-up is still of interest.
    pub(crate) fn is_current(&self, turn: u64) -> bool {
        self.wish.is_some() && self.turn == turn
    }

    fn look_up(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        self.turn += 1;
        let Some(named) = &self.wish else { return };
        let (names, turn) = (chosen(named, self.set.as_ref()), self.turn);
        let happenings = self.happenings.clone();
        self.task = Some(tokio::spawn(async move {
            loop {
                let found = addresses(&names).await;
                let wait = found.is_empty() && !names.is_empty();
                if !wait {
                    // Nobody listens any more only when the engine ends.
                    let _ = happenings.send(Happening::StunServers(turn, found)).await;
                    return;
                }
                tracing::debug!("no STUN server's name leads anywhere");
                sleep(AGAIN).await;
            }
        }));
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

/// One address of each family behind each name: a second one may be the server's other address, and has to stay
/// unasked.
async fn addresses(names: &[StunName]) -> Vec<SocketAddr> {
    let looked_up = names.iter().map(|name| async move {
        let found = timeout(LOOK_UP, tokio::net::lookup_host((name.host.as_str(), name.port))).await;
        let found: Vec<SocketAddr> = match found {
            Ok(Ok(found)) => found.collect(),
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        let v4 = found.iter().find(|at| at.is_ipv4());
        let v6 = found.iter().find(|at| at.is_ipv6());
        v4.into_iter().chain(v6).copied().collect::<Vec<_>>()
    });
    join_all(looked_up).await.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    fn names(text: &str) -> Vec<String> {
        let setting: StunSetting = text.parse().unwrap();
        written(&setting.0)
    }

    fn written(names: &[StunName]) -> Vec<String> {
        names
            .iter()
            .map(|name| format!("{} {}", name.host, name.port))
            .collect()
    }

    #[test]
    fn servers_are_read_as_they_are_written() {
        assert_eq!(
            names("a.example.org, stun:b.example.org:19302,192.0.2.1:3479,[2001:db8::1]:3478"),
            [
                "a.example.org 3478",
                "b.example.org 19302",
                "192.0.2.1 3479",
                "2001:db8::1 3478"
            ]
        );
        assert_eq!(names("none"), [""; 0]);
        let setting: StunSetting = "a:1,[2001:db8::1]:2".parse().unwrap();
        assert_eq!(setting.names(), ["a:1", "[2001:db8::1]:2"]);
        assert_eq!(StunSetting::of(&setting.names()), Ok(setting));
        for bad in ["", "a:b", "a:0", "a?x", "a,,b", "http://a"] {
            assert!(bad.parse::<StunSetting>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn public_servers_are_asked_only_where_there_are_no_others_and_nobody_said_none() {
        let of = |named: &[&str], set: Option<&str>| {
            let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
            let set = set.map(|set| set.parse().unwrap());
            written(&chosen(&named, set.as_ref()))
        };
        assert_eq!(of(&[], None).len(), PUBLIC.len());
        assert_eq!(of(&[], Some("none")), [""; 0]);
        assert_eq!(of(&["own:1"], None), ["own 1"]);
        assert_eq!(of(&["own:1"], Some("none")), ["own 1"]);
        assert_eq!(of(&["own:1", "no name"], Some("set:2")), ["own 1", "set 2"]);
        assert_eq!(of(&[], Some("set:2")), ["set 2"]);
    }

    #[tokio::test]
    async fn what_is_no_longer_wished_is_no_longer_current() {
        let (sender, mut happened) = mpsc::channel(8);
        let mut resolver = Resolver::new("192.0.2.1:3479".parse().ok(), sender);
        let network = |port| Network {
            port,
            ..Network::default()
        };
        resolver.moved(&network(1));
        assert!(!resolver.is_current(resolver.turn));
        resolver.wish(Some(vec!["[2001:db8::1]:3478".to_owned()]));
        let Some(Happening::StunServers(turn, found)) = happened.recv().await else {
            panic!("no servers");
        };
        let wanted: Vec<SocketAddr> = ["[2001:db8::1]:3478", "192.0.2.1:3479"]
            .map(|at| at.parse().unwrap())
            .into();
        assert_eq!(found, wanted);
        resolver.moved(&network(1));
        assert!(resolver.is_current(turn));
        resolver.moved(&network(2));
        assert!(!resolver.is_current(turn));
        resolver.wish(None);
        assert!(!resolver.is_current(turn + 1));
    }
}
