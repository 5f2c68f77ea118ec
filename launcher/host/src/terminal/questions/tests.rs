//! Questions and the answers that close them.

use super::*;

/// The number of open questions after these were asked and this was read, in any parts.
fn open(asked: &str, read: &str) -> usize {
    let count = |size: usize| {
        let questions = Arc::new(Questions::default());
        let mut asking = QuestionFinder::new(&questions);
        asked.as_bytes().chunks(size).for_each(|part| asking.watch(part));
        read.as_bytes().chunks(size).for_each(|part| questions.read(part));
        questions.lock().open.len()
    };
    assert_eq!(count(1), count(1000));
    count(1)
}

#[test]
fn each_question_has_its_answer() {
    for (question, answer) in [
        ("\x1b[6n", "\x1b[3;1R"),
        ("\x1b[?6n", "\x1b[?3;1;1R"),
        ("\x1b[5n", "\x1b[0n"),
        ("\x1b[?996n", "\x1b[?997;1n"),
        ("\x1b[c", "\x1b[?1;2c"),
        ("\x1b[>c", "\x1b[>41;354;0c"),
        ("\x1b[=c", "\x1bP!|00000000\x1b\\"),
        ("\x1bZ", "\x1b[?1;2c"),
        ("\x1b[?2026$p", "\x1b[?2026;2$y"),
        ("\x1b[>0q", "\x1bP>|XTerm(379)\x1b\\"),
        ("\x1b[18t", "\x1b[8;24;80t"),
        ("\x1b[21t", "\x1b]ltitle\x1b\\"),
        ("\x1b[?u", "\x1b[?0u"),
        ("\x1b[?4m", "\x1b[>4;2m"),
        ("\x1b[x", "\x1b[2;1;1;128;128;1;0x"),
        ("\x1b]11;?\x1b\\", "\x1b]11;rgb:0000/0000/0000\x1b\\"),
        ("\x1b]10;?\x07", "\x1b]10;rgb:0000/0000/0000\x07"),
        ("\x1bP$qm\x1b\\", "\x1bP1$r0m\x1b\\"),
        ("\x1bP+q436f\x1b\\", "\x1bP1+r436f=323536\x1b\\"),
    ] {
        assert_eq!(open(&format!("a{question}b"), ""), 1, "{question:?}");
        assert_eq!(open(question, &format!("x{answer}y")), 0, "{question:?}");
        assert_eq!(open(&question.repeat(2), answer), 1, "{question:?}");
    }
}

#[test]
fn a_cancelled_question_is_not_one() {
    for cancelled in ["\x1b]11;?\x18", "\x1bP$qm\x1a", "\x1b[6\x18n"] {
        assert_eq!(open(cancelled, ""), 0, "{cancelled:?}");
    }
}

#[test]
fn keys_are_not_answers() {
    for key in ["\x1b[A", "\x1b[99;5u", "\x1b[3~", "\x1b", "\x1bOP", "c", "\x1b[<0;1;1M"] {
        let questions = "\x1b[6n\x1b[c\x1b[?u\x1b]11;?\x07\x1b[>q";
        assert_eq!(open(questions, key), 5, "{key:?}");
        assert_eq!(open("\x1b[c", &format!("{key}\x1b[?1;2c")), 0, "{key:?}");
    }
}

#[test]
fn an_answer_closes_all_earlier_questions() {
    assert_eq!(open("\x1b]11;?\x07\x1b[?u\x1b[c\x1b[6n", "\x1b[?62;22c"), 1);
}

#[test]
fn a_guest_that_asks_for_ever_is_not_remembered_for_ever() {
    assert_eq!(open(&"\x1b[6n".repeat(10_000), ""), MOST);
    assert_eq!(open(&["\x1b]", &"x".repeat(10_000)].concat(), ""), 0);
}

#[test]
fn keys_wait_while_answers_are_awaited() {
    let questions = Arc::new(Questions::default());
    assert_eq!(questions.room(4096), 4096);
    questions.wait();
    assert_eq!(questions.room(4096), 4096);
    QuestionFinder::new(&questions).watch(b"\x1b[6n");
    let theirs = Arc::clone(&questions);
    let waiting = std::thread::Builder::new().spawn(move || theirs.wait()).unwrap();
    crate::testing::until("it waits", || questions.room(4096) == 1);
    questions.read(b"\x1b[3;1R");
    waiting.join().unwrap();
    assert_eq!(questions.room(4096), 0);
}
