//! What the launcher carries that is not written in its source. Each concern is a module.

#[path = "build/version.rs"]
mod version;

fn main() {
    version::tell();
}
