//! `lguest console` with Linux: a shell on a console to which no client was attached before.

use tests::{Guest, Launch, PROMPT, Running, console, until};

/// Attaches a client to hvc1 of this guest, on a terminal of 30 lines of 100 characters.
fn attach(guest: &Guest) -> Running {
    console(guest.runtime(), &["web", "1"])
}

#[test]
fn a_shell_survives_its_clients_and_redraws_for_each() {
    let launch = Launch::linux().option("--name=web").option("--console=stdio");
    let mut guest = Guest::of(launch.option("--console=sock").on_terminal());

    let mut user = attach(&guest);
    // The client does not see the shell's question to its terminal (ESC [ 6 n) from the time
    // without a client.
    user.expect(PROMPT);
    user.send("stty size; echo $$ > /shell; trap 'echo > /hup' HUP\r");
    user.expect("30 100\r\n");
    user.expect(PROMPT);
    user.press(0x1d);
    user.wait();
    user.assert_terminal_restored();

    // Other clients are killed.
    for _ in 0..5 {
        let mut user = attach(&guest);
        user.expect_stderr("attached");
        user.process().signal(nix::sys::signal::Signal::SIGKILL);
        user.wait();
        until("the console has no client that types", || {
            (!guest.lguest(&["info", "web", "--json"]).well().contains("writer")).then_some(())
        });
    }

    // The shell redraws its line for a client whose window has the same size as before.
    let mut user = attach(&guest);
    user.expect("\rguest# \u{1b}[J");
    user.send("[ $$ = $(cat /shell) ] && [ ! -e /hup ] && echo 'SA''ME'; stty size\r");
    user.expect("SAME\r\n30 100\r\n");

    // The answer of the terminal would be input of the shell.
    assert!(!user.text().contains("\u{1b}[6n\u{1b}[6n"), "{:?}", user.text());
    user.press(0x1d);
    user.wait();
    assert_eq!(guest.power_off(), tests::End::Status(0));
}

/// The guest's driver is unbound and bound; the device stays.
#[test]
fn unbinding_the_driver_keeps_clients_attached() {
    let launch = Launch::linux().option("--name=web").option("--console=stdio");
    let mut guest = Guest::of(launch.option("--console=sock").on_terminal());
    let mut user = attach(&guest);
    user.expect(PROMPT);
    for round in 0..3 {
        // Linux numbers the console anew each time; device files without a console do not open.
        guest.run(&format!(
            "cd /sys/bus/virtio/drivers/virtio_console; echo virtio1 > unbind; echo virtio1 > bind; \
             cd /; number=1; until echo round {round} > /dev/hvc$number; \
             do number=$((number % 7 + 1)); done 2> /dev/null"
        ));
        user.expect(&format!("round {round}\r\n"));
    }
    assert_eq!(user.poll_end(), None);
    assert_eq!(guest.power_off(), tests::End::Status(0));
    assert_eq!(user.wait(), tests::End::Status(0));
}
