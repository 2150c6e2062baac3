//! The state directory: what the engine remembers across restarts.
//!
//! | file | holds |
//! |---|---|
//! | `device.seed` | the 32 bytes all keys follow from, and 8 bytes of their blake3 |
//! | `boot` | how often the engine was started on that seed |
//! | `ports.json` | the ports used last |
//! | `settings.json` | what callers changed of the settings |
//! | `intent.json` | the party to go on with, and whose it is |
//! | `leases.json` | ports that the router in front leads here |
//! | `changes.json` | what is different in the system while a party lasts |
//! | `control.json` | the embedded control plane's memory, while this engine hosts |
//!
//! All of them are readable for the engine's user alone and replaced atomically. One engine has the directory.

use crate::journal::Entry;
use crate::mapper::Lease;
use crate::spare::fault_of;
use lanrage_core::io::Saved;
use lanrage_platform::files::{self, FileError, PRIVATE};
use lanrage_platform::lock::{LockError, StateLock};
use lanrage_proto::settings::SettingChange;
use lanrage_proto::{Fault, FaultCode};
use rand_core::{OsRng, RngCore};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

const SEED: &str = "device.seed";
const BOOT: &str = "boot";
const PORTS: &str = "ports.json";
const CHANGES: &str = "settings.json";
const CHANGES_DAMAGED: &str = "settings.json.damaged";
const INTENT: &str = "intent.json";
const LEASES: &str = "leases.json";
const JOURNAL: &str = "changes.json";
const DAMAGED: &str = "intent.json.damaged";
const CONTROL: &str = "control.json";

const SEED_BYTES: usize = 32;
const SUM_BYTES: usize = 8;

/// A handful of settings, the longest of which are lists of eight names.
const CHANGES_LIMIT: u64 = 64 * 1024;
/// A handful of changes of the system.
const JOURNAL_LIMIT: u64 = 64 * 1024;
/// An intent with the pins of 250 members is some 80 KiB.
const INTENT_LIMIT: u64 = 1024 * 1024;
/// A registry of one party with 250 records of 700 bytes, as JSON, is under 1 MiB.
const CONTROL_LIMIT: u64 = 16 * 1024 * 1024;

/// The directory, for as long as this engine has it.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: StateLock,
}

/// The ports used last; 0 where there was none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ports {
    /// Of the primary UDP sockets.
    pub udp: u16,
    /// Of the embedded control plane.
    pub control: u16,
}

/// The party to go on with.
#[derive(Clone, Serialize, Deserialize)]
pub struct Intent {
    /// The user who created or joined it; none on systems without user numbers.
    pub owner: Option<u32>,
    /// The party.
    pub saved: Saved,
}

