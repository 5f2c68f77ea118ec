//! net0-rx: frames to the guest. The thread sleeps in readv(2) of the tap, and holds
//! enough of the driver's buffers for the largest frame.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use serde_json::Value;

use super::{HEADER, LARGEST, Link};
use crate::device::{Input, Service};
use crate::error::ServeError;
use crate::number::index;
use crate::request::Request;
use crate::state::StateError;

/// Offsets of `flags` and `num_buffers` in struct virtio_net_hdr.
const FLAGS: usize = 0;
const NUM_BUFFERS: usize = 10;

pub(super) struct NetReceive {
    pub(super) tap: File,
    pub(super) link: Arc<Link>,
    pub(super) pair: usize,
    /// A frame may lie in several of the driver's buffers (MRG_RXBUF).
    pub(super) merges: bool,
    /// The driver understands `flags` (GUEST_CSUM).
    pub(super) checksums: bool,
}

impl NetReceive {
    /// Sleeps until an interface that was deleted may exist again.
    fn wait_for_return(&self, error: Option<&io::Error>) -> ServeError {
        let name = std::thread::current();
        let name = name.name().unwrap_or_default();
        let why = error.map_or_else(|| "closed".to_string(), ToString::to_string);
        log::info!("{name}: reading frames: {why}; waiting for the interface to come back");
        match self.link.wait(self.pair) {
            Ok(()) => ServeError::Again,
            Err(error) => error.into(),
        }
    }
}

impl Service for NetReceive {
    /// Receives one frame. A frame for which the room is too small is lost, as with any
    /// network card, and the room is used for the next frame.
    fn serve(&mut self, request: &mut Request<'_>) -> Result<(), ServeError> {
        request.expect_nothing_from_guest()?;
        if request.to_guest.is_empty() {
            return Ok(());
        }
        let lacks_header = request.to_guest.len() < HEADER;
        let length = match request.to_guest.receive_from(self.tap.as_fd()) {
            Ok(Some(0)) => return Err(self.wait_for_return(None)),
            Ok(Some(length)) => length,
            Ok(None) => {
                request.count_error();
                return Err(ServeError::Again);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error.into()),
            // The room was too small: a tap does not cut the header, and drops the frame.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput && lacks_header => {
                request.count_error();
                return Err(ServeError::Again);
            }
            // EFAULT if the interface is deleted while we sleep, EBADFD from then on.
            Err(error) => return Err(self.wait_for_return(Some(&error))),
        };
        if length <= HEADER {
            return Err(ServeError::Again);
        }
        // The tap leaves `num_buffers` to us. Without GUEST_CSUM no flag has a
        // meaning, though the tap sets DATA_VALID (5.1.6.4.1).
        let count = request.chains_for(length);
        request.to_guest.overwrite(NUM_BUFFERS, &count.to_le_bytes());
        if !self.checksums {
            request.to_guest.overwrite(FLAGS, &[0]);
        }
        request.to_guest.consume(index(length));
        Ok(())
    }

    /// Frames wait in the tap. The rest follows from the accepted features.
    fn state(&self) -> Result<Value, StateError> {
        let Self { tap: _, link: _, pair: _, merges: _, checksums: _ } = self;
        Ok(Value::Null)
    }

    fn gathers(&self) -> Option<Input<'_>> {
        self.merges.then(|| Input { largest: LARGEST, from: self.tap.as_fd() })
    }

    fn may_block(&self, _request: &Request<'_>) -> bool {
        true
    }
}
