//! What the desktop's clipboard holds.

use std::process::Command;

use anyhow::{Result, ensure};

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
