//! Drops privileges (`--chroot`, `--username`, and in every launch what
//! [`crate::sandbox`] refuses): after everything that needs it has been opened, before the
//! first thread is started and the guest runs. The terminal's guard, which was forked
//! before, does the same for itself.
//!
//! Files stay open: /dev/kvm, disks, taps, the terminal, and those that a
//! reboot of the guest reads again.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use caps::CapSet;
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::{Gid, Uid, User, chdir, chroot, setgroups, setresgid, setresuid};

use crate::sandbox;

/// The privileges that lguest drops before the guest runs.
#[derive(Debug, Default)]
pub struct PrivilegeDrop {
    root: Option<PathBuf>,
    user: Option<UnprivilegedUser>,
}

/// The user to become. The host's user database cannot be read in the new root.
#[derive(Debug)]
struct UnprivilegedUser {
    name: String,
    uid: Uid,
    gid: Gid,
}

impl PrivilegeDrop {
    /// Check that lguest can change to this root directory, and become this user. Both are
    /// optional. Changes nothing.
    ///
    /// # Errors
    /// When the user or the directory does not exist, or lguest does not run as root.
    pub fn new(chroot: Option<&Path>, username: Option<&str>) -> Result<Self> {
        let root = chroot.map(|root| find_root(root).with_context(|| option_chroot(root)));
        let user = username.map(|name| find_user(name).with_context(|| option_username(name)));
        let (root, user) = (root.transpose()?, user.transpose()?);
        if let (Some(root), None) = (&root, &user) {
            // lguest would have no capabilities, but the same user as every process of root's.
            bail!(
                "{}: lguest would still be root, who can end every process of root's: \
                 give --username as well",
                option_chroot(root)
            );
        }
        Ok(Self { root, user })
    }

    /// Whether the user asked for `--chroot` or `--username`.
    pub fn is_wanted(&self) -> bool {
        self.root.is_some() || self.user.is_some()
    }

    /// Drop the privileges that the user named: the file system outside of the root directory, the
    /// user and groups, all capabilities. In every launch, enter the sandbox as well. No second
    /// thread may exist yet, because each has capabilities of its own.
    ///
    /// # Errors
    /// When the host refuses. Some privileges may have been dropped by then.
    pub fn enter(&self) -> Result<()> {
        if self.is_wanted() {
            self.give_up()?;
            return sandbox::enter();
        }
        // On a kernel without seccomp, do not refuse a guest: without the options it may do all
        // that its user can do anyway.
        if let Err(error) = sandbox::enter() {
            log::warn!("{error:#}: a guest that breaks out can type into the terminal");
        }
        Ok(())
    }

    fn give_up(&self) -> Result<()> {
        if let Some(root) = &self.root {
            chroot(root).and_then(|()| chdir("/")).with_context(|| option_chroot(root))?;
        }
        if let Some(user) = &self.user {
            user.assume().with_context(|| option_username(&user.name))?;
        }
        // Becoming the user drops the capabilities, unless the parent process has set securebits
        // that keep them: with them, code could leave the new root again.
        for set in [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable] {
            caps::clear(None, set).context("giving up capabilities")?;
        }
        Ok(())
    }
}

impl UnprivilegedUser {
    /// Become the user, with the user's own group and no other. All files are open, so that the
    /// rights of a group like disk or docker would only help a guest that breaks out.
    fn assume(&self) -> nix::Result<()> {
        setgroups(&[])?;
        setresgid(self.gid, self.gid, self.gid)?;
        setresuid(self.uid, self.uid, self.uid)
    }
}

fn find_root(root: &Path) -> Result<PathBuf> {
    let metadata = fs::metadata(root).map_err(|error| match error.kind() {
        ErrorKind::NotFound => anyhow!("no such directory: make one (mkdir DIR); it may be empty"),
        _ => error.into(),
    })?;
    ensure!(metadata.is_dir(), "it is not a directory: give one; it may be empty");
    ensure!(
        Uid::effective().is_root(),
        "only root can change the root directory: run lguest as root, or leave it out"
    );
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let streams = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
    for (stream, name) in streams.into_iter().zip(["stdin", "stdout", "stderr"]) {
        let kind = fstat(stream).map(|it| SFlag::from_bits_truncate(it.st_mode) & SFlag::S_IFMT);
        ensure!(
            kind != Ok(SFlag::S_IFDIR),
            "{name} is a directory, which would be a way out: give it /dev/null or a file"
        );
    }
    Ok(root.to_path_buf())
}

fn find_user(name: &str) -> Result<UnprivilegedUser> {
    let user = User::from_name(name).context("asking for the user")?;
    let user = user.context("no such user: make one (useradd), or name another")?;
    ensure!(
        Uid::effective().is_root(),
        "only root can become another user: run lguest as root, or leave it out"
    );
    ensure!(!user.uid.is_root(), "that is root itself: name a user who is not (nobody)");
    Ok(UnprivilegedUser { name: name.to_string(), uid: user.uid, gid: user.gid })
}

fn option_chroot(root: &Path) -> String {
    format!("--chroot {}", root.display())
}

fn option_username(name: &str) -> String {
    format!("--username {name}")
}