impl StateDir {
    /// Takes the directory: creates it if missing, locks it, removes what a crash left.
    ///
    /// # Errors
    /// `engine_running` while another engine has it, else `state_unusable`.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let lock = StateLock::acquire(path).map_err(|error| match error {
            LockError::Held { path, .. } => Fault::new(FaultCode::EngineRunning).with("path", path.display()),
            LockError::Io { source, .. } => unusable(path, &source),
        })?;
        Ok(Self {
            path: path.to_path_buf(),
            _lock: lock,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The device seed, made now if there was none. A damaged one is never replaced: the member's identities
    /// in all parties would silently become others.
    ///
    /// # Errors
    /// `seed_damaged`, `state_unusable`.
    pub fn seed(&self) -> Result<Zeroizing<[u8; SEED_BYTES]>, Fault> {
        let path = self.path.join(SEED);
        let damaged = || Fault::new(FaultCode::SeedDamaged).with("path", path.display());
        let stored = match files::read_private(&path, (SEED_BYTES + SUM_BYTES) as u64) {
            Ok(stored) => stored.map(Zeroizing::new),
            Err(FileError::TooLarge { .. }) => return Err(damaged()),
            Err(error) => return Err(unusable(&self.path, &error)),
        };
        let mut seed = Zeroizing::new([0; SEED_BYTES]);
        if let Some(stored) = stored {
            let (bytes, sum) = stored.split_at_checked(SEED_BYTES).ok_or_else(damaged)?;
            if sum != checksum(bytes) {
                return Err(damaged());
            }
            seed.copy_from_slice(bytes);
        } else {
            OsRng.fill_bytes(seed.as_mut_slice());
            let mut bytes = Zeroizing::new(seed.to_vec());
            bytes.extend(checksum(seed.as_slice()));
            self.write(SEED, &bytes)?;
            tracing::info!("a new device seed was made");
        }
        Ok(seed)
    }

    /// How many times the engine was started on this seed, this time included: on disk before it is told.
    /// Peers refuse what comes with a lower number than before, so where the count is lost it goes on from
    /// the seconds since 1970, which no count of starts has reached.
    ///
    /// # Errors
    /// `state_unusable`.
    pub fn next_boot(&self) -> Result<u32, Fault> {
        let new_seed = !self.path.join(SEED).exists();
        let stored = files::read_private(&self.path.join(BOOT), 16).unwrap_or_else(|error| {
            tracing::warn!(%error, "the count of starts can't be read");
            Some(Vec::new())
        });
        let boot = match stored {
            None if new_seed => 1,
            stored => match stored.as_deref().and_then(number) {
                Some(count) => count.saturating_add(1),
                None => {
                    tracing::warn!("the count of starts is lost; it goes on from the clock");
                    u32::try_from(seconds_since_1970()).unwrap_or(u32::MAX)
                }
            },
        };
        self.write(BOOT, format!("{boot}\n").as_bytes())?;
        Ok(boot)
    }

    /// The ports used last. What can't be read is forgotten: any port will do.
    pub fn ports(&self) -> Ports {
        let stored = files::read_private(&self.path.join(PORTS), 4096).ok().flatten();
        stored
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    /// Remembers the ports in use, where they changed. Failing that costs a different port at the next start.
    pub fn remember_ports(&self, ports: Ports) {
        if ports != self.ports()
            && let Ok(bytes) = serde_json::to_vec(&ports)
            && let Err(fault) = self.write(PORTS, &bytes)
        {
            tracing::warn!(?fault, "the ports in use are not remembered");
        }
    }

    /// What the router in front granted. What can't be read is forgotten: leases end by themselves.
    pub(crate) fn leases(&self) -> Vec<Lease> {
        let stored = files::read_private(&self.path.join(LEASES), 4096).ok().flatten();
        stored
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    /// Remembers what the router in front granted, where it changed. Failing that costs an open port after a crash.
    pub(crate) fn save_leases(&self, leases: &[Lease]) {
        if leases == self.leases() {
            return;
        }
        let saved = match serde_json::to_vec(leases) {
            Ok(_) if leases.is_empty() => self.remove(LEASES),
            Ok(bytes) => self.write(LEASES, &bytes),
            Err(error) => Err(unusable(&self.path, &error)),
        };
        if let Err(fault) = saved {
            tracing::warn!(?fault, "the ports that the router opened are not remembered");
        }
    }

    /// What callers changed of the settings. A damaged file is moved aside and named in the log: the party matters more.
    pub(crate) fn changes(&self) -> Vec<SettingChange> {
        let path = self.path.join(CHANGES);
        let reason = match files::read_private(&path, CHANGES_LIMIT) {
            Ok(None) => return Vec::new(),
            Ok(Some(bytes)) => match serde_json::from_slice(&Zeroizing::new(bytes)) {
                Ok(changes) => return changes,
                // The text could hold a password; where it broke tells enough.
                Err(error) => format!("line {}, column {}", error.line(), error.column()),
            },
            Err(error) => error.to_string(),
        };
        let aside = self.path.join(CHANGES_DAMAGED);
        let moved = std::fs::rename(&path, &aside).is_ok();
        tracing::error!(
            reason,
            moved,
            aside = %aside.display(),
            "the changed settings can't be read; the settings file and the command line count alone"
        );
        Vec::new()
    }

    /// Remembers what callers changed of the settings.
    ///
    /// # Errors
    /// `state_unusable`.
    pub(crate) fn save_changes(&self, changes: &[SettingChange]) -> Result<(), Fault> {
        let bytes = serde_json::to_vec(changes).map_err(|error| unusable(&self.path, &error))?;
        self.write(CHANGES, &Zeroizing::new(bytes))
    }

    /// What an earlier run changed in the system and did not undo. What can't be read is forgotten, and said: what
    /// depends on the adapter went with it.
    pub(crate) fn journal(&self) -> Vec<Entry> {
        let read = files::read_private(&self.path.join(JOURNAL), JOURNAL_LIMIT);
        let Some(bytes) = read.unwrap_or_else(|error| {
            tracing::error!(%error, "what was changed in the system can't be read");
            None
        }) else {
            return Vec::new();
        };
        serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            tracing::error!(%error, "what was changed in the system can't be read");
            Vec::new()
        })
    }

    /// Replaces that list.
    ///
    /// # Errors
    /// `state_unusable`.
    pub(crate) fn save_journal(&self, entries: &[Entry]) -> Result<(), Fault> {
        if entries.is_empty() {
            return self.remove(JOURNAL);
        }
        let bytes = serde_json::to_vec(entries).map_err(|error| unusable(&self.path, &error))?;
        self.write(JOURNAL, &bytes)
    }

    /// The party to go on with. A damaged file is moved aside and named in the log.
    ///
    /// # Errors
    /// `state_unusable` when it can't even be looked at.
    pub fn intent(&self) -> Result<Option<Intent>, Fault> {
        let path = self.path.join(INTENT);
        let reason = match files::read_private(&path, INTENT_LIMIT) {
            Ok(None) => return Ok(None),
            Ok(Some(bytes)) => match serde_json::from_slice(&bytes) {
                Ok(intent) => return Ok(Some(intent)),
                Err(error) => {
                    // The text could hold the party ID; where it broke tells enough.
                    format!("line {}, column {}", error.line(), error.column())
                }
            },
            Err(error @ FileError::TooLarge { .. }) => error.to_string(),
            Err(error) => return Err(unusable(&self.path, &error)),
        };
        let aside = self.path.join(DAMAGED);
        std::fs::rename(&path, &aside).map_err(|error| unusable(&self.path, &error))?;
        tracing::error!(
            reason,
            aside = %aside.display(),
            "the saved party can't be read and was moved aside; join it again"
        );
        Ok(None)
    }

    /// Remembers the party, or that there is none.
    ///
    /// # Errors
    /// `state_unusable`.
    pub fn save_intent(&self, intent: Option<&Intent>) -> Result<(), Fault> {
        match intent {
            Some(intent) => {
                let bytes = serde_json::to_vec(intent).map_err(|error| unusable(&self.path, &error))?;
                self.write(INTENT, &Zeroizing::new(bytes))
            }
            None => self.remove(INTENT),
        }
    }

    /// The embedded control plane's memory, if it has one.
    ///
    /// # Errors
    /// `state_unusable`.
    pub fn control_memory(&self) -> Result<Option<Vec<u8>>, Fault> {
        files::read_private(&self.path.join(CONTROL), CONTROL_LIMIT)
            .map_err(|error| unusable(&self.path, &error))
    }

    /// Replaces the embedded control plane's memory, or removes it.
    ///
    /// # Errors
    /// `state_unusable`.
    pub fn save_control_memory(&self, bytes: Option<&[u8]>) -> Result<(), Fault> {
        match bytes {
            Some(bytes) => self.write(CONTROL, bytes),
            None => self.remove(CONTROL),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Fault> {
        files::write_atomically(&self.path.join(name), bytes, PRIVATE)
            .map_err(|error| unusable(&self.path, &error))
    }

    fn remove(&self, name: &str) -> Result<(), Fault> {
        files::remove(&self.path.join(name)).map_err(|error| unusable(&self.path, &error))
    }
}

/// Seconds since 1970 by the system's clock; 0 where that is set before.
pub fn seconds_since_1970() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn checksum(seed: &[u8]) -> [u8; SUM_BYTES] {
    // Keyed by a context, so that nothing derived from the seed elsewhere can equal it.
    let sum = blake3::derive_key("LANrage 2026-11 device seed checksum", seed);
    let mut short = [0; SUM_BYTES];
    short.copy_from_slice(&sum[..SUM_BYTES]);
    short
}

fn number(bytes: &[u8]) -> Option<u32> {
    std::str::from_utf8(bytes).ok()?.trim().parse().ok()
}

fn unusable(path: &Path, error: &(dyn std::error::Error + 'static)) -> Fault {
    let causes = || std::iter::successors(Some(error), |error| error.source());
    let reason: Vec<String> = causes().map(ToString::to_string).collect();
    let fault = Fault::new(FaultCode::StateUnusable)
        .with("path", path.display())
        .with("reason", reason.join(": "));
    match causes().find_map(|cause| cause.downcast_ref::<io::Error>()) {
        Some(error) => fault_of(error, fault),
        None => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> (tempfile::TempDir, StateDir) {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("state")).unwrap();
        (dir, state)
    }

    #[test]
    fn a_second_engine_is_refused() {
        let (_dir, state) = state();
        assert_eq!(
            StateDir::open(state.path()).unwrap_err().code,
            FaultCode::EngineRunning
        );
    }

    #[test]
    fn the_seed_is_made_once_and_a_damaged_one_stays_as_it_is() {
        let (_dir, state) = state();
        let seed = state.seed().unwrap();
        assert_eq!(state.seed().unwrap(), seed);
        assert_ne!(*seed, [0; SEED_BYTES]);
        let path = state.path().join(SEED);
        let good = std::fs::read(&path).unwrap();
        let mut flipped = good.clone();
        flipped[0] ^= 1;
        for bad in [
            &good[..31],
            &good[..39],
            &flipped,
            &[good.as_slice(), &[0]].concat(),
        ] {
            std::fs::write(&path, bad).unwrap();
            assert_eq!(state.seed().unwrap_err().code, FaultCode::SeedDamaged);
            assert_eq!(std::fs::read(&path).unwrap(), bad);
        }
    }

    #[test]
    fn boots_count_up_and_never_start_over_on_an_old_seed() {
        let (_dir, state) = state();
        assert_eq!(state.next_boot().unwrap(), 1);
        state.seed().unwrap();
        assert_eq!(state.next_boot().unwrap(), 2);
        std::fs::write(state.path().join(BOOT), "nonsense").unwrap();
        let lost = state.next_boot().unwrap();
        assert!(lost > 1_700_000_000);
        assert_eq!(state.next_boot().unwrap(), lost + 1);
        std::fs::remove_file(state.path().join(BOOT)).unwrap();
        assert!(state.next_boot().unwrap() >= lost);
    }

    #[test]
    fn a_damaged_intent_is_moved_aside() {
        let (_dir, state) = state();
        assert!(state.intent().unwrap().is_none());
        std::fs::write(state.path().join(INTENT), "{\"owner\":1,").unwrap();
        assert!(state.intent().unwrap().is_none());
        assert!(!state.path().join(INTENT).exists());
        assert!(state.path().join(DAMAGED).exists());
        state.save_intent(None).unwrap();
    }

    #[test]
    fn ports_are_remembered_and_garbage_is_forgotten() {
        let (_dir, state) = state();
        assert_eq!(state.ports(), Ports::default());
        let ports = Ports {
            udp: 4000,
            control: 4001,
        };
        state.remember_ports(ports);
        assert_eq!(state.ports(), ports);
        std::fs::write(state.path().join(PORTS), "[").unwrap();
        assert_eq!(state.ports(), Ports::default());
    }
}
