//! Pauses and resumes a device: its threads hand back their
//! [`crate::queue_thread::ServedQueue`], and new threads continue it. The vCPUs are already
//! paused.

use std::io;
use std::time::{Duration, Instant};

use super::VirtioPci;
use crate::queue_thread::QueueThread;

impl VirtioPci {
    /// Begins to pause the device: its threads stop at a request boundary, and the device
    /// raises no interrupt. [`Self::wait_paused`] waits for that. Harmless if the device is
    /// paused already.
    pub fn begin_pause(&mut self) {
        self.status.hold();
        for thread in &self.threads {
            thread.request_stop();
        }
    }

    /// Waits until the device is paused, for at most `patience`. Returns whether it is. A
    /// reset that has begun is finished when the driver next reads the registers.
    pub fn wait_paused(&self, patience: Duration) -> bool {
        let until = Some(Instant::now() + patience);
        // Wait for all threads, since waiting also kicks them out of their sleep.
        self.threads.iter().filter(|thread| !thread.wait_stopped(until)).count() == 0
    }

    /// Resumes the device from the request boundary where it was paused, or withdraws a
    /// pause that has not finished. Harmless if the device runs. After
    /// [`Self::restore`] this also sends the interrupts that may have been under way.
    ///
    /// # Errors
    /// When the host cannot start a thread. Nothing is lost.
    pub fn resume(&mut self) -> io::Result<()> {
        if !self.resetting {
            self.threads.iter_mut().try_for_each(QueueThread::resume)?;
        }
        for vector in std::mem::take(&mut self.interrupts) {
            // A masked one is pending if its pending bit says so.
            if self.msix.is_connected(vector) {
                self.status.interrupt(vector).trigger();
            }
        }
        self.status.release();
        Ok(())
    }
}
