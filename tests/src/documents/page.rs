//! Reads a Markdown page: its blocks, and the lines between them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::wait::OrFail;

/// A page of the repository.
#[derive(Debug)]
pub struct Page {
    /// The lines outside of blocks, with their numbers.
    pub prose: Vec<(usize, String)>,
    /// The blocks of the page, in order.
    pub blocks: Vec<Block>,
}

/// A block: the lines between two lines with three backquotes.
#[derive(Debug, Default)]
pub struct Block {
    /// The number of the block's first line, the one with the backquotes.
    pub line: usize,
    /// The word after the backquotes.
    pub kind: String,
    /// The reason why the block is not run.
    pub skip: Option<String>,
    /// The file of the repository that the block shows.
    pub file: Option<String>,
    /// The lines of the block.
    pub lines: Vec<String>,
}

/// A command with its expected output and exit status.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The number of the command's line.
    pub line: usize,
    /// The text that is typed.
    pub command: String,
    /// The expected output, line by line.
    pub output: Vec<String>,
    /// The expected exit status.
    pub status: i32,
}

impl Page {
    /// Reads a page. `path` is relative to the repository.
    #[must_use]
    #[track_caller]
    pub fn read(path: &str) -> Self {
        let text = fs::read_to_string(Self::root().join(path));
        Self::parse(&text.or_fail(&format!("reading {path}"))).or_fail(path)
    }

    /// Returns the root directory of the repository.
    #[must_use]
    pub fn root() -> PathBuf {
        // This crate is in a directory below the root.
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

    /// Returns the lines of the block as one text.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }

    /// Returns the commands in the block.
    ///
    /// # Errors
    /// The block does not begin with a command.
    pub fn steps(&self) -> Result<Vec<Step>, String> {
        let mut steps: Vec<Step> = Vec::new();
        for (line, text) in (self.line + 1..).zip(&self.lines) {
            if let Some(command) = text.strip_prefix("$ ") {
                steps.push(Step { line, command: command.into(), ..Step::default() });
                continue;
            }
            let step = steps.last_mut().ok_or_else(|| format!("line {line} is not a command"))?;
            match text.strip_prefix('>') {
                // bash asks with "> " for the rest of a command.
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

/// Returns 3 for "(3)".
fn status(line: &str) -> Option<i32> {
    line.strip_prefix('(')?.strip_suffix(')')?.parse().ok()
}
