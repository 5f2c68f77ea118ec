//! What else a guest gets from this host: a network, huge pages; and whether the host is itself a
//! virtual machine.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;

use super::report::{Check, CheckStatus, reason};

/// The bit of CAP_NET_ADMIN (Linux: include/uapi/linux/capability.h).
const CAP_NET_ADMIN: u64 = 1 << 12;

pub(super) fn checks() -> Vec<Check> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    vec![
        network(&read("/proc/self/status")),
        transparent_huge_pages(&read("/sys/kernel/mm/transparent_hugepage/enabled")),
        reserved_huge_pages(&read("/proc/meminfo")),
        virtualization(&read("/proc/cpuinfo"), &modules(Path::new("/sys/module"))),
    ]
}

fn network(status: &str) -> Check {
    let name = "/dev/net/tun";
    match OpenOptions::new().read(true).write(true).open("/dev/net/tun") {
        Ok(_) if may_make_interfaces(status) => Check::new(name, CheckStatus::Good, "usable"),
        Ok(_) => Check::new(name, CheckStatus::Limited, "only for interfaces that exist").advice(
            "make one that is yours: sudo ip tuntap add dev tap0 mode tap user $USER; \
             or run lguest with sudo",
        ),
        Err(error) => {
            let advice = match error.kind() {
                ErrorKind::PermissionDenied => "guests have no network: run lguest with sudo",
                _ => "guests have no network: sudo modprobe tun",
            };
            Check::new(name, CheckStatus::Limited, &reason(&error)).advice(advice)
        }
    }
}

/// Whether this process has CAP_NET_ADMIN.
fn may_make_interfaces(status: &str) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    effective.is_some_and(|bits| bits & CAP_NET_ADMIN != 0)
}

/// Check the setting, which the kernel writes in brackets: `always [madvise] never`.
fn transparent_huge_pages(settings: &str) -> Check {
    let name = "transparent huge pages";
    let setting = settings.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    match setting.map(|(setting, _)| setting) {
        Some(setting @ ("always" | "madvise")) => Check::new(name, CheckStatus::Good, setting),
        Some(setting) => Check::new(name, CheckStatus::Limited, setting).advice(
            "guests are slower than they could be: \
             echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled",
        ),
        None => Check::new(name, CheckStatus::Limited, "the host's kernel has none")
            .advice("guests are slower than they could be"),
    }
}

fn reserved_huge_pages(meminfo: &str) -> Check {
    let value = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map_or("0", str::trim)
    };
    let found = format!("{} of {}", value("HugePages_Total"), value("Hugepagesize"));
    Check::new("reserved huge pages", CheckStatus::Good, &found)
}

/// The modules that provide KVM on this CPU.
fn modules(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("kvm_")).collect();
    names.sort();
    names
}

fn virtualization(cpuinfo: &str, modules: &[String]) -> Check {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let has = |flag: &str| flags.split_whitespace().any(|word| word == flag);
    let extension = match (has("vmx"), has("svm")) {
        (true, _) => "VT-x",
        (_, true) => "AMD-V",
        _ => "no VT-x or AMD-V",
    };
    let place = if has("hypervisor") { "a virtual machine itself" } else { "bare metal" };
    let module = if modules.is_empty() { "no KVM module".into() } else { modules.join(", ") };
    let found = format!("{place}; {extension}; {module}");
    let check = Check::new("this host", CheckStatus::Good, &found);
    match (has("vmx") || has("svm"), has("hypervisor")) {
        (true, _) => check,
        (false, true) => check.limited("switch nested virtualization on for it, from outside"),
        (false, false) => check.limited("switch virtualization on in the firmware"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_in_brackets_counts() {
        let found = |text| transparent_huge_pages(text).status;
        assert_eq!(found("always [madvise] never\n"), CheckStatus::Good);
        assert_eq!(found("always madvise [never]\n"), CheckStatus::Limited);
        assert_eq!(found(""), CheckStatus::Limited);
    }

    #[test]
    fn capabilities_are_read_from_the_status() {
        assert!(may_make_interfaces("Name:\tx\nCapEff:\t000001ffffffffff\n"));
        assert!(!may_make_interfaces("CapEff:\t0000000000000000\n"));
        assert!(!may_make_interfaces(""));
    }

    #[test]
    fn a_host_without_vmx_or_svm_gets_advice() {
        let check = virtualization("flags\t: fpu hypervisor lm\n", &["kvm_pvm".into()]);
        assert_eq!(check.found, "a virtual machine itself; no VT-x or AMD-V; kvm_pvm");
        assert_eq!(check.status, CheckStatus::Limited);
        let check = virtualization("flags\t: fpu vmx lm\n", &["kvm_intel".into()]);
        assert_eq!(check.status, CheckStatus::Good);
    }

    #[test]
    fn reserved_huge_pages_are_counted() {
        let meminfo = "HugePages_Total:      12\nHugepagesize:       2048 kB\n";
        assert_eq!(reserved_huge_pages(meminfo).found, "12 of 2048 kB");
    }
}
