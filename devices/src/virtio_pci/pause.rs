//! Pauses and resumes a device: its threads hand back their
//! [`crate::queue_thread::ServedQueue`], and new threads continue it. The vCPUs are already
//! paused.

use std::io;
use std::time::{Duration, Instant};

use super::VirtioPci;
use crate::queue_thread::QueueThread;

impl VirtioPci {
    /// Begin to pause the device: its threads stop at a request boundary, and it
    /// raises no interrupt; see [`Self::wait_paused`]. Harmless if it is paused already.
    pub fn begin_pause(&mut self) {
        self.status.hold();
        for thread in &self.threads {
            thread.request_stop();
        }
    }

    /// Whether the device is paused, or is within `patience`. A reset that has begun is
    /// finished when the driver looks again.
    pub fn wait_paused(&self, patience: Duration) -> bool {
        let until = Some(Instant::now() + patience);
        // All of them: a thread that is not asked is not kicked out of its sleep.
        self.threads.iter().filter(|thread| !thread.wait_stopped(until)).count() == 0
    }

    /// Continue from the request boundary where it was paused, or from where it
    /// is if the pause has not finished. Harmless if it runs.
    ///
    /// # Errors
    /// When the host has no threads to give; nothing is lost.
    pub fn resume(&mut self) -> io::Result<()> {
        if !self.resetting {
            self.threads.iter_mut().try_for_each(QueueThread::resume)?;
        }
        self.status.release();
        Ok(())
    }
}
