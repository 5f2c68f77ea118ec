//! CPUID as the guest sees it: what the host's KVM supports, with the topology
//! of the machine instead of the host's: one socket, one thread a core, APIC ids
//! in order; and without those [`Features`] that the user did not ask for.

mod entry;
pub mod feature;

use anyhow::{Context, Result};
use kvm_bindings::{
    CpuId, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, KVM_MAX_CPUID_ENTRIES, kvm_cpuid_entry2,
};
use kvm_ioctls::{Cap, Kvm};

pub use entry::{CpuidEntry, cpuid, entries};
pub use feature::Features;

/// Leaf 1, ECX: the local APIC's timer has a TSC deadline mode.
const TSC_DEADLINE: u32 = 1 << 24;
/// Leaf 1, ECX: the CPU runs under a hypervisor.
const HYPERVISOR: u32 = 1 << 31;
/// Leaf 1, EDX: EBX has the number of logical processors.
const HTT: u32 = 1 << 28;

// Levels of the extended topology (leaf 0xb).
const LEVEL_SMT: u32 = 1;
const LEVEL_CORE: u32 = 2;

/// The CPUID of all CPUs of one machine.
pub struct Cpus {
    entries: Vec<kvm_cpuid_entry2>,
    count: u32,
}

impl Cpus {
    /// `count` CPUs as `kvm` can offer them, with these features.
    ///
    /// # Errors
    /// When KVM does not report the CPUID that it supports.
    pub fn new(kvm: &Kvm, count: u8, features: Features) -> Result<Self> {
        let supported = kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .context("asking KVM for the CPUID it supports")?;
        let mut entries = supported.as_slice().to_vec();
        // Two leaves describe the host's topology; the machine's is added below.
        entries.retain(|entry| !matches!(entry.function, 0xb | 0x1f));
        let deadline = kvm.check_extension(Cap::TscDeadlineTimer);
        for entry in entries.iter_mut().filter(|entry| entry.function == 1) {
            entry.ecx |= HYPERVISOR | if deadline { TSC_DEADLINE } else { 0 };
        }
        feature::hide_others(features, &mut entries);
        Ok(Self { entries, count: count.into() })
    }

    /// The first physical address that these CPUs cannot reach.
    pub fn address_limit(&self) -> u64 {
        let sizes = self.entries.iter().find(|entry| entry.function == 0x8000_0008);
        // Every CPU with 64-bit mode has 36 bits at least.
        let bits = sizes.map_or(36, |entry| entry.eax & 0xff);
        1_u64.checked_shl(bits).unwrap_or(u64::MAX)
    }

    /// The CPUID of the CPU with this APIC id.
    ///
    /// # Errors
    /// When there are more entries than KVM takes.
    pub fn cpuid(&self, apic_id: u8) -> Result<CpuId> {
        let id = u32::from(apic_id);
        let mut entries = self.entries.clone();
        for entry in &mut entries {
            self.set_topology(entry, id);
        }
        if entries.iter().any(|entry| entry.function == 0 && entry.eax >= 0xb) {
            entries.extend(self.topology(id));
        }
        CpuId::from_entries(&entries).context("more CPUID entries than KVM takes")
    }

    /// Check that the CPU with this APIC id of a snapshot is one of these CPUs.
    ///
    /// # Errors
    /// When its CPUID is another. The text names CPU, leaf, subleaf, register and both values.
    pub fn check(&self, apic_id: u8, saved: &[CpuidEntry]) -> Result<()> {
        let offered = entries(&self.cpuid(apic_id)?);
        entry::compare(saved, &offered).with_context(|| format!("CPU {apic_id}"))
    }

    /// The number of bits in an APIC id that distinguish the cores of the socket.
    fn core_bits(&self) -> u32 {
        self.count.next_power_of_two().trailing_zeros()
    }

