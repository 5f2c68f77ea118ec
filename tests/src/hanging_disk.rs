//! A disk that hangs or is slow when a test wants it to: a file in a FUSE file system of the test,
//! which answers reads when the test says so. A thread that reads it waits as it would for a file
//! server that is gone.

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

/// How long the kernel may cache the attributes of the file.
const FOR_EVER: Duration = Duration::from_secs(1 << 30);

/// A file of zeroes. Dropping the value unmounts the file, and pending reads then fail.
pub struct HangingDisk {
    path: PathBuf,
    reads: Arc<Mutex<Reads>>,
    _mount: BackgroundSession,
}

#[derive(Default)]
struct Reads {
    hang: bool,
    /// The time that each read takes.
    delay: Duration,
    answered: usize,
    waiting: Vec<(ReplyData, usize)>,
}

impl HangingDisk {
    /// Mounts a disk of `size` bytes on an empty directory. It works normally until [`Self::hang`].
    /// Skips the test and returns `None` if this user may not mount file systems.
    #[must_use]
    #[track_caller]
    pub fn new(directory: &Path, size: u64) -> Option<Self> {
        if !is_root("mounting a file system") {
            return None;
        }
        let reads = Arc::default();
        let files = Files { size, reads: Arc::clone(&reads) };
        let mount = fuser::spawn_mount(files, directory, &Config::default());
        let mount = mount.or_fail("mounting a file system");
        Some(Self { path: directory.join(NAME), reads, _mount: mount })
    }

    /// The path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Stops answering reads.
    pub fn hang(&self) {
        lock(&self.reads).hang = true;
    }

    /// Makes every further read take this long.
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

    /// Answers the pending reads, and all further ones.
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
