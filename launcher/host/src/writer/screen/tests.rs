//! Sequences that make settings, and the sequences that undo them.

use super::*;

fn undo_of(bytes: &[u8]) -> String {
    let mut screen = Screen::default();
    screen.watch(bytes);
    String::from_utf8(screen.undo()).unwrap()
}

#[test]
fn text_and_undone_settings_leave_nothing_to_undo() {
    assert_eq!(undo_of(b"plain\r\n\x1b[2J\x1b[1;1H"), "");
    assert_eq!(undo_of(b"\x1b[?1049h\x1b[?25l vi \x1b[?25h\x1b[?1049l\x1b[1mbold\x1b[m"), "");
}

#[test]
fn settings_are_undone() {
    let vi = b"\x1b[?1049h\x1b[?1h\x1b=\x1b[?25l\x1b[1;31mred";
    assert_eq!(undo_of(vi), "\x1b[?1049l\x1b[?1l\x1b[?25h\x1b>\x1b[0m");
    assert_eq!(undo_of(b"\x1b[?1000;1006h\x1b[2;20r"), "\x1b[?1000l\x1b[?1006l\x1b7\x1b[r\x1b8");
}

#[test]
fn a_sequence_may_come_in_pieces() {
    let mut screen = Screen::default();
    for byte in b"\x1b[?2004h" {
        screen.watch(&[*byte]);
    }
    assert_eq!(screen.undo(), b"\x1b[?2004l");
    assert_eq!(screen.undo(), b"");
}

#[test]
fn a_reset_undoes_settings() {
    assert_eq!(undo_of(b"\x1b[?1049h\x1b[5m\x1bc"), "");
    assert_eq!(undo_of(b"\x1b[?25l\x1b[!p"), "");
    // A soft reset leaves the alternate screen.
    assert_eq!(undo_of(b"\x1b[?1049h\x1b[!p"), "\x1b[?1049l");
}

#[test]
fn malformed_sequences_are_ignored() {
    assert_eq!(
        undo_of(b"\x1b[?99999999999999;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;h\x1b\x1b[\xff"),
        ""
    );
}
#[test]
fn the_first_parameters_of_a_long_sequence_count() {
    let hides_the_cursor = [b"\x1b[?25", ";0".repeat(40).as_bytes(), b"l"].concat();
    assert_eq!(undo_of(&hides_the_cursor), "\x1b[?25h");
}

/// A guest may begin a string and never end it.
#[test]
fn a_string_without_end_takes_little_memory() {
    #[derive(Default)]
    struct Longest(usize);
    impl Perform for Longest {
        fn osc_dispatch(&mut self, parts: &[&[u8]], _by_bell: bool) {
            self.0 = parts.concat().len();
        }
    }
    let mut longest = Longest::default();
    let mut parser: Parser = Parser::new();
    parser.advance(&mut longest, b"\x1b]0;");
    parser.advance(&mut longest, &vec![b'x'; 1 << 20]);
    parser.advance(&mut longest, b"\x07");
    assert!((1000..=1024).contains(&longest.0), "{}", longest.0);
}

#[test]
fn keyboard_modes_are_undone() {
    for (set, undo) in [
        ("\x1b[>1u", "\x1b[<1u"),
        ("\x1b[>1u\x1b[>5u\x1b[=3u", "\x1b[<2u"),
        ("\x1b[>1u\x1b[<u", ""),
        ("\x1b[>1u\x1b[>1u\x1b[<1u", "\x1b[<1u"),
        ("\x1b[<9u", ""),
        ("\x1b[=5u", "\x1b[=0u"),
        ("\x1b[=5;1u\x1b[=4;3u\x1b[=1;3u", ""),
        ("\x1b[=1;2u", "\x1b[=0u"),
        ("\x1b[=5u\x1b[=0u", ""),
        ("\x1b[?u", ""),
        ("\x1b[u", ""),
        ("\x1b[>4;2m", "\x1b[>4m"),
        ("\x1b[>4;2m\x1b[>4;0m", ""),
        ("\x1b[>4;2m\x1b[>4;m", ""),
        ("\x1b[>4;1m\x1b[>4m", ""),
        ("\x1b[>4;1m\x1b[>m", ""),
        ("\x1b[>4n", "\x1b[>4m"),
        ("\x1b[>1;2m", ""),
    ] {
        assert_eq!(undo_of(set.as_bytes()), undo, "{set:?}");
    }
}

#[test]
fn each_screen_has_its_own_keyboard_modes() {
    for (set, undo) in [
        ("\x1b[>1u\x1b[?1049h", "\x1b[?1049l\x1b[<1u"),
        ("\x1b[?1049h\x1b[>1u", "\x1b[<1u\x1b[?1049l"),
        ("\x1b[=1u\x1b[?47h\x1b[=5u\x1b[>1u", "\x1b[<1u\x1b[=0u\x1b[?47l\x1b[=0u"),
        ("\x1b[>1u\x1b[?1049h\x1b[>1u\x1b[<u\x1b[?1049l", "\x1b[<1u"),
    ] {
        assert_eq!(undo_of(set.as_bytes()), undo, "{set:?}");
    }
}

#[test]
fn the_cursors_shape_is_reset() {
    assert_eq!(undo_of(b"\x1b[4 q"), "\x1b[0 q");
    assert_eq!(undo_of(b"\x1b[4 q\x1b[0 q"), "");
    assert_eq!(undo_of(b"\x1b[4 q\x1b[ q"), "");
    // Other sequences end with the same letters.
    assert_eq!(undo_of(b"\x1b[1\"q\x1b[>q\x1b[1q\x1b[1;2;3;4$r\x1b[1$m"), "");
}

#[test]
fn synchronized_output_is_undone_first() {
    let set = b"\x1b[?1049h\x1b[?2031;2048h\x1b[?2026h\x1b[4h";
    let undo = "\x1b[?2026l\x1b[?1049l\x1b[?2031l\x1b[?2048l\x1b[4l";
    assert_eq!(undo_of(set), undo);
}

#[test]
fn a_screen_that_was_left_is_not_left_again() {
    assert_eq!(undo_of(b"\x1b[?1049h\x1b[?47l"), "");
    assert_eq!(undo_of(b"\x1b[?47h\x1b[?1049h"), "\x1b[?1049l");
}
