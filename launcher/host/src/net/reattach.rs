//! The reactions of a tap to changes of its interface: the card's link is up when the interface
//! is. A deleted interface is like an unplugged cable, until the user makes a tap of the
//! same name (`ip tuntap add`).

use std::io;
use std::os::fd::AsFd;

use super::sys;
use super::tap::Tap;

impl Tap {
    /// React to a report that an interface of this index and name exists, and is up or down.
    pub(super) fn seen(&self, index: u32, name: &str, up: bool) {
        let mut state = self.state();
        let ours = state.index == Some(index);
        if !ours && (state.index.is_some() || state.name != name) {
            return;
        }
        if !ours {
            match self.reattach(name, state.offloads, state.pairs) {
                Ok(()) => log::info!("{name} is back"),
                Err(error) => return log::info!("{name} is there again, but: {error}"),
            }
            state.index = Some(index);
            self.link.came_back();
        }
        // The interface may have been renamed.
        state.name = name.to_string();
        drop(state);
        self.set_link(up);
    }

    /// React to a report that the interface of this index is gone from our network namespace.
    pub(super) fn lost(&self, index: u32) {
        let mut state = self.state();
        if state.index != Some(index) {
            return;
        }
        if self.is_attached() {
            return log::info!("{} has moved to another network namespace", state.name);
        }
        state.index = None;
        log::warn!("{} was deleted: the guest's link is down until it is made again", state.name);
        drop(state);
        self.set_link(false);
    }

    fn set_link(&self, up: bool) {
        if self.link.set(up) {
            log::debug!("{}: link {}", self.name(), if up { "up" } else { "down" });
            let device = self.state().device.upgrade();
            if let Some(device) = device {
                device.config_changed();
            }
        }
    }

    /// Attach the descriptors to another interface, after theirs is gone.
    fn reattach(&self, name: &str, offloads: u64, pairs: u16) -> io::Result<()> {
        for file in &self.queues {
            sys::attach(file.as_fd(), name, self.multi_queue)?;
        }
        self.set_header()?;
        self.tell_offloads(offloads)?;
        let all = u16::try_from(self.queues.len()).map_err(io::Error::other)?;
        self.switch_queues(all, pairs)
    }
}
