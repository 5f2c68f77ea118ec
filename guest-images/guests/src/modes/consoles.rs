//! `consoles` uses all consoles at the same time. Each prints `hello` and its number, in the order
//! of the bus, and echoes its input. Consoles do not wait for each other: if the host does not take
//! the output of one, the others continue. An [`ESCAPE`] begins a command:
//!
//! | byte | what it does |
//! |---|---|
//! | `f N` newline | prints N KiB of numbered lines, then `flood done`; sent alone |
//! | `p` | powers off, once the console's output has been taken |
//!
//! Options: `wait=halt`.

use super::Task;
use super::console::{ESCAPE, LINES, lines, print};
use crate::boot_params::Arguments;
use crate::console::{BUFFER, Console};
use crate::interrupts::Wait;
use crate::ports;

/// The most consoles on a bus.
const MOST: usize = 248;

/// Entries of a queue. There are few, so that the memory suffices for all consoles.
const ENTRIES: u16 = 4;

/// The mode `consoles`.
pub(super) fn all(task: &Task<'_>) {
    let mut users = open_all(&task.arguments);
    for user in users.iter_mut().flatten() {
        user.console.start();
        print(&mut user.console, format_args!("hello {}\n", user.number));
    }
    let (wait, mut buffer) = (Wait::chosen(&task.arguments), [0; BUFFER]);
    loop {
        wait.until(|| {
            let moved = users.iter_mut().flatten().map(|user| user.step(&mut buffer));
            moved.fold(false, |any, moved| any | moved)
        });
    }
}

fn open_all(arguments: &Arguments<'_>) -> [Option<User>; MOST] {
    let mut consoles = Console::all(arguments, ENTRIES).enumerate();
    core::array::from_fn(|_| {
        let (number, console) = consoles.next()?;
        Some(User { console, number, state: State::Echo })
    })
}

/// The state of one console.
struct User {
    console: Console,
    number: usize,
    state: State,
}

/// The state of the parser of input.
#[derive(Clone, Copy)]
enum State {
    Echo,
    Command,
    /// After `f`, with the number so far.
    Number(u32),
    /// Printing: the next chunk, and the number of chunks.
    Flood(u32, u32),
}

impl User {
    /// Does what is possible without waiting, and returns whether that was anything.
    fn step(&mut self, buffer: &mut [u8; BUFFER]) -> bool {
        if !self.console.has_room() {
            return false;
        }
        if let State::Flood(next, count) = self.state {
            self.flood(next, count);
            return true;
        }
        let Some(input) = self.console.try_read(buffer) else { return false };
        self.take(input);
        true
    }

    fn flood(&mut self, next: u32, count: u32) {
        if next < count {
            let mut piece = [0; 1024];
            let first = next * LINES;
            self.console.write(lines(&mut piece, &mut (first..first + LINES)));
            self.state = State::Flood(next + 1, count);
        } else {
            print(&mut self.console, format_args!("flood done\n"));
            self.state = State::Echo;
        }
    }

    fn take(&mut self, mut input: &[u8]) {
        while let Some((byte, rest)) = input.split_first() {
            (self.state, input) = match (self.state, *byte) {
                (State::Echo, _) => self.echo(input),
                (State::Command, b'p') => {
                    self.console.flush();
                    ports::power_off()
                }
                (State::Command, b'f') => (State::Number(0), rest),
                (State::Number(number), b' ') => (State::Number(number), rest),
                (State::Number(number), digit @ b'0'..=b'9') => {
                    (State::Number(number * 10 + u32::from(digit - b'0')), rest)
                }
                (State::Number(count), b'\n') if rest.is_empty() => (State::Flood(0, count), rest),
                (_, other) => fail!("probe: {other:#04x} is out of place"),
            };
        }
    }

    /// Echoes everything before the next command in one piece, and returns the rest.
    fn echo<'i>(&mut self, input: &'i [u8]) -> (State, &'i [u8]) {
        let escape = input.iter().position(|byte| *byte == ESCAPE);
        let (plain, rest) = input.split_at(escape.unwrap_or(input.len()));
        self.console.write(plain);
        let after = rest.split_first().map(|(_, rest)| (State::Command, rest));
        after.unwrap_or((State::Echo, rest))
    }
}
