//! Starts the launch's own command when the init is ready: in a guest that boots, or in one that
//! continues from a snapshot.

use std::fs::File;
use std::io::{Read, Seek};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use devices::threads;
use host::exit::Exit;
use lguest_init::frame::{SEED, ToCommand, ToGuest};
use lguest_init::order::CommandOrder;

use super::ExecJob;
use super::link::{InitLink, PIECE};
use crate::ending::Ending;

impl ExecJob {
    /// Start the thread that starts the command when the init of this guest is ready. A job starts
    /// its command once.
    ///
    /// # Errors
    /// When the host has no thread left.
    pub(crate) fn start(&mut self, link: &Arc<InitLink>, exit: &Arc<Exit<Ending>>) -> Result<()> {
        let (link, exit) = (Arc::clone(link), Arc::clone(exit));
        let order = std::mem::take(&mut self.order);
        let archive = self.archive.take();
        let body = move || {
            if let Err(error) = start(&link, archive, &order) {
                exit.end(Ending::Failed(format!("sending the command to the guest: {error:#}")));
            }
        };
        threads::start("exec-start", body).context("starting the thread of --exec")?;
        Ok(())
    }
}

fn start(link: &Arc<InitLink>, archive: Option<File>, order: &CommandOrder) -> Result<()> {
    if !link.wait_until_ready(None) {
        return Ok(());
    }
    let command = link.first_command();
    if let Some(mut archive) = archive {
        archive.rewind()?;
        let mut piece = vec![0; PIECE];
        loop {
            match archive.read(&mut piece)? {
                0 => break,
                length => {
                    let bytes = piece.get(..length).unwrap_or_default().to_vec();
                    command.send(ToCommand::Archive(bytes));
                }
            }
        }
    }
    command.start(order);
    Ok(())
}

/// Tell the init, which waits for frames, that the guest continues from a snapshot: the time has
/// passed, and other guests may have its random numbers.
///
/// # Errors
/// When the host has no random number, or the guest's input is full.
pub(crate) fn tell_restored(link: &InitLink) -> Result<()> {
    let mut seed = [0; SEED];
    getrandom::fill(&mut seed).context("choosing random numbers for the guest")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, nanoseconds) = (now.as_secs(), now.subsec_nanos());
    let sent = link.send_now(&ToGuest::Restored { seconds, nanoseconds, seed });
    ensure!(sent, "the guest of the snapshot does not read its last console");
    Ok(())
}
