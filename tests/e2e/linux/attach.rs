//! `lguest console` with Linux: a shell on a console that nobody sat at before.

use std::path::Path;

use tests::{Guest, Launch, PROMPT, Pty, Running, environment, program, until};

/// Somebody at hvc1 of this guest, on a terminal of 30 lines of 100 characters.
fn attach(guest: &Guest) -> Running {
    let runtime = format!("XDG_RUNTIME_DIR={}", guest.runtime().display());
    let launcher = environment::launcher();
    let words = ["env", &runtime, launcher.to_str().unwrap(), "console", "web", "1"];
    program(&words, Path::new("/"), Pty::new(30, 100))
}

#[test]
fn a_shell_outlives_its_users_and_draws_for_each() {
    let launch = Launch::linux().option("--name=web").option("--console=stdio");
    let mut guest = Guest::of(launch.option("--console=sock").on_terminal());

    let mut user = attach(&guest);
    // Not what a shell asks its terminal (ESC [ 6 n) while nobody is there.
    user.expect(PROMPT);
    user.send("stty size; echo $$ > /shell; trap 'echo > /hup' HUP\r");
    user.expect("30 100\r\n");
    user.expect(PROMPT);
    user.press(0x1d);
    user.wait();
    user.assert_terminal_restored();

    // Others leave less politely.
    for _ in 0..5 {
        let mut user = attach(&guest);
        user.expect_stderr("attached");
        user.process().signal(nix::sys::signal::Signal::SIGKILL);
        user.wait();
        until("its place is free", || {
            (!guest.lguest(&["info", "web", "--json"]).well().contains("writer")).then_some(())
        });
    }

    // The shell draws its line for somebody who comes, with the same window as before.
    let mut user = attach(&guest);
    user.expect("\rguest# \u{1b}[J");
    user.send("[ $$ = $(cat /shell) ] && [ ! -e /hup ] && echo 'SA''ME'; stty size\r");
    user.expect("SAME\r\n30 100\r\n");

    // Its answer would be keys to the shell.
    assert!(!user.text().contains("\u{1b}[6n\u{1b}[6n"), "{:?}", user.text());
    user.press(0x1d);
    user.wait();
    assert_eq!(guest.power_off(), tests::End::Status(0));
}
