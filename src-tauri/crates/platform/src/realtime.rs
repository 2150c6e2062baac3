//! Priority of the data thread over ordinary threads.

#![allow(unsafe_code)]

/// Gives the calling thread a real-time priority, the lowest there is (SCHED_RR 1), which its children do not
/// inherit. Under load this keeps a game's packets from waiting for the CPU; the thread has to give way by
/// itself and often. Returns whether it was granted; without the right to it (CAP_SYS_NICE or RLIMIT_RTPRIO)
/// nothing changes.
#[cfg(target_os = "linux")]
pub fn raise_priority() -> bool {
    // SAFETY: `sched_param` is plain data for which all zeroes is a value (musl's has reserved members).
    let mut parameter: libc::sched_param = unsafe { std::mem::zeroed() };
    parameter.sched_priority = 1;
    // SAFETY: pid 0 is the calling thread, and the call reads `parameter` and keeps no pointer to it.
    unsafe {
        libc::sched_setscheduler(
            0,
            libc::SCHED_RR | libc::SCHED_RESET_ON_FORK,
            &raw const parameter,
        ) == 0
    }
}

/// Gives the calling thread the highest priority of an ordinary process, which its children do not inherit: any user
/// may. Under load this keeps a game's packets from waiting for the CPU; the thread has to give way by itself and
/// often. Returns whether it was granted.
#[cfg(windows)]
pub fn raise_priority() -> bool {
    use windows_sys::Win32::System::Threading::{
        GetCurrentThread, SetThreadPriority, THREAD_PRIORITY_TIME_CRITICAL,
    };
    // SAFETY: neither function has a condition: GetCurrentThread's result is a constant for the calling thread.
    unsafe { SetThreadPriority(GetCurrentThread(), THREAD_PRIORITY_TIME_CRITICAL) != 0 }
}

/// Does nothing on this system and returns `false`.
#[cfg(not(any(target_os = "linux", windows)))]
pub fn raise_priority() -> bool {
    false
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    /// The 40th field of proc_pid_stat(5) is the real-time priority.
    fn priority_of_this_thread() -> String {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let after_name = stat.rsplit_once(") ").unwrap().1.to_owned();
        after_name.split(' ').nth(37).unwrap().to_owned()
    }

    #[test]
    fn what_is_claimed_is_so_and_is_not_inherited() {
        let granted = std::thread::spawn(|| {
            let granted = raise_priority();
            assert_eq!(priority_of_this_thread(), if granted { "1" } else { "0" });
            let child = std::thread::spawn(priority_of_this_thread).join().unwrap();
            assert_eq!(child, "0");
            granted
        });
        let granted = granted.join().unwrap();
        if !granted {
            eprintln!("real-time priority was not granted here: only the refusal was tested");
        }
    }
}
