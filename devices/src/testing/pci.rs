//! How a driver finds its way about a virtio device on PCI: the capability list,
//! and the registers of the common configuration by name and width. The offsets
//! are those of the specification, written down a second time on purpose.

use crate::virtio_pci::VirtioPci;

/// A register: offset in its structure and width in bytes.
pub type Register = (u64, usize);

/// struct virtio_pci_common_cfg (virtio 1.2, 4.1.4.3).
pub mod common {
    use super::Register;

    /// Which half of the offered features is shown.
    pub const DEVICE_FEATURE_SELECT: Register = (0, 4);
    /// Offered features.
    pub const DEVICE_FEATURE: Register = (4, 4);
    /// Which half of the accepted features is shown.
    pub const DRIVER_FEATURE_SELECT: Register = (8, 4);
    /// Accepted features.
    pub const DRIVER_FEATURE: Register = (12, 4);
    /// Vector of configuration changes.
    pub const CONFIG_VECTOR: Register = (16, 2);
    /// How many queues there are.
    pub const NUM_QUEUES: Register = (18, 2);
    /// Device status.
    pub const STATUS: Register = (20, 1);
    /// Changes with the device's configuration.
    pub const GENERATION: Register = (21, 1);
    /// Which queue the rest is about.
    pub const QUEUE_SELECT: Register = (22, 2);
    /// Entries.
    pub const QUEUE_SIZE: Register = (24, 2);
    /// Vector of the queue.
    pub const QUEUE_VECTOR: Register = (26, 2);
    /// Whether it is in use.
    pub const QUEUE_ENABLE: Register = (28, 2);
    /// Where its doorbell is.
    pub const QUEUE_NOTIFY_OFF: Register = (30, 2);
    /// Descriptor table.
    pub const QUEUE_DESC: Register = (32, 8);
    /// Avail ring.
    pub const QUEUE_DRIVER: Register = (40, 8);
    /// Used ring.
    pub const QUEUE_DEVICE: Register = (48, 8);
    /// Only with VIRTIO_F_NOTIFICATION_DATA.
    pub const QUEUE_NOTIFY_DATA: Register = (56, 2);
    /// Only with VIRTIO_F_RING_RESET.
    pub const QUEUE_RESET: Register = (58, 2);
}

/// PCI command register.
pub const COMMAND: usize = 0x04;
/// The one BAR.
pub const BAR0: usize = 0x10;

/// Where everything lies: offsets in BAR 0, and in the configuration space for
/// the last two.
#[derive(Debug, Clone, Copy, Default)]
pub struct Map {
    /// Common configuration.
    pub common: u64,
    /// Notifications.
    pub notify: u64,
    /// Distance from one doorbell to the next.
    pub notify_step: u64,
    /// Interrupt status.
    pub isr: u64,
    /// Configuration of the device type.
    pub device: u64,
    /// MSI-X table.
    pub msix_table: u64,
    /// MSI-X pending bits.
    pub msix_pending: u64,
    /// MSI-X vectors.
    pub vectors: u16,
    /// The MSI-X capability.
    pub msix: usize,
    /// The PCI_CFG window.
    pub window: usize,
}

impl Map {
    /// Walk the capability list.
    pub fn find(device: &mut VirtioPci) -> Self {
        let mut map = Self::default();
        let mut at = usize::from(config::<1>(device, 0x34)[0]);
        while at != 0 {
            let [kind, next] = config(device, at);
            match kind {
                0x11 => map.note_msix(device, at),
                0x09 => map.note_virtio(device, at),
                other => panic!("capability {other:#x}"),
            }
            at = usize::from(next);
        }
        map
    }

    fn note_msix(&mut self, device: &mut VirtioPci, at: usize) {
        self.msix = at;
        self.vectors = u16::from_le_bytes(config(device, at + 2)) + 1;
        self.msix_table = u32::from_le_bytes(config(device, at + 4)).into();
        self.msix_pending = u32::from_le_bytes(config(device, at + 8)).into();
    }

    fn note_virtio(&mut self, device: &mut VirtioPci, at: usize) {
        let [_, kind, bar, ..] = config::<6>(device, at + 2);
        assert_eq!(bar, 0, "everything is in BAR 0");
        let offset = u64::from(u32::from_le_bytes(config(device, at + 8)));
        match kind {
            1 => self.common = offset,
            2 => {
                self.notify = offset;
                self.notify_step = u32::from_le_bytes(config(device, at + 16)).into();
            }
            3 => self.isr = offset,
            4 => self.device = offset,
            5 => self.window = at,
            other => panic!("virtio capability {other}"),
        }
    }
}

/// `N` bytes of the configuration space.
pub fn config<const N: usize>(device: &mut VirtioPci, at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    for (offset, byte) in bytes.iter_mut().enumerate() {
        device.read_config(at + offset, std::slice::from_mut(byte));
    }
    bytes
}
