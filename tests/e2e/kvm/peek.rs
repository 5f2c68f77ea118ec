//! `lguest peek` while another client types.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};
use tests::{Running, patience, until};

use super::client::{Client, data};
use super::{consoles, wait_for_all};

const PEEKS: usize = 10_000;

/// The length of a line, newline included.
const LINE: usize = 32;

/// The number of bytes on their way. It is small, so that each peek is short.
const WINDOW: usize = 16 << 10;

const END: &[u8] = b"typed all\n";

fn line(number: usize) -> String {
    format!("{number:08} {:.<1$}\n", "", LINE - 10)
}

/// Whether these bytes are a part of the lines, from any position.
fn is_part(bytes: &[u8]) -> bool {
    let Some(at) = bytes.iter().position(|byte| *byte == b'\n') else { return true };
    let digits = bytes.get(at + 1..at + 9).and_then(|digits| std::str::from_utf8(digits).ok());
    let Some(digits) = digits else { return bytes.len() < 2 * LINE };
    let Ok(next) = digits.parse::<usize>() else { return false };
    let lines: String = (next.saturating_sub(1)..=next + bytes.len() / LINE).map(line).collect();
    lines.as_bytes().get(LINE - at - 1..).is_some_and(|lines| lines.starts_with(bytes))
}

fn peek(running: &Running, side: &str, times: usize) {
    let mut client = Client::of(running, "seen");
    let mut full = 0;
    for _ in 0..times {
        let answer = client.ask(json!({ "do": "peek", "console": 1, "side": side }));
        let bytes = data(&answer);
        assert_eq!(answer["unread"], Value::from(bytes.len()));
        assert!(is_part(&bytes), "{:?}", String::from_utf8_lossy(&bytes));
        full += usize::from(!bytes.is_empty());
    }
    // Output is read at once; input waits for the guest.
    assert!(side == "output" || full > times / 100, "{full} saw something: nothing is tested");
}

#[test]
fn ten_thousand_peeks_consume_nothing() {
    let running = consoles("seen", 2).piped();
    wait_for_all(running.runtime(), "seen", 2);
    let mut typist = Client::of(&running, "seen");
    typist.attach(1, "write").unwrap();
    let hello = typist.read_until(b"hello 1\n").unwrap();
    assert_eq!(hello, b"hello 1\n");
    let (mut keys, echoed, looking) = (typist.again(), AtomicUsize::new(0), AtomicUsize::new(2));
    thread::scope(|scope| {
        let (running, echoed, looking) = (&running, &echoed, &looking);
        for side in ["input", "output"] {
            scope.spawn(move || {
                let _done = Countdown(looking);
                peek(running, side, PEEKS / 2);
            });
        }
        let typing = scope.spawn(move || {
            let wanted = (0..).take_while(|_| looking.load(Ordering::Acquire) > 0);
            let typed = wanted.inspect(|number| {
                wait_for(echoed, (number * LINE).saturating_sub(WINDOW));
                keys.write_frame(b'd', line(*number).as_bytes()).unwrap();
            });
            let count = typed.count();
            keys.write_frame(b'd', END).unwrap();
            count
        });
        let mut seen = Vec::new();
        while !seen.ends_with(END) {
            let (kind, bytes) = typist.read_frame().unwrap();
            assert_eq!(kind, b'd');
            seen.extend(bytes);
            echoed.store(seen.len(), Ordering::Release);
        }
        let lines = (0..typing.join().unwrap()).map(line);
        assert!(seen == [lines.collect::<String>().as_bytes(), END].concat(), "lost, or doubled");
    });
    until("all output is read", || {
        running.lguest(&["peek", "seen", "1"]).well().is_empty().then_some(())
    });
}

fn wait_for(count: &AtomicUsize, least: usize) {
    let late = Instant::now() + patience();
    while count.load(Ordering::Acquire) < least {
        assert!(Instant::now() < late, "no more of it is echoed");
        thread::yield_now();
    }
}

/// Decrements the counter when it is dropped, also by a panic.
struct Countdown<'c>(&'c AtomicUsize);

impl Drop for Countdown<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
