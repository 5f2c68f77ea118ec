//! Opens the files that the user named, and says what is wrong with them before
//! anything else does. Used for kernels and initrds.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};

use super::initrd;
use super::progress::BeginReport;

/// The files that a guest starts from, and starts from again when it reboots.
#[derive(Debug)]
pub struct BootFiles {
    pub(super) kernel: NamedFile,
    pub(super) initrds: Vec<NamedFile>,
}

impl BootFiles {
    /// The files that the user named. They are not opened yet. `watch` hears how far they are
    /// read.
    pub fn new(kernel: &Path, initrds: &[PathBuf], watch: BeginReport) -> Self {
        let named = |path: &PathBuf| NamedFile::new(path, watch);
        Self { kernel: NamedFile::new(kernel, watch), initrds: initrds.iter().map(named).collect() }
    }

    /// Whether the guest gets an initial file system.
    pub fn has_initrd(&self) -> bool {
        !self.initrds.is_empty()
    }

    /// The kernel's file, as it is now.
    ///
    /// # Errors
    /// When the file is gone.
    pub fn open_kernel(&self) -> Result<File> {
        self.kernel.open()
    }

    /// One more initial file system, after those that there are: one of our own, which has
    /// no name but what it is called in messages.
    pub fn append(&mut self, what: &str, archive: File) {
        self.initrds.push(self.own(what, archive));
    }

    /// One more of our own, before those that there are.
    pub fn prepend(&mut self, what: &str, archive: File) {
        self.initrds.insert(0, self.own(what, archive));
    }

    fn own(&self, what: &str, archive: File) -> NamedFile {
        NamedFile { path: what.into(), kept: Some(archive), watch: self.kernel.watch }
    }

    /// Open them now, for every start to come: there will be no way to do so later. A reboot
    /// then reads what has become of these files, and not of their names.
    ///
    /// # Errors
    /// One line which names the file, what is wrong with it, and what to do.
    pub fn keep(&mut self) -> Result<()> {
        self.keep_if(|_| true)
    }

    /// Keep the files that `wanted` is true of, by their paths.
    ///
    /// # Errors
    /// As of [`Self::keep`].
    pub fn keep_if(&mut self, wanted: impl Fn(&Path) -> bool) -> Result<()> {
        let kernel = &mut self.kernel;
        if wanted(&kernel.path) {
            kernel.keep().with_context(|| kernel.to_string())?;
        }
        for file in self.initrds.iter_mut().filter(|file| wanted(&file.path)) {
            file.keep().with_context(|| initrd::name(file))?;
        }
        Ok(())
    }
}

/// A file by its name: what is there when it is opened, unless it is kept open.
#[derive(Debug)]
pub(super) struct NamedFile {
    path: PathBuf,
    kept: Option<File>,
    /// Hears how far it is read.
    pub(super) watch: BeginReport,
}

impl NamedFile {
    pub(super) fn new(path: &Path, watch: BeginReport) -> Self {
        Self { path: path.to_path_buf(), kept: None, watch }
    }

    pub(super) fn keep(&mut self) -> Result<()> {
        if self.kept.is_none() {
            self.kept = Some(open(&self.path)?);
        }
        Ok(())
    }

    /// Open it for reading, from its beginning; it is seekable. One that is kept has one
    /// position for all who have opened it.
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
    // Asked before opening: that could wait for the other end of a FIFO.
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

/// Up to `length` bytes from the beginning of a stream.
pub(super) fn head(bytes: &mut impl Read, length: usize) -> Result<Vec<u8>> {
    let mut head = Vec::with_capacity(length);
    bytes.by_ref().take(length as u64).read_to_end(&mut head).context("reading it")?;
    Ok(head)
}
