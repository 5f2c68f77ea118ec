//! A disk that hangs, or is slow, when a test wants it to: a file in a file system of the
//! test's own (FUSE), whose reads are answered when the test says so. What waits
//! for it waits as for a file server that is gone.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, Generation,
    INodeNo, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEntry, Request,
};

use crate::skip::is_root;
use crate::wait::OrFail;

const NAME: &str = "disk";
const FILE: INodeNo = INodeNo(2);

/// How long the kernel may take our word for what a file is.
const FOR_EVER: Duration = Duration::from_secs(1 << 30);

/// A file of zeroes. Gone when it is dropped, and then its reads fail.
pub struct HangingDisk {
    path: PathBuf,
    reads: Arc<Mutex<Reads>>,
    _mount: BackgroundSession,
}

#[derive(Default)]
struct Reads {
    hang: bool,
    /// What each takes.
    delay: Duration,
    answered: usize,
    waiting: Vec<(ReplyData, usize)>,
}

impl HangingDisk {
    /// One of `size` bytes, on an empty directory; for a user who
    /// may not mount file systems, the test is skipped. It works until it is told to hang.
    #[must_use]
    #[track_caller]
    pub fn new(directory: &Path, size: u64) -> Option<Self> {
        if !is_root("a file system of its own") {
            return None;
        }
        let reads = Arc::default();
        let files = Files { size, reads: Arc::clone(&reads) };
        let mount = fuser::spawn_mount(files, directory, &Config::default());
        let mount = mount.or_fail("mounting a file system");
        Some(Self { path: directory.join(NAME), reads, _mount: mount })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// From now on, no read is answered.
    pub fn hang(&self) {
        lock(&self.reads).hang = true;
    }

    /// From now on, every read takes so long.
    pub fn slow_down(&self, each: Duration) {
        lock(&self.reads).delay = each;
    }

    /// How many reads have been answered.
    #[must_use]
    pub fn answered(&self) -> usize {
        lock(&self.reads).answered
    }

    /// How many reads wait for an answer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        lock(&self.reads).waiting.len()
    }

    /// Answer them, and all that come.
    pub fn go_on(&self) {
        let mut reads = lock(&self.reads);
        reads.hang = false;
        reads.answered += reads.waiting.len();
        for (reply, length) in reads.waiting.drain(..) {
            reply.data(&vec![0; length]);
        }
    }
}

fn lock(reads: &Mutex<Reads>) -> MutexGuard<'_, Reads> {
    reads.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Files {
    size: u64,
    reads: Arc<Mutex<Reads>>,
}

impl Files {
    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let is_file = inode == FILE;
        FileAttr {
            ino: inode,
            size: if is_file { self.size } else { 0 },
            blocks: 0,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_file { FileType::RegularFile } else { FileType::Directory },
            perm: 0o700,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            flags: 0,
            blksize: 4096,
        }
    }
}

impl Filesystem for Files {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == NAME {
            reply.entry(&FOR_EVER, &self.attributes(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOR_EVER, &self.attributes(inode));
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let delay = lock(&self.reads).delay;
        thread::sleep(delay);
        let (size, mut reads) = (usize::try_from(size).unwrap_or(0), lock(&self.reads));
        if reads.hang {
            reads.waiting.push((reply, size));
        } else {
            reads.answered += 1;
            reply.data(&vec![0; size]);
        }
    }
}
