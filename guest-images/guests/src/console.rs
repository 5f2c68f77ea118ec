//! A driver for the virtio console (virtio 1.2, 5.3) with one port. It does what a kernel's driver
//! does, in the same order.

use core::fmt;

use crate::boot_params::Arguments;
use crate::interrupts::{self, Wait};
use crate::queue::Queue;
use crate::ring::WRITE;
use crate::virtio::{F_EVENT_IDX, F_VERSION_1, Virtio};

/// The device type, and VIRTIO_CONSOLE_F_SIZE.
const CONSOLE: u16 = 3;
const F_SIZE: u64 = 1 << 0;

/// The queues of the console.
const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;

/// The entries of the MSI-X table.
const CONFIG_ENTRY: u16 = 0;
const RECEIVE_ENTRY: u16 = 1;
const TRANSMIT_ENTRY: u16 = 2;

/// The size of a buffer of either queue.
pub(crate) const BUFFER: usize = 4096;

/// A console and its driver.
#[derive(Debug)]
pub(crate) struct Console {
    /// The device, for modes that break it.
    pub(crate) device: Virtio,
    pub(crate) receive: Queue,
    pub(crate) transmit: Queue,
    wanted: u64,
    accepted: u64,
    wait: Wait,
}

impl Console {
    /// Finds the first console. The option `event_idx` on the command line negotiates
    /// VIRTIO_F_EVENT_IDX, `wait=halt` makes the driver sleep while it waits.
    pub(crate) fn find(arguments: &Arguments<'_>) -> Self {
        let Some(device) = Virtio::find(CONSOLE) else { fail!("probe: no virtio console") };
        Self::of(device, arguments, u16::MAX)
    }

    /// Finds all consoles, in the order of the bus. Each gets queues of at most `entries` entries.
    pub(crate) fn all<'a>(
        arguments: &'a Arguments<'_>,
        entries: u16,
    ) -> impl Iterator<Item = Self> + 'a {
        let consoles = Virtio::all().filter(|(kind, _)| *kind == CONSOLE);
        consoles.map(move |(_, device)| Self::of(device, arguments, entries))
    }

    fn of(device: Virtio, arguments: &Arguments<'_>, entries: u16) -> Self {
        let event_idx = if arguments.has("event_idx") { F_EVENT_IDX } else { 0 };
        interrupts::enable();
        device.reset();
        let size = u32::try_from(BUFFER).unwrap_or(0);
        let queue = |index| Queue::new(index, device.queue_size(index).min(entries), size);
        Self {
            receive: queue(RECEIVE),
            transmit: queue(TRANSMIT),
            device,
            wanted: F_VERSION_1 | F_SIZE | event_idx,
            accepted: 0,
            wait: Wait::chosen(arguments),
        }
    }

    /// Resets the device and starts it. Works at any time.
    pub(crate) fn start(&mut self) {
        let device = self.device;
        self.accepted = device.negotiate(self.wanted);
        if self.accepted != self.wanted {
            fail!("probe: of the features {:#x}, {:#x} are offered", self.wanted, self.accepted);
        }
        for (entry, vector) in [
            (CONFIG_ENTRY, interrupts::CONFIG),
            (RECEIVE_ENTRY, interrupts::RECEIVE),
            (TRANSMIT_ENTRY, interrupts::TRANSMIT),
        ] {
            device.msix.set(entry, interrupts::message(vector));
        }
        device.msix.enable(true);
        device.set_config_vector(CONFIG_ENTRY);
        let event_idx = self.accepted & F_EVENT_IDX != 0;
        for (queue, entry) in
            [(&mut self.receive, RECEIVE_ENTRY), (&mut self.transmit, TRANSMIT_ENTRY)]
        {
            queue.clear(event_idx);
            let doorbell = device.enable_queue(queue.index(), &queue.ring, entry);
            queue.set_doorbell(doorbell);
        }
        device.driver_ok();
        while let Some(head) = self.receive.free() {
            self.receive.offer_all(head, WRITE);
        }
        self.receive.notify();
    }

    /// Returns columns and rows (5.3.4).
    pub(crate) fn size(&self) -> (u16, u16) {
        self.device.read_config(|config| (config.read(0), config.read(2)))
    }

    /// Waits for input, and returns it. It is never empty.
    pub(crate) fn read<'b>(&mut self, buffer: &'b mut [u8; BUFFER]) -> &'b [u8] {
        let (wait, mut length) = (self.wait, 0);
        wait.until(|| {
            length = self.take_input(buffer);
            length > 0
        });
        buffer.get(..length).unwrap_or_default()
    }

    /// Returns input if there is some.
    pub(crate) fn try_read<'b>(&mut self, buffer: &'b mut [u8; BUFFER]) -> Option<&'b [u8]> {
        let length = self.take_input(buffer);
        buffer.get(..length).filter(|input| !input.is_empty())
    }

    /// Copies waiting input into the buffer, and returns its length.
    fn take_input(&mut self, buffer: &mut [u8; BUFFER]) -> usize {
        let receive = &mut self.receive;
        while let Some(used) = receive.take_used() {
            let length = usize::try_from(used.length).unwrap_or(0);
            let filled = buffer.get_mut(..length).unwrap_or_default();
            receive.buffer(used.head).read_bytes(0, filled);
            receive.offer_all(used.head, WRITE);
            receive.notify();
            if length > 0 {
                return length;
            }
        }
        0
    }

    /// Whether a write would not have to wait for a buffer.
    pub(crate) fn has_room(&mut self) -> bool {
        self.transmit.free().is_some() || self.transmit.take_used().is_some()
    }

    /// Writes output. The device may not have taken it when this returns.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(BUFFER) {
            let head = self.free_buffer();
            self.transmit.buffer(head).write_bytes(0, chunk);
            self.transmit.offer(head, u32::try_from(chunk.len()).unwrap_or(0), 0);
            self.transmit.notify();
        }
    }

    /// Waits until the device has taken all output.
    pub(crate) fn flush(&mut self) {
        let transmit = &mut self.transmit;
        self.wait.until(|| {
            while transmit.take_used().is_some() {}
            transmit.is_idle()
        });
    }

    /// Waits for interrupts until `done` returns true.
    pub(crate) fn wait_until(&self, done: impl FnMut() -> bool) {
        self.wait.until(done);
    }

    fn free_buffer(&mut self) -> u16 {
        loop {
            let transmit = &mut self.transmit;
            if let Some(head) = transmit.free() {
                return head;
            }
            self.wait.until(|| transmit.take_used().is_some());
        }
    }
}

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write(text.as_bytes());
        Ok(())
    }
}
