//! Builds the program that the launcher carries for guests that run one command:
//! `guest-images/init`, a static program, because guests have no libraries for it.
//! `launcher/src/exec.rs` includes it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Build the program, and set LGUEST_INIT to its path for the compiler.
pub(crate) fn build() {
    let workspace = variable("CARGO_MANIFEST_DIR").join("..");
    for input in
        ["guest-images/init/src", "guest-images/init/Cargo.toml", "Cargo.toml", "Cargo.lock"]
    {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    println!("cargo::rerun-if-changed=build");
    // The target directory of the cargo that runs this script is locked. This one serves all
    // profiles.
    let directory = target_directory(&variable("OUT_DIR")).join("init");
    let mut cargo = Command::new(variable("CARGO"));
    cargo.current_dir(&workspace);
    cargo.args(["build", "--locked", "--package", "lguest-init", "--bin", "lguest-init"]);
    cargo.args(["--profile", "init", "--target", TARGET, "--target-dir"]).arg(&directory);
    // Settings for the launcher only: clippy in the place of the compiler, and its flags.
    for name in ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "CLIPPY_ARGS"] {
        cargo.env_remove(name);
    }
    let flags = ["-Ctarget-feature=+crt-static", "-Crelocation-model=static"];
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    let status = cargo.status();
    let built = status.as_ref().is_ok_and(std::process::ExitStatus::success);
    assert!(built, "building guest-images/init: {status:?}");
    // A copy for this build. The program itself is newer than the start of this script, so that
    // cargo would take it for changed, and build the launcher a second time.
    let copy = variable("OUT_DIR").join("lguest-init");
    let copied = fs::copy(directory.join(TARGET).join("init/lguest-init"), &copy);
    assert!(copied.is_ok(), "{}: {copied:?}", copy.display());
    println!("cargo::rustc-env=LGUEST_INIT={}", copy.display());
}

fn variable(name: &str) -> PathBuf {
    env::var_os(name).map(PathBuf::from).unwrap_or_default()
}

/// The target directory of an OUT_DIR, which is target/[TRIPLE/]PROFILE/build/PACKAGE/out.
fn target_directory(out: &Path) -> &Path {
    let build = out.ancestors().find(|path| path.ends_with("build"));
    build.and_then(|build| build.parent()?.parent()).unwrap_or(out)
}
