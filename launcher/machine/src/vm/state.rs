//! The state of what KVM emulates besides the vCPUs: interrupt controllers, the PIT, and the clock
//! of paravirtualized guests (kvm-clock).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use kvm_bindings::{
    KVM_CLOCK_REALTIME, KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE,
    kvm_clock_data, kvm_ioapic_state, kvm_irqchip, kvm_pic_state, kvm_pit_state2,
};
use kvm_ioctls::{Cap, Kvm, VmFd};
use serde::{Deserialize, Serialize};
use zerocopy::{FromBytes, IntoBytes};

use super::Vm;
use crate::raw::Raw;

/// The state of a virtual machine without its memory, its vCPUs and its devices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VmState {
    pic_master: Raw<kvm_pic_state>,
    pic_slave: Raw<kvm_pic_state>,
    io_apic: Raw<kvm_ioapic_state>,
    pit: Raw<kvm_pit_state2>,
    clock: ClockTime,
}

/// The guest's clock, and the time at which it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockTime {
    /// What kvm-clock showed, in nanoseconds.
    guest: u64,
    /// The host's CLOCK_REALTIME, in nanoseconds since 1970.
    host: u64,
}

impl VmState {
    /// The time that has passed since the state was read; zero if the host's clock was set back.
    pub fn passed(&self) -> Duration {
        Duration::from_nanos(host_time().saturating_sub(self.clock.host))
    }
}

impl Vm {
    /// Read the state. The vCPUs have to be paused.
    ///
    /// # Errors
    /// When KVM refuses a part.
    pub fn state(&self) -> Result<VmState> {
        let pic = |chip_id| get(&self.fd, chip_id).map(Raw::<kvm_pic_state>);
        Ok(VmState {
            pic_master: pic(KVM_IRQCHIP_PIC_MASTER)?,
            pic_slave: pic(KVM_IRQCHIP_PIC_SLAVE)?,
            io_apic: Raw(get(&self.fd, KVM_IRQCHIP_IOAPIC)?),
            pit: Raw(self.fd.get_pit2().context("KVM_GET_PIT2")?),
            clock: ClockTime::of(self.fd.get_clock().context("KVM_GET_CLOCK")?, host_time()),
        })
    }

    /// Set the state. The vCPUs have to be restored before, because the I/O APIC may send interrupts
    /// to them, and must not have run. The guest's clock moves on by the time that has passed.
    ///
    /// # Errors
    /// When KVM refuses a part. The machine is then of no use.
    pub fn restore(&self, state: &VmState) -> Result<()> {
        let VmState { pic_master, pic_slave, io_apic, pit, clock } = state;
        set(&self.fd, KVM_IRQCHIP_PIC_MASTER, pic_master.0.as_bytes())?;
        set(&self.fd, KVM_IRQCHIP_PIC_SLAVE, pic_slave.0.as_bytes())?;
        set(&self.fd, KVM_IRQCHIP_IOAPIC, io_apic.0.as_bytes())?;
        self.fd.set_pit2(&pit.0).context("KVM_SET_PIT2")?;
        let clock = if self.moves_clock { clock.to_move() } else { clock.moved(host_time()) };
        self.fd.set_clock(&clock).context("KVM_SET_CLOCK")
    }
}

/// Whether KVM moves the guest's clock on by itself: Linux 5.16 or later.
pub(super) fn moves_clock(kvm: &Kvm) -> bool {
    let flags = kvm.check_extension_int(Cap::AdjustClock).max(0).cast_unsigned();
    flags & KVM_CLOCK_REALTIME != 0
}

impl ClockTime {
    /// What KVM reports. `now` is the host's time, in case that KVM does not report it: it does if
    /// the host's own clock is the time stamp counter.
    fn of(clock: kvm_clock_data, now: u64) -> Self {
        let has_host_time = clock.flags & KVM_CLOCK_REALTIME != 0;
        Self { guest: clock.clock, host: if has_host_time { clock.realtime } else { now } }
    }

    /// The request to set the clock and to move it on.
    fn to_move(self) -> kvm_clock_data {
        kvm_clock_data {
            clock: self.guest,
            flags: KVM_CLOCK_REALTIME,
            realtime: self.host,
            ..Default::default()
        }
    }

    /// The request to set a clock that was moved on to the host's time `now`. A host whose clock was
    /// set back does not move it.
    fn moved(self, now: u64) -> kvm_clock_data {
        let passed = now.saturating_sub(self.host);
        kvm_clock_data { clock: self.guest.saturating_add(passed), ..Default::default() }
    }
}

/// The host's CLOCK_REALTIME, in nanoseconds since 1970.
fn host_time() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The bytes of [`kvm_irqchip`] before the state of the controller: its number, and padding.
const HEADER: usize = size_of::<u64>();

/// Read the state of an interrupt controller.
fn get<T: FromBytes>(fd: &VmFd, chip_id: u32) -> Result<T> {
    let mut chip = kvm_irqchip { chip_id, ..Default::default() };
    fd.get_irqchip(&mut chip)
        .with_context(|| format!("KVM_GET_IRQCHIP of controller {chip_id}"))?;
    let state = chip.as_bytes().get(HEADER..).unwrap_or_default();
    let state = T::read_from_prefix(state).ok().map(|(state, _)| state);
    state.context("KVM_GET_IRQCHIP: too few bytes")
}

/// Set the state of an interrupt controller.
fn set(fd: &VmFd, chip_id: u32, state: &[u8]) -> Result<()> {
    let mut bytes = [0; size_of::<kvm_irqchip>()];
    let header = chip_id.to_ne_bytes().into_iter().chain([0; 4]);
    for (to, byte) in bytes.iter_mut().zip(header.chain(state.iter().copied())) {
        *to = byte;
    }
    let chip = kvm_irqchip::read_from_bytes(&bytes).unwrap_or_default();
    fd.set_irqchip(&chip).with_context(|| format!("KVM_SET_IRQCHIP of controller {chip_id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_moves_on_by_the_time_that_has_passed() {
        let reported =
            |flags| kvm_clock_data { clock: 50, flags, realtime: 1000, ..Default::default() };
        let with = ClockTime::of(reported(KVM_CLOCK_REALTIME | 2), 1010);
        assert_eq!((with.guest, with.host), (50, 1000));
        let without = ClockTime::of(reported(2), 1010);
        assert_eq!((without.guest, without.host), (50, 1010));
        assert_eq!(with.moved(1700).clock, 750);
        assert_eq!(with.moved(900).clock, 50, "the host's clock was set back");
        assert_eq!(with.moved(u64::MAX).flags, 0);
        let by_kvm = with.to_move();
        assert_eq!((by_kvm.clock, by_kvm.realtime, by_kvm.flags), (50, 1000, KVM_CLOCK_REALTIME));
    }
}
