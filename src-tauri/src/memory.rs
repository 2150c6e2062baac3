//! What the app remembers for its user: how it is set, and the parties they were in.
//!
//! Two files of the user's own, replaced atomically. The engine knows nothing of them: a party ID is the key to a party,
//! and these are this user's keys.

use crate::app::{AppSettings, RecentParty};
use lanrage_platform::files::{self, FileError, PRIVATE};
use lanrage_proto::{Fault, FaultCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use tokio::sync::watch;

/// How the app is set.
const SETTINGS: &str = "app.json";
/// The parties.
const RECENT: &str = "recent.json";
/// What is set aside has this behind its name.
const DAMAGED: &str = "damaged";
/// Either file is a few KiB.
const LIMIT: u64 = 64 * 1024;
/// Parties that are remembered. A menu with more is no quick way to anything.
const PARTIES: usize = 8;

/// A party that this user was in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recent {
    /// Its ID.
    id: String,
    /// The ID with where to find the party, as it was last.
    invite: Option<String>,
    /// What it is called.
    name: String,
    /// When it was entered last, seconds since 1970.
    used: u64,
}

impl Recent {
    /// What names it to the page and the tray, to which the ID itself is no use.
    fn key(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.id.hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }
}

/// All that is remembered.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Kept {
    /// How the app is set.
    pub(crate) settings: AppSettings,
    /// The parties, the one entered last first.
    recent: Vec<Recent>,
    /// A file that could not be read at the start and was set aside, or could not be written.
    pub(crate) trouble: Option<Fault>,
}

impl Kept {
    /// The parties as page and tray show them.
    pub(crate) fn recent(&self) -> Vec<RecentParty> {
        let shown = |party: &Recent| RecentParty {
            key: party.key(),
            name: party.name.clone(),
            used: party.used,
        };
        self.recent.iter().map(shown).collect()
    }
}

/// The memory, and where it is kept.
#[derive(Debug)]
pub(crate) struct Memory {
    /// None where the user has no home: then nothing outlives the app.
    settings: Option<PathBuf>,
    recent: Option<PathBuf>,
    kept: watch::Sender<Kept>,
}

impl Memory {
    /// What was remembered in these folders. A file that can't be read is set aside and named.
    pub(crate) fn open(config: Option<PathBuf>, data: Option<PathBuf>) -> Self {
        let settings = config.map(|folder| folder.join(SETTINGS));
        let recent = data.map(|folder| folder.join(RECENT));
        let mut kept = Kept::default();
        match read(settings.as_deref()) {
            Ok(read) => kept.settings = read,
            Err(fault) => kept.trouble = Some(fault),
        }
        match read(recent.as_deref()) {
            Ok(read) => kept.recent = read,
            Err(fault) => kept.trouble = Some(fault),
        }
        kept.recent.truncate(PARTIES);
        Self {
            settings,
            recent,
            kept: watch::Sender::new(kept),
        }
    }

    /// What is remembered now.
    pub(crate) fn kept(&self) -> Kept {
        self.kept.borrow().clone()
    }

    /// Every change of it from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<Kept> {
        self.kept.subscribe()
    }

    /// Has everything drawn anew that rests on the memory: something beside it changed.
    pub(crate) fn nudge(&self) {
        self.kept.send_modify(|_| {});
    }

    /// Sets the app.
    ///
    /// # Errors
    /// `not_saved`; it is set so until the app ends nonetheless.
    pub(crate) fn set(&self, settings: AppSettings) -> Result<(), Fault> {
        if self.kept.borrow().settings == settings {
            return Ok(());
        }
        let written = write(self.settings.as_deref(), &settings);
        self.kept.send_modify(|kept| {
            kept.settings = settings;
            kept.trouble = None;
        });
        written
    }

    /// The player's name as typed last, to be offered and used again.
    pub(crate) fn called(&self, player: &str) {
        let mut settings = self.kept.borrow().settings.clone();
        settings.player = Some(player.to_owned());
        if let Err(fault) = self.set(settings) {
            tracing::warn!(details = ?fault.details, "the player's name is not remembered");
        }
    }

    /// A party is being played in.
    pub(crate) fn entered(&self, id: &str, invite: Option<&str>, name: &str, now: u64) {
        let party = Recent {
            id: id.to_owned(),
            invite: invite.map(str::to_owned),
            name: name.to_owned(),
            used: now,
        };
        self.change(|recent| {
            recent.retain(|known| known.id != party.id);
            recent.insert(0, party);
            recent.truncate(PARTIES);
        });
    }

    /// Forgets a party: it has ended.
    pub(crate) fn ended(&self, id: &str) {
        self.change(|recent| recent.retain(|known| known.id != id));
    }

    /// Forgets a party: its user wants so.
    pub(crate) fn forget(&self, key: &str) {
        self.change(|recent| recent.retain(|known| known.key() != key));
    }

    /// What to join this party by: its ID and its invite.
    pub(crate) fn invite(&self, key: &str) -> Option<(String, String)> {
        let kept = self.kept.borrow();
        let party = kept.recent.iter().find(|known| known.key() == key)?;
        let invite = party.invite.clone().unwrap_or_else(|| party.id.clone());
        Some((party.id.clone(), invite))
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Recent>)) {
        let mut recent = self.kept.borrow().recent.clone();
        change(&mut recent);
        if self.kept.borrow().recent == recent {
            return;
        }
        if let Err(fault) = write(self.recent.as_deref(), &recent) {
            tracing::warn!(details = ?fault.details, "the parties are not remembered");
        }
        self.kept.send_modify(|kept| kept.recent = recent);
    }
}

