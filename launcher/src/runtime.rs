//! Where running guests are found: a directory for each, `lguest/NAME` below
//! $XDG_RUNTIME_DIR or, for root without that, below /run. In it are `lock`, which
//! its launcher has locked for as long as it lives and which holds its pid, and
//! `control`, the socket of [`crate::control`]. A launcher claims its directory
//! here; [`crate::client`] looks for those of others.
//!
//! A directory whose lock nobody holds is stale: its launcher was killed, or had
//! given up the privilege to remove it. The next launcher or command that finds it
//! removes it. What is there is changed under a lock on the directory of all, so
//! that claims, removals and looks come one at a time. Everything goes by way of
//! descriptors: no path is long, and a chroot does not matter.

mod directory;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use anyhow::{Context, Result, bail};
use host::peer::Process;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use wire::{Name, parse_name};

use crate::config::Config;
pub(crate) use directory::Directory;

/// The files in a guest's directory.
const LOCK: &str = "lock";
const CONTROL: &str = "control";

/// A guest's name, and its directory with all that is in it: ours until this is
/// dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    name: Name,
    /// To remove it by.
    places: Option<Places>,
    /// Open for as long as it is locked.
    lock: File,
}

/// The directory of all guests, and that of one.
#[derive(Debug)]
struct Places {
    all: Directory,
    own: Directory,
}

impl Claim {
    /// Claim the name that the user gave, or one that is made up, and make its
    /// control socket. To be called while we are what the user started.
    ///
    /// # Errors
    /// One line. None without `--name` and `--detach`: then it is done without.
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
        // Until the pid is written: a process that finds the lock taken also finds the pid.
        let _alone = all.alone()?;
        let (own, made) = all.make(name.as_str())?;
        match take_lock(&own) {
            Ok(Some(lock)) => {
                // From here on, dropping it removes it.
                let mut claim = Self { name, places: None, lock };
                let own = &claim.places.insert(Places { all, own }).own;
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

    /// Keep no directory open: in another root directory, that would be a way back.
    /// What then nobody removes is stale as soon as this is dropped.
    pub(crate) fn close_directories(&mut self) {
        self.places = None;
    }

    /// The name of the guest.
    pub(crate) fn name(&self) -> &Name {
        &self.name
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(Places { all, own }) = &self.places {
            // If the host has no descriptor to spare, then as it is: the order does.
            let _alone = all.alone();
            clear(all, own, self.name.as_str());
        }
    }
}

/// The lock is ours: what is in the directory belongs to nobody else.
fn fill(lock: &mut File, own: &Directory) -> Result<UnixListener> {
    lock.set_len(0)?;
    writeln!(lock, "{}", std::process::id())?;
    own.remove(CONTROL);
    own.listen(CONTROL).context("making the control socket")
}

/// The lock goes after the socket: without it, somebody else may make another.
fn clear(all: &Directory, own: &Directory, name: &str) {
    own.remove(CONTROL);
    own.remove(LOCK);
    all.remove_directory(name);
}

/// A guest that runs.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) name: Name,
    /// As its lock file has it.
    pub(crate) pid: String,
    directory: Directory,
    /// The process that we have connected to.
    launcher: RefCell<Option<Process>>,
}

impl Found {
    /// Connect to its control socket.
    ///
    /// # Errors
    /// Of the host.
    pub(crate) fn connect(&self) -> io::Result<UnixStream> {
        let stream = self.directory.connect(CONTROL)?;
        self.launcher.replace(Some(Process::of(&stream)?));
        Ok(stream)
    }

    /// Wait until its launcher has ended: the one that we have connected to. (Its lock says so
    /// as well, but the next launcher of that name may take that.)
    ///
    /// # Errors
    /// Of the host.
    pub(crate) fn wait_for_end(&self) -> Result<()> {
        if let Some(launcher) = &*self.launcher.borrow() {
            launcher.wait();
            return Ok(());
        }
        // It does not listen any more. There is only its own word, then, of who it is.
        let pid = self.pid.parse().with_context(|| format!("the pid of guest {}", self.name))?;
        let launcher = Process::numbered(pid).context("opening a process")?;
        // By now the number may be somebody else's.
        let same = |guest: &Self| guest.name == self.name && guest.pid == self.pid;
        if guests()?.iter().any(same) {
            launcher.wait();
        }
        Ok(())
    }
}

/// The guests that run and are ours, by their names. What is stale is removed.
///
/// # Errors
/// When they cannot be looked for.
pub(crate) fn guests() -> Result<Vec<Found>> {
    let Some(all) = Directory::of_all_if_there()? else { return Ok(Vec::new()) };
    guests_in(&all)
}

/// The guest of this name: at once, or as soon as there is one.
///
/// # Errors
/// When it cannot be looked for.
pub(crate) fn wait_for(name: &Name) -> Result<Found> {
    let all = Directory::of_all()?;
    let events = all.events()?;
    loop {
        if let Some(found) = guests_in(&all)?.into_iter().find(|guest| guest.name == *name) {
            return Ok(found);
        }
        // What is stale has just been removed: a guest that comes makes its directory.
        events.read_events().context("waiting for a guest")?;
    }
}

fn guests_in(all: &Directory) -> Result<Vec<Found>> {
    let _alone = all.alone()?;
    let mut found = Vec::new();
    for name in all.entries()? {
        let Ok(name) = parse_name(&name) else { continue };
        // A directory that is not ours does not belong to a guest of ours.
        let Ok(own) = all.open(name.as_str()) else { continue };
        match take_lock(&own) {
            Ok(Some(_lock)) => clear(all, &own, name.as_str()),
            Ok(None) => {
                let (pid, launcher) = (pid(&own), RefCell::new(None));
                found.push(Found { name, pid, directory: own, launcher });
            }
            Err(error) => log::debug!("{error:#}"),
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// The lock file, locked; None if somebody else has locked it. The lock goes with
/// the open file, at the latest when the process ends, however that comes about.
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

/// Who has locked it, as it says itself.
fn pid(own: &Directory) -> String {
    let mut text = String::new();
    let read = own.file(LOCK).map(|file| file.take(20).read_to_string(&mut text));
    let digits = text.trim_end();
    let good = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if read.is_ok() && good { digits.into() } else { "unknown".into() }
}
