//! The console's modes. `console` prints hello with the size of the window, then echoes its input
//! byte by byte. An [`ESCAPE`] begins a command:
//!
//! | byte | what it does |
//! |---|---|
//! | 0x1e | echoes one 0x1e |
//! | `p` | powers off |
//! | `r` | resets by ACPI |
//! | `s` | ends with status 42 |
//! | `k` | ends as a kernel that has panicked, by pvpanic |
//! | `h` | hangs, with interrupts off |
//! | `i` | prints how many interrupts of each kind came, and the device's status |
//! | `c` | prints the size |
//! | `w` | waits until an interrupt has announced another size than the last one, prints it |
//! | `z` | resets the device, brings it to life again, prints `reset done` |
//! | `f N` newline | prints N KiB of numbered lines |
//!
//! `resets=N` resets the device N times while output is on its way, and powers off. Options:
//! `event_idx`, `wait=halt`.

use core::fmt::Write;
use core::ops::Range;

use super::Task;
use crate::console::{BUFFER, Console};
use crate::{interrupts, ports, start};

/// The byte that begins a command: ASCII's record separator, ^^ on a keyboard.
pub(super) const ESCAPE: u8 = 0x1e;

/// The length of a line of `f`, newline included, and the number of lines in a KiB.
const LINE: usize = 64;
pub(super) const LINES: u32 = 16;

/// The mode `console`.
pub(super) fn echo(task: &Task<'_>) {
    let mut console = Console::find(&task.arguments);
    console.start();
    let mut echo = Echo { console, state: State::Echo, size: (0, 0), changes_seen: 0 };
    echo.print_size("hello");
    let mut buffer = [0; BUFFER];
    loop {
        let input = echo.console.read(&mut buffer);
        echo.take(input);
    }
}

/// The mode `resets=N`.
pub(super) fn resets(task: &Task<'_>) {
    let count: u32 = task.number();
    let mut console = Console::find(&task.arguments);
    for number in 1..=count {
        console.start();
        print(&mut console, format_args!("life {number}\n"));
    }
    console.start();
    print(&mut console, format_args!("resets done {count}\n"));
    console.flush();
}

/// The state of the parser of input.
enum State {
    Echo,
    Command,
    /// After `f`, with the number so far.
    Flood(u32),
}

struct Echo {
    console: Console,
    state: State,
    /// The size that was printed last, and the number of configuration interrupts up to then.
    size: (u16, u16),
    changes_seen: u64,
}

impl Echo {
    fn take(&mut self, mut input: &[u8]) {
        while let Some((byte, rest)) = input.split_first() {
            input = match self.state {
                State::Echo => self.echo(input),
                State::Command => {
                    self.state = State::Echo;
                    self.command(*byte);
                    rest
                }
                State::Flood(number) => {
                    self.flood_digit(number, *byte);
                    rest
                }
            };
        }
    }

    /// Echoes everything before the next command in one piece, and returns the rest.
    fn echo<'i>(&mut self, input: &'i [u8]) -> &'i [u8] {
        let escape = input.iter().position(|byte| *byte == ESCAPE);
        let (plain, rest) = input.split_at(escape.unwrap_or(input.len()));
        self.console.write(plain);
        match rest.split_first() {
            Some((_, rest)) => {
                self.state = State::Command;
                rest
            }
            None => rest,
        }
    }

    fn command(&mut self, command: u8) {
        match command {
            ESCAPE => self.console.write(&[ESCAPE]),
            b'p' => {
                self.console.flush();
                ports::power_off();
            }
            b'r' => {
                self.console.flush();
                ports::reset_by_acpi();
            }
            b's' => {
                self.console.flush();
                ports::exit(42);
            }
            b'k' => {
                self.console.flush();
                ports::panicked();
            }
            b'h' => {
                self.console.flush();
                start::disable_interrupts();
                ports::stop();
            }
            b'i' => self.print_interrupts(),
            b'c' => self.print_size("size"),
            b'w' => {
                self.wait_for_change();
                self.print_size("resized");
            }
            b'z' => {
                self.console.start();
                print(&mut self.console, format_args!("reset done\n"));
            }
            b'f' => self.state = State::Flood(0),
            other => print(&mut self.console, format_args!("no command {other:#04x}\n")),
        }
    }

    /// Waits for a configuration interrupt that has a reason.
    fn wait_for_change(&self) {
        let mut seen = self.changes_seen;
        self.console.wait_until(|| {
            let changes = start::count(interrupts::CONFIG);
            let changed = changes != seen && self.console.size() != self.size;
            seen = changes;
            changed
        });
    }

    fn print_size(&mut self, what: &str) {
        // Count the interrupts before reading the size, so that no change in between is missed.
        self.changes_seen = start::count(interrupts::CONFIG);
        self.size = self.console.size();
        let (columns, rows) = self.size;
        print(&mut self.console, format_args!("{what} {columns}x{rows}\n"));
    }

    fn print_interrupts(&mut self) {
        let [config, receive, transmit] =
            [interrupts::CONFIG, interrupts::RECEIVE, interrupts::TRANSMIT].map(start::count);
        let (total, status) = (start::total(), self.console.device.status());
        print(
            &mut self.console,
            format_args!(
                "interrupts config={config} rx={receive} tx={transmit} total={total} \
                 status={status:#04x}\n"
            ),
        );
    }

    fn flood_digit(&mut self, number: u32, byte: u8) {
        match byte {
            b' ' => {}
            b'0'..=b'9' => {
                let number = number.saturating_mul(10).saturating_add(u32::from(byte - b'0'));
                self.state = State::Flood(number);
            }
            _ => {
                self.state = State::Echo;
                flood(&mut self.console, number);
            }
        }
    }
}

/// Prints numbered lines of equal length, so that a reader sees which are missing. Writes are as
/// large as a buffer.
fn flood(console: &mut Console, kib: u32) {
    let mut piece = [0; BUFFER];
    let mut numbers = 0..kib.saturating_mul(LINES);
    loop {
        match lines(&mut piece, &mut numbers) {
            [] => return,
            text => console.write(text),
        }
    }
}

/// Fills `piece` with lines of these numbers: eight digits, a space, dots.
pub(super) fn lines<'a>(piece: &'a mut [u8], numbers: &mut Range<u32>) -> &'a [u8] {
    let mut length = 0;
    for (line, number) in piece.chunks_exact_mut(LINE).zip(numbers) {
        line.fill(b'.');
        let (digits, rest) = line.split_at_mut(8);
        let mut left = number;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + u8::try_from(left % 10).unwrap_or(0);
            left /= 10;
        }
        if let [space, .., end] = rest {
            (*space, *end) = (b' ', b'\n');
        }
        length += LINE;
    }
    piece.get(..length).unwrap_or_default()
}

/// Prints one line in one write, as a kernel's console does.
pub(super) fn print(console: &mut Console, line: core::fmt::Arguments<'_>) {
    let mut text = Text::<256>::new();
    // Lines are shorter than the buffer.
    let _ = text.write_fmt(line);
    console.write(text.bytes());
}

/// Text in a fixed buffer.
struct Text<const SIZE: usize> {
    buffer: [u8; SIZE],
    length: usize,
}

impl<const SIZE: usize> Text<SIZE> {
    fn new() -> Self {
        Self { buffer: [0; SIZE], length: 0 }
    }

    fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }
}

impl<const SIZE: usize> Write for Text<SIZE> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let end = self.length + text.len();
        let place = self.buffer.get_mut(self.length..end).ok_or(core::fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}
