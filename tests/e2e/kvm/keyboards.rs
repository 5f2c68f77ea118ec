//! Keyboard protocols: a program in the guest requests Kitty's protocol or xterm's modifyOtherKeys,
//! and ^C and ^] then arrive as escape sequences.

use tests::{End, Running, console, until};

use super::probe;

/// The byte that begins a command to the probe.
const COMMAND: u8 = 0x1e;

/// Encodings of ^C, in the parts in which they arrive.
const CTRL_C: &[&[&str]] = &[
    &["\x1b[99;5u"],
    &["\x1b[27;5;99~"],
    // With the event type, and with the release of the key.
    &["\x1b[99;5:1u", "\x1b[99;5:3u"],
    // With alternate key codes: shifted, and the key of a Cyrillic layout.
    &["\x1b[99:67;5u"],
    &["\x1b[1089::99;5u"],
    // With caps lock and num lock.
    &["\x1b[99;69u"],
    &["\x1b[99;197u"],
    // Split over reads.
    &["\x1b[99", ";5u"],
    &["\x1b", "[27;5;9", "9~"],
    // With all keys reported, including the modifier.
    &["\x1b[57442;5u", "\x1b[99;5u", "\x1b[99;5:3u", "\x1b[57442;1:3u"],
];

/// Sequences that are not ^C.
const OTHERS: &[&str] = &[
    "\x1b[99;6u",
    "\x1b[99;7u",
    "\x1b[99u",
    "\x1b[100;5u",
    "\x1b[99;5:2u",
    "\x1b[99;5:3u",
    "\x1b[57442;5u",
    "\x1b[27;5;100~",
    "\x1b[27;6;67~",
    "\x1b[99;5~",
    "\x1b[99;5R",
    "\x1b[A",
];

/// Encodings of ^], in the parts in which they arrive.
const ESCAPE: &[&[&str]] = &[
    &["\x1b[93;5u"],
    &["\x1b[93;5:1u", "\x1b[93;5:3u"],
    &["\x1b[27;5;93~"],
    &["\x1b[93;133u"],
    &["\x1b[9", "3;5u"],
    &["\x1b", "[27;5;93", "~"],
];

fn on_terminal() -> Running {
    let mut running = probe("console").on_terminal();
    running.expect("hello 100x30");
    running
}

/// Presses a key that arrives in these parts, each in a read of its own. The launcher may end after
/// the last part.
fn press(running: &mut Running, parts: &[&str]) {
    for part in parts {
        running.send(part);
        until("the key is taken", || {
            (running.pty().unread() == 0 || running.poll_end().is_some()).then_some(())
        });
    }
}

#[test]
fn three_ctrl_c_end_the_guest_in_every_encoding() {
    for parts in CTRL_C {
        eprintln!("{parts:?}");
        let mut running = on_terminal();
        // On a slow machine, three presses may take more than a second.
        let end = until("three keys end the launcher", || {
            press(&mut running, parts);
            running.poll_end()
        });
        assert_eq!(end, End::Status(130), "{parts:?}");
        running.assert_terminal_restored();
    }
}

#[test]
fn keys_that_resemble_ctrl_c_only_go_to_the_guest() {
    let mut running = on_terminal();
    for key in OTHERS {
        for _ in 0..4 {
            press(&mut running, &[key]);
        }
        // The guest gets the key unchanged, and echoes it.
        running.expect(&key.repeat(4));
    }
    running.send([COMMAND, b'p']);
    assert_eq!(running.wait(), End::Status(0));
}

#[test]
fn the_guest_also_gets_each_of_three_ctrl_c() {
    let mut running = on_terminal();
    for parts in CTRL_C {
        for _ in 0..2 {
            press(&mut running, parts);
        }
        press(&mut running, &["x"]);
        running.expect(&format!("{}x", parts.concat().repeat(2)));
    }
    running.send([COMMAND, b'p']);
    assert_eq!(running.wait(), End::Status(0));
}

#[test]
fn the_escape_key_detaches_in_every_encoding() {
    let guest = probe("console").option("--name=web").option("--console=sock").piped();
    for (escape, keys) in [("^]", ESCAPE), ("^C", CTRL_C)] {
        for parts in keys {
            eprintln!("{parts:?}");
            let mut user =
                console(guest.runtime(), &["web", "--wait", &format!("--escape={escape}")]);
            user.expect_stderr("attached to web");
            press(&mut user, parts);
            assert_eq!(user.wait(), End::Status(0), "{parts:?}");
            user.assert_terminal_restored();
        }
    }
}

#[test]
fn other_keys_reach_the_guest_unchanged() {
    let guest = probe("console").option("--name=web").option("--console=sock").piped();
    let mut user = console(guest.runtime(), &["web", "--wait"]);
    user.expect("hello");
    for key in OTHERS {
        press(&mut user, &[key]);
        user.expect(key);
    }
    // A key that begins like the escape key, and another key in parts.
    press(&mut user, &["\x1b"]);
    user.expect("\x1b");
    press(&mut user, &["\x1b[93", ";6u"]);
    user.expect("\x1b[93;6u");
    // If the key is pressed twice, the guest gets it.
    user.send("\x1b[93;5u\x1b[93;5:3u\x1b[93;5u\x1b[93;5:3ux");
    user.expect("\x1b[93;5u\x1b[93;5:3ux");
    press(&mut user, &["\x1b[93;5u"]);
    assert_eq!(user.wait(), End::Status(0));
}
