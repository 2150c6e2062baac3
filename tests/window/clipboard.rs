//! What the desktop's clipboard holds.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::PATIENCE;

/// How often is looked.
const EVERY: Duration = Duration::from_millis(50);

/// The clipboard's text, asked for as another program would.
pub(crate) fn text() -> Result<String> {
    let output = Command::new("timeout")
        .args(["5", "xclip", "-selection", "clipboard", "-o"])
        .output()?;
    ensure!(
        output.status.success(),
        "xclip: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Waits until the clipboard holds `wanted`.
pub(crate) async fn becomes(wanted: &str, felt: Duration) -> Result<()> {
    let started = Instant::now();
    loop {
        // Nobody may own it yet.
        let holds = text().unwrap_or_default();
        if holds == wanted {
            return Ok(());
        }
        ensure!(
            started.elapsed() < felt * PATIENCE,
            "the clipboard never came to {wanted:?}, it holds {holds:?}"
        );
        tokio::time::sleep(EVERY).await;
    }
}

/// Another program in which something was copied. The clipboard is empty again when this is dropped.
pub(crate) struct Owner(Child);

impl Owner {
    /// Copies `text` and waits until it is there.
    pub(crate) fn holding(wanted: &str) -> Result<Self> {
        let mut xclip = Command::new("xclip")
            .args(["-quiet", "-selection", "clipboard", "-i"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        xclip
            .stdin
            .take()
            .context("no input")?
            .write_all(wanted.as_bytes())?;
        let owner = Self(xclip);
        let started = Instant::now();
        while text().unwrap_or_default() != wanted {
            ensure!(started.elapsed() < Duration::from_secs(5), "xclip holds nothing");
            std::thread::sleep(EVERY);
        }
        Ok(owner)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // Fails only for a child that has ended, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
