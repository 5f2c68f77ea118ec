//! Four consoles of one guest in four panes of tmux, with a shell, an editor and `top`. The test
//! checks what a user sees.

use tests::files::Scratch;
use tests::{End, Launch, Running, Tmux, environment, until};

/// Starts a guest with four consoles, to which no client is attached.
fn guest() -> Running {
    let launch = Launch::linux().option("--name=web").option("--console=sock");
    let launch = (1..4).fold(launch, |launch, _| launch.option("--console=sock"));
    let running = launch.piped();
    until("each console has a shell", || {
        let shows = |n: &str| running.lguest(&["log", "web", n]).stdout.contains("guest# ");
        ["0", "1", "2", "3"].into_iter().all(shows).then_some(())
    });
    running
}

/// Attaches each of four panes of about 49 x 14 to a console.
fn panes(guest: &Running, scratch: &Scratch) -> Tmux {
    let sit = |number: usize| {
        format!(
            "XDG_RUNTIME_DIR={} {} console web {number}; exec env PS1='left$ ' sh",
            guest.runtime().display(),
            environment::quoted(&environment::launcher())
        )
    };
    let tmux = Tmux::new(scratch.path(), &sit(0));
    for number in 1..4 {
        tmux.run(&["split-window", "-t", &format!(":0.{}", number - 1), &sit(number)]);
        tmux.run(&["select-layout", "tiled"]);
    }
    tmux
}

/// Attaches a pane again after it was detached.
fn again(tmux: &Tmux, guest: &Running, number: usize) {
    let runtime = guest.runtime().display();
    let launcher = environment::quoted(&environment::launcher());
    let line = format!("XDG_RUNTIME_DIR={runtime} {launcher} console web {number}");
    tmux.keys(number, &[&line, "Enter"]);
}

#[test]
fn a_shell_an_editor_and_top_behave_as_on_any_terminal() {
    let scratch = Scratch::new();
    let mut guest = guest();
    let tmux = panes(&guest, &scratch);
    for number in 0..4 {
        tmux.expect(number, "guest#");
        tmux.keys(number, &["C-l", "echo I am $(tty)", "Enter"]);
        tmux.expect(number, &format!("I am /dev/hvc{number}"));
    }
    start_programs(&tmux);
    interrupt(&tmux);
    leave_and_come_back(&tmux, &guest);
    resize(&tmux);
    end_programs(&tmux);

    tmux.keys(0, &["poweroff -f", "Enter"]);
    assert_eq!(guest.wait(), End::Status(0));
    for number in 0..4 {
        tmux.expect(number, "lguest: guest powered off");
        tmux.expect(number, "left$");
        tmux.keys(number, &["stty -a", "Enter"]);
        tmux.expect(number, " icanon ");
    }
}

/// Runs a full-screen editor, which shows typed text in the right place, and a program that redraws
/// by itself.
fn start_programs(tmux: &Tmux) {
    tmux.keys(1, &["vi /tmp/poem", "Enter"]);
    tmux.expect(1, "- /tmp/poem 1/1 100%");
    tmux.keys(1, &["ione line", "Enter", "another line", "Escape"]);
    tmux.expect_that(1, "two lines", |screen| screen.starts_with("one line\nanother line\n~\n"));
    // The last line but one, and its first character.
    tmux.keys(1, &["k0x"]);
    tmux.expect_that(1, "one letter less", |screen| {
        screen.starts_with("ne line\nanother line\n~\n")
    });

    tmux.keys(2, &["top -d 1", "Enter"]);
    tmux.expect_that(2, "top", |screen| screen.starts_with("Mem:") && screen.contains(TOP));
}

/// The fourth line of `top`.
const TOP: &str = "PID  PPID USER";

/// ^C always goes to the program of this console, and only there.
fn interrupt(tmux: &Tmux) {
    tmux.keys(3, &["sleep 1000", "Enter"]);
    // A key between the line and the start of the program is lost; that is the shell's doing.
    tmux.keys(0, &["C-l", "until pidof sleep; do :; done; echo it 'runs'", "Enter"]);
    tmux.expect(0, "it runs");
    tmux.keys(0, &["C-l"]);
    tmux.keys(3, &["C-c", "C-c", "C-c"]);
    tmux.expect(3, "^C");
    tmux.keys(3, &["echo status $?", "Enter"]);
    tmux.expect(3, "status 130");
    assert!(!tmux.screen(0).contains("status"), "{}", tmux.screen(0));
}

/// Clients with the same window as before see the same screens.
fn leave_and_come_back(tmux: &Tmux, guest: &Running) {
    let poem = tmux.screen(1);
    for number in [1, 2] {
        tmux.keys(number, &["C-]"]);
        tmux.expect(number, "left$");
        tmux.keys(number, &["clear", "Enter"]);
        tmux.expect_that(number, "an empty screen", |screen| screen.trim_end() == "left$");
        again(tmux, guest, number);
    }
    tmux.expect_that(1, "the editor's screen", |screen| {
        screen.lines().take(3).eq(poem.lines().take(3)) && screen.contains("/tmp/poem")
    });
    tmux.expect_that(2, "top", |screen| screen.starts_with("Mem:") && screen.contains(TOP));
}

/// The guest gets the size of an enlarged window.
fn resize(tmux: &Tmux) {
    tmux.run(&["resize-window", "-x", "180", "-y", "50"]);
    for number in [0, 3] {
        let wanted = ["display-message", "-t", &format!(":0.{number}"), "-p"];
        let size = tmux.run(&[&wanted[..], &["#{pane_height} #{pane_width}"]].concat());
        tmux.keys(number, &["C-l", "stty size", "Enter"]);
        tmux.expect(number, size.trim_end());
    }
}

fn end_programs(tmux: &Tmux) {
    tmux.keys(1, &[":wq", "Enter"]);
    tmux.expect(1, "guest#");
    tmux.keys(1, &["C-l", "cat /tmp/poem", "Enter"]);
    tmux.expect(1, "ne line\nanother line\n");
    tmux.keys(2, &["q"]);
    tmux.expect(2, "guest#");
    tmux.keys(2, &["C-l", "echo top has 'ended'", "Enter"]);
    tmux.expect(2, "top has ended");
}
