//! Pauses and resumes a guest: vCPUs, and then devices ([`devices::pci`]). All of this
//! happens in the main thread, so that nothing can end the guest while it waits here.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use machine::vcpu::{PausedAt, Vcpu};

use super::Guest;

impl Guest {
    /// Pause the guest: first its vCPUs, then its devices. Harmless if it is
    /// paused already.
    ///
    /// # Errors
    /// The names of the threads that the host has in system calls that no signal ends,
    /// if it does for longer than `patience`. The guest goes on then.
    pub(crate) fn pause(&self, patience: Duration) -> Result<(), String> {
        self.context.paused.store(true, Ordering::SeqCst);
        let hangs = |names: &[String]| {
            format!("{}: in a system call of the host's that hangs", names.join(", "))
        };
        let running = self.stop_vcpus(patience);
        if !running.is_empty() {
            // The devices have not been told yet, and cannot be: as in `stop`.
            self.let_vcpus_go();
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

    /// Stop the vCPUs and return what each was doing, without those that have not stopped after
    /// `patience`.
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

    /// Let it go on, in the reverse order. Harmless if it does already.
    ///
    /// # Errors When the host has no threads for its devices: the guest is then
    /// paused again, and the call may be repeated.
    pub(crate) fn resume(&self, patience: Duration) -> Result<(), String> {
        // One that runs may have a device's lock for long.
        if !self.context.paused.load(Ordering::SeqCst) {
            return Ok(());
        }
        if let Err(error) = self.context.ports.pci.resume() {
            self.context.ports.pci.pause(patience);
            return Err(format!("it cannot go on yet: starting a queue thread: {error}"));
        }
        self.let_vcpus_go();
        Ok(())
    }

    fn let_vcpus_go(&self) {
        self.context.ports.clock.hold(false);
        self.context.paused.store(false, Ordering::SeqCst);
        self.running.iter().for_each(Vcpu::wake);
    }
}
