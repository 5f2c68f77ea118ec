//! Feature bits of the network device (virtio 1.2, 5.1.3), and how they depend on each
//! other (5.1.3.1). The launcher translates them into flags of the tap.

use virtio_bindings::virtio_net::{
    VIRTIO_NET_F_CSUM, VIRTIO_NET_F_CTRL_VQ, VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_ECN,
    VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_UFO,
    VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_GUEST_USO6, VIRTIO_NET_F_HOST_ECN,
    VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_HOST_UFO, VIRTIO_NET_F_HOST_USO,
    VIRTIO_NET_F_MAC, VIRTIO_NET_F_MQ, VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_F_MTU,
    VIRTIO_NET_F_STATUS,
};

/// The guest takes frames without their checksum.
pub const GUEST_CSUM: u64 = 1 << VIRTIO_NET_F_GUEST_CSUM;
/// The guest takes large segments of TCP over IPv4.
pub const GUEST_TSO4: u64 = 1 << VIRTIO_NET_F_GUEST_TSO4;
/// The guest takes large segments of TCP over IPv6.
pub const GUEST_TSO6: u64 = 1 << VIRTIO_NET_F_GUEST_TSO6;
/// The guest takes large TCP segments with explicit congestion notification.
pub const GUEST_ECN: u64 = 1 << VIRTIO_NET_F_GUEST_ECN;
/// The guest takes UDP packets larger than the MTU.
pub const GUEST_UFO: u64 = 1 << VIRTIO_NET_F_GUEST_UFO;
/// The guest takes many UDP packets over IPv4 in one frame.
pub const GUEST_USO4: u64 = 1 << VIRTIO_NET_F_GUEST_USO4;
/// The guest takes many UDP packets over IPv6 in one frame.
pub const GUEST_USO6: u64 = 1 << VIRTIO_NET_F_GUEST_USO6;

/// All offloads that an interface can have. Each applies to frames in both directions.
pub const OFFLOADS: u64 =
    GUEST_CSUM | GUEST_TSO4 | GUEST_TSO6 | GUEST_ECN | GUEST_UFO | GUEST_USO4 | GUEST_USO6;

pub(super) const MTU: u64 = 1 << VIRTIO_NET_F_MTU;
pub(super) const MRG_RXBUF: u64 = 1 << VIRTIO_NET_F_MRG_RXBUF;
pub(super) const CTRL_VQ: u64 = 1 << VIRTIO_NET_F_CTRL_VQ;
pub(super) const MQ: u64 = 1 << VIRTIO_NET_F_MQ;

/// Pairs of features: one of frames to the guest, and the same one of frames from the guest.
const HOST: [(u64, u32); 6] = [
    (GUEST_CSUM, VIRTIO_NET_F_CSUM),
    (GUEST_TSO4, VIRTIO_NET_F_HOST_TSO4),
    (GUEST_TSO6, VIRTIO_NET_F_HOST_TSO6),
    (GUEST_ECN, VIRTIO_NET_F_HOST_ECN),
    (GUEST_UFO, VIRTIO_NET_F_HOST_UFO),
    (GUEST_USO4 | GUEST_USO6, VIRTIO_NET_F_HOST_USO),
];

/// Returns the features that a device offers if its interface has these `offloads`.
pub(super) fn offered(offloads: u64) -> u64 {
    let always = 1 << VIRTIO_NET_F_MAC | 1 << VIRTIO_NET_F_STATUS | MRG_RXBUF;
    let host = HOST.iter().filter(|(guest, _)| offloads & guest == *guest);
    host.fold(always | offloads, |bits, (_, host)| bits | 1 << host)
}

/// Returns the offloads that can be used with the features that a driver has accepted. A
/// driver should not accept a feature without those that it needs; if one does, the
/// feature is not used.
pub(super) fn usable(accepted: u64) -> u64 {
    let mut offloads = accepted & OFFLOADS;
    if offloads & GUEST_CSUM == 0 {
        return 0;
    }
    if offloads & (GUEST_TSO4 | GUEST_TSO6) == 0 {
        offloads &= !GUEST_ECN;
    }
    // Linux' tap has USO for both protocols or for none.
    if offloads & GUEST_USO4 == 0 || offloads & GUEST_USO6 == 0 {
        offloads &= !(GUEST_USO4 | GUEST_USO6);
    }
    offloads
}
