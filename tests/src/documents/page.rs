//! A Markdown page, as far as it is tested: its blocks, and the lines between them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::wait::OrFail;

/// A page of the repository.
#[derive(Debug)]
pub struct Page {
    /// The lines outside of blocks, with their numbers.
    pub prose: Vec<(usize, String)>,
    /// Its blocks, in order.
    pub blocks: Vec<Block>,
}

/// What stands between two lines of three backquotes.
#[derive(Debug, Default)]
pub struct Block {
    /// The number of its first line, that with the backquotes.
    pub line: usize,
    /// The word after the backquotes.
    pub kind: String,
    /// Why it is not run.
    pub skip: Option<String>,
    /// The file of the repository that it shows.
    pub file: Option<String>,
    /// What is in it.
    pub lines: Vec<String>,
}

/// A command, and what comes of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The number of its line.
    pub line: usize,
    /// What is typed.
    pub command: String,
    /// What is printed, line by line.
    pub output: Vec<String>,
    /// Its exit status.
    pub status: i32,
}

impl Page {
    /// A page, by its path in the repository.
    #[must_use]
    #[track_caller]
    pub fn read(path: &str) -> Self {
        let text = fs::read_to_string(Self::root().join(path));
        Self::parse(&text.or_fail(&format!("reading {path}"))).or_fail(path)
    }

    /// The repository.
    #[must_use]
    pub fn root() -> PathBuf {
        // A directory below it is that of this crate.
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    /// # Errors
    /// When a block does not end.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut page = Self { prose: Vec::new(), blocks: Vec::new() };
        let mut open: Option<Block> = None;
        for (number, line) in (1..).zip(text.lines()) {
            match (line.strip_prefix("```"), &mut open) {
                (Some(head), None) => open = Some(Block::headed(number, head)),
                (Some(_), Some(_)) => page.blocks.extend(open.take()),
                (None, Some(block)) => block.lines.push(line.into()),
                (None, None) => page.prose.push((number, line.into())),
            }
        }
        match open {
            Some(block) => Err(format!("the block of line {} does not end", block.line)),
            None => Ok(page),
        }
    }
}

impl Block {
    fn headed(line: usize, head: &str) -> Self {
        let value = |name: &str| {
            let (_, rest) = head.split_once(&format!(" {name}=\""))?;
            Some(rest.split_once('"')?.0.to_string())
        };
        let kind = head.split_whitespace().next().unwrap_or_default().into();
        Self { line, kind, skip: value("skip"), file: value("file"), lines: Vec::new() }
    }

    /// Its lines, as a file has them.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }

    /// The commands in it.
    ///
    /// # Errors
    /// When it does not begin with one.
    pub fn steps(&self) -> Result<Vec<Step>, String> {
        let mut steps: Vec<Step> = Vec::new();
        for (line, text) in (self.line + 1..).zip(&self.lines) {
            if let Some(command) = text.strip_prefix("$ ") {
                steps.push(Step { line, command: command.into(), ..Step::default() });
                continue;
            }
            let step = steps.last_mut().ok_or_else(|| format!("line {line} is not a command"))?;
            match text.strip_prefix('>') {
                // As bash asks for the rest of a command.
                Some(more) if step.output.is_empty() => {
                    step.command += "\n";
                    step.command += more.strip_prefix(' ').unwrap_or(more);
                }
                _ => step.output.push(text.clone()),
            }
        }
        for step in &mut steps {
            if let Some(status) = step.output.last().and_then(|line| status(line)) {
                step.status = status;
                step.output.pop();
            }
        }
        Ok(steps)
    }
}

/// 3 of "(3)".
fn status(line: &str) -> Option<i32> {
    line.strip_prefix('(')?.strip_suffix(')')?.parse().ok()
}
