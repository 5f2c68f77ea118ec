//! Links the guest like a kernel: without a C runtime or a dynamic loader, at the addresses in
//! `link.ld`. The arguments are here and not in a configuration file of cargo, because cargo reads
//! such a file only in this directory.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=link.ld");
    println!("cargo:rerun-if-changed=src/start.s");
    let directory = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| ".".to_string());
    // The path is a word of its own, because the words of -Wl end at a comma, which a path may
    // contain.
    let script = format!("{directory}/link.ld");
    let arguments =
        ["-nostartfiles", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", "-T", &script];
    for argument in arguments {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
}
