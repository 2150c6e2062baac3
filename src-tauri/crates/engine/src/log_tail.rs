//! The last of the log in memory, for callers who ask for it: bounded, and without what is nobody else's business.
//!
//! It begins with the end of the last run's file, as what went wrong is often why the engine was started again.

use lanrage_proto::redact::Redactor;
use lanrage_proto::settings::LogPage;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that are kept.
const LINES: usize = 2000;
/// And their bytes.
const BYTES: usize = 512 * 1024;
/// Of a longer line the rest is left out, bytes.
const LINE: usize = 2048;
/// Of the last run's file, bytes.
const BEFORE: u64 = 64 * 1024;
/// Lines in one answer.
const PAGE: usize = 500;
/// Their bytes: as JSON at most six times as much, which fits a frame.
const PAGE_BYTES: usize = 128 * 1024;

/// The last lines; all clones are one.
#[derive(Clone, Default)]
pub(crate) struct LogTail(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    lines: VecDeque<String>,
    bytes: usize,
    /// The number of the next line.
    next: u64,
    redactor: Redactor,
}

impl LogTail {
    /// One that begins with the end of the newest file in this directory, if there is any.
    pub(crate) fn after(directory: &Path) -> Self {
        let log_tail = Self::default();
        if let Some(path) = newest(directory)
            && let Ok(text) = end_of(&path)
        {
            log_tail.kept().add(&text);
        }
        log_tail
    }

    /// The lines from number `from` on, as many as fit.
    pub(crate) fn page(&self, from: u64) -> LogPage {
        let kept = &mut *self.kept();
        let first = kept.next.saturating_sub(kept.lines.len() as u64);
        // From after the end: another run of the engine counted so.
        let from = if from > kept.next { first } else { from.max(first) };
        let skipped = usize::try_from(from - first).unwrap_or(usize::MAX);
        let (mut lines, mut bytes) = (Vec::new(), 0);
        for line in kept.lines.iter().skip(skipped).take(PAGE) {
            let line = kept.redactor.text(line);
            bytes += line.len();
            if bytes > PAGE_BYTES {
                break;
            }
            lines.push(line);
        }
        let next = from + lines.len() as u64;
        LogPage {
            lines,
            next,
            more: next < kept.next,
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn add(&mut self, text: &str) {
        for line in text.lines() {
            let end = line.floor_char_boundary(LINE);
            let line = line[..end].to_owned();
            self.bytes += line.len();
            self.lines.push_back(line);
            self.next += 1;
        }
        while self.lines.len() > LINES || self.bytes > BYTES {
            let Some(gone) = self.lines.pop_front() else {
                return;
            };
            self.bytes -= gone.len();
        }
    }
}

impl Write for LogTail {
    /// Takes whole events, as tracing's formatter hands them over.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.kept().add(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for LogTail {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// The log file written last: their names end in their dates.
fn newest(directory: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(directory).ok()?;
    let logs = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.max()
}

fn end_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(BEFORE);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(BEFORE).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // A line that was cut in two says nothing.
    let whole = if start == 0 {
        0
    } else {
        text.find('\n').map_or(text.len(), |end| end + 1)
    };
    Ok(text[whole..].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(log_tail: &LogTail, text: &str) {
        log_tail.make_writer().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn who_asks_again_gets_what_is_new() {
        let log_tail = LogTail::default();
        write(&log_tail, "one\n");
        write(&log_tail, "two\n");
        let page = log_tail.page(0);
        assert_eq!(
            (page.lines.as_slice(), page.next),
            (&["one".into(), "two".into()][..], 2)
        );
        assert_eq!(log_tail.page(2).lines, [""; 0]);
        write(&log_tail, "three\n");
        assert_eq!(log_tail.page(2).lines, ["three"]);
        // Numbers of a run before.
        assert_eq!(log_tail.page(99).next, 3);
    }

    #[test]
    fn it_is_bounded_and_so_is_a_page() {
        let log_tail = LogTail::default();
        let line = format!("{}\n", "x".repeat(5000));
        for _ in 0..3000 {
            write(&log_tail, &line);
        }
        assert!(log_tail.kept().bytes <= BYTES && log_tail.kept().lines.len() <= LINES);
        let (mut from, mut seen) = (0, 0);
        loop {
            let page = log_tail.page(from);
            assert!(page.lines.iter().map(String::len).sum::<usize>() <= PAGE_BYTES);
            seen += page.lines.len();
            from = page.next;
            if !page.more {
                break;
            }
        }
        assert_eq!((from, seen), (3000, log_tail.kept().lines.len()));
    }

    #[test]
    fn public_addresses_are_not_told() {
        let log_tail = LogTail::default();
        write(&log_tail, "a packet from 203.0.113.7:9 by 10.66.0.2\n");
        assert_eq!(
            log_tail.page(0).lines,
            ["a packet from [address 1]:9 by 10.66.0.2"]
        );
    }

    #[test]
    fn it_begins_with_the_end_of_the_last_runs_file() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("engine.2026-01-01.log"), "old\n").unwrap();
        let long = "y".repeat(70_000);
        std::fs::write(
            place.path().join("engine.2026-01-02.log"),
            format!("{long}\nthe end\n"),
        )
        .unwrap();
        assert_eq!(LogTail::after(place.path()).page(0).lines, ["the end"]);
        assert_eq!(
            LogTail::after(&place.path().join("none")).page(0),
            LogPage::default()
        );
    }
}