fn read<T: DeserializeOwned + Default>(path: Option<&Path>) -> Result<T, Fault> {
    let Some(path) = path else {
        return Ok(T::default());
    };
    let reason = match files::read_private(path, LIMIT) {
        Ok(None) => return Ok(T::default()),
        Ok(Some(bytes)) => match serde_json::from_slice(&bytes) {
            Ok(read) => return Ok(read),
            // The text could hold a party ID; where it broke tells enough.
            Err(error) => format!("line {}, column {}", error.line(), error.column()),
        },
        Err(FileError::Io { source, .. }) => source.to_string(),
        Err(error) => error.to_string(),
    };
    let mut aside = path.as_os_str().to_owned();
    aside.push(".");
    aside.push(DAMAGED);
    if let Err(error) = std::fs::rename(path, &aside) {
        tracing::warn!(%error, "a file that can't be read stays where it is");
    }
    tracing::error!(path = %path.display(), reason, "a file can't be read and was set aside");
    Err(Fault::new(FaultCode::AppFileDamaged)
        .with("path", path.display())
        .with("aside", PathBuf::from(aside).display())
        .with("reason", reason))
}

fn write<T: Serialize>(path: Option<&Path>, value: &T) -> Result<(), Fault> {
    let Some(path) = path else { return Ok(()) };
    let failed = |reason: &dyn std::fmt::Display| {
        Fault::new(FaultCode::NotSaved)
            .with("path", path.display())
            .with("reason", reason)
    };
    if let Some(folder) = path.parent() {
        files::create_private_dir(folder).map_err(|error| failed(&error))?;
    }
    let bytes = serde_json::to_vec_pretty(value).map_err(|error| failed(&error))?;
    files::write_atomically(path, &bytes, PRIVATE).map_err(|error| match error {
        FileError::Io { source, .. } => failed(&source),
        error => failed(&error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Theme;
    use tempfile::TempDir;

    fn memory(place: &TempDir) -> Memory {
        let folder = |name: &str| Some(place.path().join(name));
        Memory::open(folder("config"), folder("data"))
    }

    fn names(memory: &Memory) -> Vec<String> {
        let recent = memory.kept().recent();
        recent.into_iter().map(|party| party.name).collect()
    }

    #[test]
    fn what_is_set_and_who_was_played_with_outlive_the_app() {
        let place = tempfile::tempdir().unwrap();
        let first = memory(&place);
        assert_eq!(first.kept(), Kept::default());
        let settings = AppSettings {
            theme: Theme::Dark,
            ..AppSettings::default()
        };
        first.set(settings.clone()).unwrap();
        first.called("Anna");
        first.entered("A", None, "Friday", 1);
        first.entered("B", Some("lanrage://join/B?via=10.0.0.1:1"), "Sunday", 2);
        drop(first);

        let again = memory(&place);
        assert_eq!(again.kept().trouble, None);
        assert_eq!(again.kept().settings.theme, Theme::Dark);
        assert_eq!(again.kept().settings.player.as_deref(), Some("Anna"));
        assert_eq!(names(&again), ["Sunday", "Friday"]);
        let recent = again.kept().recent();
        assert!(!recent[0].key.contains('B'));
        assert_eq!(
            again.invite(&recent[0].key).unwrap().1,
            "lanrage://join/B?via=10.0.0.1:1"
        );
        assert_eq!(again.invite(&recent[1].key).unwrap().1, "A");
        again.forget(&recent[0].key);
        again.ended("A");
        assert_eq!(names(&memory(&place)), [""; 0]);
    }

    #[test]
    fn the_list_is_short_and_the_last_party_is_on_top() {
        let place = tempfile::tempdir().unwrap();
        let memory = memory(&place);
        for number in 0..20 {
            memory.entered(&number.to_string(), None, &number.to_string(), number);
        }
        memory.entered("15", None, "fifteen", 99);
        assert_eq!(names(&memory).len(), PARTIES);
        assert_eq!(names(&memory)[..3], ["fifteen", "19", "18"]);
    }

    #[test]
    fn a_file_that_can_not_be_read_is_named_and_set_aside() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("config").join(SETTINGS);
        std::fs::create_dir(place.path().join("config")).unwrap();
        std::fs::write(&path, "{ \"theme\": \"dark\"").unwrap();
        let first = memory(&place);
        let fault = first.kept().trouble.unwrap();
        assert_eq!(fault.code, FaultCode::AppFileDamaged);
        assert_eq!(fault.details["path"], path.display().to_string());
        assert_eq!(
            std::fs::read_to_string(&fault.details["aside"]).unwrap(),
            "{ \"theme\": \"dark\""
        );
        // It is told once; what is set from here on is kept.
        first.called("Anna");
        assert_eq!(first.kept().trouble, None);
        assert_eq!(memory(&place).kept().settings.player.as_deref(), Some("Anna"));
    }

    #[cfg(unix)]
    #[test]
    fn the_keys_to_parties_are_their_users_alone() {
        use std::os::unix::fs::PermissionsExt;
        let place = tempfile::tempdir().unwrap();
        memory(&place).entered("A", None, "Friday", 1);
        let path = place.path().join("data").join(RECENT);
        assert_eq!(
            std::fs::metadata(path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn what_can_not_be_written_is_said_and_holds_until_the_end() {
        let place = tempfile::tempdir().unwrap();
        // A file where the folder should be.
        std::fs::write(place.path().join("config"), "x").unwrap();
        let memory = memory(&place);
        let settings = AppSettings {
            leave_on_quit: true,
            ..AppSettings::default()
        };
        let fault = memory.set(settings).unwrap_err();
        assert_eq!(fault.code, FaultCode::NotSaved);
        assert!(memory.kept().settings.leave_on_quit);
    }
}
