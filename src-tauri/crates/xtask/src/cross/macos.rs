//! macOS: type-checked, with zig's C compiler for the C that dependencies bring.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{PROGRAMS, cargo, folder};
use crate::shell;

const TARGET: &str = "aarch64-apple-darwin";

/// Whose programs and libraries are checked besides.
const LIBRARIES: [&str; 4] = [
    "lanrage-proto",
    "lanrage-core",
    "lanrage-registry",
    "lanrage-platform",
];

/// A C compiler with the headers of macOS, as a Python package.
const ZIG: &str = "ziglang==0.13.0";

/// Makes zig's compiler look like Apple's: drops options that choose a system and a processor, and reads nothing where
/// Objective-C stands, whose headers are Apple's alone. Good for checking Rust, never for linking.
const COMPILER: &str = r#"#!/bin/sh
here=$(dirname "$0")
left=$#
skip=
while [ "$left" -gt 0 ]; do
    word=$1
    shift
    left=$((left - 1))
    if [ -n "$skip" ]; then
        skip=
        continue
    fi
    case $word in
        --target=* | -mmacosx-version-min=*) continue ;;
        --target | -target | -arch | -isysroot) skip=1; continue ;;
        *.m) word=$here/empty.c ;;
    esac
    set -- "$@" "$word"
done
exec "$here/ziglang/zig" cc -target aarch64-macos "$@"
"#;

pub(super) fn check() -> Result<()> {
    let compiler = compiler()?;
    for package in LIBRARIES.iter().chain(&PROGRAMS) {
        let mut cargo = cargo("check", TARGET)?;
        cargo
            .args(["--package", package])
            .env("CC_aarch64_apple_darwin", &compiler)
            .env("CXX_aarch64_apple_darwin", &compiler)
            .env("ZIG_GLOBAL_CACHE_DIR", folder()?.join("zig-cache"))
            // Else Apple's tools would be asked for one.
            .env("SDKROOT", "/");
        shell::run(&mut cargo)?;
    }
    Ok(())
}

/// The compiler's path, having fetched and written what is missing.
fn compiler() -> Result<PathBuf> {
    let folder = folder()?.join("macos");
    if !folder.join("ziglang/zig").is_file() {
        fs::create_dir_all(&folder)?;
        let mut pip = shell::command("/usr/bin/python3")?;
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps"]);
        // Nothing of the system's is touched.
        pip.args(["--root-user-action=ignore", "--target"]);
        shell::run(pip.arg(&folder).arg(ZIG))?;
    }
    fs::write(folder.join("empty.c"), "")?;
    let compiler = folder.join("cc");
    write_script(&compiler, COMPILER)?;
    Ok(compiler)
}

fn write_script(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::{COMPILER, write_script};
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    /// A script to be run at once. Another process writes it: what a test beside this one starts inherits the files open
    /// here for an instant, and a program that somebody writes can't be run.
    fn place(path: &Path, script: &str) {
        let draft = path.with_extension("draft");
        write_script(&draft, script).unwrap();
        let copied = Command::new("cp").arg("-p").args([&draft, path]).status();
        assert!(copied.unwrap().success());
    }

    /// The compiler's arguments that reach zig, by a zig that prints them.
    #[test]
    fn options_that_choose_a_system_and_objective_c_do_not_reach_zig() {
        let folder = std::env::temp_dir().join(format!("lanrage-cross-{}", std::process::id()));
        fs::create_dir_all(folder.join("ziglang")).unwrap();
        place(&folder.join("cc"), COMPILER);
        place(&folder.join("ziglang/zig"), "#!/bin/sh\nprintf '<%s>' \"$@\"\n");
        let output = Command::new(folder.join("cc"))
            .args([
                "-O2",
                "-arch",
                "arm64",
                "--target=arm64-apple-macosx",
                "-c",
                "a b.c",
                "x.m",
            ])
            .args(["-mmacosx-version-min=11.0", "-isysroot", "/", "-o", "x.o"])
            .output()
            .unwrap();
        let expected = format!(
            "<cc><-target><aarch64-macos><-O2><-c><a b.c><{}/empty.c><-o><x.o>",
            folder.display()
        );
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    }
}