    /// Set the topology in one of the host's entries, for the CPU with this APIC id.
    fn set_topology(&self, entry: &mut kvm_cpuid_entry2, id: u32) {
        let others = self.count - 1;
        match entry.function {
            1 => {
                entry.ebx = entry.ebx & 0xffff | self.count << 16 | id << 24;
                entry.edx = entry.edx & !HTT | if others > 0 { HTT } else { 0 };
            }
            // Intel's and AMD's description of caches: the CPUs that share each. All share the
            // last level; the other levels belong to a core.
            4 | 0x8000_001d => {
                let shared = if entry.eax >> 5 & 7 >= 3 { others } else { 0 };
                entry.eax = entry.eax & 0x3fff | shared << 14;
                if entry.function == 4 {
                    entry.eax |= others.min(63) << 26;
                }
            }
            0x8000_0008 => entry.ecx = self.core_bits() << 12 | others,
            0x8000_001e => (entry.eax, entry.ebx, entry.ecx) = (id, id, 0),
            _ => {}
        }
    }

    fn topology(&self, id: u32) -> [kvm_cpuid_entry2; 2] {
        let level = |index, kind, shift, ebx| kvm_cpuid_entry2 {
            function: 0xb,
            index,
            flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
            eax: shift,
            ebx,
            ecx: index | kind << 8,
            edx: id,
            ..Default::default()
        };
        [level(0, LEVEL_SMT, 0, 1), level(1, LEVEL_CORE, self.core_bits(), self.count)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpus(count: u32) -> Cpus {
        let entry = |function, eax| kvm_cpuid_entry2 { function, eax, ..Default::default() };
        Cpus { entries: vec![entry(0, 0xd), entry(1, 0), entry(4, 3 << 5)], count }
    }

    #[test]
    fn every_cpu_has_its_own_apic_id() {
        let cpuid = cpus(4).cpuid(3).unwrap();
        let entries = cpuid.as_slice();
        assert_eq!(entries[1].ebx >> 16, 3 << 8 | 4);
        assert!(entries.iter().filter(|e| e.function == 0xb).all(|e| e.edx == 3));
    }

    #[test]
    fn a_saved_cpu_is_compared_register_by_register() {
        let cpus = cpus(2);
        let saved = entries(&cpus.cpuid(1).unwrap());
        cpus.check(1, &saved).unwrap();
        let refusal = |saved: &[CpuidEntry]| format!("{:#}", cpus.check(1, saved).unwrap_err());
        let mut other = saved.clone();
        other[2].edx |= 0x10;
        let expected =
            "CPU 1: CPUID leaf 0x4, subleaf 0x0, EDX: the snapshot has 0x10, this host 0x0";
        assert_eq!(refusal(&other), expected);
        assert_eq!(
            refusal(&saved[..4]),
            "CPU 1: CPUID leaf 0xb, subleaf 0x1 is on this host alone"
        );
        let more = [&saved[..], &saved[..1]].concat();
        assert_eq!(refusal(&more), "CPU 1: CPUID leaf 0x0, subleaf 0x0 is in the snapshot alone");
        let less = [&saved[..1], &saved[2..]].concat();
        assert!(refusal(&less).contains("leaf 0x4, subleaf 0x0 where this host has"), "{less:?}");
        // CPU 0 has another APIC id.
        assert!(format!("{:#}", cpus.check(0, &saved).unwrap_err()).contains("leaf 0x1, "));
        for register in 0..5 {
            let mut other = saved.clone();
            let entry = &mut other[0];
            let registers =
                [&mut entry.flags, &mut entry.eax, &mut entry.ebx, &mut entry.ecx, &mut entry.edx];
            *registers.into_iter().nth(register).unwrap() ^= 1 << 31;
            assert!(cpus.check(1, &other).is_err(), "{register}");
        }
    }

    #[test]
    fn three_cpus_need_two_bits() {
        let cpuid = cpus(3).cpuid(0).unwrap();
        let core = cpuid.as_slice().iter().find(|e| e.function == 0xb && e.index == 1).unwrap();
        assert_eq!((core.eax, core.ebx), (2, 3));
    }
}
