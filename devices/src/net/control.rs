//! net0-ctl: the control queue (virtio 1.2, 5.1.6.5). Its only command sets the number of
//! queue pairs.

use std::sync::Arc;

use serde_json::Value;
use virtio_bindings::virtio_net::{
    VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, VIRTIO_NET_ERR, VIRTIO_NET_OK,
};

use super::{Interface, Link};
use crate::device::Service;
use crate::error::ServeError;
use crate::number::u8_constant;
use crate::request::Request;
use crate::state::StateError;

/// Values of `ack` in struct virtio_net_ctrl.
const ACK_OK: u8 = u8_constant(VIRTIO_NET_OK);
const ACK_ERROR: u8 = u8_constant(VIRTIO_NET_ERR);

pub(super) struct NetControl {
    interface: Arc<dyn Interface>,
    link: Arc<Link>,
    max_pairs: u16,
}

impl NetControl {
    pub(super) fn new(interface: Arc<dyn Interface>, link: Arc<Link>, max_pairs: u16) -> Self {
        Self { interface, link, max_pairs }
    }

    /// Carries a command out. Returns false if it is unknown or has failed.
    fn obey(&self, command: &[u8]) -> bool {
        let [class, number, low, high] = command else { return false };
        let pairs = u16::from_le_bytes([*low, *high]);
        u32::from(*class) == VIRTIO_NET_CTRL_MQ
            && u32::from(*number) == VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET
            && (1..=self.max_pairs).contains(&pairs)
            && self.link.set_pairs(pairs, self.interface.as_ref()).is_ok()
    }
}

impl Service for NetControl {
    fn serve(&mut self, request: &mut Request<'_>) -> Result<(), ServeError> {
        // A byte more than the longest command, so that a longer one is refused.
        let mut command = [0; 5];
        let length = request.from_guest.peek(&mut command);
        let done = self.obey(command.get(..length).unwrap_or_default());
        if !done {
            request.count_error();
        }
        request.to_guest.put(&[if done { ACK_OK } else { ACK_ERROR }]);
        Ok(())
    }

    /// A command is carried out in one call, and the device has the number of pairs.
    fn state(&self) -> Result<Value, StateError> {
        let Self { interface: _, link: _, max_pairs: _ } = self;
        Ok(Value::Null)
    }
}
