//! Giving up privilege (`--chroot`, `--username`): after everything that needs it has been
//! opened, before the first thread is started and the guest runs. Done once by
//! [`crate::launch`] for the launcher, and by the terminal's guard
//! ([`crate::terminal`]) for itself, which was forked before.
//!
//! What was opened stays open: /dev/kvm, disks, taps, the terminal, and the files that a
//! reboot of the guest reads again ([`crate::boot::Files::keep`]).

use std::ffi::CString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use caps::CapSet;
use nix::sys::prctl;
use nix::unistd::{Gid, Uid, User, chdir, chroot, getgrouplist, setgroups, setresgid, setresuid};

use crate::config::Config;

/// What is left of the privilege of whoever started us.
#[derive(Debug, Default)]
pub(crate) struct Confinement {
    root: Option<PathBuf>,
    user: Option<Identity>,
}

/// A user, with all that the host's data base says. It is not to be had in the new root.
#[derive(Debug)]
struct Identity {
    name: String,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl Confinement {
    /// What the user wants, and whether it can be done. Changes nothing.
    ///
    /// # Errors
    /// When there is no such user or directory, or we are not root.
    pub(crate) fn of(config: &Config) -> Result<Self> {
        let root = config.chroot.as_deref();
        let root = root.map(|root| find_root(root).with_context(|| option_chroot(root)));
        let user = config.username.as_deref();
        let user = user.map(|name| find_user(name).with_context(|| option_username(name)));
        Ok(Self { root: root.transpose()?, user: user.transpose()? })
    }

    /// Whether anything is to be given up.
    pub(crate) fn is_wanted(&self) -> bool {
        self.root.is_some() || self.user.is_some()
    }

    /// Give up: the file system outside of the root directory, the user and groups, all
    /// capabilities, and the way back through programs that grant any. No thread may exist
    /// yet, as each has capabilities of its own.
    ///
    /// # Errors
    /// Of the host; some of it has been given up then.
    pub(crate) fn enter(&self) -> Result<()> {
        if !self.is_wanted() {
            return Ok(());
        }
        if let Some(root) = &self.root {
            chroot(root).and_then(|()| chdir("/")).with_context(|| option_chroot(root))?;
        }
        if let Some(user) = &self.user {
            user.become_it().with_context(|| option_username(&user.name))?;
        }
        // Gone with the user, unless that is root still; whom capabilities would let leave
        // the new root again.
        for set in [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable] {
            caps::clear(None, set).context("giving up capabilities")?;
        }
        prctl::set_no_new_privs().context("giving up new privileges")
    }
}

impl Identity {
    fn become_it(&self) -> nix::Result<()> {
        setgroups(&self.groups)?;
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
    Ok(root.to_path_buf())
}

fn find_user(name: &str) -> Result<Identity> {
    let user = User::from_name(name).context("asking for the user")?;
    let user = user.context("no such user: make one (useradd), or name another")?;
    ensure!(
        Uid::effective().is_root(),
        "only root can become another user: run lguest as root, or leave it out"
    );
    let (uid, gid) = (user.uid, user.gid);
    let groups = getgrouplist(&CString::new(name)?, gid).context("asking for the user's groups")?;
    Ok(Identity { name: name.to_string(), uid, gid, groups })
}

fn option_chroot(root: &Path) -> String {
    format!("--chroot {}", root.display())
}

fn option_username(name: &str) -> String {
    format!("--username {name}")
}
