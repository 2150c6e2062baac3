//! Where things are kept.

use std::path::{Path, PathBuf};

use directories::{ProjectDirs, UserDirs};

/// Where an engine that runs as the system's service keeps its state. On Linux an engine without root's rights
/// keeps it on its user's side instead.
pub fn service_state_dir() -> PathBuf {
    #[cfg(target_os = "linux")]
    if !crate::rights::is_root()
        && let Some(user) = user_data_dir()
    {
        return user.join("engine");
    }
    system_state_dir()
}

/// Where an engine with this state directory writes its log.
pub fn log_dir(state_dir: &Path) -> PathBuf {
    state_dir.join("log")
}

/// [`log_dir`] of [`service_state_dir`].
pub fn service_log_dir() -> PathBuf {
    log_dir(&service_state_dir())
}

/// Settings of the window and the command line; `None` when the user has no home directory.
pub fn user_config_dir() -> Option<PathBuf> {
    Some(project()?.config_dir().to_path_buf())
}

/// Data of the window and the command line; `None` when the user has no home directory.
pub fn user_data_dir() -> Option<PathBuf> {
    Some(project()?.data_local_dir().to_path_buf())
}

/// Where the user looks for files that a program wrote for them: the downloads, else the home directory. `None` where
/// the user has no home.
pub fn user_download_dir() -> Option<PathBuf> {
    let user = UserDirs::new()?;
    let downloads = user.download_dir().filter(|folder| folder.is_dir());
    Some(downloads.unwrap_or(user.home_dir()).to_path_buf())
}

/// Where an installer puts the engine's program: beside the one that asks, but on macOS, where root keeps it. `None`
/// where that can't be told.
pub fn engine_program() -> Option<PathBuf> {
    if cfg!(target_os = "macos") {
        return Some(PathBuf::from("/Library/PrivilegedHelperTools/lanrage-engine"));
    }
    let program = format!("lanrage-engine{}", std::env::consts::EXE_SUFFIX);
    Some(std::env::current_exe().ok()?.with_file_name(program))
}

fn project() -> Option<ProjectDirs> {
    ProjectDirs::from("", "", "LANrage")
}

#[cfg(target_os = "macos")]
fn system_state_dir() -> PathBuf {
    PathBuf::from("/Library/Application Support/LANrage")
}

#[cfg(windows)]
fn system_state_dir() -> PathBuf {
    // Set for every process, the service's included; the fallback is where it points by default.
    let data = std::env::var_os("ProgramData").unwrap_or_else(|| r"C:\ProgramData".into());
    PathBuf::from(data).join("LANrage")
}

#[cfg(not(any(target_os = "macos", windows)))]
fn system_state_dir() -> PathBuf {
    PathBuf::from("/var/lib/lanrage")
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn only_root_keeps_its_state_in_the_systems_directory() {
        let system = service_state_dir() == Path::new("/var/lib/lanrage");
        assert_eq!(system, crate::rights::is_root() || user_data_dir().is_none());
        assert_eq!(service_log_dir(), service_state_dir().join("log"));
    }
}
