//! An entry of CPUID in a snapshot, and the comparison with what this host offers.

use anyhow::{Context, Result, bail};
use kvm_bindings::{CpuId, kvm_cpuid_entry2};
use serde::{Deserialize, Serialize};

/// The registers that CPUID fills for one leaf and subleaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CpuidEntry {
    /// The leaf: EAX before the instruction.
    pub leaf: u32,
    /// The subleaf: ECX before the instruction.
    pub subleaf: u32,
    /// KVM's flags: whether the subleaf matters.
    pub flags: u32,
    /// EAX after the instruction.
    pub eax: u32,
    /// EBX after the instruction.
    pub ebx: u32,
    /// ECX after the instruction.
    pub ecx: u32,
    /// EDX after the instruction.
    pub edx: u32,
}

impl From<&kvm_cpuid_entry2> for CpuidEntry {
    fn from(entry: &kvm_cpuid_entry2) -> Self {
        let kvm_cpuid_entry2 { function: leaf, index: subleaf, flags, eax, ebx, ecx, edx, .. } =
            *entry;
        Self { leaf, subleaf, flags, eax, ebx, ecx, edx }
    }
}

impl From<&CpuidEntry> for kvm_cpuid_entry2 {
    fn from(entry: &CpuidEntry) -> Self {
        let CpuidEntry { leaf: function, subleaf: index, flags, eax, ebx, ecx, edx } = *entry;
        Self { function, index, flags, eax, ebx, ecx, edx, ..Default::default() }
    }
}

/// The entries of a CPU's CPUID.
#[must_use]
pub fn entries(cpuid: &CpuId) -> Vec<CpuidEntry> {
    cpuid.as_slice().iter().map(CpuidEntry::from).collect()
}

/// The CPUID with these entries, for KVM.
///
/// # Errors
/// When there are more entries than KVM takes.
pub fn cpuid(entries: &[CpuidEntry]) -> Result<CpuId> {
    let entries: Vec<_> = entries.iter().map(kvm_cpuid_entry2::from).collect();
    CpuId::from_entries(&entries).context("more CPUID entries than KVM takes")
}

/// Check that the CPUID of a snapshot is the one that this host offers.
///
/// # Errors
/// When they differ. The text names the first leaf, subleaf and register with a difference.
pub(super) fn compare(saved: &[CpuidEntry], offered: &[CpuidEntry]) -> Result<()> {
    let (mut left, mut found) = (offered.iter(), saved.iter());
    loop {
        let (saved, offered) = match (found.next(), left.next()) {
            (None, None) => return Ok(()),
            (Some(saved), Some(offered)) => (saved, offered),
            (Some(saved), None) => bail!("{} is in the snapshot alone", name(saved)),
            (None, Some(offered)) => bail!("{} is on this host alone", name(offered)),
        };
        if (saved.leaf, saved.subleaf) != (offered.leaf, offered.subleaf) {
            bail!("the snapshot has {} where this host has {}", name(saved), name(offered));
        }
        let registers = [
            ("flags", saved.flags, offered.flags),
            ("EAX", saved.eax, offered.eax),
            ("EBX", saved.ebx, offered.ebx),
            ("ECX", saved.ecx, offered.ecx),
            ("EDX", saved.edx, offered.edx),
        ];
        if let Some((register, saved_value, value)) =
            registers.into_iter().find(|(_, saved, offered)| saved != offered)
        {
            bail!(
                "{}, {register}: the snapshot has {saved_value:#x}, this host {value:#x}",
                name(saved)
            );
        }
    }
}

fn name(entry: &CpuidEntry) -> String {
    format!("CPUID leaf {:#x}, subleaf {:#x}", entry.leaf, entry.subleaf)
}
