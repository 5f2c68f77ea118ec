//! Opens the kernels and initrds that the user named, and reports what is wrong with a file before
//! anything reads it.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};

use super::progress::BeginReport;

/// The files from which a guest starts, and from which it starts again when it reboots.
#[derive(Debug)]
pub struct BootFiles {
    pub(super) kernel: NamedFile,
    pub(super) initrds: Vec<NamedFile>,
}

impl BootFiles {
    /// The files of these names. They are not opened yet. `watch` is notified of the progress of
    /// reading them.
    pub fn new(kernel: &Path, initrds: &[PathBuf], watch: BeginReport) -> Self {
        let named = |path: &PathBuf| NamedFile::new(path, watch);
        Self { kernel: NamedFile::new(kernel, watch), initrds: initrds.iter().map(named).collect() }
    }

    /// Whether the guest gets an initial file system.
    pub fn has_initrd(&self) -> bool {
        !self.initrds.is_empty()
    }

    /// Open the kernel's file.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open_kernel(&self) -> Result<File> {
        self.kernel.open()
    }

    /// Add an initial file system after the others: an archive that lguest made. Messages call it
    /// `what`.
    pub fn append(&mut self, what: &str, archive: File) {
        self.initrds.push(self.own(what, archive));
    }

    /// Add an initial file system that lguest made, before the others. Messages call it `what`.
    pub fn prepend(&mut self, what: &str, archive: File) {
        self.initrds.insert(0, self.own(what, archive));
    }

    fn own(&self, what: &str, archive: File) -> NamedFile {
        NamedFile { path: what.into(), kept: Some(archive), watch: self.kernel.watch }
    }

    /// Open all files now, for every later start: their names cannot be opened after privileges
    /// were dropped. A reboot then reads these files, even if others have their names by then.
    ///
    /// # Errors
    /// When a file cannot be opened. The text is one line which names the file, the cause and
    /// advice.
    pub fn keep(&mut self) -> Result<()> {
        self.keep_if(|_| true)
    }

    /// Open those files now for whose path `wanted` is true.
    ///
    /// # Errors
    /// As those of [`Self::keep`].
    pub fn keep_if(&mut self, wanted: impl Fn(&Path) -> bool) -> Result<()> {
        let kernel = &mut self.kernel;
        if wanted(&kernel.path) {
            kernel.keep().with_context(|| kernel.to_string())?;
        }
        for file in self.initrds.iter_mut().filter(|file| wanted(&file.path)) {
            file.keep().with_context(|| file.as_initrd())?;
        }
        Ok(())
    }
}

/// A file by its name. Each start opens the name anew, unless the file is kept open.
#[derive(Debug)]
pub(super) struct NamedFile {
    path: PathBuf,
    kept: Option<File>,
    /// Begins a report on the progress of reading the file.
    pub(super) watch: BeginReport,
}

impl NamedFile {
    /// The name of an initrd in messages.
    pub(super) fn as_initrd(&self) -> String {
        format!("initrd {self}")
    }

    pub(super) fn new(path: &Path, watch: BeginReport) -> Self {
        Self { path: path.to_path_buf(), kept: None, watch }
    }

    pub(super) fn keep(&mut self) -> Result<()> {
        if self.kept.is_none() {
            self.kept = Some(open(&self.path)?);
        }
        Ok(())
    }

    /// Open the file for reading, from its beginning. The file is seekable. All descriptors of a
    /// file that is kept open share one position.
    pub(super) fn open(&self) -> Result<File> {
        let Some(kept) = &self.kept else { return open(&self.path) };
        let mut file = kept.try_clone().context("reading it again")?;
        file.rewind().context("reading it again")?;
        Ok(file)
    }
}

impl fmt::Display for NamedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

fn open(path: &Path) -> Result<File> {
    // Checked before opening, which could wait for the other end of a FIFO.
    let kind = fs::metadata(path).map_err(explain)?.file_type();
    ensure!(!kind.is_dir(), "it is a directory: give a file in it");
    ensure!(kind.is_file(), "it is not a regular file: copy it to one");
    File::open(path).map_err(explain)
}

fn explain(error: io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::NotFound => anyhow!("no such file"),
        ErrorKind::PermissionDenied => {
            anyhow!("permission denied: make it readable, or a copy of it")
        }
        _ => error.into(),
    }
}

/// Read up to `length` bytes from the beginning of a stream.
pub(super) fn head(bytes: &mut impl Read, length: usize) -> Result<Vec<u8>> {
    let mut head = Vec::with_capacity(length);
    bytes.by_ref().take(length as u64).read_to_end(&mut head).context("reading it")?;
    Ok(head)
}
