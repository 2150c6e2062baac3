//! The system's packages: listed here and nowhere else, installed through the system's own package manager.

use std::process::Command;

use anyhow::{Context, Result};

use crate::shell;

/// What a build needs, as Debian and Ubuntu name it.
const BUILD: &[&str] = &[
    "build-essential",
    "file",
    "libayatana-appindicator3-dev",
    "librsvg2-dev",
    "libwebkit2gtk-4.1-dev",
    "libxdo-dev",
    "pkg-config",
];

/// What the lab and the window's tests need besides.
const TEST: &[&str] = &[
    "adwaita-icon-theme",
    "conntrack",
    "coturn",
    "dbus",
    "fonts-dejavu-core",
    "freeciv-server",
    "imagemagick",
    "iperf3",
    "iproute2",
    "iputils-ping",
    "miniupnpd-nftables",
    "nftables",
    "openarena-server",
    "openttd",
    "openttd-opengfx",
    "util-linux",
    "webkit2gtk-driver",
    "xauth",
    "xclip",
    "xdotool",
    "xvfb",
];

/// What compiling for other systems needs: a compiler whose standard library can be built for them, the linker and
/// libraries of Windows, something that runs its programs, and what fetches a C compiler for macOS.
const CROSS: &[&str] = &[
    "cargo-web",
    "g++-mingw-w64-x86-64",
    "gcc-mingw-w64-x86-64",
    "python3",
    "python3-pip",
    "rust-web-src",
    "rustc-web",
    "wine",
    "wine64",
];

/// What benchmarks compare with, besides what the lab and the window need.
const BENCH: &[&str] = &["wireguard-go", "wireguard-tools"];

/// What the packages are for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    /// Building the programs.
    Building,
    /// Building and testing them.
    Testing,
    /// Building them and measuring them beside others.
    Benching,
    /// Compiling them for other systems.
    Crossing,
}

/// Prints the packages that are missing and installs them. Asks first unless run by root or told `yes`.
///
/// # Errors
/// When the user declines or the package manager fails. On systems whose package manager is unknown here the
/// list is printed and that is all: names differ, and the build will tell.
pub(crate) fn ensure(purpose: For, yes: bool) -> Result<()> {
    let wanted = match purpose {
        For::Building => BUILD.to_vec(),
        For::Testing => [BUILD, TEST].concat(),
        For::Benching => [BUILD, TEST, BENCH].concat(),
        For::Crossing => CROSS.to_vec(),
    };
    if !shell::exists("apt-get") || !shell::exists("dpkg-query") {
        if cfg!(target_os = "linux") {
            println!(
                "This system has no apt. What LANrage needs is called on Debian:\n  {}\nMake sure that you \
                 have their equivalents.",
                wanted.join(" ")
            );
        }
        return Ok(());
    }
    let missing: Vec<&str> = wanted
        .into_iter()
        .filter(|package| !is_installed(package))
        .collect();
    if missing.is_empty() {
        println!("All packages are installed.");
        return Ok(());
    }
    println!("Packages to install: {}", missing.join(" "));
    if !yes && !shell::is_root() {
        shell::ask("Install them with apt?")?;
    }
    shell::run(apt()?.arg("update")).context("the package lists can't be brought up to date")?;
    shell::run(
        apt()?
            .args(["install", "--yes", "--no-install-recommends"])
            .args(&missing),
    )
    .context("packages can't be installed")
}

/// apt-get with root's rights, without questions, and patient while another apt works. No service it installs starts
/// by itself: tests start what they need, where they need it.
fn apt() -> Result<Command> {
    let mut command = if shell::is_root() {
        shell::command("env")?
    } else {
        let mut sudo = shell::command("sudo")?;
        sudo.arg("env");
        sudo
    };
    command.args([
        "DEBIAN_FRONTEND=noninteractive",
        "RUNLEVEL=1",
        "apt-get",
        "--quiet",
        "-o",
        "DPkg::Lock::Timeout=600",
    ]);
    Ok(command)
}

fn is_installed(package: &str) -> bool {
    let query = Command::new("dpkg-query")
        .args(["-W", "-f", "${db:Status-Status}\\n", package])
        .output();
    query.is_ok_and(|output| {
        output.status.success()
            && String::from_utf8_lossy(&output.stdout)
                .lines()
                .any(|line| line == "installed")
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{BENCH, BUILD, CROSS, TEST};

    #[test]
    fn each_package_is_named_once_and_in_order() {
        let lists = [BENCH, BUILD, CROSS, TEST];
        assert!(lists.iter().all(|list| list.is_sorted()));
        let all: BTreeSet<_> = lists.concat().into_iter().collect();
        assert_eq!(all.len(), lists.concat().len());
    }
}
