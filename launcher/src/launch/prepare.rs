//! What is there before the first guest, and outlives them all: files, devices and names
//! are opened here, privilege is given up, and then come the first threads.

use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Result;
use host::disk;
use host::exit::Exit;
use host::inherited::{self, Inherited};
use host::net;
use host::privilege::Confinement;
use host::progress;
use host::trace::{self, Lanes, Trace};
use machine::boot;
use machine::memory::Ram;
use machine::vm;

use crate::config::Config;
use crate::config::console::ConsoleConfig;
use crate::console::{self, HostEnd};
use crate::exec::{self, Job};
use crate::guest::Host;
use crate::observers::Observers;
use crate::runtime::Claim;
use crate::trial;

/// What is there before the first guest.
pub(super) struct Prepared {
    pub(super) host: Host,
    /// The command that the guest is to run, if it is to run one.
    pub(super) job: Option<Job>,
    pub(super) ends: Vec<HostEnd>,
    pub(super) logs: trial::Files,
    /// Written to until this is dropped.
    pub(super) trace: Option<Trace>,
}

/// What all the guests of this launch share: first what privilege may be needed
/// for, then the threads.
pub(super) fn prepare(
    config: &Config,
    consoles: &[ConsoleConfig],
    confinement: &Confinement,
    claim: &mut Option<(Claim, UnixListener)>,
    inherited: &mut Inherited,
) -> Result<Prepared> {
    let mut files = boot::Files::new(&config.kernel, &config.initrd, progress::watch);
    let job = exec::prepare(config, consoles.len(), &mut files)?;
    if confinement.is_wanted() {
        files.keep()?;
    } else if config.detach {
        files.keep_if(inherited::is_named_by_descriptor)?;
    }
    let disks = disk::open_all(&config.block, config.cpus)?;
    let random = config.rng.as_deref().map(disk::open_random).transpose()?;
    let kvm = vm::open_kvm()?;
    vm::check_cpus(&kvm, config.cpus)?;
    let ram = Ram::new(config.memory)?;
    let taps = net::open(&config.tunnet)?;
    let trace = config.seeing.trace.as_deref().map(trace::Opened::new).transpose()?;
    // Last, as they empty files.
    let (consoles, ends) = console::open_all(consoles)?.into_iter().unzip();
    let logs = trial::Files::open(&config.trial)?;
    if confinement.is_wanted() {
        claim.iter_mut().for_each(|(claim, _)| claim.close_directories());
        inherited.close();
    }
    confinement.enter()?;

    net::follow(&taps)?;
    let exit = Arc::new(Exit::new()?);
    let paused = Arc::new(AtomicBool::new(false));
    let lanes = trace.is_some().then(|| Arc::new(Lanes::default()));
    let observers = Arc::new(Observers::new(config.cpus, lanes.clone()));
    let trace = trace.zip(lanes).map(|(trace, lanes)| trace.start(lanes)).transpose()?;
    let host = Host { kvm, ram, files, exit, consoles, disks, taps, random, paused, observers };
    Ok(Prepared { host, job, ends, logs, trace })
}
