//! The directories of running guests: `lguest/NAME` below $XDG_RUNTIME_DIR or, for root without
//! that, below /run. A directory contains `lock`, which the guest's launcher has locked for as long
//! as it lives and which holds its pid, and `control`, the socket of [`crate::control`]. A launcher
//! claims its directory here; [`crate::client`] looks for those of others.
//!
//! A directory whose lock nobody holds is stale: its launcher was killed, or had dropped the
//! privilege to remove it. The next launcher or command that finds it removes it. Every change is
//! made under a lock on the directory of all guests, so that claims, removals and searches happen
//! one at a time. All files are opened relative to descriptors: no path is too long, and a chroot
//! does not matter.

mod directory;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use anyhow::{Context, Result, bail};
use host::peer::ProcessHandle;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use wire::{Name, parse_name};

use crate::config::Config;
pub(crate) use directory::Directory;

/// The files in a guest's directory.
const LOCK: &str = "lock";
const CONTROL: &str = "control";

/// A claimed name, and the guest's directory with its contents. Dropping it gives them back.
#[derive(Debug)]
pub(crate) struct Claim {
    name: Name,
    /// The directories, if they can still be used to remove this guest's.
    directories: Option<ClaimedDirectories>,
    /// The lock file, which stays locked as long as it is open.
    lock: File,
}

/// The directory of all guests, and that of one.
#[derive(Debug)]
struct ClaimedDirectories {
    all: Directory,
    own: Directory,
}

