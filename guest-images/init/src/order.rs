//! What the init has to do, in a file that the launcher writes and puts into the initial file
//! system. Each line of the file is a word and its value.

use std::fmt::Write;

/// What the init has to do, apart from the command itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Order {
    /// The console that leads to the launcher: N of hvcN.
    pub console: usize,
    /// The terminal of the command, if it has one.
    pub terminal: Option<Terminal>,
    /// Modules of the kernel, in the order in which they have to be loaded.
    pub modules: Vec<Module>,
    /// The absolute path in the guest of each of the user's files.
    pub files: Vec<String>,
}

/// The command's terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminal {
    /// The width of the window at the start, in characters.
    pub columns: u16,
    /// The height of the window at the start, in lines.
    pub rows: u16,
    /// The type of the terminal: TERM.
    pub kind: String,
}

/// A module of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// The kernel's name for the module.
    pub name: String,
    /// If true, nothing is reported if the module cannot be loaded.
    pub optional: bool,
}

impl Order {
    /// Returns the contents of the file.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("console {}\n", self.console);
        // Writing to a String cannot fail.
        if let Some(Terminal { columns, rows, kind }) = &self.terminal {
            let _ = writeln!(text, "terminal {columns} {rows} {kind}");
        }
        for Module { name, optional } in &self.modules {
            let word = if *optional { "try" } else { "module" };
            let _ = writeln!(text, "{word} {name}");
        }
        for place in &self.files {
            let _ = writeln!(text, "file {place}");
        }
        text
    }

    /// Parses the contents of the file. `None` if they are malformed.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let mut order = Self::default();
        for line in text.lines() {
            let (word, value) = line.split_once(' ')?;
            match word {
                "console" => order.console = value.parse().ok()?,
                "terminal" => order.terminal = Some(terminal(value)?),
                "module" | "try" => {
                    order.modules.push(Module { name: value.into(), optional: word == "try" });
                }
                "file" => order.files.push(value.into()),
                _ => return None,
            }
        }
        Some(order)
    }
}

fn terminal(value: &str) -> Option<Terminal> {
    let mut words = value.splitn(3, ' ');
    let (columns, rows) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(Terminal { columns, rows, kind: words.next()?.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let module = |name: &str, optional| Module { name: name.into(), optional };
        let order = Order {
            console: 3,
            terminal: Some(Terminal { columns: 80, rows: 24, kind: "xterm 256".into() }),
            modules: vec![module("virtio_pci", false), module("pvpanic", true)],
            files: vec!["/a b".into(), "/c".into()],
        };
        assert_eq!(Order::from_text(&order.to_text()), Some(order));
        let least = Order { console: 1, ..Order::default() };
        assert_eq!(Order::from_text(&least.to_text()), Some(least));
    }

    #[test]
    fn what_is_no_order_is_none() {
        for text in ["console", "console x\n", "terminal 1 2\n", "what else\n"] {
            assert_eq!(Order::from_text(text), None, "{text}");
        }
    }
}
