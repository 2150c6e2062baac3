//! What a player sends to who helps them: one archive of what the engine knows, without what is nobody else's business.
//!
//! The engine hands over texts and opens nothing; the archive is made and written here, with the user's own rights.

use crate::controller::Controller;
use crate::dial::Dial;
use crate::view::EngineView;
use lanrage_platform::{dirs, files};
use lanrage_proto::redact::Redactor;
use lanrage_proto::{Fault, FaultCode};
use serde::Serialize;
use serde_json::{Value, json};
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// The archive's name without its number and its ending.
const NAME: &str = "lanrage-diagnostics";
/// More archives than anybody keeps.
const NUMBERS: u32 = 1000;
/// Pieces of the log: what the engine keeps fits into fewer.
const PAGES: usize = 64;

/// For who opens the archive.
const ABOUT: &str = "\
LANrage's diagnostics.

status.json    the engine and its party as the window showed them
doctor.json    what stands between this computer and the internet, and the ways to each friend
settings.json  how the engine is set
engine.log     the last lines of the engine's log

Party IDs, invites, passwords, public addresses and names are not in here: [address 1] is the same address wherever it
stands in one file, and likewise for names.
";

/// What goes into the archive.
#[derive(Debug, Default)]
struct Contents {
    files: Vec<(&'static str, String)>,
    redactor: Redactor,
}

impl Contents {
    fn text(&mut self, name: &'static str, text: String) {
        self.files.push((name, text));
    }

    fn json(&mut self, name: &'static str, value: impl Serialize) -> Result<(), Fault> {
        let mut value = serde_json::to_value(value).map_err(internal)?;
        self.redactor.json(&mut value);
        let text = serde_json::to_string_pretty(&value).map_err(internal)?;
        self.text(name, text);
        Ok(())
    }

    fn zipped(&self) -> Result<Vec<u8>, Fault> {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, text) in &self.files {
            zip.start_file(*name, options).map_err(internal)?;
            zip.write_all(text.as_bytes()).map_err(internal)?;
        }
        Ok(zip.finish().map_err(internal)?.into_inner())
    }
}

/// Asks the engine for all of it and writes the archive where the user finds it. Without an engine, or with one that
/// refuses, the archive says so. Returns where it is.
///
/// # Errors
/// `not_saved`.
pub(crate) async fn export<D: Dial>(engine: &Controller<D>) -> Result<PathBuf, Fault> {
    let contents = gather(engine).await?;
    let folder = dirs::user_download_dir().ok_or_else(|| {
        Fault::new(FaultCode::NotSaved)
            .with("path", NAME)
            .with("reason", "there is no home directory")
    })?;
    save(&folder, &contents.zipped()?)
}

async fn gather<D: Dial>(engine: &Controller<D>) -> Result<Contents, Fault> {
    let mut contents = Contents::default();
    contents.text("about.txt", ABOUT.to_owned());
    match engine.view() {
        EngineView::Here { status } => contents.json("status.json", status)?,
        view => contents.json("status.json", view)?,
    }
    contents.json("doctor.json", answer(engine.doctor().await))?;
    contents.json("settings.json", answer(engine.settings().await))?;
    let mut log = String::new();
    let mut from = 0;
    for _ in 0..PAGES {
        match engine.log(from).await {
            Ok(page) => {
                for line in &page.lines {
                    log += line;
                    log.push('\n');
                }
                from = page.next;
                if !page.more {
                    break;
                }
            }
            Err(fault) => {
                log += &format!("The engine did not hand its log over: {}\n", fault.code);
                break;
            }
        }
    }
    contents.text("engine.log", log);
    Ok(contents)
}

fn answer(result: Result<impl Serialize, Fault>) -> Value {
    match result {
        Ok(answer) => json!(answer),
        Err(fault) => json!({ "fault": fault }),
    }
}

/// Writes it under the first name that is free.
fn save(folder: &Path, archive: &[u8]) -> Result<PathBuf, Fault> {
    let names = (1..NUMBERS).map(|number| match number {
        1 => folder.join(format!("{NAME}.zip")),
        number => folder.join(format!("{NAME}-{number}.zip")),
    });
    let mut last = folder.join(NAME);
    for path in names {
        if !path.exists() {
            files::write_atomically(&path, archive, files::PRIVATE).map_err(|error| {
                let reason =
                    std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
                Fault::new(FaultCode::NotSaved)
                    .with("path", path.display())
                    .with("reason", reason)
            })?;
            return Ok(path);
        }
        last = path;
    }
    Err(Fault::new(FaultCode::NotSaved)
        .with("path", last.display())
        .with("reason", "there are too many already"))
}

fn internal(error: impl std::fmt::Display) -> Fault {
    Fault::new(FaultCode::Internal).with("reason", error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use zip::ZipArchive;

    #[test]
    fn an_archive_holds_its_files_without_names_and_addresses() {
        let mut contents = Contents::default();
        contents.text("engine.log", "a line\n".to_owned());
        let status = json!({
            "party": { "name": "Friday", "id": "K7QF", "members": [{ "name": "Anna" }] },
            "nat": { "mapped": "203.0.113.7:51820" },
        });
        contents.json("status.json", status).unwrap();
        let mut zip = ZipArchive::new(Cursor::new(contents.zipped().unwrap())).unwrap();
        let mut read = |name: &str| {
            let mut text = String::new();
            zip.by_name(name).unwrap().read_to_string(&mut text).unwrap();
            text
        };
        assert_eq!(read("engine.log"), "a line\n");
        let status = read("status.json");
        for gone in ["Friday", "K7QF", "Anna", "203.0.113.7"] {
            assert!(!status.contains(gone), "{gone} in {status}");
        }
        assert!(status.contains(":51820"));
    }

    #[test]
    fn no_archive_replaces_another() {
        let place = tempfile::tempdir().unwrap();
        let first = save(place.path(), b"one").unwrap();
        let second = save(place.path(), b"two").unwrap();
        assert!(first.ends_with("lanrage-diagnostics.zip") && second.ends_with("lanrage-diagnostics-2.zip"));
        assert_eq!(std::fs::read(first).unwrap(), b"one");
        let fault = save(&place.path().join("nowhere"), b"three").unwrap_err();
        assert_eq!(fault.code, FaultCode::NotSaved);
        assert!(fault.details["path"].contains("nowhere"), "{fault:?}");
    }

    #[tokio::test]
    async fn without_an_engine_the_archive_says_so() {
        let place = tempfile::tempdir().unwrap();
        let dial = crate::dial::SocketDial::new(Some(place.path().join("none")));
        let (engine, _) = Controller::new(dial);
        let contents = gather(&engine).await.unwrap();
        let names: Vec<&str> = contents.files.iter().map(|(name, _)| *name).collect();
        assert_eq!(
            names,
            [
                "about.txt",
                "status.json",
                "doctor.json",
                "settings.json",
                "engine.log"
            ]
        );
        assert!(contents.files[2].1.contains("engine_not_running"));
    }
}
