//! Giving up privilege (`--chroot`, `--username`, and in every launch what
//! [`crate::sandbox`] refuses): after everything that needs it has been opened, before the
//! first thread is started and the guest runs. The terminal's guard, which was forked
//! before, does the same for itself.
//!
//! What was opened stays open: /dev/kvm, disks, taps, the terminal, and the files that a
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

/// The privileges that lguest keeps.
#[derive(Debug, Default)]
pub struct PrivilegeDrop {
    root: Option<PathBuf>,
    user: Option<UnprivilegedUser>,
}

/// A user, as the host's data base has it, which cannot be read in the new root.
#[derive(Debug)]
struct UnprivilegedUser {
    name: String,
    uid: Uid,
    gid: Gid,
}

impl PrivilegeDrop {
    /// A new root directory, a user to become, either or neither: whether it can be done.
    /// Changes nothing.
    ///
    /// # Errors
    /// When there is no such user or directory, or we are not root.
    pub fn new(chroot: Option<&Path>, username: Option<&str>) -> Result<Self> {
        let root = chroot.map(|root| find_root(root).with_context(|| option_chroot(root)));
        let user = username.map(|name| find_user(name).with_context(|| option_username(name)));
        let (root, user) = (root.transpose()?, user.transpose()?);
        if let (Some(root), None) = (&root, &user) {
            // Without capabilities, but of the same user as every process of root's.
            bail!(
                "{}: lguest would still be root, who can end every process of root's: \
                 give --username as well",
                option_chroot(root)
            );
        }
        Ok(Self { root, user })
    }

    /// Whether anything is to be given up.
    pub fn is_wanted(&self) -> bool {
        self.root.is_some() || self.user.is_some()
    }

    /// Give up what the user wants: the file system outside of the root directory, the user
    /// and groups, all capabilities. And in every launch: what nobody needs any more. No
    /// thread may exist yet, as each has capabilities of its own.
    ///
    /// # Errors
    /// Of the host; some of it has been given up then.
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
            user.become_it().with_context(|| option_username(&user.name))?;
        }
        // Gone with the user, unless the parent process has set securebits that keep them: with
        // them, one could leave the new root again.
        for set in [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable] {
            caps::clear(None, set).context("giving up capabilities")?;
        }
        Ok(())
    }
}

impl UnprivilegedUser {
    /// With the user's own group and no other: all files are open, so that what a group like
    /// disk or docker may do is of use to nobody but a guest that breaks out.
    fn become_it(&self) -> nix::Result<()> {
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
