//! The launch's part in a guest that runs commands: it starts its own command, and saves the guest
//! before that if `--warm` says so.

use std::io;
use std::sync::Arc;

use anyhow::{Context, Result};
use host::disk::Disk;
use host::messages;

use super::PATIENCE;
use crate::exec::{self, ExecJob, InitLink};
use crate::guest::{Guest, Host};
use crate::snapshot;
use crate::snapshot::save::{self, LaunchIdentity, SaveRequest};
use crate::snapshot::warm::NewWarm;

/// The launch's command, and the snapshot that is made before it starts.
pub(super) struct SavingLaunch {
    job: Option<ExecJob>,
    new: Option<NewWarm>,
}

impl SavingLaunch {
    /// Start the command of the launch as soon as the init is ready; or later, if the guest is saved
    /// before.
    ///
    /// # Errors
    /// When the host has no thread or random number left.
    pub(super) fn start(
        host: &Host,
        mut job: Option<ExecJob>,
        mut new: Option<NewWarm>,
    ) -> Result<Self> {
        for path in job.iter().flat_map(|job| &job.sources) {
            new.iter_mut().try_for_each(|new| new.add_source(path))?;
        }
        if let Some(link) = init_link(host) {
            if link.is_ready() {
                // The guest continues from a snapshot.
                exec::tell_restored(link)?;
            }
            link.hold(new.is_some());
            if let Some(job) = &mut job {
                job.start(link, &host.exit)?;
            }
        }
        Ok(Self { job, new })
    }

    /// The launch's command.
    pub(super) fn job(&self) -> Option<&ExecJob> {
        self.job.as_ref()
    }

    /// Save the guest when its init is ready, and let the command start.
    pub(super) fn save_if_ready(
        &mut self,
        guest: &Guest,
        host: &Host,
        identity: LaunchIdentity<'_>,
    ) {
        let Some(link) = init_link(host).filter(|link| link.is_ready()) else { return };
        let Some(new) = self.new.take() else { return };
        if let Err(error) = save_warm(new, guest, host, identity) {
            messages::say(&format!("--warm: the guest is not saved: {error:#}"));
        }
        link.hold(false);
    }
}

/// Save the guest of `--warm`.
fn save_warm(new: NewWarm, guest: &Guest, host: &Host, identity: LaunchIdentity<'_>) -> Result<()> {
    let files = new.files(&snapshot_files(host)?)?;
    let request = SaveRequest { files, stop: false, client: None };
    let saved = save::save(guest, host, identity, &request, PATIENCE)?;
    new.finish(saved)
}

/// The guest is about to be started again: its commands are gone.
///
/// # Errors
/// When the input cannot be discarded, which is not expected.
pub(super) fn restart(host: &Host) -> Result<()> {
    for console in &host.consoles {
        if let Some(link) = console.init_link() {
            link.restart(console.output.end()).context("emptying the input of a console")?;
        }
    }
    Ok(())
}

/// The connection to the init that runs commands, if the guest has one.
fn init_link(host: &Host) -> Option<&Arc<InitLink>> {
    host.consoles.iter().find_map(|console| console.init_link())
}

/// The names of the files of a snapshot of this guest.
///
/// # Errors
/// When a disk cannot be examined.
pub(super) fn snapshot_files(host: &Host) -> Result<Vec<String>> {
    let disks: io::Result<Vec<_>> = host.disks.iter().map(Disk::identity).collect();
    Ok(snapshot::files(host.consoles.len(), &disks.context("looking at the disks")?))
}
