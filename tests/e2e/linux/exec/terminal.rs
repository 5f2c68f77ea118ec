//! `--tty`: the command runs on the user's terminal.

use tests::files::Scratch;
use tests::{End, Launch, Pty, environment, program};

const CTRL_C: u8 = 3;

/// Prints its terminal, waits for a new window size, then for ^C, then for a line.
const COMMAND: &str = "tty; stty size; echo TERM=$TERM; trap : INT
until [ \"$(stty size)\" = '41 132' ]; do sleep 0.1; done; echo RESIZED
sh -c 'echo SLEEPING; exec sleep 1000'; echo \"status $?\"
read line; echo \"got <$line>\"; exit 9";

#[test]
fn the_command_has_the_users_terminal() {
    let mut running = Launch::exec(COMMAND).option("--tty").on_terminal();
    running.expect("/dev/pts/0\r\n30 100\r\nTERM=");
    assert!(running.pty().snapshot().is_raw());
    running.pty().resize(41, 132);
    running.expect("RESIZED\r\n");
    running.expect("SLEEPING\r\n");
    running.press(CTRL_C);
    running.expect("status 130\r\n");
    running.send("line\r");
    running.expect("got <line>\r\n");
    assert_eq!(running.wait(), End::Status(9));
    assert_eq!(running.stderr(), "");
    running.assert_terminal_restored();
    running.assert_nothing_left();
}

#[test]
fn three_ctrl_c_end_it() {
    let command = "trap '' INT; stty raw; echo UP; sleep 1000";
    let mut running = Launch::exec(command).option("--tty").on_terminal();
    running.expect("UP");
    running.press_three_ctrl_c();
    assert_eq!(running.wait(), End::Status(130));
    running.assert_terminal_restored();
    running.assert_nothing_left();
}

/// A launcher in the background, as a job of a shell or under `timeout`, is neither an error nor
/// the end of the command's input.
#[test]
fn a_command_in_the_background_gets_its_input_in_the_foreground() {
    let scratch = Scratch::new();
    let launch = Launch::exec("read line; echo \"got <$line>\"").shell_line();
    let launcher = environment::quoted(&environment::launcher());
    let script =
        format!("{launch} & until {launcher} list | grep -q running; do sleep 0.1; done; fg");
    let mut running =
        program(&["bash", "--norc", "-i", "-c", &script], scratch.path(), Pty::new(30, 100));
    // The terminal keeps the line for the foreground job.
    running.send("line\n");
    running.expect("got <line>");
    assert_eq!(running.wait(), End::Status(0));
    assert!(!running.stderr().contains("reading stdin"), "{}", running.stderr());
}
