//! Several initial file systems are combined.

use tests::files::{Scratch, initrd};
use tests::{Guest, Launch};

#[test]
fn a_second_initrd_adds_its_files() {
    let scratch = Scratch::new();
    let second = initrd(&[("hello", b"#!/bin/sh\necho hello from the second\n")]);
    // The third replaces a file of the second, and adds one.
    let third = initrd(&[("bye", b"#!/bin/sh\necho bye from the third\n")]);
    let launch = Launch::linux()
        .initrd(scratch.file("second", second))
        .initrd(scratch.file("third", third))
        .argument("foo=bar baz");
    let mut guest = Guest::of(launch.on_terminal());
    assert_eq!(guest.run("/hello; /bye"), "hello from the second\nbye from the third");
    let line = guest.run("cat /proc/cmdline");
    assert!(line.ends_with("foo=\"bar baz\""), "{line}");
}
