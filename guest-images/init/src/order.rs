//! What the init has to do: [`SetUpOrder`] is a file that the launcher puts into the initial file
//! system, and [`CommandOrder`] comes in frames. Both are lines of a word and its value.

use std::fmt::Write;

/// What the init has to do before any command, whatever the commands are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetUpOrder {
    /// The console that leads to the launcher: N of hvcN.
    pub console: usize,
    /// Modules of the kernel, in the order in which they have to be loaded.
    pub modules: Vec<Module>,
    /// Whether the guest has an init of its own, beside which commands run.
    pub is_agent: bool,
}

/// A command, and what has to be done for it before it starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandOrder {
    /// The command, for `sh -c`: any bytes except NUL.
    pub command: Vec<u8>,
    /// The terminal of the command, if it has one.
    pub terminal: Option<Terminal>,
    /// More modules of the kernel, in the order in which they have to be loaded.
    pub modules: Vec<Module>,
    /// The absolute path in the guest of each of the user's files.
    pub files: Vec<String>,
    /// Whether all other processes end with this command, and the disks are synchronized.
    pub is_last: bool,
}

/// A command's terminal.
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

impl SetUpOrder {
    /// Returns the contents of the file.
    #[must_use]
    pub fn to_text(&self) -> String {
        let agent = if self.is_agent { "agent\n" } else { "" };
        format!("console {}\n{agent}{}", self.console, lines_of(&self.modules))
    }

    /// Parses the contents of the file. `None` if they are malformed.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let mut order = Self::default();
        for line in text.lines() {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("console", value) => order.console = value.parse().ok()?,
                ("agent", "") => order.is_agent = true,
                (word, value) => order.modules.push(module(word, value)?),
            }
        }
        Some(order)
    }
}

impl CommandOrder {
    /// Returns the bytes of the order: lines, an empty line, and the command.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = String::new();
        // Writing to a String cannot fail.
        if let Some(Terminal { columns, rows, kind }) = &self.terminal {
            let _ = writeln!(text, "terminal {columns} {rows} {kind}");
        }
        text.push_str(&lines_of(&self.modules));
        for place in &self.files {
            let _ = writeln!(text, "file {place}");
        }
        if self.is_last {
            text.push_str("last\n");
        }
        [text.as_bytes(), b"\n", &self.command].concat()
    }

    /// Parses the bytes of an order. `None` if they are malformed.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut order = Self::default();
        let mut rest = bytes;
        loop {
            let end = rest.iter().position(|byte| *byte == b'\n')?;
            let (line, after) = rest.split_at_checked(end)?;
            rest = after.get(1..)?;
            if line.is_empty() {
                order.command = rest.to_vec();
                return Some(order);
            }
            let line = std::str::from_utf8(line).ok()?;
            match line.split_once(' ').unwrap_or((line, "")) {
                ("terminal", value) => order.terminal = Some(terminal(value)?),
                ("file", value) => order.files.push(value.into()),
                ("last", "") => order.is_last = true,
                (word, value) => order.modules.push(module(word, value)?),
            }
        }
    }
}

fn lines_of(modules: &[Module]) -> String {
    let line = |Module { name, optional }: &Module| {
        format!("{} {name}\n", if *optional { "try" } else { "module" })
    };
    modules.iter().map(line).collect()
}

fn module(word: &str, name: &str) -> Option<Module> {
    let optional = match word {
        "module" => false,
        "try" => true,
        _ => return None,
    };
    Some(Module { name: name.into(), optional })
}

fn terminal(value: &str) -> Option<Terminal> {
    let mut words = value.splitn(3, ' ');
    let (columns, rows) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(Terminal { columns, rows, kind: words.next()?.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules() -> Vec<Module> {
        let module = |name: &str, optional| Module { name: name.into(), optional };
        vec![module("virtio_pci", false), module("pvpanic", true)]
    }

    #[test]
    fn what_is_written_is_read() {
        let order = SetUpOrder { console: 3, modules: modules(), is_agent: true };
        assert_eq!(SetUpOrder::from_text(&order.to_text()), Some(order));
        let least = SetUpOrder { console: 1, ..SetUpOrder::default() };
        assert_eq!(SetUpOrder::from_text(&least.to_text()), Some(least));
    }

    #[test]
    fn an_order_for_a_command_is_read_as_it_was_written() {
        let order = CommandOrder {
            command: b"echo a\n\necho \xff\n".to_vec(),
            terminal: Some(Terminal { columns: 80, rows: 24, kind: "xterm 256".into() }),
            modules: modules(),
            files: vec!["/a b".into(), "/c".into()],
            is_last: true,
        };
        assert_eq!(CommandOrder::from_bytes(&order.to_bytes()), Some(order));
        let least = CommandOrder::default();
        assert_eq!(CommandOrder::from_bytes(&least.to_bytes()), Some(least));
    }

    #[test]
    fn what_is_no_order_is_none() {
        for text in ["console", "console x\n", "terminal 1 2 x\n", "what else\n"] {
            assert_eq!(SetUpOrder::from_text(text), None, "{text}");
        }
        for text in ["", "file /a\n", "file /a", "terminal 1 2\n\n", "what else\n\n", "last x\n\n"]
        {
            assert_eq!(CommandOrder::from_bytes(text.as_bytes()), None, "{text}");
        }
    }
}
