//! Who calls over local IPC, and whether they may.

use crate::rights::effective_uid;

/// A client of the local socket, as the system (not the client) tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Their user number; on Windows what stands for it, see [`effective_uid`].
    pub uid: u32,
    /// Their process number, where the system tells it. For logs only: it may have been dealt anew.
    pub pid: Option<u32>,
}

/// Whether the caller may give orders to this engine: root, the engine's own user, a user in `allowed`, and,
/// when the engine runs as root, the person who sits at this computer's screen (on Windows also at a remote one).
pub fn may_use(caller: &Caller, allowed: &[u32]) -> bool {
    decide(caller.uid, effective_uid(), allowed, is_seated)
}

fn decide(uid: u32, own: Option<u32>, allowed: &[u32], is_seated: impl Fn(u32) -> bool) -> bool {
    // An ordinary user's engine is that user's alone, whoever sits at the screen.
    uid == 0 || Some(uid) == own || allowed.contains(&uid) || (own == Some(0) && is_seated(uid))
}

/// Whether that is the user of the first seat's active session, by systemd-logind; nobody is without logind or at a
/// text console where no one is logged in.
#[cfg(target_os = "linux")]
fn is_seated(uid: u32) -> bool {
    std::fs::read_to_string("/run/systemd/seats/seat0").is_ok_and(|seat| active_uid(&seat) == Some(uid))
}

/// Whether that is the user of the console, to whom macOS gives its device.
#[cfg(target_os = "macos")]
fn is_seated(uid: u32) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/dev/console").is_ok_and(|console| console.uid() == uid)
}

/// Whether that is the user of a session in use.
#[cfg(windows)]
fn is_seated(uid: u32) -> bool {
    crate::windows::token::users_at_screens()
        .iter()
        .any(|user| user.number() == uid)
}

#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
fn is_seated(_: u32) -> bool {
    false
}

/// logind's seat file is lines of `KEY=value`.
#[cfg(any(test, target_os = "linux"))]
fn active_uid(seat: &str) -> Option<u32> {
    seat.lines()
        .find_map(|line| line.strip_prefix("ACTIVE_UID="))?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEAT: &str = "# This is private data. Do not parse.\nIS_SEAT0=1\nCAN_TTY=1\nACTIVE=2\nACTIVE_UID=1000\nSESSIONS=2 c1\nUIDS=1000 118\n";

    #[test]
    fn the_active_sessions_user_is_read_from_the_seat() {
        assert_eq!(active_uid(SEAT), Some(1000));
        assert_eq!(active_uid("IS_SEAT0=1\nUIDS=1000\n"), None);
        assert_eq!(active_uid("ACTIVE_UID=-1\n"), None);
        assert_eq!(active_uid(""), None);
    }

    #[test]
    fn a_root_engine_obeys_root_the_seat_and_who_was_allowed() {
        let seated = |uid| uid == 1000;
        for (uid, expected) in [
            (0, true),
            (1000, true),
            (1001, true),
            (1002, false),
            (65534, false),
        ] {
            assert_eq!(decide(uid, Some(0), &[1001], seated), expected, "{uid}");
        }
        assert!(!decide(1000, Some(0), &[], |_| false));
    }

    #[test]
    fn a_users_engine_does_not_obey_the_seat() {
        for (uid, expected) in [(0, true), (1000, false), (1001, true)] {
            assert_eq!(decide(uid, Some(1001), &[], |uid| uid == 1000), expected, "{uid}");
        }
    }
}
