//! The MSRs of a vCPU in a snapshot.

use std::ops::Range;

use anyhow::{Context, Result, bail};
use kvm_bindings::{KVM_MAX_MSR_ENTRIES, Msrs, kvm_lapic_state, kvm_msr_entry};
use kvm_ioctls::{Kvm, VcpuFd};
use serde::{Deserialize, Serialize};

/// The time stamp counter.
const TSC: u32 = 0x10;
/// The time at which the local APIC's timer interrupts, in units of the time stamp counter.
const TSC_DEADLINE: u32 = 0x6e0;

/// MSRs that KVM's list lacks: memory types (fixed and variable MTRRs, the default type), machine
/// checks (four for each bank), and all of KVM's own. A vCPU that lacks some has no state there.
const UNLISTED: [Range<u32>; 7] = [
    0x200..0x220,
    0x250..0x251,
    0x258..0x25a,
    0x268..0x270,
    0x2ff..0x300,
    0x400..0x480,
    0x4b56_4d00..0x4b56_4d10,
];

/// MSRs of Hyper-V's interface, which guests do not have.
const HYPER_V: Range<u32> = 0x4000_0000..0x4000_0200;

// The local APIC's registers (Intel SDM volume 3, 11.5.1 and 11.8.4): offsets in bytes.
const TIMER: usize = 0x320;
const IN_SERVICE: usize = 0x100;
const REQUESTED: usize = 0x200;

/// An MSR with its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Msr {
    pub(super) index: u32,
    pub(super) value: u64,
}

/// The numbers of all MSRs that a vCPU may have.
pub(super) fn indices(kvm: &Kvm) -> Result<Vec<u32>> {
    let listed = kvm.get_msr_index_list().context("KVM_GET_MSR_INDEX_LIST")?;
    let mut all = listed.as_slice().to_vec();
    all.extend(UNLISTED.into_iter().flatten());
    all.retain(|index| !HYPER_V.contains(index));
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// Read those of these MSRs that the vCPU has.
pub(super) fn read(fd: &VcpuFd, indices: &[u32]) -> Result<Vec<Msr>> {
    let mut all = Vec::new();
    let mut left = indices;
    while !left.is_empty() {
        let asked = left.iter().take(KVM_MAX_MSR_ENTRIES);
        let entries = asked.map(|index| kvm_msr_entry { index: *index, ..Default::default() });
        let entries: Vec<_> = entries.collect();
        let mut list = Msrs::from_entries(&entries).context("making a list of MSRs")?;
        let count = fd.get_msrs(&mut list).context("KVM_GET_MSRS")?;
        let read = list.as_slice().iter().take(count);
        all.extend(read.map(|entry| Msr { index: entry.index, value: entry.data }));
        // KVM stops at the first MSR that the vCPU does not have.
        let done = if count < entries.len() { count + 1 } else { count };
        left = left.get(done..).unwrap_or_default();
    }
    Ok(all)
}

/// Move the time stamp counter on.
pub(super) fn move_on(msrs: &mut [Msr], ticks: u64) {
    for msr in msrs.iter_mut().filter(|msr| msr.index == TSC) {
        msr.value = msr.value.wrapping_add(ticks);
    }
}

/// Set these MSRs.
///
/// # Errors
/// When KVM refuses one. The text names it.
pub(super) fn set(fd: &VcpuFd, msrs: &[Msr], lapic: &kvm_lapic_state) -> Result<()> {
    // The deadline last: the timer compares it with the time stamp counter when it is set.
    let (deadlines, others): (Vec<Msr>, _) = msrs.iter().partition(|msr| msr.index == TSC_DEADLINE);
    let now = others.iter().find(|msr| msr.index == TSC).map_or(0, |msr| msr.value);
    let deadlines = deadlines.into_iter().map(|msr| due(msr, now, lapic));
    let ordered: Vec<_> = others.iter().copied().chain(deadlines).collect();
    for chunk in ordered.chunks(KVM_MAX_MSR_ENTRIES) {
        let entry =
            |msr: &Msr| kvm_msr_entry { index: msr.index, data: msr.value, ..Default::default() };
        let entries: Vec<_> = chunk.iter().map(entry).collect();
        let list = Msrs::from_entries(&entries).context("making a list of MSRs")?;
        let count = fd.set_msrs(&list).context("KVM_SET_MSRS")?;
        // KVM stops at the first MSR that it refuses.
        if let Some(Msr { index, value }) = chunk.get(count) {
            bail!("KVM refuses the value {value:#x} of MSR {index:#x}");
        }
    }
    Ok(())
}

/// The deadline to set. 0 means that the timer has expired; its interrupt may have come after the
/// APIC's registers were read, so that it is in neither. Then the timer expires again, at once: an
/// interrupt too many is harmless, and without one the guest may wait for ever.
fn due(deadline: Msr, now: u64, lapic: &kvm_lapic_state) -> Msr {
    const MODE: u32 = 3 << 17;
    const DEADLINE_MODE: u32 = 2 << 17;
    const MASKED: u32 = 1 << 16;
    let register = |offset: usize| {
        let bytes = lapic.regs.get(offset..offset.saturating_add(4)).unwrap_or_default();
        bytes.iter().rev().fold(0, |all, byte| all << 8 | u32::from(byte.cast_unsigned()))
    };
    let timer = register(TIMER);
    let is_armed = timer & MODE == DEADLINE_MODE && timer & MASKED == 0;
    // 32 vectors in each register, and 16 bytes from one register to the next.
    let (vector, word) = (timer & 0x1f, usize::try_from(timer >> 5 & 7).unwrap_or(0));
    let has = |first: usize| register(first + word * 16) >> vector & 1 == 1;
    if deadline.value == 0 && is_armed && !has(REQUESTED) && !has(IN_SERVICE) {
        return Msr { value: now.max(1), ..deadline };
    }
    deadline
}

#[cfg(test)]
mod tests {
    use super::*;

    const VECTOR: u32 = 0xec;

    fn deadline(value: u64, timer: u32, interrupts: &[(usize, u32)]) -> u64 {
        let mut lapic = kvm_lapic_state::default();
        let mut put = |offset: usize, value: u32| {
            for (byte, new) in lapic.regs[offset..].iter_mut().zip(value.to_le_bytes()) {
                *byte = new.cast_signed();
            }
        };
        put(TIMER, timer);
        for (first, vector) in interrupts {
            put(first + (vector / 32) as usize * 16, 1 << (vector % 32));
        }
        due(Msr { index: TSC_DEADLINE, value }, 1000, &lapic).value
    }

    #[test]
    fn an_expired_timer_whose_interrupt_is_nowhere_expires_again() {
        let armed = 2 << 17 | VECTOR;
        assert_eq!(deadline(0, armed, &[]), 1000);
        assert_eq!(deadline(0, armed, &[(REQUESTED, VECTOR - 1)]), 1000);
        assert_eq!(deadline(0, armed, &[(REQUESTED, VECTOR)]), 0);
        assert_eq!(deadline(0, armed, &[(IN_SERVICE, VECTOR)]), 0);
        assert_eq!(deadline(0, armed | 1 << 16, &[]), 0, "masked");
        assert_eq!(deadline(0, 1 << 17 | VECTOR, &[]), 0, "periodic");
        assert_eq!(deadline(5, armed, &[]), 5);
    }
}
