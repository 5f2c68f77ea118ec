//! Several consoles in Linux: hvc0 and the following ones.

use std::fs;

use tests::files::Scratch;
use tests::{End, Guest, Launch, PROMPT};

/// Launches a guest with consoles on this terminal, in two files, and discarded.
fn launch(first: &str, last: &str) -> Launch {
    Launch::linux()
        .option("--console=stdio")
        .option(&format!("--console=file={first}"))
        .option("--console=sock")
        .option(&format!("--console=file={last},append"))
}

#[test]
fn each_console_uses_its_host_end() {
    let scratch = Scratch::new();
    let (first, last) = (scratch.file("first", "gone\n"), scratch.file("last", "kept\n"));
    let launch = launch(first.to_str().unwrap(), last.to_str().unwrap());
    let mut guest = Guest::of(launch.on_terminal());
    // Without shells, no prompt comes in between.
    guest.run(
        "for n in 1 2 3; do stty -F /dev/hvc$n raw -echo; echo \"I am hvc$n\" > /dev/hvc$n; done",
    );
    // A console that nobody reads does not delay the others.
    guest.run("dd if=/dev/zero bs=64k count=20 2> /dev/null | tr '\\0' x > /dev/hvc2");
    guest.run("seq 1000 > /dev/hvc1");
    // Each console has a size of its own; the first has that of this terminal.
    assert_eq!(guest.run("stty size; stty size < /dev/hvc1"), "30 100\n24 80");
    guest.pty().resize(41, 133);
    tests::until("the size follows", || {
        (guest.run("stty size; stty size < /dev/hvc3") == "41 133\n24 80").then_some(())
    });

    guest.type_line("reboot -f");
    guest.expect("reboot -f\r\n");
    guest.expect(PROMPT);
    guest.run("stty -F /dev/hvc3 raw -echo; echo 'I am hvc3 again' > /dev/hvc3");
    assert_eq!(guest.power_off(), End::Status(0));
    guest.assert_terminal_restored();

    let numbers: String = (1..=1000).map(|number| format!("{number}\n")).collect();
    let first = fs::read_to_string(first).unwrap();
    assert!(first.contains("I am hvc1\n") && first.contains(&numbers), "{first}");
    assert!(!first.contains("hvc3") && !first.contains("gone"), "{first}");
    let last = fs::read_to_string(last).unwrap();
    assert!(last.starts_with("kept\n") && last.contains("I am hvc3\n"), "{last}");
    assert!(last.contains("I am hvc3 again\n") && !last.contains("hvc1"), "{last}");
}
