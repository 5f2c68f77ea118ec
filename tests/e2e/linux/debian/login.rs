//! A login on a second console, and a power button that systemd handles, as docs/consoles.md and
//! docs/control.md describe.

use tests::console;

use super::*;

#[test]
#[ignore = "needs the image of make debian: make test-debian"]
fn a_second_console_has_a_login_and_the_power_button_works() {
    let mut guest = Debian::boot(&["--name=deb", "--console=stdio", "--console=sock"]);
    guest.run("systemctl enable --now serial-getty@hvc1 2> /dev/null");
    let time = patience() + Duration::from_secs(240);
    let mut user = console(guest.running.runtime(), &["deb", "1"]);
    user.expect_within("debian login: ", time);
    user.send("root\r");
    user.expect_within(PROMPT, time);
    user.send("echo 'SA''T' at $(tty); stty size\r");
    user.expect_within("SAT at /dev/hvc1\r\n30 100\r\n", time);

    // Only systemd-logind listens. A late listener would get the event, too.
    guest.run("systemctl start systemd-logind");
    guest.running.lguest(&["stop", "deb", "--grace=10m"]).well();
    assert_eq!(guest.running.wait(), End::Status(0));
    let said = guest.running.stderr();
    assert_eq!(said, "lguest: power button pressed by `lguest stop`\n");
    assert_eq!(user.wait(), End::Status(0));
    assert_clean(&guest.image);
}