impl Claim {
    /// Claim the name that the user gave, or a made-up one, and create its control socket. Must be
    /// called before privileges are dropped.
    ///
    /// # Errors
    /// One line. Without `--name` and `--detach` there is no error: the launch continues without a
    /// name.
    pub(crate) fn of(config: &Config) -> Result<Option<(Self, UnixListener)>> {
        let name = config.name.clone().unwrap_or_else(Name::made_up);
        let claimed = Directory::of_all().and_then(|all| Self::new(all, name));
        match claimed {
            Ok(claimed) => Ok(Some(claimed)),
            Err(error) if config.name.is_none() && !config.detach => {
                log::info!("no name and no control socket: {error:#}");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn new(all: Directory, name: Name) -> Result<(Self, UnixListener)> {
        // Held until the pid is written: a process that finds the lock taken also finds the pid.
        let _lock = all.lock()?;
        let (own, made) = all.make(name.as_str())?;
        match take_lock(&own) {
            Ok(Some(lock)) => {
                // From here on, dropping the claim removes the directory.
                let mut claim = Self { name, directories: None, lock };
                let own = &claim.directories.insert(ClaimedDirectories { all, own }).own;
                let listener = fill(&mut claim.lock, own);
                let listener = listener.with_context(|| format!("making {own}"))?;
                Ok((claim, listener))
            }
            Ok(None) => bail!(
                "guest {name} is running already (pid {}): end it (lguest stop {name}), or give \
                 this one another name",
                pid(&own)
            ),
            Err(error) => {
                if made {
                    clear(&all, &own, name.as_str());
                }
                Err(error.context(format!("locking {own}")))
            }
        }
    }

    /// Close the directories: after a chroot, an open directory would be a way back. The guest's
    /// directory is then stale as soon as this is dropped.
    pub(crate) fn close_directories(&mut self) {
        self.directories = None;
    }

    /// The name of the guest.
    pub(crate) fn name(&self) -> &Name {
        &self.name
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(ClaimedDirectories { all, own }) = &self.directories {
            // If the host has no descriptor left, the order of the removals is enough.
            let _lock = all.lock();
            clear(all, own, self.name.as_str());
        }
    }
}

/// Write the pid, and create the control socket. The lock is held: the contents of the directory
/// belong to this launcher.
fn fill(lock: &mut File, own: &Directory) -> Result<UnixListener> {
    lock.set_len(0)?;
    writeln!(lock, "{}", std::process::id())?;
    own.remove(CONTROL);
    own.listen(CONTROL).context("making the control socket")
}

/// Remove a guest's directory. The lock file goes after the socket: without the lock file, another
/// launcher may create a new socket.
fn clear(all: &Directory, own: &Directory, name: &str) {
    own.remove(CONTROL);
    own.remove(LOCK);
    all.remove_directory(name);
}

/// A guest that runs.
#[derive(Debug)]
pub(crate) struct RunningGuest {
    pub(crate) name: Name,
    /// The launcher's pid, as in the lock file.
    pub(crate) pid: String,
    directory: Directory,
    /// The launcher that this process has connected to.
    launcher: RefCell<Option<ProcessHandle>>,
}

impl RunningGuest {
    /// Connect to the guest's control socket.
    ///
    /// # Errors
    /// The errors of the host.
    pub(crate) fn connect(&self) -> io::Result<UnixStream> {
        let stream = self.directory.connect(CONTROL)?;
        self.launcher.replace(Some(ProcessHandle::of(&stream)?));
        Ok(stream)
    }

    /// Wait until the guest's launcher has ended: the one that this process has connected to. (The
    /// lock shows that as well, but the next launcher of the name may take the lock.)
    ///
    /// # Errors
    /// The errors of the host.
    pub(crate) fn wait_for_end(&self) -> Result<()> {
        if let Some(launcher) = &*self.launcher.borrow() {
            launcher.wait();
            return Ok(());
        }
        // The launcher does not listen any more, so that only the lock file has its pid.
        let pid = self.pid.parse().with_context(|| format!("the pid of guest {}", self.name))?;
        let launcher = ProcessHandle::numbered(pid).context("opening a process")?;
        // The pid may belong to another process by now.
        let same = |guest: &Self| guest.name == self.name && guest.pid == self.pid;
        if guests()?.iter().any(same) {
            launcher.wait();
        }
        Ok(())
    }
}

/// The user's running guests, ordered by name. Stale directories are removed.
///
/// # Errors
/// When the directories cannot be read.
pub(crate) fn guests() -> Result<Vec<RunningGuest>> {
    let Some(all) = Directory::of_all_if_there()? else { return Ok(Vec::new()) };
    guests_in(&all)
}

/// Wait for a guest of this name. Returns at once if it runs.
///
/// # Errors
/// When the directories cannot be read.
pub(crate) fn wait_for(name: &Name) -> Result<RunningGuest> {
    let all = Directory::of_all()?;
    let events = all.events()?;
    loop {
        if let Some(found) = guests_in(&all)?.into_iter().find(|guest| guest.name == *name) {
            return Ok(found);
        }
        // Stale directories have just been removed, so that a new guest creates its directory.
        events.read_events().context("waiting for a guest")?;
    }
}

fn guests_in(all: &Directory) -> Result<Vec<RunningGuest>> {
    let _lock = all.lock()?;
    let mut found = Vec::new();
    for name in all.entries()? {
        let Ok(name) = parse_name(&name) else { continue };
        // A directory of another user does not belong to one of this user's guests.
        let Ok(own) = all.open(name.as_str()) else { continue };
        match take_lock(&own) {
            Ok(Some(_lock)) => clear(all, &own, name.as_str()),
            Ok(None) => {
                let (pid, launcher) = (pid(&own), RefCell::new(None));
                found.push(RunningGuest { name, pid, directory: own, launcher });
            }
            Err(error) => log::debug!("{error:#}"),
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// Lock the lock file; None if another process has locked it. The lock ends when the file is
/// closed, at the latest with the process, however the process ends.
fn take_lock(own: &Directory) -> Result<Option<File>> {
    let file = own.file(LOCK)?;
    let lock = libc::flock {
        l_type: i16::try_from(libc::F_WRLCK)?,
        l_whence: i16::try_from(libc::SEEK_SET)?,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    match fcntl(&file, FcntlArg::F_OFD_SETLK(&lock)) {
        Ok(_) => Ok(Some(file)),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The launcher's pid from the lock file.
fn pid(own: &Directory) -> String {
    let mut text = String::new();
    let read = own.file(LOCK).map(|file| file.take(20).read_to_string(&mut text));
    let digits = text.trim_end();
    let good = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if read.is_ok() && good { digits.into() } else { "unknown".into() }
}
