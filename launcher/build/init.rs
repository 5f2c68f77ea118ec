//! The program that the launcher carries for guests that run one command: `guest-images/init`,
//! a static one, since it finds no libraries in a guest. `launcher/src/exec.rs` includes it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Build it, and tell the compiler where it is: LGUEST_INIT.
pub(crate) fn build() {
    let workspace = variable("CARGO_MANIFEST_DIR").join("..");
    for input in
        ["guest-images/init/src", "guest-images/init/Cargo.toml", "Cargo.toml", "Cargo.lock"]
    {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    println!("cargo::rerun-if-changed=build");
    // Not that of the cargo that runs this, which is locked; but one for all profiles.
    let directory = target_directory(&variable("OUT_DIR")).join("init");
    let mut cargo = Command::new(variable("CARGO"));
    cargo.current_dir(&workspace);
    cargo.args(["build", "--locked", "--package", "lguest-init", "--bin", "lguest-init"]);
    cargo.args(["--profile", "init", "--target", TARGET, "--target-dir"]).arg(&directory);
    // What is meant for the launcher alone: clippy in the compiler's place, its flags.
    for name in ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "CLIPPY_ARGS"] {
        cargo.env_remove(name);
    }
    let flags = ["-Ctarget-feature=+crt-static", "-Crelocation-model=static"];
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    let status = cargo.status();
    let built = status.as_ref().is_ok_and(std::process::ExitStatus::success);
    assert!(built, "building guest-images/init: {status:?}");
    // A copy of this build's own. The program itself is newer than the start of this script, so
    // that cargo would take it for changed, and build the launcher a second time.
    let copy = variable("OUT_DIR").join("lguest-init");
    let copied = fs::copy(directory.join(TARGET).join("init/lguest-init"), &copy);
    assert!(copied.is_ok(), "{}: {copied:?}", copy.display());
    println!("cargo::rustc-env=LGUEST_INIT={}", copy.display());
}

fn variable(name: &str) -> PathBuf {
    env::var_os(name).map(PathBuf::from).unwrap_or_default()
}

/// OUT_DIR is target/[TRIPLE/]PROFILE/build/PACKAGE/out.
fn target_directory(out: &Path) -> &Path {
    let build = out.ancestors().find(|path| path.ends_with("build"));
    build.and_then(|build| build.parent()?.parent()).unwrap_or(out)
}
