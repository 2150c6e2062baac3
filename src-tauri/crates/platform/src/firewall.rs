//! Letting in what friends send, where a firewall of the system's own would ask or refuse: on Windows alone. Linux has
//! none that is everybody's, macOS asks for each program.
//!
//! Windows keeps rules across restarts, so whoever adds one has to remember to withdraw it.

use std::io;

/// Whether the system has a firewall that keeps friends out of games.
pub const IN_THE_WAY: bool = cfg!(windows);

/// Adds the rule of this name, which lets in whatever comes by the interface named and by no other, and takes the network
/// on it for one at home, without which Windows lets in less. May take seconds.
///
/// # Errors
/// What the system says; `Unsupported` except on Windows.
pub fn allow(rule: &str, interface: &str) -> io::Result<()> {
    let (rule, interface) = (quoted(rule), quoted(interface));
    script(&format!(
        "New-NetFirewallRule -Name {rule} -DisplayName {rule} -Direction Inbound -Action Allow -InterfaceAlias \
         {interface} -Profile Any | Out-Null; Set-NetConnectionProfile -InterfaceAlias {interface} -NetworkCategory \
         Private"
    ))
}

/// Withdraws the rule of this name; that there is none is as good.
///
/// # Errors
/// As [`allow`].
pub fn withdraw(rule: &str) -> io::Result<()> {
    let rule = quoted(rule);
    script(&format!(
        "Get-NetFirewallRule -Name {rule} -ErrorAction SilentlyContinue | Remove-NetFirewallRule"
    ))
}

/// As PowerShell takes a word literally.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "''"))
}

/// Runs it by the system's own PowerShell, found by its whole path: another of that name may lie anywhere.
#[cfg(windows)]
fn script(script: &str) -> io::Result<()> {
    use std::os::windows::process::CommandExt;
    use std::process::{Command, Stdio};
    /// CREATE_NO_WINDOW (winbase.h).
    const NO_WINDOW: u32 = 0x0800_0000;
    let root = std::env::var_os("SystemRoot").unwrap_or_else(|| r"C:\Windows".into());
    let program = std::path::Path::new(&root).join(r"System32\WindowsPowerShell\v1.0\powershell.exe");
    let script = format!("$ErrorActionPreference = 'Stop'; {script}");
    let output = Command::new(program)
        .args(["-NoProfile", "-NonInteractive", "-Command", &script])
        .stdin(Stdio::null())
        .creation_flags(NO_WINDOW)
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(said))
}

#[cfg(not(windows))]
fn script(_script: &str) -> io::Result<()> {
    Err(crate::Unsupported {
        operation: "changing the firewall",
    }
    .into())
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_quote_in_a_name_ends_no_word() {
        assert_eq!(quoted("LANrage o'clock"), "'LANrage o''clock'");
    }

    #[cfg(not(windows))]
    #[test]
    fn elsewhere_there_is_none() {
        let error = super::withdraw("LANrage").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
    }
}
