//! Links the guest like a kernel: no C runtime, no dynamic loader, every
//! address as `link.ld` says. Given here and not in a configuration file of
//! cargo's, which cargo reads only in this directory.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=link.ld");
    println!("cargo:rerun-if-changed=src/start.s");
    let directory = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| ".".to_string());
    // A word of its own: the words of -Wl end at a comma, which a path may have.
    let script = format!("{directory}/link.ld");
    let arguments =
        ["-nostartfiles", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", "-T", &script];
    for argument in arguments {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
}
