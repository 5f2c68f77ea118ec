//! net0-tx: frames from the guest, each with one writev(2). A frame that the tap does not
//! take is lost, as on any network. The guest gets no error, whether the frame was
//! malformed or the interface is down or gone.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use serde_json::Value;

use super::{HEADER, LARGEST};
use crate::device::Service;
use crate::error::ServeError;
use crate::request::Request;
use crate::state::StateError;

pub(super) struct NetTransmit {
    tap: File,
    /// The number of frames that were dropped.
    dropped: u64,
}

impl NetTransmit {
    pub(super) fn new(tap: File) -> Self {
        Self { tap, dropped: 0 }
    }

    fn drop_frame(&mut self, request: &mut Request<'_>) {
        self.dropped += 1;
        request.count_error();
    }
}

impl Service for NetTransmit {
    fn serve(&mut self, request: &mut Request<'_>) -> Result<(), ServeError> {
        request.expect_nothing_to_guest()?;
        let length = request.from_guest.len();
        if length <= HEADER || length > LARGEST {
            self.drop_frame(request);
            return Ok(());
        }
        match request.from_guest.send_to(self.tap.as_fd()) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error.into()),
            // EINVAL for a malformed frame, EIO while the interface is down,
            // EBADFD when it is gone, and a few for a host without memory.
            Err(_) => self.drop_frame(request),
        }
        Ok(())
    }

    /// A frame is sent as a whole or not at all. The count is for the log of one thread.
    fn state(&self) -> Result<Value, StateError> {
        let Self { tap: _, dropped: _ } = self;
        Ok(Value::Null)
    }
}

impl Drop for NetTransmit {
    fn drop(&mut self) {
        if self.dropped > 0 {
            let thread = std::thread::current();
            log::debug!("{}: {} frames lost", thread.name().unwrap_or_default(), self.dropped);
        }
    }
}
