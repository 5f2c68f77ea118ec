//! Features of the host's CPUs that a guest has only if `--cpu` names them. Each of them exposes
//! much code of the host's kernel, which a guest without the feature does not reach.

use kvm_bindings::kvm_cpuid_entry2;

/// The optional CPU features of a guest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features {
    /// Virtualization: KVM inside of the guest.
    pub(crate) nested: bool,
    /// Performance counters: `perf` inside of the guest, and the detector of hard lockups.
    pub(crate) pmu: bool,
}

/// Parse the value of `--cpu`: names of features, with commas between them.
///
/// # Errors
/// A line with the valid names, if one of the names is not valid.
pub fn parse(names: &str) -> Result<Features, String> {
    let mut features = Features::default();
    for name in names.split(',') {
        match name {
            "nested" => features.nested = true,
            "pmu" => features.pmu = true,
            _ => return Err("the features are nested and pmu; --cpus is the number of CPUs".into()),
        }
    }
    Ok(features)
}

/// An optional feature.
#[derive(Clone, Copy)]
enum Feature {
    Nested,
    Pmu,
}

/// A register that an entry of CPUID fills.
#[derive(Clone, Copy)]
enum Register {
    Eax,
    Ecx,
    Edx,
}

/// The bits that announce a feature: function, index and register of CPUID, and the bits (Intel
/// SDM volume 2, CPUID; AMD APM volume 3, appendix E).
const BITS: [(Feature, u32, u32, Register, u32); 7] = [
    // VMX, SVM.
    (Feature::Nested, 1, 0, Register::Ecx, 1 << 5),
    (Feature::Nested, 0x8000_0001, 0, Register::Ecx, 1 << 2),
    // DTES64 and PDCM, DS.
    (Feature::Pmu, 1, 0, Register::Ecx, 1 << 2 | 1 << 15),
    (Feature::Pmu, 1, 0, Register::Edx, 1 << 21),
    // Last branch records; the leaf of further counters.
    (Feature::Pmu, 7, 0, Register::Edx, 1 << 19),
    (Feature::Pmu, 7, 1, Register::Eax, 1 << 8),
    // IBS, and counters of cores, north bridge, time stamps and last level cache.
    (Feature::Pmu, 0x8000_0001, 0, Register::Ecx, 1 << 10 | 1 << 23 | 1 << 24 | 1 << 27 | 1 << 28),
];

/// Whole entries of CPUID that describe a feature.
const LEAVES: [(Feature, u32); 7] = [
    (Feature::Nested, 0x8000_000a),
    // Intel's counters, last branch records and extensions.
    (Feature::Pmu, 0xa),
    (Feature::Pmu, 0x1c),
    (Feature::Pmu, 0x23),
    // AMD's instruction based sampling, lightweight profiling, and counters, version 2.
    (Feature::Pmu, 0x8000_001b),
    (Feature::Pmu, 0x8000_001c),
    (Feature::Pmu, 0x8000_0022),
];

/// Clear all bits and leaves in these entries that announce a feature which is not `wanted`.
pub(super) fn hide_others(wanted: Features, entries: &mut [kvm_cpuid_entry2]) {
    let hidden = |feature| match feature {
        Feature::Nested => !wanted.nested,
        Feature::Pmu => !wanted.pmu,
    };
    for entry in entries {
        if LEAVES.iter().any(|&(feature, leaf)| hidden(feature) && entry.function == leaf) {
            (entry.eax, entry.ebx, entry.ecx, entry.edx) = (0, 0, 0, 0);
        }
        for &(feature, function, index, register, bits) in &BITS {
            if hidden(feature) && (entry.function, entry.index) == (function, index) {
                match register {
                    Register::Eax => entry.eax &= !bits,
                    Register::Ecx => entry.ecx &= !bits,
                    Register::Edx => entry.edx &= !bits,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The entries that remain of some with all bits set, when these features are wanted.
    fn shown(wanted: &str) -> Vec<kvm_cpuid_entry2> {
        let entry = |(function, index)| kvm_cpuid_entry2 {
            function,
            index,
            eax: u32::MAX,
            ebx: u32::MAX,
            ecx: u32::MAX,
            edx: u32::MAX,
            ..Default::default()
        };
        let places = [(0, 0), (1, 0), (7, 0), (7, 1), (0xa, 0), (0x8000_0001, 0), (0x8000_000a, 0)];
        let mut entries: Vec<_> = places.into_iter().map(entry).collect();
        hide_others(parse(wanted).unwrap_or_default(), &mut entries);
        entries
    }

    #[test]
    fn a_guest_has_neither_virtualization_nor_counters_unasked() {
        let entries = shown("");
        assert_eq!(entries[0].ecx, u32::MAX);
        assert_eq!((entries[1].ecx >> 5 & 1, entries[1].ecx >> 15 & 1), (0, 0));
        assert_eq!((entries[4].eax, entries[4].edx), (0, 0));
        assert_eq!((entries[5].ecx >> 2 & 1, entries[5].ecx >> 23 & 1), (0, 0));
        assert_eq!((entries[6].eax, entries[6].edx), (0, 0));
        assert_eq!(entries[1].ebx, u32::MAX);
    }

    #[test]
    fn a_wanted_feature_brings_no_other() {
        let nested = shown("nested");
        assert_eq!((nested[1].ecx >> 5 & 1, nested[5].ecx >> 2 & 1), (1, 1));
        assert_eq!((nested[4].eax, nested[6].eax), (0, u32::MAX));
        let pmu = shown("pmu");
        assert_eq!((pmu[1].ecx >> 5 & 1, pmu[5].ecx >> 2 & 1), (0, 0));
        assert_eq!((pmu[4].eax, pmu[6].eax), (u32::MAX, 0));
        assert_eq!(shown("pmu,nested")[1].ecx, u32::MAX);
    }

    #[test]
    fn an_unknown_feature_is_refused_with_the_known_ones() {
        assert_eq!(parse("pmu"), Ok(Features { nested: false, pmu: true }));
        for names in ["4", "", "pmu,", "PMU", "nested,4"] {
            assert!(parse(names).unwrap_err().contains("--cpus is the number of CPUs"), "{names}");
        }
    }
}
