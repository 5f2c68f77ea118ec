//! Pauses and resumes a guest: vCPUs, and then devices ([`devices::pci`]). Only the main thread
//! does this, so that nothing can end the guest while it waits here.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use machine::vcpu::{PausedAt, Vcpu};

use super::Guest;

impl Guest {
    /// Pause the guest: first its vCPUs, then its devices. A paused guest stays paused.
    ///
    /// # Errors
    /// The names of the threads that the host holds in system calls that no signal ends, for longer
    /// than `patience`. The guest then runs again.
    pub(crate) fn pause(&self, patience: Duration) -> Result<(), String> {
        self.context.paused.store(true, Ordering::SeqCst);
        let hangs = |names: &[String]| {
            format!("{}: in a system call of the host's that hangs", names.join(", "))
        };
        let running = self.stop_vcpus(patience);
        if !running.is_empty() {
            // The devices have not been paused yet, and cannot be: as in `stop`.
            self.resume_vcpus();
            return Err(hangs(&running));
        }
        self.context.ports.clock.hold(true);
        let moving = self.context.ports.pci.pause(patience);
        if moving.is_empty() {
            return Ok(());
        }
        let why = hangs(&moving);
        self.resume(patience).map_err(|error| format!("{why}; {error}"))?;
        Err(why)
    }

    /// Stop the vCPUs and return where each was paused: `None` for a vCPU that has not stopped after
    /// `patience`, or whose registers KVM does not report.
    pub(crate) fn paused_at(&self, patience: Duration) -> Vec<(String, Option<PausedAt>)> {
        self.context.paused.store(true, Ordering::SeqCst);
        self.stop_vcpus(patience);
        self.running.iter().map(|vcpu| (vcpu.name(), vcpu.paused_at())).collect()
    }

    /// Stop the vCPUs; returns the names of those that have not stopped after `patience`.
    fn stop_vcpus(&self, patience: Duration) -> Vec<String> {
        let until = Instant::now() + patience;
        let mut running: Vec<&Vcpu> = self.running.iter().collect();
        let mut nap = Duration::from_micros(20);
        loop {
            running.retain(|vcpu| !vcpu.is_still());
            if running.is_empty() || Instant::now() >= until {
                return running.into_iter().map(Vcpu::name).collect();
            }
            thread::sleep(nap);
            nap = (nap * 2).min(Duration::from_millis(10));
        }
    }

    /// Resume the guest, in reverse order. A guest that runs continues.
    ///
    /// # Errors
    /// When the host has no threads for the guest's devices. The guest is then paused again, and
    /// the call may be repeated.
    pub(crate) fn resume(&self, patience: Duration) -> Result<(), String> {
        // A guest that runs may have a device's lock for long.
        if !self.context.paused.load(Ordering::SeqCst) {
            return Ok(());
        }
        if let Err(error) = self.context.ports.pci.resume() {
            self.context.ports.pci.pause(patience);
            return Err(format!("it cannot go on yet: starting a queue thread: {error}"));
        }
        self.resume_vcpus();
        Ok(())
    }

    fn resume_vcpus(&self) {
        self.context.ports.clock.hold(false);
        self.context.paused.store(false, Ordering::SeqCst);
        self.running.iter().for_each(Vcpu::wake);
    }
}
