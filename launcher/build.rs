//! Builds what the launcher carries that is not written in its source. Each concern is a module.

#[path = "build/init.rs"]
mod init;
#[path = "build/version.rs"]
mod version;

fn main() {
    init::build();
    version::set();
}
