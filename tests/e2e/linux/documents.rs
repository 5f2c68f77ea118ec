//! README.md and docs/: every command in them is run, and prints what they say. How that is
//! written is in [`tests::documents`]; what needs no guest is looked at in `pages`.

use tests::documents;

macro_rules! pages {
    ($($name:ident $path:literal)*) => {
        $(
            #[test]
            fn $name() {
                documents::run($path);
            }
        )*

        /// All pages that are run.
        pub(crate) const PAGES: &[&str] = &[$($path),*];
    };
}

pages! {
    readme "README.md"
    boot_tests "docs/boot-tests.md"
    ci "docs/ci.md"
    consoles "docs/consoles.md"
    control "docs/control.md"
    disks "docs/disks.md"
    exec "docs/exec.md"
    guests "docs/guests.md"
    config "docs/config.md"
    networking "docs/networking.md"
    ping "docs/ping.md"
    privilege "docs/privilege.md"
    quick_start "docs/quick-start.md"
    troubleshooting "docs/troubleshooting.md"
}
