//! Checks what /dev/kvm offers. [`machine::vm::CAPABILITIES`] has the capabilities that a launch
//! needs, and their names.

use kvm_bindings::KVM_CAP_IOEVENTFD_ANY_LENGTH;
use kvm_ioctls::{Cap, Kvm};
use machine::vm;

use super::report::{Check, CheckStatus, reason};

const UPDATE: &str = "update the host's kernel";

/// Capabilities that make guests better, and that guests run without: KVM's number, the name, and
/// what is lost without it.
const WANTED: [(u32, &str, &str); 2] = [
    (Cap::TscDeadlineTimer as u32, "TSC deadline timer", "guests take more exits to set a timer"),
    (KVM_CAP_IOEVENTFD_ANY_LENGTH, "ioeventfd without a length", "notifications are slower"),
];

/// Open /dev/kvm, and check each of its capabilities.
pub(super) fn checks() -> (Option<Kvm>, Vec<Check>) {
    match Kvm::new().map_err(|error| std::io::Error::from_raw_os_error(error.errno())) {
        Err(error) => {
            let check = Check::new("/dev/kvm", CheckStatus::Missing, &reason(&error));
            (None, vec![check.advice(vm::advice(&error))])
        }
        Ok(kvm) => {
            let checks = offered(&kvm);
            (Some(kvm), checks)
        }
    }
}

fn offered(kvm: &Kvm) -> Vec<Check> {
    let version = kvm.get_api_version();
    let mut checks = vec![version_check(version)];
    for (capability, name) in vm::CAPABILITIES {
        checks.push(if kvm.check_extension(*capability) {
            Check::new(name, CheckStatus::Good, "yes")
        } else {
            Check::new(name, CheckStatus::Missing, "no").advice(UPDATE)
        });
    }
    for (number, name, without) in WANTED {
        checks.push(if kvm.check_extension_raw(number.into()) > 0 {
            Check::new(name, CheckStatus::Good, "yes")
        } else {
            let advice = format!("{without}; to have it, {UPDATE}");
            Check::new(name, CheckStatus::Limited, "no").advice(&advice)
        });
    }
    let count = |name: &str, count: usize| Check::new(name, CheckStatus::Good, &count.to_string());
    checks.push(count("CPUs of a guest, at most", kvm.get_max_vcpus()));
    checks.push(count("memory slots of a guest", kvm.get_nr_memslots()));
    checks
}

fn version_check(version: i32) -> Check {
    let found = format!("API version {version}");
    if u32::try_from(version) == Ok(kvm_bindings::KVM_API_VERSION) {
        Check::new("/dev/kvm", CheckStatus::Good, &found)
    } else {
        Check::new("/dev/kvm", CheckStatus::Missing, &found).advice(UPDATE)
    }
}
