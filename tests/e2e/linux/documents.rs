//! Runs every command in README.md and docs/, and compares its output. [`tests::documents`]
//! describes the format; `pages` checks what needs no guest.

use tests::documents;

macro_rules! pages {
    ($($name:ident $path:literal)*) => {
        $(
            #[test]
            fn $name() {
                documents::run($path);
            }
        )*

        /// The pages whose commands are run.
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
    snapshots "docs/snapshots.md"
    troubleshooting "docs/troubleshooting.md"
}
