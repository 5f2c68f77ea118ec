//! What exists before the first guest, and outlives all guests of a launch: files, devices and
//! names are opened here, then privileges are dropped, and then the first threads start.

use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use host::disk;
use host::exit::Exit;
use host::inherited::{self, Inherited};
use host::net;
use host::privilege::PrivilegeDrop;
use host::progress;
use host::trace::{self, Trace, TraceRings};
use machine::boot;
use machine::memory::Ram;
use machine::vm;

use crate::boot_test;
use crate::config::Config;
use crate::config::console::ConsoleConfig;
use crate::console::{self, OpenBackend};
use crate::exec::{self, ExecJob};
use crate::guest::Host;
use crate::observers::Observers;
use crate::runtime::Claim;
use crate::snapshot::GuestOrigin;

/// What exists before the first guest.
pub(super) struct Prepared {
    pub(super) host: Host,
    /// The command for the guest (`--exec`), if there is one.
    pub(super) job: Option<ExecJob>,
    pub(super) backends: Vec<OpenBackend>,
    pub(super) test_files: boot_test::BootTestFiles,
    /// The trace, which is written until this is dropped.
    pub(super) trace: Option<Trace>,
}

/// What the user wants.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) config: &'a Config,
    pub(super) consoles: &'a [ConsoleConfig],
    pub(super) origin: &'a GuestOrigin,
}

/// Make what all guests of this launch share: first what may need privileges, then the threads.
pub(super) fn prepare(
    wanted: Wanted<'_>,
    privileges: &PrivilegeDrop,
    claim: &mut Option<(Claim, UnixListener)>,
    inherited: &mut Inherited,
) -> Result<Prepared> {
    let Wanted { config, consoles, origin } = wanted;
    let snapshot = origin.snapshot();
    let mut files = boot::BootFiles::new(&config.kernel, &config.initrd, progress::watch);
    let job = exec::prepare(config, consoles.len(), &mut files, origin.exec_path())?;
    if privileges.is_wanted() {
        files.keep()?;
    } else if config.detach {
        files.keep_if(inherited::is_named_by_descriptor)?;
    }
    let disks = disk::open_all(&config.block, config.cpus)?;
    snapshot.map_or(Ok(()), |snapshot| snapshot.check_disks(&disks))?;
    let random = config.rng.as_deref().map(disk::open_random).transpose()?;
    let kvm = vm::open_kvm()?;
    vm::check_cpus(&kvm, config.cpus)?;
    let ram = match snapshot {
        Some(snapshot) => Ram::restored(config.memory, &snapshot.memory)?,
        None => Ram::new(config.memory)?,
    };
    let taps = net::open(&config.tunnet)?;
    let trace = config.trace.file.as_deref().map(trace::Opened::new).transpose()?;
    // Opened last, because opening empties files.
    let (consoles, backends): (Vec<_>, _) = console::open_all(consoles)?.into_iter().unzip();
    for (console, saved) in consoles.iter().zip(snapshot.iter().flat_map(|it| &it.consoles)) {
        let number = console.number;
        console.restore(saved).with_context(|| format!("the snapshot's console {number}"))?;
    }
    let test_files = boot_test::BootTestFiles::open(&config.boot_test)?;
    if privileges.is_wanted() {
        claim.iter_mut().for_each(|(claim, _)| claim.close_directories());
        inherited.close();
    }
    privileges.enter()?;

    net::follow(&taps)?;
    let exit = Arc::new(Exit::new()?);
    let paused = Arc::new(AtomicBool::new(false));
    let rings = trace.is_some().then(|| Arc::new(TraceRings::default()));
    let observers = Arc::new(Observers::new(config.cpus, rings.clone()));
    let trace = trace.zip(rings).map(|(trace, rings)| trace.start(rings)).transpose()?;
    let host = Host { kvm, ram, files, exit, consoles, disks, taps, random, paused, observers };
    Ok(Prepared { host, job, backends, test_files, trace })
}
