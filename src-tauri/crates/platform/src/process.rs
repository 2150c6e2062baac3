//! On whose behalf this process runs, on which computer, and until when.

use std::io;

/// The login name of the person at the keyboard, for a first guess at a player's name: who called `sudo`, else
/// the current user. `None` when the environment doesn't say, or says only `root`.
pub fn current_user_name() -> Option<String> {
    choose(|name| std::env::var(name).ok())
}

fn choose(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    ["SUDO_USER", "USER", "LOGNAME", "USERNAME"]
        .into_iter()
        .filter_map(variable)
        .map(|name| name.trim().to_owned())
        .find(|name| !name.is_empty() && name != "root")
}

/// The computer's name without its domain; `None` when it has none to tell.
pub fn host_name() -> Option<String> {
    #[cfg(unix)]
    let name = rustix::system::uname().nodename().to_str().ok()?.to_owned();
    #[cfg(windows)]
    let name = std::env::var("COMPUTERNAME").ok()?;
    let short = name.split('.').next().unwrap_or_default();
    (!short.is_empty() && short != "localhost").then(|| short.to_owned())
}

/// The word to stop: an interrupt from the terminal, its hang-up, or the system's request to terminate.
/// From its making on, these no longer end the process by themselves (on Windows: not for the few seconds that it
/// grants when a console is closed or the system shuts down).
#[derive(Debug)]
pub struct StopRequest(
    #[cfg(unix)] [tokio::signal::unix::Signal; 3],
    #[cfg(windows)]
    (
        tokio::signal::windows::CtrlC,
        tokio::signal::windows::CtrlBreak,
        tokio::signal::windows::CtrlClose,
        tokio::signal::windows::CtrlShutdown,
    ),
);

impl StopRequest {
    /// Listens from now on. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn listen() -> io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self([
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
                signal(SignalKind::hangup())?,
            ]))
        }
        #[cfg(windows)]
        {
            use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown};
            Ok(Self((ctrl_c()?, ctrl_break()?, ctrl_close()?, ctrl_shutdown()?)))
        }
    }

    /// Waits for it. Safe to cancel.
    pub async fn received(&mut self) {
        #[cfg(unix)]
        {
            let [terminate, interrupt, hang_up] = &mut self.0;
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hang_up.recv() => {}
            }
        }
        #[cfg(windows)]
        {
            let (interrupt, break_key, close, shutdown) = &mut self.0;
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = break_key.recv() => {}
                _ = close.recv() => {}
                _ = shutdown.recv() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_of_sudo_is_preferred_and_root_is_nobody() {
        let with = |pairs: &'static [(&str, &str)]| {
            choose(move |name| {
                pairs
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(
            with(&[("USER", "root"), ("SUDO_USER", "anna")]).as_deref(),
            Some("anna")
        );
        assert_eq!(with(&[("USER", "tom ")]).as_deref(), Some("tom"));
        assert_eq!(with(&[("USER", "root"), ("LOGNAME", " ")]), None);
        assert_eq!(with(&[]), None);
    }
}
