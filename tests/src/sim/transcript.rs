//! The transcript: what happened, one readable line per event.
//!
//! It names machines, kinds of messages, states and sizes, never contents: WireGuard draws its ephemeral keys from
//! the operating system, so ciphertext differs between two runs of one seed, and decisions must not.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

/// What a line is about, to leave out what a reader does not care for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// What the scenario does: crashes, cut links, intents.
    Scene,
    /// What a member tells of itself, and the answers to intents.
    Member,
    /// Conditions that come and go.
    Condition,
    /// Frames to and from a control plane.
    Control,
    /// Heartbeats among them, and their answers.
    Heartbeat,
    /// WireGuard handshakes.
    Handshake,
    /// Probes, and every datagram that is not WireGuard's.
    Probe,
    /// WireGuard transport messages.
    Data,
    /// Packets of applications.
    App,
}

impl Kind {
    /// All there are.
    pub const ALL: [Kind; 9] = [
        Kind::Scene,
        Kind::Member,
        Kind::Condition,
        Kind::Control,
        Kind::Heartbeat,
        Kind::Handshake,
        Kind::Probe,
        Kind::Data,
        Kind::App,
    ];
}

/// Lines so far, and which kinds are kept.
pub struct Transcript {
    lines: Vec<String>,
    kept: BTreeSet<Kind>,
}

impl Default for Transcript {
    /// Keeps everything but what comes by the hundred: heartbeats, probes, tunnelled data, application packets.
    fn default() -> Self {
        let noisy = [Kind::Heartbeat, Kind::Probe, Kind::Data, Kind::App];
        let kept = Kind::ALL
            .into_iter()
            .filter(|kind| !noisy.contains(kind))
            .collect();
        Self {
            lines: Vec::new(),
            kept,
        }
    }
}

impl Transcript {
    /// From here on keeps exactly these kinds.
    pub fn keep(&mut self, kinds: &[Kind]) {
        self.kept = kinds.iter().copied().collect();
    }

    /// Whether lines of this kind are kept; spares the making of those that are not.
    pub fn keeps(&self, kind: Kind) -> bool {
        self.kept.contains(&kind)
    }

    /// Adds a line: virtual milliseconds, who, what.
    pub fn line(&mut self, kind: Kind, at: Duration, who: &str, what: std::fmt::Arguments<'_>) {
        if self.keeps(kind) {
            let micros = at.as_micros();
            let (ms, tenth) = (micros / 1000, micros % 1000 / 100);
            self.lines.push(format!("{ms:>8}.{tenth} {who:<7} {what}"));
        }
    }

    /// All of it.
    pub fn text(&self) -> String {
        self.tail(usize::MAX)
    }

    /// The last lines of it.
    pub fn tail(&self, lines: usize) -> String {
        let skipped = self.lines.len().saturating_sub(lines);
        let mut text = String::new();
        if skipped > 0 {
            let _ = writeln!(text, "… {skipped} lines before");
        }
        for line in &self.lines[skipped..] {
            let _ = writeln!(text, "{line}");
        }
        text
    }
}
